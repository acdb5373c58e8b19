//! Splits an input into small numbers and byte strings. A missing part of the input counts as 0 or
//! as an empty string, so every input is valid.

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

    /// Returns an item of `of`. The next byte of the input selects the item.
    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// Reads a length and then that many bytes. Returns the bytes.
    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        // Only a long byte string has a length of two bytes, so that short inputs stay short.
        let len = match self.byte() {
            short @ 0..=0xef => usize::from(short),
            long => usize::from(long & 0x0f) << 8 | usize::from(self.byte()),
        };
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
