//! Tests that the client limits the memory of data from peers, and charges this memory to the
//! accounts of the peers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use hypha_rpc::client::{MemoryCharge, PeerMemory, Settings};
use hypha_rpc::error::RejectKind;
use hypha_rpc::service::{Method, Visibility};
use hypha_rpc::{Error, Value, args};

use crate::chunks::CACHE;
use crate::support::{
    PEER, breathe, calling, client_with, list, map, payload, service, settled, text, two_clients,
};

/// Returns a list of nulls. The decoded `Value` of the list needs far more memory than the encoded
/// list.
fn nulls(len: usize) -> Vec<()> {
    vec![(); len]
}

#[tokio::test(start_paused = true)]
async fn a_value_that_needs_too_much_memory_is_rejected() {
    let mut settings = Settings::in_process();
    settings.max_decoded_bytes = 1 << 20;
    let (a, b, remote, probe) = calling(settings).await;
    let fits = remote.call::<Value>("echo", args!(nulls(5_000))).await;
    assert_eq!(fits.expect("fits").as_list().map(<[_]>::len), Some(5_000));
    let refused = remote.call::<Value>("echo", args!(nulls(50_000))).await;
    let Err(Error::Rejected(rejection)) = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(rejection.kind, RejectKind::InvalidArguments);
    let begin = "svc.echo on ws/b: argument `value[7281]`: the value needs more than \
                 1048576 bytes of memory when it is decoded";
    assert!(rejection.to_string().starts_with(begin), "{rejection}");
    // The decoder accepts the list as a `Vec<()>`, because such a list needs no memory.
    let method = Method::new("count", |call| async move {
        let value: Vec<()> = call.args(&["value"])?.required(0)?;
        call.reply(&value)
    });
    let counter = hypha_rpc::Service::new("counter").visibility(Visibility::Public);
    let counter = counter.method(method);
    b.register_service(counter).await.expect("registers");
    let counter = a.get_remote_service("ws/b:counter").await.expect("fetches");
    let counted = counter.call::<Vec<()>>("count", args!(nulls(50_000))).await;
    assert_eq!(counted.expect("fits").len(), 50_000);
    // The caller applies the same limit to the result.
    let error = text(counter.call::<Value>("count", args!(nulls(50_000))).await);
    assert!(error.contains("counter.count on ws/b"), "{error}");
    assert!(
        error.contains("more than 1048576 bytes of memory"),
        "{error}"
    );
    assert_eq!(probe.started(), 2);
}

/// Bytes charged to each peer, up to `limit` per peer.
#[derive(Debug, Default)]
struct Accounts {
    used: Mutex<BTreeMap<String, usize>>,
    limit: usize,
}

impl Accounts {
    fn used(&self, peer: &str) -> usize {
        let used = self.used.lock().expect("no panic");
        used.get(peer).copied().unwrap_or_default()
    }
}

/// Wrapper around the accounts, owned by the client's settings. The test keeps another reference to
/// the accounts.
#[derive(Debug)]
struct Shared(Arc<Accounts>);

struct Charge(Arc<Accounts>, String, usize);

impl Drop for Charge {
    fn drop(&mut self) {
        let mut used = self.0.used.lock().expect("no panic");
        *used.get_mut(&self.1).expect("charged") -= self.2;
    }
}

impl PeerMemory for Shared {
    fn charge(&self, peer: &str, bytes: usize) -> Result<MemoryCharge, String> {
        let mut used = self.0.used.lock().expect("no panic");
        let used = used.entry(peer.to_owned()).or_default();
        if *used + bytes > self.0.limit {
            return Err(format!("the account of {peer} is exhausted"));
        }
        *used += bytes;
        Ok(Box::new(Charge(
            Arc::clone(&self.0),
            peer.to_owned(),
            bytes,
        )))
    }
}

fn accounts(limit: usize) -> (Arc<Accounts>, Settings) {
    let accounts = Arc::new(Accounts {
        limit,
        ..Accounts::default()
    });
    let mut settings = Settings::in_process();
    settings.memory = Some(Arc::new(Shared(Arc::clone(&accounts))));
    (accounts, settings)
}

#[tokio::test(start_paused = true)]
async fn requests_and_values_are_charged_while_their_handlers_run() {
    let (accounts, settings) = accounts(200_000);
    let (client, mut peer) = client_with(settings, 64);
    let probe = Arc::default();
    client
        .register_service(service(&probe))
        .await
        .expect("registers");
    let text = "x".repeat(50_000);
    peer.call("services.svc.wait", list![text.as_str()]).await;
    breathe().await;
    assert!((50_000..60_000).contains(&accounts.used(PEER)));
    // Each peer has its own account. The account of the first peer, which already holds 50 kB, has
    // no room for 180 kB more.
    let large = Value::from("x".repeat(180_000));
    let refused = peer
        .ask_as(PEER, "services.svc.echo", list![large.clone()])
        .await;
    assert_eq!(
        refused,
        Err("the account of ws/peer is exhausted".to_owned())
    );
    let echo = "services.svc.echo";
    let nothing = peer.ask_as("ws/other", echo, list![large.clone()]).await;
    let nothing = nothing.expect_err("the request fits, its copy does not");
    assert!(
        nothing.ends_with("may occupy: the account of ws/other is exhausted"),
        "{nothing}"
    );
    let small = Value::from("x".repeat(50_000));
    let answer = peer.ask_as("ws/other", echo, list![small.clone()]).await;
    assert_eq!(answer, Ok(small));
    probe.gate.notify_one();
    peer.receive().await;
    settled(&client).await;
    assert_eq!((accounts.used(PEER), accounts.used("ws/other")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn chunks_are_charged_until_their_sender_disconnects() {
    let (accounts, settings) = accounts(200_000);
    let (client, mut peer) = client_with(settings, 64);
    let chunk = |len: usize| Value::Bytes(vec![7; len].into());
    let (create, append) = (format!("{CACHE}.create"), format!("{CACHE}.append"));
    let told = map! {"type": "client_disconnected", "to": "*",
    "data": map! {"id": "peer", "workspace": "ws"}};
    for directly in [false, true] {
        for key in ["k", "l"] {
            peer.ask(&create, list![key]).await.expect("creates");
            let appended = peer.ask(&append, list![key, chunk(50_000)]).await;
            appended.expect("fits");
        }
        assert!(accounts.used(PEER) > 100_000);
        let refused = peer.ask(&append, list!["k", chunk(90_000)]).await;
        let refused = refused.expect_err("does not fit");
        assert!(
            refused.contains("the account of ws/peer is exhausted"),
            "{refused}"
        );
        match directly {
            true => client.peer_gone(PEER),
            false => peer.send(told.clone(), Value::Null).await,
        }
        breathe().await;
        assert_eq!(accounts.used(PEER), 0);
    }
    settled(&client).await;
}

#[tokio::test(start_paused = true)]
async fn chunks_have_a_separate_limit() {
    let mut settings = Settings::in_process();
    settings.max_chunk_bytes = 100_000;
    let (client, mut peer) = client_with(settings, 64);
    let create = format!("{CACHE}.create");
    peer.ask(&create, list!["k"]).await.expect("creates");
    let data = Value::Bytes(vec![7; 50_000].into());
    let refused = peer.ask(&format!("{CACHE}.append"), list!["k", data]).await;
    let expected = "Message with key k does not fit: the cache store is limited to 50000 bytes.";
    assert_eq!(refused, Err(expected.to_owned()));
    settled(&client).await;
}

/// Decoding a large request takes long. The client must not decode it on a thread of the runtime
/// that runs other tasks.
#[tokio::test(start_paused = true)]
async fn large_requests_are_decoded_on_another_thread() {
    let (a, b) = two_clients(Settings::in_process());
    let runtime = std::thread::current().id();
    let place = Method::new("place", move |call| async move {
        let data: hypha_rpc::Binary = call.args(&["data"])?.required(0)?;
        let decoded_here = std::thread::current().id() == runtime;
        tokio::task::yield_now().await;
        let goes_on_here = std::thread::current().id() == runtime;
        assert!(data.len() != 3_000_000, "as asked");
        call.reply(&(decoded_here, goes_on_here))
    });
    let service = hypha_rpc::Service::new("svc").visibility(Visibility::Public);
    b.register_service(service.method(place))
        .await
        .expect("registers");
    let remote = a.get_remote_service("ws/b:svc").await.expect("fetches");
    let place = |len| remote.call::<(bool, bool)>("place", args!(payload(len)));
    assert_eq!(place(1000).await.expect("runs"), (true, true));
    assert_eq!(place(2_000_000).await.expect("runs"), (false, true));
    let error = text(place(3_000_000).await);
    assert!(error.ends_with("svc.place panicked: as asked"), "{error}");
}
