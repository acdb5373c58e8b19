//! Checks spelling with `typos` if it is installed. Otherwise uses a short list of misspellings.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{File, files, paragraphs, report};
use crate::command::{perform, root};

/// Version of `typos` that CI installs. Other versions have other dictionaries.
const VERSION: &str = "1.52.0";

/// Frequent misspellings and their corrections.
const MISSPELLED: [(&str, &str); 16] = [
    ("accross", "across"),
    ("adress", "address"),
    ("arguement", "argument"),
    ("asyncronous", "asynchronous"),
    ("begining", "beginning"),
    ("definately", "definitely"),
    ("dependant", "dependent"),
    ("existant", "existent"),
    ("occured", "occurred"),
    ("publically", "publicly"),
    ("recieve", "receive"),
    ("recieved", "received"),
    ("refered", "referred"),
    ("seperate", "separate"),
    ("succesful", "successful"),
    ("teh", "the"),
];

/// Checks the spelling of all files.
pub(crate) fn spelling() -> Result<()> {
    let program = match installed() {
        Some(program) => Some(program),
        None if std::env::var_os("CI").is_some() => Some(install()?),
        None => None,
    };
    match program {
        Some(program) => perform(Command::new(program).current_dir(root())),
        None => {
            println!(
                "`typos` is not installed, so only a short list is checked: `pip install typos`"
            );
            report(files()?.iter().flat_map(violations))
        }
    }
}

fn installed() -> Option<PathBuf> {
    let own = environment().join("bin/typos");
    [PathBuf::from("typos"), own].into_iter().find(|program| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|version| version.status.success())
    })
}

fn environment() -> PathBuf {
    root().join("target/typos")
}

/// Installs `typos` from PyPI, which provides a binary. With cargo, the compilation would take
/// minutes.
fn install() -> Result<PathBuf> {
    let environment = environment();
    let mut create = Command::new("python3");
    perform(create.args(["-m", "venv", "--clear"]).arg(&environment))?;
    let mut pip = Command::new(environment.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check"]);
    perform(pip.arg(format!("typos=={VERSION}"))).context("`typos` cannot be installed")?;
    Ok(environment.join("bin/typos"))
}

fn violations(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    for paragraph in paragraphs(file) {
        for word in paragraph.text.split(|c: char| !c.is_alphabetic()) {
            let lower = word.to_lowercase();
            for (_, right) in MISSPELLED.iter().filter(|(wrong, _)| lower == *wrong) {
                let (path, line) = (&file.path, paragraph.line);
                found.push(format!("{path}:{line}: `{word}`: write `{right}`"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    #[test]
    fn misspellings_are_reported() {
        let page = file("a.md", "It was\nrecieved. `teh` is code.\n");
        assert_eq!(violations(&page), ["a.md:1: `recieved`: write `received`"]);
    }
}
