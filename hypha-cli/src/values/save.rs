//! Stores results in files.

use std::path::Path;

use anyhow::{Context as _, Result};
use hypha_rpc::{NdArray, Value};
use hypha_wire::keys::RTYPE;

use super::{npy, show};
use crate::failure::Failure;
use crate::output;

/// Returns whether a value is a remote file. The program reads a remote file in pieces.
pub(crate) fn is_file(value: &Value) -> bool {
    tag(value) == Some("iostream")
}

fn tag(value: &Value) -> Option<&str> {
    value.as_map()?.get(RTYPE)?.as_str()
}

/// Writes a value to a file. The extension selects the format: `.npy` for an array, `.json` for any
/// value, and any other extension for bytes or a string. `-` is the standard output.
///
/// # Errors
///
/// Fails if the format cannot represent the value, or the file cannot be written.
pub(crate) fn save(value: &Value, path: &Path) -> Result<()> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let bytes = match (extension, value) {
        (Some("npy"), value) => npy::write(&array(value)?),
        (Some("json"), value) => {
            let mut text = serde_json::to_string_pretty(&show::json(value))?;
            text.push('\n');
            text.into_bytes()
        }
        (_, Value::Bytes(bytes)) => bytes.to_vec(),
        (_, Value::String(text)) => text.clone().into_bytes(),
        (_, value) if tag(value) == Some("ndarray") => {
            if path.as_os_str() != "-" {
                return Err(unfit("an array; use a name that ends with .npy or .json"));
            }
            npy::write(&array(value)?)
        }
        (_, value) => {
            let kind = value.kind();
            return Err(unfit(&format!("a {kind}; use a name that ends with .json")));
        }
    };
    let file = Some(path).filter(|path| path.as_os_str() != "-");
    output::write_bytes(&bytes, file)
}

fn array(value: &Value) -> Result<NdArray> {
    let array = value.decode_as();
    array.with_context(|| format!("the result is a {}, not an array", value.kind()))
}

fn unfit(text: &str) -> anyhow::Error {
    Failure::Usage(format!("the result is {text}")).into()
}
