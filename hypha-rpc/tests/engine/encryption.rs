//! Tests encrypted calls: which parts of a message are hidden, which clients may respond, and which
//! calls are rejected.

use hypha_rpc::client::{Identity, Settings};
use hypha_rpc::crypto::{KeyPair, PublicKey};
use hypha_rpc::error::{RejectKind, report};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{Method, Service};
use hypha_rpc::transport::memory::pair;
use hypha_rpc::{Error, Value, args};

use crate::support::{ME, PEER, breathe, client_as, list, map, method_main, two_clients};

/// Service for encrypted calls.
#[hypha_service(id = "safe", visibility = "public")]
trait Safe {
    async fn whisper(&self, text: String, ctx: &Context) -> (String, bool);
    async fn tell(&self, listener: Callback<String, String>) -> Result<String, Error>;
    async fn stories(&self, n: u32) -> impl Stream<Item = String>;
    async fn adder(&self, n: i64) -> Callback<i64, i64>;
    async fn fail(&self) -> anyhow::Result<()>;
}

struct Impl;

impl Safe for Impl {
    async fn whisper(&self, text: String, ctx: &Context) -> (String, bool) {
        let encrypted = ctx.caller_public_key().is_some();
        assert_eq!(ctx.to_map().contains_key("caller_public_key"), encrypted);
        (format!("secret {text}"), encrypted)
    }

    async fn tell(&self, listener: Callback<String, String>) -> Result<String, Error> {
        listener.call("secret rumour".into()).await
    }

    async fn stories(&self, n: u32) -> impl Stream<Item = String> {
        futures_util::stream::iter((0..n).map(|n| format!("secret story {n}")))
    }

    async fn adder(&self, n: i64) -> Callback<i64, i64> {
        Callback::new(move |m| async move { n + m })
    }

    async fn fail(&self) -> anyhow::Result<()> {
        anyhow::bail!("secret reason")
    }
}

fn keys(n: u8) -> KeyPair {
    KeyPair::from_private_key([n; 32])
}

fn with_keys(n: u8) -> Settings {
    let mut settings = Settings::in_process();
    settings.encryption = Some(keys(n));
    settings
}

/// Returns two connected clients. The second client provides the service `safe`.
async fn encrypting(a: Settings, b: Settings) -> (Client, Client) {
    let (to_a, to_b) = pair(1024);
    let a = Client::from_link(Box::new(to_a), Identity::new("ws", "a"), a);
    let b = Client::from_link(Box::new(to_b), Identity::new("ws", "b"), b);
    b.register_service(SafeService::new(Impl))
        .await
        .expect("registers");
    (a, b)
}

async fn safe(client: &Client, key: PublicKey) -> SafeProxy {
    let service = client
        .get_remote_service("ws/b:safe")
        .encryption_public_key(key);
    SafeProxy::from_service(service.await.expect("fetches"))
}

#[tokio::test(start_paused = true)]
async fn all_content_is_encrypted() {
    let (a, b) = encrypting(with_keys(1), with_keys(2)).await;
    assert_eq!(a.public_key(), Some(keys(1).public_key()));
    let safe = safe(&a, keys(2).public_key()).await;
    let said = safe.whisper("word".into()).await.expect("answers");
    assert_eq!(said, ("secret word".to_owned(), true));
    let listener = Callback::new(|text: String| async move { format!("heard {text}") });
    assert_eq!(
        safe.tell(listener).await.expect("answers"),
        "heard secret rumour"
    );
    let mut stories = safe.stories(2).await.expect("answers");
    while let Some(story) = stories.try_next().await.expect("a story") {
        assert!(story.starts_with("secret story"));
    }
    let add = safe.adder(1).await.expect("answers");
    assert_eq!(add.call(2).await.expect("adds"), 3);
    let error = safe.fail().await.expect_err("fails");
    assert!(error.to_string().contains("secret reason"), "{error}");
    // This string is so long that the client sends it in chunks.
    let long = "word".repeat(200_000);
    let (said, _) = safe.whisper(long.clone()).await.expect("answers");
    assert_eq!(said.len(), long.len() + 7);
    assert_eq!((a.stats().sessions, b.stats().sessions), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn routing_data_is_visible_to_the_server() {
    let (client, mut peer) = client_as(Identity::new("ws", "me"), with_keys(1), 1024);
    client
        .register_service(SafeService::new(Impl))
        .await
        .expect("registers");
    let other = hypha_rpc::crypto::Encryption::new(keys(2));
    let plain = hypha_wire::to_vec(&map! {"args": list!["word"], "promise": "*", "t": 10.0});
    let sealed = other
        .seal(&keys(1).public_key(), &plain.expect("encodes"))
        .expect("seals");
    let main = hypha_wire::to_vec(&method_main(PEER, "S", "services.safe.whisper"));
    let frame = [main.expect("encodes"), sealed].concat();
    peer.push(hypha_rpc::transport::Frame::Binary(frame.into()))
        .await;
    let Some(hypha_rpc::transport::Frame::Binary(answer)) = peer.frame().await else {
        panic!("no answer");
    };
    let readable = String::from_utf8_lossy(&answer).into_owned();
    assert!(
        readable.contains("S.resolve") && !readable.contains("secret"),
        "{readable}"
    );
    let message = hypha_wire::Message::parse(answer).expect("parses");
    let encrypted = message
        .extra()
        .expect("parses")
        .encrypted
        .expect("encrypted");
    let (plain, from) = other.open(&encrypted).expect("opens");
    assert_eq!(from, keys(1).public_key());
    assert!(String::from_utf8_lossy(&plain).contains("secret word"));
}

#[tokio::test(start_paused = true)]
async fn without_a_key_calls_are_plain() {
    let (a, _b) = encrypting(with_keys(1), with_keys(2)).await;
    let service = a.get_remote_service("ws/b:safe").await.expect("fetches");
    let said = SafeProxy::from_service(service)
        .whisper("word".into())
        .await;
    assert!(!said.expect("answers").1);
}

#[tokio::test(start_paused = true)]
async fn encrypted_calls_are_never_sent_unencrypted() {
    let (a, _b) = encrypting(Settings::in_process(), with_keys(2)).await;
    let fetching = a
        .get_remote_service("ws/b:safe")
        .encryption_public_key(keys(2).public_key());
    let error = fetching.await.expect_err("has no keys");
    assert!(error.to_string().contains("keys of its own"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_decrypted_is_rejected() {
    for b in [with_keys(3), Settings::in_process()] {
        let (a, b) = encrypting(with_keys(1), b).await;
        let safe = safe(&a, keys(2).public_key()).await;
        match safe.whisper("word".into()).await {
            Err(Error::Rejected(r)) if r.kind == RejectKind::PermissionDenied => {
                assert!(r.message.contains("Decryption failed for method"), "{r}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(b.stats().running, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn only_the_owner_of_the_key_may_respond() {
    let (client, mut peer) = client_as(Identity::new("ws", "me"), with_keys(1), 1024);
    let fetching = async {
        let service = client.get_remote_service("ws/peer:svc");
        service
            .encryption_public_key(keys(2).public_key())
            .await
            .expect("fetches")
    };
    let serving = async {
        let asked = peer.receive().await;
        let call = map! {
            "_rtype": "method", "_rtarget": "peer", "_rmethod": "services.svc.call",
            "_rpromise": "*", "_rname": "call",
        };
        peer.reply(&asked, "resolve", list![map! {"id": "svc", "call": call}])
            .await;
    };
    let (service, ()) = tokio::join!(fetching, serving);

    // The peer responds without encryption.
    let answering = async {
        let asked = peer.receive().await;
        assert!(asked.extra("_enc").is_some() && asked.extra("args").is_none());
        peer.reply(&asked, "resolve", list!["forged"]).await;
    };
    let (answer, ()) = tokio::join!(
        service.call::<String>("call", args!(1)).into_future(),
        answering
    );
    let error = answer.expect_err("is refused").to_string();
    assert!(
        error.contains("the call was encrypted, and the response is not"),
        "{error}"
    );

    // A client with another key responds.
    let stranger = hypha_rpc::crypto::Encryption::new(keys(9));
    let answering = async {
        let asked = peer.receive().await;
        let session = asked.text("session");
        let main = map! {
            "type": "method", "from": PEER, "to": ME,
            "method": format!("{session}.resolve"), "parent": session,
        };
        let plain = hypha_wire::to_vec(&map! {"args": list!["forged"]}).expect("encodes");
        let sealed = stranger.seal(&keys(1).public_key(), &plain).expect("seals");
        let frame = [hypha_wire::to_vec(&main).expect("encodes"), sealed].concat();
        peer.push(hypha_rpc::transport::Frame::Binary(frame.into()))
            .await;
    };
    let (answer, ()) = tokio::join!(
        service.call::<String>("call", args!(1)).into_future(),
        answering
    );
    let error = answer.expect_err("is refused").to_string();
    assert!(error.contains("another key than the callee's"), "{error}");

    // The server reports a disconnected peer in an unencrypted message. An unencrypted message can
    // end the call with an error, but cannot provide a result.
    let answering = async {
        let asked = peer.receive().await;
        let gone = map! {
            "_rtype": "error", "_rvalue": "Target peer ws/peer is not connected", "_rtrace": "",
        };
        peer.reply(&asked, "reject", list![gone]).await;
    };
    let (answer, ()) = tokio::join!(
        service.call::<String>("call", args!(1)).into_future(),
        answering
    );
    assert!(matches!(answer, Err(Error::Rejected(r)) if r.kind == RejectKind::PeerNotConnected));
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_answer_to_a_plain_call_is_an_error() {
    let (client, mut peer) = client_as(Identity::new("ws", "me"), with_keys(1), 1024);
    let service = peer.offer(&client).await;
    let answering = async {
        let asked = peer.receive().await;
        let session = asked.text("session");
        let main = map! {
            "type": "method", "from": PEER, "to": ME, "method": format!("{session}.resolve"),
        };
        let other = hypha_rpc::crypto::Encryption::new(keys(2));
        let sealed = other.seal(&keys(1).public_key(), b"\x80").expect("seals");
        let frame = [hypha_wire::to_vec(&main).expect("encodes"), sealed].concat();
        peer.push(hypha_rpc::transport::Frame::Binary(frame.into()))
            .await;
    };
    let (answer, ()) = tokio::join!(
        service.call::<Value>("call", args!(1)).into_future(),
        answering
    );
    let error = report(&answer.expect_err("is refused"));
    assert!(error.contains("although the call was not"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn trusted_keys_are_required() {
    let (a, b) = encrypting(with_keys(1), with_keys(2)).await;
    let service = |id: &str, key: PublicKey| {
        Service::new(id)
            .visibility(Visibility::Public)
            .trusted_keys([key.to_string().to_uppercase()])
            .method(Method::new("call", |call| async move { call.reply(&"in") }))
    };
    b.register_service(service("mine", keys(1).public_key()))
        .await
        .expect("registers");
    b.register_service(service("theirs", keys(7).public_key()))
        .await
        .expect("registers");
    let call = async |id: &str, key: Option<PublicKey>| {
        let fetching = a.get_remote_service(&format!("ws/b:{id}"));
        let fetching = match key {
            Some(key) => fetching.encryption_public_key(key),
            None => fetching,
        };
        let service = fetching.await.expect("fetches");
        service
            .call::<String>("call", args!())
            .await
            .map_err(|e| e.to_string())
    };
    let key = Some(keys(2).public_key());
    assert_eq!(call("mine", key).await.expect("trusted"), "in");
    let error = call("mine", None).await.expect_err("plain");
    assert!(error.contains("Encryption required for method"), "{error}");
    let error = call("theirs", key).await.expect_err("not trusted");
    assert!(error.contains("not in the trusted keys list"), "{error}");
    breathe().await;
    assert_eq!(a.stats().sessions, 0);
}

#[tokio::test(start_paused = true)]
async fn clients_without_keys_have_none() {
    let (a, _b) = two_clients(Settings::in_process());
    assert_eq!(a.public_key(), None);
}
