//! Decodes arrays of the crate `ndarray` that are inside other types.
//!
//! serde converts such an array to a struct `{v, dim, data}`, in which `data` is a plain list of
//! numbers without an element type. The name and the fields of this struct distinguish it from
//! other structs.

use serde::de::value::{BorrowedBytesDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};

use super::elements::{Mark, Marked, Rows};
use super::{DecodeError, Decoder};
use crate::values::array::NdArray;
use crate::values::array_serde::ArrayVisitor;
use crate::values::buffered;
use crate::values::dtype::DType;

/// Value of the field `v`, the version of serde's struct.
pub(in crate::values) const VERSION: u8 = 1;
/// Names of the fields of the struct to which serde converts an array.
pub(in crate::values) const FIELDS: [&str; 3] = buffered::ARRAY_FIELDS;

/// Returns whether a struct with this name and number of fields may be an array.
pub(in crate::values) fn is_named(name: &str, len: usize) -> bool {
    len == FIELDS.len() && name == "Array"
}

/// Returns whether the struct with this name and these fields is an array.
pub(in crate::values) fn is_array(name: &str, fields: &[&str]) -> bool {
    name == "Array" && *fields == FIELDS
}

/// Reads the next value as an array, and visits it as serde's struct: version, shape and elements.
/// `mark` is for real numbers.
pub(super) fn visit_next<'de, V: Visitor<'de>>(
    decoder: &mut Decoder<'de>,
    mark: Option<Mark>,
    visitor: V,
) -> Result<V::Value, DecodeError> {
    // The parts of the array need no other form.
    let trail = decoder.trail.take();
    let array = decoder.deserialize_any(ArrayVisitor)?;
    decoder.trail = trail;
    let is_real = array.dtype().is_real() && *array.dtype() != DType::Bool;
    visitor.visit_map(Parts {
        decoder,
        array: &array,
        mark: mark.filter(|_| is_real),
        next: 0,
    })
}

struct Parts<'a, 'd, 'de> {
    decoder: &'d mut Decoder<'de>,
    array: &'a NdArray,
    mark: Option<Mark>,
    next: usize,
}

impl<'de> MapAccess<'de> for Parts<'_, '_, 'de> {
    type Error = DecodeError;

    fn next_key_seed<S: de::DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        let Some(field) = FIELDS.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        // The keys are bytes, so that a `Value` does not accept the map.
        seed.deserialize(BorrowedBytesDeserializer::new(field.as_bytes()))
            .map(Some)
    }

    fn next_value_seed<S: de::DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<S::Value, Self::Error> {
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
            _ => seed.deserialize(Flat {
                decoder: self.decoder,
                array: self.array,
                mark: self.mark,
            }),
        }
    }
}

/// Deserializer of all elements as one list.
struct Flat<'a, 'd, 'de> {
    decoder: &'d mut Decoder<'de>,
    array: &'a NdArray,
    mark: Option<Mark>,
}

impl<'de> Deserializer<'de> for Flat<'_, '_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.mark {
            Some(mark) => Marked::visit(self.decoder, self.array, mark, visitor),
            None => Rows::visit_flat(self.decoder, self.array, visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
