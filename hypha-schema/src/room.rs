//! Limit on the size of a description.

use std::io;

use serde_json::Value as Json;

/// Bytes that may still be used. Default: unlimited.
#[derive(Debug)]
pub(crate) struct Room {
    left: usize,
    is_exhausted: bool,
}

impl Default for Room {
    fn default() -> Self {
        Room::new(usize::MAX)
    }
}

impl Room {
    pub(crate) fn new(bytes: usize) -> Room {
        Room {
            left: bytes,
            is_exhausted: false,
        }
    }

    /// Takes `bytes`. Returns false if they do not fit; then nothing fits anymore.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes) {
            Some(left) if !self.is_exhausted => self.left = left,
            _ => self.is_exhausted = true,
        }
        !self.is_exhausted
    }

    /// Takes the size of a value as JSON text.
    pub(crate) fn take_json(&mut self, value: &Json) -> bool {
        let mut writer = Taking(self);
        serde_json::to_writer(&mut writer, value).is_ok()
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        self.is_exhausted
    }
}

/// Counts the written bytes. Fails at the first bytes that do not fit.
struct Taking<'a>(&'a mut Room);

impl io::Write for Taking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.0.take(bytes.len()) {
            true => Ok(bytes.len()),
            false => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_fits_after_the_first_refusal() {
        let mut room = Room::new(10);
        assert!(room.take_json(&serde_json::json!({"a": 1})));
        assert!(!room.take_json(&serde_json::json!([1, 2, 3])));
        assert!(room.is_exhausted() && !room.take(0));
        assert!(Room::default().take(usize::MAX));
    }
}
