//! `hypha-schema`: writes down what a service says of itself, for other languages.
//!
//! It is here and not in a package of its own because it is `hypha_rpc::schema::export` and nothing more: who has
//! the library has the command that fits it, with `cargo install hypha-rpc --features cli`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use hypha_rpc::schema::export::{Description, Format};

/// Write down what a service says of itself, for callers in other languages.
#[derive(Parser)]
#[command(name = "hypha-schema", version)]
struct Options {
    /// The service: `id`, `client:id`, `workspace/client:id`
    #[arg(long)]
    service: String,
    /// Where the server is
    #[arg(
        long,
        env = "HYPHA_SERVER_URL",
        default_value = "http://localhost:9527"
    )]
    server_url: String,
    /// Who asks; an anonymous user without it
    #[arg(long, env = "HYPHA_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The workspace to connect to; the user's own without it
    #[arg(long, env = "HYPHA_WORKSPACE")]
    workspace: Option<String>,
    /// One of json (functions for language models), openapi, typescript, python, rust
    #[arg(long, default_value = "json")]
    format: Format,
    /// The file to write, instead of the standard output
    #[arg(long)]
    output: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is to be done where even this cannot be said.
            let _ = writeln!(std::io::stderr(), "hypha-schema: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), String> {
    let mut connect = hypha_rpc::connect(&options.server_url).silent(true);
    if let Some(token) = options.token {
        connect = connect.token(token);
    }
    if let Some(workspace) = options.workspace {
        connect = connect.workspace(workspace);
    }
    let client = connect.await.map_err(|error| error.to_string())?;
    let description = Description::fetch(&client, &options.service).await;
    let text = description
        .map_err(|error| error.to_string())?
        .write(options.format);
    let written = match &options.output {
        Some(path) => {
            std::fs::write(path, text).map_err(|error| (path.display().to_string(), error))
        }
        None => std::io::stdout()
            .write_all(text.as_bytes())
            .map_err(|error| ("the standard output".to_owned(), error)),
    };
    written.map_err(|(place, error)| format!("cannot write {place}: {error}"))?;
    client.disconnect().await;
    Ok(())
}
