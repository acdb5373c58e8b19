//! Checks recorded messages. Decodes and encodes them again, rebuilds requests from their parts,
//! adds the server's stamp, and joins chunks.

use hypha_wire::{
    Args, Binary, ChunkStore, Extra, Head, Message, Promise, ReplyMode, Stamp, Value, encode,
    from_slice, skip, to_vec,
};
use serde_json::Value as Json;

use crate::Coverage::{self, Checked};
use crate::FILES;
use crate::rendering::{from_rendering, load, same, same_map, unhex};
use crate::values::{check_tagged, check_value};

pub(crate) fn check_http(file: &str, entry: &Json) -> Coverage {
    let mut frame = unhex(&entry["hex"]);
    if entry["direction"] == "recv" {
        let length = frame.split_to(4);
        let length = length
            .iter()
            .fold(0, |sum, byte| sum * 256 + usize::from(*byte));
        assert_eq!(length, frame.len());
    }
    check_frame(file, entry, frame)
}

/// Checks a request that opens an HTTP stream. The request has no body. It names the client that
/// receives the stream and sends all posted messages.
pub(crate) fn check_http_stream(entry: &Json) -> Coverage {
    let query = &entry["request"]["query"];
    let text = |key: &str| query[key].as_str().expect("a text");
    let client = format!("{}/{}", text("workspace"), text("client_id"));
    let mut seen = 0;
    for entry in load("http-rpc.json") {
        if entry["hex"].is_null() {
            continue;
        }
        let mut frame = unhex(&entry["hex"]);
        let received = entry["direction"] == "recv";
        let message = Message::parse(if received { frame.split_off(4) } else { frame });
        let message = message.expect("parses");
        if message.kind() == "method" {
            let whose = if received {
                message.to()
            } else {
                message.from()
            };
            assert_eq!(whose, Some(&*client));
            seen += 1;
        } else if message.kind() == "connection_info" {
            let main = message.main().expect("MAIN");
            for key in ["workspace", "client_id"] {
                assert_eq!(main.get(key).and_then(Value::as_str), Some(text(key)));
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} messages");
    Checked
}

pub(crate) fn check_frame(file: &str, entry: &Json, frame: bytes::Bytes) -> Coverage {
    let parts = entry["decoded"]
        .as_array()
        .expect("the objects of the frame");
    let message = Message::parse(frame.clone()).expect("parses");

    let main = message.main().expect("MAIN");
    let Some(Value::Map(expected)) = from_rendering(&parts[0]) else {
        panic!("MAIN is a map")
    };
    assert!(same_map(&main, &expected), "{main:?}");
    let mut again = to_vec(&main).expect("encodes");
    let raw = message.extra_raw();
    assert_eq!(again.len() + raw.len(), frame.len());

    let text = |key| expected.get(key).and_then(Value::as_str);
    assert_eq!(Some(message.kind()), text("type"));
    assert_eq!(message.from(), text("from"));
    assert_eq!(message.to(), text("to"));
    assert_eq!(message.method(), text("method"));
    assert_eq!(message.parent(), text("parent"));
    assert_eq!(message.session(), text("session"));
    assert_eq!(message.ws(), text("ws"));
    let user = message
        .user()
        .map(|user| from_slice::<Value>(&user).expect("decodes"));
    assert_eq!(user.as_ref(), expected.get("user"));

    let extra = message.extra().expect("EXTRA");
    if let Some(rendering) = parts.get(1) {
        let value = check_value(&raw, rendering, true).expect("string keys");
        check_extra(&extra, &value);
        // Only the functions and promises of the Python client have the same order of keys and the
        // same form of floats as this crate.
        let python = !file.contains("javascript");
        check_tagged(&value, python);
        encode(&mut again, &value).expect("encodes");
        if message.kind() == "method" && python && extra.encrypted.is_none() {
            check_rebuilt(&message, &extra, &value);
        }
    } else if message.kind() == "method" {
        check_rebuilt(&message, &extra, &Value::Null);
    }
    assert_eq!(again, frame);
    Checked
}

pub(crate) fn check_extra(extra: &Extra, value: &Value) {
    let mut given = value
        .get("args")
        .and_then(Value::as_list)
        .unwrap_or_default()
        .to_vec();
    if value.get("with_kwargs").is_some() {
        let named = given.pop().expect("keyword arguments");
        let named = named.as_map().expect("a map");
        assert!(extra.args.names().eq(named.keys()));
        for (name, value) in named {
            assert_eq!(
                extra.args.get_named::<Value>(name).expect("given").as_ref(),
                Ok(value)
            );
        }
    }
    assert_eq!(extra.args.positional(), given.len());
    for (index, value) in given.iter().enumerate() {
        let raw = extra.args.raw(index).expect("given");
        assert_eq!(skip(&raw), Ok(raw.len()));
        let got = extra
            .args
            .get::<Value>(index)
            .expect("given")
            .expect("decodes");
        assert!(same(&got, value));
    }
    assert_eq!(extra.interval, value.get("t").and_then(Value::as_f64));
    assert_eq!(extra.promise.is_some(), value.get("promise").is_some());
    assert_eq!(extra.encrypted.is_some(), value.get("_enc").is_some());
}

/// Builds the message from its parts, and stamps the message like a server. The result must equal
/// the recorded bytes.
fn check_rebuilt(message: &Message, extra: &Extra, value: &Value) {
    let mut args = Args::new(extra.args.positional(), 8);
    for index in 0..extra.args.positional() {
        let value: Value = extra.args.get(index).expect("given").expect("decodes");
        args.push("argument", &value);
    }
    for name in extra.args.names() {
        let value: Value = extra.args.get_named(name).expect("given").expect("decodes");
        args.push_named(name, &value);
    }
    let session = message.session();
    let reply = match &extra.promise {
        None => ReplyMode::None,
        Some(Promise::Star) => ReplyMode::Star {
            interval: extra.interval.expect("interval"),
        },
        Some(Promise::Full(full)) => ReplyMode::Full {
            target: &full.resolve.target,
            session: session.expect("a session"),
            interval: full.interval.unwrap_or(0.0),
        },
    };
    let (from, to) = (message.from().expect("from"), message.to().expect("to"));
    let method = message.method().expect("method");
    let received = message.ws().is_some();
    let head = if received {
        // The server replaces these values, which the sender has set.
        Head {
            from: "someone",
            to: "elsewhere",
            method,
            parent: message.parent(),
            session,
        }
    } else {
        Head {
            from,
            to,
            method,
            parent: message.parent(),
            session,
        }
    };
    let mut frame = args.finish(&head, reply).expect("encodes");
    if received {
        let (ws, user) = (message.ws().expect("ws"), message.user().expect("user"));
        let stamp = Stamp {
            to,
            from,
            ws,
            user: &user,
        };
        let sent = Message::parse(frame).expect("parses");
        frame = sent.stamped(&stamp).into_bytes();
        assert_eq!(
            message.stamped(&stamp).into_bytes(),
            whole(message),
            "stamping again changes nothing"
        );
    }
    assert_eq!(frame, whole(message), "rebuilt from {value}");
}

/// Returns the encoded bytes of a message.
fn whole(message: &Message) -> Vec<u8> {
    [message.main_raw(), &message.extra_raw()].concat()
}

/// Checks that the sent and the received frame differ only by the server's stamp.
#[test]
fn a_stamped_request_equals_the_received_one() {
    let mut pairs = 0;
    for file in FILES
        .iter()
        .filter(|file| file.starts_with("frames-") && **file != "frames-malformed.json")
    {
        let (mut sent, mut received) = (Vec::new(), Vec::new());
        for entry in load(file).iter().filter(|entry| entry["frame"] == "binary") {
            let message = Message::parse(unhex(&entry["hex"])).expect("parses");
            if entry["direction"] == "send" {
                &mut sent
            } else {
                &mut received
            }
            .push(message);
        }
        let essence = |message: &Message| {
            let mut main = message.main().expect("MAIN");
            main.retain(|key, _| !["to", "from", "ws", "user"].contains(&key.as_str()));
            (to_vec(&main).expect("encodes"), message.extra_raw())
        };
        for arrived in received.iter().filter(|message| message.ws().is_some()) {
            let Some(original) = sent.iter().find(|sent| essence(sent) == essence(arrived)) else {
                continue;
            };
            let stamp = Stamp {
                to: arrived.to().expect("to"),
                from: arrived.from().expect("from"),
                ws: arrived.ws().expect("ws"),
                user: &arrived.user().expect("user"),
            };
            assert_eq!(original.stamped(&stamp).into_bytes(), whole(arrived));
            pairs += 1;
        }
    }
    assert!(pairs > 100, "only {pairs} messages were seen at both ends");
}

/// Checks that a malformed message causes the reaction that the protocol requires. The message is
/// dropped, or its call is rejected because its content cannot be read, or the message is accepted.
pub(crate) fn check_malformed(name: &str, entry: &Json) -> Coverage {
    let parsed = Message::parse(unhex(&entry["hex"]));
    let unreadable = [
        "empty",
        "garbage",
        "main_not_map",
        "main_string",
        "main_truncated",
    ]
    .contains(&name);
    assert_eq!(parsed.is_err(), unreadable, "{parsed:?}");
    let Ok(message) = parsed else { return Checked };
    let extra = message.extra();
    let refused = [
        "extra_truncated",
        "extra_not_map",
        "extra_nil",
        "args_not_array",
        "promise_unknown_text",
        "promise_without_session",
        "promise_without_t",
        "with_kwargs_no_map",
        "with_kwargs_empty_args",
    ];
    assert_eq!(extra.is_err(), refused.contains(&name), "{extra:?}");
    let Ok(extra) = extra else { return Checked };
    let first = extra.args.get::<Value>(0);
    match name {
        "valid" | "third_segment" => {
            assert_eq!(extra.args.positional(), 1);
            assert_eq!(first, Some(Ok(Value::Int(1))));
            assert_eq!(
                (extra.promise, extra.interval),
                (Some(Promise::Star), Some(15.0))
            );
        }
        "extra_missing" => {
            assert_eq!((extra.args.positional(), extra.promise), (0, None));
        }
        "type_missing" | "type_not_string" => assert_eq!(message.kind(), ""),
        "type_unknown" => assert_eq!(message.kind(), "wibble"),
        "from_missing" => assert_eq!(message.from(), None),
        "method_missing" => assert_eq!(message.method(), None),
        "int_key_in_args" | "bytes_key_in_args" | "invalid_utf8" => {
            assert!(matches!(first, Some(Err(_))), "{first:?}");
        }
        "extra_overrides_from" => assert_eq!(message.from(), Some("other/client-x")),
        "extra_overrides_method" => assert_eq!(message.method(), Some("services.svc.nope")),
        "extra_overrides_type" => assert_eq!(message.kind(), "wibble"),
        "unknown_rtype_arg" => {
            let given = first.expect("given").expect("decodes");
            assert_eq!(
                given.to_json(),
                serde_json::json!({"_rtype": "wibble", "a": 1})
            );
        }
        _ => return Coverage::None,
    }
    Checked
}

/// Checks that the recorded chunks are valid messages after they are joined.
#[test]
fn recorded_chunks_assemble() {
    let now = std::time::Instant::now();
    let (mut store, mut assembled) = (ChunkStore::default(), 0);
    for entry in load("frames-chunked.json")
        .iter()
        .filter(|entry| entry["direction"] == "recv")
    {
        let message = Message::parse(unhex(&entry["hex"])).expect("parses");
        let Some(step) = message
            .method()
            .and_then(|method| method.strip_prefix("services.built-in.message_cache."))
        else {
            continue;
        };
        let from = message.from().expect("from");
        let args = message.extra().expect("EXTRA").args;
        let key: &str = args.get(0).expect("key").expect("a string");
        match step {
            "create" => store.create(from, key, false, now).expect("new"),
            "set" => {
                let index = args.get(1).expect("index").expect("an integer");
                let Binary(data) = args.get(2).expect("data").expect("bytes");
                store.set(from, key, index, data, now).expect("fits");
            }
            "process" => {
                let whole = store.assemble(from, key).expect("complete");
                let message = Message::parse(whole).expect("parses");
                assert!(message.extra().expect("EXTRA").args.positional() > 0);
                assembled += 1;
            }
            other => panic!("unexpected {other}"),
        }
    }
    assert!(assembled > 0);
    assert_eq!(store.used(), 0);
}
