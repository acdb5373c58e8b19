//! Runs scenarios one after the other, and compares their effects with limits.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hypha_rpc_tests::process::Process;

use crate::attack::{OUTCOMES_PREFIX, READY};
use crate::scenarios::{Bar, Scenario, Size};
use crate::server::Server;
use crate::victims::{Latency, Victims};

/// One million bytes, the unit of the report.
const MB: u64 = 1_000_000;
/// Maximum time until memory has returned to the idle state.
const RECOVERY: Duration = Duration::from_secs(10);
/// Interval of measurements of the server.
const POLL: Duration = Duration::from_millis(50);
/// Priority of the attackers. They must not take processor time from the server, as attackers on
/// other machines would not.
const NICE: &str = "19";

/// Sizes, times and limits of all attacks.
#[derive(Clone, Debug)]
pub struct Form {
    /// Whether sizes and numbers are those of the full form.
    pub full: bool,
    /// Options of the server.
    pub server: Vec<String>,
    /// Limit of memory, in bytes, for attacks whose limit is not the size of an input.
    pub budget: u64,
    /// Memory beyond four times the input that an attack may cost, in bytes.
    pub slack: u64,
    /// Memory beyond the idle state that a server may keep, in bytes.
    pub kept: u64,
    /// Maximum time until memory is released, if that of the scenario is shorter.
    pub released: Duration,
    /// Time in which only the victims run.
    pub quiet: Duration,
    /// Time under attack, once every connection has reached its goal.
    pub attack: Duration,
    /// Maximum time until every connection has reached its goal.
    pub setup: Duration,
    /// Limit of the latency of the victims under attack: this multiple of the latency without
    /// attack, or this number of microseconds, whichever is more.
    pub latency: (f64, f64),
    /// Maximum time of a new client.
    pub newcomer: Duration,
}

impl Form {
    /// Returns the full form: default settings, full sizes, 1,000 connections per attack. Only
    /// logins expire earlier, because by default the server keeps their keys for three minutes.
    ///
    /// Server, victims and attackers share the processors, whose scheduler alone delays a thread by
    /// some milliseconds.
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

    /// Returns the small form: a quarter of all sizes or less, limits included. Latency is not
    /// meaningful for a debug build beside other tests.
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
        // The server keeps messages for clients over HTTP, and keys of logins, until these times
        // have passed.
        server.extend(["--stream-grace=1".into(), "--login-time=1".into()]);
        Form {
            full: false,
            server,
            // Buffers, frames in transit and the reserves of the allocator are not smaller.
            budget: (64 << 20) + 48 * MB,
            // The memory for decoded values is not smaller.
            slack: 48 * MB,
            // The allocator keeps memory for each thread, independent of the budget.
            kept: 40 * MB,
            released: RECOVERY,
            quiet: Duration::from_millis(150),
            attack: Duration::from_millis(300),
            // The attackers have the lowest priority, so all other tests run before them.
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

/// Figures of one scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the scenario.
    pub name: &'static str,
    /// Maximum resident memory beyond the idle state, in bytes.
    pub peak: u64,
    /// Limit of `peak`, in bytes.
    pub bar: u64,
    /// Maximum number of bytes on the accounts of the server.
    pub charged: u64,
    /// Time until memory has returned to the idle state, after the attackers left.
    pub recovery: Option<Duration>,
    /// Time until no memory is charged to the attackers.
    pub released: Option<Duration>,
    /// Latency of the victims without attack.
    pub quiet: Latency,
    /// Latency of the victims under attack.
    pub attacked: Latency,
    /// Time of a new client under attack.
    pub newcomer: Option<Duration>,
    /// Outcomes of the attempts, with their numbers.
    pub outcomes: BTreeMap<String, usize>,
    /// Exceeded limits.
    pub failures: Vec<String>,
}

/// Head of the table.
pub const HEAD: &str = "scenario                   conns  peak MB  bar MB  charged MB  back s  freed s  \
                        quiet p50/p99 ms  attack p50/p99 ms  new s";

impl Report {
    /// Returns a line of the table.
    #[must_use]
    pub fn row(&self, form: &Form, scenario: &Scenario) -> String {
        let mb = |bytes: u64| bytes as f64 / MB as f64;
        let seconds = |time: Option<Duration>| match time {
            Some(time) => format!("{:.1}", time.as_secs_f64()),
            None => "never".into(),
        };
        let latency = |l: &Latency| format!("{:.2} / {:.2}", l.median / 1e3, l.p99 / 1e3);
        format!(
            "{:<26} {:>5} {:>8.1} {:>7.0} {:>11.1} {:>7} {:>8}  {:>16}  {:>17}  {:>5}{}",
            self.name,
            form.size(scenario).connections,
            mb(self.peak),
            mb(self.bar),
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

/// Runs a scenario. `program` is the attacking program.
pub fn run(program: &Path, scenario: &Scenario, form: &Form) -> Result<Report> {
    let server = Server::start(&form.server)?;
    attack(program, scenario, form, &server)
        .with_context(|| format!("{}\n{}", scenario.name, tail(&server.transcript())))
}

/// Returns the end of a long text.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn attack(program: &Path, scenario: &Scenario, form: &Form, server: &Server) -> Result<Report> {
    let mut victims = Victims::enter(server)?;
    // Loads code and buffers that every server needs at some time, so that they do not count.
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

    let bar = match scenario.bar {
        Bar::Input => 4 * size.bytes as u64 + form.slack,
        Bar::Budget => form.budget,
    };
    let mut report = Report {
        name: scenario.name,
        peak,
        bar,
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

/// Returns the exceeded limits.
fn failures(report: &Report, scenario: &Scenario, form: &Form) -> Vec<String> {
    let mut failures = Vec::new();
    let mut check = |holds: bool, what: String| {
        if !holds {
            failures.push(what);
        }
    };
    let (peak, bar) = (report.peak, report.bar);
    check(
        peak <= bar,
        format!("peak of {peak} bytes, allowed are {bar}"),
    );
    check(
        report.recovery.is_some(),
        "the memory does not come back".into(),
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
    check(newcomer, format!("a newcomer took {:?}", report.newcomer));
    let mut outcomes = report.outcomes.keys();
    let expected = outcomes.any(|o| scenario.expect.iter().any(|e| o.contains(e)));
    let outcomes = &report.outcomes;
    check(
        expected,
        format!("none of {:?} among {outcomes:?}", scenario.expect),
    );
    failures
}
