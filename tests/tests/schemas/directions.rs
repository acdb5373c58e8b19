//! Contract whose types have another form when they are sent, with optional files, callbacks and
//! streams. Tests that the generated contract has the same schema, and that its proxy calls the
//! original service without loss.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::StreamExt as _;
use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;
use hypha_rpc::{RemoteFile, RemoteStream};
use hypha_rpc_tests::cases::run;
use hypha_rpc_tests::servers::{Kind, Server};
use hypha_schema::Description;

use crate::generated::{assert_matches_compiled_file, directions as made};

/// A report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Report {
    #[serde(rename(serialize = "title", deserialize = "name"))]
    pub(crate) text: String,
    /// Number that the service assigns.
    #[serde(skip_deserializing)]
    pub(crate) number: u32,
    #[serde(skip_serializing)]
    pub(crate) password: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    pub(crate) label: Option<String>,
    pub(crate) anything: Option<serde_json::Value>,
    #[serde(default = "limits")]
    pub(crate) limits: Vec<Duration>,
}

fn limits() -> Vec<Duration> {
    vec![Duration::from_millis(1500)]
}

/// A type with the same form in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Plain {
    pub(crate) label: Option<String>,
    pub(crate) anything: Option<serde_json::Value>,
    #[serde(default)]
    pub(crate) counts: BTreeMap<String, u8>,
    pub(crate) last: u8,
}

/// Optional values that stay at their owner.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Parts {
    pub(crate) file: Option<RemoteFile>,
    pub(crate) progress: Option<Callback<(u8,), ()>>,
    pub(crate) source: Option<RemoteStream<u8>>,
}

/// Sends and receives.
#[hypha_service(id = "directions")]
pub(crate) trait Directions {
    async fn report(&self, it: Report) -> Vec<Report>;
    async fn listen(&self, listener: Callback<(Report,), Report>) -> Result<String, Error>;
    async fn items(&self) -> impl Stream<Item = Report>;
    async fn plain(&self, it: Plain, call: Callback<(Plain,), Plain>) -> Result<Plain, Error>;
    async fn count(&self, all: Vec<Option<RemoteFile>>, parts: Parts) -> Vec<bool>;
    async fn nothing(&self) -> (Option<RemoteFile>, Option<RemoteStream<u8>>);
}

struct Desk;

fn report(text: &str) -> Report {
    Report {
        text: text.to_owned(),
        number: 7,
        password: "secret".to_owned(),
        tags: Vec::new(),
        label: None,
        anything: None,
        limits: limits(),
    }
}

impl Directions for Desk {
    async fn report(&self, it: Report) -> Vec<Report> {
        vec![Report { number: 7, ..it }]
    }

    async fn listen(&self, listener: Callback<(Report,), Report>) -> Result<String, Error> {
        let answer = listener.call((report("a"),)).await?;
        Ok(format!("{} {}", answer.text, answer.password))
    }

    async fn items(&self) -> impl Stream<Item = Report> {
        futures_util::stream::iter([report("a")])
    }

    async fn plain(&self, it: Plain, call: Callback<(Plain,), Plain>) -> Result<Plain, Error> {
        call.call((it,)).await
    }

    async fn count(&self, all: Vec<Option<RemoteFile>>, parts: Parts) -> Vec<bool> {
        let mut given: Vec<bool> = all.iter().map(Option::is_some).collect();
        given.extend([
            parts.file.is_some(),
            parts.progress.is_some(),
            parts.source.is_some(),
        ]);
        given
    }

    async fn nothing(&self) -> (Option<RemoteFile>, Option<RemoteStream<u8>>) {
        (None, None)
    }
}

/// Implementation of the generated contract, for its schema.
struct Again;

impl made::Directions for Again {
    async fn report(&self, _: made::Report) -> Vec<made::Report2> {
        Vec::new()
    }

    async fn listen(&self, _: Callback<made::Report2, made::Report>) -> Result<String, String> {
        Ok(String::new())
    }

    async fn items(&self) -> impl Stream<Item = made::Report2> + Send {
        futures_util::stream::empty()
    }

    async fn plain(
        &self,
        it: made::Plain,
        _: Callback<made::Plain, made::Plain>,
    ) -> Result<made::Plain, String> {
        Ok(it)
    }

    async fn count(&self, _: Vec<Option<RemoteFile>>, _: made::Parts) -> Vec<bool> {
        Vec::new()
    }

    async fn nothing(&self) -> (Option<RemoteFile>, Option<RemoteStream<u8>>) {
        (None, None)
    }
}

#[test]
fn the_generated_contract_has_the_same_directions() -> Result<()> {
    let original = Description::of(DirectionsService::new(Desk));
    assert_matches_compiled_file("directions", &original.rust())?;
    let schema = |service: hypha_rpc::Service| service.schema().to_json();
    let ours = schema(DirectionsService::new(Desk).into_service());
    let again = schema(made::DirectionsService::new(Again).into_service());
    // The other methods have types with different names for each direction.
    for name in ["plain", "count", "nothing"] {
        ensure!(
            again[name] == ours[name],
            "{name}: {} {}",
            again[name],
            ours[name]
        );
    }
    Ok(())
}

#[test]
fn values_arrive_in_both_directions() {
    run(Kind::Ours, &[], every_value_arrives);
}

/// Calls the original service with the generated proxy.
async fn every_value_arrives(server: &Server) -> Result<()> {
    let client = hypha_rpc::connect(&server.url).await?;
    let info = client
        .register_service(DirectionsService::new(Desk))
        .await?;
    let live = Description::fetch(&client, &info.id).await?;
    assert_matches_compiled_file("directions", &live.rust())?;
    let proxy: made::DirectionsProxy = client.proxy(info.id).await?;
    let sent = made::Report {
        name: "a".into(),
        password: "b".into(),
        tags: Vec::new(),
        label: None,
        anything: None,
        limits: limits(),
    };
    let found = proxy.report(sent.clone()).await?;
    let wanted = made::Report2 {
        title: "a".into(),
        number: 7,
        tags: None,
        label: None,
        // The service sends null, which may be a value.
        anything: Some(Value::Null),
        limits: limits(),
    };
    ensure!(found == [wanted.clone()], "{found:?}");
    let listener = Callback::new(move |report: made::Report2| {
        let answer = made::Report {
            name: format!("{}{}", report.title, report.number),
            ..sent.clone()
        };
        async move { answer }
    });
    let heard = proxy.listen(listener).await?;
    ensure!(heard == "a7 b", "{heard}");
    let items: Vec<_> = proxy.items().await?.collect().await;
    let items: Vec<_> = items.into_iter().collect::<Result<_, _>>()?;
    ensure!(items == [wanted], "{items:?}");
    let plain = made::Plain {
        label: None,
        anything: Some(Value::Null),
        counts: BTreeMap::from([("a".to_owned(), 1)]),
        last: 2,
    };
    let echo = Callback::new(|it: made::Plain| async move { it });
    let found = proxy.plain(plain.clone(), echo).await?;
    ensure!(found == plain, "{found:?}");
    let file = RemoteFile::from_bytes(vec![1, 2]);
    let parts = made::Parts {
        file: None,
        progress: Some(Callback::new(|_: u8| async {})),
        source: None,
    };
    let given = proxy.count(vec![None, Some(file)], parts).await?;
    ensure!(given == [false, true, false, true, false], "{given:?}");
    let (file, stream) = proxy.nothing().await?;
    ensure!(file.is_none() && stream.is_none());
    client.disconnect().await;
    Ok(())
}
