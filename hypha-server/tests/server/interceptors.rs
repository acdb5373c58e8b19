//! Tests interceptors: around the methods of a service and around the calls of a client, from the
//! outermost to the innermost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use hypha_rpc::ServiceError as _;
use hypha_rpc::call::{NextCall, OutgoingCall};
use hypha_rpc::prelude::*;
use hypha_rpc::service::{IncomingCall, Next};

use crate::support;

/// Notes of the interceptors, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, text: impl Into<String>) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        notes.push(text.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn lab(log: &Log) -> Service {
    let ran = log.clone();
    Service::new("lab")
        .method(method!("add", move |a: f64, b: f64| {
            ran.note("add");
            async move { a + b }
        }))
        .method(method!("read", |name: String, key: String| async move {
            format!("{name} with {key}")
        }))
        .method(method!("hang", || std::future::pending::<()>()))
}

#[tokio::test]
async fn interceptors_of_a_service_run_from_the_last_to_the_first() -> Result<()> {
    let server = support::server().await?;
    let (log, inner, outer) = (Log::default(), Log::default(), Log::default());
    let (within, around) = (inner.clone(), log.clone());
    let service = lab(&log).intercept(move |call: IncomingCall, next: Next| {
        within.note(call.label());
        async move { next.run(call).await }
    });
    let client = hypha_rpc::connect(server.url()).await?;
    let (noted, outermost) = (inner.clone(), outer.clone());
    let registration = client
        .register_service(service)
        .intercept(move |call: IncomingCall, next: Next| {
            // The inner interceptor has not run yet.
            around.note(format!("before {}", noted.take().len()));
            let around = around.clone();
            async move {
                let outcome = next.run(call).await;
                around.note("after");
                outcome
            }
        })
        .intercept(move |call: IncomingCall, next: Next| {
            outermost.note(call.label());
            async move {
                match call.label().ends_with(".read") {
                    true => Err("reading is not allowed".to_owned().to_wire()),
                    false => next.run(call).await,
                }
            }
        });
    let info = registration.await?;
    let lab = client.get_service(&info.id).await?;
    assert_eq!(lab.call::<f64>("add", args!(1, 2)).await?, 3.0);
    assert_eq!(log.take(), ["before 0", "add", "after"]);
    assert_eq!(inner.take(), ["lab.add"]);

    // The outermost refuses: neither the others nor the method run.
    let refused = lab.call::<String>("read", args!("plate", "none")).await;
    let refused = refused.expect_err("is refused").to_string();
    assert!(refused.contains("reading is not allowed"), "{refused}");
    assert_eq!(outer.take(), ["lab.add", "lab.read"]);
    assert!(log.take().is_empty() && inner.take().is_empty());
    Ok(())
}

#[tokio::test]
async fn interceptors_of_a_client_run_from_the_first_to_the_last() -> Result<()> {
    let server = support::server().await?;
    let log = Log::default();
    let (outcomes, inner) = (log.clone(), log.clone());
    let client = hypha_rpc::connect(server.url())
        .intercept(move |call: OutgoingCall, next: NextCall| {
            let outcomes = outcomes.clone();
            async move {
                let method = call.method().to_owned();
                let response = next.run(call).await?;
                let outcome = response
                    .error()
                    .map_or("ok".into(), |error| error.to_string());
                outcomes.note(format!("{method}: {outcome}"));
                Ok(response)
            }
        })
        .intercept(move |mut call: OutgoingCall, next: NextCall| {
            let inner = inner.clone();
            async move {
                match call.method() {
                    "lab.read" => call.add_argument("key", "the key"),
                    "lab.hang" => call.set_timeout(Duration::from_millis(10)),
                    "lab.add" => return Err(Error::Invalid("no sums today".into())),
                    _ => {}
                }
                inner.note(format!("run {}", call.method()));
                next.run(call).await
            }
        });
    let client = client.await?;
    let service = client.register_service(lab(&log)).await?;
    let lab = client.get_service(&service.id).await?;
    log.take();

    let text: String = lab.call("read", args!("plate")).await?;
    assert_eq!(text, "plate with the key");
    assert_eq!(log.take(), ["run lab.read", "lab.read: ok"]);

    // The error of an interceptor is that of the call, and the service gets no request.
    let refused = lab.call::<f64>("add", args!(1, 2)).await;
    assert!(
        matches!(&refused, Err(Error::Invalid(text)) if text == "no sums today"),
        "{refused:?}"
    );
    assert!(log.take().is_empty());

    let late = lab.call::<()>("hang", args!()).await;
    assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
    let notes = log.take();
    assert_eq!(notes[0], "run lab.hang");
    assert!(notes[1].starts_with("lab.hang: "), "{notes:?}");
    Ok(())
}
