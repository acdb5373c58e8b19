//! Runs scenarios one after the other, and judges what they cost.

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

/// A million bytes, the unit of the report.
const MB: u64 = 1_000_000;
/// Longest time until the memory is back.
const RECOVERY: Duration = Duration::from_secs(10);
/// Between two looks at the server.
const POLL: Duration = Duration::from_millis(50);
/// Priority of the attackers: other machines would not take processor time from the server.
const NICE: &str = "19";

/// The size of an attack.
#[derive(Clone, Debug)]
pub struct Form {
    /// Full sizes and numbers, else those of the small form.
    pub full: bool,
    /// Options of the server.
    pub server: Vec<String>,
    /// Bound on the memory of all attacks that are not bounded by one input.
    pub budget: u64,
    /// Memory beyond four times the input that an attack may cost.
    pub slack: u64,
    /// Memory beyond the idle state that a server may keep.
    pub kept: u64,
    /// Longest time until memory is released, whatever the scenario says.
    pub released: Duration,
    /// Time in which the victims are alone.
    pub quiet: Duration,
    /// Time under attack once every connection is in place.
    pub attack: Duration,
    /// Longest time until that.
    pub setup: Duration,
    /// Bounds on the latency of the victims under attack: this multiple of the quiet one, or this
    /// many microseconds if those are more.
    pub latency: (f64, f64),
    /// Longest time of a newcomer.
    pub newcomer: Duration,
}

impl Form {
    /// Default settings, full sizes, 1,000 connections of each kind. Only logins end sooner: by
    /// default their keys are kept for three minutes, for every client.
    ///
    /// Server, victims and attackers share the processors here, whose scheduler alone delays a
    /// thread by some milliseconds.
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

    /// Everything a quarter as large or less, limits included. Latency says little about a debug
    /// build beside other tests.
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
        // Clients over HTTP keep their messages, and logins their keys, until these have passed.
        server.extend(["--stream-grace=1".into(), "--login-time=1".into()]);
        Form {
            full: false,
            server,
            // Buffers and frames on their way are no smaller, nor what the allocator keeps.
            budget: (64 << 20) + 48 * MB,
            // The memory for decoded values is no smaller.
            slack: 48 * MB,
            // The allocator keeps some for each thread, however large the budget is.
            kept: 40 * MB,
            released: RECOVERY,
            quiet: Duration::from_millis(150),
            attack: Duration::from_millis(300),
            // The attackers come after all other tests.
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

    /// The size of an attack.
    #[must_use]
    pub fn size(&self, scenario: &Scenario) -> Size {
        match self.full {
            true => scenario.full,
            false => scenario.small,
        }
    }
}

/// The figures of one scenario.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// Most resident memory beyond the idle state, in bytes.
    pub peak: u64,
    /// The bound on that.
    pub bar: u64,
    /// Most bytes on the accounts of the server.
    pub charged: u64,
    /// Time until the memory is back, once the attackers are gone.
    pub recovery: Option<Duration>,
    /// Time until no memory is charged to them any more.
    pub released: Option<Duration>,
    /// Latency of the victims alone.
    pub quiet: Latency,
    /// Latency of the victims under attack.
    pub attacked: Latency,
    /// Time of a newcomer under attack.
    pub newcomer: Option<Duration>,
    /// The ends of the attempts.
    pub outcomes: BTreeMap<String, usize>,
    /// Bars that do not hold.
    pub failures: Vec<String>,
}

/// The head of the table.
pub const HEAD: &str = "scenario                   conns  peak MB  bar MB  charged MB  back s  freed s  \
                        quiet p50/p99 ms  attack p50/p99 ms  new s";

impl Report {
    /// A line of the table.
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

/// Runs a scenario. `program` is the one that attacks.
pub fn run(program: &Path, scenario: &Scenario, form: &Form) -> Result<Report> {
    let server = Server::start(&form.server)?;
    attack(program, scenario, form, &server)
        .with_context(|| format!("{}\n{}", scenario.name, tail(&server.transcript())))
}

/// The end of a long text.
fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

fn attack(program: &Path, scenario: &Scenario, form: &Form, server: &Server) -> Result<Report> {
    let mut victims = Victims::enter(server)?;
    // Code and buffers that every server needs sooner or later.
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

/// The bars that do not hold.
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
