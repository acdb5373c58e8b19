//! Tests the encoding of messages: arbitrary values in any position, large bytes that are not
//! copied, lists that declare a wrong length, and messages that are split into chunks.

use std::time::Instant;

use hypha_wire::{
    Args, Binary, ChunkStore, Handle, Head, MAX_DEPTH, Map, Message, ReplyMode, Value, from_slice,
    skip, to_vec,
};
use proptest::prelude::*;
use proptest::sample::Index;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

const HEAD: Head<'static> = Head {
    from: "ws/caller",
    to: "ws/owner",
    method: "services.svc.f",
    parent: None,
    session: Some("S"),
};

/// Minimum length of bytes that are not copied into the buffer of a message.
const SPLICED: usize = 16 << 10;

fn large(len: usize) -> bytes::Bytes {
    (0..len).map(|index| (index % 251) as u8).collect()
}

fn any_bytes() -> impl Strategy<Value = bytes::Bytes> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40).prop_map(bytes::Bytes::from),
        2 => (SPLICED - 2..SPLICED + 3).prop_map(large),
        1 => (65_533usize..65_540).prop_map(large),
    ]
}

/// Generates numbers near the limits of every integer form of msgpack.
fn any_number() -> impl Strategy<Value = Value> {
    let edge = |(bits, offset, negative): (u32, i8, bool)| {
        let number = (1i128 << bits) + i128::from(offset);
        let number = if negative { -number } else { number };
        // Two of the generated numbers cannot be sent in any message.
        Value::encode_from(&number).unwrap_or_default()
    };
    prop_oneof![
        2 => (0u32..64, -2i8..3, any::<bool>()).prop_map(edge),
        1 => any::<u64>().prop_map(|bits| Value::Float(f64::from_bits(bits))),
        1 => any::<f32>().prop_map(|number| Value::Float(number.into())),
        1 => prop::sample::select(vec![
            0.0,
            -0.0,
            f64::NAN,
            f64::INFINITY,
            f64::MIN_POSITIVE,
            2f64.powi(64)
        ])
        .prop_map(Value::Float),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::Bool),
        3 => any_number(),
        2 => ".{0,40}".prop_map(Value::String),
        4 => any_bytes().prop_map(Value::Bytes),
        1 => (any::<i8>(), any_bytes()).prop_map(|(code, data)| Value::Ext(code, data)),
    ];
    leaf.prop_recursive(4, 30, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..18).prop_map(Value::List),
            prop::collection::vec((".{0,10}", inner), 0..18)
                .prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}

/// Value in which lists and maps declare a wrong length or no length.
struct Liar<'a>(&'a Value, usize);

impl Liar<'_> {
    fn claim(&self, len: usize) -> Option<usize> {
        match self.1 % 5 {
            0 => None,
            1 => Some(0),
            2 => Some(len + 1),
            3 => Some(len + 70_000),
            _ => Some(len),
        }
    }

    fn inside<'a>(&self, value: &'a Value) -> Liar<'a> {
        Liar(value, self.1.wrapping_mul(7) / 5 + 1)
    }
}

impl Serialize for Liar<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::List(items) => {
                let mut list = serializer.serialize_seq(self.claim(items.len()))?;
                for item in items {
                    list.serialize_element(&self.inside(item))?;
                }
                list.end()
            }
            Value::Map(entries) => {
                let mut map = serializer.serialize_map(self.claim(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, &self.inside(value))?;
                }
                map.end()
            }
            other => other.serialize(serializer),
        }
    }
}

/// Arguments of a message. The last positional arguments are optional.
#[derive(Clone, Debug)]
struct Arguments {
    positional: Vec<Value>,
    optional: Vec<Option<Value>>,
    named: Map,
    /// Declared numbers of arguments. The numbers may be wrong.
    claims: (usize, usize, usize),
}

fn any_arguments() -> impl Strategy<Value = Arguments> {
    (
        prop::collection::vec(any_value(), 0..6),
        prop::collection::vec(prop::option::of(any_value()), 0..4),
        prop::collection::vec(("[a-z]{1,8}", any_value()), 0..6),
        (
            0usize..40,
            0usize..70_000,
            any::<u16>().prop_map(usize::from),
        ),
    )
        .prop_map(|(positional, optional, named, claims)| Arguments {
            positional,
            optional,
            named: named.into_iter().collect(),
            claims,
        })
}

impl Arguments {
    fn frame(&self, parent: Option<&str>, reply: ReplyMode<'_>) -> bytes::Bytes {
        let (positional, named, lie) = self.claims;
        let mut args = Args::new(positional, named);
        self.positional
            .iter()
            .for_each(|value| args.push("value", &Liar(value, lie)));
        for value in &self.optional {
            let value = value.as_ref().map(|value| Liar(value, lie));
            args.push_optional("value", &value);
        }
        self.named
            .iter()
            .for_each(|(name, value)| args.push_named(name, &Liar(value, lie)));
        let head = Head { parent, ..HEAD };
        args.finish(&head, reply).expect("encodes")
    }

    /// Returns the positional arguments that must arrive.
    fn expected(&self) -> Vec<Value> {
        let optional = self
            .optional
            .iter()
            .map(|value| value.clone().unwrap_or_default());
        let mut all: Vec<Value> = self.positional.iter().cloned().chain(optional).collect();
        while all.len() > self.positional.len() && all.last().is_some_and(Value::is_null) {
            all.pop();
        }
        all
    }

    /// Checks that `frame` contains these arguments. Compares the encoded bytes, because NaN is not
    /// equal to itself.
    fn check(&self, frame: bytes::Bytes) -> Result<(), TestCaseError> {
        let args = Message::parse(frame)
            .expect("parses")
            .extra()
            .expect("parses")
            .args;
        let expected = self.expected();
        prop_assert_eq!(args.positional(), expected.len());
        for (index, value) in expected.iter().enumerate() {
            let packed = to_vec(value).expect("encodes");
            prop_assert_eq!(&args.raw(index).expect("given"), &packed);
            let decoded: Value = args.get(index).expect("given").expect("decodes");
            prop_assert_eq!(to_vec(&decoded).expect("encodes"), packed);
        }
        prop_assert!(args.names().eq(self.named.keys()));
        for (name, value) in &self.named {
            let packed = to_vec(value).expect("encodes");
            prop_assert_eq!(&args.raw_named(name).expect("given"), &packed);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn values_survive(value in any_value(), lie in any::<u16>()) {
        let packed = bytes::Bytes::from(to_vec(&value).expect("encodes"));
        prop_assert_eq!(skip(&packed), Ok(packed.len()));
        let again: Value = from_slice(&packed).expect("decodes");
        prop_assert_eq!(&to_vec(&again).expect("encodes"), &packed);
        let lied = to_vec(&Liar(&value, lie.into())).expect("encodes");
        prop_assert_eq!(&lied, &packed);
        let through = Value::encode_from(&Liar(&value, lie.into())).expect("encodes");
        prop_assert_eq!(&to_vec(&through).expect("encodes"), &packed);
    }

    #[test]
    fn arguments_arrive(
        arguments in any_arguments(),
        parent in prop::option::of("[a-z.]{0,600}"),
        full in any::<bool>(),
    ) {
        let reply = match full {
            true => ReplyMode::Full { target: "ws/caller", session: "S", interval: 10.0 },
            false => ReplyMode::Star { interval: 10.0 },
        };
        arguments.check(arguments.frame(parent.as_deref(), reply))?;
        arguments.check(arguments.frame(parent.as_deref(), ReplyMode::None))?;
    }

    /// Sends chunks of any size and in any order. Some chunks are sent twice.
    #[test]
    fn messages_survive_in_pieces(
        arguments in any_arguments(),
        size in any::<Index>(),
        order in prop::collection::vec((any::<Index>(), any::<Index>()), 0..20),
    ) {
        let frame = arguments.frame(None, ReplyMode::Star { interval: 10.0 });
        let size = 1 + size.index(frame.len()).max(frame.len() / 300);
        let mut pieces: Vec<(u64, bytes::Bytes)> = (0..)
            .zip(frame.chunks(size).map(|piece| frame.slice_ref(piece)))
            .collect();
        for (a, b) in order {
            let (a, b) = (a.index(pieces.len()), b.index(pieces.len()));
            pieces.swap(a, b);
            pieces.push(pieces[a].clone());
        }
        let now = Instant::now();
        let mut store = ChunkStore::default();
        store.create("ws/a", "k", false, now).expect("is new");
        for (index, piece) in pieces {
            store.set("ws/a", "k", index, piece, now).expect("fits");
        }
        let whole = store.assemble("ws/a", "k").expect("is complete");
        prop_assert_eq!(&whole, &frame);
        prop_assert_eq!(store.used(), 0);
        arguments.check(whole)?;
    }

    /// Tests values whose nesting depth is near the limit, with large bytes in the innermost value.
    /// Both the sender and the receiver reject a value that is nested too deep.
    #[test]
    fn nesting_has_a_bound(
        kinds in prop::collection::vec(any::<bool>(), MAX_DEPTH - 3..MAX_DEPTH + 3),
        lie in any::<u16>(),
        named in any::<bool>(),
    ) {
        let mut value = Value::Bytes(large(SPLICED));
        for &list in &kinds {
            value = match list {
                true => Value::List(vec![value]),
                false => Value::Map(Map::from_iter([("key".to_owned(), value)])),
            };
        }
        let fits = kinds.len() <= MAX_DEPTH;
        prop_assert_eq!(to_vec(&value).is_ok(), fits);
        let mut args = Args::new(0, 0);
        let liar = Liar(&value, lie.into());
        match named {
            true => args.push_named("value", &liar),
            false => args.push("value", &liar),
        }
        let frame = args.finish(&HEAD, ReplyMode::None);
        prop_assert_eq!(frame.is_ok(), fits);
        if let Ok(frame) = frame {
            let args = Message::parse(frame).expect("parses").extra().expect("parses").args;
            let arrived = match named {
                true => args.get_named::<Value>("value"),
                false => args.get::<Value>(0),
            };
            prop_assert_eq!(arrived, Some(Ok(value)));
        }

        // Encode the value like a sender that has no limit.
        let mut packed = Vec::new();
        for &list in &kinds {
            packed.extend_from_slice(if list { b"\x91" } else { b"\x81\xa1k" });
        }
        packed.push(0xc0);
        prop_assert_eq!(from_slice::<Value>(&packed.into()).is_ok(), fits);
    }
}

/// Tries every chunk size for one message. The message contains large byte strings as an argument,
/// in a list and in a map.
#[test]
fn every_size_of_pieces() {
    let bytes = || Value::Bytes(large(SPLICED));
    let map = || Value::Map(Map::from_iter([("data".to_owned(), bytes())]));
    let arguments = Arguments {
        positional: vec![bytes(), Value::List(vec![bytes(), 5.into(), bytes()])],
        optional: vec![None, Some(map()), None],
        named: Map::from_iter([("x".to_owned(), map()), ("y".to_owned(), bytes())]),
        claims: (0, 100, 13),
    };
    let frame = arguments.frame(None, ReplyMode::Star { interval: 10.0 });
    arguments.check(frame.clone()).expect("is what was pushed");
    let now = Instant::now();
    for size in (1..frame.len())
        .step_by(97)
        .chain([frame.len(), frame.len() + 1])
    {
        let mut store = ChunkStore::default();
        store.create("ws/a", "k", false, now).expect("is new");
        for piece in frame.chunks(size) {
            let piece = frame.slice_ref(piece);
            store.append("ws/a", "k", piece, now).expect("fits");
        }
        assert_eq!(store.assemble("ws/a", "k").expect("is complete"), frame);
    }
    // The data of a `Binary` is not copied into the buffer either.
    let mut args = Args::new(1, 0);
    args.push("data", &Binary(large(SPLICED)));
    let frame = args.finish(&HEAD, ReplyMode::None).expect("encodes");
    let args = Message::parse(frame)
        .expect("parses")
        .extra()
        .expect("parses")
        .args;
    assert_eq!(args.get(0), Some(Ok(Binary(large(SPLICED)))));
}

/// Checks the positions of functions. A function occupies no bytes in the buffer. Therefore the
/// position of a function can be the same as the position of another value, or of a header that
/// must be corrected.
#[test]
fn functions_keep_their_position() {
    let function = Handle::local(std::sync::Arc::new(()));
    let function = Value::encode_from(&function).expect("stays in this program");
    for lie in 0..50 {
        for before in 0..3 {
            let mut items = vec![Value::Bytes(large(SPLICED)); before];
            items.extend([function.clone(), function.clone(), 5.into()]);
            let value = Value::List(vec![Value::List(items), function.clone()]);
            let again = Value::encode_from(&Liar(&value, lie)).expect("encodes");
            assert_eq!(again, value, "{before} before it, lie {lie}");
        }
    }
}
