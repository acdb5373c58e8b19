//! Decodes arrays of the crate `ndarray` that are inside other types.
//!
//! serde converts such an array to a struct `{v, dim, data}`, in which `data` is a plain list of
//! numbers without an element type. The name and the fields of this struct distinguish it from
//! other structs.
//!
//! Each struct of a program has its own copy of this code. Without the feature `ndarray`, such an
//! array is an error, so that a program omits the code.

use serde::de::value::{BorrowedBytesDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, Visitor};

use super::elements::{Mark, Marked, Rows};
use super::{DecodeError, Decoder, Token};
use crate::values::array::{NdArray, with_dimensions};
use crate::values::array_serde::ArrayVisitor;
use crate::values::buffered::{self, Form};
use crate::values::dtype::DType;

/// Value of the field `v`, the version of serde's struct.
pub(in crate::values) const VERSION: u8 = 1;
/// Names of the fields of the struct to which serde converts an array.
pub(in crate::values) const FIELDS: [&str; 3] = buffered::ARRAY_FIELDS;

/// Returns whether a struct with this name and number of fields may be an array.
#[inline]
pub(in crate::values) fn is_named(name: &str, len: usize) -> bool {
    len == FIELDS.len() && name == "Array"
}

/// Returns whether the struct with this name and these fields is an array.
#[inline]
pub(in crate::values) fn is_array(name: &str, fields: &[&str]) -> bool {
    name == "Array" && *fields == FIELDS
}

/// Message for an array in a program without the feature `ndarray`.
pub(in crate::values) const WITHOUT_FEATURE: &str =
    "an `ndarray::Array` needs the feature `ndarray` of hypha-rpc";

/// Reads the next value as an array, and visits it as serde's struct: version, shape and elements.
/// `form` is the form of a value that serde buffers.
pub(super) fn visit_next<'de, V: Visitor<'de>>(
    decoder: &mut Decoder<'de>,
    form: Option<Form>,
    visitor: V,
) -> Result<V::Value, DecodeError> {
    let parts = Parts::read(decoder, form)?;
    visitor.visit_map(parts)
}

struct Parts<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    array: NdArray,
    /// Whether the array is a list, whose numbers have no declared type.
    is_list: bool,
    mark: Option<Mark>,
    /// Number of dimensions to present instead of the dimensions of the array, with an element that
    /// no type accepts.
    probed: Option<usize>,
    /// Number of dimensions of an array that must have another number of dimensions.
    wanted: Option<usize>,
    next: usize,
}

impl<'d, 'de> Parts<'d, 'de> {
    fn read(decoder: &'d mut Decoder<'de>, form: Option<Form>) -> Result<Self, DecodeError> {
        let start = decoder.pos;
        let is_list = matches!(decoder.ahead().token()?, Token::List(_));
        // The parts of the array need no other form.
        let trail = decoder.trail.take();
        let mut array = decoder.deserialize_any(ArrayVisitor)?;
        decoder.trail = trail;
        let probed = form.and_then(|_| decoder.recorded_array(start, &array));
        if let Some(Form::EmptyArray(dimensions)) = form {
            array = with_dimensions(array, dimensions);
        }
        let is_real = array.dtype().is_real() && *array.dtype() != DType::Bool;
        let mark = match form {
            Some(Form::ArrayOfHalves) => Some(Mark::Halves),
            Some(Form::Array) if cfg!(feature = "half") => Some(Mark::Newtype),
            _ => None,
        };
        Ok(Parts {
            decoder,
            array,
            is_list,
            mark: mark.filter(|_| is_real),
            probed,
            wanted: None,
            next: 0,
        })
    }
}

impl<'de> MapAccess<'de> for Parts<'_, 'de> {
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
        match self.next {
            1 => return seed.deserialize(VERSION.into_deserializer()),
            2 => return seed.deserialize(Dimensions(self)),
            _ => {}
        }
        if let Some(wanted) = self.wanted {
            return seed.deserialize(misfits::Misfit {
                array: &self.array,
                wanted,
            });
        } else if self.probed.is_some() {
            return seed.deserialize(SeqDeserializer::new(std::iter::once(misfits::Refused)));
        }
        seed.deserialize(Flat {
            decoder: self.decoder,
            array: &self.array,
            is_exact: !self.is_list,
            mark: self.mark,
        })
    }
}

/// Deserializer of the shape.
struct Dimensions<'a, 'd, 'de>(&'a mut Parts<'d, 'de>);

impl<'de> Deserializer<'de> for Dimensions<'_, '_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        let shape = match self.0.wanted.or(self.0.probed) {
            Some(dimensions) => &vec![1; dimensions],
            None => self.0.array.shape(),
        };
        visitor.visit_seq(SeqDeserializer::new(shape.iter().copied()))
    }

    /// Reads the shape of an array with a fixed number of dimensions.
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let array = &mut self.0.array;
        if self.0.is_list {
            *array = with_dimensions(array.clone(), len);
        }
        if array.shape().len() != len {
            // The element type is not known yet.
            self.0.wanted = Some(len);
        }
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

/// Elements of arrays that have another number of dimensions than expected.
mod misfits {
    use serde::de::value::{BorrowedBytesDeserializer, SeqDeserializer};
    use serde::de::{Deserializer, IntoDeserializer, Visitor};

    use crate::values::array::{NdArray, misfit};
    use crate::values::decode_error::DecodeError;
    use crate::values::dtype;

    /// Element that no number type accepts: a newtype of bytes.
    #[derive(Clone, Copy)]
    pub(super) struct Refused;

    impl<'de> IntoDeserializer<'de, DecodeError> for Refused {
        type Deserializer = Refused;

        fn into_deserializer(self) -> Refused {
            self
        }
    }

    impl<'de> Deserializer<'de> for Refused {
        type Error = DecodeError;

        fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            visitor.visit_newtype_struct(BorrowedBytesDeserializer::new(&[0xff]))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
            option unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
            ignored_any
        }
    }

    /// Deserializer of the elements of an array with another number of dimensions. Fails with an
    /// error that names the element type.
    #[derive(Clone, Copy)]
    pub(super) struct Misfit<'a> {
        pub(super) array: &'a NdArray,
        pub(super) wanted: usize,
    }

    impl Misfit<'_> {
        fn error(self, element: &str) -> DecodeError {
            let element = dtype::of_rust(element);
            let element = element.map_or("other elements".to_owned(), |dtype| dtype.to_string());
            let (got, shape) = (self.array.dtype(), self.array.shape());
            DecodeError::new(misfit(&element, Some(self.wanted), got, shape))
        }
    }

    impl<'a> IntoDeserializer<'_, DecodeError> for Misfit<'a> {
        type Deserializer = Misfit<'a>;

        fn into_deserializer(self) -> Self {
            self
        }
    }

    macro_rules! elements {
        ($($name:ident $type:literal)*) => {
            $(fn $name<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
                Err(self.error($type))
            })*
        };
    }

    impl<'de> Deserializer<'de> for Misfit<'_> {
        type Error = DecodeError;

        elements! {
            deserialize_any ""
            deserialize_bool "bool"
            deserialize_i8 "i8"
            deserialize_i16 "i16"
            deserialize_i32 "i32"
            deserialize_i64 "i64"
            deserialize_u8 "u8"
            deserialize_u16 "u16"
            deserialize_u32 "u32"
            deserialize_u64 "u64"
            deserialize_f32 "f32"
            deserialize_f64 "f64"
        }

        fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.visit_seq(SeqDeserializer::new(std::iter::once(self)))
        }

        fn deserialize_newtype_struct<V: Visitor<'de>>(
            self,
            name: &'static str,
            visitor: V,
        ) -> Result<V::Value, DecodeError> {
            match name {
                "f16" => Err(self.error(name)),
                _ => visitor.visit_newtype_struct(self),
            }
        }

        serde::forward_to_deserialize_any! {
            i128 u128 char str string bytes byte_buf option unit unit_struct tuple tuple_struct map
            struct enum identifier ignored_any
        }
    }
}

/// Deserializer of all elements as one list.
struct Flat<'a, 'd, 'de> {
    decoder: &'d mut Decoder<'de>,
    array: &'a NdArray,
    /// Whether no conversion may change an element. The numbers of a list have no declared type.
    is_exact: bool,
    mark: Option<Mark>,
}

impl<'de> Deserializer<'de> for Flat<'_, '_, 'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.mark {
            Some(mark) => Marked::visit(self.decoder, self.array, mark, visitor),
            None => Rows::visit_flat(self.decoder, self.array, self.is_exact, visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}
