//! Converts results of functions to content for language models: text, images and files. Each
//! gateway sends this content in the format of its protocol.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hypha_rpc::NdArray;
use hypha_wire::{DType, JsonError, JsonWriter, RawValue};
use serde_json::Value as Json;

use super::image;

/// Maximum number of elements of an array that is shown as text.
const NUMBERS_MAX: usize = 4096;
/// Memory charged for one value in a JSON tree, in bytes, including its entry in a list or map.
const NODE: usize = 160;

/// A part of a result, in the format of a protocol.
pub(super) trait Block: Sized {
    /// Returns a block of text.
    fn text(text: String) -> Self;

    /// Returns a block of binary data in base64. `kind` is the media type of an image, and `None`
    /// for other data.
    fn binary(base64: String, kind: Option<&'static str>) -> Self;

    /// Returns the block if the value has the format of a block, otherwise `None`.
    fn ready(value: &RawValue) -> Option<Self>;
}

/// Converts a result to content blocks. If `splits` is true, converts each item of a list
/// separately; otherwise converts the whole result as one value.
///
/// A string becomes a text block, and an image becomes an image block. A map that already is a
/// content block is kept. Any other value becomes JSON text; binary data and arrays inside it
/// become separate blocks after the text.
///
/// # Errors
///
/// Returns the kind of the value that cannot be converted.
pub(super) fn blocks<B: Block>(result: &RawValue, splits: bool) -> Result<Vec<B>, String> {
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

/// Value of `_rtype` of an object of the Python library pydantic.
const PYDANTIC: &str = "pydantic_model";
/// Member with the data of an object of pydantic. Another member contains its schema.
const PYDANTIC_DATA: &str = "_rvalue";

/// Returns the data of an object of pydantic, without its schema. Other values are unchanged.
pub(super) fn model(value: RawValue) -> RawValue {
    let tag = value.member(hypha_wire::keys::RTYPE);
    if tag.as_ref().and_then(RawValue::as_str) != Some(PYDANTIC) {
        return value;
    }
    value.member(PYDANTIC_DATA).unwrap_or(value)
}

/// Replaces objects of pydantic in JSON by their data, like [`model`]. Removes members of the data
/// that are null, because pydantic writes null for each missing optional member.
pub(super) fn plain(json: Json) -> Json {
    match json {
        Json::Array(items) => items.into_iter().map(plain).collect(),
        Json::Object(mut map) => {
            if map.get(hypha_wire::keys::RTYPE).and_then(Json::as_str) == Some(PYDANTIC)
                && let Some(Json::Object(mut data)) = map.remove(PYDANTIC_DATA)
            {
                data.retain(|_, value| !value.is_null());
                return Json::Object(data);
            }
            let members = map.into_iter().map(|(name, value)| (name, plain(value)));
            Json::Object(members.collect())
        }
        other => other,
    }
}

/// Adds the content blocks of one value.
fn add<B: Block>(value: &RawValue, blocks: &mut Vec<B>) -> Result<(), String> {
    let value = &model(value.clone());
    if let Some(text) = value.as_str() {
        blocks.push(B::text(text.to_owned()));
    } else if let Some(block) = binary(value)? {
        blocks.push(block);
    } else if let Some(block) = B::ready(value) {
        blocks.push(block);
    } else {
        let (mut text, mut parts) = (Vec::new(), Vec::new());
        write(value, &mut text, &mut parts)?;
        let text = String::from_utf8(text).map_err(|error| error.to_string())?;
        blocks.push(B::text(text));
        blocks.append(&mut parts);
    }
    Ok(())
}

/// Returns the content block of binary data or an array, or `None` for any other value.
fn binary<B: Block>(value: &RawValue) -> Result<Option<B>, String> {
    if value.as_str().is_some() {
        return Ok(None);
    }
    if let Some(bytes) = value.as_content() {
        let kind = image::media_type(&bytes);
        return Ok(Some(B::binary(STANDARD.encode(&bytes), kind)));
    }
    let tag = value.member(hypha_wire::keys::RTYPE);
    if tag.as_ref().and_then(RawValue::as_str) != Some("ndarray") {
        return Ok(None);
    }
    let array: NdArray = value.decode().map_err(|error| error.to_string())?;
    // 16-bit arrays are mostly counts, which a model reads better as numbers.
    let is_image = *array.dtype() == DType::UInt8;
    Ok(Some(match is_image.then(|| image::png(&array)).flatten() {
        Some(png) => B::binary(STANDARD.encode(&png), Some("image/png")),
        None => B::text(numbers(&array)?),
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
    // Groups the elements by the last dimension first, because the index of the last dimension
    // changes fastest.
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

/// Writes a value as JSON. Adds binary data and arrays to `parts` as blocks, and writes references
/// to these blocks in their place.
fn write<B: Block>(value: &RawValue, text: &mut Vec<u8>, parts: &mut Vec<B>) -> Result<(), String> {
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

/// Returns the memory for a result of `size` bytes and for its content, in bytes. The content
/// consists of the text, its base64 or escaped form, and the response.
pub(super) fn room_of_result(size: usize) -> usize {
    6 * size + NODE
}

#[cfg(test)]
mod tests {
    use hypha_wire::{Value, to_vec};
    use serde_json::json;

    use super::*;

    #[test]
    fn objects_of_pydantic_are_their_data() {
        let data = json!({"name": "echo", "title": null, "inputSchema": {"type": "object"}});
        let object = json!({"_rtype": "pydantic_model", "_rvalue": data, "_rschema": {}});
        let expected = json!({"name": "echo", "inputSchema": {"type": "object"}});
        assert_eq!(plain(json!([object])), json!([expected]));
        assert_eq!(
            plain(json!({"a": null, "b": object})),
            json!({"a": null, "b": expected})
        );
        let raw = |value: Json| {
            let bytes = to_vec(&Value::from(value)).unwrap();
            RawValue::new(bytes.into()).unwrap()
        };
        let found = json_text(&model(raw(object))).unwrap();
        assert_eq!(serde_json::from_slice::<Json>(&found).unwrap(), data);
        let other = json!({"_rtype": "ndarray", "_rvalue": 1});
        let found = json_text(&raw(json!([1]))).unwrap();
        assert_eq!(json_text(&model(raw(json!([1])))).unwrap(), found);
        assert!(model(raw(other)).member("_rtype").is_some());
    }
}
