//! Formats values for people, and as JSON for programs.

use hypha_rpc::{Element, NdArray, Timestamp, Value};
use hypha_wire::keys::RTYPE;
use serde_json::{Value as Json, json as object};

/// Maximum number of elements for which an array is printed in full.
const SHORT_ARRAY: usize = 16;

/// Formats a value for people. A string stays unchanged. Any other value is formatted like JSON,
/// with a summary in place of each array, each function and binary data.
pub(crate) fn text(value: &Value) -> String {
    match summary(value) {
        Json::String(text) => text,
        other => serde_json::to_string_pretty(&other).unwrap_or_default(),
    }
}

/// Formats a value for people, on one line.
pub(crate) fn one_line(value: &Value) -> String {
    match summary(value) {
        Json::String(text) => text,
        other => other.to_string(),
    }
}

/// Converts a value to JSON for programs. Arrays of real numbers become lists, a time becomes its
/// number of seconds, and binary data becomes `{"$bytes": hex}`.
pub(crate) fn json(value: &Value) -> Json {
    if let Some(array) = array(value) {
        return elements(&array).unwrap_or_else(|| value.to_json());
    }
    match value {
        Value::List(items) => items.iter().map(json).collect(),
        Value::Map(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), json(value)))
            .collect(),
        Value::Handle(_) => object!({ "$live": value.kind() }),
        Value::Ext(..) => time(value),
        other => other.to_json(),
    }
}

/// Returns the number of seconds of a time. Any other extension stays as it is.
fn time(value: &Value) -> Json {
    match value.decode_as::<Timestamp>() {
        Ok(time) => time.as_secs_f64().into(),
        Err(_) => value.to_json(),
    }
}

fn summary(value: &Value) -> Json {
    if let Some(array) = array(value) {
        return describe(&array).into();
    }
    match value {
        Value::List(items) => items.iter().map(summary).collect(),
        Value::Map(map) if map.get(RTYPE).and_then(Value::as_str) == Some("iostream") => {
            let name = map.get("name").and_then(Value::as_str);
            format!("file {}", name.unwrap_or("without a name")).into()
        }
        Value::Map(map) => {
            let entries = map.iter().filter(|(key, _)| *key != "_rintf");
            entries
                .map(|(key, value)| (key.clone(), summary(value)))
                .collect()
        }
        Value::Bytes(bytes) => format!("{}, {}", kind_of(bytes), size(bytes.len() as u64)).into(),
        Value::Handle(_) => value.kind().into(),
        Value::Ext(..) => time(value),
        other => other.to_json(),
    }
}

fn array(value: &Value) -> Option<NdArray> {
    let tag = value.as_map()?.get(RTYPE)?.as_str()?;
    (tag == "ndarray").then(|| value.decode_as().ok())?
}

/// Returns the element type and the shape of an array. Adds the elements of a short array, or
/// statistics about the elements of a longer array.
fn describe(array: &NdArray) -> String {
    let mut text = format!("array {} {:?}", array.dtype(), array.shape());
    let Ok(numbers) = array.iter_f64() else {
        return text;
    };
    if array.len() <= SHORT_ARRAY {
        if let Some(elements) = elements(array) {
            text += &format!(": {elements}");
        }
        return text;
    }
    let (mut min, mut max, mut sum) = (f64::INFINITY, f64::NEG_INFINITY, 0.0);
    let mut count = 0u64;
    for number in numbers.filter(|number| !number.is_nan()) {
        (min, max) = (min.min(number), max.max(number));
        sum += number;
        count += 1;
    }
    if count > 0 {
        let mean = sum / count as f64;
        text += &format!(", min {min}, max {max}, mean {mean:.6}");
    }
    let nans = array.len() as u64 - count;
    if nans > 0 {
        text += &format!(", {nans} NaN");
    }
    text
}

/// Returns the elements as nested lists, or `None` if they are not real numbers.
fn elements(array: &NdArray) -> Option<Json> {
    // Try integers first, because a float cannot represent all integers above 2^53.
    let flat = match (exact::<i64>(array), exact::<u64>(array)) {
        (Some(numbers), _) => numbers,
        (None, Some(numbers)) => numbers,
        (None, None) if *array.dtype() == hypha_rpc::DType::Bool => {
            let bytes = array.data().iter();
            bytes.map(|byte| Json::from(*byte != 0)).collect()
        }
        (None, None) => {
            let numbers = array.iter_f64().ok()?;
            numbers
                .map(|number| Value::Float(number).to_json())
                .collect()
        }
    };
    Some(nested(&mut flat.into_iter(), array.shape()))
}

fn exact<T: Element + Into<Json>>(array: &NdArray) -> Option<Vec<Json>> {
    let numbers = array.to_vec::<T>().ok()?;
    Some(numbers.into_iter().map(Into::into).collect())
}

fn nested(flat: &mut impl Iterator<Item = Json>, shape: &[usize]) -> Json {
    match shape.split_first() {
        None => flat.next().unwrap_or_default(),
        Some((len, rest)) => (0..*len).map(|_| nested(flat, rest)).collect(),
    }
}

fn kind_of(bytes: &[u8]) -> &'static str {
    let kinds: [(&[u8], &str); 6] = [
        (b"\x89PNG", "PNG image"),
        (b"\xff\xd8\xff", "JPEG image"),
        (b"GIF8", "GIF image"),
        (b"II*\0", "TIFF image"),
        (b"MM\0*", "TIFF image"),
        (b"%PDF", "PDF document"),
    ];
    let found = kinds.iter().find(|(magic, _)| bytes.starts_with(magic));
    found.map_or("binary data", |(_, kind)| kind)
}

/// Formats a number of bytes with a suitable unit.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let (mut size, mut unit) = (bytes as f64, "");
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, next);
    }
    format!("{size:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(array: &NdArray) -> Value {
        Value::encode_from(array).unwrap()
    }

    #[test]
    fn arrays_are_summarized_for_people_and_listed_for_programs() {
        let short = NdArray::from_vec([2, 2], vec![1u8, 2, 3, 255]).unwrap();
        assert_eq!(
            text(&encoded(&short)),
            "array uint8 [2, 2]: [[1,2],[3,255]]"
        );
        assert_eq!(json(&encoded(&short)), object!([[1, 2], [3, 255]]));
        let long: Vec<f32> = (0..100).map(|n| n as f32).collect();
        let long = encoded(&NdArray::from_vec([10, 10], long).unwrap());
        let expected = "array float32 [10, 10], min 0, max 99, mean 49.500000";
        assert_eq!(text(&long), expected);
        let map = Value::Map([("image".to_owned(), long)].into_iter().collect());
        assert_eq!(one_line(&map), format!("{{\"image\":\"{expected}\"}}"));
        let large = NdArray::from_vec([1], vec![u64::MAX]).unwrap();
        assert_eq!(json(&encoded(&large)), object!([u64::MAX]));
        let flags = NdArray::from_vec([2], vec![true, false]).unwrap();
        assert_eq!(json(&encoded(&flags)), object!([true, false]));
    }

    #[test]
    fn values_are_formatted_like_json() {
        assert_eq!(text(&Value::from("plain")), "plain");
        assert_eq!(text(&Value::Null), "null");
        assert_eq!(text(&Value::from(2.5)), "2.5");
        let png = Value::Bytes(b"\x89PNG\r\n"[..].into());
        assert_eq!(text(&png), "PNG image, 6 bytes");
        assert_eq!(
            one_line(&Value::from(object!({"a": [1, null]}))),
            r#"{"a":[1,null]}"#
        );
        assert_eq!(size(1536), "1.5 KiB");
        let time = Value::from(Timestamp::new(1_400_000_000, 500_000_000).unwrap());
        let times = Value::List(vec![time.clone(), Value::Ext(5, vec![1].into())]);
        let expected = r#"[1400000000.5,{"$ext":[5,"01"]}]"#;
        assert_eq!(one_line(&times), expected);
        assert_eq!(json(&times).to_string(), expected);
    }
}
