//! Tests the spans, events and metrics of calls. None of them may contain a credential.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypha_rpc::client::Settings;
use hypha_rpc::{Value, args};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::net::{Net, Plan, back};
use crate::support::{breathe, calling, seconds, text};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Captures the log output of this thread until the returned guard is dropped.
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::CLOSE)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.lock()).into_owned()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn every_call_has_a_span_on_both_sides() {
    let log = Log::default();
    let _listening = log.listen();
    let (_a, _b, remote, _probe) = calling(Settings::in_process()).await;
    let _: i64 = remote.call("add", args!(1, 2)).await.expect("answered");
    text(remote.call::<Value>("add", args!()).await);
    text(
        remote
            .call::<Value>("hang", args!())
            .timeout(seconds(1))
            .await,
    );
    breathe().await;
    let log = log.text();
    for (span, method, peer, outcome) in [
        ("call", "svc.add", "ws/b", "ok"),
        ("serve", "svc.add", "ws/a", "ok"),
        ("call", "svc.add", "ws/b", "rejected"),
        ("serve", "svc.add", "ws/a", "failed"),
        ("call", "svc.hang", "ws/b", "timeout"),
    ] {
        let begin = format!("{span}{{method=\"{method}\" peer=\"{peer}\" ");
        let end = format!("outcome=\"{outcome}\"}}");
        let found = log.lines().any(|line| {
            line.contains(&begin)
                && line.contains("session=")
                && line.contains(&end)
                && line.contains("close")
        });
        assert!(found, "no {begin}..{end} in\n{log}");
    }
}

#[tokio::test(start_paused = true)]
async fn credentials_are_not_logged() {
    const TOKEN: &str = "eyJ0b2tlbiI6MX0.credential.T";
    const FORMER: &str = "eyJ0b2tlbiI6MX0.credential.R";
    let log = Log::default();
    let _listening = log.listen();
    let (net, _others) = Net::new();
    let connect = net.connect().token(TOKEN).reconnection_token(FORMER);
    let mut said = format!("{connect:?}");
    let client = connect.await.expect("connects");
    net.plan([Plan::Unreachable, Plan::HangUp]);
    net.cut();
    back(&client).await;
    let fresh = r#"{"type":"reconnection_token","reconnection_token":"secret-fresh"}"#;
    net.push(hypha_rpc::transport::Frame::Text(fresh.into()));
    breathe().await;
    assert_eq!(client.reconnection_token().as_deref(), Some("secret-fresh"));
    said += &format!(
        "{client:?} {:?} {:?} {:?}",
        client.identity(),
        client.state(),
        client.stats()
    );
    net.otherwise(Plan::Say(hypha_rpc::transport::Frame::Text(
        r#"{"type":"error","message":"Authentication error: no"}"#.into(),
    )));
    net.cut();
    said += &format!("{:?}", client.closed().await);
    said += &log.text();
    assert!(said.contains("reconnect"), "{said}");
    for secret in ["credential", "secret-"] {
        assert!(!said.contains(secret), "{secret} in {said}");
    }
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_go_to_the_recorder() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }
            .enable_all()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (a, _b, remote, _probe) = calling(Settings::in_process()).await;
            let _: i64 = remote.call("add", args!(1, 2)).await.expect("answered");
            tokio::time::sleep(seconds(6)).await;
            drop((a, remote));
        });
    });
    let numbers = snapshotter.snapshot().into_vec();
    let find = |name: &str, label: (&str, &str)| {
        let found = numbers.iter().find(|(key, ..)| {
            let key = key.key();
            let mut labels = key.labels();
            key.name() == name && labels.any(|l| (l.key(), l.value()) == label)
        });
        found.map(|(.., value)| value)
    };
    let calls = find("hypha_rpc_calls_made_total", ("client", "ws/a"));
    assert!(matches!(calls, Some(DebugValue::Counter(2))), "{calls:?}");
    let received = find("hypha_rpc_calls_received_total", ("client", "ws/b"));
    assert!(
        matches!(received, Some(DebugValue::Counter(2))),
        "{received:?}"
    );
    let queued = find("hypha_rpc_queued", ("client", "ws/b"));
    assert!(
        matches!(queued, Some(DebugValue::Gauge(v)) if v.0 == 0.0),
        "{queued:?}"
    );
    for side in ["caller", "callee"] {
        let seconds = numbers.iter().find(|(key, ..)| {
            let labels: Vec<_> = key.key().labels().map(|l| (l.key(), l.value())).collect();
            key.key().name() == "hypha_rpc_call_seconds"
                && labels.contains(&("side", side))
                && labels.contains(&("method", "svc.add"))
                && labels.contains(&("outcome", "ok"))
        });
        assert!(seconds.is_some(), "{side}: {numbers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_permanently_lost_connection_is_logged() {
    let log = Log::default();
    let _guard = log.listen();
    let lines = || {
        log.text()
            .lines()
            .filter(|line| line.contains("has ended"))
            .count()
    };
    let (net, _others) = Net::new();
    let client = net.connect().reconnect(None).await.expect("connects");
    net.cut();
    client.closed().await;
    breathe().await;
    let text = log.text();
    let line = text.lines().find(|line| line.contains("has ended"));
    let line = line.expect("is logged");
    assert!(line.contains("WARN"), "{line}");
    assert!(
        line.contains("the connection of ws/me has ended: Connection lost"),
        "{line}"
    );
    // `run_until_ctrl_c` returns the same reason.
    let error = client.run_until_ctrl_c().await.expect_err("is over");
    assert!(
        matches!(error, hypha_rpc::Error::Disconnected(_)),
        "{error:?}"
    );
    let report = hypha_rpc::error::report(&error);
    assert!(report.contains("Connection lost"), "{report}");

    let (net, _others) = Net::new();
    let client = net.connect().await.expect("connects");
    client.disconnect().await;
    assert_eq!(lines(), 1, "{}", log.text());
}
