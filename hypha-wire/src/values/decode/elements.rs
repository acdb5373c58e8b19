//! Decodes the elements of an array as a list of numbers or rows, for example when a numpy array
//! arrives for a `Vec<f64>` or a `Vec<Vec<f64>>`.

use serde::de::value::SeqDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{ALLOCATION, Decoder, Token};
use crate::values::array::{NdArray, misfit};
use crate::values::buffered;
use crate::values::decode_error::DecodeError;
use crate::values::dtype::{self, DType, Number};
use crate::values::time_type::Time;

/// Returns the number in `item`. Returns `None` if `item` is not exactly one element, or if the
/// elements are not real numbers.
pub(super) fn number_token<'de>(array: &NdArray, item: &[u8]) -> Option<Token<'de>> {
    let number = array.dtype().read(item, array.byte_order())?;
    Some(match number {
        Number::Bool(value) => Token::Bool(value),
        Number::Int(value) => super::signed(value),
        Number::UInt(value) => Token::UInt(value),
        Number::Float(value) => Token::Float(value),
    })
}

/// Maximum number of empty rows that are converted to lists, for example of an array with shape
/// `(2, 0)`.
const MAX_EMPTY_ROWS: usize = 4096;

/// Iterates over an array along one dimension. Yields rows, or numbers in the last dimension.
pub(in crate::values) struct Rows<'a, 'd, 'de> {
    /// Decoder whose limit is charged for the memory of the elements. The elements are not read
    /// from this decoder.
    decoder: &'d mut Decoder<'de>,
    /// Factor between the size of a decoded item and the memory charged for the item.
    copies: usize,
    array: &'a NdArray,
    /// Whether no conversion may change an element.
    is_exact: bool,
    /// Lengths of the dimensions below the dimension of these rows.
    below: &'a [usize],
    /// Bytes of the remaining rows.
    data: &'a [u8],
    /// Bytes per row.
    step: usize,
    /// Index of the next row.
    next: usize,
    /// Number of rows.
    len: usize,
}

impl<'a, 'd, 'de> Rows<'a, 'd, 'de> {
    /// Visits an array where a list is expected.
    pub(super) fn visit<V: Visitor<'de>>(
        decoder: &'d mut Decoder<'de>,
        array: &'a NdArray,
        copies: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let (shape, dtype) = (array.shape(), array.dtype());
        // Empty rows take no bytes on the wire, so a peer could otherwise turn a few bytes into any
        // number of empty lists.
        let rows = shape.iter().filter(|length| **length != 0);
        let is_short = rows.product::<usize>() <= MAX_EMPTY_ROWS;
        let is_list = !shape.is_empty() && (shape[0] == 0 || !array.is_empty() || is_short);
        if !is_list || !dtype.is_real() {
            let array = format!("an array of {dtype} and shape {shape:?}");
            return Err(de::Error::invalid_type(
                de::Unexpected::Other(&array),
                &visitor,
            ));
        }
        Part {
            decoder,
            copies,
            array,
            is_exact: false,
            shape,
            data: array.data(),
        }
        .deserialize_any(visitor)
    }

    /// Visits all elements of an array as one list. If `is_exact` is true, no conversion may change
    /// an element.
    pub(in crate::values) fn visit_flat<V: Visitor<'de>>(
        decoder: &'d mut Decoder<'de>,
        array: &'a NdArray,
        is_exact: bool,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        Part {
            decoder,
            copies: 1,
            array,
            is_exact,
            shape: &[array.len()],
            data: array.data(),
        }
        .deserialize_any(visitor)
    }
}

impl<'de> SeqAccess<'de> for Rows<'_, '_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        if self.next == self.len {
            return Ok(None);
        }
        let Some((data, rest)) = self.data.split_at_checked(self.step) else {
            return Ok(None);
        };
        let index = self.next;
        (self.data, self.next) = (rest, index + 1);
        self.decoder.charge(size_of::<S::Value>() * self.copies)?;
        let part = Part {
            decoder: self.decoder,
            copies: self.copies,
            array: self.array,
            is_exact: self.is_exact,
            shape: self.below,
            data,
        };
        match seed.deserialize(part) {
            Ok(value) => Ok(Some(value)),
            // The error concerns the type of all elements.
            Err(error) if self.is_exact && is_float(self.array) => Err(error),
            Err(error) => Err(error.in_index(index)),
        }
    }

    /// Returns the exact length. No smaller limit is needed, because the bytes of all rows have
    /// already arrived.
    fn size_hint(&self) -> Option<usize> {
        Some(self.len - self.next)
    }
}

/// One item of [`Rows`]. The item is a number if its shape is empty, otherwise a row.
struct Part<'a, 'd, 'de> {
    decoder: &'d mut Decoder<'de>,
    copies: usize,
    array: &'a NdArray,
    is_exact: bool,
    shape: &'a [usize],
    data: &'a [u8],
}

impl<'de> Part<'_, '_, 'de> {
    /// Converts the number of a part without dimensions with `read`, and passes the number to the
    /// visitor.
    fn visit_number<V: Visitor<'de>>(
        self,
        visitor: V,
        read: impl FnOnce(Token<'de>) -> Token<'de>,
    ) -> Result<V::Value, DecodeError> {
        let order = self.array.byte_order();
        match number_token(self.array, self.data).map(read) {
            Some(Token::Bool(value)) => visitor.visit_bool(value),
            Some(Token::Int(value)) => visitor.visit_i64(value),
            Some(Token::UInt(value)) => visitor.visit_u64(value),
            Some(Token::Float(value)) => visitor.visit_f64(value),
            // Pass a complex number as a list of the real and the imaginary part.
            _ => match self.array.dtype().complex_parts(self.data, order) {
                Some(parts) => visitor.visit_seq(SeqDeserializer::new(parts.into_iter())),
                None => Err(de::Error::invalid_type(
                    de::Unexpected::Other("an array of other elements"),
                    &visitor,
                )),
            },
        }
    }
}

/// Returns whether the elements of an array are floats.
fn is_float(array: &NdArray) -> bool {
    matches!(
        array.dtype(),
        DType::Float16 | DType::Float32 | DType::Float64
    )
}

impl Part<'_, '_, '_> {
    /// Checks that a part without dimensions can be an element of the type `wanted`. serde checks
    /// the range of integers.
    fn check(&self, wanted: &DType) -> Result<(), DecodeError> {
        let is_of_type = self.array.dtype() == wanted || wanted.widens(self.array.dtype());
        let is_float = matches!(wanted, DType::Float16 | DType::Float32 | DType::Float64);
        let rounded = |number: f64| match wanted {
            DType::Float16 => dtype::f16_to_f64(dtype::f16_from_f64(number)),
            DType::Float32 => f64::from(number as f32),
            _ => number,
        };
        let unfit = |number: i128| {
            let is_exact = !is_float || rounded(number as f64) as i128 == number;
            (!is_exact).then(|| format!("{number} has no exact {wanted}"))
        };
        let error = match number_token(self.array, self.data) {
            Some(Token::Int(number)) if self.is_exact => unfit(number.into()),
            Some(Token::UInt(number)) if self.is_exact => unfit(number.into()),
            Some(Token::Float(_)) if self.is_exact && !is_of_type => {
                let (got, shape) = (self.array.dtype(), self.array.shape());
                Some(misfit(&wanted.to_string(), None, got, shape))
            }
            Some(Token::Float(number)) if number.is_finite() && rounded(number).is_infinite() => {
                let name = if *wanted == DType::Float16 {
                    "f16"
                } else {
                    "f32"
                };
                Some(format!("{number:e} is out of range for {name}"))
            }
            _ => None,
        };
        error.map_or(Ok(()), |error| Err(DecodeError::new(error)))
    }
}

macro_rules! numbers {
    ($($name:ident $dtype:ident $read:expr;)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            match self.shape {
                [] => {
                    self.check(&DType::$dtype)?;
                    self.visit_number(visitor, $read)
                }
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Part<'_, '_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        let [len, below @ ..] = self.shape else {
            // serde reads floats of its buffers as integers only if the buffer holds integers.
            return match self.decoder.is_inside_buffer {
                true => self.visit_number(visitor, |token| match token {
                    Token::Float(value) if value == 0.0 && value.is_sign_negative() => token,
                    token => token.whole(),
                }),
                false => self.visit_number(visitor, |token| token),
            };
        };
        if self.copies > 0 {
            self.decoder.charge(ALLOCATION)?;
        }
        let mut rows = Rows {
            decoder: self.decoder,
            copies: self.copies,
            array: self.array,
            is_exact: self.is_exact,
            below,
            data: self.data,
            step: self.data.len().checked_div(*len).unwrap_or(0),
            next: 0,
            len: *len,
        };
        let value = visitor.visit_seq(&mut rows)?;
        match rows.next == rows.len {
            true => Ok(value),
            false => Err(DecodeError::expected(
                format_args!("a list of length {}", rows.next),
                format_args!("length {len}"),
            )),
        }
    }

    numbers! {
        deserialize_i8 Int8 Token::whole;
        deserialize_i16 Int16 Token::whole;
        deserialize_i32 Int32 Token::whole;
        deserialize_i64 Int64 Token::whole;
        deserialize_i128 Int64 Token::whole;
        deserialize_u8 UInt8 Token::whole;
        deserialize_u16 UInt16 Token::whole;
        deserialize_u32 UInt32 Token::whole;
        deserialize_u64 UInt64 Token::whole;
        deserialize_u128 UInt64 Token::whole;
        deserialize_f32 Float32 |token| token;
        deserialize_f64 Float64 |token| token;
    }

    /// Decodes a number of seconds as a `Duration`. Decodes everything else like `deserialize_any`.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let time = Time::of_fields(name, fields).filter(|_| self.shape.is_empty());
        match (time, number_token(self.array, self.data)) {
            (Some(time), Some(token)) => Decoder::time(time, &token, visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match (self.shape, name) {
            // With `visit_newtype_struct`, `half::f16` would read the number as a bit pattern.
            ([], "f16") => {
                self.check(&DType::Float16)?;
                self.visit_number(visitor, |token| token)
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    forward_to_deserialize_any! {
        bool char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map enum
        identifier ignored_any
    }
}

/// Form of the elements of an array in serde's buffer. The first element is a newtype.
///
/// `half::f16` is a newtype of its bit pattern, a `u16`. In the buffer, it cannot be distinguished
/// from a number without a newtype. No number type accepts a newtype from the buffer, and a newtype
/// of a `u16` refuses a float. So serde refuses an array whose elements have another type than the
/// form. A newtype of a `u16` other than `half::f16` is read like `half::f16`.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    /// The first element is a float.
    Newtype,
    /// All elements are bit patterns of `half::f16`.
    Halves,
}

/// List of the elements of an array whose first element is a newtype.
pub(super) struct Marked<'a, 'd, 'de> {
    /// Decoder whose limit is charged for the memory of the elements.
    decoder: &'d mut Decoder<'de>,
    array: &'a NdArray,
    mark: Mark,
    /// Bytes of the remaining elements.
    data: &'a [u8],
    is_first: bool,
}

impl<'a, 'd, 'de> Marked<'a, 'd, 'de> {
    pub(super) fn visit<V: Visitor<'de>>(
        decoder: &'d mut Decoder<'de>,
        array: &'a NdArray,
        mark: Mark,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        buffered::marked();
        decoder.charge(2 * ALLOCATION)?;
        visitor.visit_seq(Marked {
            decoder,
            array,
            mark,
            data: array.data(),
            is_first: true,
        })
    }
}

impl<'de> SeqAccess<'de> for Marked<'_, '_, 'de> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, DecodeError> {
        let size = self.array.dtype().item_size().unwrap_or(0);
        let Some((item, rest)) = self.data.split_at_checked(size) else {
            return Ok(None);
        };
        let order = self.array.byte_order();
        let Some(number) = self.array.dtype().read(item, order).filter(|_| size > 0) else {
            return Ok(None);
        };
        self.data = rest;
        self.decoder.charge(size_of::<S::Value>())?;
        let is_first = std::mem::take(&mut self.is_first);
        let number = match self.mark {
            Mark::Halves => Number::UInt(dtype::f16_from_f64(number.to_f64()).into()),
            Mark::Newtype if is_first => Number::Float(number.to_f64()),
            Mark::Newtype => number,
        };
        let element = MarkedElement { number, is_first };
        seed.deserialize(element).map(Some)
    }
}

struct MarkedElement {
    number: Number,
    is_first: bool,
}

impl<'de> Deserializer<'de> for MarkedElement {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.is_first {
            return visitor.visit_newtype_struct(MarkedElement {
                is_first: false,
                ..self
            });
        }
        match self.number {
            Number::Bool(value) => visitor.visit_bool(value),
            Number::Int(value) => visitor.visit_i64(value),
            Number::UInt(value) => visitor.visit_u64(value),
            Number::Float(value) => visitor.visit_f64(value),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}
