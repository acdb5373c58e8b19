//! Decoder: msgpack to any `Deserialize` type. Strings and bytes borrow from the frame.
//!
//! The input is not trusted: no bytes cause a panic, no memory is reserved for a declared length
//! before the bytes have arrived, and the nesting and the memory of the decoded values are limited.
//!
//! The submodules are parts of the deserializer: `access` visits lists, maps and variants, `key`
//! decodes the keys of maps, `tagged` accepts typed values where plain values are expected, and
//! `elements` and `arrays` visit arrays. The memory of a value is charged before its visitor
//! creates it.

mod access;
pub(super) mod arrays;
pub(super) mod elements;
mod key;
mod place;
mod tagged;

use std::sync::Arc;

use rmp::Marker;
use serde::de::value::{BorrowedBytesDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserialize, Deserializer as _, Visitor};

use super::buffered::{self, Form};
pub(super) use super::decode_error::DecodeError;
use super::memory::{self, Meter};
use super::scope::{Origin, Scope};
use super::search;
use super::time_type::Time;
use super::value::Handle;
use super::wrapped::{Wrapped, is_buffer};
use crate::{MAX_DEPTH, keys};
use access::{Bytes, List, Map, Variant};
use place::Step;

/// Maximum number of items of a list or map for which memory is reserved in advance. Otherwise, in
/// nested lists, each level could reserve memory for as many items as the frame has bytes.
const MAX_RESERVED: usize = 4096;

/// Maximum number of bytes that become a list in serde's buffer.
const MAX_BYTES_OF_LIST: usize = 64 << 10;

/// Bytes that an allocation occupies in addition to its content. An estimate, because allocators
/// differ.
const ALLOCATION: usize = 16;
/// Bytes that a map occupies in addition to its entries: its structure and the smallest table. An
/// estimate, because types of maps differ.
const MAP: usize = 80;
/// Bytes that a map entry occupies in addition to key and value: hash, index and unused slots.
const MAP_ENTRY: usize = 16;

/// Decodes the single value in `bytes`.
///
/// Strings and byte slices in `T` borrow from `bytes`; a [`Binary`](crate::Binary) shares its
/// memory.
///
/// # Errors
///
/// Returns an error with the path if `bytes` is not valid msgpack, has bytes after the value, is
/// nested more than [`MAX_DEPTH`] levels deep, or is not a `T`.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de bytes::Bytes) -> Result<T, DecodeError> {
    from_span(bytes, 0, bytes.len(), usize::MAX)
}

/// Decodes the single value in `bytes`, like [`from_slice`], with a maximum memory of `limit`
/// bytes, or twice its length if that is more.
///
/// # Errors
///
/// Returns the errors of [`from_slice`], and an error if the value needs more memory.
pub fn from_slice_within<'de, T: Deserialize<'de>>(
    bytes: &'de bytes::Bytes,
    limit: usize,
) -> Result<T, DecodeError> {
    let limit = Meter::new(limit, bytes.len()).limit();
    from_span(bytes, 0, bytes.len(), limit)
}

/// Decodes the single value in `frame[start..end]`, in the current scope. Its memory is limited to
/// `limit` bytes, or to the limit of the scope if that is less.
pub(crate) fn from_span<'de, T: Deserialize<'de>>(
    frame: &'de bytes::Bytes,
    start: usize,
    end: usize,
    limit: usize,
) -> Result<T, DecodeError> {
    let (_scope, limit) = Scope::inside(frame, limit);
    decode(|| Ok(Decoder::of_span(frame, start, end)?.within(limit)))
}

/// Decodes a value that has not left this process, with handles from `table`.
pub(crate) fn from_local<T: de::DeserializeOwned>(
    frame: &bytes::Bytes,
    table: &Arc<[Handle]>,
) -> Result<T, DecodeError> {
    let _scope = Scope::enter(frame, None, table, usize::MAX);
    decode(|| Ok(Decoder::new(frame)))
}

/// Decodes the single value in `frame[start..end]`, with handles from `origin` and `table`.
pub(crate) fn from_origin<'de, T: Deserialize<'de>>(
    frame: &'de bytes::Bytes,
    start: usize,
    end: usize,
    origin: Option<&Origin>,
    table: &Arc<[Handle]>,
    meter: &'de Meter,
) -> Result<T, DecodeError> {
    let _scope = Scope::enter(frame, origin, table, meter.limit());
    decode(|| Ok(Decoder::of_span(frame, start, end)?.metered(meter)))
}

fn decode<'de, T: Deserialize<'de>>(
    decoder: impl Fn() -> Result<Decoder<'de>, DecodeError>,
) -> Result<T, DecodeError> {
    let mut reported = 0;
    search::decode(|is_kept| {
        let mut decoder = decoder()?;
        decoder.trail = buffered::is_watching().then(Vec::new);
        let value = T::deserialize(&mut decoder);
        decoder.end(value.is_ok(), is_kept, &mut reported)?;
        value
    })
}

/// Returns the length of the first value in `bytes`. Other bytes may follow.
///
/// # Errors
///
/// Returns an error if the value is not complete, valid msgpack.
pub fn skip(bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut decoder = Decoder::new(bytes);
    decoder.skip()?;
    Ok(decoder.pos)
}

/// Returns whether the next value is a string.
pub(crate) fn is_string(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|&byte| is_string_marker(byte))
}

fn is_string_marker(byte: u8) -> bool {
    matches!(byte, 0xa0..=0xbf | 0xd9..=0xdb)
}

/// Returns the characters of a string.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, DecodeError> {
    std::str::from_utf8(bytes).map_err(|_| DecodeError::new("a string is not valid UTF-8"))
}

fn truncated() -> DecodeError {
    DecodeError::new("the bytes end inside a value")
}

/// Scalar, or head of a list or map.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Token<'de> {
    Nil,
    Bool(bool),
    /// Negative integer. Non-negative integers are [`Token::UInt`].
    Int(i64),
    UInt(u64),
    Float(f64),
    /// String that may not be UTF-8. The check happens later, so that the decoder can skip a long
    /// string without reading it.
    Str(&'de [u8]),
    Bin(&'de [u8]),
    /// Extension value: the type byte, then the data.
    Ext(&'de [u8]),
    List(u32),
    Map(u32),
}

impl Token<'_> {
    /// Returns the name of the kind of value, as used in error messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::UInt(_) => "integer",
            Self::Float(_) => "float",
            Self::Str(_) => "string",
            Self::Bin(_) => "bytes",
            Self::Ext(_) => "extension",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// Returns whether the token may be a `Duration` or `SystemTime`.
    fn is_time(&self) -> bool {
        matches!(
            self,
            Self::Int(_) | Self::UInt(_) | Self::Float(_) | Self::Ext(_)
        )
    }

    /// Converts a float without a fraction to an integer, because JavaScript has a single type for
    /// both, and a peer may send an integer as a float. Leaves other tokens unchanged.
    fn whole(self) -> Self {
        match self {
            // The bounds are exact as floats. The upper bounds are the first floats that do not
            // fit, so the casts are lossless.
            Self::Float(value) if value.fract() != 0.0 => self,
            Self::Float(value) if (-(2f64.powi(63))..0.0).contains(&value) => {
                Self::Int(value as i64)
            }
            Self::Float(value) if (0.0..2f64.powi(64)).contains(&value) => Self::UInt(value as u64),
            other => other,
        }
    }
}

/// Decoder of the values in `input`.
pub(crate) struct Decoder<'de> {
    input: &'de [u8],
    /// Position of the next byte.
    pub(crate) pos: usize,
    /// Number of further lists and maps that may be nested.
    depth_left: usize,
    /// Number of levels on which a tag may still follow other keys of its map.
    late_tags_left: usize,
    /// Bytes that values may occupy until the decoder must request more from `meter`.
    memory_left: usize,
    /// Bytes that the values may occupy in total, for the error message.
    memory_limit: usize,
    /// Memory limit of the message. If `None`, `memory_left` is final.
    meter: Option<&'de Meter>,
    /// Bytes that the decoder had at the start, plus the bytes granted since.
    memory_given: usize,
    /// Size in bytes of the slot for the next value. The slot is charged together with its list or
    /// map. A larger value must be behind a pointer, such as a `Box`, so its own memory is charged
    /// in addition.
    place: usize,
    /// Path of the value that is being decoded, if the module `buffered` records places.
    trail: Option<Vec<Step>>,
    /// Whether serde puts an outer value into a buffer. The decoder sets this field only if there
    /// is a trail.
    is_inside_buffer: bool,
    /// Whether a value was decoded without knowledge of its type.
    is_buffered: bool,
}

/// Place where the items of a list or the entries of a map are stored. It determines the charged
/// memory.
#[derive(Clone, Copy, PartialEq)]
enum Items {
    /// In a separate allocation, like the items of a `Vec`.
    Apart,
    /// In the value itself, like the fields of a struct.
    Inline,
}

impl<'de> Decoder<'de> {
    fn new(input: &'de [u8]) -> Self {
        Self {
            input,
            pos: 0,
            depth_left: MAX_DEPTH,
            late_tags_left: tagged::MAX_LATE_TAGS,
            memory_left: usize::MAX,
            memory_limit: usize::MAX,
            meter: None,
            memory_given: usize::MAX,
            place: usize::MAX,
            trail: None,
            is_inside_buffer: false,
            is_buffered: false,
        }
    }

    /// Limits the memory of the values.
    fn within(mut self, limit: usize) -> Self {
        self.memory_left = limit;
        self.memory_given = limit;
        self.memory_limit = limit;
        self
    }

    /// Takes memory for the values from `meter`. Call [`finish`](Self::finish) after decoding.
    pub(crate) fn metered(mut self, meter: &'de Meter) -> Self {
        self.memory_left = meter.spare();
        self.memory_given = self.memory_left;
        self.memory_limit = meter.limit();
        self.meter = Some(meter);
        self
    }

    /// Reports to the meter the memory that the values occupy. Must also be called after an error,
    /// because a peer could otherwise retry without being charged.
    pub(crate) fn finish(&self) {
        self.report(&mut 0);
    }

    /// Reports the memory in excess of `reported`, which is the memory of earlier attempts to
    /// decode the same value. Only one of these values is kept.
    fn report(&self, reported: &mut usize) {
        if let Some(meter) = self.meter {
            let occupied = self.memory_given - self.memory_left;
            meter.occupied(occupied.saturating_sub(*reported));
            *reported = occupied.max(*reported);
        }
    }

    /// Reports the memory after the last value. If the value was decoded, checks that no more bytes
    /// follow.
    fn end(&self, decoded: bool, is_kept: bool, reported: &mut usize) -> Result<(), DecodeError> {
        // The memory of failed attempts to decode a buffered value does not count.
        if is_kept && (decoded || !self.is_buffered) {
            self.report(reported);
        }
        match self.remaining() {
            extra if decoded && extra > 0 => Err(DecodeError::new(format!(
                "{extra} more bytes after the value"
            ))),
            _ => Ok(()),
        }
    }

    /// Takes `bytes` of memory for a value. Fails if the message may not occupy that much.
    #[inline]
    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        match self.memory_left.checked_sub(bytes) {
            Some(left) => {
                self.memory_left = left;
                Ok(())
            }
            None => self.charge_more(bytes),
        }
    }

    /// Requests more memory from the meter. Cold, so that [`charge`](Self::charge) is inlined as a
    /// single subtraction.
    #[cold]
    fn charge_more(&mut self, bytes: usize) -> Result<(), DecodeError> {
        let missing = bytes - self.memory_left;
        let granted = match self.meter {
            Some(meter) => meter.grant(missing)?,
            None => return Err(memory::over(self.memory_limit)),
        };
        self.memory_given = self.memory_given.saturating_add(granted);
        self.memory_left = granted - missing;
        Ok(())
    }

    /// Takes memory for a value of type `T` if that is larger than its slot.
    #[inline]
    fn charge_boxed<T>(&mut self) -> Result<(), DecodeError> {
        let size = size_of::<T>();
        if size > self.place {
            self.charge(size + ALLOCATION)?;
        }
        Ok(())
    }

    /// Creates a decoder of the single value in `input[start..end]`.
    pub(crate) fn of_span(input: &'de [u8], start: usize, end: usize) -> Result<Self, DecodeError> {
        Ok(Self::new(input.get(start..end).ok_or_else(truncated)?))
    }

    /// Creates a decoder of a message, starting at `start`. Positions count from the beginning of
    /// `input`.
    ///
    /// Allows three levels more than [`MAX_DEPTH`]: the second segment, the list of arguments and
    /// the keyword map contain the arguments, each of which may use the whole depth.
    pub(crate) fn of_message(input: &'de [u8], start: usize) -> Self {
        Self {
            pos: start,
            depth_left: MAX_DEPTH + 3,
            ..Self::new(input)
        }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.input.len().saturating_sub(self.pos)
    }

    fn peek(&self) -> Result<u8, DecodeError> {
        self.input.get(self.pos).copied().ok_or_else(truncated)
    }

    /// Returns the next `len` bytes.
    fn take(&mut self, len: usize) -> Result<&'de [u8], DecodeError> {
        let rest = self.input.get(self.pos..).ok_or_else(truncated)?;
        let taken = rest.get(..len).ok_or_else(truncated)?;
        self.pos += len;
        Ok(taken)
    }

    /// Returns the next `N` bytes.
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = self.input.get(self.pos..).ok_or_else(truncated)?;
        let taken = rest.first_chunk().ok_or_else(truncated)?;
        self.pos += N;
        Ok(*taken)
    }

    fn len8(&mut self) -> Result<usize, DecodeError> {
        Ok(u8::from_be_bytes(self.array()?).into())
    }

    fn len16(&mut self) -> Result<usize, DecodeError> {
        Ok(u16::from_be_bytes(self.array()?).into())
    }

    fn len32(&mut self) -> Result<usize, DecodeError> {
        Ok(u32::from_be_bytes(self.array()?) as usize)
    }

    fn str(&mut self, len: usize) -> Result<Token<'de>, DecodeError> {
        Ok(Token::Str(self.take(len)?))
    }

    fn ext(&mut self, len: usize) -> Result<Token<'de>, DecodeError> {
        // Add one byte for the type. The addition saturates, because `usize` may have 32 bits, as
        // in wasm.
        Ok(Token::Ext(self.take(len.saturating_add(1))?))
    }

    /// Reads the next scalar, or the header of a list or map. The items follow the header in the
    /// input.
    pub(crate) fn token(&mut self) -> Result<Token<'de>, DecodeError> {
        let [first] = self.array()?;
        Ok(match Marker::from_u8(first) {
            Marker::FixPos(value) => Token::UInt(value.into()),
            Marker::FixNeg(value) => Token::Int(value.into()),
            Marker::Null => Token::Nil,
            Marker::True => Token::Bool(true),
            Marker::False => Token::Bool(false),
            Marker::U8 => Token::UInt(u8::from_be_bytes(self.array()?).into()),
            Marker::U16 => Token::UInt(u16::from_be_bytes(self.array()?).into()),
            Marker::U32 => Token::UInt(u32::from_be_bytes(self.array()?).into()),
            Marker::U64 => Token::UInt(u64::from_be_bytes(self.array()?)),
            Marker::I8 => signed(i8::from_be_bytes(self.array()?)),
            Marker::I16 => signed(i16::from_be_bytes(self.array()?)),
            Marker::I32 => signed(i32::from_be_bytes(self.array()?)),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Token::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Token::Float(f64::from_be_bytes(self.array()?)),
            Marker::FixStr(len) => self.str(len.into())?,
            Marker::Str8 => self.len8().and_then(|len| self.str(len))?,
            Marker::Str16 => self.len16().and_then(|len| self.str(len))?,
            Marker::Str32 => self.len32().and_then(|len| self.str(len))?,
            Marker::Bin8 => Token::Bin(self.len8().and_then(|len| self.take(len))?),
            Marker::Bin16 => Token::Bin(self.len16().and_then(|len| self.take(len))?),
            Marker::Bin32 => Token::Bin(self.len32().and_then(|len| self.take(len))?),
            Marker::FixExt1 => self.ext(1)?,
            Marker::FixExt2 => self.ext(2)?,
            Marker::FixExt4 => self.ext(4)?,
            Marker::FixExt8 => self.ext(8)?,
            Marker::FixExt16 => self.ext(16)?,
            Marker::Ext8 => self.len8().and_then(|len| self.ext(len))?,
            Marker::Ext16 => self.len16().and_then(|len| self.ext(len))?,
            Marker::Ext32 => self.len32().and_then(|len| self.ext(len))?,
            Marker::FixArray(len) => Token::List(len.into()),
            Marker::Array16 => Token::List(u16::from_be_bytes(self.array()?).into()),
            Marker::Array32 => Token::List(u32::from_be_bytes(self.array()?)),
            Marker::FixMap(len) => Token::Map(len.into()),
            Marker::Map16 => Token::Map(u16::from_be_bytes(self.array()?).into()),
            Marker::Map32 => Token::Map(u32::from_be_bytes(self.array()?)),
            Marker::Reserved => return Err(DecodeError::new("byte c1 is not msgpack")),
        })
    }

    /// Reads the next value, which must be a string.
    pub(crate) fn key(&mut self) -> Result<&'de str, DecodeError> {
        match self.token()? {
            Token::Str(key) => text(key),
            other => Err(bad_key(other.kind())),
        }
    }

    /// Enters one more level of lists and maps.
    fn enter(&mut self) -> Result<(), DecodeError> {
        self.depth_left = self.depth_left.checked_sub(1).ok_or_else(|| {
            DecodeError::new(format!(
                "lists and maps are nested more than {MAX_DEPTH} deep"
            ))
        })?;
        Ok(())
    }

    fn leave(&mut self) {
        self.depth_left += 1;
    }

    /// Skips one value. This function is recursive, so its depth is limited like the depth of
    /// decoding.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        let values = match self.token()? {
            Token::List(len) => u64::from(len),
            Token::Map(len) => 2 * u64::from(len),
            _ => return Ok(()),
        };
        self.enter()?;
        let mut left = values;
        loop {
            left -= self.skip_single(left);
            if left == 0 {
                break;
            }
            self.skip()?;
            left -= 1;
        }
        self.leave();
        Ok(())
    }

    /// Skips at most `max` values that are one byte long, and returns their number. Long lists
    /// consist mostly of such values, and reading each value as a token would take many times as
    /// long.
    fn skip_single(&mut self, max: u64) -> u64 {
        let rest = self.input.get(self.pos..).unwrap_or_default();
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(rest.len());
        let is_single = |byte: &&u8| matches!(byte, 0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff);
        let count = rest[..max].iter().take_while(is_single).count();
        self.pos += count;
        count as u64
    }

    /// Visits a list of `len` items whose header has been read.
    fn list<V: Visitor<'de>>(
        &mut self,
        len: u32,
        items: Items,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        // An error ends the whole decoding, so the depth needs to be restored only on success.
        self.enter()?;
        let len = len as usize;
        if items == Items::Apart && len > 0 {
            self.charge(ALLOCATION)?;
        }
        let mut list = List {
            decoder: self,
            next: 0,
            len,
            copies: copies(items, len),
        };
        list.decoder.enter_list();
        let value = visitor.visit_seq(&mut list)?;
        // A visitor may stop early, for example the visitor of a tuple. The decoder would then read
        // the remaining items as the next value.
        if list.next < list.len {
            return Err(DecodeError::expected(
                format_args!("a list of length {}", list.next),
                format_args!("length {}", list.len),
            ));
        }
        self.leave_items();
        self.leave();
        Ok(value)
    }

    /// Visits a map of `len` entries whose header has been read.
    fn map<V: Visitor<'de>>(&mut self, len: u32, visitor: V) -> Result<V::Value, DecodeError> {
        self.entries(len, false, Items::Apart, visitor)
    }

    /// Visits a list of pairs as a map.
    fn pairs<V: Visitor<'de>>(&mut self, len: u32, visitor: V) -> Result<V::Value, DecodeError> {
        self.entries(len, true, Items::Apart, visitor)
    }

    /// Visits a map of `len` entries, or a list of `len` pairs if `pairs` is true. The caller has
    /// read the header of the map or list.
    fn entries<V: Visitor<'de>>(
        &mut self,
        len: u32,
        pairs: bool,
        items: Items,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.enter()?;
        let left = len as usize;
        if items == Items::Apart && left > 0 {
            self.charge(ALLOCATION + MAP)?;
        }
        let mut map = Map {
            decoder: self,
            left,
            key: 0,
            pairs,
            copies: copies(items, left),
        };
        map.decoder.enter_map(left, pairs);
        let value = visitor.visit_map(&mut map)?;
        if map.left > 0 {
            return Err(DecodeError::new(format!(
                "{} more entries than expected",
                map.left
            )));
        }
        self.leave_items();
        self.leave();
        Ok(value)
    }

    /// Visits the value that begins with `token`.
    fn visit<V: Visitor<'de>>(
        &mut self,
        token: Token<'de>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match token {
            Token::Nil => visitor.visit_unit(),
            Token::Bool(value) => visitor.visit_bool(value),
            Token::Int(value) => visitor.visit_i64(value),
            Token::UInt(value) => visitor.visit_u64(value),
            Token::Float(value) => visitor.visit_f64(value),
            Token::Str([]) => visitor.visit_borrowed_str(""),
            Token::Str(value) => {
                // Charge the string although it borrows from the frame, because most visitors copy
                // it.
                self.charge(ALLOCATION + value.len())?;
                visitor.visit_borrowed_str(text(value)?)
            }
            // Do not charge binary data: it becomes a slice of the frame, or a copy that is no
            // larger than the frame, whose length is already charged.
            Token::Bin(value) => visitor.visit_borrowed_bytes(value),
            Token::Ext(value) => {
                visitor.visit_newtype_struct(BorrowedBytesDeserializer::new(value))
            }
            Token::List(len) => self.list(len, Items::Apart, visitor),
            Token::Map(len) => self.map(len, visitor),
        }
    }

    /// Visits a value where a list is expected: a list, bytes, or a typed value such as a set.
    fn items<V: Visitor<'de>>(
        &mut self,
        items: Items,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.token()? {
            // Bytes are accepted as a list of small integers.
            Token::Bin(bytes) => {
                let copies = copies(items, bytes.len());
                Bytes::visit(self, bytes, copies, visitor)
            }
            Token::List(len) => self.list(len, items, visitor),
            Token::Map(len) => self.tagged_list(len, items, visitor),
            token => self.visit(token, visitor),
        }
    }

    /// Visits a string. Rejects bytes, because serde would accept bytes that are valid UTF-8.
    fn string<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Bin(bytes) => Err(de::Error::invalid_type(
                de::Unexpected::Bytes(bytes),
                &visitor,
            )),
            token => self.visit(token, visitor),
        }
    }

    /// Visits bytes. Rejects strings, because serde would accept their bytes.
    fn bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Str(value) => Err(de::Error::invalid_type(
                de::Unexpected::Str(text(value)?),
                &visitor,
            )),
            Token::Map(len) => self.tagged_bytes(len, visitor),
            // Text formats represent bytes as a list. Read the list here, because a visitor of
            // bytes need not accept lists.
            Token::List(len) => {
                let bytes = self.list(len, Items::Apart, BytesOfList)?;
                visitor.visit_byte_buf(bytes)
            }
            token => self.visit(token, visitor),
        }
    }

    /// Visits the value that begins with `token`, where a value of any type is expected.
    fn visit_any<V: Visitor<'de>>(
        &mut self,
        token: Token<'de>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if is_buffer::<V>() {
            if matches!(token, Token::Map(len) if self.is_scalar(len)) {
                buffered::scalar();
            }
            let wrapped = match token {
                Token::Bin(bytes) => Wrapped::bytes(bytes),
                Token::Ext(value) => Some(Wrapped::ext(value)),
                _ => None,
            };
            if let Some(value) = wrapped {
                self.charge(3 * ALLOCATION + 4 * size_of::<V::Value>())?;
                return value.deserialize_any(visitor);
            }
        }
        self.visit(token, visitor)
    }

    /// Visits a number or `bool`, including one in an array without dimensions.
    fn number<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let token = self.scalar(&visitor)?;
        self.visit(token, visitor)
    }

    /// Visits an integer, including one that a peer sends as a float without a fraction.
    fn integer<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let token = self.scalar(&visitor)?.whole();
        self.visit(token, visitor)
    }

    /// Visits a number or timestamp as the struct to which serde converts this time type.
    fn time<V: Visitor<'de>>(
        time: Time,
        token: &Token<'de>,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let parts = time.parts(token)?;
        visitor.visit_seq(SeqDeserializer::new(parts.into_iter()))
    }

    /// Visits a value of unknown type, and records its place. Uses another form if the module
    /// `buffered` has a hint for this place.
    #[cold]
    fn visit_recorded<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let start = self.pos;
        if buffered::is_replaced(start) {
            self.skip()?;
            // No type accepts this value, because it is no UTF-8 either.
            return visitor.visit_byte_buf(vec![0xff]);
        }
        let mut token = self.token()?;
        let mut form = self.recorded_form(start, &token);
        let is_inside_buffer = std::mem::replace(&mut self.is_inside_buffer, true);
        let mut is_scalar = false;
        if form == Some(Form::Number) {
            if matches!(token, Token::Map(len) if self.is_scalar(len)) {
                self.pos = start;
                // The parts of the array need no other form.
                let trail = self.trail.take();
                token = self.scalar(&visitor)?;
                self.trail = trail;
                // The number may need another form.
                form = self.recorded_form(start, &token);
                is_scalar = true;
            }
            if form == Some(Form::Number) {
                token = token.whole();
                // An error names the integer.
                self.recorded_form(start, &token);
            }
        }
        let value = match form {
            Some(Form::Time(time)) if token.is_time() => {
                self.charge(ALLOCATION + 4 * size_of::<V::Value>())?;
                let parts = time
                    .parts(&token)
                    .inspect_err(|_| buffered::out_of_range())?;
                // The keys are bytes, so that a `Value` does not accept the map.
                let fields = time.fields().map(str::as_bytes).into_iter().zip(parts);
                visitor.visit_map(MapDeserializer::new(fields))
            }
            Some(form) if cfg!(feature = "ndarray") && form.is_array() => {
                self.pos = start;
                match self.is_array_next()? {
                    true => arrays::visit_next(self, Some(form), visitor)
                        .inspect_err(|_| buffered::out_of_range()),
                    false => self.token().and_then(|token| self.visit(token, visitor)),
                }
            }
            _ => match (form, token) {
                (Some(Form::Items), Token::Bin(bytes)) if bytes.len() <= MAX_BYTES_OF_LIST => {
                    self.charge(ALLOCATION)?;
                    let copies = copies(Items::Apart, bytes.len());
                    Bytes::visit(self, bytes, copies, visitor)
                }
                // As a list, each byte would need the memory of a value.
                (Some(Form::Items), Token::Bin(bytes)) => visitor.visit_borrowed_bytes(bytes),
                (_, token) if is_scalar => match token {
                    // Our types that accept an array refuse numbers of 32 bits in a buffer.
                    Token::Int(value) if i32::try_from(value).is_ok() => {
                        visitor.visit_i32(value as i32)
                    }
                    Token::UInt(value) if u32::try_from(value).is_ok() => {
                        visitor.visit_u32(value as u32)
                    }
                    Token::Float(value) if f64::from(value as f32) == value => {
                        visitor.visit_f32(value as f32)
                    }
                    token => self.visit(token, visitor),
                },
                (_, token) => self.visit_any(token, visitor),
            },
        };
        self.is_inside_buffer = is_inside_buffer;
        value
    }
}

/// Returns the token of an integer: [`Token::UInt`] if it is non-negative, so that equal integers
/// have equal tokens.
fn signed<'de>(value: impl Into<i64>) -> Token<'de> {
    let value = value.into();
    u64::try_from(value).map_or(Token::Int(value), Token::UInt)
}

/// Returns the factor between the size of an item and the memory charged for the item. The factor
/// is 0 for items stored inline, because they are charged with the value that contains them. The
/// factor is 2 for a list that exceeds its reserved memory, because the old and the new buffer
/// exist at the same time while the list grows.
fn copies(items: Items, len: usize) -> usize {
    match items {
        Items::Inline => 0,
        Items::Apart if len <= MAX_RESERVED => 1,
        Items::Apart => 2,
    }
}

/// Reads a list of small integers.
struct BytesOfList;

impl<'de> Visitor<'de> for BytesOfList {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("bytes")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Vec<u8>, A::Error> {
        let mut bytes = Vec::with_capacity(items.size_hint().unwrap_or(0).min(MAX_RESERVED));
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes)
    }
}

fn bad_key(kind: &str) -> DecodeError {
    DecodeError::new(format!("a map key must be a string, got {kind}"))
}

macro_rules! forward {
    ($to:ident: $($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.$to(visitor)
        })*
    };
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if !self.is_buffered {
            self.is_buffered = true;
            buffered::begin();
        }
        if self.trail.is_some() {
            return self.visit_recorded(visitor);
        }
        let token = self.token()?;
        self.visit_any(token, visitor)
    }

    forward!(deserialize_any: deserialize_unit);
    forward!(number: deserialize_bool deserialize_f64);
    forward!(string: deserialize_char deserialize_str deserialize_string);
    forward!(bytes: deserialize_bytes deserialize_byte_buf);
    forward!(integer: deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
        deserialize_u128);

    /// Rejects a number that is too large for `f32`, because serde would convert it to infinity.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.scalar(&visitor)? {
            Token::Float(value) if value.is_finite() && (value as f32).is_infinite() => Err(
                DecodeError::new(format!("{value:e} is out of range for f32")),
            ),
            token => self.visit(token, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        // Only peek at the first byte, because the value itself must see its own header.
        if self.peek()? == Marker::Null.to_u8() {
            self.pos += 1;
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.items(Items::Apart, visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.charge_boxed::<V::Value>()?;
        self.items(Items::Inline, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Map(len) => self.tagged_map(len, Items::Apart, visitor),
            token => self.visit(token, visitor),
        }
    }

    /// Accepts only names: serde would accept a number as the index of a field or variant.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.token()? {
            Token::Str(name) => visitor.visit_borrowed_str(text(name)?),
            token => Err(DecodeError::expected("string", token.kind())),
        }
    }

    /// Accepts only maps, because structs are maps on the wire: serde would also accept a list. A
    /// struct with a field `_rtype` reads typed values itself, so typed values are passed on
    /// unchanged.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.charge_boxed::<V::Value>()?;
        if let Some(time) = Time::of_fields(name, fields) {
            return match self.scalar(&visitor)? {
                Token::Map(len) => self.tagged_map(len, Items::Inline, visitor),
                token => Decoder::time(time, &token, visitor),
            };
        }
        if arrays::is_array(name, fields) && self.is_array_next()? {
            return match cfg!(feature = "ndarray") {
                true => arrays::visit_next(self, None, visitor),
                false => Err(DecodeError::new(arrays::WITHOUT_FEATURE)),
            };
        }
        match self.token()? {
            Token::Map(len) if fields.contains(&keys::RTYPE) => {
                self.entries(len, false, Items::Inline, visitor)
            }
            Token::Map(len) => self.tagged_map(len, Items::Inline, visitor),
            Token::List(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &visitor)),
            token => self.visit(token, visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.charge_boxed::<V::Value>()?;
        match self.token()? {
            Token::Str(name) => {
                visitor.visit_enum(de::value::BorrowedStrDeserializer::new(text(name)?))
            }
            // Do not use `entries`, which would charge the map again: the map is part of the enum,
            // which is already charged.
            Token::Map(1) => {
                self.enter()?;
                let value = visitor.visit_enum(Variant {
                    decoder: self,
                    name: "",
                })?;
                self.leave();
                Ok(value)
            }
            Token::Map(len) => Err(DecodeError::expected(
                "the name of a variant or a map with one entry",
                format_args!("a map with {len} entries"),
            )),
            token => Err(DecodeError::expected(
                "the name of a variant or a map with one entry",
                token.kind(),
            )),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        // Skip instead of visiting, so that an ignored value needs no memory and is not charged.
        self.skip()?;
        visitor.visit_unit()
    }
}
