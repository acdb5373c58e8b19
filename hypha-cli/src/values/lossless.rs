//! Reads values that JSON does not have from the objects that represent them: `{"$float": "NaN"}`,
//! `{"$bytes": "00ff"}` and `{"$ext": [5, "00ff"]}`. The output of the program contains the same
//! objects.

use hypha_rpc::Value;
use serde_json::{Map, Value as Json};

/// Converts JSON to a value.
pub(super) fn parse(json: Json) -> Value {
    match json {
        Json::Array(items) => items.into_iter().map(parse).collect(),
        Json::Object(map) => tagged(&map).unwrap_or_else(|| {
            let members = map.into_iter().map(|(key, value)| (key, parse(value)));
            Value::Map(members.collect())
        }),
        other => other.into(),
    }
}

/// Returns the value of an object that represents a value. Any other object is a map.
fn tagged(map: &Map<String, Json>) -> Option<Value> {
    let mut members = map.iter();
    let (Some((tag, value)), None) = (members.next(), members.next()) else {
        return None;
    };
    match (tag.as_str(), value) {
        ("$float", Json::String(text)) => text.parse().ok().map(Value::Float),
        ("$bytes", Json::String(text)) => Some(Value::Bytes(bytes(text)?.into())),
        ("$ext", Json::Array(parts)) => match parts.as_slice() {
            [code, Json::String(text)] => {
                let code = i8::try_from(code.as_i64()?).ok()?;
                Some(Value::Ext(code, bytes(text)?.into()))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Parses hexadecimal digits.
fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|digit| digit.to_digit(16));
    let digits = digits.collect::<Option<Vec<u32>>>()?;
    let pairs = digits.chunks_exact(2);
    let is_even = pairs.remainder().is_empty();
    is_even.then(|| pairs.map(|pair| (16 * pair[0] + pair[1]) as u8).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_output_can_be_read_back() {
        let value = Value::List(vec![
            Value::Float(f64::INFINITY),
            Value::Float(1.0),
            Value::Bytes(vec![0, 0xff].into()),
            Value::Ext(5, vec![1, 2].into()),
            Value::Map(
                [("a".to_owned(), Value::Bytes(vec![].into()))]
                    .into_iter()
                    .collect(),
            ),
        ]);
        assert_eq!(parse(super::super::json(&value)), value);
        let nan = parse(json!({"$float": "NaN"}));
        assert!(matches!(nan, Value::Float(number) if number.is_nan()));
    }

    #[test]
    fn other_objects_are_maps() {
        for json in [
            json!({"$bytes": "0"}),
            json!({"$bytes": "xy"}),
            json!({"$float": "one"}),
            json!({"$float": "NaN", "a": 1}),
            json!({"$ext": [300, ""]}),
            json!({}),
        ] {
            assert_eq!(parse(json.clone()), Value::from(json));
        }
    }
}
