//! Every attack in the size of CI.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use hypha_hostile::runner::{self, Form, HEAD};
use hypha_hostile::scenarios::SCENARIOS;

/// One test, because attacks beside each other would measure each other.
#[test]
#[ignore = "the memory of some attacks varies from run to run; `cargo xtask hostile -- --small`"]
fn no_attack_costs_more_than_its_bar() -> Result<()> {
    let program = Path::new(env!("CARGO_BIN_EXE_hostile"));
    let form = Form::small();
    let begun = Instant::now();
    let mut failures = Vec::new();
    println!("{HEAD}");
    for scenario in SCENARIOS.iter().filter(|s| form.includes(s)) {
        match runner::run(program, scenario, &form) {
            Ok(report) => {
                println!("{}", report.row(&form, scenario));
                let of = |failure: &String| format!("{}: {failure}", scenario.name);
                failures.extend(report.failures.iter().map(of));
            }
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    println!("in all {:.1?}", begun.elapsed());
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}
