//! Parses the arguments of a call from the command line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use hypha_rpc::Value;
use hypha_rpc::schema::KIND;
use serde_json::Value as Json;

use super::{image, npy};
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

/// Parses the arguments of a method. `properties` is the schema of its parameters.
///
/// # Errors
///
/// Fails if a file cannot be read, a positional argument follows a named argument, or the standard
/// input is used twice.
pub(crate) fn parse(words: &[String], properties: Option<&Json>) -> Result<Vec<Argument>> {
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
        let schema = properties
            .and_then(Json::as_object)
            .and_then(|all| match name {
                Some(name) => all.get(name),
                None => all.values().nth(arguments.len()),
            });
        let source = source(text, schema).with_context(|| format!("argument `{word}`"))?;
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

fn source(text: &str, schema: Option<&Json>) -> Result<Source> {
    if text == CALLBACK {
        return Ok(Source::Callback);
    }
    if let Some(path) = text.strip_prefix(FILE) {
        return Ok(Source::File(path.into()));
    }
    if let Some(path) = text.strip_prefix('@') {
        if schema.is_some_and(|schema| is_kind(schema, "file")) {
            return Ok(Source::File(path.into()));
        }
        return Ok(Source::Value(from_file(Path::new(path), schema)?));
    }
    if text == "-" {
        let mut bytes = Vec::new();
        let mut input = std::io::stdin().lock();
        input
            .read_to_end(&mut bytes)
            .context("cannot read the standard input")?;
        return Ok(Source::Value(from_bytes(bytes, schema)?));
    }
    Ok(Source::Value(from_text(text, is_text(schema))))
}

/// Parses JSON. Returns a string if the text is not JSON, or if the parameter takes a string and
/// the JSON is of another type.
fn from_text(text: &str, is_text: bool) -> Value {
    match serde_json::from_str::<Json>(text) {
        Ok(json) if !is_text || json.is_string() => json.into(),
        _ => Value::from(text),
    }
}

/// Returns whether a parameter takes a string.
fn is_text(schema: Option<&Json>) -> bool {
    schema.is_some_and(|schema| schema.get("type") == Some(&"string".into()))
}

/// Returns whether content is an image for a parameter that takes an array.
fn is_image(schema: Option<&Json>, bytes: &[u8]) -> bool {
    image::is_png(bytes) && schema.is_some_and(|schema| is_kind(schema, "ndarray"))
}

/// Reads a file according to its extension: `.json` is a JSON value, `.npy` an array. A PNG image
/// is an array if the parameter takes one. Any other file is a string if the parameter takes a
/// string, otherwise bytes.
fn from_file(path: &Path, schema: Option<&Json>) -> Result<Value> {
    let read = || format!("cannot read {}", path.display());
    let bytes = std::fs::read(path).with_context(read)?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("json") => {
            let json: Json = serde_json::from_slice(&bytes).with_context(read)?;
            Ok(json.into())
        }
        Some("npy") => array(&bytes).with_context(read),
        _ if is_image(schema, &bytes) => pixels(&bytes).with_context(read),
        _ if is_text(schema) => String::from_utf8(bytes).map(Value::from).with_context(read),
        _ => Ok(Value::Bytes(bytes.into())),
    }
}

/// Parses the standard input according to its content, because it has no file name.
fn from_bytes(bytes: Vec<u8>, schema: Option<&Json>) -> Result<Value> {
    if npy::is_npy(&bytes) {
        return array(&bytes);
    }
    if is_image(schema, &bytes) {
        return pixels(&bytes);
    }
    Ok(match String::from_utf8(bytes) {
        Ok(text) => from_text(&text, is_text(schema)),
        Err(error) => Value::Bytes(error.into_bytes().into()),
    })
}

fn array(bytes: &[u8]) -> Result<Value> {
    Ok(Value::encode_from(&npy::read(bytes)?)?)
}

fn pixels(bytes: &[u8]) -> Result<Value> {
    Ok(Value::encode_from(&image::read(bytes)?)?)
}

/// Returns whether a schema, or one of its alternatives, is of the kind `kind`.
fn is_kind(schema: &Json, kind: &str) -> bool {
    let alternatives = schema.get("anyOf").and_then(Json::as_array);
    schema.get(KIND).and_then(Json::as_str) == Some(kind)
        || alternatives.is_some_and(|all| all.iter().any(|schema| is_kind(schema, kind)))
}

/// Returns whether a parameter takes a function.
pub(crate) fn declares_function(schema: &Json) -> bool {
    is_kind(schema, "function")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(words: &[&str], properties: Json) -> Vec<(Option<String>, Source)> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let arguments = parse(&words, Some(&properties)).unwrap();
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
        let error = parse(&words, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "positional argument `2` follows a named argument"
        );
        let words = ["a=@/nowhere/a.json".to_owned()];
        let error = format!("{:#}", parse(&words, None).unwrap_err());
        assert!(
            error.starts_with("argument `a=@/nowhere/a.json`: cannot read"),
            "{error}"
        );
    }
}
