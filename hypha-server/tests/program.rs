//! Tests the program `hypha-server`. The tests run the program as a process.

mod support;

use std::collections::BTreeSet;
use std::process::{Command, Output};

use anyhow::{Context, Result};

/// Environment variables that the program reads in addition to the variables of its options.
const OTHER_VARIABLES: [&str; 3] = ["JWT_SECRET", "HYPHA_LOGLEVEL", "RUST_LOG"];

/// Returns a command for the program. The program does not inherit the environment variables of its
/// options from the test process.
fn program(variables: &BTreeSet<String>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypha-server"));
    for variable in variables {
        command.env_remove(variable);
    }
    command
}

fn printed(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output()?;
    let errors = String::from_utf8(stderr)?;
    assert!(status.success(), "{command:?}: {errors}");
    Ok(String::from_utf8(stdout)?)
}

/// Returns the environment variables of all options, from the output of `--help`.
fn variables() -> Result<BTreeSet<String>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hypha-server"));
    let help = printed(command.arg("--help"))?;
    let mut names: BTreeSet<String> = OTHER_VARIABLES.map(str::to_owned).into();
    for rest in help.split("[env: ").skip(1) {
        let end = rest.find(['=', ']']).context("an end")?;
        names.insert(rest[..end].to_owned());
    }
    Ok(names)
}

#[test]
fn an_empty_variable_counts_as_not_set() -> Result<()> {
    let variables = variables()?;
    for expected in ["HYPHA_PORT", "HYPHA_IN_MEMORY", "HYPHA_JWKS_URL"] {
        assert!(variables.contains(expected), "{variables:?}");
    }
    let expected = printed(program(&variables).arg("--print-config"))?;
    for variable in &variables {
        let found = printed(program(&variables).arg("--print-config").env(variable, ""))?;
        assert_eq!(found, expected, "{variable}");
    }
    let mut all = program(&variables);
    all.envs(variables.iter().map(|variable| (variable, "")));
    assert_eq!(printed(all.arg("--print-config"))?, expected);
    Ok(())
}

/// Returns the settings and the log that the program prints.
fn settings_with(
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<(serde_json::Value, String)> {
    let mut command = program(&variables()?);
    command.args(arguments).arg("--print-config");
    command.envs(environment.iter().copied());
    let output = command.output()?;
    let log = String::from_utf8(output.stderr)?;
    assert!(
        output.status.success(),
        "{arguments:?} {environment:?}: {log}"
    );
    Ok((serde_json::from_slice(&output.stdout)?, log))
}

#[test]
fn values_of_the_python_server_do_not_prevent_the_start() -> Result<()> {
    for (word, on) in [("1", true), ("yes", true), ("on", true), ("TRUE", true)]
        .into_iter()
        .chain([
            ("0", false),
            ("no", false),
            ("off", false),
            ("perhaps", false),
        ])
    {
        let environment = [("HYPHA_BEHIND_PROXY", word), ("HYPHA_IN_MEMORY", word)];
        let (settings, _) = settings_with(&[], &environment)?;
        assert_eq!(settings["behind_proxy"], on, "{word}");
        assert_eq!(settings["data_dir"].is_null(), on, "{word}");
    }
    let (settings, log) = settings_with(&[], &[("HYPHA_ORPHAN_REAP_INTERVAL", "-1")])?;
    assert_eq!(settings["limits"]["orphan_interval"], 0.0, "{log}");
    for (variable, value, name) in [
        ("HYPHA_PORT", "tcp://10.0.0.1:9527", "/port"),
        ("HYPHA_WS_IDLE_TIMEOUT", "-1", "/limits/idle_timeout"),
        ("HYPHA_WS_IDLE_TIMEOUT", "0", "/limits/idle_timeout"),
        (
            "HYPHA_WS_MSG_RATE_LIMIT",
            "-5",
            "/limits/messages_per_second",
        ),
        (
            "HYPHA_MAX_CONCURRENT_CONNECTIONS",
            "0",
            "/limits/concurrent_handshakes",
        ),
        ("MAXIMUM_LOGIN_TIME", "soon", "/limits/login_time"),
    ] {
        let (settings, log) = settings_with(&[], &[(variable, value)])?;
        let (default, _) = settings_with(&[], &[])?;
        assert_eq!(settings.pointer(name), default.pointer(name), "{variable}");
        assert!(
            log.contains(&format!("{variable}={value} is ignored")),
            "{log}"
        );
    }
    for (variable, value, expected) in [
        ("HYPHA_PORT", "abc", "a whole number from 0 to 65535"),
        ("HYPHA_PORT", "65536", "a whole number from 0 to 65535"),
        ("HYPHA_MAX_SERVICES_PER_CLIENT", "many", "a whole number"),
        ("HYPHA_WS_MSG_RATE_LIMIT", "fast", "a number"),
        ("HYPHA_WS_IDLE_TIMEOUT", "-1", "a number of seconds"),
        ("HYPHA_LOG_FORMAT", "xml", "one of text, json"),
    ] {
        let (_, log) = settings_with(&[], &[(variable, value)])?;
        let warning = format!("{variable}={value} is ignored: expected {expected}\n");
        assert!(log.contains(&warning), "{log}");
    }
    // A short secret is accepted, with a warning.
    settings_with(&[], &[("JWT_SECRET", "short")])?;
    let (_, log) = settings_with(&[], &[("HYPHA_ENABLE_S3", "true")])?;
    assert!(log.contains("HYPHA_ENABLE_S3 has no effect"), "{log}");
    let (_, log) = settings_with(&["server", "--from-env", "--startup-functions", "a:b"], &[])?;
    assert!(log.contains("--startup-functions has no effect"), "{log}");
    Ok(())
}

#[test]
fn options_override_the_environment() -> Result<()> {
    let environment = [
        ("HYPHA_PORT", "7000"),
        ("HYPHA_HOST", "::1"),
        ("HYPHA_JWT_SECRET", "of the environment"),
        ("HYPHA_DATA_DIR", "/nowhere"),
        ("HYPHA_ORPHAN_REAP_INTERVAL", "5"),
    ];
    let arguments = [
        "--port=7001",
        "--host=127.0.0.1",
        "--in-memory",
        "--orphan-interval=-1",
    ];
    let (settings, _) = settings_with(&arguments, &environment)?;
    assert_eq!(settings["port"], 7001);
    assert_eq!(settings["host"], "127.0.0.1");
    assert!(settings["data_dir"].is_null());
    assert_eq!(settings["limits"]["orphan_interval"], 0.0);
    let (settings, _) = settings_with(&["--data-dir=/here"], &[("HYPHA_IN_MEMORY", "1")])?;
    assert_eq!(settings["data_dir"], "/here");
    let both = program(&variables()?)
        .args(["--in-memory", "--data-dir=/here", "--print-config"])
        .output()?;
    assert!(!both.status.success());
    Ok(())
}

/// A server and its data folder. Dropping this value stops the server and deletes the folder.
#[cfg(unix)]
struct Running {
    process: std::process::Child,
    folder: std::path::PathBuf,
    url: String,
}

#[cfg(unix)]
impl Running {
    /// Starts a server that keeps running when a file exceeds the file size limit of the process.
    fn start() -> Result<Running> {
        use std::io::{BufRead, BufReader};
        let folder = std::env::temp_dir().join(format!("hypha-{}", hypha_wire::random_id()));
        let mut command = Command::new("sh");
        command
            .args(["-c", r#"trap "" XFSZ; exec "$0" "$@""#])
            .arg(env!("CARGO_BIN_EXE_hypha-server"))
            .args(["--host", "127.0.0.1", "--port", "0", "--data-dir"])
            .arg(&folder);
        for variable in variables()? {
            command.env_remove(variable);
        }
        let process = command.stderr(std::process::Stdio::piped()).spawn()?;
        let mut running = Running {
            process,
            folder,
            url: String::new(),
        };
        let output = running.process.stderr.take().context("a pipe")?;
        let mut lines = BufReader::new(output).lines();
        let line = lines.by_ref().find(|line| {
            let line = line.as_deref();
            line.is_ok_and(|line| line.contains("listening"))
        });
        let line = line.context("no line contains the address")??;
        let address = line.split("127.0.0.1:").nth(1).context("an address")?;
        let port: String = address.chars().take_while(char::is_ascii_digit).collect();
        running.url = format!("http://127.0.0.1:{port}");
        std::thread::spawn(move || lines.for_each(drop));
        Ok(running)
    }

    /// Sets the maximum file size of the process. Writes beyond this size fail.
    fn limit_files(&self, size: &str) -> Result<()> {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &self.process.id().to_string()]);
        printed(command.arg(format!("--fsize={size}:"))).map(drop)
    }
}

#[cfg(unix)]
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn readiness_reports_whether_changes_can_be_stored() -> Result<()> {
    let server = Running::start()?;
    let readiness = async || -> Result<(u16, String)> {
        let url = format!("{}/health/readiness", server.url);
        let answer = support::http().get(url).send().await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    };
    let client = hypha_rpc::connect(&server.url).await?;
    let manager = client.manager().await?;
    let revoke = async || -> Result<()> {
        let token = manager.generate_token(None).await?;
        Ok(manager.revoke_token(token).await?)
    };
    revoke().await?;
    assert_eq!(readiness().await?.0, 200);

    server.limit_files("0")?;
    let refused = revoke().await.unwrap_err();
    assert!(refused.to_string().contains("disk is full"), "{refused}");
    let (status, text) = readiness().await?;
    assert_eq!(status, 503, "{text}");
    assert!(text.contains("changes cannot be stored"), "{text}");
    // Calls still succeed.
    assert_eq!(manager.ping(client.client_id(), 5.0).await?, "pong");

    server.limit_files("unlimited")?;
    assert_eq!(readiness().await?.0, 200);
    revoke().await
}
