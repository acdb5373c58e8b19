//! Parses the arguments of a call from the command line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hypha_rpc::Value;
use serde_json::Value as Json;

use super::kind::{Kind, Parameters, Takes};
use super::{image, lossless, npy};
use crate::failure::Failure;

/// Argument that stands for a function of this program.
const CALLBACK: &str = "@callback";
/// Prefix of a file that the service reads in pieces.
const FILE: &str = "@file:";

/// One argument.
#[derive(Debug)]
pub(crate) struct Argument {
    /// `None` for a positional argument.
    pub(crate) name: Option<String>,
    pub(crate) source: Source,
}

/// The value of an argument.
#[derive(Debug, PartialEq)]
pub(crate) enum Source {
    /// A value that is sent with the call.
    Value(Value),
    /// A function that prints its arguments.
    Callback,
    /// A file that the service reads in pieces.
    File(PathBuf),
}

/// Parses the arguments of a method.
///
/// # Errors
///
/// Fails if a file cannot be read, a positional argument follows a named argument, or the standard
/// input is used twice.
pub(crate) fn parse(words: &[String], parameters: Parameters<'_>) -> Result<Vec<Argument>> {
    let mut arguments: Vec<Argument> = Vec::new();
    let mut reads_input = false;
    for word in words {
        let (name, text) = match word.split_once('=') {
            Some((name, text)) if is_name(name) => (Some(name), text),
            _ => (None, word.as_str()),
        };
        if name.is_none() && arguments.last().is_some_and(|last| last.name.is_some()) {
            return Err(usage(format!(
                "positional argument `{word}` follows a named argument"
            )));
        }
        if text == "-" && std::mem::replace(&mut reads_input, true) {
            return Err(usage(
                "the standard input can be read by one argument only".into(),
            ));
        }
        let takes = match name.or_else(|| parameters.names().nth(arguments.len())) {
            Some(name) => parameters.takes(name),
            None => Takes::anything(),
        };
        let source = source(text, &takes).with_context(|| format!("argument `{word}`"))?;
        arguments.push(Argument {
            name: name.map(str::to_owned),
            source,
        });
    }
    Ok(arguments)
}

fn usage(text: String) -> anyhow::Error {
    Failure::Usage(text).into()
}

/// Returns whether a text before `=` is the name of an argument.
pub(crate) fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

fn source(text: &str, takes: &Takes) -> Result<Source> {
    if text == CALLBACK {
        return Ok(Source::Callback);
    }
    if let Some(path) = text.strip_prefix(FILE) {
        return Ok(Source::File(path.into()));
    }
    if let Some(path) = text.strip_prefix('@') {
        if takes.names(Kind::File) {
            return Ok(Source::File(path.into()));
        }
        return Ok(Source::Value(from_file(Path::new(path), takes)?));
    }
    if text == "-" {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock();
        input
            .read_to_end(&mut bytes)
            .context("cannot read the standard input")?;
        return Ok(Source::Value(from_bytes(bytes, takes)?));
    }
    Ok(Source::Value(from_text(text, takes)))
}

/// Parses JSON. Returns a string if the text is not JSON, or if the parameter takes a string and
/// does not take the JSON.
fn from_text(text: &str, takes: &Takes) -> Value {
    let takes_string = takes.names(Kind::String);
    if let Ok(json) = serde_json::from_str::<Json>(text) {
        if json.is_string() || !takes_string || takes.accepts(Kind::of(&json)) {
            return lossless::parse(json);
        }
    } else if takes.names(Kind::Number) && !takes_string {
        // JSON has no NaN and no infinity, which are the only other numbers.
        if let Ok(number) = text.parse::<f64>() {
            return Value::Float(number);
        }
    }
    Value::from(text)
}

/// Reads a file according to the parameter and to the file's extension: `.json` is a JSON value,
/// `.npy` an array. A PNG image is an array if the parameter takes one. Any other file is a string
/// if the parameter takes a string, otherwise bytes.
fn from_file(path: &Path, takes: &Takes) -> Result<Value> {
    let read = || format!("cannot read {}", path.display());
    let bytes = std::fs::read(path).with_context(read)?;
    if takes.is_bytes() {
        return Ok(Value::Bytes(bytes.into()));
    }
    let is_text = takes.names(Kind::String);
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => {
            let json: Json = serde_json::from_slice(&bytes).with_context(read)?;
            Ok(match takes.accepts(Kind::of(&json)) || !is_text {
                true => lossless::parse(json),
                false => Value::from(String::from_utf8(bytes).with_context(read)?),
            })
        }
        Some("npy") => array(&bytes).with_context(read),
        _ if is_image(takes, &bytes) => pixels(&bytes).with_context(read),
        _ if is_text && !takes.names(Kind::Bytes) => {
            String::from_utf8(bytes).map(Value::from).with_context(read)
        }
        _ => Ok(Value::Bytes(bytes.into())),
    }
}

/// Parses the standard input according to the parameter and to the content, because the input has
/// no file name.
fn from_bytes(bytes: Vec<u8>, takes: &Takes) -> Result<Value> {
    if takes.is_bytes() {
        return Ok(Value::Bytes(bytes.into()));
    }
    if npy::is_npy(&bytes) {
        return array(&bytes);
    }
    if is_image(takes, &bytes) {
        return pixels(&bytes);
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => from_text(&text, takes),
        Err(error) => Value::Bytes(error.into_bytes().into()),
    })
}

/// Returns whether content is an image for a parameter that takes an array.
fn is_image(takes: &Takes, bytes: &[u8]) -> bool {
    image::is_png(bytes) && takes.names(Kind::Array)
}

fn array(bytes: &[u8]) -> Result<Value> {
    Ok(Value::encode_from(&npy::read(bytes)?)?)
}

fn pixels(bytes: &[u8]) -> Result<Value> {
    Ok(Value::encode_from(&image::read(bytes)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(words: &[&str], properties: Json) -> Vec<(Option<String>, Source)> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let schema = json!({"parameters": {"properties": properties}});
        let arguments = parse(&words, Parameters::of(Some(&schema))).unwrap();
        arguments.into_iter().map(|a| (a.name, a.source)).collect()
    }

    #[test]
    fn words_are_json_or_strings() {
        let found = values(
            &["1", "-2.5", "true", "Ada", "\"1\"", "[1,2]", "a b=c"],
            json!({}),
        );
        let found: Vec<Source> = found.into_iter().map(|(_, source)| source).collect();
        let expected = [json!(1), json!(-2.5), json!(true), json!("Ada"), json!("1")];
        let expected = expected.into_iter().chain([json!([1, 2]), json!("a b=c")]);
        let expected: Vec<Source> = expected.map(|json| Source::Value(json.into())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_string_parameter_gets_strings() {
        let schema = json!({"n": {"type": "number"}, "name": {"type": "string"}});
        let expected = [
            (None, Source::Value(1.into())),
            (None, Source::Value("1".into())),
        ];
        assert_eq!(values(&["1", "1"], schema.clone()), expected);
        let expected = [(Some("name".to_owned()), Source::Value("true".into()))];
        assert_eq!(values(&["name=true"], schema.clone()), expected);
        let expected = [(Some("name".to_owned()), Source::Value("x".into()))];
        assert_eq!(values(&["name=\"x\""], schema), expected);
        let schema = json!({"name": {"anyOf": [{"type": "string"}, {"type": "null"}]}});
        for (word, value) in [("12", "12".into()), ("null", Value::Null)] {
            assert_eq!(
                values(&[word], schema.clone()),
                [(None, Source::Value(value))]
            );
        }
    }

    #[test]
    fn a_number_parameter_gets_numbers_that_json_does_not_have() {
        let schema = json!({"n": {"type": "number"}});
        let number = |word| match values(&[word], schema.clone()).remove(0).1 {
            Source::Value(Value::Float(number)) => number,
            other => panic!("{word}: {other:?}"),
        };
        assert!(number("NaN").is_nan());
        assert_eq!(number("-inf"), f64::NEG_INFINITY);
        assert_eq!(number("infinity"), f64::INFINITY);
        let text = [(None, Source::Value("NaN".into()))];
        assert_eq!(values(&["NaN"], json!({})), text);
    }

    #[test]
    fn callbacks_and_files_have_their_own_syntax() {
        let schema = json!({"f": {"anyOf": [{"x-hypha-type": "file"}, {"type": "null"}]}});
        assert_eq!(
            values(&["@callback", "x=@file:a.bin", "f=@b.bin"], schema),
            [
                (None, Source::Callback),
                (Some("x".into()), Source::File("a.bin".into())),
                (Some("f".into()), Source::File("b.bin".into())),
            ]
        );
    }

    #[test]
    fn a_positional_argument_cannot_follow_a_named_one() {
        let words = ["a=1".to_owned(), "2".to_owned()];
        let error = parse(&words, Parameters::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "positional argument `2` follows a named argument"
        );
        let words = ["a=@/nowhere/a.json".to_owned()];
        let error = format!("{:#}", parse(&words, Parameters::default()).unwrap_err());
        assert!(
            error.starts_with("argument `a=@/nowhere/a.json`: cannot read"),
            "{error}"
        );
    }
}
