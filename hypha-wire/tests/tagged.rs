//! Tests tagged values where a plain type is expected. Also tests collections, and numbers at the
//! limits of their types.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use hypha_wire::{
    Binary, DType, DecodeError, Map, NdArray, OrderedMap, Set, Timestamp, TypedArray, Value,
    from_slice, to_vec,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

fn decode<T: DeserializeOwned>(value: impl Serialize) -> Result<T, DecodeError> {
    from_slice(&to_vec(&value).expect("encodes").into())
}

fn error<T: DeserializeOwned>(value: impl Serialize) -> String {
    match decode::<T>(value) {
        Ok(_) => "decoded".to_owned(),
        Err(error) => error.to_string(),
    }
}

macro_rules! value {
    ($($json:tt)+) => { Value::from(serde_json::json!($($json)+)) };
}

fn set(items: Value) -> Value {
    Value::Map(Map::from_iter([
        ("_rtype".to_owned(), "set".into()),
        ("_rvalue".to_owned(), items),
    ]))
}

fn pairs<K: Into<Value>, V: Into<Value>>(pairs: Vec<(K, V)>) -> Value {
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| (key.into(), value.into()));
    let map: OrderedMap<Value, Value> = pairs.collect();
    Value::encode_from(&map).expect("encodes")
}

/// Returns a pydantic model in the form that Python sends. The tag is the last key.
fn model(fields: Value) -> Value {
    Value::Map(Map::from_iter([
        ("_rvalue".to_owned(), fields),
        ("_rschema".to_owned(), value!({"type": "object"})),
        ("_rtype".to_owned(), "pydantic_model".into()),
    ]))
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    #[serde(default)]
    y: f64,
}

#[test]
fn a_set_is_a_list_where_one_is_wanted() {
    assert_eq!(decode::<Vec<u8>>(set(value!([1, 2]))), Ok(vec![1, 2]));
    assert_eq!(
        decode::<HashSet<u8>>(set(value!([1, 2]))),
        Ok(HashSet::from([1, 2]))
    );
    assert_eq!(
        decode::<[String; 1]>(set(value!(["a"]))),
        Ok(["a".to_owned()])
    );
    assert_eq!(decode::<Option<Vec<u8>>>(set(value!([]))), Ok(Some(vec![])));
    // A handwritten value with the tag after the content.
    let late = value!({"_rvalue": [{"_rvalue": [1], "_rtype": "set"}], "_rtype": "set"});
    assert_eq!(decode::<Vec<Vec<u8>>>(late), Ok(vec![vec![1]]));
}

#[test]
fn error_paths_omit_the_tag() {
    let points = value!({"points": set(value!([{"x": 1}, {"x": "y"}])).to_json()});
    assert_eq!(
        error::<HashMap<String, Vec<Point>>>(points),
        "points[1].x: expected float, got string"
    );
    assert_eq!(
        error::<Point>(model(value!({"x": []}))),
        "x: expected float, got list"
    );
    assert_eq!(
        error::<Point>(pairs(vec![("x", "y")])),
        "x: expected float, got string"
    );
    assert_eq!(
        error::<Vec<u8>>(value!({"_rtype": "set"})),
        "_rvalue: missing"
    );
    assert_eq!(
        error::<Vec<u8>>(set(value!(5))),
        "expected list, got integer"
    );
    assert_eq!(
        error::<[u8; 1]>(set(value!([1, 2]))),
        "expected a list of length 1, got length 2"
    );
    assert_eq!(
        error::<Vec<u8>>(value!({"_rtype": "wibble"})),
        "expected list, got map"
    );
    assert_eq!(error::<Vec<u8>>(value!({})), "expected list, got map");
    let short = value!({"_rtype": "orderedmap", "_rvalue": [["a", 1], ["b"]]});
    assert_eq!(
        error::<HashMap<String, u8>>(&short),
        "expected a list of a key and a value, got a list of length 1"
    );
    assert_eq!(
        error::<HashMap<String, u8>>(value!({"_rtype": "orderedmap", "_rvalue": 1})),
        "expected map, got integer"
    );
    let bad = NdArray::from(vec![1.5f32, 2.0]);
    assert_eq!(error::<Vec<u8>>(&bad), "[0]: expected integer, got float");
    assert_eq!(
        error::<[f32; 3]>(&bad),
        "expected a list of length 3, got length 2"
    );
    assert_eq!(
        error::<[f32; 1]>(&bad),
        "expected a list of length 1, got length 2"
    );
    assert_eq!(
        error::<Vec<String>>(&bad),
        "[0]: expected string, got float"
    );
    assert_eq!(
        error::<f32>(&bad),
        "expected float, got an array of float32 and shape [2]"
    );
    let text = NdArray::from_bytes(DType::Other("<U1".to_owned()), [1], b"a\0\0\0".to_vec());
    assert_eq!(
        error::<Vec<f32>>(text.expect("four bytes")),
        "expected list, got an array of <U1 and shape [1]"
    );
}

#[test]
fn numbers_of_an_array_are_a_list() {
    let typed = TypedArray::try_from(vec![1.5f32, -2.0]).expect("JavaScript has it");
    assert_eq!(decode::<Vec<f64>>(&typed), Ok(vec![1.5, -2.0]));
    assert_eq!(decode::<(f32, f64)>(&typed), Ok((1.5, -2.0)));
    assert_eq!(
        decode::<Vec<Option<f64>>>(&typed),
        Ok(vec![Some(1.5), Some(-2.0)])
    );
    let array = NdArray::from(vec![1u8, 2]);
    assert_eq!(decode::<Vec<f64>>(&array), Ok(vec![1.0, 2.0]));
    assert_eq!(decode::<BTreeSet<i64>>(&array), Ok(BTreeSet::from([1, 2])));
    assert_eq!(
        decode::<Vec<Value>>(&array),
        Ok(vec![Value::Int(1), Value::Int(2)])
    );
    // A float without a fraction is accepted as an integer.
    assert_eq!(decode::<Vec<i32>>(NdArray::from(vec![1.0f32])), Ok(vec![1]));
    assert_eq!(
        decode::<Vec<i64>>(NdArray::from(vec![i64::MIN])),
        Ok(vec![i64::MIN])
    );
    assert_eq!(
        decode::<Vec<u64>>(NdArray::from(vec![u64::MAX])),
        Ok(vec![u64::MAX])
    );
    assert_eq!(
        decode::<Vec<bool>>(NdArray::from(vec![true])),
        Ok(vec![true])
    );
}

#[test]
fn rows_of_an_array_are_lists() {
    let array = NdArray::from_vec([2, 2, 1], vec![1, 2, 3, 4]).expect("four");
    let nested = vec![vec![[1.0], [2.0]], vec![[3.0], [4.0]]];
    assert_eq!(decode::<Vec<Vec<[f64; 1]>>>(&array), Ok(nested));
    assert_eq!(error::<Vec<f64>>(&array), "[0]: expected float, got list");
    assert_eq!(
        error::<Vec<Vec<[String; 1]>>>(&array),
        "[0][0][0]: expected string, got integer"
    );
    let empty = |shape: [usize; 2]| NdArray::from_vec(shape, Vec::<f32>::new()).expect("empty");
    assert_eq!(decode::<Vec<[f64; 2]>>(empty([0, 2])), Ok(vec![]));
    assert_eq!(decode::<Vec<[f64; 2]>>(empty([0, 0])), Ok(vec![]));
    assert_eq!(decode::<Vec<Vec<f64>>>(empty([2, 0])), Ok(vec![vec![]; 2]));
    assert_eq!(decode::<[[f64; 0]; 2]>(empty([2, 0])), Ok([[]; 2]));
    // The number of empty rows is limited, because a few bytes could declare any number of empty
    // rows.
    let many = error::<Vec<Vec<f64>>>(empty([1 << 40, 0]));
    assert_eq!(
        many,
        "expected list, got an array of float32 and shape [1099511627776, 0]"
    );
    let scalar = NdArray::from_vec(Vec::new(), vec![1.5]).expect("one");
    assert_eq!(
        error::<Vec<f64>>(&scalar),
        "expected list, got an array of float64 and shape []"
    );
}

#[test]
fn a_numpy_scalar_is_a_number() {
    fn scalar<T: hypha_wire::Element>(value: T) -> NdArray {
        NdArray::from_vec(Vec::new(), vec![value]).expect("one")
    }
    assert_eq!(decode::<f64>(scalar(1.5f32)), Ok(1.5));
    assert_eq!(decode::<f32>(scalar(3i8)), Ok(3.0));
    assert_eq!(decode::<i64>(scalar(-3i16)), Ok(-3));
    assert_eq!(decode::<u8>(scalar(3.0f32)), Ok(3));
    assert_eq!(decode::<u64>(scalar(u64::MAX)), Ok(u64::MAX));
    assert_eq!(decode::<bool>(scalar(true)), Ok(true));
    assert_eq!(decode::<Option<u8>>(scalar(7u16)), Ok(Some(7)));
    assert_eq!(error::<u8>(scalar(300i32)), "300 is out of range for u8");
    assert_eq!(error::<u8>(scalar(1.5f32)), "expected integer, got float");
    assert_eq!(error::<bool>(scalar(1u8)), "expected bool, got integer");
    assert_eq!(error::<f64>(scalar(true)), "expected float, got bool");
    assert_eq!(
        error::<f64>(value!({"_rtype": "set", "_rvalue": []})),
        "expected float, got map"
    );
}

#[test]
fn an_ordered_map_is_a_map_where_one_is_wanted() {
    let map = pairs(vec![("x", 1), ("y", 2)]);
    assert_eq!(decode::<Point>(&map), Ok(Point { x: 1.0, y: 2.0 }));
    assert_eq!(decode::<Map>(&map).expect("a map").len(), 2);
    let typed = BTreeMap::from([("x".to_owned(), 1), ("y".to_owned(), 2)]);
    assert_eq!(decode::<BTreeMap<String, u8>>(&map), Ok(typed));
    let list = vec![("x".to_owned(), 1), ("y".to_owned(), 2)];
    assert_eq!(decode::<Vec<(String, u8)>>(&map), Ok(list));
    // Integer keys are accepted for a map, but not as names of fields.
    let numbered = pairs(vec![(0, 1)]);
    assert_eq!(
        decode::<HashMap<u8, u8>>(&numbered),
        Ok(HashMap::from([(0, 1)]))
    );
    assert_eq!(
        error::<Point>(&numbered),
        "a map key must be a string, got integer"
    );
    // If the type accepts any value, or reads the tag itself, it receives the whole map.
    assert_eq!(decode::<Value>(&map).as_ref(), Ok(&map));
    #[derive(Deserialize)]
    struct Raw {
        #[serde(rename = "_rtype")]
        tag: String,
    }
    assert_eq!(decode::<Raw>(&map).expect("a map").tag, "orderedmap");
}

#[test]
fn the_fields_of_a_pydantic_model_are_found() {
    let point = Point { x: 0.5, y: 1.0 };
    let fields = value!({"x": 0.5, "y": 1});
    assert_eq!(decode::<Point>(model(fields.clone())).as_ref(), Ok(&point));
    assert_eq!(
        decode::<HashMap<String, f64>>(model(fields.clone())).map(|map| map.len()),
        Ok(2)
    );
    let many = vec![model(fields.clone()), fields];
    assert_eq!(decode::<Vec<Point>>(many).map(|points| points.len()), Ok(2));
    // The server sends the fields beside the tag instead of inside `_rvalue`.
    let server = value!({"x": 0.5, "y": 1, "_rtype": "pydantic-model"});
    assert_eq!(decode::<Point>(server), Ok(point));
}

/// Checks that a map without a tag is an ordinary map, even if its keys resemble those of a tagged
/// map.
#[test]
fn keys_with_a_similar_beginning_are_not_tags() {
    let odd = value!({"_rvalue": 1, "_rest": 2});
    assert_eq!(
        decode::<HashMap<String, u8>>(&odd).map(|map| map.len()),
        Ok(2)
    );
    let number = value!({"_rtype": 5});
    assert_eq!(
        decode::<HashMap<String, u8>>(number).map(|map| map.len()),
        Ok(1)
    );
}

/// Checks the cost of the search for a tag. The search scans the preceding keys once. It is not
/// repeated on every level of a nested value.
#[test]
fn the_depth_of_late_tags_is_limited() {
    #[derive(Deserialize)]
    struct Tree(Vec<Tree>);
    fn depth(tree: &Tree) -> usize {
        tree.0.first().map_or(0, |child| 1 + depth(child))
    }
    let nested = |levels: usize, late: bool| {
        let mut value = value!([]);
        for _ in 0..levels {
            let mut entries = vec![
                ("_rtype".to_owned(), "set".into()),
                ("_rvalue".to_owned(), Value::List(vec![value])),
            ];
            if late {
                entries.reverse();
            }
            value = Value::Map(entries.into_iter().collect());
        }
        value
    };
    assert_eq!(
        decode::<Tree>(nested(50, false)).map(|tree| depth(&tree)),
        Ok(50)
    );
    assert_eq!(
        decode::<Tree>(nested(4, true)).map(|tree| depth(&tree)),
        Ok(4)
    );
    assert_eq!(
        error::<Tree>(nested(5, true)),
        "[0][0][0][0]: expected list, got map"
    );
    // The limit does not affect values beside the nested value.
    let both = vec![nested(4, true), nested(4, true)];
    assert!(decode::<Vec<Tree>>(both).is_ok());
    let deep = nested(63, false);
    assert_eq!(decode::<Tree>(deep).map(|tree| depth(&tree)), Ok(63));
}

#[test]
fn collections_keep_their_type_on_the_wire() {
    assert_eq!(
        Value::encode_from(&Set(BTreeSet::from([1, 2]))),
        Ok(value!({"_rtype": "set", "_rvalue": [1, 2]}))
    );
    let map: OrderedMap<u8, &str> = [(2, "b"), (1, "a")].into_iter().collect();
    assert_eq!(
        Value::encode_from(&map),
        Ok(value!({"_rtype": "orderedmap", "_rvalue": [[2, "b"], [1, "a"]]}))
    );
}

#[test]
fn collections_are_read_from_every_form() {
    type Names = Set<BTreeSet<String>>;
    let names: Names = BTreeSet::from(["a".to_owned()]).into();
    assert_eq!(decode::<Names>(value!(["a"])).as_ref(), Ok(&names));
    assert_eq!(decode::<Names>(&names).as_ref(), Ok(&names));
    let late = value!({"_rvalue": ["a"], "_rtype": "set"});
    assert_eq!(decode::<Names>(late).as_ref(), Ok(&names));
    assert_eq!(error::<Names>(value!({"a": 1})), "expected set, got map");
    assert_eq!(
        error::<Names>(value!({"_rtype": "set"})),
        "expected set, got map"
    );

    type Codes = OrderedMap<String, u8>;
    let codes = Codes::from(vec![("b".to_owned(), 1), ("a".to_owned(), 2)]);
    assert_eq!(
        decode::<Codes>(value!({"b": 1, "a": 2})).as_ref(),
        Ok(&codes)
    );
    assert_eq!(decode::<Codes>(&codes).as_ref(), Ok(&codes));
    assert_eq!(decode::<Codes>(value!({})), Ok(Codes::default()));
    assert_eq!(error::<Codes>(value!([])), "expected ordered map, got list");
    assert_eq!(
        error::<Codes>(set(value!([]))),
        "expected ordered map, got map"
    );
    assert_eq!(
        error::<OrderedMap<u8, u8>>(value!({"b": 1})),
        "expected integer, got string"
    );
    let named = OrderedMap::from(vec![(12u8, 1u8), (7, 2)]);
    assert_eq!(decode(value!({"12": 1, "7": 2})), Ok(named));
    let negative = OrderedMap::from(vec![(-12i64, 1u8)]);
    assert_eq!(decode(value!({"-12": 1})), Ok(negative));
    let switches = OrderedMap::from(vec![(true, 1u8), (false, 2)]);
    assert_eq!(decode(value!({"true": 1, "false": 2})), Ok(switches));
    for key in ["+1", "300", "1.0"] {
        let wanted = "expected integer, got string";
        assert_eq!(
            error::<OrderedMap<u8, u8>>(Value::Map([(key.into(), 1.into())].into_iter().collect())),
            wanted,
            "{key}"
        );
    }
    let twice = Codes::from(vec![("a".to_owned(), 1), ("a".to_owned(), 2)]);
    assert_eq!(twice.get(&"a".to_owned()), Some(&2));
}

/// Checks that the tag is found if serde buffers the value before it knows the type, and in other
/// formats.
#[test]
fn collections_survive_buffering_and_json() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        All {
            names: Set<Vec<u8>>,
            codes: OrderedMap<u8, u8>,
            data: NdArray,
            bytes: Binary,
        },
    }
    let all = Tagged::All {
        names: Set(vec![1, 2]),
        codes: [(1, 2)].into_iter().collect(),
        data: NdArray::from(vec![1.5f32]),
        bytes: b"abc".into(),
    };
    assert_eq!(decode::<Tagged>(&all).as_ref(), Ok(&all));
    let json = serde_json::to_string(&all).expect("JSON");
    assert_eq!(serde_json::from_str::<Tagged>(&json).expect("JSON"), all);
    // A caller over HTTP has only strings as keys.
    for codes in [value!({"1": 2}), value!({"1": 2, "7": 3})] {
        let mut given = Value::encode_from(&all).expect("encodes");
        if let Value::Map(members) = &mut given {
            members.insert("codes".into(), codes.clone());
        }
        let Tagged::All { codes: found, .. } = decode(&given).expect("decodes");
        assert_eq!(Ok(found), decode(codes));
    }
}

#[test]
fn timestamps_are_read_from_dates_and_numbers() {
    let time = Timestamp::new(1_577_836_800, 123_000_000).expect("valid");
    let packed = to_vec(&time).expect("encodes");
    assert_eq!(packed, *b"\xd7\xff\x1d\x53\x53\x00\x5e\x0b\xe1\x00");
    assert_eq!(decode::<Timestamp>(time), Ok(time));
    assert_eq!(Value::from(time).decode_as::<Timestamp>(), Ok(time));
    let half = Timestamp::new(1, 500_000_000).expect("valid");
    assert_eq!(decode::<Timestamp>(1.5), Ok(half));
    assert_eq!(decode::<Timestamp>(-7).map(|time| time.seconds()), Ok(-7));
    assert_eq!(error::<Timestamp>("now"), "expected timestamp, got string");
    assert_eq!(error::<Timestamp>(f64::NAN), "NaN is not a time");
    assert_eq!(
        error::<Timestamp>(Value::Ext(5, b"1234"[..].into())),
        "expected timestamp, got extension"
    );
    assert_eq!(
        error::<Timestamp>(Value::Ext(-1, b"123"[..].into())),
        "a timestamp has 4, 8 or 12 bytes of data, not 3"
    );
}

#[test]
fn numbers_at_the_edge_survive() {
    for number in [i64::MIN, -1, 0, (1 << 53) + 1, i64::MAX] {
        assert_eq!(decode::<i64>(number), Ok(number));
        assert_eq!(decode::<Value>(number), Ok(number.into()));
    }
    assert_eq!(decode::<u64>(u64::MAX), Ok(u64::MAX));
    assert_eq!(decode::<Value>(u64::MAX), Ok(Value::UInt(u64::MAX)));
    for number in [
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::MIN_POSITIVE,
        -0.0,
        f64::NAN,
    ] {
        let again: f64 = decode(number).expect("a float");
        assert_eq!(again.to_bits(), number.to_bits());
        let packed = bytes::Bytes::from(to_vec(&number).expect("encodes"));
        let value: Value = from_slice(&packed).expect("a float");
        assert_eq!(to_vec(&value).expect("encodes"), packed);
    }
    assert!(decode::<f32>(f64::NAN).expect("a float").is_nan());
    assert_eq!(decode::<f32>(f64::INFINITY), Ok(f32::INFINITY));
}

#[test]
fn schemas_are_plain() {
    use schemars::schema_for;
    let schema = schema_for!(Set<Vec<u8>>);
    assert_eq!(
        schema.get("type").and_then(|kind| kind.as_str()),
        Some("array")
    );
    assert_eq!(schema.get("uniqueItems"), Some(&true.into()));
    let schema = schema_for!(OrderedMap<String, bool>);
    assert_eq!(
        schema.get("additionalProperties"),
        Some(&serde_json::json!({"type": "boolean"}))
    );
    let schema = schema_for!(NdArray);
    assert_eq!(
        schema.get("type").and_then(|kind| kind.as_str()),
        Some("object")
    );
}

/// Checks that no part of a schema looks like a tagged value, because a schema is sent as a value.
#[test]
fn schemas_are_not_taken_for_tagged_values() {
    fn has_tag(schema: &serde_json::Value) -> bool {
        match schema {
            serde_json::Value::Object(map) => {
                map.contains_key("_rtype") || map.values().any(has_tag)
            }
            serde_json::Value::Array(items) => items.iter().any(has_tag),
            _ => false,
        }
    }
    for schema in [
        schemars::schema_for!(NdArray),
        schemars::schema_for!(TypedArray),
        schemars::schema_for!(hypha_wire::MemoryView),
        schemars::schema_for!(Set<Vec<u8>>),
        schemars::schema_for!(OrderedMap<String, u8>),
        schemars::schema_for!(Timestamp),
    ] {
        let schema = schema.to_value();
        assert!(!has_tag(&schema), "{schema}");
    }
}

/// An untagged enum decodes the first variant that fits, also if only another form of the keys or
/// numbers fits.
#[test]
fn the_first_variant_that_fits_is_decoded() {
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(untagged)]
    enum Keys {
        Integers(BTreeMap<i64, u8>),
        Bools(BTreeMap<bool, u8>),
        Texts(BTreeMap<String, u8>),
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(untagged)]
    enum Times {
        Pause { t: Duration },
        Ratio { t: f64 },
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    #[serde(untagged)]
    enum TextFirst {
        Texts(BTreeMap<String, u8>),
        Integers(BTreeMap<i64, u8>),
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Outer {
        name: String,
        #[serde(flatten)]
        pause: Option<Pause>,
    }
    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Pause {
        t: Duration,
    }
    for keys in [
        Keys::Integers([(1, 1), (-7, 2)].into()),
        Keys::Bools([(true, 1)].into()),
        Keys::Texts([("a".into(), 1), ("1".into(), 2)].into()),
    ] {
        assert_eq!(decode::<Keys>(&keys).unwrap(), keys);
    }
    let pause = Times::Pause {
        t: Duration::from_millis(1500),
    };
    assert_eq!(decode::<Times>(&pause).unwrap(), pause);
    let negative = Times::Ratio { t: -1.5 };
    assert_eq!(decode::<Times>(&negative).unwrap(), negative);
    let texts = TextFirst::Texts([("1".into(), 1)].into());
    assert_eq!(decode::<TextFirst>(&texts).unwrap(), texts);
    let outer = Outer {
        name: "a".into(),
        pause: Some(Pause {
            t: Duration::from_millis(1500),
        }),
    };
    assert_eq!(decode::<Outer>(&outer).unwrap(), outer);
}
