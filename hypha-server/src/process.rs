//! Reads the use of memory, files and processor time from the operating system. All functions
//! return `None` on systems other than Linux.

use std::time::Duration;

/// Unit of the times in `/proc`, in ticks per second. The kernel converts these times to this unit
/// for all programs.
const TICKS: u64 = 100;

/// Memory of this process. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProcessMemory {
    /// Physical memory in use.
    pub(crate) resident: u64,
    /// Size of the address space.
    pub(crate) virtual_size: u64,
    /// Memory of the machine that is in use by all processes, in percent.
    pub(crate) machine_percent: f64,
}

/// Returns the memory of this process.
pub(crate) fn memory() -> Option<ProcessMemory> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = kilobytes(&machine, "MemTotal")? as f64;
    let available = kilobytes(&machine, "MemAvailable")? as f64;
    Some(ProcessMemory {
        resident: kilobytes(&status, "VmRSS")? * 1024,
        virtual_size: kilobytes(&status, "VmSize")? * 1024,
        machine_percent: 100.0 * (1.0 - available / total),
    })
}

/// File descriptors of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct OpenFiles {
    /// Number of open file descriptors.
    pub(crate) open: u64,
    /// Soft limit on open file descriptors.
    pub(crate) max: u64,
}

/// Returns the number of file descriptors of this process.
pub(crate) fn open_files() -> Option<OpenFiles> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let max = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    let max = max.split_whitespace().next()?;
    // Newer kernels write the number of files as the size of the folder. Otherwise, the entries are
    // counted; one entry is the folder itself, while it is read.
    let folder = "/proc/self/fd";
    let open = match std::fs::metadata(folder).ok()?.len() {
        0 => std::fs::read_dir(folder)
            .ok()?
            .count()
            .saturating_sub(1)
            .try_into()
            .ok()?,
        size => size,
    };
    Some(OpenFiles {
        open,
        // The word `unlimited` is not a number.
        max: max.parse().unwrap_or(u64::MAX),
    })
}

/// Times of this process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ProcessTime {
    /// Processor time of all threads.
    pub(crate) cpu: Duration,
    /// Time at which the process started, since 1970.
    pub(crate) start: Duration,
}

/// Returns the times of this process.
pub(crate) fn time() -> Option<ProcessTime> {
    let status = std::fs::read_to_string("/proc/self/stat").ok()?;
    let machine = std::fs::read_to_string("/proc/stat").ok()?;
    let boot = machine
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    let [user, system, start] = ticks(&status)?;
    Some(ProcessTime {
        cpu: of_ticks(user + system),
        start: Duration::from_secs(boot.trim().parse().ok()?) + of_ticks(start),
    })
}

/// Returns the times in user mode and in system mode, and the start time, from `/proc/self/stat`.
fn ticks(status: &str) -> Option<[u64; 3]> {
    // The name of the program, the second field, may contain blanks and parentheses. The fields
    // after the name begin with number 3.
    let (_, fields) = status.rsplit_once(')')?;
    let fields: Vec<_> = fields.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse().ok();
    Some([field(14)?, field(15)?, field(22)?])
}

fn of_ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1000 / TICKS))
}

/// Returns the average number of processes that were ready to run in the last 1, 5 and 15 minutes.
pub(crate) fn load_average() -> Option<[f64; 3]> {
    let text = std::fs::read_to_string("/proc/loadavg").ok()?;
    let mut numbers = text.split_whitespace().map(|word| word.parse().ok());
    Some([numbers.next()??, numbers.next()??, numbers.next()??])
}

/// Returns the number in the line `name:  number kB`. The kernel writes 1024 bytes as 1 kB.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_by_name() {
        let text = "VmPeak:\t  10 kB\nVmRSS:\t 2048 kB\nVmRSSx: 1 kB\n";
        assert_eq!(kilobytes(text, "VmRSS"), Some(2048));
        assert_eq!(kilobytes(text, "VmSize"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_memory_of_the_process_is_reported() {
        let memory = memory().unwrap();
        assert!(memory.resident > 1 << 20 && memory.virtual_size >= memory.resident);
        assert!((0.0..=100.0).contains(&memory.machine_percent));
    }

    #[test]
    fn times_are_found_after_the_name_of_the_program() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 9 0 4200 1 1";
        assert_eq!(ticks(stat), Some([150, 50, 4200]));
        assert_eq!(of_ticks(150), Duration::from_millis(1500));
        assert_eq!(ticks("7 (a) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn files_and_times_of_the_process_are_reported() {
        let before = open_files().unwrap();
        let _file = std::fs::File::open("/proc/self/stat").unwrap();
        let after = open_files().unwrap();
        assert!(before.open > 0 && after.open <= after.max, "{after:?}");
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap();
        let time = time().unwrap();
        assert!(time.start < now && time.start > now / 2, "{time:?}");
        assert!(load_average().unwrap()[0] >= 0.0);
    }
}
