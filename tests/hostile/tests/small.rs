//! Runs the small form of every attack. Each attack is a test.

use std::path::Path;
use std::process::ExitCode;

use hypha_hostile::runner::{self, Form, HEAD};
use hypha_hostile::scenarios::{SCENARIOS, Scenario};
use libtest_mimic::{Arguments, Failed, Trial};

fn run(scenario: &Scenario) -> Result<(), Failed> {
    let form = Form::small();
    let program = Path::new(env!("CARGO_BIN_EXE_hostile"));
    let report = runner::run(program, scenario, &form).map_err(|error| format!("{error:#}"))?;
    let table = format!(
        "{HEAD}\n{}\n{:?}",
        report.row(&form, scenario),
        report.outcomes
    );
    println!("{table}");
    match report.failures.as_slice() {
        [] => Ok(()),
        failures => Err(format!("{}\n{table}", failures.join("\n")).into()),
    }
}

fn main() -> ExitCode {
    let form = Form::small();
    let small = SCENARIOS.iter().filter(|scenario| form.includes(scenario));
    let tests = small.map(|scenario| Trial::test(scenario.name, move || run(scenario)));
    libtest_mimic::run(&Arguments::from_args(), tests.collect()).exit_code()
}
