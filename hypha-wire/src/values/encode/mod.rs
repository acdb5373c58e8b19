//! Encodes any `Serialize` value as msgpack. The bytes are the same as the Python client would
//! send.
//!
//! Numbers are encoded in their smallest form, and `f32` is sent as `f64`. Structs become maps with
//! string keys, and enums are externally tagged. Types with a textual form, such as addresses and
//! dates, are sent as strings, which matches their JSON Schema. `Duration` becomes a number and
//! `SystemTime` a timestamp (see the module `times`).

mod arrays;

use std::fmt;

use serde::ser::{self, Serialize};

use super::array::NdArray;
use super::decode;
use super::decode::arrays::{WITHOUT_FEATURE, is_named};
use super::splice::{AcceptSplices, SPLICE, Splice, offered};
use super::time_type::Time;
use super::value::Value;
use crate::MAX_DEPTH;
use crate::pack::{self, Sink};

/// Error returned when a value cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError {
    argument: Option<String>,
    message: String,
    /// Whether the text of the error omits the argument.
    is_short: bool,
}

impl EncodeError {
    /// Creates an error with this message and without the name of an argument.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            argument: None,
            message: message.into(),
            is_short: false,
        }
    }

    /// Adds the name of the argument that could not be encoded.
    pub(crate) fn in_argument(mut self, name: &str) -> Self {
        self.argument = Some(name.to_owned());
        self
    }

    /// Omits the argument from the text of the error, for the cause of an error that names it.
    #[must_use]
    pub fn short(mut self) -> Self {
        self.is_short = true;
        self
    }

    /// Returns the name of the argument that could not be encoded, if the value is an argument.
    #[must_use]
    pub fn argument(&self) -> Option<&str> {
        self.argument.as_deref()
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(argument) = self.argument.as_ref().filter(|_| !self.is_short) {
            write!(f, "argument `{argument}`: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for EncodeError {}

impl ser::Error for EncodeError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        Self::new(match &*message {
            "SystemTime must be later than UNIX_EPOCH" => {
                "a `SystemTime` before 1970 cannot be sent; `Timestamp` has earlier times".into()
            }
            _ => message,
        })
    }
}

/// Appends `value` to `out` as msgpack.
///
/// # Errors
///
/// Returns an error if the value contains an integer of more than 64 bits, a map key other than a
/// string, integer or `bool`, or more than [`MAX_DEPTH`] levels of lists and maps. Also returns an
/// error if the `Serialize` implementation fails. After an error, `out` is unchanged.
pub fn encode<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), EncodeError> {
    let start = out.len();
    let splices = None;
    let result = value.serialize(&mut Encoder {
        out,
        splices,
        depth: 0,
    });
    // Remove the partial value. The preceding values in the buffer must stay valid.
    if result.is_err() {
        out.truncate(start);
    }
    result
}

/// Appends `value` like [`encode`], but moves large binary data and handles to `splices`.
pub(crate) fn encode_spliced<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    splices: &mut Splices,
    value: &T,
) -> Result<(), EncodeError> {
    let (start, before) = (out.len(), splices.len());
    let _accept = AcceptSplices::begin();
    let result = value.serialize(&mut Encoder {
        out,
        splices: Some(splices),
        depth: 0,
    });
    if result.is_err() {
        out.truncate(start);
        splices.truncate(before);
    }
    result
}

/// Contents stored outside of the buffer, each with its position in the buffer. The positions are
/// in ascending order.
pub(crate) type Splices = Vec<(usize, Splice)>;

/// Replaces a range of the buffer with `new`, and updates the positions of the splices after the
/// range.
pub(crate) fn replace(
    out: &mut Vec<u8>,
    splices: &mut Splices,
    range: std::ops::Range<usize>,
    new: Vec<u8>,
) {
    // Iterate backwards and stop early, because the splices are sorted by position.
    for (position, _) in splices.iter_mut().rev() {
        if *position < range.end {
            break;
        }
        *position = *position - range.len() + new.len();
    }
    out.splice(range, new);
}

/// Returns `value` as msgpack.
///
/// # Errors
///
/// Returns an error if the value cannot be sent, see [`encode`].
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(128);
    encode(&mut out, value)?;
    Ok(out)
}

/// Name of a newtype. [`Value`] uses the newtype to pass an extension value to the encoder. The
/// newtype contains the type byte, followed by the data.
pub(crate) const EXT: &str = "$hypha_rpc::ext";

/// Serializer that appends to a buffer.
struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    /// Receives large binary data and handles. If `None`, everything is written into the buffer.
    splices: Option<&'a mut Splices>,
    /// Number of open lists and maps.
    depth: usize,
}

impl<'a> Encoder<'a> {
    /// Enters one more level of lists and maps. Fails at the depth that Rust receivers reject. The
    /// sender then gets an error that names the argument.
    fn enter(&mut self) -> Result<(), EncodeError> {
        if self.depth == MAX_DEPTH {
            return Err(EncodeError::new(format!(
                "lists and maps are nested more than {MAX_DEPTH} deep"
            )));
        }
        self.depth += 1;
        Ok(())
    }

    /// Starts an enum variant with content. The variant is sent as a map with one entry.
    fn variant(&mut self, name: &str) -> Result<(), EncodeError> {
        self.enter()?;
        pack::put_map_head(self.out, 1);
        pack::put_str(self.out, name);
        Ok(())
    }

    /// Starts a list or map. If `in_variant` is true, the list or map is the content of an enum
    /// variant. The end of the list or map is then also the end of the map of the variant.
    fn open(
        &mut self,
        kind: Kind,
        len: Option<usize>,
        in_variant: bool,
    ) -> Result<Compound<'_, 'a>, EncodeError> {
        self.enter()?;
        let start = self.out.len();
        let written = length(len.unwrap_or(0))?;
        kind.put_head(self.out, written);
        let levels = if in_variant { 2 } else { 1 };
        Ok(Compound {
            encoder: self,
            kind,
            start,
            written,
            count: 0,
            levels,
            time: None,
            is_array: false,
            array: None,
        })
    }
}

/// Kind of a compound value.
#[derive(Clone, Copy)]
enum Kind {
    List,
    Map,
}

impl Kind {
    fn put_head(self, out: &mut impl Sink, len: u32) {
        match self {
            Self::List => pack::put_list_head(out, len),
            Self::Map => pack::put_map_head(out, len),
        }
    }
}

/// Converts a length to the `u32` of a msgpack header. Fails if the length does not fit.
fn length(len: usize) -> Result<u32, EncodeError> {
    u32::try_from(len)
        .map_err(|_| EncodeError::new(format!("length {len} does not fit the 32 bits of msgpack")))
}

/// List or map that is being written.
///
/// The length that serde passes is only a hint, and is missing with `#[serde(flatten)]`. If the
/// number of items differs from the hint, `close` replaces the header.
struct Compound<'b, 'a> {
    encoder: &'b mut Encoder<'a>,
    kind: Kind,
    /// Position of the header.
    start: usize,
    /// Length in the header.
    written: u32,
    /// Number of items written so far.
    count: usize,
    /// Number of nesting levels to leave at the end. This is 2 for the content of a variant, which
    /// is inside another map.
    levels: usize,
    /// Time type of the struct, if the name of the struct is the name of a time type.
    time: Option<Time>,
    /// Whether the struct may be an array of the crate `ndarray`. The field `array` then holds the
    /// array.
    is_array: bool,
    array: Option<NdArray>,
}

impl Compound<'_, '_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.count += 1;
        value.serialize(&mut *self.encoder)
    }

    /// Writes a key. Integers and `bool` are written as strings, as in JSON and in the schema of
    /// the map. Other clients would drop a message with keys that are not strings.
    fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.count += 1;
        let start = self.encoder.out.len();
        key.serialize(&mut *self.encoder)?;
        // Encode the key first and then examine the encoded bytes, because serde does not provide
        // the type of the key in advance.
        let written = &self.encoder.out[start..];
        if decode::is_string(written) {
            return Ok(());
        }
        let key = bytes::Bytes::copy_from_slice(written);
        let text = match decode::from_slice::<Value>(&key) {
            Ok(key @ (Value::Int(_) | Value::UInt(_) | Value::Bool(_))) => {
                self.encoder.out.truncate(start);
                pack::put_str(self.encoder.out, &key.to_string());
                return Ok(());
            }
            Ok(Value::Null) => "null".to_owned(),
            Ok(key) => format!("{} {key}", key.kind()),
            Err(_) => "an unreadable value".to_owned(),
        };
        Err(EncodeError::new(format!(
            "a map key must be a string, got {text}; `OrderedMap` allows other keys"
        )))
    }

    fn field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        if self.is_array && self.count == 2 {
            let head = &self.encoder.out[self.start..];
            if cfg!(feature = "ndarray") {
                self.array = arrays::array_of(head, name, value);
                if self.array.is_some() {
                    return Ok(());
                }
            } else if arrays::is_elements(head, name) {
                return Err(EncodeError::new(WITHOUT_FEATURE));
            }
        }
        self.count += 1;
        // Skip the check of `key`, because the name of a field is always a string.
        pack::put_str(self.encoder.out, name);
        value.serialize(&mut *self.encoder)
    }

    /// Ends the list or map, and corrects the length in its header.
    fn close(self) -> Result<(), EncodeError> {
        self.encoder.depth -= self.levels;
        let count = length(self.count)?;
        if count != self.written {
            let mut head = Vec::new();
            self.kind.put_head(&mut head, count);
            let end = self.start + pack::head_len(self.written);
            let Encoder { out, splices, .. } = self.encoder;
            // Without splices, there are no positions to update.
            let mut none = Splices::new();
            let splices = splices.as_deref_mut().unwrap_or(&mut none);
            replace(out, splices, self.start..end, head);
        }
        Ok(())
    }
}

impl<'b, 'a> ser::Serializer for &'b mut Encoder<'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Compound<'b, 'a>;
    type SerializeTuple = Compound<'b, 'a>;
    type SerializeTupleStruct = Compound<'b, 'a>;
    type SerializeTupleVariant = Compound<'b, 'a>;
    type SerializeMap = Compound<'b, 'a>;
    type SerializeStruct = Compound<'b, 'a>;
    type SerializeStructVariant = Compound<'b, 'a>;

    fn serialize_bool(self, v: bool) -> Result<(), EncodeError> {
        pack::put_bool(self.out, v);
        Ok(())
    }

    fn serialize_i8(self, v: i8) -> Result<(), EncodeError> {
        self.serialize_i64(v.into())
    }

    fn serialize_i16(self, v: i16) -> Result<(), EncodeError> {
        self.serialize_i64(v.into())
    }

    fn serialize_i32(self, v: i32) -> Result<(), EncodeError> {
        self.serialize_i64(v.into())
    }

    fn serialize_i64(self, v: i64) -> Result<(), EncodeError> {
        pack::put_int(self.out, v);
        Ok(())
    }

    fn serialize_i128(self, v: i128) -> Result<(), EncodeError> {
        if let Ok(v) = i64::try_from(v) {
            self.serialize_i64(v)
        } else if let Ok(v) = u64::try_from(v) {
            self.serialize_u64(v)
        } else {
            Err(EncodeError::new(format!(
                "integer {v} does not fit 64 bits"
            )))
        }
    }

    fn serialize_u8(self, v: u8) -> Result<(), EncodeError> {
        self.serialize_u64(v.into())
    }

    fn serialize_u16(self, v: u16) -> Result<(), EncodeError> {
        self.serialize_u64(v.into())
    }

    fn serialize_u32(self, v: u32) -> Result<(), EncodeError> {
        self.serialize_u64(v.into())
    }

    fn serialize_u64(self, v: u64) -> Result<(), EncodeError> {
        pack::put_uint(self.out, v);
        Ok(())
    }

    fn serialize_u128(self, v: u128) -> Result<(), EncodeError> {
        match u64::try_from(v) {
            Ok(v) => self.serialize_u64(v),
            Err(_) => Err(EncodeError::new(format!(
                "integer {v} does not fit 64 bits"
            ))),
        }
    }

    fn serialize_f32(self, v: f32) -> Result<(), EncodeError> {
        self.serialize_f64(v.into())
    }

    fn serialize_f64(self, v: f64) -> Result<(), EncodeError> {
        pack::put_f64(self.out, v);
        Ok(())
    }

    fn serialize_char(self, v: char) -> Result<(), EncodeError> {
        self.serialize_str(v.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, v: &str) -> Result<(), EncodeError> {
        length(v.len())?;
        pack::put_str(self.out, v);
        Ok(())
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<(), EncodeError> {
        length(v.len())?;
        pack::put_bin(self.out, v);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), EncodeError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), EncodeError> {
        pack::put_nil(self.out);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), EncodeError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), EncodeError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        if name == SPLICE {
            match (offered(), &mut self.splices) {
                (Some(splice), Some(splices)) => {
                    if let Splice::Bytes(bytes) = &splice {
                        pack::put_bin_head(self.out, length(bytes.len())?);
                    }
                    splices.push((self.out.len(), splice));
                    return Ok(());
                }
                // Encode the content as an ordinary value. Either no splice was offered, or nothing
                // may be stored outside of the buffer.
                _ => return value.serialize(self),
            }
        }
        if name != EXT {
            return value.serialize(self);
        }
        // serde has no extension values, so the type byte is available only in the encoded content.
        // Encode the content as bytes, and read the type byte and the data from these bytes.
        let packed = bytes::Bytes::from(to_vec(value)?);
        match decode::from_slice::<&[u8]>(&packed) {
            Ok([code, data @ ..]) => {
                pack::put_ext(self.out, *code as i8, data);
                Ok(())
            }
            _ => Err(EncodeError::new("an extension value needs a type byte")),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.depth -= 1;
        Ok(())
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Compound<'b, 'a>, EncodeError> {
        self.open(Kind::List, len, false)
    }

    fn serialize_tuple(self, len: usize) -> Result<Compound<'b, 'a>, EncodeError> {
        self.open(Kind::List, Some(len), false)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        len: usize,
    ) -> Result<Compound<'b, 'a>, EncodeError> {
        self.open(Kind::List, Some(len), false)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'b, 'a>, EncodeError> {
        self.variant(variant)?;
        self.open(Kind::List, Some(len), true)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Compound<'b, 'a>, EncodeError> {
        self.open(Kind::Map, len, false)
    }

    fn serialize_struct(
        self,
        name: &'static str,
        len: usize,
    ) -> Result<Compound<'b, 'a>, EncodeError> {
        let mut compound = self.open(Kind::Map, Some(len), false)?;
        compound.time = Time::named(name, len);
        compound.is_array = is_named(name, len);
        Ok(compound)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Compound<'b, 'a>, EncodeError> {
        self.variant(variant)?;
        self.open(Kind::Map, Some(len), true)
    }
}

impl ser::SerializeSeq for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.close()
    }
}

impl ser::SerializeTuple for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.close()
    }
}

impl ser::SerializeTupleStruct for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.close()
    }
}

impl ser::SerializeTupleVariant for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        self.item(value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.close()
    }
}

impl ser::SerializeMap for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), EncodeError> {
        self.key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(&mut *self.encoder)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.close()
    }
}

impl ser::SerializeStruct for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.field(key, value)
    }

    fn end(mut self) -> Result<(), EncodeError> {
        if let Some(array) = self.array.take() {
            self.encoder.out.truncate(self.start);
            self.encoder.depth -= self.levels;
            return array.serialize(self.encoder);
        }
        if let Some(time) = self.time {
            time.replace(self.encoder.out, self.start);
        }
        self.close()
    }
}

impl ser::SerializeStructVariant for Compound<'_, '_> {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.field(key, value)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.close()
    }
}
