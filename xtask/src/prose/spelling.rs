//! Checks spelling with `typos`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{perform, root};

/// Version of `typos`. Other versions have other dictionaries.
const VERSION: &str = "1.52.0";

/// Checks the spelling of all files. If `typos` is not yet in the build directory, installs it
/// there from PyPI, which provides a binary. With cargo, the compilation would take minutes.
pub(crate) fn spelling() -> Result<()> {
    let environment = root().join("target").join(format!("typos-{VERSION}"));
    let program = environment.join("bin/typos");
    if !program.exists() {
        install(&environment).context("`typos` cannot be installed")?;
    }
    perform(Command::new(program).current_dir(root()))
}

fn install(environment: &Path) -> Result<()> {
    let mut create = Command::new("python3");
    perform(create.args(["-m", "venv", "--clear"]).arg(environment))?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    perform(pip.arg(format!("typos=={VERSION}")))
}
