//! Tests the wire format with random values and hostile bytes, and checks error messages.

use std::collections::{BTreeMap, HashMap};

use hypha_wire::{
    Args, Binary, DecodeError, Extra, Head, MAX_DEPTH, Map, Message, Promise, ReplyMode, Stamp,
    Value, from_slice, skip, to_vec,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

const HEAD: Head<'static> = Head {
    from: "ws/caller",
    to: "ws/owner",
    method: "services.svc.f",
    parent: None,
    session: Some("S"),
};

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<i8>().prop_map(|small| Value::Int(small.into())),
        (i64::MAX as u64 + 1..).prop_map(Value::UInt),
        any::<f64>().prop_map(Value::Float),
        ".{0,40}".prop_map(Value::String),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())),
        (any::<i8>(), prop::collection::vec(any::<u8>(), 0..20))
            .prop_map(|(code, data)| Value::Ext(code, data.into())),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Value::List),
            prop::collection::vec((".{0,10}", inner), 0..20)
                .prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}

/// Generates bytes that are often almost valid msgpack. They are a frame in which some bytes are
/// changed and the end is missing.
fn hostile_bytes() -> impl Strategy<Value = Vec<u8>> {
    let damaged = (
        any_value(),
        any_value(),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(first, second, changes, end)| {
            let main =
                Map::from_iter([("type".to_owned(), first), ("user".to_owned(), Value::Null)]);
            let extra = Map::from_iter([("args".to_owned(), second)]);
            let mut bytes = to_vec(&main).expect("encodes");
            bytes.extend(to_vec(&extra).expect("encodes"));
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes.truncate(end.index(bytes.len()) + 1);
            bytes
        });
    prop_oneof![prop::collection::vec(any::<u8>(), 0..80), damaged]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn values_survive(value in any_value()) {
        let packed = bytes::Bytes::from(to_vec(&value).expect("encodes"));
        prop_assert_eq!(skip(&packed), Ok(packed.len()));
        let again: Value = from_slice(&packed).expect("decodes");
        // Compare the encoded bytes, because NaN is not equal to itself.
        prop_assert_eq!(to_vec(&again).expect("encodes"), packed);
    }

    #[test]
    fn hostile_bytes_cause_only_errors(input in hostile_bytes()) {
        let input = bytes::Bytes::from(input);
        if let Ok(len) = skip(&input) {
            prop_assert!(0 < len && len <= input.len());
        }
        let _ = from_slice::<Value>(&input);
        let _ = from_slice::<Person>(&input);
        let _ = from_slice::<Shape>(&input);
        let _ = Extra::parse(input.clone());
        if let Ok(message) = Message::parse(input.clone()) {
            let _ = (message.main(), message.kind(), message.user(), message.session());
            if let Ok(extra) = message.extra() {
                for index in 0..extra.args.positional() {
                    let _ = extra.args.get::<Value>(index);
                }
            }
            let stamped = Message::parse(message.stamped(&STAMP).into_bytes()).expect("a message still");
            prop_assert_eq!(stamped.from(), Some(STAMP.from));
            prop_assert_eq!(stamped.extra_raw(), message.extra_raw());
        }
    }

    #[test]
    fn arguments_arrive(
        positional in prop::collection::vec(any_value(), 0..20),
        named in prop::collection::vec(("[a-z]{1,8}", any_value()), 0..20),
        expected in (0usize..20, 0usize..40),
        parent in prop::option::of(".{0,600}"),
    ) {
        let named: Map = named.into_iter().collect();
        let mut args = Args::new(expected.0, expected.1);
        positional.iter().for_each(|value| args.push("value", value));
        named.iter().for_each(|(name, value)| args.push_named(name, value));
        let head = Head { parent: parent.as_deref(), ..HEAD };
        let frame = args.finish(&head, ReplyMode::Star { interval: 15.0 }).expect("encodes");

        let message = Message::parse(frame).expect("parses");
        prop_assert_eq!(message.parent(), parent.as_deref());
        let extra = message.extra().expect("parses");
        prop_assert_eq!(extra.promise, Some(Promise::Star));
        prop_assert_eq!(extra.args.positional(), positional.len());
        for (index, value) in positional.iter().enumerate() {
            prop_assert_eq!(&extra.args.raw(index).expect("given"), &to_vec(value).expect("encodes"));
        }
        prop_assert!(extra.args.names().eq(named.keys()));
        for (name, value) in &named {
            prop_assert_eq!(&extra.args.raw_named(name).expect("given"), &to_vec(value).expect("encodes"));
        }
    }
}

const STAMP: Stamp<'static> = Stamp {
    to: "ws/owner",
    from: "other/caller",
    ws: "other",
    user: &[0x81, 0xa2, b'i', b'd', 1],
};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    #[serde(default)]
    tags: Vec<String>,
    age: Option<u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Circle(f64),
    Line(i32, i32),
    Label { text: String },
}

fn decode<T: for<'de> Deserialize<'de>>(value: impl Serialize) -> Result<T, DecodeError> {
    from_slice(&to_vec(&value).expect("encodes").into())
}

fn error<T: for<'de> Deserialize<'de>>(value: impl Serialize) -> String {
    match decode::<T>(value) {
        Ok(_) => "decoded".to_owned(),
        Err(error) => error.to_string(),
    }
}

fn json(value: serde_json::Value) -> Value {
    value.into()
}

macro_rules! value {
    ($($json:tt)+) => { json(serde_json::json!($($json)+)) };
}

#[test]
fn errors_name_the_path_and_the_types() {
    let person = error::<BTreeMap<String, Person>>;
    let tags = value!({"person": {"name": "a", "tags": ["x", "y", 3]}});
    assert_eq!(person(tags), "person.tags[2]: expected string, got integer");
    assert_eq!(
        person(value!({"person": {"tags": []}})),
        "person.name: missing"
    );
    let age = value!({"person": {"name": "a", "age": 300}});
    assert_eq!(person(age), "person.age: 300 is out of range for u8");
    assert_eq!(
        person(value!({"person": ["a"]})),
        "person: expected map, got list"
    );
    assert_eq!(person(value!(null)), "expected map, got null");

    assert_eq!(error::<u32>(-1), "-1 is out of range for u32");
    assert_eq!(error::<u32>(1.5), "expected integer, got float");
    assert_eq!(error::<u32>(1e30), "expected integer, got float");
    assert_eq!(error::<f64>("1"), "expected float, got string");
    assert_eq!(error::<bool>(1), "expected bool, got integer");
    assert_eq!(error::<()>(false), "expected null, got bool");
    assert_eq!(error::<Vec<u8>>(value!({})), "expected list, got map");
    assert_eq!(
        error::<String>(Binary::from(b"x")),
        "expected string, got bytes"
    );
    assert_eq!(error::<Binary>("x"), "expected bytes, got string");
    assert_eq!(
        error::<String>(Value::Ext(5, b"x"[..].into())),
        "expected string, got extension"
    );
    assert_eq!(
        error::<(u8, u8)>([1, 2, 3]),
        "expected a list of length 2, got length 3"
    );
    assert_eq!(
        error::<[u8; 3]>([1, 2]),
        "expected a list of length 3, got length 2"
    );
    assert_eq!(error::<char>("ab"), "expected a character, got \"ab\"");
}

#[test]
fn errors_of_enums_name_what_is_allowed() {
    let unknown = "unknown variant `Square`, expected one of `Empty`, `Circle`, `Line`, `Label`";
    assert_eq!(error::<Shape>("Square"), unknown);
    assert_eq!(error::<Shape>(value!({"Square": 1})), unknown);
    assert_eq!(
        error::<Shape>(value!({"Circle": "r"})),
        "Circle: expected float, got string"
    );
    assert_eq!(error::<Shape>(value!({"Label": {}})), "Label.text: missing");
    let form = "expected the name of a variant or a map with one entry, got";
    assert_eq!(
        error::<Shape>(value!({})),
        format!("{form} a map with 0 entries")
    );
    assert_eq!(error::<Shape>(7), format!("{form} integer"));
}

/// Checks that an error message truncates strings of a peer, because the error is sent back to that
/// peer.
#[test]
fn errors_are_short() {
    let long = "é".repeat(5000);
    assert!(error::<Shape>(&long).len() < 300);
    assert!(error::<HashMap<String, u8>>(HashMap::from([(&long, "x")])).len() < 300);
}

/// Integer keys are written as strings, as in JSON and in the schema of such a map. Python also
/// sends integer keys.
#[test]
fn integer_and_bool_keys_become_strings() {
    #[derive(Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
    struct Id(u16);
    let map = BTreeMap::from([(-5i64, "a".to_owned()), (7, "b".to_owned())]);
    let packed = to_vec(&map).expect("it can be sent");
    let texts = BTreeMap::from([("-5", "a"), ("7", "b")]);
    assert_eq!(packed, to_vec(&texts).expect("it can be sent"));
    assert_eq!(from_slice(&packed.into()), Ok(map));
    assert_eq!(
        decode::<HashMap<Id, u8>>(&HashMap::from([("7", 1)])),
        Ok(HashMap::from([(Id(7), 1)]))
    );
    assert_eq!(
        from_slice::<BTreeMap<i8, u8>>(&bytes::Bytes::from_static(&[0x82, 1, 2, 0xff, 3])),
        Ok(BTreeMap::from([(1, 2), (-1, 3)]))
    );
    let truths = HashMap::from([(true, 1)]);
    assert_eq!(
        decode::<HashMap<String, u8>>(&truths),
        Ok(HashMap::from([("true".to_owned(), 1)]))
    );
    assert_eq!(decode::<HashMap<bool, u8>>(&truths), Ok(truths));
    assert_eq!(
        error::<HashMap<bool, u8>>(HashMap::from([("1", 1)])),
        "expected `true` or `false` as a key, got `1`"
    );
    for (key, wanted) in [
        ("x", "expected an integer as a key, got `x`"),
        ("+7", "expected an integer as a key, got `+7`"),
        ("1.5", "expected an integer as a key, got `1.5`"),
        ("300", "300 is out of range for u8"),
        ("-1", "-1 is out of range for u8"),
    ] {
        assert_eq!(error::<HashMap<u8, u8>>(HashMap::from([(key, 1)])), wanted);
    }
    assert_eq!(
        error::<HashMap<u8, u8>>(HashMap::from([("7", "x")])),
        "7: expected integer, got string"
    );
}

/// Checks that a finite number never becomes infinite.
#[test]
fn a_number_that_is_too_large_for_its_type_is_refused() {
    assert_eq!(error::<f32>(-1e39), "-1e39 is out of range for f32");
    assert_eq!(decode::<f32>(f64::INFINITY), Ok(f32::INFINITY));
    assert_eq!(decode::<f32>(0.1), Ok(0.1));
}

#[test]
fn a_map_key_must_be_a_string() {
    let error = to_vec(&HashMap::from([(None::<u8>, 1)])).expect_err("a key that is no text");
    assert_eq!(
        error.to_string(),
        "a map key must be a string, got null; `OrderedMap` allows other keys"
    );
    assert!(to_vec(&HashMap::from([('c', 1)])).is_ok());
    assert_eq!(
        from_slice::<Value>(&bytes::Bytes::from_static(&[0x81, 1, 2])).expect_err("an integer key"),
        from_slice::<HashMap<String, u8>>(&bytes::Bytes::from_static(&[0x81, 1, 2]))
            .expect_err("an integer key"),
    );
}

#[test]
fn numbers_are_accepted_as_peers_send_them() {
    assert_eq!(decode::<f64>(3), Ok(3.0));
    assert_eq!(decode::<f32>(3), Ok(3.0));
    assert_eq!(decode::<i64>(-3.0), Ok(-3));
    assert_eq!(decode::<u8>(-0.0), Ok(0));
    assert_eq!(decode::<u64>(2f64.powi(63)), Ok(1 << 63));
    assert_eq!(decode::<i64>(-(2f64.powi(63))), Ok(i64::MIN));
    assert_eq!(decode::<i128>(u64::MAX), Ok(u64::MAX.into()));
    assert_eq!(
        decode::<u8>(256.0),
        Err(decode::<u8>(256).expect_err("too large"))
    );
    assert_eq!(to_vec(&1.5f32), to_vec(&1.5f64));
    assert!(to_vec(&u128::MAX).is_err());
}

#[test]
fn bytes_and_lists_of_small_integers_are_accepted_for_each_other() {
    assert_eq!(decode::<Vec<u8>>(Binary::from(b"abc")), Ok(b"abc".to_vec()));
    assert_eq!(decode::<[u8; 3]>(Binary::from(b"abc")), Ok(*b"abc"));
    assert_eq!(decode::<Binary>([1, 2]), Ok(Binary::from(&[1, 2])));
    let view = BTreeMap::from([
        ("_rtype", Value::from("memoryview")),
        ("_rvalue", Binary::from(b"a").into()),
    ]);
    assert_eq!(decode::<Binary>(view), Ok(Binary::from(b"a")));
    assert_eq!(
        error::<Binary>(value!({"_rvalue": [1]})),
        "expected bytes, got map"
    );
}

#[test]
fn types_survive() {
    for shape in [
        Shape::Empty,
        Shape::Circle(1.5),
        Shape::Line(1, -2),
        Shape::Label {
            text: "x".to_owned(),
        },
    ] {
        assert_eq!(decode(&shape), Ok(shape));
    }
    assert_eq!(to_vec(&Shape::Empty), to_vec("Empty"));
    let person = Person {
        name: "a".to_owned(),
        tags: vec!["b".to_owned()],
        age: None,
    };
    let map = value!({"name": "a", "tags": ["b"], "age": null});
    assert_eq!(to_vec(&person), to_vec(&map));
    assert_eq!(map.decode_as().as_ref(), Ok(&person));
    assert_eq!(Value::encode_from(&person), Ok(map));
    // In a human-readable format, an IP address is a string.
    let address = std::net::Ipv4Addr::LOCALHOST;
    assert_eq!(to_vec(&address), to_vec("127.0.0.1"));
    assert_eq!(decode(address), Ok(address));
}

/// Checks that extension values and bytes stay the same if serde buffers them.
#[test]
fn buffered_values_are_the_same() {
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(u8),
        Other(Value),
    }
    for value in [
        Value::Ext(-1, b"date"[..].into()),
        Value::Bytes(b"abc"[..].into()),
        value!([{"a": 1}]),
    ] {
        let frame = bytes::Bytes::from(to_vec(&value).expect("encodes"));
        assert_eq!(from_slice(&frame), Ok(Either::Other(value)));
    }
}

/// Checks that a sequence gets the right header if its length is unknown or wrong.
#[test]
fn lengths_are_counted() {
    struct Claims(Option<usize>, usize);
    impl Serialize for Claims {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let mut list = serializer.serialize_seq(self.0)?;
            (0..self.1).try_for_each(|item| list.serialize_element(&[item]))?;
            list.end()
        }
    }
    for len in [0, 1, 15, 16, 70_000] {
        let honest = to_vec(&Claims(Some(len), len)).expect("encodes");
        assert_eq!(
            from_slice::<Vec<[usize; 1]>>(&honest.clone().into())
                .expect("decodes")
                .len(),
            len
        );
        for claim in [None, Some(3), Some(100), Some(100_000)] {
            assert_eq!(to_vec(&Claims(claim, len)), Ok(honest.clone()));
        }
    }
}

#[test]
fn bytes_are_slices_of_the_frame() {
    #[derive(Deserialize)]
    struct Image<'a> {
        name: &'a str,
        pixels: Binary,
        raw: &'a [u8],
        any: Value,
    }
    let mut args = Args::new(1, 0);
    let image = BTreeMap::from([
        ("name", Value::from("x")),
        ("pixels", Binary::from(vec![7; 1000]).into()),
        ("raw", Binary::from(vec![8; 1000]).into()),
        ("any", vec![Value::from(Binary::from(vec![9; 1000]))].into()),
    ]);
    args.push("image", &image);
    let frame = args.finish(&HEAD, ReplyMode::None).expect("encodes");
    let inside = |bytes: &[u8]| frame.as_ptr_range().contains(&bytes.as_ptr());
    let extra = Message::parse(frame.clone())
        .expect("parses")
        .extra()
        .expect("parses");
    let image: Image<'_> = extra.args.get(0).expect("given").expect("decodes");
    assert!(inside(image.name.as_bytes()) && inside(&image.pixels) && inside(image.raw));
    let any = image.any.as_list().expect("a list")[0]
        .as_bytes()
        .expect("bytes");
    assert!(inside(any));
    assert_eq!((image.pixels[0], image.raw[0], any[0]), (7, 8, 9));
    assert!(inside(&extra.args.raw(0).expect("given")));
}

/// Checks that the `Deserialize` implementation of a user may decode another value. This does not
/// affect the outer decoding, even if the implementation panics.
#[test]
fn nested_decoding_keeps_the_outer_frame() {
    struct Meddler;
    impl<'de> Deserialize<'de> for Meddler {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let panics = bool::deserialize(deserializer)?;
            decode::<Binary>(Binary::from(b"inner")).expect("decodes");
            let _ = std::panic::catch_unwind(|| decode::<Panics>(panics));
            Ok(Meddler)
        }
    }
    #[derive(Debug)]
    struct Panics;
    impl<'de> Deserialize<'de> for Panics {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            std::panic::resume_unwind(Box::new("as if a user's code had failed"));
        }
    }
    let frame = bytes::Bytes::from(to_vec(&(true, Binary::from(vec![1; 100]))).expect("encodes"));
    let (_, bytes): (Meddler, Binary) = from_slice(&frame).expect("decodes");
    assert!(frame.as_ptr_range().contains(&bytes.as_ptr()));
}

#[test]
fn nesting_is_bounded_both_ways() {
    let nested = |depth: usize| {
        let mut value = Value::Null;
        for _ in 0..depth {
            value = Value::List(vec![value]);
        }
        value
    };
    let deepest = to_vec(&nested(MAX_DEPTH)).expect("just fits");
    assert!(from_slice::<Value>(&deepest.into()).is_ok());
    let error = to_vec(&nested(MAX_DEPTH + 1))
        .expect_err("too deep")
        .to_string();
    assert_eq!(error, "lists and maps are nested more than 128 deep");

    for head in [&[0x91][..], &[0x81, 0xa1, b'k']] {
        let endless = bytes::Bytes::from(head.repeat(100_000));
        assert!(
            skip(&endless)
                .expect_err("too deep")
                .message()
                .contains("128 deep")
        );
        let error = from_slice::<Value>(&endless).expect_err("too deep");
        assert_eq!(
            error.message(),
            "lists and maps are nested more than 128 deep"
        );
        assert!(from_slice::<serde::de::IgnoredAny>(&endless).is_err());
    }
    let main = [&b"\x81\xa4type"[..], &[0x91; 1000]].concat();
    assert!(Message::parse(main.into()).is_err());

    // Checks that every value that can be sent as an argument can also be received.
    let mut args = Args::new(1, 1);
    args.push("deep", &nested(MAX_DEPTH));
    args.push_named("named", &nested(MAX_DEPTH));
    let extra = Message::parse(args.finish(&HEAD, ReplyMode::None).expect("encodes"))
        .expect("parses")
        .extra()
        .expect("parses");
    assert!(matches!(extra.args.get::<Value>(0), Some(Ok(_))));
    assert!(matches!(
        extra.args.get_named::<Value>("named"),
        Some(Ok(_))
    ));
}

/// Checks that no memory is reserved for a header that declares 4 GiB of content.
#[test]
fn large_declared_lengths_reserve_no_memory() {
    for marker in [0xdb, 0xc6, 0xc9, 0xdd, 0xdf] {
        let nested = [
            [0x91].repeat(100),
            vec![marker, 0xff, 0xff, 0xff, 0xff, 0xa0],
        ]
        .concat();
        for frame in [nested, vec![marker, 0xff, 0xff, 0xff, 0xff]] {
            let frame = bytes::Bytes::from(frame);
            assert!(skip(&frame).is_err());
            assert!(from_slice::<Value>(&frame).is_err());
            assert!(from_slice::<Vec<[u64; 8]>>(&frame).is_err());
            assert!(Extra::parse(frame.clone()).is_err());
            assert!(Message::parse(frame).is_err());
        }
    }
}

#[test]
fn a_value_is_the_whole_input() {
    let error = from_slice::<u8>(&bytes::Bytes::from_static(&[1, 2, 3])).expect_err("more bytes");
    assert_eq!(error.to_string(), "2 more bytes after the value");
}
