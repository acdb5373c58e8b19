//! Arrays of the crate `ndarray` inside of other types.
//!
//! serde converts such an array to a struct `{v, dim, data}`, with a plain list of numbers that has
//! no element type. The name and the fields of this struct distinguish it from other structs. The
//! serializer learns the element type from the elements.

use serde::de::value::SeqDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use serde::ser::{self, Impossible, Serialize, Serializer};

use super::array::NdArray;
use super::decode::elements::Rows;
use super::decode::{self, Decoder};
use super::dtype::{ByteOrder, DType};
use super::encode::EncodeError;

/// Value of the field `v`, the version of serde's struct.
const VERSION: u8 = 1;
const FIELDS: [&str; 3] = ["v", "dim", "data"];

/// Returns whether a struct of this name and number of fields may be an array.
pub(super) fn is_named(name: &str, len: usize) -> bool {
    len == FIELDS.len() && name == "Array"
}

/// Returns whether the struct of this name and these fields is an array.
pub(super) fn is_array(name: &str, fields: &[&str]) -> bool {
    name == "Array" && *fields == FIELDS
}

/// Returns the array if `name` is the field with the elements, and `head` contains the fields
/// before it.
pub(super) fn array_of<T: Serialize + ?Sized>(
    head: &[u8],
    name: &str,
    value: &T,
) -> Option<NdArray> {
    if name != FIELDS[2] {
        return None;
    }
    let mut decoder = Decoder::of_span(head, 0, head.len()).ok()?;
    let decode::Token::Map(3) = decoder.token().ok()? else {
        return None;
    };
    let is_version = decoder.key().ok()? == FIELDS[0] && u8::read(&mut decoder)? == VERSION;
    let is_dim = decoder.key().ok()? == FIELDS[1];
    let shape = Vec::<usize>::read(&mut decoder).filter(|_| is_version && is_dim)?;
    let mut elements = Elements::default();
    value.serialize(&mut elements).ok()?;
    let dtype = elements.dtype.unwrap_or(DType::Float64);
    NdArray::new(dtype, ByteOrder::Little, shape, elements.data.into()).ok()
}

trait Read: for<'de> de::Deserialize<'de> {
    fn read(decoder: &mut Decoder<'_>) -> Option<Self> {
        Self::deserialize(decoder).ok()
    }
}

impl Read for u8 {}
impl Read for Vec<usize> {}

/// Elements of an array as little-endian bytes, collected by serializing them.
#[derive(Default)]
struct Elements {
    dtype: Option<DType>,
    data: Vec<u8>,
    /// Whether the current number is a part of a complex number.
    is_complex: bool,
    /// Whether the current number is the content of a `half::f16`, which serializes as its bits.
    is_half: bool,
}

impl Elements {
    fn push(&mut self, dtype: DType, bytes: &[u8]) -> Result<(), EncodeError> {
        let dtype = match (self.is_complex, dtype) {
            (false, DType::UInt16) if self.is_half => DType::Float16,
            (false, dtype) => dtype,
            (true, DType::Float32) => DType::Complex64,
            (true, DType::Float64) => DType::Complex128,
            _ => return Err(unfit()),
        };
        if *self.dtype.get_or_insert_with(|| dtype.clone()) != dtype {
            return Err(unfit());
        }
        self.data.extend_from_slice(bytes);
        Ok(())
    }
}

fn unfit() -> EncodeError {
    EncodeError::new("not elements of an array")
}

macro_rules! numbers {
    ($($name:ident $type:ty: $dtype:ident;)*) => {
        $(fn $name(self, value: $type) -> Result<(), EncodeError> {
            self.push(DType::$dtype, &value.to_le_bytes())
        })*
    };
}

macro_rules! refuse {
    ($($name:ident($($type:ty),*);)*) => {
        $(fn $name(self, $(_: $type),*) -> Result<(), EncodeError> {
            Err(unfit())
        })*
    };
}

type Never = Impossible<(), EncodeError>;

impl<'a> Serializer for &'a mut Elements {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = &'a mut Elements;
    type SerializeTuple = &'a mut Elements;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    numbers! {
        serialize_i8 i8: Int8;
        serialize_i16 i16: Int16;
        serialize_i32 i32: Int32;
        serialize_i64 i64: Int64;
        serialize_u8 u8: UInt8;
        serialize_u16 u16: UInt16;
        serialize_u32 u32: UInt32;
        serialize_u64 u64: UInt64;
        serialize_f32 f32: Float32;
        serialize_f64 f64: Float64;
    }

    fn serialize_bool(self, value: bool) -> Result<(), EncodeError> {
        self.push(DType::Bool, &[value.into()])
    }

    refuse! {
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), EncodeError> {
        Err(unfit())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), EncodeError> {
        self.is_half = name == "f16";
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), EncodeError> {
        Err(unfit())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, EncodeError> {
        Ok(self)
    }

    /// A complex number serializes as a tuple of its parts.
    fn serialize_tuple(self, len: usize) -> Result<Self, EncodeError> {
        if len != 2 || self.is_complex {
            return Err(unfit());
        }
        self.is_complex = true;
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Never, EncodeError> {
        Err(unfit())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, EncodeError> {
        Err(unfit())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never, EncodeError> {
        Err(unfit())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Never, EncodeError> {
        Err(unfit())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, EncodeError> {
        Err(unfit())
    }
}

impl ser::SerializeSeq for &mut Elements {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), EncodeError> {
        Ok(())
    }
}

impl ser::SerializeTuple for &mut Elements {
    type Ok = ();
    type Error = EncodeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), EncodeError> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), EncodeError> {
        self.is_complex = false;
        Ok(())
    }
}

/// Visits an array as serde's struct: version, shape and elements.
pub(super) fn visit<'de, V: Visitor<'de>>(
    decoder: &mut Decoder<'de>,
    array: &NdArray,
    visitor: V,
) -> Result<V::Value, decode::DecodeError> {
    visitor.visit_seq(Parts {
        decoder,
        array,
        next: 0,
    })
}

struct Parts<'a, 'd, 'de> {
    decoder: &'d mut Decoder<'de>,
    array: &'a NdArray,
    next: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_, '_, 'de> {
    type Error = decode::DecodeError;

    fn next_element_seed<S: de::DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        self.next += 1;
        let shape = self.array.shape();
        match self.next {
            1 => seed.deserialize(VERSION.into_deserializer()),
            2 => {
                let lengths = SeqDeserializer::<_, Self::Error>::new(shape.iter().copied());
                seed.deserialize(lengths).map_err(|_| {
                    Self::Error::new(format!(
                        "expected an array of another number of dimensions, got shape {shape:?}"
                    ))
                })
            }
            3 => seed.deserialize(Flat {
                decoder: self.decoder,
                array: self.array,
            }),
            _ => return Ok(None),
        }
        .map(Some)
    }
}

/// Deserializer of all elements as one list.
struct Flat<'a, 'd, 'de> {
    decoder: &'d mut Decoder<'de>,
    array: &'a NdArray,
}

impl<'de> Deserializer<'de> for Flat<'_, '_, 'de> {
    type Error = decode::DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        Rows::visit_flat(self.decoder, self.array, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
