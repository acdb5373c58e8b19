//! Tests the arguments of messages, the form of the response that a message requests, and the
//! server's stamp.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use hypha_wire::{
    Args, ConnectionRef, EncodeError, Extra, Handle, Head, Message, Promise, RemoteHandle,
    ReplyMode, Stamp, Value, to_vec,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const HEAD: Head<'static> = Head {
    from: "ws/caller",
    to: "ws/owner",
    method: "services.svc.f",
    parent: None,
    session: Some("S"),
};

const STAMP: Stamp<'static> = Stamp {
    to: "ws/owner",
    from: "other/caller",
    ws: "other",
    user: &[0x81, 0xa2, b'i', b'd', 1],
};

macro_rules! value {
    ($($json:tt)+) => { Value::from(serde_json::json!($($json)+)) };
}

fn frame_of(args: Args) -> bytes::Bytes {
    args.finish(&HEAD, ReplyMode::None).expect("encodes")
}

#[test]
fn trailing_optional_nils_are_left_out() {
    let mut args = Args::new(4, 0);
    args.push("a", &1);
    args.push_optional("b", &None::<u8>);
    args.push_optional("c", &Some(3));
    args.push_optional("d", &None::<u8>);
    args.push_optional("e", &());
    let extra = Message::parse(frame_of(args))
        .expect("parses")
        .extra()
        .expect("parses");
    assert_eq!(extra.args.positional(), 3);
    assert_eq!(extra.args.get::<Option<u8>>(1), Some(Ok(None)));

    let mut args = Args::new(2, 1);
    args.push_optional("a", &None::<u8>);
    args.push("b", &None::<u8>);
    args.push_optional("c", &None::<u8>);
    args.push_named("d", &1);
    let extra = Message::parse(frame_of(args))
        .expect("parses")
        .extra()
        .expect("parses");
    assert_eq!(extra.args.positional(), 2);
    assert_eq!(extra.args.get_named::<u8>("d"), Some(Ok(1)));

    let mut args = Args::new(1, 0);
    args.push_optional("a", &None::<u8>);
    assert_eq!(
        Message::parse(frame_of(args))
            .expect("parses")
            .extra_raw()
            .len(),
        0
    );
}

#[test]
fn the_first_bad_argument_is_named() {
    let mut args = Args::new(3, 1);
    args.push("good", &1);
    args.push("bad", &HashMap::from([([1, 2], 1)]));
    args.push("worse", &u128::MAX);
    args.push_named("named", &1);
    let error: EncodeError = args
        .finish(&HEAD, ReplyMode::None)
        .expect_err("a bad argument");
    assert_eq!(error.argument(), Some("bad"));
    assert_eq!(
        error.to_string(),
        "argument `bad`: a map key must be a string, got list [1,2]; `OrderedMap` allows other keys"
    );

    let mut args = Args::new(1, 1);
    args.push_named("first", &1);
    args.push("second", &2);
    assert!(args.finish(&HEAD, ReplyMode::None).is_err());
}

#[test]
fn a_routing_key_given_twice_is_refused() {
    let frame = [&[0x82][..], b"\xa4from\xa1a", b"\xa4from\xa1b"].concat();
    let error = Message::parse(frame.into()).expect_err("twice");
    assert_eq!(error.to_string(), "from: given twice");
}

#[test]
fn extra_contains_the_requested_promise() {
    let reply = ReplyMode::Full {
        target: "caller",
        session: "S",
        interval: 15.0,
    };
    let message = Message::parse(Args::new(0, 0).finish(&HEAD, reply).expect("encodes"));
    let Some(Promise::Full(promise)) = message.expect("parses").extra().expect("parses").promise
    else {
        panic!("a full promise");
    };
    assert_eq!(promise.interval, Some(15.0));
    assert_eq!(promise.resolve.target, "caller");
    assert_eq!(promise.reject.method, "S.reject");
    assert_eq!(promise.heartbeat.expect("given").method, "S.heartbeat");

    let reply = ReplyMode::Full {
        target: "caller",
        session: "S",
        interval: 0.0,
    };
    let message = Message::parse(Args::new(0, 0).finish(&HEAD, reply).expect("encodes"));
    let Some(Promise::Full(promise)) = message.expect("parses").extra().expect("parses").promise
    else {
        panic!("a full promise");
    };
    assert_eq!((promise.interval, promise.heartbeat), (None, None));

    for (promise, text) in [
        (value!("x"), "promise: expected \"*\" or a map, got string"),
        (value!(true), "promise: expected \"*\" or a map, got bool"),
        (
            value!({"resolve": {}, "reject": {}}),
            "promise.resolve._rtype: missing",
        ),
    ] {
        let extra = to_vec(&BTreeMap::from([("promise", promise)])).expect("encodes");
        assert_eq!(
            Extra::parse(extra.into())
                .expect_err("no promise")
                .to_string(),
            text
        );
    }
}

/// Checks that a parsed interval is valid for a timer without a further check.
#[test]
fn intervals_are_valid_for_timers() {
    for t in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
        let extra = to_vec(&BTreeMap::from([("t", t)])).expect("encodes");
        let error = Extra::parse(extra.into())
            .expect_err("no interval")
            .to_string();
        assert_eq!(error, format!("t: expected a number of seconds, got {t}"));
    }
    let extra = to_vec(&BTreeMap::from([("t", 15)])).expect("encodes");
    assert_eq!(
        Extra::parse(extra.into()).expect("parses").interval,
        Some(15.0)
    );
}

#[test]
fn arguments_are_counted_before_they_are_indexed() {
    let extra = to_vec(&BTreeMap::from([("args", vec![(); 100_000])])).expect("encodes");
    let error = Extra::parse(extra.into())
        .expect_err("too many")
        .to_string();
    assert_eq!(error, "args: 100000 arguments are more than 65536");
}

/// Checks that the stamp replaces a value that the sender has set for a stamped key. No memory is
/// reserved for the replaced value.
#[test]
fn a_stamped_message_takes_no_more_room_than_it_needs() {
    let mut main = hypha_wire::Map::new();
    main.insert("type".into(), "event".into());
    for key in ["from", "user"] {
        main.insert(key.into(), "x".repeat(100_000).into());
    }
    let frame = hypha_wire::to_vec(&main).expect("a map");
    let message = Message::parse(frame.into()).expect("a message");
    let stamped = message
        .stamped(&STAMP)
        .into_bytes()
        .try_into_mut()
        .expect("nobody else has it");
    assert!(stamped.len() < 1000, "{}", stamped.len());
    assert!(
        stamped.capacity() < stamped.len() + 100,
        "{}",
        stamped.capacity()
    );
}

/// Connection that only counts the dropped handles.
#[derive(Default)]
struct Dropped(std::sync::atomic::AtomicUsize);

impl ConnectionRef for Dropped {
    fn handle_dropped(&self, _: &RemoteHandle) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }

    fn as_any(self: Arc<Self>) -> Arc<dyn std::any::Any + Send + Sync> {
        self
    }
}

/// Checks that a relative target belongs to the workspace of the sender, and that a function gets
/// the session of the caller.
#[test]
fn received_functions_know_their_sender_and_session() {
    let method = |target: &str| {
        Value::from(serde_json::json!({
            "_rtype": "method", "_rtarget": target, "_rmethod": "services.s.f", "_rpromise": true,
        }))
    };
    let connection = Arc::new(Dropped::default());
    for (target, expected) in [("peer", "ws/peer"), ("other/peer", "other/peer")] {
        let mut args = Args::new(1, 0);
        args.push("f", &method(target));
        let head = Head {
            from: "ws/sender",
            session: Some("the-session"),
            ..HEAD
        };
        let frame = args.finish(&head, ReplyMode::None).expect("encodes");
        let message = Message::parse(frame).expect("parses");
        let args = message.extra().expect("parses").args;
        let origin = message.origin(Arc::clone(&connection) as Arc<dyn ConnectionRef>);
        let value = args
            .with_origin(origin)
            .get::<Value>(0)
            .expect("is there")
            .expect("decodes");
        let Value::Handle(handle) = value else {
            panic!("a function is a handle")
        };
        assert_eq!(
            handle.raw().and_then(|raw| raw["_rtarget"].as_str()),
            Some(expected)
        );
        assert_eq!(handle.parent(), Some("the-session"));
    }
    assert_eq!(connection.0.load(std::sync::atomic::Ordering::Relaxed), 2);
}

/// Returns the result of decoding `argument` as a `T`, and the number of released functions.
fn received<T: DeserializeOwned>(argument: &Value) -> (Result<T, String>, Arc<Dropped>) {
    let connection = Arc::new(Dropped::default());
    let mut args = Args::new(1, 0);
    args.push("value", argument);
    let frame = args.finish(&HEAD, ReplyMode::None).expect("encodes");
    let message = Message::parse(frame).expect("parses");
    let args = message.extra().expect("parses").args;
    let origin = message.origin(Arc::clone(&connection) as Arc<dyn ConnectionRef>);
    let value = args.with_origin(origin).get::<T>(0).expect("is there");
    (value.map_err(|error| error.to_string()), connection)
}

/// Checks that a value with functions is decoded again where serde refused a buffered value, and
/// that each function is released once, when the last handle is dropped.
#[test]
fn attempts_to_decode_a_value_share_its_functions() {
    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    enum Job {
        Run {
            done: Handle,
            timeout: Duration,
            gains: BTreeMap<u8, Duration>,
            more: Vec<Handle>,
        },
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        #[expect(dead_code, reason = "no value fits")]
        First {
            done: Handle,
            more: Vec<Handle>,
            timeout: String,
        },
        Second {
            done: Handle,
            timeout: Duration,
        },
    }
    let method = |name: &str| {
        let target = "ws/peer";
        value!({"_rtype": "method", "_rtarget": target, "_rmethod": name, "_rpromise": true})
    };
    let job = |timeout: Value| {
        value!({
            "kind": "Run", "done": method("f"), "more": [method("g"), method("h"), method("f")],
            "timeout": timeout, "gains": {"5": 1.5}
        })
    };
    let released = |dropped: &Dropped| dropped.0.load(std::sync::atomic::Ordering::Relaxed);
    let (decoded, dropped) = received::<Job>(&job(value!(0.5)));
    let Job::Run {
        done,
        timeout,
        gains,
        mut more,
    } = decoded.expect("decodes");
    assert_eq!(timeout, Duration::from_millis(500));
    assert_eq!(gains[&5], Duration::from_millis(1500));
    assert_eq!(released(&dropped), 0);
    // The first and the last handle are of the same function.
    drop(done);
    assert_eq!(released(&dropped), 0);
    more.pop();
    assert_eq!(released(&dropped), 1);
    drop(more);
    assert_eq!(released(&dropped), 3);

    let (decoded, dropped) = received::<Either>(&job(value!(0.5)));
    let Either::Second { done, timeout } = decoded.expect("decodes") else {
        panic!("another variant")
    };
    assert_eq!(timeout, Duration::from_millis(500));
    // No value contains the functions in `more`.
    assert_eq!(released(&dropped), 2);
    drop(done);
    assert_eq!(released(&dropped), 3);

    let (decoded, dropped) = received::<Job>(&job(value!("soon")));
    assert_eq!(
        decoded.err().as_deref(),
        Some("timeout: expected a number of seconds, got string")
    );
    assert_eq!(released(&dropped), 3);
}

#[test]
fn a_second_segment_that_overrides_the_first_is_found() {
    let found = |extra: &[u8]| {
        let mut frame = to_vec(&value!({"type": "method", "to": "a/b"})).expect("encodes");
        frame.extend_from_slice(extra);
        let message = Message::parse(frame.into()).expect("parses");
        message.overriding_key().map(str::to_owned)
    };
    let of = |extra: Value| found(&to_vec(&extra).expect("encodes"));
    // The key is found after values of every kind with any content.
    let args = value!([
        [1, -1, 300, 70_000, -70_000, 5_000_000_000_u64, 1.5, null, true, "ctx"],
        {"ctx": {"from": 1}, "long": "x".repeat(70_000), "list": vec![1; 70_000]},
        "y".repeat(300), (0..40).collect::<Vec<_>>()
    ]);
    assert_eq!(of(value!({"args": args, "promise": "*", "t": 10.0})), None);
    for key in [
        "ctx", "from", "to", "ws", "user", "type", "method", "session", "parent",
    ] {
        assert_eq!(of(value!({"args": args, key: {}})).as_deref(), Some(key));
    }
    let data = vec![7_u8; 70_000];
    let mut bytes = vec![0x82, 0xa1, b'b', 0xc6];
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    // Encode the key in a longer form than necessary. A decoder must accept this form.
    bytes.extend([0xdb, 0, 0, 0, 3, b'c', b't', b'x', 0xc0]);
    assert_eq!(found(&bytes).as_deref(), Some("ctx"));
    for ext in [
        &[0xd8_u8][..],
        &[0xc7, 16],
        &[0xc8, 0, 16],
        &[0xc9, 0, 0, 0, 16],
    ] {
        let mut bytes = [&[0x82, 0xa1, b'e'], ext, &[5; 17]].concat();
        bytes.extend([0xa3, b'c', b't', b'x', 0xc0]);
        assert_eq!(found(&bytes).as_deref(), Some("ctx"));
    }
    assert_eq!(found(&[]), None);
    assert_eq!(found(&[0xc0]), None);
    assert_eq!(found(&[0, 0]), None);
    // Python also merges a list of pairs.
    assert_eq!(of(value!([["ctx", {}]])).as_deref(), Some(""));
    // Receivers cannot read past the malformed part either, so the server need not check the keys
    // after it.
    for malformed in [
        &[0x81_u8][..],
        &[0x82, 0xa1, b'a', 0xc1],
        &[0x81, 0xa9, b'c'],
        &[0xdf],
    ] {
        assert_eq!(found(malformed), None);
    }
}
