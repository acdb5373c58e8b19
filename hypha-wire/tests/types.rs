//! Tests the encoding of types of the standard library, and of types that serde reads into a buffer
//! first.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use hypha_wire::{Timestamp, Value, from_slice, to_vec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;

fn decode<T: DeserializeOwned>(value: impl Serialize) -> Result<T, String> {
    let bytes = bytes::Bytes::from(to_vec(&value).expect("encoded"));
    from_slice(&bytes).map_err(|error| error.to_string())
}

/// Checks that a value survives a round trip, and that the encoded value equals `json`.
fn travels<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, json: serde_json::Value) {
    let bytes = bytes::Bytes::from(to_vec(&value).expect("encoded"));
    let seen: Value = from_slice(&bytes).expect("a value");
    assert_eq!(seen.to_json(), json, "{value:?}");
    assert_eq!(from_slice::<T>(&bytes).as_ref(), Ok(&value));
}

#[test]
fn durations_are_seconds_at_any_depth() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Exposure {
        time: Duration,
        pauses: Vec<Option<Duration>>,
    }
    travels(Duration::from_millis(1500), json!(1.5));
    travels(Duration::ZERO, json!(0.0));
    travels(Some(Duration::from_secs(2)), json!(2.0));
    travels((Duration::from_nanos(1), 1), json!([1e-9, 1]));
    travels(Duration::from_secs(u64::MAX), json!(u64::MAX));
    let exposure = Exposure {
        time: Duration::from_micros(250),
        pauses: vec![None, Some(Duration::from_secs(1))],
    };
    travels(exposure, json!({"time": 0.00025, "pauses": [null, 1.0]}));
    // Durations of up to fifty days are exact to the nanosecond.
    for secs in [1, 59, 86_400, 4_000_000] {
        for nanos in [0, 1, 333_333_333, 999_999_999] {
            let duration = Duration::new(secs, nanos);
            assert_eq!(decode(duration), Ok(duration));
        }
    }
}

#[test]
fn durations_are_read_from_numbers_of_every_kind() {
    assert_eq!(decode(2), Ok(Duration::from_secs(2)));
    assert_eq!(decode(0.5), Ok(Duration::from_millis(500)));
    let parts = json!({"secs": 1, "nanos": 5});
    assert_eq!(decode(parts), Ok(Duration::new(1, 5)));
    let array = hypha_wire::NdArray::from(vec![0.5f32, 2.0]);
    let both = vec![Duration::from_millis(500), Duration::from_secs(2)];
    assert_eq!(decode(array), Ok(both));
    let single = hypha_wire::NdArray::from_vec([], vec![0.5f32]).expect("an array");
    assert_eq!(decode(single), Ok(Duration::from_millis(500)));
    for (wrong, text) in [
        (json!(-1), "-1 is no duration in seconds"),
        (json!(-0.5), "-0.5 is no duration in seconds"),
        (json!(1e300), "is no duration in seconds"),
        (json!("1"), "expected a number of seconds, got string"),
        (json!(null), "expected a number of seconds, got null"),
        (json!({"secs": 1}), "nanos: missing"),
    ] {
        let error = decode::<Duration>(wrong).expect_err("is wrong");
        assert!(error.contains(text), "{error}");
    }
    assert!(decode::<Duration>(f64::NAN).is_err());
}

#[test]
fn system_times_are_timestamps() {
    let time = SystemTime::UNIX_EPOCH + Duration::new(981_173_106, 500_000_000);
    assert_eq!(decode(time), Ok(Timestamp::from(time)));
    assert_eq!(decode(Timestamp::from(time)), Ok(time));
    assert_eq!(decode(Some(time)), Ok(Some(time)));
    assert_eq!(decode(981_173_106.5), Ok(time));
    for wrong in [json!(-1), json!("now"), json!(null)] {
        assert!(decode::<SystemTime>(wrong).is_err());
    }
}

#[test]
fn system_times_before_1970_are_rejected() {
    let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
    let error = to_vec(&before).expect_err("before 1970").to_string();
    assert_eq!(
        error,
        "a `SystemTime` before 1970 cannot be sent; `Timestamp` has earlier times"
    );
    let text = "-2 is out of range of seconds since 1970; `Timestamp` has earlier times";
    assert_eq!(
        decode::<SystemTime>(Timestamp::from(before)),
        Err(text.into())
    );
    assert!(decode::<SystemTime>(-1.5).is_err_and(|error| error.contains("`Timestamp`")));
    // A `Timestamp` has such times, and converts to and from `SystemTime`.
    let sent = Timestamp::from(before);
    assert_eq!(decode::<Timestamp>(sent), Ok(sent));
    assert_eq!(SystemTime::try_from(sent), Ok(before));
}

#[test]
fn other_structs_of_these_names_stay_maps() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Duration {
        secs: u64,
        unit: String,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct SystemTime {
        secs_since_epoch: i8,
        nanos_since_epoch: f32,
    }
    let duration = Duration {
        secs: 1,
        unit: "s".into(),
    };
    travels(duration, json!({"secs": 1, "unit": "s"}));
    let time = SystemTime {
        secs_since_epoch: 1,
        nanos_since_epoch: 0.5,
    };
    travels(
        time,
        json!({"secs_since_epoch": 1, "nanos_since_epoch": 0.5}),
    );
}

type Wells = BTreeMap<u32, f64>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Step {
    Fill {
        wells: Wells,
        names: BTreeMap<String, u8>,
    },
    Wait {
        gain: f64,
        time: Duration,
        until: Option<SystemTime>,
        pauses: Vec<Duration>,
    },
    Flags(Flags),
    Plate(Wells),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flags {
    by: BTreeMap<bool, i8>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Either {
    Wells(Wells),
    Signed { counts: BTreeMap<i64, Duration> },
    Time(Duration),
    Text(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    inner: Inner,
    #[serde(flatten)]
    rest: Wells,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Inner {
    wells: Wells,
    time: Duration,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Spectrum {
    Taken { values: Vec<f64>, time: Duration },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "t", content = "c")]
enum Adjacent {
    Wells { wells: Wells, time: Duration },
}

fn wells() -> Wells {
    Wells::from([(1, 0.5), (12, 1.5)])
}

#[test]
fn buffered_values_keep_their_types() {
    let wells_json = json!({"1": 0.5, "12": 1.5});
    let names = BTreeMap::from([("1".to_owned(), 1), ("true".to_owned(), 2)]);
    let fill = Step::Fill {
        wells: wells(),
        names,
    };
    let fill_json = json!({"kind": "fill", "wells": wells_json, "names": {"1": 1, "true": 2}});
    travels(fill.clone(), fill_json.clone());
    // `gain` and one of the durations are encoded as the same number.
    let wait = Step::Wait {
        gain: 1.5,
        time: Duration::from_millis(1500),
        until: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5)),
        pauses: vec![Duration::from_secs(1), Duration::from_millis(1500)],
    };
    assert_eq!(decode(&wait), Ok(wait.clone()));
    travels(
        Step::Flags(Flags {
            by: BTreeMap::from([(true, 1), (false, 2)]),
        }),
        json!({"kind": "flags", "by": {"false": 2, "true": 1}}),
    );
    travels(
        Step::Plate(wells()),
        json!({"kind": "plate", "1": 0.5, "12": 1.5}),
    );
    travels(Either::Wells(wells()), wells_json.clone());
    let counts = BTreeMap::from([(-1, Duration::from_secs(1)), (2, Duration::ZERO)]);
    travels(
        Either::Signed { counts },
        json!({"counts": {"-1": 1.0, "2": 0.0}}),
    );
    travels(Either::Time(Duration::from_secs(3)), json!(3.0));
    travels(Either::Text("12".into()), json!("12"));
    let flat = Flat {
        name: "a".into(),
        inner: Inner {
            wells: wells(),
            time: Duration::from_secs(1),
        },
        rest: Wells::from([(7, 7.5)]),
    };
    travels(
        flat,
        json!({"name": "a", "wells": wells_json, "time": 1.0, "7": 7.5}),
    );
    let adjacent = Adjacent::Wells {
        wells: wells(),
        time: Duration::from_secs(1),
    };
    travels(
        adjacent,
        json!({"t": "Wells", "c": {"wells": wells_json, "time": 1.0}}),
    );
    // serde buffers the content, because the content comes before the tag.
    let late = json!({"c": {"wells": wells_json, "time": 1.0}, "t": "Wells"});
    assert!(decode::<Adjacent>(late).is_ok());
    // The buffer contains many other values.
    let spectrum = Spectrum::Taken {
        values: (0..50_000).map(f64::from).collect(),
        time: Duration::from_secs(7),
    };
    assert!(decode::<Spectrum>(&spectrum) == Ok(spectrum));
    let many: Vec<Step> = (0..1000)
        .flat_map(|_| [fill.clone(), wait.clone()])
        .collect();
    assert!(decode::<Vec<Step>>(&many) == Ok(many));
}

/// Python sends integer keys as integers, not as strings.
#[test]
fn integer_keys_are_kept_in_buffers() {
    use hypha_wire::OrderedMap;

    // The bytes represent `{"kind": "fill", "wells": {12: 0.5}, "names": {}}`.
    let mut bytes = to_vec(&json!({"kind": "fill", "names": {}})).expect("encoded");
    bytes[0] += 1;
    bytes.extend(b"\xa5wells\x81\x0c\xcb\x3f\xe0\0\0\0\0\0\0");
    let filled: Step = from_slice(&bytes::Bytes::from(bytes)).expect("decoded");
    let wells = Wells::from([(12, 0.5)]);
    let names = BTreeMap::new();
    assert_eq!(filled, Step::Fill { wells, names });
    let map = bytes::Bytes::from_static(b"\x81\x01\xc3");
    let map: OrderedMap<u8, bool> = from_slice(&map).expect("decoded");
    assert_eq!(map.0, [(1, true)]);
}

#[test]
fn values_that_fit_in_no_form_are_rejected() {
    let error = |value: serde_json::Value| decode::<Step>(value).expect_err("does not fit");
    let wells = json!({"kind": "fill", "wells": {"a": 0.5}, "names": {}});
    assert_eq!(error(wells), "wells: expected an integer as a key, got `a`");
    let number = json!({"kind": "fill", "wells": {"1": "x"}, "names": {}});
    assert_eq!(error(number), "wells.1: expected float, got string");
    let missing = json!({"kind": "fill", "wells": {"1": 0.5}});
    assert_eq!(error(missing), "names: missing");
}

#[test]
fn integers_of_128_bits_have_a_clear_limit() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind")]
    enum Tagged {
        Big { number: u128 },
    }
    travels(u128::from(u64::MAX), json!(u64::MAX));
    travels(i128::from(i64::MIN), json!(i64::MIN));
    for error in [
        to_vec(&(1u128 << 64)).expect_err("too large"),
        to_vec(&i128::MIN).expect_err("too small"),
        to_vec(&BTreeMap::from([(1u128 << 64, 1)])).expect_err("too large a key"),
    ] {
        assert!(
            error.to_string().contains("does not fit 64 bits"),
            "{error}"
        );
    }
    assert_eq!(
        decode::<Tagged>(Tagged::Big { number: 1 }),
        Err(
            "u128 is not supported inside of tagged, untagged and flattened types; use 64 bits or \
             a string"
                .into()
        )
    );
}

#[test]
fn bytes_are_borrowed_by_cows() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Slide<'a> {
        #[serde(borrow)]
        image: Cow<'a, [u8]>,
    }
    let sent = json!({"image": [1, 2, 3]});
    let bytes = bytes::Bytes::from(to_vec(&sent).expect("encoded"));
    let read: Result<Slide<'_>, _> = from_slice(&bytes);
    assert_eq!(read.expect("a list of bytes").image[..], [1, 2, 3]);
    let sent = BTreeMap::from([("image", hypha_wire::Binary::from(b"abc"))]);
    let bytes = bytes::Bytes::from(to_vec(&sent).expect("encoded"));
    let read: Slide<'_> = from_slice(&bytes).expect("bytes");
    assert!(matches!(read.image, Cow::Borrowed(b"abc")));
}
