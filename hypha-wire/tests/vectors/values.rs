//! Checks the conversion of names and URLs, and values that are outside of a message.

use std::collections::BTreeSet;

use hypha_wire::{
    Args, Binary, Handle, Head, MemoryView, MethodRef, NdArray, OrderedMap, ReplyMode, Set,
    Timestamp, TypedArray, Value, WireError, from_slice, http_url, parse_service_url, socket_url,
    to_camel_case, to_snake_case, to_vec,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::Coverage::{self, Checked};
use crate::rendering::{from_rendering, same, unhex};

pub(crate) fn check_conversion(name: &str, entry: &Json) -> Coverage {
    let input = entry["input"].as_str().expect("input");
    if name.starts_with("case/") {
        assert_eq!(entry["python"]["camel"], to_camel_case(input));
        assert_eq!(entry["python"]["snake"], to_snake_case(input));
    } else if name.starts_with("server_url/") {
        let (socket, http) = (socket_url(input).ok(), http_url(input).ok());
        if input.contains("://") {
            assert_eq!(entry["websocket"].as_str(), socket.as_deref());
            assert_eq!(entry["http"].as_str(), http.as_deref());
        } else {
            // The Python client accepts a host without a scheme, but then cannot connect.
            assert_eq!((socket, http), (None, None));
        }
    } else if let Some(parts) = entry["output"].as_array() {
        let url = parse_service_url(input).expect("a service URL");
        let parsed = [
            url.server_url,
            url.workspace,
            url.client_id,
            url.service_id,
            url.app_id,
        ];
        assert_eq!(*parts, parsed);
    } else {
        assert!(entry["output"]["$raises"].is_string());
        assert!(parse_service_url(input).is_err());
    }
    Checked
}

/// Entries with bytes that differ from our encoding: a 32-bit float, and a map with a repeated key.
const NOT_CANONICAL: [&str; 2] = ["float32", "map_dup_keys"];

pub(crate) fn check_decode(name: &str, entry: &Json) -> Coverage {
    let packed = unhex(&entry["hex"]);
    if name == "str_invalid_utf8" {
        assert!(from_slice::<Value>(&packed).is_err());
    } else {
        let value = check_value(&packed, &entry["decoded"], !NOT_CANONICAL.contains(&name));
        if let Some(value) = value {
            check_typed(name, &value);
        }
    }
    Checked
}

/// Checks arrays and collections: the forms that clients send, and damaged forms.
fn check_typed(name: &str, value: &Value) {
    let error = match name {
        "ndarray_bad_size" => "1 bytes of data, but shape [2] of int16 needs 4",
        "typedarray_null_dtype" => {
            "a typed array without the type of its elements, like a BigInt or clamped array of \
             JavaScript: only its bytes can be read"
        }
        "ndarray_split" => {
            let array: NdArray = value.decode_as().expect("an array");
            assert_eq!(array.to_vec::<i16>(), Ok(vec![1, 2]));
            return;
        }
        "typedarray_int64" => {
            let array: NdArray = value.decode_as().expect("an array");
            assert_eq!(array.to_vec::<i64>(), Ok(vec![1]));
            "JavaScript has no typed array of int64"
        }
        _ => return check_tagged(value, false),
    };
    let found = value.decode_as::<TypedArray>().expect_err("is damaged");
    assert_eq!(found.to_string(), error);
}

pub(crate) fn check_encode(file: &str, name: &str, entry: &Json) -> Coverage {
    if entry["hex"].is_null() {
        return check_refused(name, entry);
    }
    let mut packed = unhex(&entry["hex"]).to_vec();
    if let Some([byte, count]) = entry["hex_repeat"].as_array().map(Vec::as_slice) {
        let count = count.as_u64().expect("a count") as usize;
        packed.extend(unhex(byte).repeat(count));
        let packed = packed.into();
        let value: Value = from_slice(&packed).expect("decodes");
        assert_eq!(to_vec(&value).expect("encodes"), packed);
        return Checked;
    }
    let value = check_value(&packed.into(), &entry["decoded"], true);
    if let Some(value) = value {
        check_tagged(&value, file.contains("python"));
    }
    Checked
}

/// Checks values that another client refuses to send. Each of these values is replaced by the
/// nearest value in Rust.
fn check_refused(name: &str, entry: &Json) -> Coverage {
    #[derive(Serialize)]
    struct Nothing;
    #[derive(Serialize)]
    struct Instance {
        x: i32,
    }
    fn sent(value: impl Serialize) -> Result<Value, String> {
        Value::encode_from(&value).map_err(|error| error.to_string())
    }
    let json = |json: Json| Ok(Value::from(json));
    let (ours, wanted) = match name {
        // Rust also rejects numbers of more than 64 bits.
        "int_too_big" | "int_too_small" => {
            let input = entry["input"].as_str().expect("a number");
            let number: i128 = input.parse().expect("a number");
            (
                sent(number),
                Err(format!("integer {number} does not fit 64 bits")),
            )
        }
        // A number that fits into 64 bits is sent, whatever its integer type.
        "bigint" => (sent(10i128), Ok(Value::Int(10))),
        "bytearray" => (
            sent(Binary::from(b"ab")),
            Ok(Value::Bytes(b"ab"[..].into())),
        ),
        // serde sends a set as a list. To be received as a set, the value must be wrapped in `Set`.
        "frozenset" => {
            let set = BTreeSet::from([1]);
            let tagged = serde_json::json!({"_rtype": "set", "_rvalue": [1]});
            assert_eq!(sent(Set(&set)), json(tagged));
            (sent(set), json(serde_json::json!([1])))
        }
        "unsupported_object" => (sent(Nothing), Ok(Value::Null)),
        "unsupported_complex" => (sent((1.0, 2.0)), json(serde_json::json!([1.0, 2.0]))),
        "unsupported_datetime" => {
            let time = Timestamp::new(1_577_836_800, 0).expect("a time");
            (sent(time), Ok(Value::Ext(-1, b"\x5e\x0b\xe1\0"[..].into())))
        }
        "class_instance" => (sent(Instance { x: 1 }), json(serde_json::json!({"x": 1}))),
        // A client must be connected to send a function.
        "function_no_session" => {
            let function = || Handle::local(std::sync::Arc::new(()));
            let mut args = Args::new(1, 0);
            args.push("callback", &function());
            let head = Head {
                from: "ws/a",
                to: "ws/b",
                method: "services.svc.f",
                parent: None,
                session: None,
            };
            let refused = args.finish(&head, ReplyMode::None).map(|_| Value::Null);
            let refused = refused.map_err(|error| error.to_string());
            let text =
                "a function or stream of this program can only be sent in a call or a result";
            assert_eq!(refused, Err(text.to_owned()));
            // A value that stays in this program may contain a function.
            let kept = sent(function()).map(|value| matches!(value, Value::Handle(_)).into());
            (kept, Ok(true.into()))
        }
        _ => return Coverage::None,
    };
    assert!(entry["error"].is_string(), "the other client refuses it");
    assert_eq!(ours, wanted);
    Checked
}

/// Decodes a value, compares the value with its JSON form, and encodes the value again.
pub(crate) fn check_value(
    packed: &bytes::Bytes,
    rendering: &Json,
    canonical: bool,
) -> Option<Value> {
    let Some(expected) = from_rendering(rendering) else {
        let error = from_slice::<Value>(packed).expect_err("only string keys are accepted");
        assert!(
            error.to_string().contains("a map key must be a string"),
            "{error}"
        );
        return None;
    };
    let value: Value = from_slice(packed).expect("decodes");
    assert!(
        same(&value, &expected),
        "decoded {value}, expected {expected}"
    );
    assert_eq!(
        canonical,
        to_vec(&value).expect("encodes") == *packed,
        "encoding of {value}"
    );
    Some(value)
}

/// Converts `value` to its typed form and back.
fn through<T: Serialize + DeserializeOwned>(value: &Value) -> Value {
    let typed: T = value.decode_as().expect("is of this type");
    Value::encode_from(&typed).expect("encodes")
}

/// Checks that tagged values anywhere in `value` survive the conversion to their typed form. The
/// encoded bytes of arrays and collections must be equal. The encoded bytes of functions and errors
/// must be equal only if the Python client sent them, because other clients use another order of
/// keys.
pub(crate) fn check_tagged(value: &Value, exact: bool) {
    match value {
        Value::List(items) => items.iter().for_each(|item| check_tagged(item, exact)),
        Value::Ext(-1, _) => assert_eq!(through::<Timestamp>(value), *value),
        Value::Map(map) => {
            map.values().for_each(|item| check_tagged(item, exact));
            let tag = map.get("_rtype").and_then(Value::as_str);
            let (again, exact) = match tag {
                Some("method") => (through::<MethodRef>(value), exact),
                Some("error") => (through::<WireError>(value), exact),
                Some("ndarray") => (through::<NdArray>(value), true),
                Some("typedarray") if map.get("_rdtype") == Some(&Value::Null) => return,
                Some("typedarray") => (through::<TypedArray>(value), true),
                Some("memoryview") => (through::<MemoryView>(value), true),
                Some("set") => (through::<Set<Vec<Value>>>(value), true),
                Some("orderedmap") => (through::<OrderedMap<Value, Value>>(value), true),
                _ => return,
            };
            // A handwritten map, or a map with a null member, may be encoded differently.
            let odd = map.first().is_none_or(|(key, _)| key != "_rtype")
                || ["_rserver", "_rschema"]
                    .iter()
                    .any(|key| map.get(*key) == Some(&Value::Null));
            if exact && !odd {
                assert_eq!(
                    to_vec(&again).expect("encodes"),
                    to_vec(value).expect("encodes")
                );
            } else {
                let mut given = map.iter().filter(|(_, value)| !value.is_null());
                assert!(
                    given.all(|(key, value)| again.get(key) == Some(value)),
                    "{again}"
                );
            }
        }
        _ => {}
    }
}
