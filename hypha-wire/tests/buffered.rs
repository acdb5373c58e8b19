//! Tests values that serde reads into a buffer before it knows their types: the content of tagged,
//! untagged and flattened types.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use hypha_wire::{
    Array, Binary, MemoryView, NdArray, Timestamp, TypedArray, Value, from_slice, to_vec,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

fn decode<T: DeserializeOwned>(value: impl Serialize) -> Result<T, String> {
    let bytes = bytes::Bytes::from(to_vec(&value).expect("encoded"));
    from_slice(&bytes).map_err(|error| error.to_string())
}

/// Checks that a value survives a round trip.
fn survives<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    match decode::<T>(&value) {
        Ok(decoded) => assert!(
            decoded == value,
            "{:.500}\n{:.500}",
            format!("{decoded:?}"),
            format!("{value:?}")
        ),
        Err(error) => panic!("{error}"),
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged<T> {
    Some { value: T },
}

fn tagged<T>(value: T) -> Tagged<T> {
    Tagged::Some { value }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pause {
    t: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Ratio {
    t: f64,
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn items_of_a_tuple_have_different_types() {
    let time = SystemTime::UNIX_EPOCH + SECOND;
    survives(tagged((1u8, SECOND)));
    survives(tagged((SECOND, 1u8)));
    survives(tagged((1.5, SECOND, 1.0, time)));
    survives(tagged([SECOND, SECOND * 2]));
    survives(tagged(vec![("a".to_owned(), SECOND)]));
    survives(tagged(vec![(1.5, Duration::from_millis(1500)); 1000]));
    survives(tagged(vec![(1u8, vec![SECOND; 3], vec![1u8; 3]); 100]));
    survives(tagged((
        BTreeMap::from([(1u8, SECOND)]),
        BTreeMap::from([("1".to_owned(), 1)]),
    )));
    // Callers in other languages may send integers, which are equal to other items.
    let equal = json!({"kind": "Some", "value": [1, 1]});
    assert_eq!(decode(equal), Ok(tagged((1u8, SECOND))));

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Pair(u8, Duration),
        List(Vec<(String, Duration)>),
        Pause { t: Duration, ratio: f64 },
    }
    let pair = Either::Pair(1, SECOND);
    let list = Either::List(vec![("a".to_owned(), SECOND); 100]);
    let pause = Either::Pause {
        t: SECOND,
        ratio: 1.0,
    };
    for value in [pair, list, pause] {
        survives(value.clone());
        survives(tagged(value));
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        name: String,
        #[serde(flatten)]
        rest: Rest,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Rest {
        pair: (f64, Duration),
    }
    survives(Flat {
        name: "a".into(),
        rest: Rest {
            pair: (1.0, SECOND),
        },
    });
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Step {
    Ratio { t: f64 },
    Pause { t: Duration },
    Both { t: f64, inner: Pause },
    Pauses { t: Duration, inner: Pause },
    Swapped { t: Duration, inner: Ratio },
    Names { t: BTreeMap<String, u8> },
    Numbers { t: BTreeMap<u8, u8> },
}

#[test]
fn members_of_the_same_name_have_different_types() {
    for (inner, outer) in [(1.5, 1.5), (2.0, 1.5), (1.5, -1.0)] {
        let t = Duration::from_secs_f64(inner);
        survives(Step::Both {
            t: outer,
            inner: Pause { t },
        });
        survives(Step::Swapped {
            t,
            inner: Ratio { t: outer },
        });
    }
    survives(vec![Step::Ratio { t: 1.5 }, Step::Pause { t: SECOND }]);
    let times = |index: u32| {
        let t = SECOND * index;
        let ratio = f64::from(index);
        let inner = Pause { t };
        [
            Step::Ratio { t: ratio },
            Step::Pause { t },
            Step::Both { t: ratio, inner },
        ]
    };
    survives((0..500).flat_map(times).collect::<Vec<_>>());
    survives(tagged((0..5).flat_map(times).collect::<Vec<_>>()));
    let pauses = |index: u32| {
        let t = SECOND * index;
        let [_, pause, both] = times(index);
        [
            pause,
            both,
            Step::Pauses {
                t,
                inner: Pause { t },
            },
        ]
    };
    survives((0..500).flat_map(pauses).collect::<Vec<_>>());
    let keys = [
        Step::Names {
            t: [("1".into(), 1)].into(),
        },
        Step::Numbers { t: [(1, 1)].into() },
    ];
    survives(keys.to_vec());
    survives(tagged(vec![keys; 10].concat()));
}

#[test]
fn many_members_have_another_form() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Many {
        Times {
            a: Duration,
            b: Duration,
            c: SystemTime,
            d: Vec<Duration>,
            e: BTreeMap<u8, Duration>,
            f: BTreeMap<bool, SystemTime>,
            g: Option<Duration>,
            h: (u8, Duration),
            i: Duration,
            j: Duration,
            k: Duration,
            l: Duration,
            m: f64,
        },
    }
    let time = SystemTime::UNIX_EPOCH + SECOND;
    survives(Many::Times {
        a: SECOND,
        b: SECOND,
        c: time,
        d: vec![SECOND; 3],
        e: [(1, SECOND)].into(),
        f: [(true, time)].into(),
        g: Some(SECOND),
        h: (1, SECOND),
        i: SECOND,
        j: SECOND,
        k: SECOND,
        l: SECOND,
        m: 1.0,
    });
}

/// A type that accepts every value must get the value that was sent, not the form of another type.
#[test]
fn large_maps_keep_the_types_of_their_values() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        gain: f64,
        #[serde(flatten)]
        rest: BTreeMap<String, Duration>,
    }
    let name = |number: usize| format!("well {number}");
    let numbers = 0..200usize;
    let time = |number: usize| Duration::from_millis(1 + number as u64);
    let times: BTreeMap<_, _> = numbers.clone().map(|n| (name(n), time(n))).collect();
    survives(tagged(times.clone()));
    survives(tagged(BTreeMap::from([(
        "plate".to_owned(),
        times.clone(),
    )])));
    survives(tagged((1.5, times.clone(), vec![("a".to_owned(), 2.5)])));
    survives(Flat {
        gain: 1.5,
        rest: times,
    });
    let starts = numbers
        .clone()
        .map(|n| (name(n), SystemTime::UNIX_EPOCH + time(n)));
    survives(tagged(starts.collect::<BTreeMap<_, _>>()));
    let counts = numbers.clone().map(|n| (n, BTreeMap::from([(n, time(n))])));
    survives(tagged(counts.collect::<BTreeMap<_, _>>()));
    let each = numbers.map(|n| tagged(BTreeMap::from([(name(n), time(n))])));
    survives(each.collect::<Vec<_>>());
}

/// The limit of attempts in the guide.
#[test]
fn twenty_times_beside_numbers_are_found() {
    macro_rules! times {
        ($($name:ident)*) => {
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            struct Times {
                a: f64,
                $($name: Duration,)*
                b: f64,
            }
            survives(tagged(Times { a: 1.5, $($name: SECOND,)* b: 1.0 }));
        };
    }
    times!(c d e f g h i j k l m n o p q r s t u v);
}

#[test]
fn integer_keys_have_one_form() {
    type Counts = BTreeMap<i16, u8>;
    for key in ["01", "-01", "-0", "+1", "00", ""] {
        decode::<Counts>(json!({ key: 1 })).expect_err(key);
        decode::<Tagged<Counts>>(json!({"kind": "Some", "value": { key: 1 }})).expect_err(key);
        decode::<hypha_wire::OrderedMap<i16, u8>>(json!({ key: 1 })).expect_err(key);
    }
    survives(Counts::from([(0, 1), (-1, 1), (10, 1)]));
    survives(tagged(Counts::from([(0, 1), (-1, 1), (10, 1)])));
}

#[test]
fn values_of_any_type_keep_their_form() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Any {
        Pause { t: Duration, inner: Plain },
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Plain {
        t: Value,
    }
    for t in [Value::Float(1.0), Value::Int(1), json!([1.0, 2]).into()] {
        survives(Any::Pause {
            t: SECOND,
            inner: Plain { t },
        });
    }
}

#[test]
fn errors_name_the_path_in_a_buffer() {
    fn error<T: DeserializeOwned + Debug>(value: serde_json::Value) -> String {
        let value = json!({"list": [{"kind": "Some", "value": value}]});
        let decoded = decode::<BTreeMap<String, Vec<Tagged<T>>>>(value);
        decoded.expect_err("does not fit")
    }
    let at = |path: &str, text: &str| format!("list[0].{path}: {text}");
    let integer = "expected integer, got string";
    assert_eq!(error::<u8>(json!("a")), at("value", integer));
    assert_eq!(
        error::<u8>(json!(300)),
        at("value", "300 is out of range for u8")
    );
    assert_eq!(error::<Vec<u8>>(json!([1, "a"])), at("value[1]", integer));
    // Two values are equal, but only one is wrong.
    assert_eq!(
        error::<(String, u8)>(json!(["a", "a"])),
        at("value[1]", integer)
    );
    assert_eq!(
        error::<(u8, u8)>(json!(["Some", 1])),
        at("value[0]", integer)
    );
    let list = "expected integer, got list";
    assert_eq!(
        error::<(Vec<u8>, u8)>(json!([[1], [1]])),
        at("value[1]", list)
    );
    let length = "expected a list of length 2, got length 1";
    assert_eq!(error::<(u8, u8)>(json!([1])), at("value", length));
    // A value beside the wrong value has another form.
    assert_eq!(
        error::<(Duration, u8)>(json!([1, "a"])),
        at("value[1]", integer)
    );
    assert_eq!(
        error::<Ratio>(json!({"t": "a"})),
        at("value.t", "expected float, got string")
    );
    assert_eq!(
        error::<BTreeMap<u8, u8>>(json!({"1": "a"})),
        at("value.1", integer)
    );
    let key = "expected an integer as a key, got `a`";
    assert_eq!(error::<BTreeMap<u8, u8>>(json!({"a": 1})), at("value", key));
    for (key, message) in [
        ("300", "300 is out of range for u8"),
        ("-1", "-1 is out of range for u8"),
        ("007", "expected an integer as a key, got `007`"),
    ] {
        assert_eq!(
            error::<BTreeMap<u8, u8>>(json!({key: 1, "1": 1})),
            at("value", message)
        );
    }
    let key = "expected `true` or `false` as a key, got `a`";
    assert_eq!(
        error::<BTreeMap<bool, u8>>(json!({"a": 1})),
        at("value", key)
    );
    let seconds = "expected a number of seconds, got string";
    assert_eq!(error::<Pause>(json!({"t": "a"})), at("value.t", seconds));
    let negative = "-1.5 is no duration in seconds";
    assert_eq!(error::<Pause>(json!({"t": -1.5})), at("value.t", negative));
    let time = "expected a timestamp, or seconds since 1970, got string";
    assert_eq!(error::<SystemTime>(json!("a")), at("value", time));
    let variant = "unknown variant `Other`, expected `Some`";
    assert_eq!(
        error::<Tagged<u8>>(json!({"kind": "Other"})),
        at("value.kind", variant)
    );
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Strict {}
    let field = "unknown field `a`, none are allowed";
    let strict = error::<Strict>(json!({"a": 1}));
    assert_eq!(
        strict.replace("there are no fields", "none are allowed"),
        at("value", field)
    );

    #[derive(Debug, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        _inner: Tagged<Ratio>,
    }
    let flat = json!([{"kind": "Some", "value": {"t": "a"}}]);
    let error = decode::<Vec<Flat>>(flat).expect_err("does not fit");
    assert_eq!(error, "[0].value.t: expected float, got string");
}

/// The cost of a value that fits in no form is limited.
#[test]
fn a_value_that_never_fits_costs_a_bounded_time() {
    let value = json!({
        "kind": "Some",
        "value": (0..20).map(|index| json!([index, 1.5, {"1": index}])).collect::<Vec<_>>(),
    });
    type Item = (Duration, Duration, BTreeMap<u8, String>);
    let error = decode::<Tagged<Vec<Item>>>(value).expect_err("does not fit");
    assert!(error.starts_with("value[0][2].1: "), "{error}");
}

/// Checks that bytes that are valid UTF-8 are no string in a buffer, and that a string is no bytes.
/// The peer chooses the names, so their length must not multiply the cost of each value.
#[test]
fn long_names_cost_a_bounded_time() {
    let begin = std::time::Instant::now();
    let name = "n".repeat(200_000);
    let numbers = vec![0; 50_000];
    let value = json!({"kind": "Some", "value": {"t": 1.5}, &name: numbers});
    decode::<Tagged<Pause>>(value).expect("a valid value");
    let lists = vec![vec![-1; 17]; 100];
    let value = json!([{"kind": "Some", "value": {"t": -1}, &name: lists}]);
    decode::<Vec<Tagged<Pause>>>(value).expect_err("no duration");
    assert!(begin.elapsed() < Duration::from_secs(20));
    // The places of names with the same beginning are the same.
    let names = ["a", "b"].map(|end| format!("{}{end}", "n".repeat(100)));
    let value = json!({"kind": "Some", "value": {&names[0]: {"t": 1.5}, &names[1]: {"t": 2}}});
    decode::<Tagged<BTreeMap<String, Pause>>>(value).expect("times");
}

#[test]
fn bytes_and_strings_stay_apart() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Name(String);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer(Name);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either<S, B> {
        Text(S),
        Data(B),
    }
    fn either<S, B>(bytes: &'static [u8], wanted: B)
    where
        S: DeserializeOwned + PartialEq + Debug,
        B: DeserializeOwned + PartialEq + Debug + Clone,
    {
        let sent = Binary::from(bytes);
        let wanted = || Either::<S, B>::Data(wanted.clone());
        assert_eq!(decode(&sent), Ok(wanted()));
        assert_eq!(decode(vec![&sent]), Ok(vec![wanted()]));
        let tagged = tagged(&sent);
        assert_eq!(decode(&tagged), Ok(Tagged::Some { value: wanted() }));
    }
    fn strings<S: DeserializeOwned + PartialEq + Debug>() {
        for bytes in [&b""[..], b"a", b"abc", "\u{b5}m".as_bytes(), b"\xff"] {
            either::<S, _>(bytes, Binary::from(bytes));
            either::<S, _>(bytes, Some(Binary::from(bytes)));
            either::<S, _>(bytes, Value::Bytes(bytes.into()));
            either::<S, _>(bytes, NdArray::from(bytes.to_vec()));
            either::<S, _>(bytes, Array::<u8, 1>::from(bytes.to_vec()));
            either::<S, _>(bytes, MemoryView(Binary::from(bytes)));
            either::<S, _>(bytes, bytes.to_vec());
            either::<S, _>(bytes, bytes::Bytes::from(bytes));
        }
        let error = decode::<Tagged<S>>(tagged(Binary::from(b"a"))).expect_err("bytes");
        assert!(
            error.starts_with("value: expected ") && error.ends_with(", got bytes"),
            "{error}"
        );
    }
    strings::<String>();
    strings::<Option<String>>();
    strings::<Box<str>>();
    strings::<std::path::PathBuf>();
    strings::<std::borrow::Cow<'static, str>>();
    strings::<Name>();
    strings::<char>();
    strings::<std::net::IpAddr>();
    strings::<BTreeMap<String, u8>>();
    // A list of so many bytes would need too much memory.
    let long = bytes::Bytes::from(vec![b'a'; 1 << 20]);
    survives(tagged(long));
    either::<Outer, _>(b"abc", Binary::from(b"abc"));
    either::<BTreeMap<Option<u8>, u8>, _>(b"abc", Binary::from(b"abc"));

    // A list of numbers is also bytes, so it comes last.
    let text = json!({"kind": "Some", "value": "abc"});
    for error in [
        decode::<Tagged<Binary>>(&text).expect_err("text"),
        decode::<Tagged<NdArray>>(&text).expect_err("text"),
        decode::<Tagged<Vec<u8>>>(&text).expect_err("text"),
    ] {
        assert!(error.ends_with(", got string"), "{error}");
    }
    assert_eq!(
        decode(json!("abc")),
        Ok(Either::<Binary, String>::Data("abc".to_owned()))
    );
    // Every form of bytes is bytes in a buffer.
    let array = NdArray::from(vec![97u8, 98]);
    for sent in [
        Value::from(array.clone()),
        Value::encode_from(&MemoryView(Binary::from(b"ab"))).expect("encodes"),
        Value::encode_from(&TypedArray::try_from(array).expect("bytes")).expect("encodes"),
        Value::from(vec![97, 98]),
    ] {
        assert_eq!(decode(tagged(sent)), Ok(tagged(Binary::from(b"ab"))));
    }
    // A variant for the array itself is taken before a variant for its bytes.
    let image = Array::from_vec([1, 1], vec![1u8]).expect("one");
    let sent = NdArray::from(image.clone());
    assert_eq!(
        decode(sent),
        Ok(Either::<Binary, Array<u8, 2>>::Data(image))
    );
    // The elements of an array may be valid UTF-8.
    survives(tagged(Array::from(vec![97u16, 300])));
    // An extension value is no bytes.
    let time = Timestamp::from(SystemTime::UNIX_EPOCH);
    let error = decode::<Tagged<Binary>>(tagged(time)).expect_err("a time");
    assert_eq!(error, "value: expected bytes, got extension");
    survives(tagged(time));

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Newtype<T>(T);
    survives(tagged(Newtype(time)));
    survives(tagged(Newtype(Binary::from(b"abc"))));
    for error in [
        decode::<Tagged<Newtype<Binary>>>(tagged(time)).expect_err("a time"),
        decode::<Tagged<Newtype<String>>>(tagged(time)).expect_err("a time"),
    ] {
        assert!(error.ends_with(", got extension"), "{error}");
    }
}

/// Checks that a flattened `Option` is not `None` because only one of its values has another form.
#[test]
fn flattened_options_with_several_forms_survive() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Flat<T> {
        id: u8,
        #[serde(flatten)]
        rest: Option<T>,
    }
    fn survives_with<T>(rest: T)
    where
        T: Clone + Serialize + DeserializeOwned + PartialEq + Debug,
    {
        let flat = Flat {
            id: 1,
            rest: Some(rest),
        };
        let none = Flat { id: 1, rest: None };
        survives(flat.clone());
        survives(vec![none, flat.clone()]);
        survives(tagged(flat));
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Times {
        a: Duration,
        b: Duration,
        c: SystemTime,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Rows {
        time: Duration,
        rows: BTreeMap<u8, f64>,
        flags: BTreeMap<bool, Vec<Duration>>,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Wells {
        times: BTreeMap<String, Duration>,
        gain: f64,
    }
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Step {
        Wait { time: Duration },
        Expose { time: Duration, delay: Duration },
    }
    for millis in [1000, 1500] {
        let time = Duration::from_millis(millis);
        survives_with(Times {
            a: time,
            b: time,
            c: SystemTime::UNIX_EPOCH + SECOND,
        });
        survives_with(Times {
            a: time,
            b: time * 2,
            c: SystemTime::UNIX_EPOCH + time,
        });
        survives_with(Rows {
            time,
            rows: [(1, 0.5), (2, 1.0)].into(),
            flags: [(true, vec![time; 2])].into(),
        });
        survives_with(Step::Wait { time });
        survives_with(Step::Expose {
            time,
            delay: time * 2,
        });
    }
    let times = |count: u64| {
        let time = |n| (format!("well {n}"), Duration::from_millis(1 + n));
        BTreeMap::from_iter((0..count).map(time))
    };
    for count in [20, 200] {
        survives_with(Wells {
            times: times(count),
            gain: 1.5,
        });
    }
    // A value that does not fit is still `None`.
    let value = json!({"id": 1, "time": 1.5, "rows": {"a": 1}});
    assert_eq!(decode(value), Ok(Flat::<Rows> { id: 1, rest: None }));
}

/// Checks that a variant that fits with several forms is taken before a later variant that fits
/// without another form, and that the other variants are still found.
#[test]
fn the_first_variant_may_need_several_forms() {
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either<T> {
        Rows {
            time: Duration,
            delay: Duration,
            rows: BTreeMap<u8, u8>,
        },
        Times {
            time: Duration,
            delay: Duration,
        },
        Ratio {
            time: f64,
        },
        Many {
            wells: BTreeMap<String, Duration>,
        },
        Any(BTreeMap<String, T>),
    }
    fn check<T>()
    where
        T: Clone + Serialize + DeserializeOwned + PartialEq + Debug + From<i64>,
    {
        let any = |key: &str| Either::<T>::Any([(key.to_owned(), T::from(1))].into());
        let delay = SECOND * 2;
        let each = [
            Either::Rows {
                time: SECOND,
                delay,
                rows: [(1, 1)].into(),
            },
            Either::Times {
                time: SECOND,
                delay,
            },
            Either::Ratio { time: 1.5 },
            Either::Ratio { time: -1.5 },
            Either::Many {
                wells: (1..200).map(|n| (n.to_string(), SECOND * n)).collect(),
            },
            any("delay"),
            any("other"),
        ];
        for value in &each {
            survives(value.clone());
            survives(tagged(value.clone()));
        }
        let [rows, times, .., other] = each;
        survives(vec![rows, times, other]);
    }
    check::<Value>();
    check::<serde_json::Value>();
}

/// Checks that a numpy scalar is a number in a buffer, and that a float without a fraction is an
/// integer there.
#[test]
fn numbers_have_every_form_in_buffers() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Numbers {
        n: u16,
        gain: f64,
        single: f32,
        is_on: bool,
        time: Duration,
        counts: BTreeMap<String, i64>,
        list: Vec<Option<u8>>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        rest: Option<Numbers>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Numbers(Numbers),
        Text(String),
    }
    fn scalar<T: hypha_wire::Element>(number: T) -> NdArray {
        NdArray::from_vec([], vec![number]).expect("a single number")
    }
    let wanted = || Numbers {
        n: 3,
        gain: 2.0,
        single: 0.5,
        is_on: true,
        time: Duration::from_millis(1500),
        counts: [("a".into(), -5)].into(),
        list: vec![Some(1), None],
    };
    let sent: BTreeMap<&str, Value> = [
        ("n", scalar(3i32).into()),
        ("gain", scalar(2i64).into()),
        ("single", scalar(0.5f32).into()),
        ("is_on", scalar(true).into()),
        ("time", scalar(1.5f32).into()),
        (
            "counts",
            Value::encode_from(
                &[("a", scalar(-5i8))]
                    .into_iter()
                    .collect::<BTreeMap<_, _>>(),
            )
            .expect("encodes"),
        ),
        ("list", vec![scalar(1u8).into(), Value::Null].into()),
    ]
    .into();
    assert_eq!(decode(&sent), Ok(wanted()));
    assert_eq!(decode(tagged(&sent)), Ok(tagged(wanted())));
    assert_eq!(
        decode(&sent),
        Ok(Flat {
            rest: Some(wanted())
        })
    );
    assert_eq!(decode(&sent), Ok(Either::Numbers(wanted())));
    let whole = json!({
        "n": 3.0, "gain": 2.0, "single": 0.5, "is_on": true, "time": 1.5, "counts": {"a": -5.0},
        "list": [1.0, null],
    });
    assert_eq!(decode(tagged(whole)), Ok(tagged(wanted())));
    let large = 2f64.powi(60);
    assert_eq!(decode(tagged(large)), Ok(tagged(1u64 << 60)));
    let error = decode::<Tagged<u8>>(tagged(3.5)).expect_err("a fraction");
    assert_eq!(error, "value: expected integer, got float");
    let error = decode::<Tagged<u8>>(tagged(300.0)).expect_err("out of range");
    assert!(error.starts_with("value: "), "{error}");
    decode::<Tagged<u8>>(tagged(scalar(300))).expect_err("out of range");

    // Values of other types stay.
    survives(tagged(scalar(3)));
    survives(tagged((1u8, scalar(3))));
    assert_eq!(
        decode(tagged((scalar(1), scalar(3)))),
        Ok(tagged((1u8, scalar(3))))
    );
    let value = Value::from(scalar(3));
    survives(tagged(value.clone()));
    assert_eq!(
        decode(tagged((scalar(1), &value))),
        Ok(tagged((1u8, value)))
    );
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Number {
        Count(u8),
        Ratio(f64),
        Array(NdArray),
    }
    survives(Number::Ratio(3.0));
    survives(vec![
        Number::Count(3),
        Number::Ratio(3.0),
        Number::Ratio(1.5),
    ]);
    survives(Number::Array(NdArray::from(vec![3])));
}

/// The catch-all map of a flattened type also receives the members of a flattened enum, so that no
/// form fits both. The error must not say that the key is out of range.
#[test]
fn keys_in_range_are_not_called_out_of_range() {
    #[derive(Debug, Deserialize)]
    struct Flat {
        #[serde(flatten)]
        _step: Tagged<BTreeMap<u8, f64>>,
        #[serde(flatten)]
        _rest: BTreeMap<String, serde_json::Value>,
    }
    let value = |key: &str| json!({"kind": "Some", "value": {key: 0.5}});
    let error = decode::<Flat>(value("1")).expect_err("both forms");
    assert_eq!(error, "value: expected integer, got string");
    let error = decode::<Flat>(value("256")).expect_err("out of range");
    assert_eq!(error, "value: 256 is out of range for u8");
}
