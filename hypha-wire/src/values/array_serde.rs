//! Encodes and decodes arrays and buffers. On the wire, each is a map with the key `_rtype` and the
//! elements as bytes (`docs/protocol/03-values.md`).
//!
//! There are three forms: `ndarray`, `typedarray` and `memoryview`. Each type in this module is
//! always sent in the same form, but accepts all three forms. A Python caller can send only
//! Python's forms, and a JavaScript caller can send only JavaScript's forms.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::array::NdArray;
use super::array_lists::{Lists, unsigned};
use super::binary::{Binary, Newtype};
use super::buffered;
use super::dtype::{ByteOrder, DType, Number};
use super::scope::share;
use super::value::{Map, Value};
use crate::keys;
use crate::keys::SCHEMA_KIND;

/// The order of the keys is the same as in the Python client, so that tests can compare the encoded
/// bytes with recorded messages.
impl Serialize for NdArray {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(4))?;
        map.serialize_entry(keys::RTYPE, "ndarray")?;
        map.serialize_entry(keys::RVALUE, &Binary(self.data().clone()))?;
        map.serialize_entry(keys::RSHAPE, self.shape())?;
        map.serialize_entry(keys::RDTYPE, &self.dtype().wire_name(self.byte_order()))?;
        map.end()
    }
}

/// Creates the map that a peer would receive. The map shares the data of the array.
impl From<NdArray> for Value {
    fn from(array: NdArray) -> Value {
        let (dtype, order, shape, data) = array.into_parts();
        Value::Map(Map::from_iter([
            (keys::RTYPE.to_owned(), "ndarray".into()),
            (keys::RVALUE.to_owned(), data.into()),
            (keys::RSHAPE.to_owned(), shape.into()),
            (keys::RDTYPE.to_owned(), (*dtype.wire_name(order)).into()),
        ]))
    }
}

impl JsonSchema for NdArray {
    fn schema_name() -> Cow<'static, str> {
        "NdArray".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        array_schema(None, None)
    }
}

/// Returns the schema of an array. `dtype` is numpy's name of the element type.
///
/// The schema has no `properties`. A schema is also sent as a value, and a receiver would decode a
/// map with a member `_rtype` as a typed value.
#[doc(hidden)]
#[must_use]
pub fn array_schema(dtype: Option<&str>, dimensions: Option<usize>) -> Schema {
    let elements = dtype.unwrap_or("numbers");
    let shape = match dimensions {
        Some(1) => " with 1 dimension".to_owned(),
        Some(number) => format!(" with {number} dimensions"),
        None => String::new(),
    };
    let example = dtype.map_or("such as \"uint8\" or \"float32\"".to_owned(), |dtype| {
        format!("which is \"{dtype}\"")
    });
    let mut schema = json_schema!({
        "type": "object",
        "description": format!(
            "An array of {elements}{shape}: a numpy array in Python, a typed array in JavaScript. \
             Its parts are `_rtype`, which is \"ndarray\"; `_rvalue`, the bytes of the elements, \
             little-endian, the last index running fastest; `_rshape`, the list of lengths along \
             each dimension; and `_rdtype`, the type of the elements as numpy names it, {example}."
        ),
        (SCHEMA_KIND): "ndarray"
    });
    if let Some(dtype) = dtype {
        schema.insert(keys::SCHEMA_DTYPE.to_owned(), dtype.into());
    }
    if let Some(dimensions) = dimensions {
        schema.insert(keys::SCHEMA_DIMENSIONS.to_owned(), dimensions.into());
    }
    schema
}

impl<'de> Deserialize<'de> for NdArray {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ArrayVisitor)
    }
}

/// Visitor that accepts every form of arrays and buffers, numbers, and lists of numbers.
pub(crate) struct ArrayVisitor;

impl<'de> Visitor<'de> for ArrayVisitor {
    type Value = NdArray;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("array")
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<NdArray, E> {
        one_dimension("uint8", share(bytes))
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<NdArray, E> {
        one_dimension("uint8", bytes::Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<NdArray, E> {
        one_dimension("uint8", bytes.into())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, content: D) -> Result<NdArray, D::Error> {
        one_dimension("uint8", Newtype::read_bytes(content, &self)?.0)
    }

    fn visit_i32<E: de::Error>(self, value: i32) -> Result<NdArray, E> {
        buffered::refuse_scalar(&self)?;
        self.visit_i64(value.into())
    }

    fn visit_u32<E: de::Error>(self, value: u32) -> Result<NdArray, E> {
        buffered::refuse_scalar(&self)?;
        self.visit_u64(value.into())
    }

    fn visit_f32<E: de::Error>(self, value: f32) -> Result<NdArray, E> {
        buffered::refuse_scalar(&self)?;
        self.visit_f64(value.into())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<NdArray, E> {
        single(Number::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<NdArray, E> {
        single(Number::Int(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<NdArray, E> {
        single(unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<NdArray, E> {
        single(Number::Float(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<NdArray, A::Error> {
        let mut lists = Lists::default();
        lists.list(0, items)?;
        lists.finish().map_err(de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<NdArray, A::Error> {
        // Peers may send the keys in any order, so check the parts after reading all of them. Skip
        // unknown keys, because a later version may add keys.
        let (mut form, mut data, mut shape, mut dtype) = (None, None, None, None);
        while let Some(key) = entries.next_key::<Cow<'de, str>>()? {
            match key.as_ref() {
                keys::RTYPE => form = Some(entries.next_value_seed(ArrayFormSeed(&self))?),
                keys::RVALUE => data = Some(entries.next_value::<Data>()?.0),
                keys::RSHAPE => shape = Some(entries.next_value::<Vec<usize>>()?),
                keys::RDTYPE => dtype = Some(entries.next_value::<Option<String>>()?),
                _ => {
                    entries.next_value::<de::IgnoredAny>()?;
                }
            }
        }
        let Some(form) = form else {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        };
        let data = data.ok_or_else(|| de::Error::missing_field(keys::RVALUE))?;
        let dtype = || dtype.ok_or_else(|| de::Error::missing_field(keys::RDTYPE));
        match form {
            ArrayForm::Memory => one_dimension("uint8", data),
            ArrayForm::Typed => match dtype()? {
                Some(dtype) => one_dimension(&dtype, data),
                None => Err(de::Error::custom(
                    "a typed array without the type of its elements, like a BigInt or clamped \
                     array of JavaScript: only its bytes can be read",
                )),
            },
            ArrayForm::Nd => {
                let shape = shape.ok_or_else(|| de::Error::missing_field(keys::RSHAPE))?;
                let dtype = dtype()?.ok_or_else(|| de::Error::missing_field(keys::RDTYPE))?;
                let (dtype, order) = DType::parse(&dtype);
                NdArray::new(dtype, order, shape, data).map_err(de::Error::custom)
            }
        }
    }
}

/// Creates an array without dimensions from a number, because Python sends a `numpy.float64` as a
/// plain number.
fn single<E: de::Error>(number: Number) -> Result<NdArray, E> {
    let mut lists = Lists::default();
    lists.number(0, number)?;
    lists.finish().map_err(E::custom)
}

/// Creates a one-dimensional array. The number of elements follows from the length of the data.
fn one_dimension<E: de::Error>(dtype: &str, data: bytes::Bytes) -> Result<NdArray, E> {
    let (dtype, order) = DType::parse(dtype);
    let len = match dtype.item_size() {
        Some(size) if data.len() % size == 0 => data.len() / size,
        Some(_) => {
            return Err(E::custom(format_args!(
                "{} bytes of data are not a whole number of {dtype}",
                data.len()
            )));
        }
        None => {
            return Err(E::custom(format_args!(
                "a typed array of dtype {dtype}, which is not known"
            )));
        }
    };
    NdArray::new(dtype, order, vec![len], data).map_err(E::custom)
}

/// Form of a received array or buffer. The value of `_rtype` names the form.
#[derive(Clone, Copy)]
enum ArrayForm {
    /// `ndarray`, with element type and shape. Python sends this form.
    Nd,
    /// `typedarray`, with element type. JavaScript sends this form.
    Typed,
    /// `memoryview`, bytes without shape. Python and JavaScript send this form.
    Memory,
}

/// Seed that reads `_rtype`. If the form is unknown, the error names the type of the whole map,
/// because such an error also lists the expected types.
struct ArrayFormSeed<'a>(&'a ArrayVisitor);

impl<'de> de::DeserializeSeed<'de> for ArrayFormSeed<'_> {
    type Value = ArrayForm;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<ArrayForm, D::Error> {
        match Cow::<str>::deserialize(deserializer)?.as_ref() {
            "ndarray" => Ok(ArrayForm::Nd),
            "typedarray" => Ok(ArrayForm::Typed),
            "memoryview" => Ok(ArrayForm::Memory),
            other => Err(de::Error::invalid_value(de::Unexpected::Str(other), self.0)),
        }
    }
}

/// Bytes of the elements. A peer may send the bytes as a list of pieces. A text format represents
/// the bytes as a list of numbers.
struct Data(bytes::Bytes);

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor).map(Self)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = bytes::Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<bytes::Bytes, E> {
        Ok(share(bytes))
    }

    /// Copies the bytes. Bytes that are not borrowed belong to the buffer of another deserializer.
    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<bytes::Bytes, E> {
        Ok(bytes::Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<bytes::Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        content: D,
    ) -> Result<bytes::Bytes, D::Error> {
        Newtype::read_bytes(content, &self).map(bytes::Bytes::from)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pieces: A) -> Result<bytes::Bytes, A::Error> {
        // Hold the first piece until a second piece arrives, so that a single piece is shared
        // instead of copied.
        let Some(first) = pieces.next_element::<Piece>()? else {
            return Ok(bytes::Bytes::new());
        };
        let mut all = Vec::new();
        while let Some(piece) = pieces.next_element::<Piece>()? {
            if all.is_empty() {
                first.append_to(&mut all);
            }
            piece.append_to(&mut all);
        }
        match first {
            // Share the only piece instead of copying it. Almost all peers send a single piece.
            Piece::Bytes(only) if all.is_empty() => Ok(only),
            Piece::Byte(only) if all.is_empty() => Ok(vec![only].into()),
            _ => Ok(all.into()),
        }
    }
}

/// Item of a list that holds the bytes of the elements.
enum Piece {
    Byte(u8),
    Bytes(bytes::Bytes),
}

impl Piece {
    fn append_to(&self, all: &mut Vec<u8>) {
        match self {
            Self::Byte(byte) => all.push(*byte),
            Self::Bytes(bytes) => all.extend_from_slice(bytes),
        }
    }
}

impl<'de> Deserialize<'de> for Piece {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PieceVisitor)
    }
}

struct PieceVisitor;

impl<'de> Visitor<'de> for PieceVisitor {
    type Value = Piece;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Piece, E> {
        let byte = u8::try_from(number).map_err(|_| {
            de::Error::invalid_value(de::Unexpected::Unsigned(number), &"a number below 256")
        })?;
        Ok(Piece::Byte(byte))
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Piece, E> {
        Ok(Piece::Bytes(share(bytes)))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Piece, E> {
        Ok(Piece::Bytes(bytes::Bytes::copy_from_slice(bytes)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, content: D) -> Result<Piece, D::Error> {
        Newtype::read_bytes(content, &self).map(|bytes| Piece::Bytes(bytes.0))
    }
}

/// Numbers that arrive in JavaScript as a typed array and in Python as a numpy array.
///
/// Use this type for JavaScript peers, which have no type for an [`NdArray`].
///
/// ```
/// # use hypha_wire::TypedArray;
/// let spectrum = TypedArray::try_from(vec![0.5f32, 1.5])?; // a Float32Array
/// # Ok::<(), hypha_wire::ArrayError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedArray(NdArray);

impl TypedArray {
    /// Returns the numbers as a one-dimensional, little-endian array.
    pub fn array(&self) -> &NdArray {
        &self.0
    }

    /// Converts this value into a one-dimensional, little-endian array.
    pub fn into_array(self) -> NdArray {
        self.0
    }
}

/// Takes all elements of the array in C order, and drops the shape. Fails if the JavaScript client
/// has no typed array for the element type. That client supports integers of up to 32 bits,
/// `float32` and `float64`.
impl TryFrom<NdArray> for TypedArray {
    type Error = crate::ArrayError;

    fn try_from(array: NdArray) -> Result<Self, Self::Error> {
        match array.dtype() {
            DType::Int8
            | DType::Int16
            | DType::Int32
            | DType::UInt8
            | DType::UInt16
            | DType::UInt32
            | DType::Float32
            | DType::Float64 => {}
            other => {
                return Err(crate::ArrayError::new(format!(
                    "JavaScript has no typed array of {other}"
                )));
            }
        }
        // A typed array does not declare its byte order, and receivers assume little-endian.
        let data = match array.data_in(ByteOrder::Little) {
            Cow::Borrowed(_) => array.data().clone(),
            Cow::Owned(swapped) => swapped.into(),
        };
        let len = array.len();
        NdArray::from_bytes(array.into_parts().0, [len], data).map(Self)
    }
}

impl<T: crate::Element> TryFrom<Vec<T>> for TypedArray {
    type Error = crate::ArrayError;

    fn try_from(elements: Vec<T>) -> Result<Self, Self::Error> {
        NdArray::from(elements).try_into()
    }
}

impl Serialize for TypedArray {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry(keys::RTYPE, "typedarray")?;
        map.serialize_entry(keys::RVALUE, &Binary(self.0.data().clone()))?;
        map.serialize_entry(keys::RDTYPE, &self.0.dtype().wire_name(ByteOrder::Little))?;
        map.end()
    }
}

/// Accepts every form that an [`NdArray`] accepts.
impl<'de> Deserialize<'de> for TypedArray {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let array = NdArray::deserialize(deserializer)?;
        array.try_into().map_err(de::Error::custom)
    }
}

impl JsonSchema for TypedArray {
    fn schema_name() -> Cow<'static, str> {
        "TypedArray".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        NdArray::json_schema(generator)
    }
}

/// Bytes that arrive in JavaScript as an `ArrayBuffer` and in Python as a `memoryview`.
///
/// Use this type if the called function requires an `ArrayBuffer` or a `memoryview`. A plain
/// [`Binary`] arrives as `Uint8Array` in JavaScript and as `bytes` in Python. When receiving,
/// `MemoryView` and [`Binary`] accept every form of bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryView(
    /// Content.
    pub Binary,
);

impl Serialize for MemoryView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry(keys::RTYPE, "memoryview")?;
        map.serialize_entry(keys::RVALUE, &self.0)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for MemoryView {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Binary::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for MemoryView {
    fn schema_name() -> Cow<'static, str> {
        "MemoryView".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Binary::json_schema(generator)
    }
}
