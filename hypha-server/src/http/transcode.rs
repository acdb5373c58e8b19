//! Converts JSON to MessagePack directly. Decoding the JSON into values first would take many times
//! the memory.

use hypha_rpc::Args;
use hypha_wire::{EncodeError, RawValue};
use serde_transcode::Transcoder;

use super::body::Received;

/// Format of the body of a request or response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Msgpack,
}

/// Names of parameters that belong to the request itself and are not arguments of the function.
pub(super) const RESERVED: [&str; 4] = ["workspace", "service_id", "function_key", "_mode"];

/// The arguments in the body of a request.
pub(super) struct Posted {
    pub(super) args: Args,
    /// The parameter `_mode`: the selection mode, if the id selects several services.
    pub(super) mode: Option<String>,
    /// The bytes of `args`, with their charge.
    pub(super) received: Received,
}

/// Returns an upper bound on the size of a JSON document as MessagePack, in bytes. Only floats,
/// which take nine bytes in MessagePack, may be longer than in JSON.
///
/// The document need not be valid, because the bound is charged before parsing.
pub(super) fn msgpack_bound(json: &[u8]) -> usize {
    let (mut in_string, mut escaped, mut floats) = (false, false, 0);
    let mut before = 0;
    for &byte in json {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else {
            match byte {
                b'"' => in_string = true,
                b'.' => floats += 1,
                b'e' | b'E' if u8::is_ascii_digit(&before) => floats += 1,
                // The parser reads `-0` as a float.
                b'0' if before == b'-' => floats += 1,
                _ => {}
            }
        }
        before = byte;
    }
    // The MessagePack header of a list, map or string takes up to 5 bytes. The punctuation in JSON
    // (brackets or quotes, and a comma) takes 3 bytes. Only values of at least 64 KiB have a 5-byte
    // header, so 2 more bytes for each 64 KiB are enough.
    json.len() + json.len() / 32_768 + 6 * floats + 16
}

/// Converts a JSON document to MessagePack. `room` is the number of bytes to reserve. If the result
/// is larger, it is moved to a larger allocation.
pub(super) fn from_json(json: &[u8], room: usize) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(room);
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    hypha_wire::encode(&mut out, &Transcoder::new(&mut deserializer))?;
    let end = deserializer.end();
    end.map_err(|error| EncodeError::new(error.to_string()))?;
    Ok(out)
}

/// Reads the arguments from a body that is not empty: a map contains named arguments, a list
/// contains positional arguments, and any other value is the only argument.
///
/// For JSON, `room` is the [`msgpack_bound`] of the body, and must be charged already.
///
/// # Errors
///
/// Returns the reason if the body cannot be read.
pub(super) fn posted(
    mut received: Received,
    format: Format,
    room: usize,
) -> Result<Posted, String> {
    let value = match format {
        Format::Json => {
            let mut packed = from_json(&received.bytes, room).map_err(|e| e.to_string())?;
            packed.shrink_to_fit();
            received.bytes = packed.into();
            received.charge.shrink_to(received.bytes.len());
            RawValue::new(received.bytes.clone())
        }
        Format::Msgpack => RawValue::new(received.bytes.clone()),
    };
    let value = value.map_err(|error| error.to_string())?;
    let mode = value.member("_mode");
    let mode = mode.and_then(|mode| mode.as_str().map(str::to_owned));
    let args = Args::from_value(value, &RESERVED);
    Ok(Posted {
        args: args.map_err(|error| error.to_string())?,
        mode,
        received,
    })
}

#[cfg(test)]
mod tests {
    use hypha_wire::{from_slice, to_vec};

    use super::*;

    #[test]
    fn the_size_bound_holds_and_the_bytes_equal_those_of_a_decoded_value() {
        for json in [
            "null",
            "-0",
            "[-0,-0.0,1e5,1E5,0.5,1.5e-3]",
            "[]",
            "[[],[]]",
            r#"{"a":{"b":[true]}}"#,
            r#""\"\\.e\u00e4""#,
            "18446744073709551616",
            "[1,255,65535,4294967295,-1,-129]",
        ] {
            let bound = msgpack_bound(json.as_bytes());
            let packed = from_json(json.as_bytes(), bound).unwrap();
            assert!(packed.len() <= bound, "{json}");
            let tree: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(
                packed,
                to_vec(&hypha_rpc::Value::from(tree)).unwrap(),
                "{json}"
            );
        }
        let long = format!("[{}0]", "0,".repeat(70_000));
        let packed = from_json(long.as_bytes(), msgpack_bound(long.as_bytes())).unwrap();
        assert_eq!(from_slice::<Vec<u8>>(&packed.into()).unwrap().len(), 70_001);
        let texts = format!(
            "[{0}{1}]",
            format!("\"{}\",", "x".repeat(65_536)).repeat(40),
            "0"
        );
        let bound = msgpack_bound(texts.as_bytes());
        assert!(from_json(texts.as_bytes(), bound).unwrap().len() <= bound);
    }

    #[test]
    fn text_that_is_not_json_is_refused() {
        for (json, why) in [
            ("{", "EOF"),
            ("1 2", "trailing characters"),
            (&*"[".repeat(200), "recursion limit"),
            (r#"{1:2}"#, "key must be a string"),
        ] {
            let error = from_json(json.as_bytes(), 16).unwrap_err().to_string();
            assert!(error.contains(why), "{json}: {error}");
        }
    }
}
