//! Tests a contract from end to end. The service and the proxy are generated from one trait, and
//! connected in memory.

// The tests contain contracts that elide lifetimes, and methods that do not use `self`.
#![allow(elided_lifetimes_in_paths, clippy::unused_self)]

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::stream;
use hypha_rpc::client::{Identity, Settings};
use hypha_rpc::prelude::*;
use hypha_rpc::service::IntoService;
use hypha_rpc::transport::memory;
use hypha_wire::Args;
use serde_json::json;

type Checked<T> = Result<T, String>;

/// A tree of numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Node {
    value: u32,
    children: Vec<Node>,
}

/// Everything that plain data can do.
///
/// The second paragraph is for readers of the code.
#[hypha_service(id = "sampler", visibility = "unlisted", service_type = "sample")]
trait Sampler {
    /// Divide one number by another.
    async fn divide(
        &self,
        /// The number to divide.
        a: f64,
        /// The number to divide by.
        #[hypha(default = 2.0)]
        b: f64,
    ) -> Result<f64, String>;

    /// Greet the caller.
    ///
    /// # Arguments
    ///
    /// * `name` - what to call them,
    ///   by their first name
    /// * `title` - before the name
    async fn greet(&self, ctx: &Context, name: &str, title: Option<&str>) -> String;

    async fn workspace(&self, #[hypha(context)] who: Context) -> String;
    async fn double(&self, data: &[u8], #[hypha(default = b"!")] end: &[u8]) -> Binary;
    async fn joined(
        &self,
        data: Option<&[u8]>,
        #[hypha(default = "-".into())] between: Cow<str>,
        #[hypha(default = f64::INFINITY)] limit: f64,
    ) -> Option<String>;
    #[allow(unknown_lints, mismatched_lifetime_syntaxes)]
    async fn title(&self, of: &str) -> Cow<str>;
    async fn fixed(&self) -> Result<Cow<'static, str>, Error>;
    async fn numbers(&self) -> Cow<'static, [u8]>;
    async fn largest(&self, tree: Node) -> Option<u32>;
    async fn maybe(&self, #[hypha(default = Some(7))] number: Option<u32>) -> Option<u32>;
    async fn aliased(&self, fail: bool) -> Checked<u32>;
    async fn standard(&self, fail: bool) -> std::io::Result<()>;
    async fn untyped(&self, fail: bool) -> anyhow::Result<u32>;
    async fn nothing(&self);
    /// Borrow everything that can be borrowed.
    #[hypha(blocking)]
    fn block(
        &self,
        ctx: &Context,
        text: &str,
        data: &[u8],
        #[hypha(default = 3)] times: usize,
    ) -> Result<String, String>;
    #[hypha(blocking)]
    fn block_with_body(&self, fail: bool) -> u32 {
        assert!(!fail, "asked to");
        1
    }
    #[hypha(name = "nested.call")]
    async fn r#match(&self, r#type: &str, #[hypha(name = "otherName")] other: &str) -> String;

    async fn with_body(&self, text: &str) -> Result<u32, String> {
        let number: u32 = text.parse().map_err(|e| format!("{text}: {e}"))?;
        Ok(number + 1)
    }
}

struct Desk;

impl Sampler for Desk {
    async fn divide(&self, a: f64, b: f64) -> Result<f64, String> {
        if b == 0.0 {
            Err("division by zero".into())
        } else {
            Ok(a / b)
        }
    }

    async fn greet(&self, ctx: &Context, name: &str, title: Option<&str>) -> String {
        tokio::task::yield_now().await;
        format!(
            "Hello {}{name} from {}",
            title.unwrap_or_default(),
            ctx.from()
        )
    }

    async fn workspace(&self, who: Context) -> String {
        who.workspace().to_owned()
    }

    async fn double(&self, data: &[u8], end: &[u8]) -> Binary {
        tokio::task::yield_now().await;
        [data, data, end].concat().into()
    }

    async fn joined(
        &self,
        data: Option<&[u8]>,
        between: Cow<'_, str>,
        limit: f64,
    ) -> Option<String> {
        let texts = data?.iter().filter(|byte| f64::from(**byte) <= limit);
        Some(texts.map(u8::to_string).collect::<Vec<_>>().join(&between))
    }

    async fn title(&self, _: &str) -> Cow<'_, str> {
        "desk".into()
    }

    async fn fixed(&self) -> Result<Cow<'static, str>, Error> {
        Ok("fixed".into())
    }

    async fn numbers(&self) -> Cow<'static, [u8]> {
        (&[1, 2]).into()
    }

    async fn largest(&self, tree: Node) -> Option<u32> {
        tree.children.iter().map(|child| child.value).max()
    }

    async fn maybe(&self, number: Option<u32>) -> Option<u32> {
        number
    }

    async fn aliased(&self, fail: bool) -> Checked<u32> {
        if fail { Err("asked to".into()) } else { Ok(1) }
    }

    async fn standard(&self, fail: bool) -> std::io::Result<()> {
        if fail {
            Err(std::io::Error::other("asked to"))
        } else {
            Ok(())
        }
    }

    async fn untyped(&self, fail: bool) -> anyhow::Result<u32> {
        anyhow::ensure!(!fail, "asked to");
        Ok(1)
    }

    async fn nothing(&self) {}

    fn block(
        &self,
        ctx: &Context,
        text: &str,
        data: &[u8],
        times: usize,
    ) -> Result<String, String> {
        if data.is_empty() {
            return Err("no data".into());
        }
        Ok(format!(
            "{} {} {}",
            ctx.from(),
            text.repeat(times),
            data.len()
        ))
    }

    async fn r#match(&self, r#type: &str, other: &str) -> String {
        format!("{type}{other}")
    }
}

/// Returns two connected clients, `ws/desk` and `ws/user`.
fn clients() -> (Client, Client) {
    let (left, right) = memory::pair(64);
    let left = Client::from_link(
        Box::new(left),
        Identity::new("ws", "desk"),
        Settings::in_process(),
    );
    let right = Client::from_link(
        Box::new(right),
        Identity::new("ws", "user"),
        Settings::in_process(),
    );
    (left, right)
}

/// Returns the client that provides the service, and the service and its proxy at the other client.
async fn connected() -> (Client, RemoteService, SamplerProxy) {
    let (left, right) = clients();
    let service = left
        .register_service(SamplerService::new(Desk))
        .notify(false);
    service.await.expect("the service can be registered");
    let remote = right
        .get_remote_service("ws/desk:sampler")
        .await
        .expect("it can be fetched");
    (left, remote.clone(), SamplerProxy::from_service(remote))
}

#[tokio::test]
async fn results_of_all_kinds() -> anyhow::Result<()> {
    let (_desk, _, proxy) = connected().await;
    assert_eq!(proxy.divide(1.0, 4.0).await?, 0.25);
    assert_eq!(proxy.greet("Ada", None).await?, "Hello Ada from ws/user");
    assert_eq!(
        proxy.greet("Ada", Some("Dr ")).await?,
        "Hello Dr Ada from ws/user"
    );
    assert_eq!(proxy.double(b"ab", b"c").await?, Binary::from(b"ababc"));
    let leaf = |value| Node {
        value,
        children: Vec::new(),
    };
    let tree = Node {
        value: 9,
        children: vec![leaf(3), leaf(5)],
    };
    assert_eq!(proxy.largest(tree).await?, Some(5));
    assert_eq!(proxy.largest(leaf(1)).await?, None);
    assert_eq!(proxy.nothing().await?, ());
    assert_eq!(proxy.r#match("a", "b").await?, "ab");
    assert_eq!(proxy.with_body("41").await?, 42);
    assert_eq!(proxy.aliased(false).await?, 1);
    proxy.standard(false).await?;
    assert_eq!(
        proxy
            .untyped(false)
            .await
            .map_err(|e| anyhow::anyhow!("{e}"))?,
        1
    );
    Ok(())
}

#[tokio::test]
async fn blocking_methods_are_like_others() -> anyhow::Result<()> {
    let (_desk, remote, proxy) = connected().await;
    assert_eq!(proxy.block("ab", b"123", 2).await?, "ws/user abab 3");
    let by_default: String = remote
        .call("block", hypha_rpc::args!("a", Binary::from(b"1")))
        .await?;
    assert_eq!(by_default, "ws/user aaa 1");
    let failed = proxy.block("a", b"", 1).await;
    assert!(failed.is_err_and(|e| e.to_string().contains("no data")));
    let wrong: Result<String, Error> = remote.call("block", hypha_rpc::args!(1)).await;
    let wrong = wrong.expect_err("not a text").to_string();
    assert!(
        wrong.contains("argument `text`: expected string"),
        "{wrong}"
    );
    assert_eq!(proxy.block_with_body(false).await?, 1);
    let panicked = proxy.block_with_body(true).await.expect_err("panics");
    let text = "sampler.block_with_body panicked: asked to";
    assert!(panicked.to_string().contains(text), "{panicked}");
    let config = remote.get("config").expect("there is a config");
    assert_eq!(config.get("run_in_executor"), Some(&Value::from(true)));
    Ok(())
}

/// An alias for `Result` does not hide the error type from the proxy.
#[tokio::test]
async fn errors_of_all_kinds() {
    let (_desk, _, proxy) = connected().await;
    let divide: Result<f64, Error<String>> = proxy.divide(1.0, 0.0).await;
    assert!(divide.is_err_and(|e| e.to_string().contains("division by zero")));
    let aliased: Result<u32, Error<String>> = proxy.aliased(true).await;
    assert!(aliased.is_err_and(|e| e.to_string().contains("asked to")));
    let standard: Result<(), Error<std::io::Error>> = proxy.standard(true).await;
    assert!(standard.is_err_and(|e| e.to_string().contains("asked to")));
    let untyped: Result<u32, Error<anyhow::Error>> = proxy.untyped(true).await;
    assert!(untyped.is_err_and(|e| e.to_string().contains("asked to")));
    let body: Result<u32, Error<String>> = proxy.with_body("x").await;
    assert!(body.is_err_and(|e| e.to_string().contains("x: invalid digit")));
}

#[tokio::test]
async fn arguments_left_out_and_given_by_name() -> anyhow::Result<()> {
    let (_desk, remote, proxy) = connected().await;
    let half: f64 = remote.call("divide", hypha_rpc::args!(1.0)).await?;
    assert_eq!(half, 0.5);
    let named: f64 = remote
        .call("divide", hypha_rpc::args!(b = 4.0, a = 1.0))
        .await?;
    assert_eq!(named, 0.25);
    let bytes: Binary = remote
        .call("double", hypha_rpc::args!(Binary::from(b"a")))
        .await?;
    assert_eq!(bytes, Binary::from(b"aa!"));
    let greeting: String = remote.call("greet", hypha_rpc::args!(name = "Ada")).await?;
    assert_eq!(greeting, "Hello Ada from ws/user");
    let by_wire_name: String = remote
        .call("nested.call", hypha_rpc::args!(otherName = "b", type = "a"))
        .await?;
    assert_eq!(by_wire_name, "ab");

    assert_eq!(
        proxy
            .joined(Some(b"ab"), "+".into(), 97.5)
            .await?
            .as_deref(),
        Some("97")
    );
    assert_eq!(proxy.joined(None, "+".into(), 0.0).await?, None);
    let joined: Option<String> = remote
        .call("joined", hypha_rpc::args!(Binary::from(b"ab")))
        .await?;
    assert_eq!(joined.as_deref(), Some("97-98"));

    // The service uses the default for an omitted argument. Nil is a value of its own, which the
    // proxy sends for `None`.
    let absent: Option<u32> = remote.call("maybe", hypha_rpc::args!()).await?;
    assert_eq!(absent, Some(7));
    assert_eq!(proxy.maybe(None).await?, None);
    Ok(())
}

#[tokio::test]
async fn wrong_arguments_are_named() {
    let (_desk, remote, _) = connected().await;
    let refused = async |method: &str, args: Args| {
        let answer: Result<Value, Error> = remote.call(method, args).await;
        answer.expect_err("the arguments are wrong").to_string()
    };
    for (text, words) in [
        (
            refused("divide", hypha_rpc::args!()).await,
            ["divide", "`a`"],
        ),
        (
            refused("divide", hypha_rpc::args!("x")).await,
            ["divide", "`a`"],
        ),
        (
            refused("divide", hypha_rpc::args!(1.0, c = 2.0)).await,
            ["divide", "`c`"],
        ),
        (
            refused("nothing", hypha_rpc::args!(1.0)).await,
            ["nothing", "got 1"],
        ),
        (
            refused(
                "largest",
                hypha_rpc::args!(json!({"value": 1, "children": [3]})),
            )
            .await,
            ["largest", "children[0]"],
        ),
    ] {
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
}

#[tokio::test]
async fn the_service_is_described_to_peers() {
    let (_desk, remote, _) = connected().await;
    assert_eq!(SamplerProxy::SERVICE_ID, "sampler");
    assert_eq!(
        remote.get("description"),
        Some(&Value::from("Everything that plain data can do."))
    );
    assert_eq!(remote.get("type"), Some(&Value::from("sample")));
    let config = remote.get("config").expect("there is a config");
    assert_eq!(config.get("visibility"), Some(&Value::from("unlisted")));
    assert_eq!(config.get("require_context"), Some(&Value::from(true)));
    assert_eq!(
        remote.doc("divide").as_deref(),
        Some("Divide one number by another.")
    );

    let schema = |method| remote.schema(method).expect("there is a schema").to_json();
    assert_eq!(
        schema("divide").to_string(),
        json!({
            "name": "divide",
            "description": "Divide one number by another.",
            "parameters": {
                "type": "object",
                "properties": {
                    "a": {"type": "number", "description": "The number to divide."},
                    "b": {
                        "type": "number",
                        "description": "The number to divide by.",
                        "default": 2.0
                    },
                },
                "required": ["a"],
            },
            "returns": {"type": "number"},
            "x-hypha-error": {"type": "string"},
        })
        .to_string()
    );
    assert_eq!(
        schema("greet")["parameters"],
        json!({
            "type": "object",
            "properties": {
                "name": {"type": "string", "description": "what to call them, by their first name"},
                "title": {
                    "anyOf": [{"type": "string"}, {"type": "null"}],
                    "description": "before the name",
                    "default": null,
                },
            },
            "required": ["name"],
        })
    );
    assert_eq!(schema("greet")["description"], "Greet the caller.");
    assert_eq!(schema("workspace")["parameters"]["properties"], json!({}));
    assert_eq!(
        schema("double")["parameters"]["properties"]["data"],
        json!({"type": "string", "format": "binary", "x-hypha-type": "bytes"})
    );
    // The schema omits defaults that JSON cannot represent.
    assert_eq!(
        schema("double")["parameters"],
        json!({
            "type": "object",
            "properties": {
                "data": {"type": "string", "format": "binary", "x-hypha-type": "bytes"},
                "end": {"type": "string", "format": "binary", "x-hypha-type": "bytes"},
            },
            "required": ["data"],
        })
    );
    assert_eq!(
        schema("joined")["parameters"]["properties"],
        json!({
            "data": {
                "anyOf": [
                    {"type": "string", "format": "binary", "x-hypha-type": "bytes"},
                    {"type": "null"},
                ],
                "default": null,
            },
            "between": {"type": "string", "default": "-"},
            "limit": {"type": "number"},
        })
    );
    let tree = &schema("largest")["parameters"];
    assert_eq!(tree["properties"]["tree"]["$ref"], "#/$defs/Node");
    assert_eq!(
        tree["$defs"]["Node"]["properties"]["children"]["items"]["$ref"],
        "#/$defs/Node"
    );
}

/// The result of a call does not borrow from its proxy.
#[tokio::test]
async fn results_outlive_the_proxy() -> anyhow::Result<()> {
    let (_desk, _, proxy) = connected().await;
    let title = proxy.title("it").await?;
    let (fixed, numbers) = (proxy.fixed().await?, proxy.numbers().await?);
    drop(proxy);
    assert_eq!(title, "desk");
    assert_eq!((&*fixed, &*numbers), ("fixed", &[1, 2][..]));
    Ok(())
}

#[test]
fn an_implementation_can_be_an_arc() {
    let desk = std::sync::Arc::new(Desk);
    let service = SamplerService::from_arc(std::sync::Arc::clone(&desk)).into_service();
    assert_eq!(service.id(), "sampler");
    assert_eq!(std::sync::Arc::strong_count(&desk), 19);
}

/// A service that is an `impl` block, not a trait.
struct Ledger {
    total: std::sync::Mutex<f64>,
}

/// Keeps a total.
#[hypha_service(visibility = "public", rename_all = "camelCase")]
impl Ledger {
    const LIMIT: f64 = 100.0;

    fn check(amount: f64) -> Result<f64, String> {
        if amount > Self::LIMIT {
            return Err(format!("{amount} is too much"));
        }
        Ok(amount)
    }

    /// Add to the total.
    pub(crate) async fn add_up(
        &self,
        /// Amount to add.
        #[hypha(default = 1.0)]
        amount: f64,
    ) -> Result<f64, String> {
        let mut total = self.total.lock().expect("lock");
        *total += Self::check(amount)?;
        Ok(*total)
    }

    /// Say to whom the total belongs.
    pub(crate) async fn owner(&self, ctx: &Context, greeting: &str) -> String {
        format!("{greeting} {}", ctx.from())
    }

    /// Count down.
    pub(crate) async fn countdown(&self, from: u32) -> impl Stream<Item = u32> {
        futures_util::stream::iter((0..from).rev())
    }

    /// Block for a moment.
    #[hypha(blocking)]
    pub(crate) fn block(&self) -> bool {
        true
    }
}

#[tokio::test]
async fn an_impl_block_is_a_service() {
    let ledger = Ledger {
        total: std::sync::Mutex::new(0.0),
    };
    let (a, b) = hypha_rpc::transport::memory::pair(64);
    let client = |link, id| {
        let identity = hypha_rpc::client::Identity::new("ws", id);
        Client::from_link(
            Box::new(link),
            identity,
            hypha_rpc::client::Settings::in_process(),
        )
    };
    let (a, b) = (client(a, "a"), client(b, "b"));
    b.register_service(ledger).await.expect("registers");
    let service = a.get_remote_service("ws/b:ledger").await.expect("fetches");
    let description = service.get("description").and_then(Value::as_str);
    assert_eq!(description, Some("Keeps a total."));
    let ledger = LedgerProxy::from_service(service.clone());
    assert_eq!(ledger.add_up(2.5).await.expect("adds"), 2.5);
    let added: f64 = service
        .call("addUp", hypha_rpc::args!())
        .await
        .expect("adds");
    assert_eq!(added, 3.5);
    let error = ledger.add_up(1000.0).await.expect_err("refuses");
    assert!(error.to_string().contains("1000 is too much"), "{error}");
    assert_eq!(ledger.owner("It is").await.expect("answers"), "It is ws/a");
    assert!(ledger.block().await.expect("answers"));
    let mut countdown = ledger.countdown(2).await.expect("answers");
    assert_eq!(countdown.try_next().await.expect("an item"), Some(1));
    assert!(!service.has_method("check"), "private methods stay private");
}

/// A result without a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plain {
    value: u8,
}

type Fallible<T> = Result<T, Error>;

#[hypha_service(visibility = "unlisted")]
trait Results {
    async fn plain(&self) -> Plain;
    async fn plain_list(&self) -> Vec<Plain>;
    async fn plain_option(&self) -> Option<Plain>;
    async fn plain_or_error(&self) -> Result<Plain, Error>;
    async fn plain_alias(&self) -> Fallible<Plain>;
    async fn bytes_list(&self) -> Vec<Bytes>;
    async fn bytes_pair(&self) -> (Bytes, u8);
    async fn bytes_box(&self) -> Result<Box<Bytes>, Error>;
    async fn bytes_option_twice(&self) -> Option<Option<Bytes>>;
    async fn plain_items(&self) -> impl Stream<Item = Plain> + Send;
    async fn bytes_list_items(&self) -> impl Stream<Item = Vec<Bytes>> + Send;
    async fn fallible_items(&self) -> Result<impl Stream<Item = Plain> + Send, Error>;

    async fn bytes(&self) -> Bytes;
    async fn bytes_or_error(&self) -> Result<Bytes, Error>;
    async fn bytes_option(&self) -> Fallible<Option<Bytes>>;
    async fn bytes_items(&self) -> impl Stream<Item = Bytes> + Send;
    async fn number(&self) -> u8;
    async fn number_list(&self) -> Fallible<Vec<u8>>;
    async fn number_items(&self) -> impl Stream<Item = u8> + Send;
}

const PLAIN: Plain = Plain { value: 7 };
const BYTES: Bytes = Bytes::from_static(b"ab");

struct Constants;

impl Results for Constants {
    async fn plain(&self) -> Plain {
        PLAIN
    }

    async fn plain_list(&self) -> Vec<Plain> {
        vec![PLAIN]
    }

    async fn plain_option(&self) -> Option<Plain> {
        Some(PLAIN)
    }

    async fn plain_or_error(&self) -> Result<Plain, Error> {
        Ok(PLAIN)
    }

    async fn plain_alias(&self) -> Fallible<Plain> {
        Ok(PLAIN)
    }

    async fn bytes_list(&self) -> Vec<Bytes> {
        vec![BYTES]
    }

    async fn bytes_pair(&self) -> (Bytes, u8) {
        (BYTES, 1)
    }

    async fn bytes_box(&self) -> Result<Box<Bytes>, Error> {
        Ok(Box::new(BYTES))
    }

    async fn bytes_option_twice(&self) -> Option<Option<Bytes>> {
        Some(Some(BYTES))
    }

    async fn plain_items(&self) -> impl Stream<Item = Plain> + Send {
        stream::iter([PLAIN])
    }

    async fn bytes_list_items(&self) -> impl Stream<Item = Vec<Bytes>> + Send {
        stream::iter([vec![BYTES]])
    }

    async fn fallible_items(&self) -> Result<impl Stream<Item = Plain> + Send, Error> {
        Ok(stream::iter([PLAIN]))
    }

    async fn bytes(&self) -> Bytes {
        BYTES
    }

    async fn bytes_or_error(&self) -> Result<Bytes, Error> {
        Ok(BYTES)
    }

    async fn bytes_option(&self) -> Fallible<Option<Bytes>> {
        Ok(Some(BYTES))
    }

    async fn bytes_items(&self) -> impl Stream<Item = Bytes> + Send {
        stream::iter([BYTES])
    }

    async fn number(&self) -> u8 {
        1
    }

    async fn number_list(&self) -> Fallible<Vec<u8>> {
        Ok(vec![1])
    }

    async fn number_items(&self) -> impl Stream<Item = u8> + Send {
        stream::iter([1])
    }
}

#[test]
fn only_results_with_a_schema_are_described() {
    let service = ResultsService::new(Constants).into_service();
    let returns = |method: &str| {
        let schema = service.schema();
        let function = schema.get(method).and_then(|m| m.get("function"));
        let function = function.expect("there is a schema").to_json();
        function.get("returns").cloned()
    };
    for method in [
        "plain",
        "plain_list",
        "plain_option",
        "plain_or_error",
        "plain_alias",
        "bytes_list",
        "bytes_pair",
        "bytes_box",
        "bytes_option_twice",
    ] {
        assert_eq!(returns(method), None, "{method}");
    }

    let items = |method: &str| returns(method).expect("streams are described")["items"].clone();
    for method in ["plain_items", "bytes_list_items", "fallible_items"] {
        assert_eq!(items(method), json!({}), "{method}");
    }

    let binary = json!({"type": "string", "format": "binary", "x-hypha-type": "bytes"});
    assert_eq!(returns("bytes"), Some(binary.clone()));
    assert_eq!(returns("bytes_or_error"), Some(binary.clone()));
    assert_eq!(
        returns("bytes_option"),
        Some(json!({"anyOf": [binary, {"type": "null"}]}))
    );
    assert_eq!(items("bytes_items"), binary);
    let number = returns("number").expect("it has a schema");
    assert_eq!(number["type"], "integer");
    assert_eq!(
        returns("number_list"),
        Some(json!({"type": "array", "items": number}))
    );
    assert_eq!(items("number_items"), number);
}

#[tokio::test]
async fn results_without_a_schema_arrive() -> anyhow::Result<()> {
    let (desk, user) = clients();
    let service = desk
        .register_service(ResultsService::new(Constants))
        .notify(false);
    service.await?;
    let remote = user.get_remote_service("ws/desk:results").await?;
    let proxy = ResultsProxy::from_service(remote);
    assert_eq!(proxy.plain().await?, PLAIN);
    assert_eq!(proxy.plain_list().await?, [PLAIN]);
    assert_eq!(proxy.plain_option().await?, Some(PLAIN));
    assert_eq!(proxy.plain_or_error().await?, PLAIN);
    assert_eq!(proxy.plain_alias().await?, PLAIN);
    assert_eq!(proxy.bytes_list().await?, [BYTES]);
    assert_eq!(proxy.bytes_pair().await?, (BYTES, 1));
    assert_eq!(*proxy.bytes_box().await?, BYTES);
    assert_eq!(proxy.bytes_option_twice().await?, Some(Some(BYTES)));
    let mut plain_items = proxy.plain_items().await?;
    assert_eq!(plain_items.try_next().await?, Some(PLAIN));
    let mut bytes_list_items = proxy.bytes_list_items().await?;
    assert_eq!(bytes_list_items.try_next().await?, Some(vec![BYTES]));
    let mut fallible_items = proxy.fallible_items().await?;
    assert_eq!(fallible_items.try_next().await?, Some(PLAIN));
    Ok(())
}
