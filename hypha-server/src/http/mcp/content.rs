//! Creates content blocks in the format of MCP.

use hypha_wire::RawValue;
use rmcp::model::{ContentBlock, ResourceContents};

use crate::http::content::{Block, json_text};

/// Values of `type` in a map by which a service returns a content block.
const TYPES: [&str; 5] = ["text", "image", "audio", "resource", "resource_link"];

impl Block for ContentBlock {
    fn text(text: String) -> Self {
        ContentBlock::text(text)
    }

    fn binary(base64: String, kind: Option<&'static str>) -> Self {
        match kind {
            Some(kind) => ContentBlock::image(base64, kind),
            None => {
                let blob = ResourceContents::blob(base64, "hypha://result");
                ContentBlock::resource(blob.with_mime_type("application/octet-stream"))
            }
        }
    }

    fn ready(value: &RawValue) -> Option<Self> {
        let kind = value.member("type")?;
        if !kind.as_str().is_some_and(|kind| TYPES.contains(&kind)) {
            return None;
        }
        serde_json::from_slice(&json_text(value).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use hypha_rpc::NdArray;
    use hypha_wire::{Value, to_vec};
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::http::content::blocks;

    fn of(value: &Value) -> Json {
        let raw = RawValue::new(to_vec(value).unwrap().into()).unwrap();
        serde_json::to_value(blocks::<ContentBlock>(&raw, true).unwrap()).unwrap()
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
        assert_eq!(blocks::<ContentBlock>(&raw, false).unwrap().len(), 1);
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
            let error = blocks::<ContentBlock>(&raw, true).unwrap_err();
            assert!(error.starts_with("the result contains"), "{error}");
        }
    }
}
