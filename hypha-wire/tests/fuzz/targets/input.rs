//! Splits an input into small numbers and byte strings. Missing parts are 0 or empty, so that every
//! input is valid.

/// Remaining part of an input.
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

    /// Returns one of the items of `of`.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// Returns bytes that are preceded by their length.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        // Only long byte strings have a two-byte length, so that short inputs stay short.
        let len = match self.byte() {
            short @ 0..=0xef => usize::from(short),
            long => usize::from(long & 0x0f) << 8 | usize::from(self.byte()),
        };
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
