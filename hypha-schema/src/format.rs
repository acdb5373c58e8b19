//! Lists the output formats of a description, with their names.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// Output format of a description.
///
/// `Display` writes the lower-case name of the format, such as `openapi`. `FromStr` parses this
/// name.
///
/// ```
/// use hypha_schema::Format;
///
/// assert_eq!("openapi".parse::<Format>(), Ok(Format::OpenApi));
/// assert_eq!(Format::TypeScript.to_string(), "typescript");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// List of functions for language models. See
    /// [`Description::functions`](crate::Description::functions).
    Json,
    /// OpenAPI 3.1. See [`Description::openapi`](crate::Description::openapi).
    OpenApi,
    /// TypeScript declarations. See [`Description::typescript`](crate::Description::typescript).
    TypeScript,
    /// A Python stub file. See [`Description::python`](crate::Description::python).
    Python,
    /// A Rust contract. See [`Description::rust`](crate::Description::rust).
    Rust,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 5] = [
        Format::Json,
        Format::OpenApi,
        Format::TypeScript,
        Format::Python,
        Format::Rust,
    ];

    /// Returns the lower-case name of the format, such as `openapi`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::OpenApi => "openapi",
            Format::TypeScript => "typescript",
            Format::Python => "python",
            Format::Rust => "rust",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Format, UnknownFormat> {
        let found = Format::ALL
            .into_iter()
            .find(|format| format.as_str() == name);
        found.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

/// Error of `Format::from_str` for a string that is not the name of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFormat(String);

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Format::ALL.map(Format::as_str).join(", ");
        write!(f, "unknown format `{}`: expected one of {names}", self.0)
    }
}

impl Error for UnknownFormat {}
