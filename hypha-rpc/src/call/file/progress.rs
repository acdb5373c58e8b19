//! Progress of transfers.

use parking_lot::Mutex;
use std::fmt;

/// Progress of a file that is transferred, as
/// [`RemoteFile::on_progress`](crate::RemoteFile::on_progress) reports it.
///
/// Displayed as `3 of 10 bytes`, or `3 bytes` if the size is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileProgress {
    /// Bytes transferred so far. Data that is read twice counts twice.
    pub done: u64,
    /// Size of the file in bytes, if its owner published it. `None` after more bytes than the size
    /// were transferred, because the size then does not bound the transfer.
    pub total: Option<u64>,
}

impl fmt::Display for FileProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.total {
            Some(total) => write!(f, "{} of {total} bytes", self.done),
            None => write!(f, "{} bytes", self.done),
        }
    }
}

type Report = Box<dyn FnMut(FileProgress) + Send>;

/// Counts the transferred bytes of a file, if a report function is set.
#[derive(Default)]
pub(super) struct Monitor(Mutex<Option<(FileProgress, Report)>>);

impl Monitor {
    pub(super) fn watch(&self, total: Option<u64>, report: Report) {
        let progress = FileProgress { done: 0, total };
        *self.0.lock() = Some((progress, report));
    }

    /// Changes the size that is reported.
    pub(super) fn resize(&self, total: u64) {
        let mut watched = self.0.lock();
        if let Some((progress, _)) = &mut *watched {
            progress.total = Some(total);
        }
    }

    /// Counts and reports `bytes` more bytes.
    pub(super) fn add(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        // The lock is held during the report, so that reports are in order.
        let mut watched = self.0.lock();
        if let Some((progress, report)) = &mut *watched {
            progress.done += bytes as u64;
            let FileProgress { done, total } = *progress;
            report(FileProgress {
                done,
                total: total.filter(|total| done <= *total),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_file_that_is_read_twice_has_no_total() {
        let reports = Arc::new(Mutex::new(Vec::new()));
        let monitor = Monitor::default();
        let sink = Arc::clone(&reports);
        let report = move |progress: FileProgress| sink.lock().push(progress.to_string());
        monitor.watch(Some(10), Box::new(report));
        for bytes in [4, 6, 1] {
            monitor.add(bytes);
        }
        let expected = ["4 of 10 bytes", "10 of 10 bytes", "11 bytes"];
        assert_eq!(*reports.lock(), expected);
    }
}
