//! The program `hypha-server`.

mod original;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, ValueEnum};
use hypha_server::{Builder, Settings, StartError};
use tracing_subscriber::EnvFilter;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Variable with the time in milliseconds for which mimalloc keeps memory that is not used.
#[cfg(all(feature = "mimalloc", unix))]
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// With the default, a second, the process may occupy three times what it uses under load.
#[cfg(all(feature = "mimalloc", unix))]
const PURGE_DELAY_MS: &str = "10";

/// Interval in which unused memory goes back to the system also when nothing happens.
#[cfg(feature = "mimalloc")]
const PURGE_INTERVAL: Duration = Duration::from_secs(1);
/// mimalloc gives a block of this size a page of its own, which it returns when it is dropped.
#[cfg(feature = "mimalloc")]
const OWN_PAGE: usize = 8 * 1024 * 1024;
/// After so many blocks of at least that size mimalloc collects what a thread keeps for itself.
#[cfg(feature = "mimalloc")]
const COLLECTS_AFTER: (usize, usize) = (10_000, 2 * 1024);

/// Time for which a thread for large values waits for the next one. Its memory goes back to the
/// system when it ends.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A Hypha server: Python, JavaScript and Rust programs connect to it and use each other's
/// services.
///
/// Each option can also be set with the environment variable beside it; the command line wins. An
/// empty variable counts as not set. A flag is set by `true`, `1`, `yes`, `y` or `on`.
///
/// The options and variables of the original server are accepted; those without effect are logged.
// Not Debug: it holds secrets.
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// Keep nothing: id, secret and workspaces end with this process.
    #[arg(long, env = "HYPHA_IN_MEMORY", value_parser = BoolishValueParser::new(), help_heading = None)]
    in_memory: bool,
    /// Format of log lines. Default: text.
    #[arg(long, env = "HYPHA_LOG_FORMAT", value_enum, help_heading = None)]
    log_format: LogFormat,
    /// Print the settings as JSON, without secrets, and exit.
    #[arg(long, help_heading = None)]
    print_config: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Cli {
    /// Reads command line and environment. An option that is given nowhere keeps the default of
    /// [`Settings`], which is therefore stated once.
    /// Returns warnings as well.
    fn read() -> (Cli, Vec<String>) {
        let command = without_empty_variables(Cli::command_for_update());
        let (mut command, mut warnings) = original::without_unusable(command, |matches| {
            let cli = Cli::from_matches(matches).map_err(|error| error.to_string())?;
            cli.settings.check().map_err(|error| error.to_string())
        });
        command = original::add_options(command);
        let arguments = original::without_subcommand(std::env::args_os().collect());
        let matches = command.get_matches_from(arguments);
        warnings.extend(original::ignored(&matches, variable));
        let cli = Cli::from_matches(&matches).and_then(|cli| cli.keep_or_not(&matches));
        (cli.unwrap_or_else(|error| error.exit()), warnings)
    }

    /// Chooses between `--in-memory` and `--data-dir`: both on the command line is an error, else
    /// the command line wins.
    fn keep_or_not(mut self, matches: &ArgMatches) -> Result<Cli, clap::Error> {
        let on_command_line = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        if !self.in_memory || self.settings.data_dir.is_none() {
            return Ok(self);
        }
        match (on_command_line("in_memory"), on_command_line("data_dir")) {
            (true, false) => self.settings.data_dir = None,
            (false, true) => self.in_memory = false,
            _ => {
                let kind = clap::error::ErrorKind::ArgumentConflict;
                let text = "--in-memory and --data-dir (or their variables) exclude each other";
                return Err(Cli::command().error(kind, text));
            }
        }
        Ok(self)
    }

    fn from_matches(matches: &ArgMatches) -> Result<Cli, clap::Error> {
        let mut cli = Cli {
            settings: Settings::default(),
            in_memory: false,
            log_format: LogFormat::default(),
            print_config: false,
        };
        cli.update_from_arg_matches(matches)?;
        Ok(cli)
    }

    /// Returns the settings of the server, with the defaults of the program.
    fn into_settings(self) -> Settings {
        let mut settings = self.settings;
        settings.ignore_empty();
        // The original keeps everything in memory then. Ours has a folder for it.
        settings.redis_uri.take_if(|uri| !uri.contains("://"));
        if settings.jwt_secret.is_none() {
            settings.jwt_secret = variable("JWT_SECRET");
        }
        if settings.data_dir.is_none() && !self.in_memory {
            settings.data_dir = default_data_dir(settings.port);
        }
        settings
    }
}

/// Takes the environment variables that are empty away from the arguments of a command: to clap an
/// empty text is a value.
fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        match value {
            Some(value) if value.is_empty() => arg.env(None),
            _ => arg,
        }
    })
}

/// Returns an environment variable that is set and not empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the data folder of a server for which none is set. A server on any free port has none.
fn default_data_dir(port: u16) -> Option<PathBuf> {
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).or_else(|| {
        let home = variable("HOME").map(PathBuf::from)?;
        Some(home.join(".local/share"))
    });
    let folder = data.filter(|_| port != 0)?;
    Some(folder.join("hypha-server").join(port.to_string()))
}

/// Returns the filter for a level in the spelling of Python. Other texts are filters already.
fn filter_of(level: &str) -> &str {
    match level.trim().to_ascii_lowercase().as_str() {
        "critical" | "fatal" | "error" => "error",
        "warning" | "warn" => "warn",
        "info" => "info",
        "debug" => "debug",
        "notset" => "trace",
        _ => level,
    }
}

/// Starts the program anew with the allocator's options in its environment, if they are not there:
/// mimalloc reads them before `main`. The process stays the same.
#[cfg(all(feature = "mimalloc", unix))]
fn set_allocator_options() {
    use std::os::unix::process::CommandExt;
    if std::env::var_os(PURGE_DELAY).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        let mut again = std::process::Command::new(program);
        again
            .arg0(name)
            .args(arguments)
            .env(PURGE_DELAY, PURGE_DELAY_MS);
        // It returns only if it fails; the program runs with the defaults then.
        let _ = again.exec();
    }
}

/// Has mimalloc return unused memory. mimalloc does so only during other calls of a thread, and an
/// idle server makes none.
#[cfg(feature = "mimalloc")]
async fn purge() {
    loop {
        tokio::time::sleep(PURGE_INTERVAL).await;
        // Each task wakes another worker, which collects before it rests again.
        for _ in 0..tokio::runtime::Handle::current().metrics().num_workers() {
            tokio::spawn(tokio::task::yield_now());
        }
        drop(std::hint::black_box(Vec::<u8>::with_capacity(OWN_PAGE)));
    }
}

/// Has mimalloc collect what this thread keeps, unless it has done so just now.
#[cfg(feature = "mimalloc")]
fn collect() {
    use std::cell::Cell;
    use std::time::Instant;
    thread_local! {
        static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    if LAST
        .get()
        .is_some_and(|last| now.duration_since(last) < PURGE_INTERVAL / 2)
    {
        return;
    }
    LAST.set(Some(now));
    let (blocks, bytes) = COLLECTS_AFTER;
    for _ in 0..blocks {
        drop(std::hint::black_box(Vec::<u8>::with_capacity(bytes)));
    }
}

fn main() -> anyhow::Result<()> {
    #[cfg(all(feature = "mimalloc", unix))]
    set_allocator_options();
    // Each connection needs a descriptor, and the usual soft limit is 1024.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_keep_alive(KEEP_ALIVE);
    #[cfg(feature = "mimalloc")]
    runtime.on_thread_park(collect);
    let runtime = runtime.build();
    runtime
        .context("cannot start the runtime")?
        .block_on(run(descriptors))
}

async fn run(descriptors: std::io::Result<u64>) -> anyhow::Result<()> {
    let (cli, warnings) = Cli::read();
    let level = variable("HYPHA_LOGLEVEL").unwrap_or_else(|| "info".into());
    let filter = match variable(EnvFilter::DEFAULT_ENV).map(EnvFilter::try_new) {
        Some(Ok(filter)) => filter,
        _ => EnvFilter::try_new(filter_of(&level)).unwrap_or_else(|_| EnvFilter::new("info")),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    match descriptors {
        Ok(limit) => tracing::debug!(limit, "open files"),
        Err(error) => tracing::warn!(%error, "cannot raise the limit on open files"),
    }
    let print_config = cli.print_config;
    let settings = cli.into_settings();
    let mut stdout = std::io::stdout();
    if print_config {
        settings.check()?;
        writeln!(stdout, "{}", serde_json::to_string_pretty(&settings)?)?;
        return Ok(());
    }
    let mut stop = stop_signal().context("cannot listen for signals")?;
    #[cfg(feature = "mimalloc")]
    tokio::spawn(purge());
    let server = Builder::from(settings).start().await;
    let server = server.map_err(with_advice)?;
    server.count_process_memory();

    // The program that started this one waits for the line.
    writeln!(stdout, "READY {}", server.url())?;
    stdout.flush()?;
    stop.recv().await;
    server.shutdown().await;
    Ok(())
}

/// Adds advice to the reason of a failed start, where there is one.
fn with_advice(error: StartError) -> anyhow::Error {
    let advice = match &error {
        StartError::Store(_) => "use --data-dir for another folder, or --in-memory to keep nothing",
        _ => "the server cannot start",
    };
    anyhow::Error::new(error).context(advice)
}

/// Ctrl-C, and SIGTERM where there is one. Installed before the server starts, so that a signal
/// that comes early is not lost.
struct Stop {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

#[cfg(unix)]
fn stop_signal() -> std::io::Result<Stop> {
    use tokio::signal::unix::{SignalKind, signal};
    Ok(Stop {
        signals: [
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ],
    })
}

#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<Stop> {
    Ok(Stop {})
}

impl Stop {
    #[cfg(unix)]
    async fn recv(&mut self) {
        let [interrupt, terminate] = &mut self.signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }

    #[cfg(not(unix))]
    async fn recv(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Cli {
        let mut command = Cli::command_for_update();
        command = command.mut_args(|arg| arg.env(None));
        let matches = command.try_get_matches_from(arguments).unwrap();
        Cli::from_matches(&matches).unwrap()
    }

    #[test]
    fn options_that_are_not_given_keep_their_defaults() {
        let cli = parse(&["hypha-server"]);
        assert_eq!(cli.settings, Settings::default());
        assert!(!cli.in_memory && !cli.print_config);
    }

    #[test]
    fn every_setting_is_an_option_with_a_variable() {
        let command = Cli::command_for_update();
        let settings = serde_json::to_value(Settings::default()).unwrap();
        let nested = |name: &str| settings[name].as_object().unwrap().len();
        let count = nested("tokens") + nested("limits") + settings.as_object().unwrap().len() - 2;
        let with_variable = command
            .get_arguments()
            .filter(|arg| arg.get_env().is_some());
        // And the two options of the program itself.
        assert_eq!(with_variable.count(), count + 2);
    }

    #[test]
    fn options_set_the_fields_of_the_settings() {
        let cli = parse(&[
            "hypha-server",
            "--host=::1",
            "--port=0",
            "--allow-origins=https://a.example.org,https://b.example.org",
            "--behind-proxy",
            "--idle-timeout=1.5",
            "--messages-per-second=7",
            "--auth0-domain=login.example.org",
        ]);
        let mut expected = Settings::default();
        expected.host = "::1".into();
        expected.port = 0;
        expected.allow_origins = vec![
            "https://a.example.org".into(),
            "https://b.example.org".into(),
        ];
        expected.behind_proxy = true;
        expected.limits.idle_timeout = std::time::Duration::from_millis(1500);
        expected.limits.messages_per_second = 7.0;
        expected.tokens.domain = "login.example.org".into();
        assert_eq!(cli.settings, expected);
    }

    #[test]
    fn levels_are_understood_in_pythons_spelling() {
        for level in [
            "WARNING",
            "INFO",
            "DEBUG",
            "ERROR",
            "CRITICAL",
            "hyper=warn,info",
        ] {
            assert!(EnvFilter::try_new(filter_of(level)).is_ok(), "{level}");
        }
        assert_eq!(filter_of("WARNING"), "warn");
        assert_eq!(filter_of("hyper=warn,info"), "hyper=warn,info");
    }
}
