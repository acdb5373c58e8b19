//! Conversions of names and URLs, and values without a message around them.

use hypha_rpc::Value;
use hypha_rpc::wire::{
    MethodRef, WireError, from_slice, http_url, parse_service_url, socket_url, to_camel_case,
    to_snake_case, to_vec,
};
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
            // The Python client passes on a host without a scheme, and fails to connect.
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

/// Entries whose bytes are not what we would write: a float of 32 bits, a key given twice.
const NOT_CANONICAL: [&str; 2] = ["float32", "map_dup_keys"];

pub(crate) fn check_decode(name: &str, entry: &Json) -> Coverage {
    let packed = unhex(&entry["hex"]);
    if name == "str_invalid_utf8" {
        assert!(from_slice::<Value>(&packed).is_err());
    } else {
        check_value(&packed, &entry["decoded"], !NOT_CANONICAL.contains(&name));
    }
    Checked
}

pub(crate) fn check_encode(file: &str, entry: &Json) -> Coverage {
    if entry["hex"].is_null() {
        // Python's integers have no bound, ours do not fit the wire above 64 bits either.
        let Some(number) = entry["input"]
            .as_str()
            .and_then(|input| input.parse::<i128>().ok())
        else {
            return Coverage::None;
        };
        assert!(to_vec(&number).is_err());
        return Checked;
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

/// Decode, compare with the rendering, and write back.
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

/// Functions and errors anywhere in `value` survive their typed form. The Python client's come
/// out byte for byte; others order their keys differently.
pub(crate) fn check_tagged(value: &Value, exact: bool) {
    match value {
        Value::List(items) => items.iter().for_each(|item| check_tagged(item, exact)),
        Value::Map(map) => {
            map.values().for_each(|item| check_tagged(item, exact));
            let again = match map.get("_rtype").and_then(Value::as_str) {
                Some("method") => {
                    let method: MethodRef = value.decode_as().expect("a function");
                    Value::encode_from(&method).expect("encodes")
                }
                Some("error") => {
                    let error: WireError = value.decode_as().expect("an error");
                    Value::encode_from(&error).expect("encodes")
                }
                _ => return,
            };
            // A map that a user wrote out, or a key that is there without a value.
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
