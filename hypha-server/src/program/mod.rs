//! Runs the command line of `hypha-server`, which `hypha serve` runs as well. Reads the options and
//! environment variables, starts a server, and stops the server when a signal arrives.
//!
//! The program prints one line with `READY` and the URL of the server to the standard output. It
//! prints its log to the standard error.

mod original;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::builder::BoolishValueParser;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory, FromArgMatches, Parser, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::{Builder, Settings, StartError};

/// Idle timeout of the threads in the blocking pool, which convert large values. mimalloc returns
/// the memory of a thread only when the thread ends.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A Hypha server: Python, JavaScript and Rust programs connect to it and call each other's
/// services.
///
/// Each option can also be set with the environment variable shown beside it. An option on the
/// command line overrides its variable. An empty variable counts as not set. The values true, 1,
/// yes, y and on set a flag.
///
/// The program accepts the options and variables of the Python server, and logs a warning for
/// options and variables that have no effect.
// Not `Debug`, because the options contain secrets.
#[derive(Parser)]
#[command(
    name = "hypha-server",
    version,
    after_long_help = "Example:\n  hypha-server --host 0.0.0.0 --data-dir /var/lib/hypha"
)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    /// Store nothing on disk: the server's id and secret, workspaces, accounts and revoked tokens
    /// are lost when this process ends.
    #[arg(long, env = "HYPHA_IN_MEMORY", value_parser = BoolishValueParser::new(), help_heading = None)]
    in_memory: bool,
    /// Format of the log, which goes to the standard error. Default: text.
    #[arg(long, env = "HYPHA_LOG_FORMAT", value_enum, help_heading = None)]
    log_format: LogFormat,
    /// Print the settings as JSON, without secrets, and exit.
    #[arg(long, help_heading = None)]
    print_config: bool,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LogFormat {
    /// Text lines.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Cli {
    /// Reads the command line and the environment. Returns the options, and warnings for the log.
    /// Exits if an option is invalid.
    ///
    /// An option that the user does not set keeps the default of [`Settings`]. clap updates a value
    /// that already holds the defaults, so clap needs no defaults of its own.
    fn read(arguments: Vec<OsString>) -> (Cli, Vec<String>) {
        // `hypha serve` passes these two words as the first argument, which is the name of the
        // program.
        let name = arguments
            .first()
            .map(|name| name.to_string_lossy().into_owned());
        let name = name.filter(|name| name.contains(' '));
        let command = without_empty_variables(Cli::command_for_update());
        let (mut command, mut warnings) = original::without_unusable(command, |matches| {
            let cli = Cli::from_matches(matches).map_err(|error| error.to_string())?;
            cli.settings.check().map_err(|error| error.to_string())
        });
        command = original::add_options(command);
        if let Some(name) = name {
            let example = format!("Example:\n  {name} --host 0.0.0.0 --data-dir /var/lib/hypha");
            command = command.bin_name(name).after_long_help(example);
        }
        let arguments = original::without_subcommand(arguments);
        let matches = command.get_matches_from(arguments);
        warnings.extend(original::ignored(&matches, variable));
        let cli = Cli::from_matches(&matches).and_then(|cli| cli.keep_or_not(&matches));
        (cli.unwrap_or_else(|error| error.exit()), warnings)
    }

    /// Resolves the conflict if both `--in-memory` and `--data-dir` are set: an option on the
    /// command line overrides an environment variable.
    ///
    /// # Errors
    ///
    /// Fails if both are on the command line, or both are variables.
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

    /// Returns the defaults, updated with the options that the user has set.
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

    /// Returns the settings of the server. Adds the defaults that only the binary has: the data
    /// folder, and the secret from the variable of the Python server.
    fn into_settings(self) -> Settings {
        let mut settings = self.settings;
        settings.ignore_empty();
        // An invalid value is not an error, because the Python server treats a value that is not a
        // URL as "no Redis".
        settings.redis_uri.take_if(|uri| !uri.contains("://"));
        if settings.jwt_secret.is_none() {
            settings.jwt_secret = variable("JWT_SECRET");
        }
        if settings.data_dir.is_none() && !self.in_memory {
            settings.data_dir = default_data_dir(settings.port);
        }
        settings.console.get_or_insert(cfg!(feature = "console"));
        settings
    }
}

/// Detaches empty environment variables from the arguments of a command, because clap would parse
/// an empty string as a value.
fn without_empty_variables(command: Command) -> Command {
    command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        match value {
            Some(value) if value.is_empty() => arg.env(None),
            _ => arg,
        }
    })
}

/// Returns the value of an environment variable, or `None` if it is not set or empty.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the default data folder of a server with this port. Returns `None` for port 0 (any free
/// port), because the next run would have another port and not find the folder.
fn default_data_dir(port: u16) -> Option<PathBuf> {
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).or_else(|| {
        let home = variable("HOME").map(PathBuf::from)?;
        Some(home.join(".local/share"))
    });
    let folder = data.filter(|_| port != 0)?;
    Some(folder.join("hypha-server").join(port.to_string()))
}

/// Converts a log level of the Python server, such as `warning`, to a log filter. Returns any other
/// string unchanged, because it may already be a filter.
fn filter_of(level: &str) -> &str {
    match level.trim().to_ascii_lowercase().as_str() {
        // `rmcp` logs invalid requests of clients as warnings, and clients that disconnect during a
        // call as errors of its module `service`.
        "warning" | "warn" => "warn,rmcp=error,rmcp::service=off",
        "info" => "info,rmcp=error,rmcp::service=off",
        "error" | "critical" | "fatal" => "error,rmcp::service=off",
        "debug" => "debug",
        "notset" => "trace",
        _ => level,
    }
}

/// Returns the command line of the program, for the help and completions of `hypha serve`.
#[must_use]
pub fn command() -> Command {
    original::add_options(Cli::command_for_update())
}

/// Runs the program with command-line arguments. The first argument is the name of the program.
///
/// `tune` configures the runtime. `started` is called inside the runtime, before the server starts.
///
/// # Errors
///
/// Fails if the server cannot start. Invalid arguments exit the process.
pub fn run(
    arguments: Vec<OsString>,
    tune: impl FnOnce(&mut tokio::runtime::Builder),
    started: impl FnOnce(),
) -> anyhow::Result<()> {
    // The limit on file descriptors is raised: each connection needs a file descriptor, and the
    // usual soft limit is 1024.
    let descriptors = rlimit::increase_nofile_limit(u64::MAX);
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all().thread_keep_alive(KEEP_ALIVE);
    tune(&mut runtime);
    let runtime = runtime.build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let (cli, warnings) = Cli::read(arguments);
        serve(cli, warnings, descriptors, started).await
    })
}

/// Runs the program within the runtime, until a signal stops it.
async fn serve(
    cli: Cli,
    warnings: Vec<String>,
    descriptors: std::io::Result<u64>,
    started: impl FnOnce(),
) -> anyhow::Result<()> {
    let level = variable("HYPHA_LOGLEVEL").unwrap_or_else(|| "info".into());
    // An invalid filter does not prevent the start, because the variables may be set for other
    // programs. The program then uses the default filter.
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
    // The warnings are logged only now, because the format of the log is one of the options.
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
    started();
    let server = Builder::from(settings).start().await;
    let server = server.map_err(with_advice)?;
    server.count_process_memory();

    // The output is flushed immediately, because a parent process waits for the line.
    writeln!(stdout, "READY {}", server.url())?;
    stdout.flush()?;
    stop.recv().await;
    server.shutdown().await;
    Ok(())
}

/// Adds advice to the error of a failed start, if there is advice for this kind of error.
fn with_advice(error: StartError) -> anyhow::Error {
    let advice = match &error {
        StartError::Store(_) => "use another --data-dir, or --in-memory to store nothing",
        _ => "the server cannot start",
    };
    anyhow::Error::new(error).context(advice)
}

/// The signals that stop the program: Ctrl-C, and SIGTERM on Unix. The program installs the
/// handlers before it starts the server, so that an early signal is not lost.
struct Stop {
    #[cfg(unix)]
    signals: [tokio::signal::unix::Signal; 2],
}

/// Installs the handlers of the signals.
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
    /// Waits for one of the signals.
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
        // An error means that the signal handler cannot be installed. The server then stops
        // immediately, because no signal could stop it later.
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
        let nested = nested("tokens") + nested("accounts") + nested("limits");
        let count = nested + settings.as_object().unwrap().len() - 3;
        let with_variable = command
            .get_arguments()
            .filter(|arg| arg.get_env().is_some());
        // The other two variables belong to options of the program, not of `Settings`.
        assert_eq!(with_variable.count(), count + 2);
    }

    #[test]
    #[allow(
        clippy::field_reassign_with_default,
        reason = "programs set the fields like this, because the struct is non-exhaustive"
    )]
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
    fn log_levels_of_python_are_accepted() {
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
        assert_eq!(filter_of("WARNING"), "warn,rmcp=error,rmcp::service=off");
        assert_eq!(filter_of("hyper=warn,info"), "hyper=warn,info");
    }
}
