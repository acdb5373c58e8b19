//! Implements the command `cargo xtask compile-time`, which measures the compile time of a
//! contract.
//!
//! The command writes a small crate below `target`, first with an empty contract and then with
//! large contracts. The difference between the compile times is the cost of a contract. Run the
//! command on an idle machine.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{cargo, output, root};

/// Options of the measurement.
#[derive(Args)]
pub(crate) struct Options {
    /// Number of methods of the large contract.
    #[arg(long, default_value_t = 50)]
    methods: usize,
    /// Number of times to compile each contract. The fastest compilation counts.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
}

/// Maximum difference between the compile time of a large contract and the compile time of an empty
/// contract.
const LIMIT: Duration = Duration::from_secs(3);

/// Form of the contract: either a trait with an implementation, or an `impl` block.
#[derive(Clone, Copy)]
enum Form {
    Trait,
    Block,
}

/// Compiles an empty contract and large contracts, and prints the differences.
///
/// # Errors
///
/// Returns an error if a difference exceeds [`LIMIT`].
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "`--rounds` must be at least 1");
    let folder = root().join("target/compile-time");
    fs::create_dir_all(folder.join("src"))?;
    fs::write(folder.join("Cargo.toml"), MANIFEST)?;
    fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    let methods = options.methods;
    println!(
        "{methods} methods, the fastest of {} rounds",
        options.rounds
    );
    let mut too_slow = Vec::new();
    for command in ["check", "build"] {
        // Compile the dependencies before the measurement, so that their compile time does not
        // count.
        compile(&folder, command, &source(Form::Trait, 0))?;
        let empty = fastest(&folder, command, Form::Trait, 0, options.rounds)?;
        println!(
            "cargo {command}: {:.2} s with an empty contract",
            empty.as_secs_f64()
        );
        for (form, name) in [(Form::Trait, "a trait"), (Form::Block, "an `impl` block")] {
            let full = fastest(&folder, command, form, methods, options.rounds)?;
            let more = full.saturating_sub(empty);
            println!(
                "cargo {command}: {:.2} s more with {name}",
                more.as_secs_f64()
            );
            if more > LIMIT {
                too_slow.push(format!("{name} ({command})"));
            }
        }
    }
    ensure!(
        too_slow.is_empty(),
        "more than {} s: {}",
        LIMIT.as_secs(),
        too_slow.join(", ")
    );
    Ok(())
}

/// Returns the shortest compile time of several rounds. The shortest time is the best estimate,
/// because other programs can only make a round slower.
fn fastest(
    folder: &Path,
    command: &str,
    form: Form,
    methods: usize,
    rounds: u32,
) -> Result<Duration> {
    let source = source(form, methods);
    let times = (0..rounds).map(|_| compile(folder, command, &source));
    let times = times.collect::<Result<Vec<_>>>()?;
    times.into_iter().min().context("no rounds")
}

/// Writes the source of the crate, and returns the time that cargo needs to compile the crate.
fn compile(folder: &Path, command: &str, source: &str) -> Result<Duration> {
    fs::write(folder.join("src/lib.rs"), source)?;
    let mut cargo = cargo(&[command, "--quiet"]);
    cargo.current_dir(folder);
    // Each round must compile the whole crate, without caches.
    cargo.env("CARGO_INCREMENTAL", "0");
    cargo.env("CARGO_TARGET_DIR", folder.join("target"));
    let start = Instant::now();
    output(&mut cargo)?;
    Ok(start.elapsed())
}

const MANIFEST: &str = r#"# Written by `cargo xtask compile-time`.
[package]
name = "compile-time"
edition = "2024"
publish = false

[workspace]

[dependencies]
hypha-rpc = { path = "../../hypha-rpc" }
schemars = "1"
serde = { version = "1", features = ["derive"] }
thiserror = "2"

[profile.dev]
debug = "line-tables-only"
"#;

/// Source of the types that the contract uses.
const TYPES: &str = r#"//! A contract.

use hypha_rpc::prelude::*;

/// A plate.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Plate {
    pub name: String,
    pub wells: Vec<f64>,
    pub note: Option<String>,
}

/// The errors.
#[derive(Debug, thiserror::Error, Serialize, Deserialize, RemoteError)]
pub enum LabError {
    #[error("busy")]
    Busy,
    #[error("{0} is too large")]
    TooLarge(String),
}

pub struct Desk;
"#;

/// Methods that a contract repeats in turn. Each row contains the source between the name and the
/// body, and the source of the body.
const METHODS: [(&str, &str); 5] = [
    (
        "(&self, a: f64, #[hypha(default = 1.0)] b: f64) -> Result<f64, LabError>",
        "Ok(a / b)",
    ),
    (
        "(&self, ctx: &Context, name: &str) -> String",
        "format!(\"{name} {}\", ctx.from())",
    ),
    (
        "(&self, plate: Plate, scale: Option<f64>) -> Result<Plate, LabError>",
        "let _ = scale; Ok(plate)",
    ),
    (
        "(&self, image: NdArray, sigma: f32) -> NdArray",
        "let _ = sigma; image",
    ),
    (
        "(&self, names: Vec<String>, limit: u32) -> Vec<Plate>",
        "let _ = (names, limit); Vec::new()",
    ),
];

/// Returns the source of a crate that contains a contract.
fn source(form: Form, methods: usize) -> String {
    let mut contract = String::new();
    let mut implementation = String::new();
    for (number, (signature, body)) in METHODS.iter().cycle().take(methods).enumerate() {
        let docs = format!("    /// Does what method {number} does.\n");
        let plain = signature.replace("#[hypha(default = 1.0)] ", "");
        let (contract, implementation) = (&mut contract, &mut implementation);
        // Writing to a string cannot fail.
        let _ = match form {
            Form::Trait => writeln!(contract, "{docs}    async fn method_{number}{signature};")
                .and(writeln!(
                    implementation,
                    "    async fn method_{number}{plain} {{ {body} }}"
                )),
            Form::Block => writeln!(
                contract,
                "{docs}    pub async fn method_{number}{signature} {{ {body} }}"
            ),
        };
    }
    // If nothing created an instance of the service, rustc would not compile the code of the
    // service.
    match form {
        Form::Trait => format!(
            "{TYPES}
/// A laboratory.
#[hypha_service]
pub trait Lab {{\n{contract}}}

impl Lab for Desk {{\n{implementation}}}

pub fn service() -> hypha_rpc::Service {{
    hypha_rpc::service::IntoService::into_service(LabService::new(Desk))
}}
"
        ),
        Form::Block => format!(
            "{TYPES}
/// A laboratory.
#[hypha_service]
impl Desk {{\n{contract}}}

pub fn service() -> hypha_rpc::Service {{
    hypha_rpc::service::IntoService::into_service(Desk)
}}
"
        ),
    }
}
