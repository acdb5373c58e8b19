//! Tests arrays and buffers: encoding, decoding, and rejected input.

use std::borrow::Cow;

use hypha_wire::{
    ArrayError, Binary, ByteOrder, DType, Map, MemoryView, NdArray, TypedArray, Value, from_slice,
    to_vec,
};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

fn decode<T: for<'de> Deserialize<'de>>(value: impl Serialize) -> Result<T, String> {
    let packed = to_vec(&value).expect("encodes");
    from_slice(&packed.into()).map_err(|error| error.to_string())
}

fn array(entries: &[(&str, Value)]) -> Value {
    let entries = entries
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    Value::Map(entries.collect())
}

fn ndarray(dtype: impl Into<Value>, shape: impl Into<Value>, data: impl Into<Value>) -> Value {
    array(&[
        ("_rtype", "ndarray".into()),
        ("_rvalue", data.into()),
        ("_rshape", shape.into()),
        ("_rdtype", dtype.into()),
    ])
}

fn typedarray(dtype: impl Into<Value>, data: &'static [u8]) -> Value {
    array(&[
        ("_rtype", "typedarray".into()),
        ("_rvalue", Binary::from(data).into()),
        ("_rdtype", dtype.into()),
    ])
}

fn bin(data: &'static [u8]) -> Value {
    Binary::from(data).into()
}

#[test]
fn a_method_that_describes_any_array_is_short() {
    #[derive(Debug, PartialEq, Serialize)]
    struct Info {
        dtype: String,
        shape: Vec<usize>,
        sum: f64,
    }
    fn info(array: &NdArray) -> Result<Info, ArrayError> {
        Ok(Info {
            dtype: array.dtype().to_string(),
            shape: array.shape().to_vec(),
            sum: array.iter_f64()?.sum(),
        })
    }
    let array = NdArray::from_vec([2, 2], vec![1.5f32, 2.5, 3.0, -1.0]).expect("four");
    let expected = Info {
        dtype: "float32".to_owned(),
        shape: vec![2, 2],
        sum: 6.0,
    };
    assert_eq!(info(&array), Ok(expected));
    let half = NdArray::from_bytes(DType::Float16, [2], &b"\x00\x3c\x00\xc0"[..]).expect("two");
    assert_eq!(info(&half).expect("numbers").sum, -1.0);
    let complex = NdArray::from_bytes(DType::Complex64, [1], vec![0; 8]).expect("one");
    let error = info(&complex).expect_err("no real numbers").to_string();
    assert_eq!(
        error,
        "expected an array of real numbers, got one of complex64"
    );
}

#[test]
fn every_real_type_is_scaled_in_its_own_type() {
    for dtype in [
        DType::Int8,
        DType::Int16,
        DType::Int32,
        DType::Int64,
        DType::UInt8,
        DType::UInt16,
        DType::UInt32,
        DType::UInt64,
        DType::Float16,
        DType::Float32,
        DType::Float64,
    ] {
        let zeros = vec![0; 3 * dtype.item_size().expect("known")];
        let zeros = NdArray::from_bytes(dtype.clone(), [3, 1], zeros).expect("three");
        let mut next = 0.0;
        let counted = zeros.map_f64(|_| {
            next += 1.0;
            next
        });
        let scaled = counted.and_then(|array| array.map_f64(|number| number * 20.0));
        let scaled = scaled.expect("numbers");
        assert_eq!((scaled.dtype(), scaled.shape()), (&dtype, &[3, 1][..]));
        let numbers: Vec<f64> = scaled.iter_f64().expect("numbers").collect();
        assert_eq!(numbers, [20.0, 40.0, 60.0], "{dtype}");
    }
}

#[test]
fn elements_are_of_the_type_that_was_sent() {
    let array = NdArray::from(vec![true, false]);
    assert_eq!(array.to_vec::<bool>(), Ok(vec![true, false]));
    let error = array.to_vec::<u8>().expect_err("bool").to_string();
    assert_eq!(
        error,
        "expected an array of uint8, got one of bool; `cast` and `iter_f64` read every type of real \
         numbers"
    );
    // numpy treats every byte except 0 as true in a `bool` array.
    let odd = NdArray::from_bytes(DType::Bool, [3], vec![0, 1, 7]).expect("three");
    assert_eq!(odd.to_vec::<bool>(), Ok(vec![false, true, true]));
    assert_eq!(odd.iter_f64().expect("numbers").sum::<f64>(), 2.0);
    let integers = NdArray::from(vec![u64::MAX, 1]);
    assert_eq!(integers.to_vec::<u64>(), Ok(vec![u64::MAX, 1]));
}

#[test]
fn big_endian_arrays_keep_their_byte_order() {
    let sent = ndarray(">i4", vec![2], bin(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe]));
    let array: NdArray = decode(&sent).expect("an array");
    assert_eq!(
        (array.dtype(), array.byte_order()),
        (&DType::Int32, ByteOrder::Big)
    );
    assert_eq!(array.to_vec::<i32>(), Ok(vec![1, -2]));
    assert_eq!(
        array.iter_f64().expect("numbers").collect::<Vec<_>>(),
        [1.0, -2.0]
    );
    assert_eq!(to_vec(&array), to_vec(&sent));
    assert_eq!(Value::from(array.clone()), sent);
    let typed = TypedArray::try_from(array).expect("JavaScript has it");
    assert_eq!(
        typed.array().data()[..],
        [1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff]
    );
}

#[test]
fn short_codes_are_written_as_names() {
    for (code, name) in [("<f4", "float32"), ("=f4", "float32"), ("f4", "float32")] {
        let array: NdArray = decode(ndarray(code, vec![1], bin(&[0; 4]))).expect("an array");
        assert_eq!(Value::from(array), ndarray(name, vec![1], bin(&[0; 4])));
    }
    let bytes: NdArray = decode(ndarray("|u1", vec![1], bin(&[7]))).expect("an array");
    assert_eq!(bytes.to_vec::<u8>(), Ok(vec![7]));
}

#[test]
fn unknown_types_can_be_forwarded() {
    for (dtype, size) in [("<U2", 8), ("datetime64[D]", 8), ("|S5", 5), (">M8[s]", 8)] {
        let sent = ndarray(dtype, vec![2], Binary::from(vec![1; 2 * size]));
        let array: NdArray = decode(&sent).expect("an array");
        assert_eq!(array.dtype(), &DType::Other(dtype.to_owned()));
        assert_eq!(to_vec(&array), to_vec(&sent));
        assert!(array.iter_f64().is_err() && array.to_vec::<u8>().is_err());
    }
    for dtype in ["object", "|O", "[('a', '<i4')]", "{'names': ['a']}"] {
        let error = decode::<NdArray>(ndarray(dtype, vec![1], bin(&[0; 8]))).expect_err("opaque");
        assert_eq!(
            error,
            format!("an array of dtype {dtype} cannot be sent between programs")
        );
    }
}

#[test]
fn every_buffer_is_read() {
    let read = |value: &Value| {
        let array: NdArray = decode(value).expect("an array");
        (array.dtype().to_string(), array.shape().to_vec())
    };
    let bytes = ("uint8".to_owned(), vec![4]);
    assert_eq!(read(&bin(b"abcd")), bytes);
    let view = Value::encode_from(&MemoryView(b"abcd".into())).expect("encodes");
    assert_eq!(read(&view), bytes);
    assert_eq!(read(&typedarray("uint8", b"abcd")), bytes);
    assert_eq!(
        read(&typedarray("int16", b"abcd")),
        ("int16".to_owned(), vec![2])
    );

    // All these forms are also accepted as plain bytes.
    let clamped = typedarray((), b"abcd");
    let pixels = ndarray("uint8", vec![2, 2], bin(b"abcd"));
    for buffer in [
        &bin(b"abcd"),
        &view,
        &typedarray("uint8", b"abcd"),
        &clamped,
        &pixels,
    ] {
        assert_eq!(decode::<Binary>(buffer), Ok(b"abcd".into()), "{buffer}");
        let packed = bytes::Bytes::from(to_vec(buffer).expect("encodes"));
        assert_eq!(from_slice::<&[u8]>(&packed), Ok(&b"abcd"[..]), "{buffer}");
        assert_eq!(decode::<MemoryView>(buffer), Ok(MemoryView(b"abcd".into())));
    }
    let floats = typedarray("float32", b"abcd");
    assert_eq!(
        decode::<Binary>(floats).expect_err("no bytes"),
        "expected bytes, got map"
    );
}

#[test]
fn data_in_pieces_are_put_together() {
    let pieces = |pieces: Vec<Value>| decode::<NdArray>(ndarray("int16", vec![2], pieces));
    let whole = NdArray::from(vec![1i16, 2]);
    assert_eq!(pieces(vec![bin(&[1, 0, 2, 0])]).as_ref(), Ok(&whole));
    assert_eq!(
        pieces(vec![bin(&[1]), bin(&[0, 2]), bin(&[0])]).as_ref(),
        Ok(&whole)
    );
    assert_eq!(
        pieces(vec![bin(&[]), bin(&[1, 0, 2, 0])]).as_ref(),
        Ok(&whole)
    );
    assert_eq!(
        pieces(vec![bin(&[1, 0]), "x".into()]).expect_err("text"),
        "_rvalue[1]: expected bytes, got string"
    );
    let empty: NdArray = decode(ndarray("int16", vec![0], Vec::<Value>::new())).expect("empty");
    assert!(empty.is_empty());
}

#[test]
fn errors_name_the_expected_and_the_received_type() {
    let error = |value: Value| decode::<NdArray>(value).expect_err("no array");
    let float =
        |shape: Vec<i64>, len: usize| error(ndarray("float32", shape, Binary::from(vec![0; len])));
    assert_eq!(
        float(vec![2, 2], 12),
        "12 bytes of data, but shape [2, 2] of float32 needs 16"
    );
    assert_eq!(
        float(vec![], 0),
        "0 bytes of data, but shape [] of float32 needs 4"
    );
    assert_eq!(
        float(vec![0, 3], 4),
        "4 bytes of data, but shape [0, 3] of float32 needs 0"
    );
    assert_eq!(
        float(vec![2, -1], 8),
        "_rshape[1]: -1 is out of range for usize"
    );
    let huge = i64::MAX;
    assert_eq!(
        float(vec![huge, huge], 0),
        format!("an array of shape [{huge}, {huge}] is too large")
    );
    for shape in [[huge, huge, 0], [0, huge, huge]] {
        let text = format!("an array of shape {shape:?} is too large");
        assert_eq!(float(shape.to_vec(), 0), text);
    }
    assert_eq!(float(vec![1; 65], 4), "65 dimensions are more than 64");
    assert_eq!(
        error(ndarray("<U2", vec![3], bin(&[0; 8]))),
        "8 bytes of data, but shape [3] of <U2 needs a multiple of 3"
    );
    assert_eq!(
        error(typedarray("int16", &[1, 2, 3])),
        "3 bytes of data are not a whole number of int16"
    );
    assert_eq!(
        error(typedarray("<U2", &[1, 2, 3])),
        "a typed array of dtype <U2, which is not known"
    );
    assert_eq!(error("x".into()), "expected array, got string");
    assert_eq!(error(array(&[])), "expected array, got map");
    assert_eq!(
        error(array(&[("_rtype", "set".into())])),
        "_rtype: expected array, got \"set\""
    );
    let whole = ndarray("int8", vec![1], bin(&[1]));
    for missing in ["_rvalue", "_rshape", "_rdtype"] {
        let mut map = whole.as_map().expect("a map").clone();
        map.shift_remove(missing);
        assert_eq!(error(Value::Map(map)), format!("{missing}: missing"));
    }
    assert_eq!(
        error(ndarray(1, vec![1], bin(&[1]))),
        "_rdtype: expected string, got integer"
    );
    // An error message truncates strings that a peer has sent.
    assert!(error(ndarray("x".repeat(5000), vec![3], bin(&[1; 8]))).len() < 300);
    assert!(error(array(&[("_rtype", "x".repeat(5000).into())])).len() < 300);

    let error = NdArray::from_vec([2, 2], vec![1, 2, 3])
        .expect_err("three")
        .to_string();
    assert_eq!(error, "3 elements, but shape [2, 2] needs 4");
    let error = TypedArray::try_from(vec![1i64])
        .expect_err("64 bits")
        .to_string();
    assert_eq!(error, "JavaScript has no typed array of int64");
}

#[test]
fn keys_may_come_in_any_order() {
    let sent = array(&[
        ("_rdtype", "int16".into()),
        ("_rshape", vec![1].into()),
        ("note", "not ours".into()),
        ("_rvalue", bin(&[1, 0])),
        ("_rtype", "ndarray".into()),
    ]);
    assert_eq!(decode::<NdArray>(sent), Ok(NdArray::from(vec![1i16])));
}

/// Checks that data is not copied. A received array of 16 MB is a slice of the frame, and its
/// elements are read directly from the frame.
#[test]
fn data_are_not_copied() {
    let pixels = vec![7u8; 16 << 20];
    let given = pixels.as_ptr();
    let array = NdArray::from_vec([4096, 4096], pixels).expect("right length");
    assert_eq!(array.data().as_ptr(), given);
    let frame = bytes::Bytes::from(to_vec(&array).expect("encodes"));
    let received: NdArray = from_slice(&frame).expect("an array");
    assert!(frame.as_ptr_range().contains(&received.data().as_ptr()));
    let elements = received.elements::<u8>().expect("bytes");
    assert!(matches!(elements, Cow::Borrowed(_)));
    assert_eq!(elements.as_ptr(), received.data().as_ptr());

    let floats = NdArray::from(vec![1.0f64; 1000]);
    assert!(matches!(floats.elements::<f64>(), Ok(Cow::Borrowed(_))));
    // Checks that `to_vec` reads unaligned elements correctly. Inside a received frame, elements
    // usually start at an unaligned address.
    let mut frame = vec![0];
    frame.extend_from_slice(floats.data());
    let frame = bytes::Bytes::from(frame);
    for skipped in 0..8 {
        let data = frame.slice(1..).slice(skipped * 8..);
        let moved = NdArray::from_bytes(DType::Float64, [1000 - skipped], data).expect("right");
        assert_eq!(moved.to_vec::<f64>(), Ok(vec![1.0; 1000 - skipped]));
    }
}

/// An array survives a round trip through a text format.
#[test]
fn arrays_survive_json() {
    let array = NdArray::from_vec([2, 1], vec![1.5f32, -2.0]).expect("two");
    let json = serde_json::to_value(&array).expect("JSON");
    assert_eq!(json["_rshape"], serde_json::json!([2, 1]));
    assert_eq!(
        serde_json::from_value::<NdArray>(json).expect("an array"),
        array
    );
    let typed = TypedArray::try_from(array).expect("floats");
    let json = serde_json::to_string(&typed).expect("JSON");
    assert_eq!(
        serde_json::from_str::<TypedArray>(&json).expect("an array"),
        typed
    );
}

#[test]
fn debug_does_not_print_the_data() {
    let array = NdArray::from(vec![0u8; 100_000]).with_byte_order(ByteOrder::Big);
    assert_eq!(
        format!("{array:?}"),
        r#"NdArray { dtype: "uint8", shape: [100000], .. }"#
    );
}

const NUMERIC: [DType; 14] = [
    DType::Bool,
    DType::Int8,
    DType::Int16,
    DType::Int32,
    DType::Int64,
    DType::UInt8,
    DType::UInt16,
    DType::UInt32,
    DType::UInt64,
    DType::Float16,
    DType::Float32,
    DType::Float64,
    DType::Complex64,
    DType::Complex128,
];

fn any_array() -> impl Strategy<Value = NdArray> {
    let dtype = prop_oneof![
        4 => prop::sample::select(&NUMERIC[..]),
        1 => "[<|]U[1-9]".prop_map(DType::Other),
    ];
    let shape = prop::collection::vec(0usize..5, 0..4);
    (dtype, shape, any::<u64>(), any::<bool>()).prop_map(|(dtype, shape, seed, big)| {
        let size = dtype.item_size().unwrap_or(4);
        let len: usize = shape.iter().product::<usize>() * size;
        let mut state = seed;
        let data: Vec<u8> = (0..len)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let array = NdArray::from_bytes(dtype, shape, data).expect("right length");
        array.with_byte_order(if big {
            ByteOrder::Big
        } else {
            ByteOrder::Little
        })
    })
}

/// Generates a member for a tagged map. The member may be valid or invalid.
fn any_member() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Int),
        any::<f64>().prop_map(Value::Float),
        prop::sample::select(
            &[
                "int16",
                ">f8",
                "bool",
                "float16",
                "complex64",
                "<U2",
                "object",
                "",
                "set"
            ][..]
        )
        .prop_map(Value::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Bytes(bytes.into())),
        prop::collection::vec(-2i64..6, 0..4).prop_map(Value::from),
        prop::collection::vec(any::<i64>(), 0..4).prop_map(Value::from),
        prop::collection::vec((".{0,3}", any::<i64>()), 0..4).prop_map(|pairs| {
            pairs
                .into_iter()
                .map(|(key, value)| Value::List(vec![key.into(), value.into()]))
                .collect()
        }),
    ]
}

fn tagged_map() -> impl Strategy<Value = Value> {
    let tag = prop::sample::select(
        &[
            "ndarray",
            "typedarray",
            "memoryview",
            "set",
            "orderedmap",
            "pydantic_model",
            "wibble",
        ][..],
    );
    let member = || prop::option::weighted(0.9, any_member());
    (
        tag,
        member(),
        member(),
        member(),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(tag, value, shape, dtype, turn)| {
            let mut entries = vec![("_rtype".to_owned(), Value::from(tag))];
            for (key, member) in [("_rvalue", value), ("_rshape", shape), ("_rdtype", dtype)] {
                entries.extend(member.map(|member| (key.to_owned(), member)));
            }
            let turn = turn.index(entries.len());
            entries.rotate_left(turn);
            Value::Map(Map::from_iter(entries))
        })
}

#[derive(Debug, Deserialize)]
struct Model {
    #[serde(default)]
    #[allow(dead_code)]
    a: Option<f64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_array_survives(array in any_array()) {
        let frame = bytes::Bytes::from(to_vec(&array).expect("encodes"));
        prop_assert_eq!(&from_slice::<NdArray>(&frame).expect("decodes"), &array);
        let value: Value = from_slice(&frame).expect("decodes");
        prop_assert_eq!(&to_vec(&value).expect("encodes"), &frame);
        prop_assert_eq!(&Value::from(array.clone()), &value);
        let json = serde_json::to_string(&array).expect("JSON");
        prop_assert_eq!(&serde_json::from_str::<NdArray>(&json).expect("JSON"), &array);

        // If the array is read as a list of numbers, the list has the same elements.
        if let (Ok(elements), [_]) = (array.iter_f64(), array.shape()) {
            let list: Vec<f64> = if *array.dtype() == DType::Bool {
                let list: Vec<bool> = from_slice(&frame).expect("a list");
                list.into_iter().map(|value| f64::from(u8::from(value))).collect()
            } else {
                from_slice(&frame).expect("a list")
            };
            let bits = |numbers: Vec<f64>| numbers.into_iter().map(f64::to_bits).collect::<Vec<_>>();
            prop_assert_eq!(bits(list), bits(elements.collect()));
        }
    }

    /// Decodes a tagged map with arbitrary content. This must not panic. It may only return an
    /// error.
    #[test]
    fn arbitrary_tagged_maps_never_panic(value in tagged_map()) {
        let frame = bytes::Bytes::from(to_vec(&value).expect("encodes"));
        if let Ok(array) = from_slice::<NdArray>(&frame) {
            let _ = (array.iter_f64().map(Iterator::count), array.to_vec::<i16>(), array.to_vec::<bool>());
            prop_assert!(from_slice::<NdArray>(&to_vec(&array).expect("encodes").into()).is_ok());
            let _ = TypedArray::try_from(array);
        }
        let _ = from_slice::<TypedArray>(&frame);
        let _ = from_slice::<Binary>(&frame);
        let _ = from_slice::<&[u8]>(&frame);
        let _ = from_slice::<f64>(&frame);
        let _ = from_slice::<Option<u8>>(&frame);
        let _ = from_slice::<Vec<Value>>(&frame);
        let _ = from_slice::<Vec<Vec<Option<i32>>>>(&frame);
        let _ = from_slice::<[bool; 2]>(&frame);
        let _ = from_slice::<std::collections::HashMap<String, Value>>(&frame);
        let _ = from_slice::<hypha_wire::OrderedMap<Value, Value>>(&frame);
        let _ = from_slice::<hypha_wire::Set<Vec<Value>>>(&frame);
        let _ = from_slice::<Model>(&frame);
        let _ = from_slice::<hypha_wire::Timestamp>(&frame);
    }
}

#[test]
fn integers_are_read_as_every_type_that_has_them() {
    let array = NdArray::from_vec([2, 2], vec![0i64, 1, 255, 256]).expect("four");
    assert_eq!(array.to_vec::<u16>(), Ok(vec![0, 1, 255, 256]));
    assert_eq!(array.to_vec::<f32>(), Ok(vec![0.0, 1.0, 255.0, 256.0]));
    assert_eq!(array.to_vec::<f64>(), Ok(vec![0.0, 1.0, 255.0, 256.0]));
    assert_eq!(
        array.to_vec::<u8>().expect_err("256").to_string(),
        "expected an array of uint8, got one of int64 whose element 3 does not fit; `cast` and \
         `iter_f64` read every type of real numbers"
    );
    assert!(array.to_vec::<bool>().is_err());
    let negative = NdArray::from(vec![-1i8]);
    assert!(negative.to_vec::<u64>().is_err());
    assert_eq!(negative.to_vec::<i64>(), Ok(vec![-1]));
    let large = NdArray::from(vec![u64::MAX, (1 << 53) + 1]);
    assert!(large.to_vec::<f64>().is_err());
    assert!(large.to_vec::<i64>().is_err());
    assert_eq!(
        NdArray::from(vec![1u64 << 63]).to_vec::<f32>(),
        Ok(vec![2f32.powi(63)])
    );
    let big = NdArray::from_bytes(DType::Int16, [1], vec![1, 0]).expect("one");
    let big = big.with_byte_order(ByteOrder::Big);
    assert_eq!(big.to_vec::<i32>(), Ok(vec![256]));
    let empty = NdArray::from_vec([0, 3], Vec::<f64>::new()).expect("empty");
    assert!(
        empty.to_vec::<f32>().is_err(),
        "the type counts, not the number"
    );
}

#[test]
fn numbers_and_lists_are_arrays() {
    fn array(json: serde_json::Value) -> Result<NdArray, String> {
        decode(Value::from(json))
    }
    fn expected<T: hypha_wire::Element>(
        shape: &[usize],
        numbers: Vec<T>,
    ) -> Result<NdArray, String> {
        Ok(NdArray::from_vec(shape, numbers).expect("fits"))
    }
    use serde_json::json;
    assert_eq!(
        array(json!([1, -2, 300])),
        expected(&[3], vec![1i64, -2, 300])
    );
    assert_eq!(
        array(json!([[1, 2.5], [3, 4]])),
        expected(&[2, 2], vec![1.0, 2.5, 3.0, 4.0])
    );
    assert_eq!(
        array(json!([u64::MAX, 1])),
        expected(&[2], vec![u64::MAX, 1])
    );
    assert_eq!(
        array(json!([1, u64::MAX])),
        expected(&[2], vec![1, u64::MAX])
    );
    assert_eq!(
        array(json!([-1, u64::MAX])),
        expected(&[2], vec![-1.0, u64::MAX as f64])
    );
    assert_eq!(
        array(json!([true, false])),
        expected(&[2], vec![true, false])
    );
    assert_eq!(array(json!([])), expected(&[0], Vec::<f64>::new()));
    assert_eq!(array(json!([[], []])), expected(&[2, 0], Vec::<f64>::new()));
    assert_eq!(
        array(json!([[[1]], [[2]]])),
        expected(&[2, 1, 1], vec![1i64, 2])
    );
    // Python sends `numpy.float64` as a float.
    assert_eq!(array(json!(1.5)), expected(&[], vec![1.5]));
    assert_eq!(array(json!(3)), expected(&[], vec![3i64]));
    for (json, error) in [
        (
            json!([[1, 2], [3]]),
            "[1]: a list of length 1 beside one of length 2 is not an array",
        ),
        (
            json!([1, [2]]),
            "[1]: a list beside numbers is not an array",
        ),
        (
            json!([[1], 2]),
            "[1]: a number beside lists is not an array",
        ),
        (json!([[], 2]), "[1]: a number beside lists is not an array"),
        (
            json!([1, true]),
            "[1]: numbers beside booleans are not an array",
        ),
        (json!([[1, "x"]]), "[0][1]: expected number, got string"),
        (json!(["x"]), "[0]: expected number, got string"),
        (json!("x"), "expected array, got string"),
        (json!([null]), "[0]: expected number, got null"),
    ] {
        assert_eq!(array(json.clone()), Err(error.to_owned()), "{json}");
    }
    let deep = (0..65).fold(json!(1), |inner, _| json!([inner]));
    assert!(array(deep).is_err());
    let from_text: NdArray = serde_json::from_str("[[1, 2], [3, 4]]").expect("an array");
    assert_eq!(from_text.shape(), [2, 2]);
}

#[test]
fn typed_arrays_accept_elements_that_fit() {
    use hypha_wire::{Array, Element};
    use serde_json::json;

    fn array<T: Element, const N: usize>(value: impl Serialize) -> Result<Array<T, N>, String> {
        decode(value)
    }

    let image = Array::from_vec([2, 3], vec![1u16, 2, 3, 4, 5, 600]).expect("six");
    assert_eq!(
        (image.shape(), image[[1, 2]], image.get([2, 0])),
        ([2, 3], 600, None)
    );
    assert_eq!(array::<u16, 2>(&image).as_ref(), Ok(&image));
    assert_eq!(decode::<NdArray>(&image), Ok(NdArray::from(image.clone())));
    assert_eq!(image.map(f32::from).into_vec()[5], 600.0);

    // Numbers in a list are rounded, but must not become infinite.
    assert_eq!(
        array::<f32, 1>(json!([0.1])).expect("rounds").as_slice(),
        [0.1]
    );
    assert_eq!(
        array::<f32, 1>(json!([1.0, -1e39])).expect_err("too large"),
        "expected an array of float32 with 1 dimension, got one of float64 with shape [2] whose \
         element 1 does not fit"
    );

    // numpy stores whole numbers as `int64`.
    let counts = NdArray::from_vec([1, 2], vec![1i64, 600]).expect("two");
    assert_eq!(array::<u16, 2>(&counts).expect("fit").as_slice(), [1, 600]);
    assert_eq!(
        array::<f64, 2>(&counts).expect("fit").as_slice(),
        [1.0, 600.0]
    );
    assert_eq!(
        array::<u8, 2>(&counts).expect_err("600"),
        "expected an array of uint8 with 2 dimensions, got one of int64 with shape [1, 2] whose \
         element 1 does not fit; `cast` and `iter_f64` read every type of real numbers"
    );
    assert_eq!(
        array::<u16, 3>(&counts).expect_err("two dimensions"),
        "expected an array of uint16 with 3 dimensions, got one of int64 with shape [1, 2]"
    );
    let floats = NdArray::from(vec![0.1f64]);
    assert_eq!(
        array::<f32, 1>(&floats).expect_err("would be rounded"),
        "expected an array of float32 with 1 dimension, got one of float64 with shape [1]; an \
         `NdArray` takes every type, and converts it with `cast`"
    );
    let narrow = NdArray::from(vec![0.1f32]);
    assert_eq!(
        array::<f64, 1>(&narrow).expect("wider").as_slice(),
        [f64::from(0.1f32)]
    );

    // The numbers of a list have no declared type, so they are converted to the element type.
    let lists = json!([[0.1, 2], [3, 4.5]]);
    assert_eq!(
        array::<f32, 2>(&lists).expect("floats").as_slice(),
        [0.1, 2.0, 3.0, 4.5]
    );
    assert!(array::<u16, 2>(&lists).is_err());
    assert_eq!(
        array::<u8, 2>(json!([[1], [2]])).expect("integers").shape(),
        [2, 1]
    );
    assert_eq!(array::<u8, 2>(json!([])).expect("nothing").shape(), [0, 0]);
    assert_eq!(
        array::<u8, 2>(json!([[], []])).expect("nothing").shape(),
        [2, 0]
    );
    assert_eq!(array::<f64, 0>(json!(1)).expect("a number")[[]], 1.0);
    assert!(array::<u8, 1>(json!("x")).is_err());
    assert!(array::<u8, 1>(json!(null)).is_err());

    let empty = NdArray::from_vec([2, 0], Vec::<f64>::new()).expect("empty");
    assert_eq!(array::<u16, 2>(&empty).expect("nothing").shape(), [2, 0]);
    assert!(array::<u16, 1>(&empty).is_err());
    let truths = NdArray::from(vec![true, false]);
    assert_eq!(
        array::<bool, 1>(&truths).expect("the type").as_slice(),
        [true, false]
    );
    assert!(array::<u8, 1>(&truths).is_err());
    assert!(Array::from_vec([2, 2], vec![1u8]).is_err());
}

#[test]
fn casts_round_and_saturate() {
    let large = NdArray::from(vec![u64::MAX, (1 << 53) + 1]);
    let cast = large.cast::<i64>().expect("real");
    assert_eq!(cast.to_vec::<i64>(), Ok(vec![i64::MAX, (1 << 53) + 1]));
    let negative = NdArray::from(vec![-1i64, i64::MIN + 1]);
    assert_eq!(
        negative.cast::<u64>().expect("real").to_vec::<u64>(),
        Ok(vec![0, 0])
    );
    let floats = NdArray::from(vec![0.1f64, -300.7]);
    assert_eq!(
        floats.cast::<i8>().expect("real").to_vec::<i8>(),
        Ok(vec![0, -128])
    );
    assert_eq!(
        floats.cast::<bool>().expect("real").to_vec::<bool>(),
        Ok(vec![true, true])
    );
}
