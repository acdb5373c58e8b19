//! Tests that the client rejects invalid arguments with a precise message, and accepts valid
//! arguments. The tests cover every representation of enums and structs in serde.

// The tests call most methods by name, as clients in other languages do.
#![allow(dead_code, missing_docs)]

use std::collections::BTreeMap;

use hypha_rpc::prelude::*;
use hypha_rpc::testing::in_process;
use serde_json::{Value as Json, json};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Point {
    x: f64,
    name: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Tagged {
    Empty,
    Place(Point),
    Number { value: i64 },
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Flattened {
    id: u32,
    #[serde(flatten)]
    tagged: Tagged,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Closed {
    id: u32,
    #[serde(alias = "label")]
    name: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Pair(u8, String);

#[derive(Debug, Serialize, Deserialize, JsonSchema, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Slow,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
enum Outside {
    Nothing,
    Number(u8),
    Place(Point),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Either {
    Number(i64),
    Place(Point),
}

struct Desk;

#[hypha_service]
impl Desk {
    pub async fn outside(&self, it: Outside) -> String {
        format!("{it:?}")
    }

    pub async fn either(&self, it: Either) -> String {
        format!("{it:?}")
    }

    pub async fn tagged(&self, it: Tagged) -> String {
        format!("{it:?}")
    }

    pub async fn flattened(&self, it: Flattened) -> String {
        format!("{it:?}")
    }

    pub async fn closed(&self, it: Closed) -> String {
        format!("{it:?}")
    }

    pub async fn lists(&self, pair: Pair, three: [u8; 3], two: (u8, u8)) -> String {
        format!("{pair:?} {three:?} {two:?}")
    }

    pub async fn maps(&self, numbers: BTreeMap<u8, String>, modes: BTreeMap<Mode, u8>) -> String {
        format!("{numbers:?} {modes:?}")
    }

    pub async fn small(&self, number: f32) -> f32 {
        number
    }

    pub async fn defaults(
        &self,
        #[hypha(default = 3)] times: u8,
        #[hypha(default = Some(7))] most: Option<u8>,
    ) -> String {
        format!("{times} {most:?}")
    }
}

/// Calls a method with JSON arguments. Returns the result, or the message of the rejection.
async fn outcome(method: &str, args: Json) -> String {
    let desk = in_process(Desk).await.expect("a service");
    let mut given = hypha_wire::Args::new(0, 0);
    for arg in args.as_array().expect("a list of arguments") {
        given.push("it", arg);
    }
    match desk.service().call::<String>(method, given).await {
        Ok(answer) => answer,
        Err(error) => {
            let text = error.to_string();
            let (_, what) = text.split_once("argument ").expect("it names the argument");
            what.to_owned()
        }
    }
}

#[tokio::test]
async fn wrong_tags_are_named() {
    for (method, args, wanted) in [
        ("tagged", json!(["empty"]), "`it`: expected map, got string"),
        (
            "tagged",
            json!([{"kind": 1}]),
            "`it.kind`: expected string, got integer",
        ),
        (
            "flattened",
            json!([{"id": 1, "kind": "gone"}]),
            "`it.kind`: unknown variant `gone`, expected one of `empty`, `place`, `number`",
        ),
        (
            "flattened",
            json!([{"id": 1, "kind": "place", "x": 1}]),
            "`it.name`: missing",
        ),
        (
            "flattened",
            json!([{"id": 1, "kind": "number", "value": 1.5}]),
            "`it.value`: expected integer, got float",
        ),
        (
            "closed",
            json!([{"id": 1, "nam": "x"}]),
            "`it.nam`: unknown (expected: id, name)",
        ),
        // The schema lacks the alias `label`.
        (
            "closed",
            json!([{"id": 1, "label": "x", "unit": "m"}]),
            "`it.unit`: unknown (expected: id, name)",
        ),
        // The message must not claim that a variant is missing.
        (
            "outside",
            json!([{}]),
            "`it`: expected the name of a variant or a map with one entry, got a map with 0 \
             entries",
        ),
        (
            "outside",
            json!([{"Number": 256}]),
            "`it.Number`: 256 is out of range for u8",
        ),
        (
            "outside",
            json!([{"Place": {"x": 1}}]),
            "`it.Place.name`: missing",
        ),
        ("either", json!([{}]), "`it.x`: missing"),
        (
            "either",
            json!(["a"]),
            "`it`: expected integer or map, got string",
        ),
    ] {
        assert_eq!(
            outcome(method, args.clone()).await,
            wanted,
            "{method} {args}"
        );
    }
    let place = json!([{"id": 1, "kind": "place", "x": 1, "name": "a"}]);
    assert!(outcome("flattened", place).await.contains("Place"));
}

#[tokio::test]
async fn lists_of_a_wrong_length_are_named() {
    for (args, wanted) in [
        (
            json!([[1], [1, 2, 3], [1, 2]]),
            "`pair`: expected a list of length 2, got length 1",
        ),
        (
            json!([[1, "a"], [1, 2], [1, 2]]),
            "`three`: expected a list of length 3, got length 2",
        ),
        (
            json!([[1, "a"], [1, 2, 3], [1, 2, 3]]),
            "`two`: expected a list of length 2, got length 3",
        ),
    ] {
        assert_eq!(outcome("lists", args.clone()).await, wanted, "{args}");
    }
}

#[tokio::test]
async fn maps_have_keys_of_their_type() {
    let fitting = json!([{"7": "a"}, {"fast": 1}]);
    assert_eq!(outcome("maps", fitting).await, "{7: \"a\"} {Fast: 1}");
    for (args, wanted) in [
        (
            json!([{"x": "a"}, {}]),
            "`numbers`: expected an integer as a key, got `x`",
        ),
        (
            json!([{"300": "a"}, {}]),
            "`numbers`: 300 is out of range for u8",
        ),
        (
            json!([{"7": 1}, {}]),
            "`numbers.7`: expected string, got integer",
        ),
        (
            json!([{}, {"gone": 1}]),
            "`modes.gone`: unknown (expected: fast, slow)",
        ),
    ] {
        assert_eq!(outcome("maps", args.clone()).await, wanted, "{args}");
    }
    // A Rust caller sends values that fit the schema.
    let desk = in_process(Desk).await.expect("a service");
    let (numbers, modes) = ([(7, "a".to_owned())].into(), [(Mode::Slow, 2)].into());
    let answer = desk.maps(numbers, modes).await.expect("it fits");
    assert_eq!(answer, "{7: \"a\"} {Slow: 2}");
}

#[tokio::test]
async fn a_number_that_would_become_infinite_is_refused() {
    assert_eq!(
        outcome("small", json!([1e39])).await,
        "`number`: 1e39 is out of range for f32"
    );
}

#[tokio::test]
async fn null_means_a_missing_argument_if_the_type_excludes_null() {
    assert_eq!(outcome("defaults", json!([null, 5])).await, "3 Some(5)");
    assert_eq!(outcome("defaults", json!([2, null])).await, "2 None");
    assert_eq!(
        outcome("defaults", json!(["x"])).await,
        "`times`: expected integer, got string"
    );
}
