//! Tracks the path of the value that is being decoded, so that the module `buffered` can record
//! the places of values that serde buffers.

use serde::de::Unexpected;

use super::access::key_text;
use super::{Decoder, Token, text};
use crate::values::array::NdArray;
use crate::values::buffered::{self, At, Form, Kind, PathStep};
use crate::values::wrapped::Wrapped;

/// Maximum number of members of a map that are searched for short texts.
const MAX_BESIDE: u32 = 8;
/// Maximum number of bytes of a map that are searched for short texts.
const MAX_BESIDE_BYTES: usize = 256;

/// Maximum length in bytes of the name of a member in a place. Each recorded value has places with
/// its name, so the peer must not choose the length.
const MAX_NAME: usize = 64;
/// Maximum length in bytes of a name in the path of an error.
const MAX_PATH_NAME: usize = 256;

/// Step of the path of a value.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Member {
        /// Position of the first entry of the map.
        map: usize,
        /// Number of members that may be searched for short texts.
        searched: u32,
        /// Position of the key. `None` before the first key.
        key: Option<usize>,
    },
    Index {
        index: usize,
        /// Number of values that were recorded before the list.
        recorded: usize,
    },
}

impl<'de> Decoder<'de> {
    /// Enters a map whose entries come next.
    #[inline]
    pub(super) fn enter_map(&mut self, len: usize, pairs: bool) {
        if self.trail.is_some() {
            let (map, len) = (self.pos, u32::try_from(len).unwrap_or(u32::MAX));
            self.enter_step(Step::Member {
                map,
                searched: if pairs { 0 } else { len.min(MAX_BESIDE) },
                key: None,
            });
        }
    }

    #[inline]
    pub(super) fn enter_list(&mut self) {
        if self.trail.is_some() {
            self.enter_step(Step::Index {
                index: 0,
                recorded: buffered::recorded(),
            });
        }
    }

    /// Adds a step. Most values have no trail, and each type has its own copy of the callers, so
    /// the functions of the trail are kept apart from them.
    #[cold]
    #[inline(never)]
    fn enter_step(&mut self, step: Step) {
        if let Some(trail) = &mut self.trail {
            trail.push(step);
        }
    }

    /// Leaves the innermost list or map.
    #[inline]
    pub(super) fn leave_items(&mut self) {
        if self.trail.is_some() {
            self.leave_step();
        }
    }

    #[cold]
    #[inline(never)]
    fn leave_step(&mut self) {
        if let Some(trail) = &mut self.trail {
            trail.pop();
        }
    }

    #[inline]
    pub(super) fn at_index(&mut self, next: usize) {
        if self.trail.is_some() {
            self.move_to_index(next);
        }
    }

    #[cold]
    #[inline(never)]
    fn move_to_index(&mut self, next: usize) {
        let last = self.trail.as_mut().and_then(|trail| trail.last_mut());
        if let Some(Step::Index { index, recorded }) = last {
            *index = next;
            if !self.is_inside_buffer {
                // serde has accepted the previous item.
                buffered::forget_after(*recorded);
            }
        }
    }

    #[inline]
    pub(super) fn at_key(&mut self, position: usize) {
        if self.trail.is_some() {
            self.move_to_key(position);
        }
    }

    #[cold]
    #[inline(never)]
    fn move_to_key(&mut self, position: usize) {
        let last = self.trail.as_mut().and_then(|trail| trail.last_mut());
        if let Some(Step::Member { key, .. }) = last {
            *key = Some(position);
        }
    }

    /// Records the value at `position`, which begins with `token`. Returns the form to use for it.
    pub(super) fn recorded_form(&self, position: usize, token: &Token<'de>) -> Option<Form> {
        let trail = self.trail.as_deref().unwrap_or_default();
        let shown = match token {
            Token::Nil => Unexpected::Unit,
            Token::Bool(value) => Unexpected::Bool(*value),
            Token::Int(number) => Unexpected::Signed(*number),
            Token::UInt(number) => Unexpected::Unsigned(*number),
            Token::Float(number) => Unexpected::Float(*number),
            Token::Str(value) => Unexpected::Str(text(value).ok()?),
            Token::Bin(bytes) if Wrapped::bytes(bytes).is_some() => Unexpected::NewtypeStruct,
            Token::Bin(bytes) => Unexpected::Bytes(bytes),
            Token::Ext(_) => Unexpected::NewtypeStruct,
            Token::List(_) => Unexpected::Seq,
            Token::Map(_) => Unexpected::Map,
        };
        let kind = match token {
            Token::Bin(_) => Kind::Bytes,
            Token::Map(len) if self.is_scalar(*len) => Kind::Scalar,
            _ => Kind::Other,
        };
        buffered::value_at(&Here::new(self.input, trail, position), shown, kind)
    }

    /// Records an array that begins at `position`. Returns the number of dimensions if the array is
    /// probed.
    pub(super) fn recorded_array(&self, position: usize, array: &NdArray) -> Option<usize> {
        let trail = self.trail.as_deref().unwrap_or_default();
        let here = Here::new(self.input, trail, position);
        buffered::array_at(&here, array.dtype(), array.shape())
    }

    /// Records the key at `position` of the innermost map. Returns the form to use for it.
    pub(super) fn recorded_key_form(&self, position: usize, key: &str) -> Option<Form> {
        let trail = self.trail.as_deref().unwrap_or_default();
        // The last step is a member of the map. The keys belong to the map itself.
        let around = trail.split_last().map_or(trail, |(_, around)| around);
        buffered::key_at(&Here::new(self.input, around, position), key)
    }
}

/// Returns the first characters of a name, which have at most `most` bytes.
fn beginning(name: &[u8], most: usize) -> &str {
    let name = name.get(..most).unwrap_or(name);
    match std::str::from_utf8(name) {
        Ok(name) => name,
        Err(error) => {
            let (valid, _) = name.split_at(error.valid_up_to());
            std::str::from_utf8(valid).unwrap_or_default()
        }
    }
}

/// Place of a value, or of the map that contains a key.
struct Here<'a, 'de> {
    input: &'de [u8],
    /// Steps to the innermost member.
    members: &'a [Step],
    /// Steps from the innermost member to the value.
    indexes: &'a [Step],
    position: usize,
}

impl<'a, 'de> Here<'a, 'de> {
    fn new(input: &'de [u8], trail: &'a [Step], position: usize) -> Self {
        let is_member = |step: &Step| matches!(step, Step::Member { .. });
        let (members, indexes) =
            trail.split_at(trail.iter().rposition(is_member).map_or(0, |at| at + 1));
        Here {
            input,
            members,
            indexes,
            position,
        }
    }

    /// Returns the name of the last member with a key in `steps`, or an empty string.
    fn name_of(&self, steps: &[Step]) -> &'de str {
        let mut members = steps.iter().rev().filter_map(|step| match step {
            Step::Member { key, .. } => *key,
            Step::Index { .. } => None,
        });
        let key = members.next();
        match key.map(|key| Decoder::of_message(self.input, key).token()) {
            Some(Ok(Token::Str(name))) => beginning(name, MAX_NAME),
            _ => "",
        }
    }
}

impl At for Here<'_, '_> {
    fn name(&self) -> &str {
        self.name_of(self.members)
    }

    fn indexes(&self) -> Vec<usize> {
        let indexes = self.indexes.iter().filter_map(|step| match step {
            Step::Index { index, .. } => Some(*index),
            Step::Member { .. } => None,
        });
        indexes.collect()
    }

    fn parent(&self) -> &str {
        match self.members {
            [around @ .., _] => self.name_of(around),
            [] => "",
        }
    }

    fn beside(&self) -> Vec<(&str, &str)> {
        let Some(Step::Member { map, searched, .. }) = self.members.last() else {
            return Vec::new();
        };
        let end = self.input.len().min(map.saturating_add(MAX_BESIDE_BYTES));
        let mut ahead = Decoder::of_message(&self.input[..end], *map);
        let mut beside = Vec::new();
        for _ in 0..*searched {
            let Ok(key) = ahead.key() else {
                break;
            };
            let start = ahead.pos;
            match ahead.token() {
                Ok(Token::Str(value)) => beside.extend(text(value).map(|value| (key, value))),
                Ok(_) => {
                    ahead.pos = start;
                    if ahead.skip().is_err() {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        beside
    }

    fn position(&self) -> usize {
        self.position
    }

    fn path(&self) -> Vec<PathStep> {
        let steps = self.members.iter().chain(self.indexes);
        let steps = steps.filter_map(|step| match step {
            Step::Member { key, .. } => {
                let key = key_text(self.input, (*key)?)?;
                let key = beginning(key.as_bytes(), MAX_PATH_NAME);
                Some(PathStep::Key(key.to_owned()))
            }
            Step::Index { index, .. } => Some(PathStep::Index(*index)),
        });
        steps.collect()
    }
}
