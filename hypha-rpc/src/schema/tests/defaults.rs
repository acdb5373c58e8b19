//! Tests of defaults.

use super::*;
use crate::schema::to_json;

#[test]
fn defaults_of_f32_are_written_as_in_rust() {
    #[derive(Default, JsonSchema)]
    #[serde(default)]
    #[allow(dead_code)]
    struct Wave {
        #[serde(default = "tenth")]
        height: f32,
        #[serde(default = "tenths")]
        all: Vec<f32>,
        #[serde(default = "perhaps")]
        maybe: Option<f32>,
        #[serde(default = "precise")]
        length: f64,
    }
    fn tenth() -> f32 {
        0.1
    }
    fn tenths() -> Vec<f32> {
        vec![0.1, 0.2]
    }
    fn perhaps() -> Option<f32> {
        Some(0.1)
    }
    fn precise() -> f64 {
        0.100_000_001_490_116_12
    }
    let properties = &property::<Wave>("")["properties"];
    assert_eq!(properties["height"]["default"], json!(0.1));
    assert_eq!(properties["all"]["default"], json!([0.1, 0.2]));
    assert_eq!(properties["maybe"]["default"], json!(0.1));
    assert_eq!(
        properties["length"]["default"].to_string(),
        "0.10000000149011612"
    );

    fn of_argument<T: serde::Serialize>(value: &T) -> String {
        to_json(value).expect("has JSON").to_string()
    }
    assert_eq!(of_argument(&0.1f32), "0.1");
    assert_eq!(of_argument(&vec![(0.1f32, 0.3f64)]), "[[0.1,0.3]]");
    assert_eq!(of_argument(&BTreeMap::from([("x", 0.7f32)])), "{\"x\":0.7}");
    assert_eq!(of_argument(&u64::MAX), u64::MAX.to_string());
    assert_eq!(of_argument(&123_456_792f64), "123456792.0");
}

#[test]
fn defaults_have_the_form_of_the_values_or_are_left_out() {
    use std::time::{Duration, SystemTime};

    use crate::{Array, Binary, NdArray, OrderedMap, Set, Timestamp};

    #[derive(Clone, serde::Serialize, JsonSchema)]
    #[allow(dead_code)]
    enum Mode {
        Bright,
        Timed(Duration),
    }
    #[derive(serde::Serialize, JsonSchema)]
    #[serde(default)]
    #[allow(dead_code)]
    struct Inner {
        pause: Duration,
        height: f32,
    }
    impl Default for Inner {
        fn default() -> Inner {
            Inner {
                pause: second(),
                height: 0.1,
            }
        }
    }
    #[derive(JsonSchema)]
    #[serde(default)]
    #[allow(dead_code)]
    struct All {
        times: Vec<Duration>,
        until: Option<SystemTime>,
        start: SystemTime,
        by_name: BTreeMap<String, Duration>,
        by_number: BTreeMap<u8, Duration>,
        by_flag: BTreeMap<bool, u8>,
        pair: (u8, Duration),
        mode: Mode,
        timed: Option<Mode>,
        inner: Inner,
        inners: Vec<Inner>,
        infinite: f64,
        numbers: Vec<f64>,
        bytes: Binary,
        some_bytes: Option<Binary>,
        array: NdArray,
        typed: Array<f32, 1>,
        set: Set<Vec<u8>>,
        ordered: OrderedMap<u8, Value>,
        stamp: Timestamp,
        #[schemars(range(min = 1))]
        positive: u8,
    }
    fn second() -> Duration {
        Duration::from_millis(1500)
    }
    impl Default for All {
        fn default() -> All {
            let time = SystemTime::UNIX_EPOCH + second();
            All {
                times: vec![second()],
                until: Some(time),
                start: time,
                by_name: BTreeMap::from([("a".to_owned(), second())]),
                by_number: BTreeMap::from([(1, second())]),
                by_flag: BTreeMap::from([(true, 1)]),
                pair: (1, second()),
                mode: Mode::Bright,
                timed: Some(Mode::Timed(second())),
                inner: Inner::default(),
                inners: vec![Inner::default()],
                infinite: f64::INFINITY,
                numbers: vec![f64::INFINITY],
                bytes: Binary::default(),
                some_bytes: Some(Binary::default()),
                array: NdArray::from_vec([1], vec![1u8]).expect("one"),
                typed: Array::from_vec([1], vec![1.0]).expect("one"),
                set: Set(vec![1]),
                ordered: OrderedMap(vec![(1, 1.into())]),
                stamp: Timestamp::new(1, 0).expect("less than a second"),
                positive: 0,
            }
        }
    }
    let all = property::<All>("");
    let properties = all["properties"].as_object().expect("properties");
    let defaults = properties.iter();
    let defaults = defaults.filter_map(|(name, it)| Some((name.as_str(), it.get("default")?)));
    let inner = json!({"pause": 1.5, "height": 0.1});
    assert_eq!(
        defaults.collect::<Vec<_>>(),
        [
            ("times", &json!([1.5])),
            ("until", &json!(1.5)),
            ("start", &json!(1.5)),
            ("by_name", &json!({"a": 1.5})),
            ("by_number", &json!({"1": 1.5})),
            ("by_flag", &json!({"true": 1})),
            ("pair", &json!([1, 1.5])),
            ("mode", &json!("Bright")),
            ("timed", &json!({"Timed": 1.5})),
            ("inner", &inner),
            ("inners", &json!([inner])),
        ]
    );
    assert_eq!(all.get("required"), None);
    assert_eq!(to_json(&Some(f64::INFINITY)), None);
    assert_eq!(to_json(&[Some(f64::NAN), None]), None);
    assert_eq!(to_json(&[Some(1.0), None]), Some(json!([1.0, null])));
}

#[test]
fn defaults_that_would_be_read_as_other_values_are_left_out() {
    #[derive(Default, serde::Serialize, JsonSchema)]
    struct Renamed {
        #[serde(rename(serialize = "ser", deserialize = "de"))]
        value: Option<u8>,
    }
    #[derive(Default, serde::Serialize, JsonSchema)]
    struct RenamedBesideMap {
        #[serde(rename(serialize = "ser", deserialize = "de"))]
        value: Option<u8>,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    #[derive(Default, serde::Serialize, JsonSchema)]
    struct Hidden {
        shown: u8,
        #[serde(skip_serializing)]
        #[allow(dead_code)]
        hidden: Option<u8>,
    }
    #[derive(Default, serde::Serialize, JsonSchema)]
    struct Short {
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<u8>,
    }
    #[derive(serde::Serialize, JsonSchema)]
    #[serde(tag = "kind")]
    enum Kind {
        Sized { size: u8 },
        Short(Short),
    }
    #[derive(serde::Serialize, JsonSchema)]
    #[serde(untagged)]
    enum Either {
        Renamed(Renamed),
        Short { label: Option<u8> },
        Ser { ser: Option<u8>, other: u8 },
    }
    #[derive(serde::Serialize, JsonSchema)]
    struct Flat {
        own: u8,
        #[serde(flatten)]
        kind: Kind,
        #[serde(flatten)]
        either: Either,
    }
    #[derive(serde::Serialize, JsonSchema)]
    struct Rest {
        own: u8,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }
    #[derive(JsonSchema)]
    #[serde(default)]
    #[allow(dead_code)]
    struct All {
        renamed: Renamed,
        beside_map: RenamedBesideMap,
        hidden: Hidden,
        either: Either,
        short: Short,
        kinds: Vec<Kind>,
        ser: Either,
        flat: Flat,
        rest: Rest,
    }
    impl Default for All {
        fn default() -> All {
            let renamed = || Renamed { value: Some(3) };
            All {
                renamed: renamed(),
                beside_map: RenamedBesideMap {
                    value: Some(3),
                    ..RenamedBesideMap::default()
                },
                hidden: Hidden {
                    shown: 1,
                    hidden: Some(2),
                },
                either: Either::Renamed(renamed()),
                short: Short { label: None },
                kinds: vec![
                    Kind::Sized { size: 1 },
                    Kind::Short(Short { label: Some(1) }),
                ],
                ser: Either::Ser {
                    ser: None,
                    other: 1,
                },
                flat: Flat {
                    own: 1,
                    kind: Kind::Sized { size: 1 },
                    either: Either::Short { label: Some(1) },
                },
                rest: Rest {
                    own: 1,
                    rest: BTreeMap::from([("more".to_owned(), 2)]),
                },
            }
        }
    }
    let all = property::<All>("");
    let properties = all["properties"].as_object().expect("properties");
    let defaults = properties.iter();
    let defaults = defaults.filter_map(|(name, it)| Some((name.as_str(), it.get("default")?)));
    assert_eq!(
        defaults.collect::<Vec<_>>(),
        [
            ("short", &json!({})),
            (
                "kinds",
                &json!([{"kind": "Sized", "size": 1}, {"kind": "Short", "label": 1}])
            ),
            ("ser", &json!({"ser": null, "other": 1})),
            (
                "flat",
                &json!({"own": 1, "kind": "Sized", "size": 1, "label": 1})
            ),
            ("rest", &json!({"own": 1, "more": 2})),
        ]
    );
}

#[test]
fn null_can_differ_from_a_missing_member() {
    #[derive(JsonSchema)]
    #[allow(dead_code, clippy::option_option)]
    struct Update {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plain: Option<u8>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(extend("x-hypha-absent" = true))]
        double: Option<Option<u8>>,
    }
    let schema = FunctionSchema::new("f", "")
        .argument::<Update>("it", "")
        .returns::<Update>();
    let schema = schema.finish();
    let byte = json!({"type": "integer", "minimum": 0, "maximum": 255});
    let kinds = json!([byte, {"type": "null"}]);
    for part in ["parameters", "returns"] {
        let update = &schema[part]["$defs"]["Update"];
        assert_eq!(update.get("required"), None);
        let members = &update["properties"];
        assert_eq!(members["plain"], json!({"anyOf": kinds, "default": null}));
        assert_eq!(members["double"], json!({ "anyOf": kinds }));
    }
}
