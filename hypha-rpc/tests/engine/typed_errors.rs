//! Tests typed errors. A caller matches on the variants of an error, whatever the language of the
//! service is.

use hypha_rpc::error::{RejectKind, RemoteError as Remote, report};
use hypha_rpc::prelude::*;
use hypha_rpc::service::Visibility;
use hypha_rpc::{ServiceError, Value};

use crate::support::{Peer, client, list, map, settled, two_clients};

#[derive(Clone, Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum CalcError {
    #[error("division by zero")]
    #[remote_error(class = "ZeroDivisionError")]
    DivisionByZero,
    #[error("{value} is larger than {limit}")]
    TooLarge { value: f64, limit: f64 },
    #[error("unknown unit {0}")]
    #[remote_error(class = ["KeyError", "RangeError"])]
    Unit(String),
}

#[hypha_service(id = "calc")]
trait Calc {
    async fn divide(&self, a: f64, b: f64) -> Result<f64, CalcError>;
}

struct Impl;

impl Calc for Impl {
    async fn divide(&self, a: f64, b: f64) -> Result<f64, CalcError> {
        match (a, b) {
            (_, 0.0) => Err(CalcError::DivisionByZero),
            (100.0.., _) => Err(CalcError::TooLarge {
                value: a,
                limit: 100.0,
            }),
            (_, ..0.0) => Err(CalcError::Unit("it's".into())),
            _ => Ok(a / b),
        }
    }
}

/// The same contract in an older version. Its error type has fewer variants.
mod older {
    use super::*;

    #[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
    pub(super) enum CalcError {
        #[error("division by zero")]
        DivisionByZero,
    }

    #[hypha_service(id = "calc")]
    #[allow(dead_code)]
    pub(super) trait Calc {
        async fn divide(&self, a: f64, b: f64) -> Result<f64, CalcError>;
    }
}

/// A contract with an error type that accepts every failure, even the failure of a missing method.
mod catch_all {
    use super::*;

    #[derive(Debug, PartialEq, thiserror::Error, Serialize, Deserialize, RemoteError)]
    #[error("{0}")]
    #[remote_error(other)]
    pub(super) struct Failed(pub(super) String);

    #[hypha_service]
    #[allow(dead_code)]
    pub(super) trait Calc {
        async fn divide(&self, a: f64, b: f64) -> Result<f64, Failed>;
        async fn call(&self) -> Result<f64, Failed>;
    }
}

/// Contract of a service whose responses the test writes.
#[hypha_service]
#[allow(dead_code)]
trait Foreign {
    async fn call(&self) -> Result<f64, CalcError>;
}

async fn fetched() -> (Client, Client, RemoteService) {
    let (a, b) = two_clients(hypha_rpc::client::Settings::in_process());
    b.register_service(CalcService::new(Impl))
        .visibility(Visibility::Public)
        .await
        .expect("registers");
    let service = a.get_remote_service("ws/b:calc").await.expect("fetches");
    (a, b, service)
}

#[tokio::test(start_paused = true)]
async fn callers_match_on_variants_with_their_data() {
    let (a, b, service) = fetched().await;
    let calc = CalcProxy::from_service(service);
    assert_eq!(calc.divide(3.0, 1.5).await.expect("divides"), 2.0);
    match calc.divide(1.0, 0.0).await {
        Err(Error::Service(CalcError::DivisionByZero)) => {}
        other => panic!("{other:?}"),
    }
    match calc.divide(500.0, 1.0).await {
        Err(Error::Service(CalcError::TooLarge { value, limit })) => {
            assert_eq!((value, limit), (500.0, 100.0));
        }
        other => panic!("{other:?}"),
    }
    let error = calc.divide(1.0, -1.0).await.expect_err("fails");
    assert!(error.may_have_run() && !error.is_retryable());
    assert_eq!(error.to_string(), "unknown unit it's");
    match error {
        Error::Service(error) => assert_eq!(error, CalcError::Unit("it's".into())),
        other => panic!("{other:?}"),
    }
    settled(&a).await;
    settled(&b).await;
}

fn remote<T: std::fmt::Debug, E: std::fmt::Debug>(outcome: Result<T, Error<E>>) -> Remote {
    match outcome {
        Err(Error::Remote(remote)) => *remote,
        other => panic!("not a remote error: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_variants_can_be_read() {
    let (a, _b, service) = fetched().await;
    let calc = older::CalcProxy::from_service(service.clone());
    let known = calc.divide(1.0, 0.0).await.expect_err("fails");
    assert!(matches!(
        known,
        Error::Service(older::CalcError::DivisionByZero)
    ));

    let unknown = remote(calc.divide(500.0, 1.0).await);
    assert_eq!(unknown.name.as_deref(), Some("CalcError.TooLarge"));
    assert_eq!(unknown.message, "500 is larger than 100");
    assert_eq!(
        unknown.to_string(),
        "calc.divide on ws/b: CalcError.TooLarge: 500 is larger than 100"
    );
    let data = unknown.data.expect("data");
    assert_eq!(
        data,
        map! {"TooLarge": map!{"value": 500.0, "limit": 100.0}}
    );
    let again: CalcError = data.decode_as().expect("the error");
    assert!(matches!(again, CalcError::TooLarge { value: 500.0, .. }));

    // A caller without a contract receives the error class that clients in other languages receive.
    let args = hypha_rpc::args!(1.0, 0.0);
    let untyped = remote(service.call::<f64>("divide", args).await);
    assert_eq!(untyped.class.as_deref(), Some("ZeroDivisionError"));
    assert_eq!(untyped.name.as_deref(), Some("CalcError.DivisionByZero"));
    settled(&a).await;
}

#[tokio::test(start_paused = true)]
async fn a_catch_all_matches_failures_and_no_rejections() {
    let (a, _b, service) = fetched().await;
    let calc = catch_all::CalcProxy::from_service(service);
    match calc.divide(500.0, 1.0).await {
        Err(Error::Service(catch_all::Failed(text))) => {
            assert_eq!(text, "CalcError.TooLarge: 500 is larger than 100");
        }
        other => panic!("{other:?}"),
    }
    settled(&a).await;

    let (client, mut peer) = client();
    let calc = catch_all::CalcProxy::from_service(peer.offer(&client).await);
    for (text, name) in [
        ("Method not found: ws/peer:services.svc.call", Value::Null),
        ("it is gone", "hypha.UnknownMethod".into()),
    ] {
        let error = map! {"_rtype": "error", "_rvalue": text, "_rtrace": "", "_rname": name};
        match rejected(&mut peer, calc.call(), error).await {
            Error::Rejected(refused) => assert_eq!(refused.kind, RejectKind::UnknownMethod),
            other => panic!("{other:?}"),
        }
    }
    settled(&client).await;
}

/// Makes the peer reject the call with `error`. Returns the error that the caller receives.
async fn rejected<E>(peer: &mut Peer, call: Call<f64, E>, error: Value) -> Error<E>
where
    E: ServiceError + std::fmt::Debug + Send + 'static,
{
    let answering = async {
        let call = peer.receive().await;
        peer.reply(&call, "reject", list![error]).await;
    };
    let (outcome, ()) = tokio::join!(call.into_future(), answering);
    outcome.expect_err("fails")
}

/// Exceptions in the formats that Python and JavaScript send.
#[tokio::test(start_paused = true)]
async fn exceptions_of_other_languages_are_variants() {
    let (client, mut peer) = client();
    let foreign = ForeignProxy::from_service(peer.offer(&client).await);
    let head = "Traceback (most recent call last):\n  File \"x.py\", line 3, in call\n";
    let python =
        |class: &str, message: &str| (message.to_owned(), format!("{head}{class}: {message}\n"));
    let coroutine = |line| {
        (
            format!("{head}{line}\n"),
            format!("Exception: {head}{line}\n\n"),
        )
    };
    let javascript = |line: &str| (line.to_owned(), format!("{line}\n    at call"));
    let mile = || Some(CalcError::Unit("mile".into()));
    let division = || Some(CalcError::DivisionByZero);
    let cases = [
        (python("ZeroDivisionError", "division by zero"), division()),
        (coroutine("ZeroDivisionError: division by zero"), division()),
        (python("KeyError", "'mile'"), mile()),
        (coroutine("KeyError: 'mile'"), mile()),
        (javascript("RangeError: mile"), mile()),
        (coroutine("ZeroDivisionError"), division()),
        (javascript("ZeroDivisionError"), division()),
        (python("ValueError", "mile"), None),
        (coroutine("lib.Unforeseen: mile"), None),
        (javascript("mile"), None),
    ];
    for ((message, trace), expected) in cases {
        let error = map! {"_rtype": "error", "_rvalue": message.as_str(), "_rtrace": trace};
        match (rejected(&mut peer, foreign.call(), error).await, expected) {
            (Error::Service(error), Some(expected)) => assert_eq!(error, expected, "{message}"),
            (Error::Remote(_), None) => {}
            (other, expected) => panic!("{message}: {other:?} instead of {expected:?}"),
        }
    }
    settled(&client).await;
}

/// Errors that have causes: one that is not sent, and one that is a part of the value.
#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum LabError {
    #[error("the lamp is off")]
    LampOff,
    #[error("the stage failed")]
    Stage(#[source] MotorError),
    #[error("the door is open")]
    Door {
        #[serde(skip)]
        #[source]
        cause: Option<std::io::Error>,
    },
}

#[derive(Debug, thiserror::Error, Serialize, Deserialize)]
#[error("motor {0} stalled")]
struct MotorError(String);

#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
enum MiddleError {
    #[error(transparent)]
    Call(#[from] Error),
}

#[hypha_service(id = "lab")]
trait Lab {
    async fn fail(&self, how: &str) -> Result<u32, LabError>;
}

struct LabImpl;

impl Lab for LabImpl {
    async fn fail(&self, how: &str) -> Result<u32, LabError> {
        Err(match how {
            "lamp" => LabError::LampOff,
            "stage" => LabError::Stage(MotorError("x".into())),
            _ => LabError::Door {
                cause: Some(std::io::Error::other("no key")),
            },
        })
    }
}

/// Passes on the errors of another service in every form.
struct Middle(LabProxy);

#[hypha_service(id = "middle")]
impl Middle {
    pub async fn untyped(&self, how: &str) -> Result<u32, Error> {
        self.0.fail(how).await.map_err(Error::untyped)
    }

    pub async fn whole(&self, how: &str) -> Result<u32, Error<LabError>> {
        self.0.fail(how).await
    }

    pub async fn any(&self, how: &str) -> anyhow::Result<u32> {
        Ok(self.0.fail(how).await?)
    }

    pub async fn variant(&self, how: &str) -> Result<u32, MiddleError> {
        Ok(self.0.fail(how).await.map_err(Error::untyped)?)
    }
}

/// The methods of [`Middle`] with the error type of the first service.
#[hypha_service]
#[allow(dead_code)]
trait Seen {
    async fn untyped(&self, how: &str) -> Result<u32, LabError>;
    async fn whole(&self, how: &str) -> Result<u32, LabError>;
}

async fn middle() -> (Client, Client, LabProxy, RemoteService) {
    let (a, b) = two_clients(hypha_rpc::client::Settings::in_process());
    let lab = b
        .register_service(LabService::new(LabImpl))
        .visibility(Visibility::Public);
    lab.await.expect("registers");
    let lab = a.get_remote_service("ws/b:lab").await.expect("fetches");
    let lab = LabProxy::from_service(lab);
    let middle = a
        .register_service(Middle(lab.clone()))
        .visibility(Visibility::Public);
    middle.await.expect("registers");
    let middle = b.get_remote_service("ws/a:middle").await.expect("fetches");
    (a, b, lab, middle)
}

#[tokio::test(start_paused = true)]
async fn the_source_of_a_typed_error_is_its_cause() {
    let (_a, _b, lab, _) = middle().await;
    let error = lab.fail("stage").await.expect_err("fails");
    assert_eq!(report(&error), "the stage failed: motor x stalled");
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    assert!(
        matches!(cause, Some(MotorError(x)) if x == "x"),
        "{error:?}"
    );
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert_eq!(chain, "the stage failed: motor x stalled");
    // The caller decodes the value, from which the service left the cause out.
    let error = lab.fail("door").await.expect_err("fails");
    assert_eq!(report(&error), "the door is open");
}

#[tokio::test(start_paused = true)]
async fn errors_that_a_service_passes_on_keep_their_name_data_and_causes() {
    let (_a, _b, _, service) = middle().await;
    let (seen, middle) = (
        SeenProxy::from_service(service.clone()),
        MiddleProxy::from_service(service),
    );
    for outcome in [seen.untyped("lamp").await, seen.whole("lamp").await] {
        let error = outcome.expect_err("fails");
        assert!(
            matches!(error, Error::Service(LabError::LampOff)),
            "{error:?}"
        );
    }
    let errors = [
        remote(middle.untyped("lamp").await),
        remote(middle.whole("lamp").await),
    ];
    for error in errors {
        assert_eq!(error.name.as_deref(), Some("LabError.LampOff"));
        assert_eq!(error.message, "the lamp is off");
        assert_eq!(error.data, Some("LampOff".into()));
    }
    for (how, chain) in [
        ("stage", "the stage failed: motor x stalled"),
        ("door", "the door is open"),
    ] {
        let any = middle.any(how).await.expect_err("fails");
        assert_eq!(report(&any), format!("middle.any on ws/a: {chain}"));
    }
    for error in [
        remote(middle.untyped("stage").await),
        remote(middle.whole("stage").await),
    ] {
        assert!(report(&error).ends_with("the stage failed: motor x stalled"));
    }
    let error = middle.variant("stage").await.expect_err("fails");
    assert_eq!(
        report(&error),
        "LabError.Stage: the stage failed: motor x stalled"
    );
}
