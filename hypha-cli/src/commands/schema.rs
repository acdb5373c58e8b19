//! `hypha schema`: writes a description of a service for callers in other languages.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Args;
use hypha_schema::{Description, Format};

use crate::connection::ConnectionOptions;
use crate::output;

/// Describe a service for callers in other languages
///
/// Writes the method names, types and descriptions of a service in one of several formats. The
/// service may be written in any language.
#[derive(Args)]
#[command(after_long_help = "\
Example:
  hypha schema --server-url https://hypha.example.org --service ws/client:desk \\
      --format typescript --output desk.d.ts")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Service to describe: `id`, `client:id` or `workspace/client:id`
    #[arg(long, value_name = "ID")]
    service: String,
    /// Output format: json (functions for language models), openapi, typescript, python or rust
    #[arg(long, default_value_t = Format::Json)]
    format: Format,
    /// File to write. Default: the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Fetches the service and writes its description. If the format cannot express a method, prints a
/// note to the standard error.
pub(crate) async fn run(options: Options) -> Result<()> {
    let client = options.connection.connect().await?;
    let description = Description::fetch(&client, &options.service).await;
    client.disconnect().await;
    let description =
        description.with_context(|| format!("cannot describe `{}`", options.service))?;
    output::write(
        &description.write(options.format),
        options.output.as_deref(),
    )?;
    for (method, reason) in description.omitted(options.format) {
        eprintln!("`{method}` is omitted: {reason}");
    }
    Ok(())
}
