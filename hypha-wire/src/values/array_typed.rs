//! Defines [`Array`], an array type with a fixed element type and a fixed number of dimensions.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Index;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::array::{ArrayError, NdArray, Owned, count, misfit, with_dimensions};
use super::array_serde::{ArrayVisitor, array_schema};
use super::buffered;
use super::dtype::DType;
use super::element::Element;
use super::value::Value;

/// Array with `N` dimensions and elements of type `T`, such as an image. Python receives a numpy
/// array.
///
/// The contract and its schema specify the element type and the number of dimensions. The decoder
/// checks both before a method runs. To accept every array, use [`NdArray`].
///
/// An argument of this type accepts every form that an [`NdArray`] accepts, including nested lists
/// of numbers. The decoder converts integers of another type if all of them fit `T`, and floats if
/// `T` is a wider float type. A received array shares the memory of its message if the elements are
/// aligned in that memory.
///
/// ```
/// # use hypha_wire::Array;
/// fn brighten(image: &Array<u16, 2>, by: u16) -> Array<u16, 2> {
///     image.map(|pixel| pixel.saturating_add(by))
/// }
///
/// let image = Array::from_vec([2, 3], vec![1u16, 2, 3, 4, 5, 6])?;
/// assert_eq!(brighten(&image, 10)[[1, 0]], 14);
/// # Ok::<(), hypha_wire::ArrayError>(())
/// ```
#[derive(Clone)]
pub struct Array<T, const N: usize> {
    shape: [usize; N],
    elements: Elements<T>,
}

#[derive(Clone)]
enum Elements<T> {
    /// Aligned elements in native byte order. Every bit pattern is valid for the element type.
    Shared(bytes::Bytes),
    Own(Arc<Vec<T>>),
}

impl<T: Element, const N: usize> Array<T, N> {
    /// Creates an array of this shape. `elements` are in C order: the last index changes fastest.
    ///
    /// # Errors
    ///
    /// Returns an error if the number of elements is not the product of the shape.
    pub fn from_vec(shape: [usize; N], elements: Vec<T>) -> Result<Self, ArrayError> {
        let needed = count(&shape, size_of::<T>())?;
        if elements.len() != needed {
            return Err(ArrayError::new(format!(
                "{} elements, but shape {shape:?} needs {needed}",
                elements.len()
            )));
        }
        Ok(Self {
            shape,
            elements: Elements::Own(Arc::new(elements)),
        })
    }

    /// Returns the length of each dimension.
    pub fn shape(&self) -> [usize; N] {
        self.shape
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Returns whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    /// Returns the elements in C order.
    pub fn as_slice(&self) -> &[T] {
        match &self.elements {
            Elements::Own(elements) => elements,
            Elements::Shared(bytes) => bytemuck::checked::try_cast_slice(bytes).unwrap_or_default(),
        }
    }

    /// Returns the elements in C order. Copies the elements if another array shares them, or if
    /// they are part of a message.
    pub fn into_vec(self) -> Vec<T> {
        match self.elements {
            Elements::Own(elements) => {
                Arc::try_unwrap(elements).unwrap_or_else(|shared| shared.to_vec())
            }
            Elements::Shared(_) => self.as_slice().to_vec(),
        }
    }

    /// Returns an element, or `None` if the index is outside of the shape.
    pub fn get(&self, index: [usize; N]) -> Option<&T> {
        let mut flat = 0;
        for (at, length) in index.into_iter().zip(self.shape) {
            flat = flat * length + Some(at).filter(|at| *at < length)?;
        }
        self.as_slice().get(flat)
    }

    /// Returns an array of the same shape with `f` applied to every element.
    #[must_use]
    pub fn map<U: Element>(&self, f: impl FnMut(T) -> U) -> Array<U, N> {
        let elements: Vec<U> = self.as_slice().iter().copied().map(f).collect();
        Array {
            shape: self.shape,
            elements: Elements::Own(Arc::new(elements)),
        }
    }
}

/// Returns the element at an index.
///
/// # Panics
///
/// Panics if the index is outside of the shape, as for a slice.
impl<T: Element, const N: usize> Index<[usize; N]> for Array<T, N> {
    type Output = T;

    fn index(&self, index: [usize; N]) -> &T {
        match self.get(index) {
            Some(element) => element,
            None => panic!("index {index:?} is outside of shape {:?}", self.shape),
        }
    }
}

impl<T: Element + PartialEq, const N: usize> PartialEq for Array<T, N> {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.as_slice() == other.as_slice()
    }
}

/// Shows the element type and the shape. Omits the data, which may be very long.
impl<T: Element, const N: usize> fmt::Debug for Array<T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Array")
            .field("dtype", &T::DTYPE.to_string())
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Creates a one-dimensional array. Does not copy the elements.
impl<T: Element> From<Vec<T>> for Array<T, 1> {
    fn from(elements: Vec<T>) -> Self {
        Self {
            shape: [elements.len()],
            elements: Elements::Own(Arc::new(elements)),
        }
    }
}

/// Shares the elements.
impl<T: Element, const N: usize> From<Array<T, N>> for NdArray {
    fn from(array: Array<T, N>) -> NdArray {
        let elements = match array.elements {
            Elements::Shared(bytes) => bytes,
            Elements::Own(elements) => bytes::Bytes::from_owner(Owned(elements)),
        };
        NdArray::of_elements::<T>(array.shape.to_vec(), elements)
    }
}

impl<T: Element, const N: usize> From<Array<T, N>> for Value {
    fn from(array: Array<T, N>) -> Value {
        NdArray::from(array).into()
    }
}

/// Shares the data if the elements are aligned and in native byte order. Fails if the number of
/// dimensions differs, or if an element cannot be converted to `T`.
impl<T: Element, const N: usize> TryFrom<NdArray> for Array<T, N> {
    type Error = ArrayError;

    fn try_from(array: NdArray) -> Result<Self, ArrayError> {
        let shape =
            <[usize; N]>::try_from(array.shape()).map_err(|_| misfit_of::<T>(Some(N), &array))?;
        let elements = match array.elements::<T>()? {
            // Do not share the data of a `bool` array. Each byte must be checked, and shared data
            // would be checked again on each access.
            Cow::Borrowed(_) if T::DTYPE != DType::Bool => Elements::Shared(array.data().clone()),
            elements => Elements::Own(Arc::new(elements.into_owned())),
        };
        Ok(Self { shape, elements })
    }
}

impl<T: Element, const N: usize> Serialize for Array<T, N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        NdArray::from(self.clone()).serialize(serializer)
    }
}

impl<'de, T: Element, const N: usize> Deserialize<'de> for Array<T, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let array = read::<T, D>(deserializer, Some(N))?;
        array.try_into().map_err(de::Error::custom)
    }
}

impl<T: Element, const N: usize> JsonSchema for Array<T, N> {
    fn schema_name() -> Cow<'static, str> {
        format!("Array{N}Of{}", T::DTYPE).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        array_schema(Some(&T::DTYPE.to_string()), Some(N))
    }
}

/// Reads an array with this number of dimensions. Elements of another type are converted to `T`.
pub(super) fn read<'de, T: Element, D: Deserializer<'de>>(
    deserializer: D,
    dimensions: Option<usize>,
) -> Result<NdArray, D::Error> {
    deserializer.deserialize_any(Typed {
        dimensions,
        elements: PhantomData::<T>,
    })
}

fn misfit_of<T: Element>(dimensions: Option<usize>, array: &NdArray) -> ArrayError {
    let expected = T::DTYPE.to_string();
    ArrayError::new(misfit(&expected, dimensions, array.dtype(), array.shape()))
}

struct Typed<T> {
    dimensions: Option<usize>,
    elements: PhantomData<T>,
}

impl<T: Element> Typed<T> {
    /// Checks and converts an array. Numbers in a list have no declared type, so these numbers are
    /// converted to `T`.
    fn fit<E: de::Error>(&self, mut array: NdArray, is_list: bool) -> Result<NdArray, E> {
        let wanted = self.dimensions.unwrap_or(array.shape().len());
        if is_list {
            array = with_dimensions(array, wanted);
        }
        if array.shape().len() != wanted {
            return Err(E::custom(misfit_of::<T>(self.dimensions, &array)));
        }
        if *array.dtype() == T::DTYPE {
            return Ok(array);
        }
        if !is_list && !buffered::may_cast() {
            return Err(E::custom("an array of another type"));
        }
        if array.is_empty() && array.dtype().is_real() {
            // Accept an empty array of any type, because programs often create empty arrays without
            // setting a type.
            return Ok(NdArray::of_elements::<T>(
                array.shape().to_vec(),
                bytes::Bytes::new(),
            ));
        }
        let is_float = matches!(T::DTYPE, DType::Float16 | DType::Float32 | DType::Float64);
        let is_number = is_list && array.dtype().is_real() && *array.dtype() != DType::Bool;
        let converted = match is_number && is_float {
            true => array
                .cast::<T>()
                .and_then(|cast| match overflow(&array, &cast)? {
                    Some(index) => Err(ArrayError::new(format!(
                        "numbers whose element {index} does not fit"
                    ))),
                    None => Ok(cast),
                }),
            false => array.to_vec::<T>().map(|elements| {
                let elements = bytes::Bytes::from_owner(Owned(elements));
                NdArray::of_elements::<T>(array.shape().to_vec(), elements)
            }),
        };
        converted.map_err(|error| {
            let got = misfit_of::<T>(self.dimensions, &array);
            match error.to_string().split_once(" whose element ") {
                Some((_, index)) => E::custom(format_args!("{got} whose element {index}")),
                None => E::custom(format_args!(
                    "{got}; an `NdArray` takes every type, and converts it with `cast`"
                )),
            }
        })
    }
}

/// Returns the index of the first number that was finite and became infinite.
fn overflow(before: &NdArray, after: &NdArray) -> Result<Option<usize>, ArrayError> {
    let mut numbers = before.iter_f64()?.zip(after.iter_f64()?);
    Ok(numbers.position(|(before, after)| before.is_finite() && after.is_infinite()))
}

impl<'de, T: Element> Visitor<'de> for Typed<T> {
    type Value = NdArray;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "array of {}", T::DTYPE)
    }

    fn visit_borrowed_bytes<E: de::Error>(self, bytes: &'de [u8]) -> Result<NdArray, E> {
        self.fit(ArrayVisitor.visit_borrowed_bytes(bytes)?, false)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<NdArray, E> {
        self.fit(ArrayVisitor.visit_bytes(bytes)?, false)
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<NdArray, E> {
        self.fit(ArrayVisitor.visit_byte_buf(bytes)?, false)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, content: D) -> Result<NdArray, D::Error> {
        self.fit(ArrayVisitor.visit_newtype_struct(content)?, false)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<NdArray, E> {
        self.fit(ArrayVisitor.visit_bool(value)?, true)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<NdArray, E> {
        self.fit(ArrayVisitor.visit_i64(value)?, true)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<NdArray, E> {
        self.fit(ArrayVisitor.visit_u64(value)?, true)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<NdArray, E> {
        self.fit(ArrayVisitor.visit_f64(value)?, true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<NdArray, A::Error> {
        self.fit(ArrayVisitor.visit_seq(items)?, true)
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<NdArray, A::Error> {
        self.fit(ArrayVisitor.visit_map(entries)?, false)
    }
}
