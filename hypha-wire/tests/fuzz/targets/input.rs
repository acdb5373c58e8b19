//! Takes an input apart into small numbers and byte strings. Missing ones are 0 or empty, so
//! that every input means something.

/// Rest of an input.
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// One of these.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// Bytes after their length.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        // Two bytes only for long ones, so that short inputs stay short.
        let len = match self.byte() {
            short @ 0..=0xef => usize::from(short),
            long => usize::from(long & 0x0f) << 8 | usize::from(self.byte()),
        };
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
