//! A message in pieces: large binary data stays where it is until a frame is made of it.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// The bytes of a message.
#[derive(Clone, Debug, Default)]
pub struct Rope {
    pieces: Vec<Bytes>,
    len: usize,
    /// Where the first segment ends.
    main: usize,
}

impl Rope {
    /// A message of two segments.
    pub fn message(main: Bytes, extra: Bytes) -> Self {
        let mut rope = Rope {
            main: main.len(),
            ..Rope::default()
        };
        rope.push(main);
        rope.push(extra);
        rope
    }

    pub(super) fn set_main(&mut self, len: usize) {
        self.main = len;
    }

    /// The two segments, each in one piece.
    pub fn segments(&self) -> (Bytes, Bytes) {
        (self.slice(0..self.main), self.slice(self.main..self.len))
    }

    pub(super) fn push(&mut self, piece: Bytes) {
        if !piece.is_empty() {
            self.len += piece.len();
            self.pieces.push(piece);
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The whole message; copied together if it is more than one piece.
    pub fn into_bytes(mut self) -> Bytes {
        if self.pieces.len() == 1 {
            return self.pieces.swap_remove(0);
        }
        self.slice(0..self.len)
    }

    /// A part of the message; copied together if it lies in more than one piece.
    ///
    /// # Panics
    ///
    /// If the range is not inside.
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
                // All the room at once, when the first piece comes.
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
