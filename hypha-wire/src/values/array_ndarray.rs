//! Converts between [`NdArray`] and the arrays of the crate `ndarray`.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{self, Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use ndarray::{Array, ArrayBase, ArrayD, ArrayViewD, CowArray, Data, Dimension, IxDyn};

use super::array::{ArrayError, NdArray};
use super::array_serde::array_schema;
use super::array_typed;
use super::element::Element;

impl NdArray {
    /// Returns the array as an `ndarray` array. The result is a view if the elements have the type
    /// `T`, are aligned, and are in native byte order. Otherwise the result is a copy, with the
    /// elements converted as by [`elements`](Self::elements).
    ///
    /// ```
    /// # use hypha_wire::NdArray;
    /// let image = NdArray::from_vec([2, 3], vec![1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    /// let image = image.to_ndarray::<f32>()?;
    /// assert_eq!(image[[1, 0]], 4.0);
    /// # Ok::<(), hypha_wire::ArrayError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the elements have another type, or if an integer does not fit `T`.
    pub fn to_ndarray<T: Element>(&self) -> Result<CowArray<'_, T, IxDyn>, ArrayError> {
        let shape = self.shape();
        let array = match self.elements()? {
            Cow::Borrowed(elements) => ArrayViewD::from_shape(shape, elements).map(Into::into),
            Cow::Owned(elements) => ArrayD::from_shape_vec(shape, elements).map(Into::into),
        };
        // The number of elements matches the shape, so `ndarray` can fail only because the array is
        // too large.
        array.map_err(|_| ArrayError::too_large(shape))
    }
}

/// Copies the elements. Fails if the elements cannot be converted to `T`, or if the number of
/// dimensions differs.
impl<T: Element, D: Dimension> TryFrom<&NdArray> for Array<T, D> {
    type Error = ArrayError;

    fn try_from(array: &NdArray) -> Result<Self, ArrayError> {
        let shape = array.shape();
        let owned = array.to_ndarray()?.into_owned();
        owned.into_dimensionality().map_err(|_| {
            ArrayError::new(format!(
                "expected an array of {} dimensions, got shape {shape:?}",
                D::NDIM.unwrap_or(shape.len())
            ))
        })
    }
}

/// Copies the elements. Fails if the elements cannot be converted to `T`, or if the number of
/// dimensions differs.
impl<T: Element, D: Dimension> TryFrom<NdArray> for Array<T, D> {
    type Error = ArrayError;

    fn try_from(array: NdArray) -> Result<Self, ArrayError> {
        (&array).try_into()
    }
}

/// Moves the elements if they are in C order and the array is not a slice of a larger array.
/// Otherwise copies the elements.
impl<T: Element, D: Dimension> From<Array<T, D>> for NdArray {
    fn from(array: Array<T, D>) -> NdArray {
        if !array.is_standard_layout() {
            return (&array).into();
        }
        let (shape, len) = (array.shape().to_vec(), array.len());
        // An array that is a slice of a larger array still owns all elements of the larger array.
        let (elements, offset) = array.into_raw_vec_and_offset();
        match offset {
            None | Some(0) if elements.len() == len => with_shape(shape, elements),
            offset => {
                let elements = elements.into_iter().skip(offset.unwrap_or(0)).take(len);
                with_shape(shape, elements.collect())
            }
        }
    }
}

/// Copies the elements in C order.
impl<T: Element, S: Data<Elem = T>, D: Dimension> From<&ArrayBase<S, D>> for NdArray {
    fn from(array: &ArrayBase<S, D>) -> NdArray {
        with_shape(array.shape().to_vec(), array.iter().copied().collect())
    }
}

/// Creates an array of this shape. `ndarray` has already checked the shape.
fn with_shape<T: Element>(shape: Vec<usize>, elements: Vec<T>) -> NdArray {
    NdArray::from(elements).reshaped(shape)
}

/// Argument or result that is an array of the crate `ndarray`. The module `array_structs` converts
/// arrays that are inside other types.
#[derive(Debug)]
pub struct ArrayOf<T, D: Dimension>(
    /// The array.
    pub Array<T, D>,
);

impl<T: Element, D: Dimension> Serialize for ArrayOf<T, D> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        NdArray::from(&self.0).serialize(serializer)
    }
}

impl<'de, T: Element, D: Dimension> Deserialize<'de> for ArrayOf<T, D> {
    fn deserialize<De: Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
        let array = array_typed::read::<T, De>(deserializer, D::NDIM)?;
        Array::try_from(array).map(Self).map_err(de::Error::custom)
    }
}

impl<T: Element, D: Dimension> JsonSchema for ArrayOf<T, D> {
    fn schema_name() -> Cow<'static, str> {
        "Array".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        array_schema(Some(&T::DTYPE.to_string()), D::NDIM)
    }
}
