//! Arrays of any shape, as numpy has them.

use std::borrow::Cow;
use std::fmt;

use super::dtype::{ByteOrder, DType};
use super::element::Element;

/// More dimensions than numpy can have.
const MAX_DIMENSIONS: usize = 64;

/// An array of any shape (`_rtype: "ndarray"`), such as an image: a numpy array in Python.
///
/// The data of a received array share the memory of the message it came in, and a `Vec` becomes the
/// data of an array without a copy. Cheap to clone.
///
/// A method that takes an `NdArray` accepts numpy arrays, JavaScript typed arrays and plain bytes.
/// With the feature `ndarray` it converts to and from `ndarray::Array`.
///
/// ```
/// # use hypha_wire::NdArray;
/// # use hypha_wire::ArrayError;
///
/// fn brighten(image: &NdArray, factor: f64) -> Result<NdArray, ArrayError> {
///     image.map_f64(|pixel| pixel * factor)
/// }
///
/// let image = NdArray::from_vec([2, 2], vec![10u8, 20, 30, 200])?;
/// let brighter = brighten(&image, 2.0)?;
/// assert_eq!(brighter.shape(), [2, 2]);
/// assert_eq!(brighter.to_vec::<u8>()?, [20, 40, 60, 255]);
/// # Ok::<(), ArrayError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct NdArray {
    dtype: DType,
    order: ByteOrder,
    shape: Vec<usize>,
    data: bytes::Bytes,
}

/// Why an array cannot be made, or its elements not be read as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayError(String);

impl ArrayError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(super) fn too_large(shape: &[usize]) -> Self {
        Self(format!("an array of shape {shape:?} is too large"))
    }
}

impl fmt::Display for ArrayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ArrayError {}

/// Elements that were given as a `Vec`, seen as bytes.
struct Owned<T>(Vec<T>);

impl<T: Element> AsRef<[u8]> for Owned<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl NdArray {
    /// An array of this shape with these elements, the last index running fastest (C order).
    ///
    /// # Errors
    ///
    /// The number of elements is not the product of the shape.
    pub fn from_vec<T: Element>(
        shape: impl Into<Vec<usize>>,
        elements: Vec<T>,
    ) -> Result<NdArray, ArrayError> {
        let shape = shape.into();
        let needed = count(&shape, size_of::<T>())?;
        if elements.len() != needed {
            return Err(ArrayError(format!(
                "{} elements, but shape {shape:?} needs {needed}",
                elements.len()
            )));
        }
        let data = bytes::Bytes::from_owner(Owned(elements));
        Self::new(T::DTYPE, ByteOrder::NATIVE, shape, data)
    }

    /// An array of this shape whose elements are in `data`: in C order, little-endian.
    ///
    /// # Errors
    ///
    /// The data are not as long as the shape and the type need, or the type is one that cannot
    /// travel: Python objects, and records.
    pub fn from_bytes(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        data: impl Into<bytes::Bytes>,
    ) -> Result<NdArray, ArrayError> {
        Self::new(dtype, ByteOrder::Little, shape.into(), data.into())
    }

    pub(super) fn new(
        dtype: DType,
        order: ByteOrder,
        shape: Vec<usize>,
        data: bytes::Bytes,
    ) -> Result<NdArray, ArrayError> {
        let got = data.len();
        match (&dtype, dtype.item_size()) {
            (_, Some(size)) => {
                let needed = count(&shape, size)? * size;
                if got != needed {
                    return Err(ArrayError(format!(
                        "{got} bytes of data, but shape {shape:?} of {dtype} needs {needed}"
                    )));
                }
            }
            (DType::Other(text), None) if is_opaque(text) => {
                return Err(ArrayError(format!(
                    "an array of dtype {dtype} cannot be sent between programs"
                )));
            }
            (_, None) => {
                let len = count(&shape, 1)?;
                if got.checked_rem(len).unwrap_or(got) != 0 {
                    return Err(ArrayError(format!(
                        "{got} bytes of data, but shape {shape:?} of {dtype} needs a multiple of {len}"
                    )));
                }
            }
        }
        let order = match dtype.number_size() {
            1 => ByteOrder::Little,
            _ => order,
        };
        Ok(Self {
            dtype,
            order,
            shape,
            data,
        })
    }

    /// The same bytes, taken for numbers in this order.
    ///
    /// ```
    /// # use hypha_wire::{ByteOrder, DType, NdArray};
    ///
    /// let array = NdArray::from_bytes(DType::UInt16, [2], vec![0, 1, 0, 2])?
    ///     .with_byte_order(ByteOrder::Big);
    /// assert_eq!(array.to_vec::<u16>()?, [1, 2]);
    /// # Ok::<(), hypha_wire::ArrayError>(())
    /// ```
    #[must_use]
    pub fn with_byte_order(mut self, order: ByteOrder) -> NdArray {
        if self.dtype.number_size() > 1 {
            self.order = order;
        }
        self
    }

    /// The type of the elements.
    pub fn dtype(&self) -> &DType {
        &self.dtype
    }

    /// The order of the bytes of each number in [`data`](Self::data). Only numpy arrays that were
    /// made big-endian on purpose, or read from a file that is, are not little-endian.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// The length along each dimension; empty for a single element.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        // Cannot overflow: checked with the shape.
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// The elements as bytes, in C order.
    pub fn data(&self) -> &bytes::Bytes {
        &self.data
    }

    pub(super) fn into_parts(self) -> (DType, ByteOrder, Vec<usize>, bytes::Bytes) {
        (self.dtype, self.order, self.shape, self.data)
    }

    /// The same elements in another shape, which must have as many.
    #[cfg(feature = "ndarray")]
    pub(super) fn reshaped(mut self, shape: Vec<usize>) -> NdArray {
        self.shape = shape;
        self
    }

    /// The data with the bytes of each number in this order.
    pub(super) fn data_in(&self, order: ByteOrder) -> Cow<'_, [u8]> {
        let size = self.dtype.number_size();
        if self.order == order || size == 1 {
            return Cow::Borrowed(&self.data);
        }
        let mut data = self.data.to_vec();
        data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        Cow::Owned(data)
    }

    /// The elements in C order: the data themselves if they lie in memory as `T` does, else a copy.
    ///
    /// # Errors
    ///
    /// The elements are of another type. [`iter_f64`](Self::iter_f64) reads every type of real
    /// numbers.
    pub fn elements<T: Element>(&self) -> Result<Cow<'_, [T]>, ArrayError> {
        if self.dtype != T::DTYPE {
            return Err(ArrayError(format!(
                "expected an array of {}, got one of {}",
                T::DTYPE,
                self.dtype
            )));
        }
        let data = self.data_in(ByteOrder::NATIVE);
        if let Cow::Borrowed(bytes) = data {
            // What is not aligned, or is no `bool`, is copied.
            if let Ok(elements) = bytemuck::checked::try_cast_slice(bytes) {
                return Ok(Cow::Borrowed(elements));
            }
        }
        Ok(Cow::Owned(T::copied(&data)))
    }

    /// A copy of the elements in C order.
    ///
    /// # Errors
    ///
    /// The elements are of another type.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, ArrayError> {
        self.elements().map(Cow::into_owned)
    }

    /// The elements in C order as floats, whatever type of real numbers they are; truth values are 0
    /// and 1. Integers beyond 2⁵³ are rounded, everything else is exact.
    ///
    /// # Errors
    ///
    /// The elements are complex or no numbers.
    ///
    /// ```
    /// # use hypha_wire::NdArray;
    ///
    /// let array = NdArray::from(vec![1i16, 2, 3]);
    /// assert_eq!(array.iter_f64()?.sum::<f64>(), 6.0);
    /// # Ok::<(), hypha_wire::ArrayError>(())
    /// ```
    pub fn iter_f64(&self) -> Result<impl ExactSizeIterator<Item = f64>, ArrayError> {
        let size = self.real_size()?;
        Ok(self.data.chunks_exact(size).map(|item| {
            let number = self.dtype.read(item, self.order);
            number.map_or(f64::NAN, |number| number.to_f64())
        }))
    }

    /// An array of the same shape and type with `f` of every element. Integers lose the fraction and
    /// stop at the bounds of their type, as with `as`; truth values become whether it is not 0.
    ///
    /// # Errors
    ///
    /// The elements are complex or no numbers.
    pub fn map_f64(&self, mut f: impl FnMut(f64) -> f64) -> Result<NdArray, ArrayError> {
        let mut data = Vec::with_capacity(self.data.len());
        for number in self.iter_f64()? {
            self.dtype.write(f(number), &mut data);
        }
        Self::from_bytes(self.dtype.clone(), self.shape.clone(), data)
    }

    /// The bytes of one element, if that is a real number.
    fn real_size(&self) -> Result<usize, ArrayError> {
        match self.dtype.item_size() {
            Some(size) if self.dtype.is_real() => Ok(size),
            _ => Err(ArrayError(format!(
                "expected an array of real numbers, got one of {}",
                self.dtype
            ))),
        }
    }
}

/// The number of elements of `size` bytes in an array of this shape. No part of it is so large that
/// it could not be in memory.
fn count(shape: &[usize], size: usize) -> Result<usize, ArrayError> {
    if shape.len() > MAX_DIMENSIONS {
        return Err(ArrayError(format!(
            "{} dimensions are more than {MAX_DIMENSIONS}",
            shape.len()
        )));
    }
    let mut lengths = shape.iter().filter(|&&length| length != 0);
    lengths
        .try_fold(size, |bytes, &length| bytes.checked_mul(length))
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(|| ArrayError::too_large(shape))?;
    Ok(shape.iter().product())
}

/// Whether numpy's text means Python objects, whose bytes are addresses, or records, whose text
/// numpy itself cannot read.
fn is_opaque(dtype: &str) -> bool {
    matches!(dtype, "object" | "O" | "|O") || dtype.starts_with(['[', '{', '('])
}

/// One dimension.
impl<T: Element> From<Vec<T>> for NdArray {
    fn from(elements: Vec<T>) -> NdArray {
        NdArray {
            dtype: T::DTYPE,
            order: ByteOrder::Little,
            shape: vec![elements.len()],
            data: bytes::Bytes::from_owner(Owned(elements)),
        }
        .with_byte_order(ByteOrder::NATIVE)
    }
}

/// Type and shape; the data can be very long.
impl fmt::Debug for NdArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NdArray")
            .field("dtype", &self.dtype.wire_name(self.order))
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}
