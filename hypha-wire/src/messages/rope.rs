//! [`Rope`]: a message in several buffers, so that large binary data is copied only when a frame
//! needs it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Bytes of a message in several buffers, in order.
///
/// The encoder stores large binary data in separate buffers, so that each byte is copied at most
/// once: into the frame or chunk that is sent.
#[derive(Clone, Debug, Default)]
pub struct Rope {
    /// The buffers, none of which is empty.
    pieces: Vec<Bytes>,
    /// Sum of the lengths of the buffers.
    len: usize,
    /// Length of the first segment, which encryption leaves readable.
    main: usize,
}

impl Rope {
    /// Creates a message from its first and second segment.
    pub fn message(main: Bytes, extra: Bytes) -> Self {
        let mut rope = Rope {
            main: main.len(),
            ..Rope::default()
        };
        rope.push(main);
        rope.push(extra);
        rope
    }

    /// Sets the length of the first segment.
    pub(crate) fn set_main(&mut self, len: usize) {
        self.main = len;
    }

    /// Returns the first and the second segment, each in one buffer. Copies a segment if it is in
    /// several buffers.
    #[must_use]
    pub fn segments(&self) -> (Bytes, Bytes) {
        (self.slice(0..self.main), self.slice(self.main..self.len))
    }

    /// Appends a buffer.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the message has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the whole message in one buffer. Copies only if there are several buffers.
    #[must_use]
    pub fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.swap_remove(0);
        }
        self.slice(0..self.len)
    }

    /// Returns a range of the message in one buffer. Copies the range only if it spans several
    /// buffers.
    ///
    /// # Panics
    ///
    /// Panics if the range is not inside the message.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(range.start <= range.end && range.end <= self.len);
        let (mut start, mut joined) = (0, BytesMut::new());
        for piece in &self.pieces {
            let end = start + piece.len();
            let from = range.start.clamp(start, end) - start;
            let to = range.end.clamp(start, end) - start;
            if to - from == range.len() {
                return piece.slice(from..to);
            }
            if from < to {
                // Reserve here and not before the loop, because a range within one buffer needs no
                // memory.
                if joined.capacity() == 0 {
                    joined.reserve(range.len());
                }
                joined.extend_from_slice(&piece[from..to]);
            }
            start = end;
        }
        joined.freeze()
    }
}

impl From<Bytes> for Rope {
    fn from(bytes: Bytes) -> Self {
        let mut rope = Rope::default();
        rope.push(bytes);
        rope
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rope() -> Rope {
        let mut rope = Rope::default();
        for piece in ["ab", "", "cde", "f"] {
            rope.push(Bytes::from(piece));
        }
        rope
    }

    #[test]
    fn every_slice_is_that_of_the_whole() {
        let whole = b"abcdef";
        for start in 0..=whole.len() {
            for end in start..=whole.len() {
                assert_eq!(rope().slice(start..end), whole[start..end]);
            }
        }
        assert_eq!(rope().into_bytes(), &whole[..]);
        assert_eq!(Rope::default().into_bytes(), &b""[..]);
    }

    #[test]
    fn a_slice_of_one_piece_is_not_copied() {
        let piece = Bytes::from(vec![1; 100]);
        let mut rope = Rope::from(Bytes::from_static(b"head"));
        rope.push(piece.clone());
        let slice = rope.slice(14..54);
        assert_eq!(slice.as_ptr(), piece[10..].as_ptr());
    }
}
