//! Runs a child process that never outlives the test. The output of the process is stored, and is
//! printed if the test fails.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, thread};

use anyhow::{Context, Result, bail};

/// Shell script that runs `"$@"`. The program is in the process group of the shell.
///
/// A line on standard input makes the script terminate the program. The end of standard input makes
/// the script kill the whole process group. Standard input is a pipe, which the kernel closes when
/// the test process ends for any reason. Therefore no program survives a killed test. This also
/// holds for a server in a `static`, which is never dropped.
const SUPERVISE: &str = r#"
exec 3<&0
"$@" 3<&- </dev/null &
child=$!
{
    while read -r _; do kill -TERM "$child"; done
    kill -KILL 0
} <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$child"
status=$?
kill -KILL "$watcher"
exit "$status"
"#;

/// Prefix of environment variables that the child does not inherit. Such a variable could change
/// the behavior of the child.
const FOREIGN_PREFIX: &str = "HYPHA_";

/// Interval at which to check whether a child has ended.
const POLL: Duration = Duration::from_millis(20);

/// A running program.
pub struct Process {
    name: String,
    child: Mutex<Child>,
    /// Standard input of the shell. The program runs while this pipe is open.
    control: Mutex<Option<ChildStdin>>,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    all: Vec<Line>,
    /// Number of output streams that have ended, at most two.
    ended: usize,
    /// File to which each line is also written.
    copy: Option<File>,
}

struct Line {
    stream: Stream,
    text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = match self.stream {
            Stream::Out => "out",
            Stream::Err => "err",
        };
        write!(f, "{stream}| {}", self.text)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Out,
    Err,
}

impl Process {
    /// Starts `command` with other standard streams and in a new process group. Messages refer to
    /// the process as `name`.
    pub fn start(name: impl Into<String>, command: &Command) -> Result<Process> {
        let name = name.into();
        let mut supervised = Command::new("sh");
        supervised.args(["-c", SUPERVISE, "supervise"]);
        supervised
            .arg(command.get_program())
            .args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            supervised.current_dir(folder);
        }
        for (key, _) in std::env::vars_os() {
            if key.to_string_lossy().starts_with(FOREIGN_PREFIX) {
                supervised.env_remove(key);
            }
        }
        // All connections are local. A proxy could not reach the local servers.
        supervised.env("NO_PROXY", "*").env("no_proxy", "*");
        // The output is shown in logs. Escape sequences for colors would be visible there.
        supervised.env("NO_COLOR", "1");
        for (key, value) in command.get_envs() {
            match value {
                Some(value) => supervised.env(key, value),
                None => supervised.env_remove(key),
            };
        }
        supervised
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Use a separate process group, so that the children of the program are also killed
            // when the test ends.
            .process_group(0);
        let mut child = supervised
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let output = Arc::new(Output::default());
        let control = child.stdin.take();
        if let Some(stream) = child.stdout.take() {
            output.clone().collect(Stream::Out, stream);
        }
        if let Some(stream) = child.stderr.take() {
            output.clone().collect(Stream::Err, stream);
        }
        Ok(Process {
            name,
            child: Mutex::new(child),
            control: Mutex::new(control),
            output,
        })
    }

    /// Waits until `find` returns a value for a line on standard output. Also passes the lines to
    /// `find` that were printed before the call.
    ///
    /// # Errors
    ///
    /// Fails if the program ends or `limit` elapses. The error contains the output of the program.
    pub fn wait_for_line<T>(
        &self,
        limit: Duration,
        mut find: impl FnMut(&str) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + limit;
        let mut seen = 0;
        let mut lines = self.output.lock();
        loop {
            for line in &lines.all[seen..] {
                if line.stream == Stream::Out
                    && let Some(found) = find(&line.text)
                {
                    return Ok(found);
                }
            }
            seen = lines.all.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || lines.ended == 2 {
                let why = if left.is_zero() {
                    "is not ready in time"
                } else {
                    "has ended"
                };
                drop(lines);
                bail!("{} {why}\n{}", self.name, self.transcript(0));
            }
            lines = self
                .output
                .changed
                .wait_timeout(lines, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Waits for a line with this prefix, and returns the rest of the line.
    pub fn wait_for_prefix(&self, limit: Duration, prefix: &str) -> Result<String> {
        self.wait_for_line(limit, |line| {
            line.strip_prefix(prefix).map(|rest| rest.trim().into())
        })
        .with_context(|| format!("waiting for a line {prefix:?}"))
    }

    /// Waits until the program has ended and its output is complete.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.try_wait()? {
                let mut lines = self.output.lock();
                while lines.ended < 2 && Instant::now() < deadline {
                    lines = self
                        .output
                        .changed
                        .wait_timeout(lines, POLL)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0;
                }
                return Ok(status);
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} has not ended in {limit:?}\n{}",
                    self.name,
                    self.transcript(0)
                );
            }
            thread::sleep(POLL);
        }
    }

    /// Returns the process id of the program. The program is a child of the shell.
    pub fn program(&self) -> Result<u32> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let group = child.id();
        let children = std::fs::read_to_string(format!("/proc/{group}/task/{group}/children"))?;
        // The program is the shell's first child.
        let first = children.split_whitespace().next();
        Ok(first.context("the program has ended")?.parse()?)
    }

    /// Returns the exit status if the program has ended, otherwise `None`.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(child.try_wait()?)
    }

    /// Sends SIGTERM to the program. A service manager stops a service in the same way.
    pub fn terminate(&self) -> Result<()> {
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(control) = control.as_mut() else {
            bail!("{} has ended", self.name)
        };
        control.write_all(b"\n")?;
        Ok(control.flush()?)
    }

    /// Writes all output to `file`, including the output before the call.
    pub fn copy_output(&self, file: &Path) -> Result<()> {
        let mut copy = File::create(file)?;
        let mut lines = self.output.lock();
        for line in &lines.all {
            writeln!(copy, "{line}")?;
        }
        lines.copy = Some(copy);
        Ok(())
    }

    /// Returns the lines printed to standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        let lines = self.output.lock();
        let out = lines.all.iter().filter(|line| line.stream == Stream::Out);
        out.map(|line| line.text.clone()).collect()
    }

    /// Returns the number of output lines so far. Pass this number to [`Process::transcript`].
    pub fn mark(&self) -> usize {
        self.output.lock().all.len()
    }

    /// Returns the lines of both output streams that were printed after `mark`, as readable text.
    pub fn transcript(&self, mark: usize) -> String {
        let lines = self.output.lock();
        let mut text = format!("--- output of {} ---\n", self.name);
        for line in lines.all.iter().skip(mark) {
            text.push_str(&format!("{line}\n"));
        }
        text.push_str("---\n");
        text
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread that reads a stream to its end.
    fn collect(self: Arc<Self>, stream: Stream, source: impl Read + Send + 'static) {
        thread::spawn(move || {
            let mut source = BufReader::new(source);
            let mut bytes = Vec::new();
            while matches!(source.read_until(b'\n', &mut bytes), Ok(1..)) {
                let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                bytes.clear();
                let line = Line { stream, text };
                let mut lines = self.lock();
                if let Some(copy) = &mut lines.copy {
                    // Ignore a write error, because the copy is optional.
                    let _ = writeln!(copy, "{line}");
                }
                lines.all.push(line);
                drop(lines);
                self.changed.notify_all();
            }
            self.lock().ended += 1;
            self.changed.notify_all();
        });
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if thread::panicking() {
            eprint!("{}", self.transcript(0));
        }
        // Close standard input, so that the shell kills its process group.
        drop(
            self.control
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = child.wait() {
            eprintln!("{} cannot be waited for: {error}", self.name);
        }
    }
}
