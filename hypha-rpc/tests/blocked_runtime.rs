//! Handlers that block the worker threads of their runtime.

use std::{
    io,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::{SinkExt, StreamExt};
use hypha_rpc::{
    Client, Value,
    client::{Identity, Settings},
    service::{Method, Service},
    transport::{
        Frame,
        memory::{MemoryLink, pair},
    },
};
use hypha_wire::{Args, Head, Message, ReplyMode};
use tokio::{runtime::Builder, time::timeout};

/// Time for which a handler blocks.
const BLOCKED: Duration = Duration::from_millis(1200);

/// The shortest interval of heartbeats that callees keep to.
const INTERVAL: f64 = 0.1;

/// What the log says.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn service() -> Service {
    Service::new("desk")
        .method(Method::new("block", |call| async move {
            std::thread::sleep(BLOCKED);
            call.reply(&Value::Null)
        }))
        .method(Method::new("quick", |call| async move {
            call.reply(&Value::from("quick"))
        }))
}

async fn call(link: &mut MemoryLink, method: &str) {
    let head = Head {
        from: "ws/peer",
        to: "ws/me",
        method: &format!("services.desk.{method}"),
        parent: None,
        session: Some(method),
    };
    let reply = ReplyMode::Star { interval: INTERVAL };
    let message = Args::new(0, 0).finish(&head, reply).unwrap();
    link.send(Frame::Binary(message)).await.unwrap();
}

/// The methods that come in until `last` does, with the time of each.
async fn received(link: &mut MemoryLink, last: &str) -> Vec<(String, Duration)> {
    let begin = Instant::now();
    let mut all = Vec::new();
    while let Some(Ok(frame)) = link.next().await {
        let Frame::Binary(data) = frame else { continue };
        let method = Message::parse(data).unwrap().method().unwrap().to_owned();
        all.push((method.clone(), begin.elapsed()));
        if method == last {
            return all;
        }
    }
    panic!("the link ended: {all:?}");
}

#[test]
fn blocked_handlers_stop_neither_heartbeats_nor_other_methods() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let settings = || {
        let mut settings = Settings::default();
        settings.blocking_warning = Duration::from_millis(400);
        settings
    };
    let (ours, mut link) = pair(1024);
    let (client, _guard) = {
        let guard = runtime.enter();
        let identity = Identity::new("ws", "me");
        (
            Client::from_link(Box::new(ours), identity, settings()),
            guard,
        )
    };
    let peer = std::thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            client.register_service(service()).await.unwrap();
            // One of two workers: other methods run.
            call(&mut link, "block").await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            for _ in 0..3 {
                let asked = Instant::now();
                call(&mut link, "quick").await;
                let answer = timeout(BLOCKED, received(&mut link, "quick.resolve")).await;
                answer.expect("no other method runs");
                assert!(asked.elapsed() < BLOCKED / 3, "{:?}", asked.elapsed());
            }
            received(&mut link, "block.resolve").await;
            // Both workers: heartbeats go on.
            call(&mut link, "block").await;
            call(&mut link, "block").await;
            let came = received(&mut link, "block.resolve").await;
            let beats = came.iter().filter(|(m, _)| m == "block.heartbeat").count();
            let gaps = came.windows(2).map(|w| w[1].1 - w[0].1);
            let longest = came[0].1.max(gaps.max().unwrap_or_default());
            assert!(beats >= 8, "{came:?}");
            assert!(longest < Duration::from_millis(600), "{came:?}");
            // The connection is back in its own runtime, and works.
            received(&mut link, "block.resolve").await;
            tokio::time::sleep(Duration::from_millis(150)).await;
            call(&mut link, "quick").await;
            received(&mut link, "quick.resolve").await;
            client.stats()
        })
    });
    let stats = peer.join().unwrap();
    assert_eq!(stats.blocked_handlers, 3, "{stats:?}");
    assert!(stats.stalls >= 1, "{stats:?}");
    let log = log.text();
    assert!(
        log.contains("`desk.block` has blocked its thread for"),
        "{log}"
    );
    assert!(log.contains("`desk.block` blocked its thread for"), "{log}");
}
