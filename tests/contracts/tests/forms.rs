//! Tests that each feature of a contract works in the same way in a trait and in an `impl` block.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use anyhow::{Context as _, Result};
use futures_util::stream;
use hypha_rpc::args;
use hypha_rpc::error::RejectKind;
use hypha_rpc::prelude::*;
use hypha_rpc::testing::in_process;
use hypha_rpc_contracts::alone::Alone;
use hypha_rpc_contracts::shared::{
    Counter, CounterProxy, CounterService, Everything, EverythingService,
};
use hypha_rpc_contracts::types::{
    Content, Id, LabError, Material, Order, Outcome, Place, Plate, Size, Tree, Well,
};
use serde_json::json;

/// Implements the trait `Everything` with the methods of [`Alone`].
struct Served(Alone);

impl Everything for Served {
    async fn borrowed(&self, text: &str, data: &[u8]) -> Binary {
        self.0.borrowed(text, data).await
    }
    async fn owned_bytes(&self, data: Binary) -> Binary {
        self.0.owned_bytes(data).await
    }
    async fn image(&self, image: NdArray, scale: f32) -> NdArray {
        self.0.image(image, scale).await
    }
    async fn optional(
        &self,
        first: Option<u32>,
        second: Option<u32>,
        third: &str,
    ) -> (Option<u32>, Option<u32>, String) {
        self.0.optional(first, second, third).await
    }
    async fn plate(&self, plate: Plate) -> Outcome<Plate> {
        self.0.plate(plate).await
    }
    async fn enums(
        &self,
        content: Content,
        material: Material,
        orders: Vec<Order>,
        size: Size,
    ) -> (Content, Material, Vec<Order>, Size) {
        self.0.enums(content, material, orders, size).await
    }
    async fn nested(
        &self,
        groups: BTreeMap<String, Vec<(Id, Option<Size>)>>,
        pair: (u8, String),
        fixed: [f64; 3],
    ) -> HashMap<String, usize> {
        self.0.nested(groups, pair, fixed).await
    }
    async fn tree(&self, tree: Tree) -> Tree {
        self.0.tree(tree).await
    }
    async fn anything(&self, value: Value) -> Value {
        self.0.anything(value).await
    }
    async fn caller(&self, ctx: &Context) -> String {
        self.0.caller(ctx).await
    }
    async fn calling_workspace(&self, word: &str, who: Context) -> String {
        self.0.calling_workspace(word, who).await
    }
    async fn typed_error(&self, amount: f64) -> Result<f64, LabError> {
        self.0.typed_error(amount).await
    }
    async fn untyped_error(&self, fail: bool) -> Result<u32> {
        self.0.untyped_error(fail).await
    }
    async fn nothing(&self) {
        self.0.nothing().await;
    }
    async fn count(&self, to: u32) -> impl Stream<Item = u32> {
        self.0.count(to).await
    }
    async fn words(
        &self,
        text: &str,
    ) -> Outcome<impl Stream<Item = Result<String, LabError>> + Send> {
        self.0.words(text).await
    }
    async fn sum(&self, numbers: RemoteStream<f64>) -> Result<f64, Error> {
        self.0.sum(numbers).await
    }
    async fn train(&self, epochs: u32, on_loss: Callback<(u32, f64), bool>) -> Result<u32, Error> {
        self.0.train(epochs, on_loss).await
    }
    async fn counter(&self, from: i64) -> Object<CounterProxy> {
        self.0.counter(from).await
    }
    async fn count_with(&self, counter: Object<CounterProxy>) -> Result<i64, Error> {
        self.0.count_with(counter).await
    }
    fn block(&self, ctx: &Context, text: &str, times: usize) -> Outcome<String> {
        self.0.block(ctx, text, times)
    }
    async fn move_stage(&self, x: f64, y: f64) -> (f64, f64) {
        self.0.move_stage(x, y).await
    }
    async fn r#match(&self, r#type: &str) -> String {
        self.0.r#match(r#type).await
    }
    async fn title(&self) -> Cow<'_, str> {
        self.0.title().await
    }
    async fn former(&self) -> bool {
        true
    }
}

/// A counter object of the caller.
struct Ten;

impl Counter for Ten {
    async fn add(&self, by: i64) -> i64 {
        10 + by
    }
}

fn plate() -> Plate {
    Plate {
        plate_name: "P1".into(),
        wells: BTreeMap::from([
            (
                "A1".into(),
                Well {
                    volume: 1.5,
                    content: Some(Content::Salt(0.1)),
                },
            ),
            (
                "A2".into(),
                Well {
                    volume: 2.0,
                    content: None,
                },
            ),
        ]),
        tags: vec!["new".into(), "cold".into()],
        place: Place {
            room: "R".into(),
            shelf: 3,
        },
        material: Material::Glass { thickness: 0.2 },
        corners: [(0.0, 0.0), (1.0, 2.0)],
        note: Some("n".into()),
        uses: 2,
        hidden: 0,
    }
}

/// Defines the tests of a service. The expression `$service` creates the service.
macro_rules! tests {
    ($form:ident, $service:expr) => {
        mod $form {
            use super::*;

            fn lab() -> Alone {
                Alone::new("the lab".to_owned())
            }

            #[tokio::test]
            async fn values() -> Result<()> {
                let lab = in_process($service(lab())).await?;
                assert_eq!(lab.borrowed("ab", b"c").await?, Binary::from(b"abc"));
                assert_eq!(lab.owned_bytes(b"c".into()).await?, Binary::from(b"c"));
                let image = NdArray::from(vec![1u16, 2, 3]);
                assert_eq!(lab.image(image.clone(), 1.0).await?, image);
                assert_eq!(lab.plate(plate()).await?, plate());
                let mix = Content::Mix { first: 0.5, second: 0.25 };
                let orders = || {
                    let place = Place { room: "R".into(), shelf: 1 };
                    vec![Order::Heat(37.0), Order::Move(place)]
                };
                let sides = Size::Sides { width: 1.0, height: 2.0 };
                assert_eq!(
                    lab.enums(mix, Material::Plastic, orders(), sides).await?,
                    (mix, Material::Plastic, orders(), sides)
                );
                let (content, _, _, size) =
                    lab.enums(Content::Water, Material::Plastic, vec![], Size::Number(2.0)).await?;
                assert_eq!((content, size), (Content::Water, Size::Number(2.0)));
                let groups = BTreeMap::from([("a".to_owned(), vec![(Id(1), None), (Id(2), Some(sides))])]);
                let lengths = lab.nested(groups, (7, "pair".into()), [1.0, 2.0, 3.0]).await?;
                let expected = [("a", 2), ("pair", 7), ("fixed", 3)];
                let expected = HashMap::from(expected.map(|(name, n)| (name.to_owned(), n)));
                assert_eq!(lengths, expected);
                let leaf = Tree { id: Id(2), children: vec![] };
                let tree = Tree { id: Id(1), children: vec![leaf] };
                assert_eq!(lab.tree(tree.clone()).await?, tree);
                let value = Value::from("anything");
                assert_eq!(lab.anything(value.clone()).await?, value);
                lab.nothing().await?;
                assert_eq!(lab.move_stage(1.0, 2.0).await?, (1.0, 2.0));
                assert_eq!(lab.r#match("t").await?, "t");
                assert_eq!(lab.title().await?, "the lab");
                #[allow(deprecated)]
                let former = lab.former().await?;
                assert!(former);
                assert_eq!(lab.body(4).await?, 8);
                Ok(())
            }

            #[tokio::test]
            async fn context_and_blocking() -> Result<()> {
                let lab = in_process($service(lab())).workspace("ws-other").await?;
                assert_eq!(lab.caller().await?, "ws-other/caller");
                assert_eq!(lab.calling_workspace("in").await?, "in ws-other");
                assert_eq!(lab.block("ab", 2).await?, "ws-other/caller abab");
                let config = lab.service().get("config").context("config")?;
                assert_eq!(config.get("require_context"), Some(&Value::from(true)));
                assert_eq!(config.get("run_in_executor"), Some(&Value::from(true)));
                Ok(())
            }

            #[tokio::test]
            async fn errors() -> Result<()> {
                let lab = in_process($service(lab())).await?;
                let busy = |result| matches!(result, Err(Error::Service(LabError::Busy)));
                match lab.typed_error(200.0).await {
                    Err(Error::Service(LabError::TooMuch { amount, limit })) => {
                        assert_eq!((amount, limit), (200.0, 100.0));
                    }
                    other => panic!("{other:?}"),
                }
                assert_eq!(lab.typed_error(2.0).await?, 2.0);
                assert!(busy(lab.block("", 1).await));
                assert!(lab.plate(Plate { uses: 10, ..plate() }).await.is_err());
                let error = lab.untyped_error(true).await.expect_err("asked to");
                assert!(error.to_string().contains("asked to"), "{error}");
                let error = lab.body(u32::MAX).await.expect_err("too large");
                assert!(error.to_string().contains("is too large"), "{error}");
                Ok(())
            }

            #[tokio::test]
            async fn omitted_and_named_arguments() -> Result<()> {
                let lab = in_process($service(lab())).await?;
                let service = lab.service();
                type Three = (Option<u32>, Option<u32>, String);
                let none: Three = service.call("optional", args!()).await?;
                assert_eq!(none, (None, Some(7), "none".into()));
                let last: Three = service.call("optional", args!(lastWord = "x", first = 1)).await?;
                assert_eq!(last, (Some(1), Some(7), "x".into()));
                // The proxy sends every argument, including `None`.
                assert_eq!(lab.optional(None, None, "").await?, (None, None, String::new()));
                let moved: (f64, f64) = service.call("stage.moveTo", args!(1.0, y = 2.0)).await?;
                assert_eq!(moved, (1.0, 2.0));
                let given: Plate = service.call("plate", args!(json!({
                    "plateName": "p", "wells": {}, "tags": [], "room": "R", "shelf": 1,
                    "madeOf": {"kind": "plastic"}, "corners": [[0, 0], [1, 1]],
                }))).await?;
                assert_eq!((given.uses, given.note), (1, None));
                Ok(())
            }

            #[tokio::test]
            async fn streams() -> Result<()> {
                let lab = in_process($service(lab())).await?;
                let mut count = lab.count(3).await?;
                let mut seen = Vec::new();
                while let Some(number) = count.try_next().await? {
                    seen.push(number);
                }
                assert_eq!(seen, [0, 1, 2]);
                let mut words = lab.words("one busy two").await?;
                assert_eq!(words.try_next().await?, Some("one".into()));
                let error = words.try_next().await;
                assert!(matches!(error, Err(Error::Service(LabError::Busy))), "{error:?}");
                let refused = lab.words("").await.map(drop);
                assert!(matches!(refused, Err(Error::Service(LabError::Busy))), "{refused:?}");
                let numbers = RemoteStream::new(stream::iter([1.0, 2.5]));
                assert_eq!(lab.sum(numbers).await?, 3.5);
                Ok(())
            }

            #[tokio::test]
            async fn callbacks_and_objects() -> Result<()> {
                let lab = in_process($service(lab())).await?;
                let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
                let keep = std::sync::Arc::clone(&seen);
                let on_loss = Callback::new(move |(epoch, loss): (u32, f64)| {
                    keep.lock().expect("lock").push((epoch, loss));
                    async move { epoch < 1 }
                });
                assert_eq!(lab.train(9, on_loss).await?, 1);
                assert_eq!(*seen.lock().expect("lock"), [(0, 1.0), (1, 0.5)]);
                let counter = lab.counter(5).await?.proxy();
                assert_eq!(counter.add(2).await?, 7);
                assert_eq!(counter.add(1).await?, 8);
                let ten = Object::new(CounterService::new(Ten));
                assert_eq!(lab.count_with(ten).await?, 12);
                Ok(())
            }

            #[tokio::test]
            async fn metadata_and_schemas() -> Result<()> {
                let lab = in_process($service(lab())).await?;
                let service = lab.service();
                let text = |key: &str| service.get(key).and_then(Value::as_str).map(str::to_owned);
                assert_eq!(text("name").as_deref(), Some("Everything"));
                assert_eq!(text("type").as_deref(), Some("lab"));
                assert_eq!(text("docs").as_deref(), Some("https://example.org/lab"));
                let description = "A laboratory that uses every feature.";
                assert_eq!(text("description").as_deref(), Some(description));
                let config = service.get("config").context("config")?.to_json();
                assert_eq!(config["visibility"], "protected");
                assert_eq!(config["singleton"], true);
                assert_eq!(config["flags"], json!(["fast"]));
                assert_eq!(config["authorized_workspaces"], json!(["ws-other"]));
                assert_eq!(service.doc("ownedBytes").as_deref(), Some("Return owned bytes."));
                assert!(!service.has_method("gone"));
                let schema = service.schema("optional").context("schema")?.to_json();
                let properties = &schema["parameters"]["properties"];
                assert_eq!(properties["first"]["description"], "Optional number.");
                assert_eq!(properties["second"]["default"], 7);
                assert_eq!(properties["lastWord"]["default"], "none");
                assert_eq!(schema["parameters"].get("required"), None);
                let schema = service.schema("plate").context("schema")?.to_json();
                assert_eq!(schema["parameters"]["properties"]["plate"]["$ref"], "#/$defs/Plate");
                let plate = &schema["parameters"]["$defs"]["Plate"];
                assert_eq!(plate["properties"]["room"]["type"], "string");
                let required = json!(["plateName", "wells", "tags", "room", "shelf", "madeOf", "corners"]);
                assert_eq!(plate["required"], required);
                Ok(())
            }

            #[tokio::test]
            async fn wrong_arguments_are_named() -> Result<()> {
                let lab = in_process($service(lab())).await?;
                let refused = async |method: &str, args| {
                    let answer: Result<Value, Error> = lab.service().call(method, args).await;
                    match answer {
                        Err(Error::Rejected(r)) if r.kind == RejectKind::InvalidArguments => r.message,
                        other => panic!("{other:?}"),
                    }
                };
                for (method, args, words) in wrong_arguments() {
                    let text = refused(method, args).await;
                    println!("{text}");
                    assert!(text.contains(words), "{method}: `{words}` is not in `{text}`");
                }
                Ok(())
            }
        }
    };
}

tests!(as_a_trait, |lab| EverythingService::new(Served(lab)));
tests!(as_a_block, |lab: Alone| lab);

/// Returns calls with invalid arguments. Each row contains the method, the arguments, and a part of
/// the expected error message.
fn wrong_arguments() -> Vec<(&'static str, hypha_rpc::Args, &'static str)> {
    let plate = |path: &[&str], wrong: serde_json::Value| {
        let mut plate = json!({
            "plateName": "p",
            "wells": {"A1": {"volume": 1.0, "content": {"Mix": {"first": 1, "second": 2}}}},
            "tags": ["a", "b", "c"],
            "room": "R", "shelf": 1,
            "madeOf": {"kind": "glass", "thickness": 0.1},
            "corners": [[0, 0], [1, 1]],
        });
        let mut place = &mut plate;
        for step in path {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[*step],
            };
        }
        *place = wrong;
        args!(plate)
    };
    let enums = |content, material, orders, size| args!(content, material, orders, size);
    let plastic = || json!({"kind": "plastic"});
    vec![
        (
            "borrowed",
            args!(1, Binary::from(b"")),
            "argument `text`: expected string, got integer",
        ),
        ("borrowed", args!("a"), "missing argument `data`"),
        (
            "borrowed",
            args!("a", Binary::from(b""), 3),
            "takes 2 arguments (text, data), got 3",
        ),
        (
            "borrowed",
            args!(text = "a", dta = 1),
            "unknown argument `dta` (expected: text, data)",
        ),
        (
            "plate",
            plate(&["tags", "2"], json!(3)),
            "argument `plate.tags[2]`: expected string, got integer",
        ),
        (
            "plate",
            plate(&["wells", "A1", "volume"], json!("x")),
            "argument `plate.wells.A1.volume`: expected float, got string",
        ),
        (
            "plate",
            plate(&["wells", "A1", "content", "Mix", "second"], json!([])),
            "argument `plate.wells.A1.content.Mix.second`: expected float, got list",
        ),
        (
            "plate",
            plate(&["wells", "A1", "content"], json!("Air")),
            "argument `plate.wells.A1.content`: ",
        ),
        (
            "plate",
            plate(&["wells"], json!([1])),
            "argument `plate.wells`: expected map, got list",
        ),
        (
            "plate",
            plate(&["corners", "1", "0"], json!("x")),
            "argument `plate.corners[1][0]`: expected float, got string",
        ),
        (
            "plate",
            plate(&["corners", "1"], json!([1])),
            "argument `plate.corners[1]`: ",
        ),
        (
            "plate",
            plate(&["uses"], json!(300)),
            "argument `plate.uses`: 300 is out of range for u8",
        ),
        (
            "plate",
            plate(&["note"], json!(3)),
            "argument `plate.note`: expected string, got integer",
        ),
        // serde buffers these values before it decodes them. Nevertheless the error must name the
        // field.
        (
            "plate",
            plate(&["room"], json!(3)),
            "argument `plate.room`: expected string, got integer",
        ),
        (
            "plate",
            plate(&["shelf"], json!(-3)),
            "argument `plate.shelf`: ",
        ),
        (
            "plate",
            plate(&["madeOf", "thickness"], json!("x")),
            "argument `plate.madeOf.thickness`: expected float, got string",
        ),
        (
            "plate",
            plate(&["madeOf", "kind"], json!("wood")),
            "argument `plate.madeOf.kind`: ",
        ),
        (
            "plate",
            plate(&["madeOf"], json!({"thickness": 1})),
            "argument `plate.madeOf.kind`: missing",
        ),
        (
            "enums",
            enums(json!({"Salt": "x"}), plastic(), json!([]), json!(1)),
            "argument `content.Salt`: expected float, got string",
        ),
        (
            "enums",
            enums(
                json!("Water"),
                plastic(),
                json!([{"order": "Heat", "with": 1}, {"order": "Move", "with": {"room": "R", "shelf": "x"}}]),
                json!(1),
            ),
            "argument `orders[1].with.shelf`: expected integer, got string",
        ),
        (
            "enums",
            enums(
                json!("Water"),
                plastic(),
                json!([{"order": "Cook", "with": 1}]),
                json!(1),
            ),
            "argument `orders[0].order`: ",
        ),
        (
            "enums",
            enums(
                json!("Water"),
                plastic(),
                json!([]),
                json!({"width": 1, "height": "x"}),
            ),
            "argument `size.height`: expected float, got string",
        ),
        (
            "enums",
            enums(json!("Water"), plastic(), json!([]), json!("big")),
            "argument `size`: ",
        ),
        (
            "nested",
            args!(
                json!({"a": [[1, null], ["x", 2]]}),
                json!([1, "a"]),
                json!([1, 2, 3])
            ),
            "argument `groups.a[1][0]`: expected integer, got string",
        ),
        (
            "nested",
            args!(
                json!({"a": [[1, {"width": 1}]]}),
                json!([1, "a"]),
                json!([1, 2, 3])
            ),
            "argument `groups.a[0][1].height`: missing",
        ),
        (
            "nested",
            args!(json!({}), json!([1, 2]), json!([1, 2, 3])),
            "argument `pair[1]`: expected string, got integer",
        ),
        (
            "nested",
            args!(json!({}), json!([1, "a"]), json!([1, 2])),
            "argument `fixed`: ",
        ),
        (
            "tree",
            args!(
                json!({"id": 1, "children": [{"id": 2, "children": [{"id": "x", "children": []}]}]})
            ),
            "argument `tree.children[0].children[0].id`: expected integer, got string",
        ),
        ("image", args!("x"), "argument `image`: "),
        ("sum", args!(1), "argument `numbers`: "),
        ("train", args!(1, 2), "argument `onLoss`: "),
        ("countWith", args!(1), "argument `counter`: "),
        (
            "block",
            args!(5),
            "argument `text`: expected string, got integer",
        ),
    ]
}
