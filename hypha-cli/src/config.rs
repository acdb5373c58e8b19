//! Reads and writes the configuration file. The file contains the contexts. A context has a name,
//! and contains a server, a workspace and a token.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// Environment variable that contains the path of the file.
const CONFIG_VARIABLE: &str = "HYPHA_CONFIG";
/// Name of the context that `login` creates if the URL has no host.
pub(crate) const DEFAULT_NAME: &str = "default";

/// A server, with the workspace and the token to connect to it.
// This type is not `Debug`, because it holds a token.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Profile {
    pub(crate) server_url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) workspace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

/// The content of the file.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Config {
    /// Name of the context that is used if no option or variable selects a context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Profile>,
}

impl Config {
    /// Reads the file. A missing file counts as empty.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or parsed.
    pub(crate) fn load() -> Result<Config> {
        let Some(path) = path() else {
            return Ok(Config::default());
        };
        let read = || format!("cannot read the contexts in {}", path.display());
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(read),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Config::default()),
            Err(error) => Err(error).with_context(read),
        }
    }

    /// Writes the file so that only the user can read it.
    ///
    /// # Errors
    ///
    /// Fails if no folder for the file is known, or the file cannot be written.
    pub(crate) fn save(&self) -> Result<()> {
        let path = path().context(
            "there is no folder for the contexts: set HYPHA_CONFIG, XDG_CONFIG_HOME or HOME",
        )?;
        let text = serde_json::to_string_pretty(self)?;
        replace(&path, text.as_bytes())
            .with_context(|| format!("cannot write the contexts to {}", path.display()))
    }

    /// Returns the context with this name.
    ///
    /// # Errors
    ///
    /// Fails if there is no such context. The error lists the existing names.
    pub(crate) fn get(&self, name: &str) -> Result<&Profile> {
        let found = self.contexts.get(name);
        Ok(found.ok_or_else(|| self.unknown(name))?)
    }

    /// Returns the error for a context that does not exist.
    pub(crate) fn unknown(&self, name: &str) -> Failure {
        let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        let names = match names.as_slice() {
            [] => "none; `hypha context add` adds one".to_owned(),
            names => names.join(", "),
        };
        Failure::NotFound(format!("there is no context `{name}` (contexts: {names})"))
    }
}

/// Returns the path of the file, or `None` if no folder for it is known.
pub(crate) fn path() -> Option<PathBuf> {
    if let Some(path) = variable(CONFIG_VARIABLE) {
        return Some(path.into());
    }
    let folder = if cfg!(windows) {
        PathBuf::from(variable("APPDATA")?)
    } else {
        match variable("XDG_CONFIG_HOME") {
            Some(folder) => PathBuf::from(folder),
            None => PathBuf::from(variable("HOME")?).join(".config"),
        }
    };
    Some(folder.join("hypha").join("config.json"))
}

/// Returns the value of an environment variable without surrounding white space. Returns `None` if
/// the variable is not set or empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

/// Atomically replaces a file with a new file that only the user can read.
fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let new = path.with_file_name(name);
    // The temporary file may already exist: an earlier process with the same id may have been
    // killed before it renamed the file.
    let _ = fs::remove_file(&new);
    let written = write_private(&new, content).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.write_all(b"\n")?;
    file.sync_all()
}
