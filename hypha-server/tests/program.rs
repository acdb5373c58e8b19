//! The program `hypha-server`, run as a process that prints its settings.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use anyhow::{Context, Result};

/// Variables that the program reads besides those of its options.
const OTHER_VARIABLES: [&str; 3] = ["JWT_SECRET", "HYPHA_LOGLEVEL", "RUST_LOG"];

/// Returns the command without the variables of options that the tests were started with.
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

/// Returns the variable of every option, as the help names it.
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
