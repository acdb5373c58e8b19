//! Accepts the command line and the environment of the Python server, so that deployments of the
//! Python server can start this program unchanged. Contains only the differences between the two
//! servers.

use std::any::TypeId;
use std::borrow::Cow;
use std::time::Duration;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command};

/// Environment variables of the Python server whose values never prevent the start. An invalid
/// value is ignored with a warning.
///
/// The variables may be meant for another program. For example, Kubernetes sets `HYPHA_PORT` to a
/// URL if a service is called `hypha`.
const TOLERATED: [&str; 27] = [
    "HYPHA_PORT",
    "RECONNECTION_TOKEN_LIFE_TIME",
    "MAXIMUM_LOGIN_TIME",
    "HYPHA_WS_IDLE_TIMEOUT",
    "HYPHA_WS_MSG_RATE_LIMIT",
    "HYPHA_WS_MSG_BURST_LIMIT",
    "HYPHA_HTTP_RATE_LIMIT",
    "HYPHA_HTTP_BURST_LIMIT",
    "HYPHA_MAX_CONCURRENT_CONNECTIONS",
    "HYPHA_MAX_CONNECTIONS_PER_USER",
    "HYPHA_MAX_CLIENTS_PER_WORKSPACE",
    "HYPHA_MAX_SERVICES_PER_CLIENT",
    "HYPHA_MAX_WORKSPACES_PER_USER",
    "HYPHA_STREAM_IDLE_THRESHOLD",
    "HYPHA_STREAM_SWEEP_INTERVAL",
    "HYPHA_ORPHAN_REAP_INTERVAL",
    "HYPHA_ORPHAN_REAP_PING_TIMEOUT",
    "HYPHA_WORKSPACE_UNLOAD_GRACE_PERIOD",
    "HYPHA_BEHIND_PROXY",
    "HYPHA_IN_MEMORY",
    "HYPHA_LOG_FORMAT",
    "HYPHA_DISABLE_AGENT_SKILLS",
    "HYPHA_ENABLE_LOCAL_AUTH",
    "HYPHA_VERIFICATION_CODE_TTL",
    "HYPHA_VERIFICATION_MAX_ATTEMPTS",
    "HYPHA_VERIFICATION_RESEND_THROTTLE",
    "HYPHA_VERIFICATION_MAX_PENDING",
];

/// Number of values that an option of the Python server takes.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    Nothing,
    One,
    Any,
}

use Takes::{Any, Nothing, One};

const S3: &str = "this server has no S3 and no artifacts";
const APPS: &str = "this server launches no apps";
const PYTHON: &str = "this server is one binary and loads no Python module: run the function's \
                      module as a program that connects as a client and registers the services, or \
                      embed the server in a Rust program (Builder::startup_service)";
const SEARCH: &str = "this server has no search by meaning";
/// Reason why the options for MCP have no effect. Empty if the MCP gateway is built in, because the
/// gateway is then always on.
const MCP: &str = if cfg!(feature = "mcp") {
    ""
} else {
    "this server was built without the MCP gateway"
};
/// Reason why the options for A2A have no effect. Empty if the A2A gateway is built in, because the
/// gateway is then always on.
const A2A: &str = if cfg!(feature = "a2a") {
    ""
} else {
    "this server was built without the A2A gateway"
};
const SHELL: &str = "this server has no shell";
const CONNECTIONS: &str = "this server needs few connections to Redis, and finds a lost connection \
                           itself";
const STREAMS: &str = "this server closes a stream whose client does not respond to pings; see \
                       HYPHA_STREAM_IDLE_THRESHOLD and HYPHA_STREAM_PING_INTERVAL";
const SERVERS: &str = "this server finds dead servers by their heartbeats, not by calls";

/// Options of the Python server that this server accepts although they have no effect. Each option
/// has the reason for the warning. If the reason is empty, the program logs no warning, because
/// users do not miss the effect of the option. Each option has the environment variable
/// `HYPHA_<NAME>`.
const WITHOUT_EFFECT: [(&str, Takes, &str); 42] = [
    ("from-env", Nothing, ""),
    ("reset-redis", Nothing, "this server clears no Redis"),
    ("triton-servers", One, "this server has no Triton proxy"),
    ("enable-server-apps", Nothing, APPS),
    ("in-docker", Nothing, ""),
    ("enable-s3", Nothing, S3),
    ("enable-s3-proxy", Nothing, S3),
    ("enable-s3-for-anonymous-users", Nothing, S3),
    ("s3-admin-type", One, S3),
    ("s3-cleanup-period", One, S3),
    ("endpoint-url", One, S3),
    ("endpoint-url-public", One, S3),
    ("region-name", One, S3),
    ("access-key-id", One, S3),
    ("secret-access-key", One, S3),
    ("workspace-bucket", One, S3),
    ("start-minio-server", Nothing, S3),
    ("minio-workdir", One, S3),
    ("minio-port", One, S3),
    ("minio-console-port", One, S3),
    ("minio-root-user", One, S3),
    ("minio-root-password", One, S3),
    ("minio-version", One, S3),
    ("mc-version", One, S3),
    ("minio-file-system-mode", Nothing, S3),
    ("executable-path", One, S3),
    ("database-uri", One, S3),
    ("migrate-database", One, S3),
    ("ollama-host", One, SEARCH),
    ("openai-base-url", One, SEARCH),
    ("openai-api-key", One, SEARCH),
    ("cache-dir", One, SEARCH),
    ("enable-service-search", Nothing, SEARCH),
    ("startup-functions", Any, PYTHON),
    ("enable-a2a", Nothing, A2A),
    ("enable-mcp", Nothing, MCP),
    ("enable-k8s-worker", Nothing, APPS),
    ("enable-terminal-worker", Nothing, APPS),
    ("disable-ssl", Nothing, ""),
    ("enable-admin-terminal", Nothing, SHELL),
    ("interactive", Nothing, SHELL),
    ("enable-server", Nothing, ""),
];

/// Environment variables of the Python server without an option of the same name that have no
/// effect here, with the reasons. A variable that takes `Nothing` is a flag.
const VARIABLES_WITHOUT_EFFECT: [(&str, Takes, &str); 60] = [
    ("ACTIVITY_CHECK_INTERVAL", One, APPS),
    ("ALLOW_ORIGINS", One, "set HYPHA_ALLOW_ORIGINS"),
    (
        "HYPHA_ACCESS_LOG",
        Nothing,
        "this server logs no requests; /metrics counts them",
    ),
    ("HYPHA_DISABLE_INPROCESS_BROWSER_WORKER", Nothing, ""),
    (
        "HYPHA_EVENTBUS_MAX_FAILURES",
        One,
        "this server counts as not ready from the first failure",
    ),
    (
        "HYPHA_EXPOSE_DETAILED_ERRORS",
        Nothing,
        "errors of this server contain no tracebacks",
    ),
    ("HYPHA_GIT_MAX_CONCURRENT_PACK_OPS", One, S3),
    ("HYPHA_GIT_PACK_ACQUIRE_TIMEOUT", One, S3),
    ("HYPHA_GIT_PACK_RANGE_CHUNK", One, S3),
    ("HYPHA_GIT_PACK_WHOLE_LOAD_MAX", One, S3),
    ("HYPHA_GIT_STREAM_THRESHOLD", One, S3),
    ("HYPHA_GIT_STREAM_TRIM_INTERVAL", One, S3),
    (
        "HYPHA_HTTP_AUTHENTICATED_BURST_LIMIT",
        One,
        "the burst of a token is ten times HYPHA_HTTP_BURST_LIMIT",
    ),
    (
        "HYPHA_HTTP_AUTHENTICATED_RATE_LIMIT",
        One,
        "the rate of a token is ten times HYPHA_HTTP_RATE_LIMIT",
    ),
    ("HYPHA_K8S_DEFAULT_TIMEOUT", One, APPS),
    ("HYPHA_K8S_IMAGE_PULL_POLICY", One, APPS),
    ("HYPHA_K8S_NAMESPACE", One, APPS),
    (
        "HYPHA_LOGIN_GUARD_INTERVAL",
        One,
        "the login service is a part of this server",
    ),
    (
        "HYPHA_LOGIN_PING_TIMEOUT",
        One,
        "the login service is a part of this server",
    ),
    (
        "HYPHA_MALLOC_TRIM_INTERVAL",
        One,
        "this server returns unused memory every second",
    ),
    ("HYPHA_MAX_BROWSER_SESSIONS", One, APPS),
    ("HYPHA_MAX_TERMINAL_SESSIONS", One, APPS),
    (
        "HYPHA_ORPHAN_REAP_CONCURRENCY",
        One,
        "this server asks one owner after the other",
    ),
    (
        "HYPHA_ORPHAN_REAP_INITIAL_DELAY",
        One,
        "this server begins 5 s after its start",
    ),
    ("HYPHA_REDIS_HEALTH_CHECK_INTERVAL", One, CONNECTIONS),
    ("HYPHA_REDIS_MAX_CONNECTIONS", One, CONNECTIONS),
    ("HYPHA_S3_DISABLE_PROXY", Nothing, S3),
    ("HYPHA_SERVER_CHECK_CONCURRENCY", One, SERVERS),
    ("HYPHA_SERVER_CHECK_DEADLINE", One, SERVERS),
    ("HYPHA_SERVER_CHECK_TIMEOUT", One, SERVERS),
    ("HYPHA_STREAM_MAX_PING_MISSES", One, STREAMS),
    ("HYPHA_STREAM_MAX_QUEUE_DROPS", One, STREAMS),
    ("HYPHA_STREAM_PING_TIMEOUT", One, STREAMS),
    ("PLAYWRIGHT_ACCEPT_DOWNLOADS", One, APPS),
    ("PLAYWRIGHT_BASE_URL", One, APPS),
    ("PLAYWRIGHT_BYPASS_CSP", One, APPS),
    ("PLAYWRIGHT_COLOR_SCHEME", One, APPS),
    ("PLAYWRIGHT_DEVICE_SCALE_FACTOR", One, APPS),
    ("PLAYWRIGHT_DISABLE_WEB_SECURITY", One, APPS),
    ("PLAYWRIGHT_EXTRA_HTTP_HEADERS", One, APPS),
    ("PLAYWRIGHT_GEOLOCATION_ACCURACY", One, APPS),
    ("PLAYWRIGHT_GEOLOCATION_LATITUDE", One, APPS),
    ("PLAYWRIGHT_GEOLOCATION_LONGITUDE", One, APPS),
    ("PLAYWRIGHT_HAS_TOUCH", One, APPS),
    ("PLAYWRIGHT_HTTP_PASSWORD", One, APPS),
    ("PLAYWRIGHT_HTTP_USERNAME", One, APPS),
    ("PLAYWRIGHT_IGNORE_HTTPS_ERRORS", One, APPS),
    ("PLAYWRIGHT_IS_MOBILE", One, APPS),
    ("PLAYWRIGHT_JAVASCRIPT_ENABLED", One, APPS),
    ("PLAYWRIGHT_LOCALE", One, APPS),
    ("PLAYWRIGHT_OFFLINE", One, APPS),
    ("PLAYWRIGHT_PERMISSIONS", One, APPS),
    ("PLAYWRIGHT_REDUCED_MOTION", One, APPS),
    ("PLAYWRIGHT_TIMEZONE_ID", One, APPS),
    ("PLAYWRIGHT_USER_AGENT", One, APPS),
    ("PLAYWRIGHT_VIEWPORT_HEIGHT", One, APPS),
    ("PLAYWRIGHT_VIEWPORT_WIDTH", One, APPS),
    ("TERMINAL_AUTHORIZED_WORKSPACES", One, APPS),
    ("TERMINAL_ENABLE_WEB", One, APPS),
    ("TERMINAL_WORKING_DIR", One, APPS),
];

/// Parses a flag from the environment as the Python server does. Any unknown word means false.
fn is_on(word: &str) -> bool {
    let word = word.trim().to_ascii_lowercase();
    matches!(word.as_str(), "true" | "1" | "yes" | "y" | "on")
}

/// Removes the subcommand `server` of the Python server from the arguments. This program has no
/// subcommands, and always starts a server.
pub(crate) fn without_subcommand(
    mut arguments: Vec<std::ffi::OsString>,
) -> Vec<std::ffi::OsString> {
    if arguments.get(1).is_some_and(|word| word == "server") {
        arguments.remove(1);
    }
    arguments
}

/// Adds to `command` the Python server's options that have no effect here, and hides these options
/// in `--help`.
pub(crate) fn add_options(command: Command) -> Command {
    WITHOUT_EFFECT
        .iter()
        .fold(command, |command, (name, takes, _)| {
            let option = Arg::new(*name).long(*name).hide(true);
            command.arg(match takes {
                Nothing => option.action(ArgAction::SetTrue),
                One => option.action(ArgAction::Set),
                Any => option.action(ArgAction::Append).num_args(0..),
            })
        })
}

/// Returns a warning for each option and each variable of the Python server that is set and has no
/// effect. `variable` looks up an environment variable.
pub(crate) fn ignored(
    matches: &ArgMatches,
    variable: impl Fn(&str) -> Option<String>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    // A variable for a flag counts only if it is true, because deployments set many flags to false.
    let is_set = |name: &str, takes: Takes| {
        variable(name).is_some_and(|value| takes != Nothing || is_on(&value))
    };
    let missed = |(_, _, reason): &&(&str, Takes, &str)| !reason.is_empty();
    for (name, takes, reason) in WITHOUT_EFFECT.iter().filter(missed) {
        let in_environment = format!("HYPHA_{}", name.to_uppercase().replace('-', "_"));
        if matches.value_source(name) == Some(ValueSource::CommandLine) {
            warnings.push(format!("--{name} has no effect: {reason}"));
        } else if is_set(&in_environment, *takes) {
            warnings.push(format!("{in_environment} has no effect: {reason}"));
        }
    }
    for (name, takes, reason) in VARIABLES_WITHOUT_EFFECT.iter().filter(missed) {
        if is_set(name, *takes) {
            warnings.push(format!("{name} has no effect: {reason}"));
        }
    }
    warnings
}

/// Describes the values that an argument accepts, for the warning about a value that cannot be
/// parsed.
fn expected(arg: &Arg) -> Cow<'static, str> {
    let parser = arg.get_value_parser();
    if let Some(values) = parser.possible_values() {
        let values: Vec<_> = values.map(|value| value.get_name().to_owned()).collect();
        return format!("one of {}", values.join(", ")).into();
    }
    let parsed = parser.type_id();
    let is_any = |types: &[TypeId]| types.iter().any(|it| parsed == *it);
    let kind = if is_any(&[TypeId::of::<u16>()]) {
        "a whole number from 0 to 65535"
    } else if is_any(&[
        TypeId::of::<u32>(),
        TypeId::of::<u64>(),
        TypeId::of::<usize>(),
    ]) {
        "a whole number"
    } else if is_any(&[TypeId::of::<f64>()]) {
        "a number"
    } else if is_any(&[TypeId::of::<Duration>()]) {
        "a number of seconds"
    } else if is_any(&[TypeId::of::<bool>()]) {
        "true or false"
    } else {
        "a value that the help describes"
    };
    kind.into()
}

/// Detaches variables with invalid values from the arguments of a command, if the variables are in
/// [`TOLERATED`]. Returns the command, and a warning for each detached variable.
///
/// Tries each variable alone, with all others detached. `check` returns whether the settings are
/// valid with that variable.
pub(crate) fn without_unusable(
    command: Command,
    check: impl Fn(&ArgMatches) -> Result<(), String>,
) -> (Command, Vec<String>) {
    let mut warnings = Vec::new();
    let names: Vec<_> = command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_id().clone(), arg.get_env()?.to_str()?.to_owned())))
        .filter(|(_, name)| TOLERATED.contains(&name.as_str()))
        .filter_map(|(id, name)| Some((id, std::env::var_os(&name)?, name)))
        .collect();
    let mut unusable = Vec::new();
    for (id, value, name) in names {
        let alone = command.clone().mut_args(|arg| match *arg.get_id() == id {
            true => arg,
            false => arg.env(None),
        });
        let expected = alone
            .get_arguments()
            .find(|arg| *arg.get_id() == id)
            .map_or("another value".into(), expected);
        let tried = alone.try_get_matches_from(["hypha-server"]);
        let tried = tried.map_err(|_| format!("expected {expected}"));
        if let Err(reason) = tried.and_then(|matches| check(&matches)) {
            let value = value.to_string_lossy();
            warnings.push(format!("{name}={value} is ignored: {reason}"));
            unusable.push(id);
        }
    }
    let command = command.mut_args(|arg| match unusable.contains(arg.get_id()) {
        true => arg.env(None),
        false => arg,
    });
    (command, warnings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
        let command = add_options(Command::new("hypha-server").arg(Arg::new("port").long("port")));
        let matches = command.try_get_matches_from(arguments).unwrap();
        ignored(&matches, |name| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn options_of_the_python_server_are_accepted_and_reported() {
        let arguments = ["hypha-server", "--from-env", "--in-docker", "--port=1"];
        assert!(given(&arguments, &[]).is_empty());
        let arguments = [
            "hypha-server",
            "--startup-functions",
            "a.py:b",
            "c:d",
            "--enable-s3",
            "--port=1",
        ];
        let warnings = given(
            &arguments,
            &[
                ("HYPHA_ENABLE_K8S_WORKER", "yes"),
                ("HYPHA_ENABLE_TERMINAL_WORKER", "0"),
                ("HYPHA_ACCESS_LOG", "false"),
                ("HYPHA_EXPOSE_DETAILED_ERRORS", "true"),
                ("ACTIVITY_CHECK_INTERVAL", "10"),
            ],
        );
        let starts = [
            "--enable-s3 has",
            "--startup-functions has",
            "HYPHA_ENABLE_K8S_WORKER has",
            "ACTIVITY_CHECK_INTERVAL has",
            "HYPHA_EXPOSE_DETAILED_ERRORS has",
        ];
        assert_eq!(warnings.len(), starts.len(), "{warnings:?}");
        for (warning, start) in warnings.iter().zip(starts) {
            assert!(warning.starts_with(start), "{warning}");
        }
        let words = ["hypha-server", "server", "--port=1"].map(Into::into);
        assert_eq!(
            without_subcommand(words.to_vec()),
            ["hypha-server", "--port=1"]
        );
    }

    #[test]
    fn flags_accept_the_words_of_the_python_server() {
        for word in ["1", "true", "TRUE", "yes", "Y", " on "] {
            assert!(is_on(word), "{word}");
        }
        for word in ["0", "false", "no", "off", "", "2", "nonsense"] {
            assert!(!is_on(word), "{word}");
        }
    }
}
