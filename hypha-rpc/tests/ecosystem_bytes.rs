//! Tests `bytes::Bytes` in contracts. Such values are sent and described like `Binary`. They are
//! not copied if they are the whole argument or result.

use bytes::Bytes;
use futures_util::stream;
use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;
use hypha_rpc::testing::in_process;
use hypha_rpc::{Binary, args};
use serde_json::json;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Named {
    name: String,
    #[schemars(with = "Binary")]
    data: Bytes,
}

/// Binary data as arguments, results, items and fields.
#[hypha_service]
trait Store {
    /// Returns its argument.
    async fn echo(&self, data: Bytes) -> Bytes;
    /// Returns the total length of both arguments, or `None` without `data`.
    async fn len(
        &self,
        data: Option<Bytes>,
        #[hypha(default = Bytes::from_static(b"!"))] end: Bytes,
    ) -> Result<Option<usize>, Error>;
    /// Returns whether both arguments are slices of the same received frame.
    async fn share_a_frame(&self, first: Bytes, second: Bytes) -> bool;
    async fn same(&self, data: Binary) -> Option<Binary>;
    async fn maybe(&self) -> Option<Bytes>;
    async fn named(&self, named: Named) -> Named;
    async fn parts(&self, data: Bytes) -> impl Stream<Item = Bytes> + Send;
    async fn joined(&self, parts: RemoteStream<Bytes>) -> Result<Bytes, Error>;
    async fn through(&self, call: Callback<Bytes, Bytes>, data: Bytes) -> Result<Bytes, Error>;
}

struct Impl;

impl Store for Impl {
    async fn echo(&self, data: Bytes) -> Bytes {
        data
    }

    async fn len(&self, data: Option<Bytes>, end: Bytes) -> Result<Option<usize>, Error> {
        Ok(data.map(|data| data.len() + end.len()))
    }

    async fn share_a_frame(&self, first: Bytes, second: Bytes) -> bool {
        // Only the msgpack header of `second`, at most five bytes, is between the arguments.
        let end = first.as_ptr() as usize + first.len();
        (end..=end + 5).contains(&(second.as_ptr() as usize))
    }

    async fn same(&self, data: Binary) -> Option<Binary> {
        Some(data)
    }

    async fn maybe(&self) -> Option<Bytes> {
        Some(Bytes::from_static(b"maybe"))
    }

    async fn named(&self, named: Named) -> Named {
        named
    }

    async fn parts(&self, data: Bytes) -> impl Stream<Item = Bytes> + Send {
        let half = data.len() / 2;
        stream::iter([data.slice(..half), data.slice(half..)])
    }

    async fn joined(&self, mut parts: RemoteStream<Bytes>) -> Result<Bytes, Error> {
        let mut joined = Vec::new();
        while let Some(part) = parts.try_next().await? {
            joined.extend_from_slice(&part);
        }
        Ok(joined.into())
    }

    async fn through(&self, call: Callback<Bytes, Bytes>, data: Bytes) -> Result<Bytes, Error> {
        call.call(data).await
    }
}

#[tokio::test]
async fn bytes_are_sent_in_all_positions() -> anyhow::Result<()> {
    let store = in_process(StoreService::new(Impl)).await?;
    let large = Bytes::from((0..1 << 20).map(|n| n as u8).collect::<Vec<u8>>());
    assert_eq!(store.echo(large.clone()).await?, large);
    assert_eq!(store.len(None, Bytes::new()).await?, None);
    assert_eq!(
        store.len(Some(large.clone()), Bytes::new()).await?,
        Some(1 << 20)
    );
    let named = Named {
        name: "a".into(),
        data: large.clone(),
    };
    assert_eq!(store.named(named.clone()).await?, named);
    assert_eq!(store.maybe().await?, Some(Bytes::from_static(b"maybe")));
    let mut parts = store.parts(large.clone()).await?;
    let mut joined = Vec::new();
    while let Some(part) = parts.try_next().await? {
        joined.extend_from_slice(&part);
    }
    assert_eq!(joined, large);
    let stream = RemoteStream::new(stream::iter([large.slice(..9), large.slice(9..20)]));
    assert_eq!(store.joined(stream).await?, large.slice(..20));
    let back = Callback::new(|data: Bytes| async move { data });
    assert_eq!(store.through(back, large.clone()).await?, large);

    // A caller without the contract can decode the result as `Bytes` or as `Binary`.
    let service = store.service();
    let echoed: Bytes = service.call("echo", args!(large)).await?;
    assert_eq!(echoed, large);
    let echoed: Binary = service
        .call("echo", args!(data = Binary(large.clone())))
        .await?;
    assert_eq!(echoed.0, large);
    let same: Option<Bytes> = service.call("same", args!(large)).await?;
    assert_eq!(same, Some(large));
    let default: Option<usize> = service
        .call("len", args!(Bytes::from_static(b"ab")))
        .await?;
    assert_eq!(default, Some(3));
    let wrong = service.call::<Bytes>("echo", args!("text")).await;
    let error = wrong.expect_err("is refused").to_string();
    assert!(
        error.contains("argument `data`: expected bytes, got string"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn arguments_are_slices_of_the_frame() -> anyhow::Result<()> {
    let store = in_process(StoreService::new(Impl)).await?;
    for len in [10, 100_000] {
        let data = Bytes::from(vec![7; len]);
        assert!(
            store.share_a_frame(data.clone(), data.clone()).await?,
            "{len}"
        );
    }
    Ok(())
}

#[test]
fn bytes_are_described_as_binary_data() {
    let service = StoreService::new(Impl).into_service();
    let schema = |method: &str| {
        let schema = service.schema();
        let function = schema.get(method).and_then(|m| m.get("function"));
        function.expect("is there").to_json()
    };
    let binary = json!({"type": "string", "format": "binary", "x-hypha-type": "bytes"});
    let properties = |method: &str| schema(method)["parameters"]["properties"].clone();
    assert_eq!(properties("echo"), json!({"data": binary}));
    assert_eq!(properties("echo"), properties("same"));
    assert_eq!(schema("echo")["returns"], binary);
    assert_eq!(schema("maybe")["returns"], schema("same")["returns"]);
    let data = &properties("len")["data"];
    assert_eq!(data["anyOf"], json!([binary, {"type": "null"}]));
    assert_eq!(data["default"], json!(null));
    let named = &schema("named")["parameters"]["$defs"]["Named"];
    assert_eq!(named["properties"]["data"], binary);
}
