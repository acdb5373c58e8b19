//! Implements the program that `cargo xtask hostile` starts. Runs each attack at full size, and
//! prints a table of the effects.

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use hypha_hostile::attack;
use hypha_hostile::runner::{self, Form, HEAD};
use hypha_hostile::scenarios::{self, SCENARIOS};

/// Attacks a server and prints the effects.
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Role>,
    /// Parts of the names of the scenarios to run. Default: all scenarios.
    scenarios: Vec<String>,
    /// Run the small form, in which sizes and limits are a quarter or less.
    #[arg(long)]
    small: bool,
    /// Print the outcomes of the attempts.
    #[arg(long)]
    outcomes: bool,
}

#[derive(Subcommand)]
enum Role {
    /// Run the attackers of a scenario.
    #[command(hide = true)]
    Attack {
        name: String,
        #[command(flatten)]
        options: attack::Options,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    if let Some(Role::Attack { name, options }) = cli.command {
        let scenario = scenarios::find(&name).context("no such scenario")?;
        return tokio::runtime::Runtime::new()?.block_on(attack::run(scenario.attempt, options));
    }
    let form = if cli.small {
        Form::small()
    } else {
        Form::full()
    };
    let program = std::env::current_exe()?;
    let (mut ran, mut failed) = (0, 0);
    println!("{HEAD}");
    for scenario in SCENARIOS {
        let wanted = cli
            .scenarios
            .iter()
            .any(|word| scenario.name.contains(word));
        if !wanted && !cli.scenarios.is_empty() || !form.includes(scenario) {
            continue;
        }
        ran += 1;
        match runner::run(&program, scenario, &form) {
            Ok(report) => {
                println!("{}", report.row(&form, scenario));
                if cli.outcomes {
                    println!("    {:?}", report.outcomes);
                }
                for failure in &report.failures {
                    println!("    {failure}");
                }
                failed += usize::from(!report.failures.is_empty());
            }
            Err(error) => {
                println!("{:<26} FAILED: {error:#}", scenario.name);
                failed += 1;
            }
        }
    }
    ensure!(ran > 0, "no scenario has a name with these words");
    ensure!(failed == 0, "{failed} of {ran} scenarios failed");
    Ok(())
}
