//! Tests in-process services: the proxy works like a remote proxy, and nothing is leaked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt as _, stream};
use hypha_rpc::error::RejectKind;
use hypha_rpc::prelude::*;
use hypha_rpc::testing::in_process;
use hypha_rpc::workspace::UserInfo;

/// Methods that use each capability of a proxy.
#[hypha_service]
trait Desk {
    async fn divide(&self, a: f64, #[hypha(default = 2.0)] b: f64) -> anyhow::Result<f64>;
    async fn who(&self, ctx: &Context) -> (String, String, bool);
    async fn count(&self, n: u32) -> impl Stream<Item = u32>;
    async fn call_back(&self, callback: Callback<u32, u32>) -> Result<u32, Error>;
    async fn echo(&self, data: Binary) -> Binary;
    async fn sleep(&self, seconds: u64);
}

struct Impl(Arc<AtomicUsize>);

impl Drop for Impl {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Desk for Impl {
    async fn divide(&self, a: f64, b: f64) -> anyhow::Result<f64> {
        anyhow::ensure!(b != 0.0, "division by zero");
        Ok(a / b)
    }

    async fn who(&self, ctx: &Context) -> (String, String, bool) {
        let user = ctx.user();
        (ctx.from().to_owned(), user.id.clone(), user.is_anonymous)
    }

    async fn count(&self, n: u32) -> impl Stream<Item = u32> {
        stream::iter(0..n)
    }

    async fn call_back(&self, callback: Callback<u32, u32>) -> Result<u32, Error> {
        callback.call(20).await
    }

    async fn echo(&self, data: Binary) -> Binary {
        data
    }

    async fn sleep(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}

fn desk() -> (DeskService<Impl>, Arc<AtomicUsize>) {
    let dropped = Arc::new(AtomicUsize::new(0));
    (DeskService::new(Impl(Arc::clone(&dropped))), dropped)
}

#[tokio::test(start_paused = true)]
async fn the_proxy_works_like_a_remote_one() {
    let (service, dropped) = desk();
    let desk = in_process(service).await.expect("begins");
    assert_eq!(desk.divide(1.0, 4.0).await.expect("divides"), 0.25);
    let error = desk.divide(1.0, 0.0).await.expect_err("fails");
    assert!(error.to_string().contains("division by zero"), "{error}");
    let half: f64 = desk
        .service()
        .call("divide", hypha_rpc::args!(1))
        .await
        .expect("divides");
    assert_eq!(half, 0.5);
    let wrong = desk
        .service()
        .call::<f64>("divide", hypha_rpc::args!("one"));
    assert!(
        matches!(wrong.await, Err(Error::Rejected(r)) if r.kind == RejectKind::InvalidArguments)
    );

    let mut counted = desk.count(3).await.expect("counts");
    for n in 0..3 {
        assert_eq!(counted.try_next().await.expect("a number"), Some(n));
    }
    let double = Callback::new(|n| async move { 2 * n });
    assert_eq!(desk.call_back(double).await.expect("answers"), 40);
    let large = Binary::from(vec![7; 3 << 20]);
    assert_eq!(desk.echo(large.clone()).await.expect("echoes"), large);
    // The method takes longer than the idle timeout.
    desk.sleep(3600).await.expect("sleeps");

    assert_eq!(dropped.load(Ordering::Relaxed), 0);
    drop((counted, desk));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(
        dropped.load(Ordering::Relaxed),
        1,
        "the service ends with its proxy"
    );
}

#[tokio::test(start_paused = true)]
async fn the_test_chooses_the_user() {
    let desk = in_process(desk().0).await.expect("begins");
    let anonymous = desk.who().await.expect("answers");
    assert_eq!(anonymous, ("test/caller".into(), String::new(), true));

    let ada = UserInfo {
        id: "ada".into(),
        is_anonymous: false,
        ..UserInfo::default()
    };
    let desk = in_process(self::desk().0).user(ada).await.expect("begins");
    let known = desk.who().await.expect("answers");
    assert_eq!(known, ("test/caller".into(), "ada".into(), false));
}

#[tokio::test(start_paused = true)]
async fn permissions_are_checked() {
    let error = in_process(desk().0)
        .workspace("elsewhere")
        .await
        .expect_err("is protected");
    assert!(matches!(error, Error::Rejected(r) if r.kind == RejectKind::PermissionDenied));
}

#[tokio::test]
async fn calls_are_futures() {
    let desk = in_process(self::desk().0).await.unwrap();
    let all = futures_util::future::join_all([desk.divide(4.0, 2.0), desk.divide(6.0, 2.0)]);
    let all: Result<Vec<f64>, _> = all.await.into_iter().collect();
    assert_eq!(all.unwrap(), [2.0, 3.0]);

    let task = tokio::spawn(desk.divide(8.0, 2.0));
    assert_eq!(task.await.unwrap().unwrap(), 4.0);

    let mut running = stream::FuturesUnordered::new();
    running.push(desk.divide(10.0, 2.0).timeout(Duration::from_secs(10)));
    assert_eq!(running.next().await.unwrap().unwrap(), 5.0);

    let mut call = desk.divide(12.0, 2.0);
    assert_eq!((&mut call).await.unwrap(), 6.0);
    let again = call.send().await.unwrap_err();
    assert_eq!(again.to_string(), "the call has been sent before");
}

#[test]
fn calls_outside_of_a_runtime_are_errors() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let desk = runtime.block_on(in_process(self::desk().0).into_future());
    let desk = desk.unwrap();
    let error = desk.divide(1.0, 2.0).now_or_never().unwrap().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("desk.divide: there is no tokio runtime; "),
        "{error}"
    );
    let error = desk
        .divide(1.0, 2.0)
        .send()
        .now_or_never()
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("no tokio runtime"), "{error}");
    let error = in_process(self::desk().0)
        .into_future()
        .now_or_never()
        .unwrap();
    assert!(error.unwrap_err().to_string().contains("no tokio runtime"));
    let connect = hypha_rpc::connect("http://localhost:1")
        .into_future()
        .now_or_never();
    let error = connect.unwrap().unwrap_err();
    assert!(error.to_string().contains("no tokio runtime"), "{error}");
    let file = RemoteFile::open("in_process.rs").now_or_never();
    let error = file.unwrap().unwrap_err().to_string();
    assert!(
        error.starts_with("in_process.rs: there is no tokio runtime; "),
        "{error}"
    );
    // The call still works within the runtime.
    assert_eq!(runtime.block_on(desk.divide(1.0, 2.0)).unwrap(), 0.5);
}

#[test]
fn a_client_is_closed_outside_of_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let identity = hypha_rpc::client::Identity::new("ws", "a");
    let (ours, link) = hypha_rpc::transport::memory::pair(8);
    let client = {
        let _within = runtime.enter();
        Client::from_link(Box::new(link), identity, <_>::default())
    };
    let mut ours = ours;
    let _server = runtime.spawn(async move {
        while let Some(Ok(frame)) = ours.next().await {
            if matches!(frame, hypha_rpc::transport::Frame::Close(_)) {
                break;
            }
        }
    });
    let mut closing = std::pin::pin!(client.disconnect());
    while closing.as_mut().now_or_never().is_none() {
        std::thread::yield_now();
    }
    assert!(client.closed().now_or_never().is_some());
}

/// Contract whose descriptions are macro calls, which only the compiler can expand.
#[hypha_service]
trait Documented {
    /// Counts.
    #[doc = concat!("In ", stringify!(pixels), ".")]
    async fn count(
        &self,
        #[doc = concat!("One of ", 3)] r#type: u32,
        #[schemars(range(min = 0, max = 1.5))]
        #[hypha(default = 0.1)]
        step: f32,
        /// Names.
        #[schemars(inner(length(max = 3)), length(min = 1))]
        names: Option<Vec<String>>,
    ) -> u32;
    #[doc = include_str!("documented.md")]
    async fn included(&self);
}

struct Counter;

impl Documented for Counter {
    async fn count(&self, r#type: u32, _: f32, _: Option<Vec<String>>) -> u32 {
        r#type
    }

    async fn included(&self) {}
}

#[tokio::test]
async fn descriptions_and_names_reach_the_schema() {
    let proxy = in_process(DocumentedService::new(Counter)).await.unwrap();
    let schema = proxy.service().schema("count").unwrap();
    let text = |pointer: &str| {
        let schema = serde_json::to_value(&schema).unwrap();
        schema.pointer(pointer).cloned().unwrap_or_default()
    };
    assert_eq!(text("/description"), "Counts.\nIn pixels.");
    assert_eq!(text("/parameters/properties/type/description"), "One of 3");
    assert_eq!(
        text("/parameters/properties/step"),
        serde_json::json!({"type": "number", "minimum": 0, "maximum": 1.5, "default": 0.1,
            "x-hypha-dtype": "float32"})
    );
    assert_eq!(
        text("/parameters/properties/names"),
        serde_json::json!({"anyOf": [{"type": "array", "minItems": 1,
            "items": {"type": "string", "maxLength": 3}}, {"type": "null"}],
            "default": null, "description": "Names."})
    );
    assert_eq!(
        proxy.service().doc("included").unwrap(),
        "From a file.\n\nIn two paragraphs."
    );
    let count = proxy
        .service()
        .call::<u32>("count", hypha_rpc::args!(r#type = 7));
    assert_eq!(count.await.unwrap(), 7);
    let count = proxy
        .service()
        .call::<u32>("count", hypha_rpc::args!("type" = 8));
    assert_eq!(count.await.unwrap(), 8);
}

#[tokio::test]
async fn callers_must_send_required_options() -> anyhow::Result<()> {
    #[hypha_service]
    trait Stage {
        async fn park(&self, #[hypha(required)] at: Option<u32>) -> Option<u32>;
    }
    struct Motor;
    impl Stage for Motor {
        async fn park(&self, at: Option<u32>) -> Option<u32> {
            at
        }
    }
    let stage = in_process(StageService::new(Motor)).await?;
    assert_eq!(stage.park(Some(1)).await?, Some(1));
    assert_eq!(stage.park(None).await?, None);
    let service = stage.service();
    let omitted = service.call::<Value>("park", args!()).await;
    let error = omitted.expect_err("the argument is required").to_string();
    assert!(error.contains("missing argument `at`"), "{error}");
    let schema = service.schema("park").expect("it has one").to_json();
    assert_eq!(schema["parameters"]["required"], serde_json::json!(["at"]));
    assert_eq!(
        schema["parameters"]["properties"]["at"].get("default"),
        None
    );
    Ok(())
}

#[tokio::test]
async fn the_error_for_keys_that_are_not_strings_names_the_argument_once() -> anyhow::Result<()> {
    use std::collections::BTreeMap;

    #[hypha_service]
    trait Grid {
        async fn fill(&self, cells: BTreeMap<(u8, u8), f64>);
    }
    struct Plane;
    impl Grid for Plane {
        async fn fill(&self, _: BTreeMap<(u8, u8), f64>) {}
    }
    let grid = in_process(GridService::new(Plane)).await?;
    let filled = grid.fill(BTreeMap::from([((1, 2), 0.5)])).await;
    let error = hypha_rpc::error::report(&filled.expect_err("a key that is not a string"));
    assert!(
        error.ends_with(
            "argument `cells` cannot be sent: a map key must be a string, got list [1,2]; \
             `OrderedMap` allows other keys"
        ),
        "{error}"
    );
    Ok(())
}
