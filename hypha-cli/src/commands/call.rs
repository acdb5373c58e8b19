//! `hypha call`: calls a method.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use hypha_rpc::{Client, RemoteFile, RemoteService, RemoteStream, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::callback::Progress;
use crate::connection::ConnectionOptions;
use crate::failure::Failure;
use crate::interrupt::{GRACE, unless_interrupted};
use crate::values::{self, Argument, Parameters, Source};
use crate::{duration, output};

/// Size of a read from a remote file, in bytes.
const PIECE: usize = 256 * 1024;

/// Call a method and print its result
///
/// Each argument is a JSON value, or a string if it is not valid JSON. NAME=VALUE passes an
/// argument by name.
///
/// A value can also come from a file: `@FILE` is the JSON value in a .json file, the array in a
/// .npy file, and the bytes of any other file. A parameter that takes bytes gets the bytes of each
/// file, one that takes a string gets the text, and one that takes an array gets the pixels of a
/// PNG image. `-` is the standard input. `@file:FILE` is a file that the service reads in pieces.
/// `@callback` is a function that prints its arguments and returns nothing. A parameter that the
/// schema declares as such a function gets one automatically.
///
/// The items of a stream are printed as they arrive. Ctrl-C ends the call.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  hypha call calculator.divide 1 b=4
  hypha call lab/microscope-1:camera.snap exposure=0.1 --output image.npy
  hypha call segmenter.run @image.npy sigma=2 on_progress=@callback
  echo '{\"a\": 1}' | hypha call desk.store -")]
pub(crate) struct Options {
    #[command(flatten)]
    connection: ConnectionOptions,
    /// Service and method: `id.method`, `client:id.method` or `workspace/client:id.method`
    #[arg(value_name = "SERVICE.METHOD")]
    target: String,
    /// Arguments of the method, positional arguments first
    #[arg(value_name = "ARGUMENT", allow_negative_numbers = true)]
    arguments: Vec<String>,
    /// Timeout of the call, such as 500ms or 2m. Default: none
    #[arg(long, value_name = "TIME", value_parser = duration::parse)]
    timeout: Option<Duration>,
    /// Print the result as JSON; numeric arrays become lists
    #[arg(long)]
    json: bool,
    /// File for the result: .npy for an array, .json for any value, any other name for bytes or a
    /// string; `-` is the standard output
    #[arg(long, short, value_name = "FILE", conflicts_with = "json")]
    output: Option<PathBuf>,
}

pub(crate) async fn run(options: Options) -> Result<()> {
    let (service, method) = split(&options.target)?;
    let client = options.connection.connect().await?;
    let progress = Progress::new();
    let result = unless_interrupted(call(&client, service, method, &options, &progress)).await;
    progress.finish();
    match result {
        Some(result) => {
            client.disconnect().await;
            result
        }
        None => {
            client.shutdown(GRACE).await;
            Err(Failure::Interrupted.into())
        }
    }
}

/// Splits `SERVICE.METHOD` at the first dot after the last `/` or `:`.
pub(crate) fn split(target: &str) -> Result<(&str, &str)> {
    let name = target.rfind(['/', ':']).map_or(0, |at| at + 1);
    let parts = target[name..].find('.').map(|at| {
        let at = name + at;
        (&target[..at], &target[at + 1..])
    });
    let parts = parts.filter(|(service, method)| service.len() > name && !method.is_empty());
    Ok(parts.ok_or_else(|| {
        Failure::Usage(format!(
            "`{target}` has no method: write SERVICE.METHOD (`hypha describe {target}` lists them)"
        ))
    })?)
}

/// Fetches a service and checks that it has the method.
pub(crate) async fn find(client: &Client, service: &str, method: &str) -> Result<RemoteService> {
    let found = client.get_service(service).await;
    let found = found.with_context(|| format!("cannot find `{service}`"))?;
    if !found.has_method(method) {
        let mut methods: Vec<&str> = found.methods().collect();
        methods.sort_unstable();
        let methods = methods.join(", ");
        let text = format!("`{service}` has no method `{method}` (methods: {methods})");
        return Err(Failure::NotFound(text).into());
    }
    Ok(found)
}

async fn call(
    client: &Client,
    service: &str,
    method: &str,
    options: &Options,
    progress: &Progress,
) -> Result<()> {
    let service = find(client, service, method).await?;
    let schema = service.schema(method).map(|schema| schema.to_json());
    let parameters = Parameters::of(schema.as_ref());
    let arguments = values::parse(&options.arguments, parameters)?;
    let args = encode(arguments, parameters, progress).await?;
    let mut call = service.call::<Value>(method, args);
    if let Some(limit) = options.timeout {
        call = call.timeout(limit);
    }
    let result = call.await?;
    // Check for a stream first, because peers in other languages encode a stream as an object of
    // functions.
    if let Ok(stream) = result.decode_as::<RemoteStream<Value>>() {
        return print_stream(stream, options, progress).await;
    }
    if values::is_file(&result) {
        return download(result.decode_as()?, options).await;
    }
    progress.finish();
    match &options.output {
        Some(path) => values::save(&result, path),
        None if options.json => output::json(&values::json(&result)),
        None => output::say(&for_output(&values::text(&result))),
    }
}

/// Returns a string for the standard output. Removes control characters if the standard output is a
/// terminal.
fn for_output(text: &str) -> std::borrow::Cow<'_, str> {
    if std::io::IsTerminal::is_terminal(&std::io::stdout()) {
        output::clean(text)
    } else {
        text.into()
    }
}

/// Encodes the arguments. Adds a function for each parameter that takes a function without a result
/// and has no argument.
pub(crate) async fn encode(
    arguments: Vec<Argument>,
    parameters: Parameters<'_>,
    progress: &Progress,
) -> Result<hypha_rpc::Args> {
    let positional = arguments
        .iter()
        .filter(|argument| argument.name.is_none())
        .count();
    let given: Vec<String> = arguments.iter().filter_map(|a| a.name.clone()).collect();
    let name_of = |index: usize| parameters.names().nth(index).map(str::to_owned);
    let mut args = hypha_rpc::Args::new(positional, arguments.len() - positional);
    for (index, Argument { name, source }) in arguments.into_iter().enumerate() {
        let label = name.clone().or_else(|| name_of(index));
        let label = label.unwrap_or_else(|| format!("argument {}", index + 1));
        match source {
            Source::Value(value) => push(&mut args, name.as_deref(), &value),
            Source::Callback => {
                let function = Value::from(progress.function(&label));
                push(&mut args, name.as_deref(), &function);
            }
            Source::File(path) => {
                let file = upload(&path).await?;
                push(&mut args, name.as_deref(), &Value::encode_from(&file)?);
            }
        }
    }
    let others = parameters.names().skip(positional);
    for name in others.filter(|name| !given.iter().any(|given| given == name)) {
        if parameters.takes_listener(name) {
            args.push_named(name, &Value::from(progress.function(name)));
        }
    }
    Ok(args)
}

fn push(args: &mut hypha_rpc::Args, name: Option<&str>, value: &Value) {
    match name {
        Some(name) => args.push_named(name, value),
        None => args.push("argument", value),
    }
}

/// Returns a file that a peer can read. A bar shows the progress of the transfer.
async fn upload(path: &Path) -> Result<RemoteFile> {
    let open = || format!("cannot open {}", path.display());
    let file = tokio::fs::File::open(path).await.with_context(open)?;
    let size = file.metadata().await.with_context(open)?.len();
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let bar = Progress::bytes(&name, Some(size));
    Ok(RemoteFile::from_seekable(bar.wrap_async_read(file))
        .named(name)
        .sized(size))
}

async fn download(mut file: RemoteFile, options: &Options) -> Result<()> {
    let Some(path) = &options.output else {
        let name = output::line(file.name().unwrap_or("without a name"));
        let size = file
            .size()
            .map_or(String::new(), |size| format!(", {}", values::size(size)));
        return output::say(&format!("file {name}{size}; `--output FILE` stores it"));
    };
    let bar = Progress::bytes(file.name().unwrap_or_default(), file.size());
    let write = || format!("cannot write {}", path.display());
    let mut out: Box<dyn tokio::io::AsyncWrite + Unpin + Send> = if path.as_os_str() == "-" {
        Box::new(tokio::io::stdout())
    } else {
        Box::new(tokio::fs::File::create(path).await.with_context(write)?)
    };
    let mut piece = vec![0; PIECE];
    loop {
        let len = file
            .read(&mut piece)
            .await
            .context("cannot read the file of the service")?;
        if len == 0 {
            break;
        }
        out.write_all(&piece[..len]).await.with_context(write)?;
        bar.inc(len as u64);
    }
    out.flush().await.with_context(write)?;
    bar.finish_and_clear();
    Ok(())
}

/// Prints or stores the items of a stream as they arrive.
async fn print_stream(
    mut stream: RemoteStream<Value>,
    options: &Options,
    progress: &Progress,
) -> Result<()> {
    let mut out: Box<dyn std::io::Write + Send> = match options.output.as_deref() {
        Some(path) if path.as_os_str() != "-" => {
            let file = std::fs::File::create(path);
            Box::new(file.with_context(|| format!("cannot write {}", path.display()))?)
        }
        _ => Box::new(std::io::stdout()),
    };
    let limit = options
        .timeout
        .map(|limit| tokio::time::Instant::now() + limit);
    loop {
        let next = stream.try_next();
        let item = match limit {
            Some(limit) => {
                let late = || Failure::Late("the stream has not ended within the timeout".into());
                tokio::time::timeout_at(limit, next)
                    .await
                    .map_err(|_| late())??
            }
            None => next.await?,
        };
        let Some(item) = item else {
            return Ok(());
        };
        let line = match (&item, options.json || options.output.is_some()) {
            (Value::Bytes(bytes), true) if !options.json => bytes.to_vec(),
            (item, true) => format!("{}\n", values::json(item)).into_bytes(),
            (item, false) => format!("{}\n", for_output(&values::one_line(item))).into_bytes(),
        };
        progress
            .suspend(|| out.write_all(&line).and_then(|()| out.flush()))
            .context("cannot write an item of the stream")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_split_into_service_and_method() {
        for (target, service, method) in [
            ("desk.add", "desk", "add"),
            ("client.1:desk.camera.snap", "client.1:desk", "camera.snap"),
            ("ws/client.1:desk@app.add", "ws/client.1:desk@app", "add"),
            ("~.list_services", "~", "list_services"),
        ] {
            assert_eq!(split(target).unwrap(), (service, method));
        }
        for target in ["desk", "client.1:desk", "desk.", ".add", "ws/c:.add"] {
            assert!(split(target).is_err(), "{target}");
        }
    }
}
