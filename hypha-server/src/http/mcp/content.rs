//! Converts results of functions to content blocks of MCP, which language models can read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hypha_rpc::NdArray;
use hypha_wire::{JsonError, JsonWriter, RawValue};
use rmcp::model::{ContentBlock, ResourceContents};
use serde_json::Value as Json;

use super::image;

/// Types of content blocks that a service may return itself.
const TYPES: [&str; 5] = ["text", "image", "audio", "resource", "resource_link"];
/// Maximum number of elements of an array that is shown as text.
const NUMBERS_MAX: usize = 4096;
/// Memory charged for one value in a JSON tree, in bytes, including its entry in a list or map.
const NODE: usize = 160;

/// Converts a result to content blocks. If `splits`, each item of a list becomes a block, otherwise
/// the whole result is converted as one value.
///
/// A string becomes a text block, and an image becomes an image block. A map that already is a
/// content block is kept. Any other value becomes JSON text; binary data and arrays inside it
/// become separate blocks after the text.
///
/// # Errors
///
/// Returns the kind of the value that cannot be converted.
pub(super) fn blocks(result: &RawValue, splits: bool) -> Result<Vec<ContentBlock>, String> {
    let mut blocks = Vec::new();
    match result.items() {
        Some(items) if splits => {
            for item in items {
                add(&item, &mut blocks)?;
            }
        }
        _ => add(result, &mut blocks)?,
    }
    Ok(blocks)
}

/// Adds the content blocks of one value.
fn add(value: &RawValue, blocks: &mut Vec<ContentBlock>) -> Result<(), String> {
    if let Some(text) = value.as_str() {
        blocks.push(ContentBlock::text(text));
    } else if let Some(block) = binary(value)? {
        blocks.push(block);
    } else if let Some(block) = ready(value) {
        blocks.push(block);
    } else {
        let (mut text, mut parts) = (Vec::new(), Vec::new());
        write(value, &mut text, &mut parts)?;
        let text = String::from_utf8(text).map_err(|error| error.to_string())?;
        blocks.push(ContentBlock::text(text));
        blocks.append(&mut parts);
    }
    Ok(())
}

/// Returns the content block that a map already is, or `None` for any other value.
fn ready(value: &RawValue) -> Option<ContentBlock> {
    let kind = value.member("type")?;
    if !kind.as_str().is_some_and(|kind| TYPES.contains(&kind)) {
        return None;
    }
    serde_json::from_slice(&json_text(value).ok()?).ok()
}

/// Returns the content block of binary data or an array, or `None` for any other value.
fn binary(value: &RawValue) -> Result<Option<ContentBlock>, String> {
    if value.as_str().is_some() {
        return Ok(None);
    }
    if let Some(bytes) = value.as_content() {
        return Ok(Some(match image::media_type(&bytes) {
            Some(kind) => ContentBlock::image(STANDARD.encode(&bytes), kind),
            None => {
                let blob = ResourceContents::blob(STANDARD.encode(&bytes), "hypha://result");
                ContentBlock::resource(blob.with_mime_type("application/octet-stream"))
            }
        }));
    }
    let tag = value.member(hypha_wire::keys::RTYPE);
    if tag.as_ref().and_then(RawValue::as_str) != Some("ndarray") {
        return Ok(None);
    }
    let array: NdArray = value.decode().map_err(|error| error.to_string())?;
    Ok(Some(match image::png(&array) {
        Some(png) => ContentBlock::image(STANDARD.encode(&png), "image/png"),
        None => ContentBlock::text(numbers(&array)?),
    }))
}

/// Returns the elements of a small array as nested JSON lists.
fn numbers(array: &NdArray) -> Result<String, String> {
    let (kind, shape) = (array.dtype(), array.shape());
    let unfit = |why: &str| {
        format!(
            "the result contains an array of type {kind} and shape {shape:?}, which is no image \
             (uint8, [height, width] or with 1, 3 or 4 channels) and {why}"
        )
    };
    if array.len() > NUMBERS_MAX {
        let why = format!("has more numbers than can be shown ({NUMBERS_MAX})");
        return Err(unfit(&why));
    }
    let values = array
        .iter_f64()
        .map_err(|error| unfit(&error.to_string()))?;
    let mut lists: Vec<Json> = values.map(number).collect();
    // Groups the elements by the last dimension first, because it changes fastest.
    for &side in shape.iter().skip(1).rev() {
        let rows = lists.chunks(side.max(1));
        lists = rows.map(|row| Json::Array(row.to_vec())).collect();
    }
    let whole = match shape {
        [] => lists.pop().unwrap_or_default(),
        _ => Json::Array(lists),
    };
    Ok(whole.to_string())
}

fn number(value: f64) -> Json {
    // Shows whole numbers without a fraction, because most arrays contain integers.
    let whole = value as i64;
    if whole as f64 == value {
        return whole.into();
    }
    value.into()
}

/// Writes a value as JSON. Replaces binary data and arrays by references to blocks, which it adds
/// to `parts`.
fn write(
    value: &RawValue,
    text: &mut Vec<u8>,
    parts: &mut Vec<ContentBlock>,
) -> Result<(), String> {
    let start = text.len();
    // Fast path: most results contain no binary data.
    match whole(value, text) {
        Ok(()) => return Ok(()),
        Err(JsonError::Unfit(what)) if value.items().is_none() && value.entries().is_none() => {
            if let Some(part) = binary(value)? {
                parts.push(part);
                text.truncate(start);
                text.extend(format!("\"<content {}>\"", parts.len()).as_bytes());
                return Ok(());
            }
            return Err(format!(
                "the result contains {what}, which JSON cannot represent"
            ));
        }
        Err(JsonError::Unfit(_)) => text.truncate(start),
        Err(JsonError::Invalid(error)) => {
            return Err(format!("the result is unreadable: {error}"));
        }
    }
    if let Some(part) = binary(value)? {
        parts.push(part);
        text.extend(format!("\"<content {}>\"", parts.len()).as_bytes());
        return Ok(());
    }
    if let Some(items) = value.items() {
        text.push(b'[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                text.push(b',');
            }
            write(&item, text, parts)?;
        }
        text.push(b']');
    } else if let Some(entries) = value.entries() {
        text.push(b'{');
        for (index, (key, value)) in entries.enumerate() {
            if index > 0 {
                text.push(b',');
            }
            write(&key, text, parts)?;
            text.push(b':');
            write(&value, text, parts)?;
        }
        text.push(b'}');
    }
    Ok(())
}

fn whole(value: &RawValue, text: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut writer = JsonWriter::new(value.clone());
    while writer.write(text, usize::MAX)? {}
    Ok(())
}

/// Returns a value as JSON text.
///
/// # Errors
///
/// Returns the kind of the value that JSON cannot represent.
pub(super) fn json_text(value: &RawValue) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    whole(value, &mut text).map_err(|error| match error {
        JsonError::Unfit(what) => {
            format!("the result contains {what}, which JSON cannot represent")
        }
        JsonError::Invalid(error) => format!("the result is unreadable: {error}"),
    })?;
    Ok(text)
}

/// Returns the memory for a JSON text and the tree parsed from it, in bytes.
pub(super) fn room(json: &[u8]) -> usize {
    let values = json
        .iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'))
        .count();
    2 * json.len() + NODE * (values + 1)
}

/// Returns the memory for a result of `size` bytes and its content, in bytes: the text, its base64
/// or escaped form, and the response.
pub(super) fn room_of_result(size: usize) -> usize {
    6 * size + NODE
}

#[cfg(test)]
mod tests {
    use hypha_wire::{Value, to_vec};
    use serde_json::json;

    use super::*;

    fn of(value: &Value) -> Json {
        let raw = RawValue::new(to_vec(value).unwrap().into()).unwrap();
        serde_json::to_value(blocks(&raw, true).unwrap()).unwrap()
    }

    #[test]
    fn plain_values_are_text() {
        for (value, text) in [
            (Value::from("plain"), "plain"),
            (Value::Null, "null"),
            (Value::from(3.0), "3.0"),
            (Value::from(true), "true"),
            (Value::from(json!({"a": [1, 2.5]})), r#"{"a":[1,2.5]}"#),
        ] {
            assert_eq!(of(&value), json!([{"type": "text", "text": text}]));
        }
    }

    #[test]
    fn items_of_a_list_become_separate_blocks() {
        let list = json!([1, "b", {"type": "text", "text": "hi"}, {"type": "x"}]);
        let texts = |texts: &[&str]| {
            let texts = texts.iter();
            Json::Array(
                texts
                    .map(|text| json!({"type": "text", "text": text}))
                    .collect(),
            )
        };
        assert_eq!(
            of(&list.clone().into()),
            texts(&["1", "b", "hi", r#"{"type":"x"}"#])
        );
        let raw = RawValue::new(to_vec(&Value::from(list)).unwrap().into()).unwrap();
        assert_eq!(blocks(&raw, false).unwrap().len(), 1);
        assert_eq!(of(&Value::List(Vec::new())), json!([]));
    }

    #[test]
    fn binary_data_and_arrays_follow_the_text() {
        let png = Value::Bytes(b"\x89PNG\r\n\x1a\n..".as_slice().into());
        let image = |data: &str| json!({"type": "image", "data": data, "mimeType": "image/png"});
        assert_eq!(of(&png), json!([image("iVBORw0KGgouLg==")]));
        let array = NdArray::from_vec([1, 1], vec![9_u8]).unwrap();
        let array = Value::encode_from(&array).unwrap();
        let map = [("at", Value::from(1)), ("png", png), ("array", array)];
        let map = map.map(|(key, value)| (key.to_owned(), value));
        let found = of(&Value::Map(map.into_iter().collect()));
        let text = r#"{"at":1,"png":"<content 1>","array":"<content 2>"}"#;
        assert_eq!(found[0]["text"], text);
        assert_eq!(found[1]["mimeType"], "image/png");
        assert_eq!(found[2]["mimeType"], "image/png");
        let other = of(&Value::Bytes(b"abc".as_slice().into()));
        assert_eq!(other[0]["resource"]["blob"], "YWJj");
    }

    #[test]
    fn small_arrays_are_lists_of_numbers() {
        let halves = NdArray::from_vec([2, 2], vec![0.5_f32, 1.0, f32::NAN, -3.0]).unwrap();
        let whole = NdArray::from_vec([2], vec![1_i64, 2]).unwrap();
        for (array, text) in [(halves, "[[0.5,1],[null,-3]]"), (whole, "[1,2]")] {
            let found = of(&Value::encode_from(&array).unwrap());
            assert_eq!(found, json!([{"type": "text", "text": text}]));
        }
    }

    #[test]
    fn values_that_cannot_be_converted_are_named() {
        for value in [
            Value::Float(f64::NAN),
            Value::encode_from(&NdArray::from_vec([5000], vec![0.5_f64; 5000]).unwrap()).unwrap(),
        ] {
            let raw = RawValue::new(to_vec(&value).unwrap().into()).unwrap();
            let error = blocks(&raw, true).unwrap_err();
            assert!(error.starts_with("the result contains"), "{error}");
        }
    }
}
