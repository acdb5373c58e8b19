//! Reads the memory of the process from the operating system.

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

/// Returns the memory of this process, or `None` on systems other than Linux.
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
}
