//! Defines [`RawValue`], an encoded value. A program can pass the value on or convert it to JSON
//! without decoding it into a tree.
//!
//! The HTTP interface of the server uses [`RawValue`], so that a large result needs only the memory
//! of its message, and not many times as much. The limits below apply to the handles of one value,
//! because each handle is decoded and kept.

use std::sync::Arc;

use serde::de::{self, Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{self, Serialize, Serializer};

use super::decode::{Decoder, Token, from_origin, text};
use super::decode_error::DecodeError;
use super::local::Packed;
use super::memory::{MAX_DECODED_BYTES, Meter};
use super::scope::{Origin, no_handles};
use super::timestamp::Timestamp;
use super::value::{Handle, Value};
use crate::pack::{self, Sink};
use crate::{MAX_DEPTH, absolute_address, keys};

/// Maximum number of entries of a map that counts as a function or stream.
const HANDLE_ENTRIES: u32 = 64;
/// Maximum encoded size of a function or stream that [`RawValue::handles`] decodes, in bytes.
const HANDLE_BYTES: usize = 64 << 10;
/// Maximum number of functions and streams that are decoded in one value.
const HANDLES: usize = 1024;
/// Number of bytes of a string that [`JsonWriter`] writes at a time, so that the output is not much
/// longer than requested.
const STRING_PIECE: usize = 16 << 10;

/// Value of any type, in encoded form.
///
/// Use this type to pass a value on, or to convert the value to JSON, without decoding it. The
/// result of a call shares the memory of its message. Clones share the bytes. Each accessor parses
/// the bytes again, and an accessor of a member scans all preceding members.
#[derive(Clone)]
pub struct RawValue {
    /// Bytes of exactly one valid value.
    bytes: bytes::Bytes,
    /// Origin of the functions and streams in the value. If `None`, functions and streams are
    /// decoded as maps.
    origin: Option<Origin>,
    /// Handles in the value. Empty if a peer has sent the value.
    table: Arc<[Handle]>,
}

impl RawValue {
    /// Wraps `bytes` after checking that they are exactly one value, which
    /// [`from_slice`](crate::from_slice) could decode into a [`Value`].
    ///
    /// # Errors
    ///
    /// Returns an error if the bytes are not valid msgpack, if other bytes follow the value, or if
    /// the value is nested more than [`MAX_DEPTH`] levels deep. The error contains the path in the
    /// value.
    pub fn new(bytes: bytes::Bytes) -> Result<RawValue, DecodeError> {
        let mut decoder = Decoder::of_span(&bytes, 0, bytes.len())?;
        check(&mut decoder, 0)?;
        match decoder.remaining() {
            0 => Ok(Self::received(bytes, None, Arc::clone(no_handles()))),
            extra => Err(DecodeError::new(format!(
                "{extra} more bytes after the value"
            ))),
        }
    }

    /// Creates a value from a part of a message. The caller must have checked that the part is
    /// exactly one value.
    pub(crate) fn received(
        bytes: bytes::Bytes,
        origin: Option<Origin>,
        table: Arc<[Handle]>,
    ) -> RawValue {
        RawValue {
            bytes,
            origin,
            table,
        }
    }

    /// Returns the value as msgpack.
    pub fn as_bytes(&self) -> &bytes::Bytes {
        &self.bytes
    }

    /// Decodes the value.
    ///
    /// # Errors
    ///
    /// Returns an error if the value is not a `T`, or if it needs more memory than allowed. The
    /// limit is the larger of [`MAX_DECODED_BYTES`] and twice the length of the value plus 4 KiB.
    /// The error contains the path in the value.
    pub fn decode<T: DeserializeOwned>(&self) -> Result<T, DecodeError> {
        self.decode_span(0, self.bytes.len())
    }

    fn decode_span<T: DeserializeOwned>(&self, start: usize, end: usize) -> Result<T, DecodeError> {
        // Each call uses its own limit, because the value outlives the meter of its message.
        let meter = Meter::new(MAX_DECODED_BYTES, self.bytes.len());
        let origin = self.origin.as_ref();
        from_origin(&self.bytes, start, end, origin, &self.table, &meter)
    }

    /// Returns the first token, and the position after this token.
    fn head(&self) -> Option<(Token<'_>, usize)> {
        let mut decoder = Decoder::of_span(&self.bytes, 0, self.bytes.len()).ok()?;
        Some((decoder.token().ok()?, decoder.pos))
    }

    /// Returns whether this is null.
    pub fn is_null(&self) -> bool {
        matches!(self.head(), Some((Token::Nil, _)))
    }

    /// Returns the boolean, if this is a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match self.head()?.0 {
            Token::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the integer, if this is a non-negative integer.
    pub fn as_u64(&self) -> Option<u64> {
        match self.head()?.0 {
            Token::UInt(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the string, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self.head()?.0 {
            Token::Str(value) => text(value).ok(),
            _ => None,
        }
    }

    /// Returns the content of a string or of binary data. The content shares the memory of the
    /// message. Does not check whether a string is valid UTF-8. Returns `None` for other values.
    pub fn as_content(&self) -> Option<bytes::Bytes> {
        match self.head()?.0 {
            Token::Str(value) | Token::Bin(value) => Some(self.bytes.slice_ref(value)),
            _ => None,
        }
    }

    /// Returns an iterator over the items if this is a list. Each step of the iterator parses one
    /// item.
    pub fn items(&self) -> Option<impl Iterator<Item = RawValue> + '_> {
        let (Token::List(len), start) = self.head()? else {
            return None;
        };
        Some(self.values(start, u64::from(len)))
    }

    /// Returns an iterator over the keys and values if this is a map. Each step of the iterator
    /// parses one entry.
    pub fn entries(&self) -> Option<impl Iterator<Item = (RawValue, RawValue)> + '_> {
        let (Token::Map(len), start) = self.head()? else {
            return None;
        };
        let mut values = self.values(start, 2 * u64::from(len));
        Some(std::iter::from_fn(move || {
            Some((values.next()?, values.next()?))
        }))
    }

    /// Returns the member `key` if this is a map with this key. If the map repeats the key, returns
    /// the last value, as the other clients do.
    pub fn member(&self, key: &str) -> Option<RawValue> {
        let entries = self.entries()?;
        let found = entries.filter(|(name, _)| name.as_str() == Some(key));
        found.last().map(|(_, value)| value)
    }

    /// Returns an iterator over the next `left` values, starting at `start`.
    fn values(&self, start: usize, mut left: u64) -> impl Iterator<Item = RawValue> + '_ {
        let mut pos = start;
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            // The bytes have already been checked. If decoding fails anyway, the iteration only
            // ends.
            let mut decoder = Decoder::of_message(&self.bytes, pos);
            decoder.skip().ok()?;
            let bytes = self.bytes.slice(pos..decoder.pos);
            pos = decoder.pos;
            let (origin, table) = (self.origin.clone(), Arc::clone(&self.table));
            Some(Self::received(bytes, origin, table))
        })
    }

    /// Returns whether this is a stream owned by the sender of the message.
    pub fn is_stream(&self) -> bool {
        // Callers expect this check to be fast, and searching a large map would be slow. A map with
        // more entries is not a stream.
        let is_small = matches!(self.head(), Some((Token::Map(len), _)) if len <= HANDLE_ENTRIES);
        let tag = || self.member(keys::RTYPE);
        is_small
            && self.origin.is_some()
            && tag().is_some_and(|tag| tag.as_str() == Some("generator"))
    }

    /// Returns the length of the value as JSON, in bytes, and the functions and streams in the
    /// value.
    ///
    /// Keep the returned functions and streams as long as the JSON is used. Dropping one of them
    /// releases it at its owner.
    ///
    /// # Errors
    ///
    /// Returns the reason why the value cannot be written as JSON.
    pub fn json_form(&self) -> Result<(u64, Vec<Value>), JsonError> {
        // Count the bytes in a separate pass, so that the length is known without keeping the JSON
        // in memory.
        let mut writer = JsonWriter::new(self.clone());
        let mut len = pack::Count(0);
        while writer.step(&mut len)? {}
        let handles = std::mem::take(&mut writer.handles);
        let decode = |&(start, end): &(usize, usize)| self.decode_span(start, end).ok();
        Ok((len.0 as u64, handles.iter().filter_map(decode).collect()))
    }

    /// Returns the functions and streams in the value. Dropping one of them releases it at its
    /// owner.
    pub fn handles(&self) -> Vec<Value> {
        let mut writer = JsonWriter::new(self.clone());
        if !writer.may_have_handles {
            return Vec::new();
        }
        // This pass discards the JSON, so the search must continue after a value that JSON cannot
        // represent.
        writer.lenient = true;
        let mut ignored = pack::Count(0);
        while matches!(writer.step(&mut ignored), Ok(true)) {}
        let decode = |&(start, end): &(usize, usize)| self.decode_span(start, end).ok();
        writer.handles.iter().filter_map(decode).collect()
    }
}

/// Values of 16 KiB and more are not copied.
impl From<RawValue> for Packed {
    fn from(value: RawValue) -> Packed {
        Packed::encoded(value.bytes)
    }
}

impl std::fmt::Debug for RawValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RawValue")
            .field("len", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Decodes the value and encodes it again, because a deserializer does not provide the encoded
/// bytes. `hypha-rpc` does not use this implementation for the result of a call. Instead, it shares
/// the bytes of the message.
impl<'de> Deserialize<'de> for RawValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let packed = Packed::new(&value).map_err(de::Error::custom)?;
        let (bytes, table) = super::local::join(packed.buf, packed.splices);
        Ok(RawValue::received(bytes, None, table))
    }
}

impl Serialize for RawValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value: Value = self.decode().map_err(ser::Error::custom)?;
        value.serialize(serializer)
    }
}

/// Checks that the next value, at nesting depth `depth`, is valid. Strings must be UTF-8, keys must
/// be strings, and the nesting must not exceed the limit.
fn check(decoder: &mut Decoder<'_>, depth: usize) -> Result<(), DecodeError> {
    match decoder.token()? {
        Token::Str(value) => text(value).map(drop),
        Token::List(len) => {
            deeper(depth)?;
            for index in 0..len as usize {
                check(decoder, depth + 1).map_err(|error| error.in_index(index))?;
            }
            Ok(())
        }
        Token::Map(len) => {
            deeper(depth)?;
            for _ in 0..len {
                let key = decoder.key()?;
                check(decoder, depth + 1).map_err(|error| error.in_key(key))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Returns an error if a list or map at this depth would exceed [`MAX_DEPTH`].
fn deeper(depth: usize) -> Result<(), DecodeError> {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    Err(DecodeError::new(format!(
        "lists and maps are nested more than {MAX_DEPTH} deep"
    )))
}

/// Reason why a value cannot be written as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonError {
    /// JSON cannot represent a part of the value. This is the kind of that part.
    Unfit(&'static str),
    /// The bytes are malformed.
    Invalid(DecodeError),
}

impl From<DecodeError> for JsonError {
    fn from(error: DecodeError) -> Self {
        JsonError::Invalid(error)
    }
}

/// Writes a value as compact JSON in pieces.
///
/// A program can send each piece before it writes the next piece, so that a large value is never in
/// memory as a whole. A function or stream is written as its map on the wire, with an absolute
/// address.
///
/// ```
/// # use hypha_wire::{JsonWriter, RawValue};
/// let bytes = hypha_wire::to_vec(&("stage", vec![1.5, 2.0]))?;
/// let mut writer = JsonWriter::new(RawValue::new(bytes.into())?);
/// let mut json = Vec::new();
/// while writer.write(&mut json, 4096).expect("has a form in JSON") {
///     json.clear(); // after it is sent
/// }
/// assert_eq!(json, br#"["stage",[1.5,2.0]]"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct JsonWriter {
    value: RawValue,
    /// Position of the next byte of the value.
    pos: usize,
    /// Incomplete lists and maps, the outermost first.
    open: Vec<Open>,
    /// Remaining part of the string that is being written.
    string: Option<std::ops::Range<usize>>,
    /// Whether `string` is a key.
    is_key: bool,
    /// Whether the next value is the address of a function or stream.
    is_address: bool,
    /// Whether the value may contain functions or streams. If false, the writer does not check
    /// whether a map is a function or stream.
    may_have_handles: bool,
    /// Whether to skip values that JSON cannot represent. If false, such a value causes an error.
    lenient: bool,
    /// Positions of the functions and streams found so far: start and end of each.
    handles: Vec<(usize, usize)>,
}

/// List or map that is being written.
#[derive(Debug)]
struct Open {
    /// Number of items or entries that still have to be started.
    left: u32,
    is_map: bool,
    /// Whether no item was started yet. The first item needs no comma.
    is_first: bool,
    /// Whether a value comes next. The comma is then already written, and in a map also the key.
    at_value: bool,
    /// Whether this is the map of a function or stream. The address in such a map is made absolute.
    is_handle: bool,
}

impl JsonWriter {
    /// Creates a writer at the start of `value`.
    pub fn new(value: RawValue) -> JsonWriter {
        // Search the bytes for the tag. This is faster than parsing the values, and most values
        // contain no tag. If a string contains the tag, the only consequence is a slower
        // conversion.
        let has_tag = || {
            let tag = keys::RTYPE.as_bytes();
            value.bytes.windows(tag.len()).any(|part| part == tag)
        };
        JsonWriter {
            may_have_handles: value.origin.is_some() && has_tag(),
            value,
            pos: 0,
            open: Vec::new(),
            string: None,
            is_key: false,
            is_address: false,
            lenient: false,
            handles: Vec::new(),
        }
    }

    /// Appends JSON to `out` until `out` has at least `len` bytes or the value ends. Returns
    /// whether more JSON follows.
    ///
    /// The length of `out` exceeds `len` by at most one piece of a string. A piece has 16 KiB
    /// before its characters are escaped.
    ///
    /// # Errors
    ///
    /// Returns the reason why the value cannot be written as JSON. `out` then contains the JSON
    /// before the part that caused the error.
    pub fn write(&mut self, out: &mut Vec<u8>, len: usize) -> Result<bool, JsonError> {
        while out.len() < len {
            if !self.step(out)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Writes the next part: a scalar, a bracket, a key, or a piece of a string. Returns whether
    /// more JSON follows.
    ///
    /// Uses its own stack instead of recursion, so that the writer can stop between any two parts.
    fn step(&mut self, out: &mut impl Sink) -> Result<bool, JsonError> {
        if let Some(rest) = self.string.take() {
            self.string_piece(rest, out);
            return Ok(self.is_unfinished());
        }
        let bytes = self.value.bytes.clone();
        let mut decoder = Decoder::of_message(&bytes, self.pos);
        if let Some(open) = self.open.last_mut().filter(|open| !open.at_value) {
            if open.left == 0 {
                out.put(if open.is_map { b"}" } else { b"]" });
                self.open.pop();
                self.value_is_complete();
                return Ok(self.is_unfinished());
            }
            if !std::mem::replace(&mut open.is_first, false) {
                out.put(b",");
            }
            open.left -= 1;
            open.at_value = true;
            if open.is_map {
                let key = decoder.key()?;
                self.is_address = open.is_handle && key == keys::RTARGET;
                self.pos = decoder.pos;
                self.begin_string(key.len(), true, out);
                return Ok(true);
            }
        }
        let start = self.pos;
        let token = decoder.token()?;
        self.pos = decoder.pos;
        let is_address = std::mem::take(&mut self.is_address);
        match token {
            Token::Nil => out.put(b"null"),
            Token::Bool(true) => out.put(b"true"),
            Token::Bool(false) => out.put(b"false"),
            Token::Int(value) => put_number(out, &value),
            Token::UInt(value) => put_number(out, &value),
            Token::Float(value) if value.is_finite() => put_number(out, &value),
            Token::Float(_) => self.unfit("a number that is not finite")?,
            Token::Bin(_) => self.unfit("binary data")?,
            Token::Ext(value) => match Timestamp::of_extension(value) {
                // The schema of a timestamp describes a number of seconds, so write this number.
                Some(time) => put_number(out, &time.as_secs_f64()),
                None => self.unfit("an extension value")?,
            },
            Token::Str(value) => {
                let value = text(value)?;
                let workspace = self.value.origin.as_ref().and_then(Origin::workspace);
                // A longer string is not an address, so the whole string need not be copied.
                if let (true, Some(workspace)) = (is_address && value.len() < 1024, workspace) {
                    let address = absolute_address(value, workspace);
                    out.put(b"\"");
                    put_escaped(out, &address);
                    out.put(b"\"");
                } else {
                    self.begin_string(value.len(), false, out);
                    return Ok(self.is_unfinished());
                }
            }
            Token::List(len) => {
                deeper(self.open.len())?;
                out.put(b"[");
                self.open.push(Open::new(len, false, false));
                return Ok(true);
            }
            Token::Map(len) => {
                deeper(self.open.len())?;
                out.put(b"{");
                let is_handle = self.is_handle(start, len);
                self.open.push(Open::new(len, true, is_handle));
                return Ok(true);
            }
        }
        self.value_is_complete();
        Ok(self.is_unfinished())
    }

    /// Returns the error for a value that JSON cannot represent, unless such values are skipped.
    fn unfit(&self, what: &'static str) -> Result<(), JsonError> {
        if self.lenient {
            return Ok(());
        }
        Err(JsonError::Unfit(what))
    }

    fn is_unfinished(&self) -> bool {
        self.string.is_some() || !self.open.is_empty()
    }

    /// Records that a value has been written. The next part is then a comma or a bracket.
    fn value_is_complete(&mut self) {
        if let Some(open) = self.open.last_mut() {
            open.at_value = false;
        }
    }

    /// Starts writing the string that occupies the `len` input bytes before `self.pos`.
    fn begin_string(&mut self, len: usize, is_key: bool, out: &mut impl Sink) {
        out.put(b"\"");
        self.is_key = is_key;
        self.string_piece(self.pos - len..self.pos, out);
    }

    /// Writes a piece of the string at `rest`. After the last piece, also writes the closing quote.
    fn string_piece(&mut self, rest: std::ops::Range<usize>, out: &mut impl Sink) {
        let bytes = &self.value.bytes[rest.clone()];
        // The string was checked to be UTF-8 before its first piece was written. Pieces end between
        // characters. Therefore the lossy conversion loses nothing.
        let mut end = bytes.len().min(STRING_PIECE);
        while end < bytes.len() && bytes[end] & 0xc0 == 0x80 {
            end += 1;
        }
        put_escaped(out, &String::from_utf8_lossy(&bytes[..end]));
        if end < bytes.len() {
            self.string = Some(rest.start + end..rest.end);
            return;
        }
        out.put(if self.is_key { b"\":" } else { b"\"" });
        if !self.is_key {
            self.value_is_complete();
        }
    }

    /// Returns whether the map at `start` is a function or stream. If so, records the position of
    /// the map.
    fn is_handle(&mut self, start: usize, len: u32) -> bool {
        if !self.may_have_handles || len == 0 || len > HANDLE_ENTRIES {
            return false;
        }
        let mut decoder = Decoder::of_message(&self.value.bytes, self.pos);
        let mut tagged = false;
        for _ in 0..len {
            let Ok(key) = decoder.key() else { return false };
            let at = decoder.pos;
            if decoder.skip().is_err() {
                return false;
            }
            if key == keys::RTYPE {
                let token = Decoder::of_message(&self.value.bytes, at).token();
                tagged = matches!(token, Ok(Token::Str(b"method" | b"generator")));
            }
        }
        // A map beyond these limits still counts as a function or stream, so that its address is
        // made absolute. However, its position is not recorded.
        if tagged && decoder.pos - start <= HANDLE_BYTES && self.handles.len() < HANDLES {
            self.handles.push((start, decoder.pos));
        }
        tagged
    }
}

impl Open {
    fn new(left: u32, is_map: bool, is_handle: bool) -> Open {
        Open {
            left,
            is_map,
            is_first: true,
            at_value: false,
            is_handle,
        }
    }
}

/// Writes a number exactly as `serde_json` does. The output of this writer must be the same.
fn put_number<T: Serialize>(out: &mut impl Sink, number: &T) {
    // The longest number is a float of 24 characters.
    let mut buffer = [0u8; 40];
    let mut rest = &mut buffer[..];
    // This cannot fail, because the buffer has room for every number.
    if serde_json::to_writer(&mut rest, number).is_ok() {
        let len = 40 - rest.len();
        out.put(&buffer[..len]);
    }
}

/// Writes the characters of a string as `serde_json` does.
fn put_escaped(out: &mut impl Sink, text: &str) {
    let bytes = text.as_bytes();
    let mut done = 0;
    for (position, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            0x08 => b'b',
            0x09 => b't',
            0x0a => b'n',
            0x0c => b'f',
            0x0d => b'r',
            0x00..=0x1f => b'u',
            _ => continue,
        };
        out.put(&bytes[done..position]);
        done = position + 1;
        out.put(&[b'\\', short]);
        if short == b'u' {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            let digit = |nibble: u8| DIGITS[usize::from(nibble & 0xf)];
            out.put(&[b'0', b'0', digit(byte >> 4), digit(byte)]);
        }
    }
    out.put(&bytes[done..]);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::to_vec;

    fn raw(json: &serde_json::Value) -> RawValue {
        RawValue::new(to_vec(json).expect("encodes").into()).expect("a value")
    }

    fn written(value: &RawValue, piece: usize) -> Result<String, JsonError> {
        let mut writer = JsonWriter::new(value.clone());
        let (mut all, mut more) = (Vec::new(), true);
        while more {
            let mut out = Vec::new();
            more = writer.write(&mut out, piece)?;
            all.extend(out);
        }
        let (len, _) = value.json_form()?;
        assert_eq!(len, all.len() as u64);
        Ok(String::from_utf8(all).expect("UTF-8"))
    }

    #[test]
    fn json_is_the_same_as_that_of_serde_json() {
        for json in [
            json!(null),
            json!([]),
            json!({}),
            json!([[], {}, [{}], {"a": []}]),
            json!({"a": 1, "b": [-1, 2.5, 1e300, u64::MAX, true, false], "c": {"d": null}}),
            json!("\u{0}\u{1f}\u{7f}\"\\/\n\r\t\u{8}\u{c} ä€𝄞"),
            json!("ä".repeat(100_000)),
            json!({"key\"": "x"}),
            json!(-0.0),
        ] {
            for piece in [1, 7, 100_000] {
                assert_eq!(written(&raw(&json), piece), Ok(json.to_string()));
            }
        }
    }

    #[test]
    fn values_without_a_form_are_named() {
        let of = |value: Value| {
            let bytes = to_vec(&vec![value]).expect("encodes");
            RawValue::new(bytes.into())
                .expect("a value")
                .json_form()
                .map(drop)
        };
        assert_eq!(
            of(Value::Float(f64::NAN)),
            Err(JsonError::Unfit("a number that is not finite"))
        );
        let bytes = Value::Bytes(bytes::Bytes::from_static(b"x"));
        assert_eq!(of(bytes), Err(JsonError::Unfit("binary data")));
        let time = Timestamp::new(5, 250_000_000).expect("a time");
        let json = RawValue::new(to_vec(&time).expect("encodes").into()).expect("a value");
        let mut out = Vec::new();
        JsonWriter::new(json)
            .write(&mut out, 10)
            .expect("has a form");
        assert_eq!(out, b"5.25");
        let ext = Value::Ext(5, bytes::Bytes::from_static(b"x"));
        assert_eq!(of(ext), Err(JsonError::Unfit("an extension value")));
    }

    #[test]
    fn hostile_bytes_are_refused_with_the_path() {
        let error = |bytes: &[u8]| {
            RawValue::new(bytes::Bytes::copy_from_slice(bytes))
                .expect_err("valid")
                .to_string()
        };
        assert!(
            error(b"\x81\xa1a\x91\x81\x01\x02").starts_with("a[0]: a map key must be a string")
        );
        assert!(error(b"\xa1\xff").contains("UTF-8"));
        assert!(error(b"\xdd\xff\xff\xff\xff").contains("the bytes end"));
        assert!(error(b"\x01\x02").contains("1 more bytes"));
        assert!(error(&[0x91; 200]).contains("nested"));
        assert!(RawValue::new([&[0x91; 128][..], &[0xc0]].concat().into()).is_ok());
        assert!(RawValue::new([&[0x91; 129][..], &[0xc0]].concat().into()).is_err());
    }

    #[test]
    fn members_are_found_without_decoding_the_rest() {
        let value = raw(&json!({"x": {"a": "no"}, "a": "yes", "n": 1, "l": [[1, "b"], [2, "c"]]}));
        let text = |value: Option<RawValue>| value.and_then(|v| v.as_str().map(str::to_owned));
        assert_eq!(text(value.member("a")).as_deref(), Some("yes"));
        assert_eq!(text(value.member("n")), None);
        assert_eq!(value.member("n").and_then(|n| n.as_u64()), Some(1));
        assert!(raw(&json!(["a"])).member("a").is_none());
        let list = value.member("l").expect("a list");
        let second = list.items().expect("a list").nth(1).expect("an item");
        let text = second.items().expect("a list").nth(1);
        assert_eq!(text.and_then(|t| t.as_content()), Some("c".into()));
        assert!(!value.is_stream());
    }
}
