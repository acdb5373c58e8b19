//! Tests arrays of the crate `ndarray`, typed arrays, and times in contracts.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use hypha_rpc::error::RejectKind;
use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;
use hypha_rpc::testing::in_process;
use hypha_rpc::{Array, DType, args};
use ndarray::{Array2, ArrayD, array};
use serde_json::json;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Frame {
    #[schemars(with = "Array<u16, 2>")]
    image: Array2<u16>,
    exposure: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Step {
    Expose { gain: f64, time: Duration },
    Fill { wells: BTreeMap<u32, f64> },
}

/// Images as arguments, results, items and fields.
#[hypha_service]
trait Camera {
    async fn transposed(&self, image: Array2<u16>) -> Array2<u16>;
    async fn mean(&self, image: Option<ArrayD<f64>>) -> anyhow::Result<f64>;
    async fn both(&self) -> (Array2<u16>, Option<Array2<f32>>);
    async fn frame(&self, frame: Frame) -> Frame;
    async fn live(&self, count: u16) -> impl Stream<Item = Array2<u16>> + Send;
    async fn typed(&self, image: Array<u16, 2>, #[hypha(default = 1)] by: u16) -> Array<u16, 2>;
    async fn wait(
        &self,
        time: Duration,
        #[hypha(default = Duration::from_millis(1500))] pause: Duration,
        pauses: Vec<Option<Duration>>,
        until: Option<SystemTime>,
    ) -> (Duration, Option<SystemTime>);
    async fn run(&self, steps: Vec<Step>) -> Vec<Step>;
    async fn size(&self, data: &[u8], more: Option<&[u8]>) -> usize;
    async fn shared(&self, data: Bytes, more: Option<Bytes>) -> usize;
    async fn binary(&self, data: Binary, more: Option<Binary>) -> usize;
}

struct Impl;

impl Camera for Impl {
    async fn transposed(&self, image: Array2<u16>) -> Array2<u16> {
        image.reversed_axes()
    }

    async fn mean(&self, image: Option<ArrayD<f64>>) -> anyhow::Result<f64> {
        Ok(image.and_then(|image| image.mean()).unwrap_or_default())
    }

    async fn both(&self) -> (Array2<u16>, Option<Array2<f32>>) {
        (array![[1, 2]], Some(array![[0.5]]))
    }

    async fn frame(&self, frame: Frame) -> Frame {
        frame
    }

    async fn live(&self, count: u16) -> impl Stream<Item = Array2<u16>> + Send {
        stream::iter((0..count).map(|index| array![[index]]))
    }

    async fn typed(&self, image: Array<u16, 2>, by: u16) -> Array<u16, 2> {
        image.map(|pixel| pixel + by)
    }

    async fn wait(
        &self,
        time: Duration,
        pause: Duration,
        pauses: Vec<Option<Duration>>,
        until: Option<SystemTime>,
    ) -> (Duration, Option<SystemTime>) {
        let pauses: Duration = pauses.into_iter().flatten().sum();
        (time + pause + pauses, until)
    }

    async fn run(&self, steps: Vec<Step>) -> Vec<Step> {
        steps
    }

    async fn size(&self, data: &[u8], more: Option<&[u8]>) -> usize {
        data.len() + more.map_or(0, <[u8]>::len)
    }

    async fn shared(&self, data: Bytes, more: Option<Bytes>) -> usize {
        data.len() + more.map_or(0, |more| more.len())
    }

    async fn binary(&self, data: Binary, more: Option<Binary>) -> usize {
        data.len() + more.map_or(0, |more| more.len())
    }
}

#[tokio::test]
async fn ndarray_arrays_are_sent_in_all_positions() -> anyhow::Result<()> {
    let camera = in_process(CameraService::new(Impl)).await?;
    let image = array![[1, 2, 3], [4, 5, 6]];
    let transposed = camera.transposed(image.clone()).await?;
    assert_eq!(transposed, image.clone().reversed_axes());
    let seen: NdArray = camera
        .service()
        .call("transposed", args!(image.clone()))
        .await?;
    assert_eq!((seen.dtype(), seen.shape()), (&DType::UInt16, &[3, 2][..]));
    assert_eq!(camera.mean(Some(array![1.0, 2.0].into_dyn())).await?, 1.5);
    assert_eq!(camera.mean(None).await?, 0.0);
    assert_eq!(camera.both().await?, (array![[1, 2]], Some(array![[0.5]])));
    let frame = Frame {
        image,
        exposure: Duration::from_millis(10),
    };
    assert_eq!(camera.frame(frame.clone()).await?, frame);
    let mut live = camera.live(2).await?;
    assert_eq!(live.try_next().await?, Some(array![[0]]));
    // Callers without an array type send nested lists.
    let json: Array2<u16> = camera
        .service()
        .call("transposed", args!(json!([[1], [2]])))
        .await?;
    assert_eq!(json, array![[1, 2]]);
    Ok(())
}

/// Returns the error message of a call whose arguments are rejected.
async fn refusal(camera: &CameraProxy, method: &'static str, args: hypha_rpc::Args) -> String {
    let called: Result<Value, Error> = camera.service().call(method, args).await;
    match called {
        Err(Error::Rejected(refused)) if refused.kind == RejectKind::InvalidArguments => {
            refused.message
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("{method} has run"),
    }
}

#[tokio::test]
async fn arrays_are_checked_before_the_method_runs() -> anyhow::Result<()> {
    let camera = in_process(CameraService::new(Impl)).await?;
    let image = Array::from_vec([1, 2], vec![1, 2])?;
    assert_eq!(camera.typed(image, 5).await?.as_slice(), [6, 7]);
    // numpy's default integer type. The elements are converted.
    let image = NdArray::from_vec([1, 2], vec![1i64, 2])?;
    let typed: Array<u16, 2> = camera.service().call("typed", args!(image)).await?;
    assert_eq!(typed.as_slice(), [2, 3]);

    let wrong = || NdArray::from_vec([2], vec![0.5, 1.5]).expect("two");
    assert_eq!(
        refusal(&camera, "typed", args!(wrong())).await,
        "camera.typed: argument `image`: expected an array of uint16 with 2 dimensions, got one of \
         float64 with shape [2]"
    );
    assert_eq!(
        refusal(&camera, "transposed", args!(wrong())).await,
        "camera.transposed: argument `image`: expected an array of uint16 with 2 dimensions, got \
         one of float64 with shape [2]"
    );
    let wrong = NdArray::from_vec([1, 1], vec![0.5])?;
    assert_eq!(
        refusal(&camera, "typed", args!(wrong)).await,
        "camera.typed: argument `image`: expected an array of uint16 with 2 dimensions, got one of \
         float64 with shape [1, 1]; an `NdArray` takes every type, and converts it with `cast`"
    );
    Ok(())
}

#[test]
fn schemas_have_type_and_dimensions() {
    let schema = CameraService::new(Impl).into_service().schema().to_json();
    let array = |place: &serde_json::Value| {
        let key = |key: &str| place[format!("x-hypha-{key}")].clone();
        (key("type"), key("dtype"), key("dimensions"))
    };
    let image = (json!("ndarray"), json!("uint16"), json!(2));
    let function = |name: &str| schema[name]["function"].clone();
    for name in ["transposed", "typed"] {
        assert_eq!(
            array(&function(name)["parameters"]["properties"]["image"]),
            image
        );
        assert_eq!(array(&function(name)["returns"]), image);
    }
    let any = &function("mean")["parameters"]["properties"]["image"]["anyOf"][0];
    assert_eq!(
        array(any),
        (json!("ndarray"), json!("float64"), json!(null))
    );
    assert_eq!(array(&function("live")["returns"]["items"]), image);
    let wait = &function("wait")["parameters"]["properties"];
    assert_eq!(wait["pause"]["default"], 1.5);
    assert_eq!(wait["pause"]["x-hypha-type"], "duration");
}

#[tokio::test]
async fn times_are_seconds_also_where_serde_buffers() -> anyhow::Result<()> {
    let camera = in_process(CameraService::new(Impl)).await?;
    let second = Duration::from_secs(1);
    let until = SystemTime::UNIX_EPOCH + Duration::from_millis(981_173_106_500);
    let waited = camera.wait(second, second, vec![None, Some(second)], Some(until));
    assert_eq!(waited.await?, (3 * second, Some(until)));
    let seen: (f64, Option<f64>) = camera
        .service()
        .call("wait", args!(0.5, pauses = vec![1]))
        .await?;
    assert_eq!(seen, (3.0, None));
    assert_eq!(
        refusal(&camera, "wait", args!(-1, pauses = ())).await,
        "camera.wait: argument `time`: -1 is no duration in seconds"
    );
    let steps = vec![
        Step::Expose {
            gain: 1.5,
            time: Duration::from_millis(1500),
        },
        Step::Fill {
            wells: BTreeMap::from([(1, 0.5)]),
        },
    ];
    assert_eq!(camera.run(steps.clone()).await?, steps);
    let json = json!([{"kind": "expose", "gain": 1, "time": "long"}]);
    let refused = refusal(&camera, "run", args!(json)).await;
    assert!(refused.contains("`steps[0].time`"), "{refused}");
    Ok(())
}

#[tokio::test]
async fn byte_slices_accept_the_same_values_as_bytes() -> anyhow::Result<()> {
    let camera = in_process(CameraService::new(Impl)).await?;
    let list = || Value::from(vec![1, 2, 3]);
    for method in ["size", "shared", "binary"] {
        let size = async |data: Value, more: Value| {
            let size = camera.service().call::<u8>(method, args!(data, more));
            size.await
        };
        assert_eq!(size(list(), list()).await?, 6, "{method}");
        assert_eq!(size(Binary::from(b"abc").into(), Value::Null).await?, 3);
        for (wrong, kind) in [(Value::from("abc"), "string"), (Value::from(1), "integer")] {
            assert_eq!(
                refusal(&camera, method, args!(wrong)).await,
                format!("camera.{method}: argument `data`: expected bytes, got {kind}")
            );
        }
        // A list whose items are no bytes.
        let refused = refusal(&camera, method, args!(Value::from(vec![1, 256]))).await;
        assert!(refused.contains("argument `data"), "{refused}");
    }
    Ok(())
}
