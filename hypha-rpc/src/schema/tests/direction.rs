//! Tests of types whose schemas depend on the direction.

use super::*;

/// Has another form in each direction.
#[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
#[allow(dead_code)]
struct Lopsided {
    #[serde(rename(serialize = "out", deserialize = "in"))]
    renamed: u8,
    #[serde(skip_deserializing)]
    only_sent: u8,
    #[serde(skip_serializing)]
    only_received: u8,
    #[serde(skip_serializing_if = "is_zero")]
    perhaps_sent: u8,
    #[serde(default)]
    perhaps_received: u8,
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// Returns the names of the members that a reference leads to, and of those that are required.
fn members(schema: &Value, definitions: &Value) -> (Vec<String>, Vec<String>) {
    let name = schema["$ref"].as_str().expect("a reference");
    let name = name.strip_prefix("#/$defs/").expect("a definition");
    let definition = &definitions["$defs"][name];
    let properties = definition["properties"].as_object().expect("members");
    let required = definition["required"].as_array().expect("required members");
    let required = required.iter().filter_map(Value::as_str).map(str::to_owned);
    (properties.keys().cloned().collect(), required.collect())
}

const RECEIVED: (&[&str], &[&str]) = (
    &["in", "only_received", "perhaps_sent", "perhaps_received"],
    &["in", "only_received", "perhaps_sent"],
);

const SENT: (&[&str], &[&str]) = (
    &["out", "only_sent", "perhaps_sent", "perhaps_received"],
    &["out", "only_sent"],
);

#[test]
fn sent_and_received_types_have_different_schemas() {
    use crate::{Callback, RemoteStream};

    let schema = FunctionSchema::new("f", "")
        .argument::<Lopsided>("it", "")
        .argument::<Callback<(Lopsided,), Lopsided>>("call", "")
        .argument::<RemoteStream<Lopsided>>("stream", "")
        .returns::<Vec<Lopsided>>()
        .finish();
    let check = |schema: &Value, root: &Value, expected: (&[&str], &[&str])| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let expected: (Vec<String>, Vec<String>) = (owned(expected.0), owned(expected.1));
        assert_eq!(members(schema, root), expected);
    };
    let parameters = &schema["parameters"];
    let arguments = &parameters["properties"];
    check(&arguments["it"], parameters, RECEIVED);
    check(&arguments["stream"]["items"], parameters, RECEIVED);
    check(&arguments["call"]["x-hypha-arguments"][0], parameters, SENT);
    check(&arguments["call"]["x-hypha-returns"], parameters, RECEIVED);
    check(&schema["returns"]["items"], &schema["returns"], SENT);

    let schema = FunctionSchema::new("f", "").returns_stream::<Callback<(Lopsided,), Lopsided>>();
    let schema = schema.finish();
    let returns = &schema["returns"];
    check(&returns["items"]["x-hypha-arguments"][0], returns, RECEIVED);
    check(&returns["items"]["x-hypha-returns"], returns, SENT);
}

#[test]
fn a_recursive_type_with_callbacks_has_both_directions() {
    use crate::Callback;

    #[derive(serde::Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Watched {
        value: Lopsided,
        before: Callback<(Callback<(Watched,), Watched>,), ()>,
        after: Option<Box<Watched>>,
    }
    let schema = FunctionSchema::new("f", "")
        .argument::<Watched>("it", "")
        .finish();
    let definitions = schema["parameters"]["$defs"]
        .as_object()
        .expect("definitions");
    let mut names: Vec<&str> = definitions.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["Lopsided", "Lopsided2", "Watched", "Watched2"]);
    let inner = |name: &str| definitions[name]["properties"]["value"]["$ref"].clone();
    assert_eq!(inner("Watched"), "#/$defs/Lopsided");
    assert_eq!(inner("Watched2"), "#/$defs/Lopsided2");
}

/// Checks that a type has one schema if serde reads the form that it writes.
#[test]
fn optional_members_and_defaults_do_not_depend_on_the_direction() {
    use crate::Callback;

    #[derive(serde::Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Symmetric {
        label: Option<String>,
        anything: Option<Value>,
        value: Value,
        #[serde(default)]
        list: Vec<Symmetric>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        tags: Vec<String>,
        choice: Option<Choice>,
        #[serde(flatten)]
        others: BTreeMap<String, Option<u8>>,
        last: u8,
    }
    #[derive(serde::Deserialize, JsonSchema)]
    #[serde(tag = "t")]
    #[allow(dead_code)]
    enum Choice {
        One {
            it: Option<u8>,
            #[serde(default)]
            list: Vec<u8>,
        },
        Two(Box<Symmetric>),
    }
    let schema = FunctionSchema::new("f", "")
        .argument::<Symmetric>("it", "")
        .argument::<Callback<(Symmetric,), ()>>("call", "")
        .returns::<Symmetric>()
        .finish();
    let [received, sent] = ["parameters", "returns"].map(|part| &schema[part]["$defs"]);
    assert_eq!(received.to_string(), sent.to_string());
    assert_eq!(received.as_object().expect("definitions").len(), 2);
    let symmetric = &received["Symmetric"];
    assert_eq!(symmetric["required"], json!(["value", "last"]));
    assert_eq!(symmetric["properties"]["label"]["default"], Value::Null);
    // Neither required nor null.
    let list = json!({"type": "array", "items": {"type": "string"}});
    assert_eq!(symmetric["properties"]["tags"], list);
}

#[test]
fn renamed_members_are_optional_in_both_directions() {
    #[derive(Default, serde::Deserialize, serde::Serialize, JsonSchema)]
    #[serde(default)]
    #[allow(dead_code)]
    struct Renamed {
        #[serde(skip_serializing)]
        read: u8,
        #[serde(rename(serialize = "xx", deserialize = "yy"))]
        value: u8,
        #[serde(skip_deserializing)]
        written: u8,
        other: u8,
    }
    #[derive(serde::Deserialize, serde::Serialize, JsonSchema)]
    #[allow(dead_code)]
    struct Needed {
        #[serde(rename(serialize = "xx", deserialize = "yy"))]
        value: u8,
        #[serde(rename(serialize = "aa", deserialize = "bb"))]
        label: Option<Renamed>,
    }
    let schema = FunctionSchema::new("f", "").returns::<Needed>().finish();
    let definitions = &schema["returns"]["$defs"];
    assert_eq!(definitions["Needed"]["required"], json!(["xx"]));
    let renamed = &definitions["Renamed"];
    let members = renamed["properties"].as_object().expect("members");
    assert_eq!(
        members.keys().collect::<Vec<_>>(),
        ["xx", "written", "other"]
    );
    // serde always writes this member, and never reads it.
    assert_eq!(renamed["required"], json!(["written"]));
}

/// serde skips the field of `Sent` when it receives, and that of `Received` when it sends.
#[test]
fn variants_with_fields_skipped_in_one_direction() {
    macro_rules! skipping {
        ($name:ident, $($attribute:meta)?) => {
            #[derive(JsonSchema)]
            $(#[$attribute])?
            #[allow(dead_code)]
            enum $name {
                Sent(#[serde(skip_deserializing)] Point),
                Received(#[serde(skip_serializing)] Point),
            }
        };
    }
    skipping!(External,);
    skipping!(Adjacent, serde(tag = "t", content = "c"));
    skipping!(Internal, serde(tag = "t"));
    skipping!(Untagged, serde(untagged));
    /// Returns the schemas when received and when sent.
    fn both<T: JsonSchema>() -> [Value; 2] {
        let schema = FunctionSchema::new("f", "")
            .argument::<T>("it", "")
            .returns::<T>();
        let mut schema = schema.finish();
        let name = T::schema_name();
        ["parameters", "returns"].map(|part| schema[part]["$defs"][&*name].take())
    }
    let [received, sent] = both::<External>();
    let word = |word: &str| json!({"type": "string", "enum": [word]});
    assert_eq!(received["oneOf"][0], word("Sent"));
    assert!(received["oneOf"][1]["properties"]["Received"].is_object());
    assert_eq!(sent["oneOf"][0], word("Received"));
    assert!(sent["oneOf"][1]["properties"]["Sent"].is_object());
    let members = |schema: &Value| {
        let members = schema["properties"].as_object().map(Map::len);
        members.unwrap_or_default()
    };
    for [received, sent] in [both::<Adjacent>(), both::<Internal>()] {
        let received = &received["oneOf"];
        let sent = &sent["oneOf"];
        assert_eq!((members(&received[0]), received[0].get("$ref")), (1, None));
        assert_eq!((members(&sent[1]), sent[1].get("$ref")), (1, None));
        for whole in [&received[1], &sent[0]] {
            assert!(
                members(whole) == 2 || whole.get("$ref").is_some(),
                "{whole}"
            );
        }
    }
    let [received, sent] = both::<Untagged>();
    for (variants, skipped) in [(&received["anyOf"], 0), (&sent["anyOf"], 1)] {
        assert_eq!(variants[skipped], json!({"type": "null"}));
        assert_eq!(variants[1 - skipped]["$ref"], "#/$defs/Point");
    }
}
