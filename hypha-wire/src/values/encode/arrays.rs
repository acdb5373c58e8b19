//! Encodes arrays of the crate `ndarray` that are inside other types.
//!
//! serde converts such an array to the struct `{v, dim, data}`. This module encodes that struct as
//! an array. The elements determine the element type. If there are no elements, the name of the
//! Rust type determines it.

use serde::de;
use serde::ser::{self, Impossible, Serialize, Serializer};

use super::EncodeError;
use crate::values::array::NdArray;
use crate::values::decode::arrays::{FIELDS, VERSION};
use crate::values::decode::{self, Decoder};
use crate::values::dtype::{self, ByteOrder, DType};

/// Returns the array if `name` is the field that holds the elements, and `head` contains the
/// preceding fields.
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
    // Only the iterator of `ndarray` has elements. Its size limits the number of types whose name
    // becomes a part of the program.
    let dtype = elements.dtype.or_else(|| match size_of_val(value) {
        size if size < MIN_SEQUENCE => None,
        _ => element_type(std::any::type_name::<T>()),
    });
    let dtype = dtype.unwrap_or(DType::Float64);
    NdArray::new(dtype, ByteOrder::Little, shape, elements.data.into()).ok()
}

/// Returns whether `name` is the field that holds the elements of an array, and `head` begins with
/// the preceding fields.
pub(super) fn is_elements(head: &[u8], name: &str) -> bool {
    name == FIELDS[2] && head.starts_with(b"\x83\xa1v\x01\xa3dim")
}

/// Lower bound of the size of the iterator of an array that may be empty: a pointer, and at least
/// one length, stride and index.
const MIN_SEQUENCE: usize = 4 * size_of::<usize>();

/// Returns the element type of `ndarray`'s iterator, whose type has this name, such as
/// `ndarray::array_serde::Sequence<u16, ndarray::Dim<[usize; 2]>>`.
fn element_type(name: &str) -> Option<DType> {
    let (_, parameters) = name.split_once("Sequence<")?;
    let names = parameters.split(['<', '>', ',', ' ', '&']);
    // Without the path, and without the lifetime.
    let names = names.filter_map(|name| name.rsplit("::").next());
    let mut names = names.filter(|name| !name.is_empty() && !name.starts_with('\''));
    match (names.next()?, names.next()) {
        ("Complex", Some("f32")) => Some(DType::Complex64),
        ("Complex", Some("f64")) => Some(DType::Complex128),
        (name, _) => dtype::of_rust(name),
    }
}

trait Read: for<'de> de::Deserialize<'de> {
    fn read(decoder: &mut Decoder<'_>) -> Option<Self> {
        Self::deserialize(decoder).ok()
    }
}

impl Read for u8 {}
impl Read for Vec<usize> {}

/// Elements of an array as little-endian bytes. They are collected by serializing the elements.
#[derive(Default)]
struct Elements {
    dtype: Option<DType>,
    data: Vec<u8>,
    /// Whether the current number is a part of a complex number.
    is_complex: bool,
    /// Whether the current number is the content of a `half::f16`. This type serializes as its bit
    /// pattern.
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

    /// Serializes a complex number, which is a tuple of the real and the imaginary part.
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
