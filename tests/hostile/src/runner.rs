//! Runs the scenarios one after another, and compares the effects of each with limits.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hypha_rpc_tests::process::Process;

use crate::attack::{OUTCOMES_PREFIX, READY};
use crate::scenarios::{MemoryLimit, Scenario, Size};
use crate::server::Server;
use crate::victims::{Latency, Victims};

/// One million bytes, the unit of the report.
const MB: u64 = 1_000_000;
/// Maximum time after an attack until the memory has returned to the idle state.
const RECOVERY: Duration = Duration::from_secs(10);
/// Interval at which the runner measures the server.
const POLL: Duration = Duration::from_millis(50);
/// Priority (`nice`) of the attackers. The priority is low, because real attackers run on other
/// machines, and do not compete with the server for its processors.
const NICE: &str = "19";

/// Sizes, durations and limits of all attacks.
#[derive(Clone, Debug)]
pub struct Form {
    /// Whether this is the full form. Otherwise this is the small form.
    pub full: bool,
    /// Command-line options of the server.
    pub server: Vec<String>,
    /// Memory limit of attacks with [`MemoryLimit::Budget`], in bytes.
    pub budget: u64,
    /// Additional memory allowed for an attack with [`MemoryLimit::Input`], in bytes.
    pub slack: u64,
    /// Additional memory that the server may use after an attack, compared with the idle state, in
    /// bytes.
    pub kept: u64,
    /// Maximum time until memory is released. If the limit of the scenario is smaller, that limit
    /// applies.
    pub released: Duration,
    /// Duration of the measurement before the attack.
    pub quiet: Duration,
    /// Duration of the attack after every connection has reached its goal.
    pub attack: Duration,
    /// Maximum time until every connection has reached its goal.
    pub setup: Duration,
    /// Maximum latency of the victims under attack. The larger of two values applies: this multiple
    /// of the latency before the attack, and this number of microseconds.
    pub latency: (f64, f64),
    /// Maximum time in which a new client connects, calls the manager and starts a login.
    pub newcomer: Duration,
}

impl Form {
    /// Returns the full form, which has full sizes, 1,000 connections per attack, and the default
    /// settings of the server. The only exception is that logins expire earlier, because by default
    /// the server keeps the keys of logins for three minutes.
    ///
    /// The server, the victims and the attackers share the processors. Therefore scheduling alone
    /// delays a thread by some milliseconds.
    #[must_use]
    pub fn full() -> Form {
        Form {
            full: true,
            server: vec!["--login-time=1".into()],
            budget: 256 << 20,
            slack: 16 * MB,
            kept: 20 * MB,
            released: Duration::ZERO,
            quiet: Duration::from_secs(2),
            attack: Duration::from_secs(4),
            setup: Duration::from_secs(15),
            latency: (3.0, 10_000.0),
            newcomer: Duration::from_secs(5),
        }
    }

    /// Returns the small form, in which sizes and limits are a quarter or less. The limit for the
    /// latency is high, because the latency of a debug build says little while other tests run.
    #[must_use]
    pub fn small() -> Form {
        let limits = [
            ("memory-bytes", 64),
            ("user-memory-bytes", 32),
            ("connection-memory-bytes", 16),
            ("frame-bytes", 4),
        ];
        let mut server = limits
            .map(|(name, mib)| format!("--{name}={}", mib << 20))
            .to_vec();
        // Use short times, because the server keeps messages for HTTP clients and keys of logins
        // until these times have elapsed.
        server.extend(["--stream-grace=1".into(), "--login-time=1".into()]);
        Form {
            full: false,
            server,
            // Buffers, frames in transit and reserves of the allocator need as much memory as in
            // the full form.
            budget: (64 << 20) + 48 * MB,
            // Decoded values need as much memory as in the full form.
            slack: 48 * MB,
            // The allocator keeps memory for each thread. This memory does not depend on the
            // budget.
            kept: 40 * MB,
            released: RECOVERY,
            quiet: Duration::from_millis(150),
            attack: Duration::from_millis(300),
            // The attackers have the lowest priority, so all other tests run before the attackers.
            setup: Duration::from_secs(60),
            latency: (3.0, 30_000_000.0),
            newcomer: Duration::from_secs(20),
        }
    }

    /// Returns whether a scenario belongs to this form.
    #[must_use]
    pub fn includes(&self, scenario: &Scenario) -> bool {
        self.size(scenario).connections > 0
    }

    /// Returns the size of an attack in this form.
    #[must_use]
    pub fn size(&self, scenario: &Scenario) -> Size {
        match self.full {
            true => scenario.full,
            false => scenario.small,
        }
    }
}

/// Measurements of one scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the scenario.
    pub name: &'static str,
    /// Peak of the resident memory, compared with the idle state, in bytes.
    pub peak: u64,
    /// Limit of `peak`, in bytes.
    pub memory_limit: u64,
    /// Peak of the memory that is charged to the server's accounts, in bytes.
    pub charged: u64,
    /// Time from the end of the attack until the memory has returned to the idle state.
    pub recovery: Option<Duration>,
    /// Time from the end of the attack until no memory is charged to the attackers any more.
    pub released: Option<Duration>,
    /// Latency of the victims before the attack.
    pub quiet: Latency,
    /// Latency of the victims under attack.
    pub attacked: Latency,
    /// Time in which a new client connects, calls the manager and starts a login during the attack.
    pub newcomer: Option<Duration>,
    /// Outcomes of the attempts. Each outcome has a count.
    pub outcomes: BTreeMap<String, usize>,
    /// Exceeded limits.
    pub failures: Vec<String>,
}

/// Header of the table.
pub const HEAD: &str = "scenario                   conns  peak MB  limit MB  charged MB  back s  freed s  \
                        quiet p50/p99 ms  attack p50/p99 ms  new s";

impl Report {
    /// Returns the line of the table for this scenario.
    #[must_use]
    pub fn row(&self, form: &Form, scenario: &Scenario) -> String {
        let mb = |bytes: u64| bytes as f64 / MB as f64;
        let seconds = |time: Option<Duration>| match time {
            Some(time) => format!("{:.1}", time.as_secs_f64()),
            None => "never".into(),
        };
        let latency = |l: &Latency| format!("{:.2} / {:.2}", l.median / 1e3, l.p99 / 1e3);
        format!(
            "{:<26} {:>5} {:>8.1} {:>9.0} {:>11.1} {:>7} {:>8}  {:>16}  {:>17}  {:>5}{}",
            self.name,
            form.size(scenario).connections,
            mb(self.peak),
            mb(self.memory_limit),
            mb(self.charged),
            seconds(self.recovery),
            seconds(self.released),
            latency(&self.quiet),
            latency(&self.attacked),
            seconds(self.newcomer),
            if self.failures.is_empty() {
                ""
            } else {
                "  FAILED"
            },
        )
    }
}

/// Runs a scenario. `program` is the path of the attacking program.
pub fn run(program: &Path, scenario: &Scenario, form: &Form) -> Result<Report> {
    let server = Server::start(&form.server)?;
    attack(program, scenario, form, &server)
        .with_context(|| format!("{}\n{}", scenario.name, tail(&server.transcript())))
}

/// Returns the last 30 lines of a string.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn attack(program: &Path, scenario: &Scenario, form: &Form, server: &Server) -> Result<Report> {
    let mut victims = Victims::enter(server)?;
    // Warm up. Every server needs this memory, so the memory must not count as an effect of the
    // attack.
    victims.newcomer(server)?;
    let quiet = victims.measure(|elapsed| Ok(elapsed >= form.quiet))?;
    let idle = server.resident()?;
    let idle_charged = server.metric("memory_used")?;
    server.reset_peak()?;

    let size = form.size(scenario);
    let mut command = Command::new("nice");
    command
        .args(["-n", NICE])
        .arg(program)
        .args(["attack", scenario.name]);
    command.args([
        "--server",
        &server.address.to_string(),
        "--victim",
        &victims.host,
    ]);
    for (option, value) in [
        ("--connections", size.connections),
        ("--bytes", size.bytes),
        ("--addresses", scenario.addresses),
    ] {
        command.arg(option).arg(value.to_string());
    }
    let attackers = Process::start("the attackers", &command)?;
    let mut ready = None;
    let attacked = victims.measure(|elapsed| {
        if ready.is_none() && attackers.stdout().iter().any(|line| line == READY) {
            ready = Some(elapsed);
        }
        let begun = ready.unwrap_or(form.setup).min(form.setup);
        Ok(elapsed >= begun + form.attack)
    })?;
    let newcomer = victims.newcomer(server);
    let peak = server.peak()?.saturating_sub(idle);
    let charged = server.metric("memory_peak")?;
    attackers.terminate()?;
    let outcomes = attackers.wait_for_prefix(form.setup, OUTCOMES_PREFIX)?;
    attackers.wait(form.setup)?;

    let gone = Instant::now();
    let (mut recovery, mut released) = (None, None);
    while (recovery.is_none() || released.is_none()) && gone.elapsed() < RECOVERY {
        if recovery.is_none() && server.resident()? <= idle + form.kept {
            recovery = Some(gone.elapsed());
        }
        if released.is_none() && server.metric("memory_used")? <= idle_charged + MB {
            released = Some(gone.elapsed());
        }
        thread::sleep(POLL);
    }

    let memory_limit = match scenario.memory_limit {
        MemoryLimit::Input => 4 * size.bytes as u64 + form.slack,
        MemoryLimit::Budget => form.budget,
    };
    let mut report = Report {
        name: scenario.name,
        peak,
        memory_limit,
        charged,
        recovery,
        released,
        quiet,
        attacked,
        newcomer: newcomer.as_ref().ok().copied(),
        outcomes: serde_json::from_str(&outcomes)?,
        failures: Vec::new(),
    };
    report.failures = failures(&report, scenario, form);
    if let Err(error) = newcomer {
        report.failures.push(format!("{error:#}"));
    }
    Ok(report)
}

/// Returns a message for each exceeded limit.
fn failures(report: &Report, scenario: &Scenario, form: &Form) -> Vec<String> {
    let mut failures = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            failures.push(what);
        }
    };
    let (peak, limit) = (report.peak, report.memory_limit);
    check(
        peak <= limit,
        format!("peak of {peak} bytes, allowed are {limit}"),
    );
    check(
        report.recovery.is_some(),
        "the memory is not released".into(),
    );
    let released = report
        .released
        .is_some_and(|time| time <= scenario.released.max(form.released));
    check(
        released,
        format!("charged memory is released after {:?}", report.released),
    );
    let (factor, least) = form.latency;
    let bound = (report.quiet.p99 * factor).max(least);
    let p99 = report.attacked.p99;
    let bounded = p99 <= bound || scenario.shares_receiver;
    check(
        bounded,
        format!("p99 of {p99:.0} us, allowed are {bound:.0}"),
    );
    let newcomer = report.newcomer.is_some_and(|time| time <= form.newcomer);
    check(newcomer, format!("a new client took {:?}", report.newcomer));
    let mut outcomes = report.outcomes.keys();
    let expected = outcomes.any(|o| scenario.expect.iter().any(|e| o.contains(e)));
    let outcomes = &report.outcomes;
    check(
        expected,
        format!("none of {:?} among {outcomes:?}", scenario.expect),
    );
    failures
}
