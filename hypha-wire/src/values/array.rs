//! [`NdArray`]: arrays of any shape, with numpy's element types.

use std::borrow::Cow;
use std::fmt;

use super::dtype::{ByteOrder, DType, Number};
use super::element::Element;

/// Maximum number of dimensions, the same as in numpy.
pub(crate) const MAX_DIMENSIONS: usize = 64;

/// Array of any shape, such as an image: a numpy array in Python (`_rtype: "ndarray"`).
///
/// A received array shares the memory of its message. Creating an array from a `Vec` does not copy.
/// Cloning shares the data.
///
/// An argument of this type accepts numpy arrays, JavaScript typed arrays, plain bytes, and nested
/// lists of numbers, as in JSON. Lists of integers become `int64`, or `uint64` if an integer does
/// not fit `int64`. Lists with other numbers become `float64`. The feature `ndarray` adds
/// conversions to and from `ndarray::Array`.
///
/// ```
/// # use hypha_wire::NdArray;
/// # use hypha_wire::ArrayError;
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
    /// Byte order of `data`. Always `Little` if the elements have no byte order, so that equal
    /// arrays compare equal.
    order: ByteOrder,
    shape: Vec<usize>,
    /// Bytes of the elements in C order. The constructors check that the number of bytes fits the
    /// shape.
    data: bytes::Bytes,
}

/// Error returned if shape, type and data of an array do not fit together, or if its elements
/// cannot be converted to the requested type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrayError(String);

impl ArrayError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(crate) fn too_large(shape: &[usize]) -> Self {
        Self(format!("an array of shape {shape:?} is too large"))
    }
}

impl fmt::Display for ArrayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ArrayError {}

/// Elements of a `Vec`, viewed as bytes, so that the data of an array can own the `Vec` itself.
pub(super) struct Owned<V>(pub(super) V);

impl<T: Element> AsRef<[u8]> for Owned<Vec<T>> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl<T: Element> AsRef<[u8]> for Owned<std::sync::Arc<Vec<T>>> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

impl NdArray {
    /// Creates an array of this shape from its elements in C order, in which the last index changes
    /// fastest.
    ///
    /// # Errors
    ///
    /// Returns an error if the number of elements is not the product of the shape.
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

    /// Creates an array of this shape from the bytes of its elements, in C order and little-endian.
    ///
    /// # Errors
    ///
    /// Returns an error if the length of `data` does not fit shape and type, or if the elements are
    /// Python objects or records, which cannot be sent.
    pub fn from_bytes(
        dtype: DType,
        shape: impl Into<Vec<usize>>,
        data: impl Into<bytes::Bytes>,
    ) -> Result<NdArray, ArrayError> {
        Self::new(dtype, ByteOrder::Little, shape.into(), data.into())
    }

    /// Creates an array of any type and byte order, and checks its length.
    pub(crate) fn new(
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
            // The size of such elements is unknown, so only check that their number divides the
            // length.
            (_, None) => {
                let len = count(&shape, 1)?;
                if got.checked_rem(len).unwrap_or(got) != 0 {
                    return Err(ArrayError(format!(
                        "{got} bytes of data, but shape {shape:?} of {dtype} needs a multiple of \
                         {len}"
                    )));
                }
            }
        }
        // Use one byte order for elements without a byte order, so that equal arrays compare equal.
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

    /// Creates an array from the bytes of its elements in native byte order. The caller checks the
    /// number of elements.
    pub(super) fn of_elements<T: Element>(shape: Vec<usize>, data: bytes::Bytes) -> NdArray {
        NdArray {
            dtype: T::DTYPE,
            order: ByteOrder::Little,
            shape,
            data,
        }
        .with_byte_order(ByteOrder::NATIVE)
    }

    /// Returns the array with its bytes interpreted in this byte order. The bytes do not change.
    ///
    /// ```
    /// # use hypha_wire::{ByteOrder, DType, NdArray};
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

    /// Returns the type of the elements.
    pub fn dtype(&self) -> &DType {
        &self.dtype
    }

    /// Returns the byte order of the numbers in [`data`](Self::data).
    ///
    /// Almost every array is little-endian. The exceptions are numpy arrays created as big-endian
    /// or read from a big-endian file.
    pub fn byte_order(&self) -> ByteOrder {
        self.order
    }

    /// Returns the length of each dimension. Empty for a single element.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        // The product cannot overflow, because the constructors check it.
        self.shape.iter().product()
    }

    /// Returns whether the array has no elements.
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }

    /// Returns the bytes of the elements, in C order and [`byte_order`](Self::byte_order).
    pub fn data(&self) -> &bytes::Bytes {
        &self.data
    }

    pub(crate) fn into_parts(self) -> (DType, ByteOrder, Vec<usize>, bytes::Bytes) {
        (self.dtype, self.order, self.shape, self.data)
    }

    /// Returns the array with another shape of the same number of elements. The caller checks the
    /// number.
    pub(crate) fn reshaped(mut self, shape: Vec<usize>) -> NdArray {
        self.shape = shape;
        self
    }

    /// Returns the data with every number in the given byte order. Borrows the data if it already
    /// has this order, and copies the data otherwise.
    pub(crate) fn data_in(&self, order: ByteOrder) -> Cow<'_, [u8]> {
        let size = self.dtype.number_size();
        if self.order == order || size == 1 {
            return Cow::Borrowed(&self.data);
        }
        // Reverse each number separately, because a complex element consists of two numbers.
        let mut data = self.data.to_vec();
        data.chunks_exact_mut(size).for_each(<[u8]>::reverse);
        Cow::Owned(data)
    }

    /// Returns the elements in C order. Borrows the elements if they have the type `T`, are
    /// aligned, and have the native byte order. Copies the elements otherwise.
    ///
    /// Integers are converted to another integer type, `f32` or `f64`, if that type represents
    /// every integer of the array exactly. This is useful because numpy uses `int64` for whole
    /// numbers. Floats are converted to a wider type.
    ///
    /// ```
    /// # use hypha_wire::NdArray;
    /// let counts = NdArray::from(vec![1i64, 2, 700]);
    /// assert_eq!(counts.to_vec::<u16>()?, [1, 2, 700]);
    /// assert_eq!(counts.to_vec::<f64>()?, [1.0, 2.0, 700.0]);
    /// assert!(counts.to_vec::<u8>().is_err());
    /// # Ok::<(), hypha_wire::ArrayError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the elements have another type, or if an integer does not fit `T`.
    /// [`cast`](Self::cast) and [`iter_f64`](Self::iter_f64) accept every type of real numbers.
    pub fn elements<T: Element>(&self) -> Result<Cow<'_, [T]>, ArrayError> {
        if self.dtype != T::DTYPE {
            return self.converted().map(Cow::Owned);
        }
        let data = self.data_in(ByteOrder::NATIVE);
        if let Cow::Borrowed(bytes) = data {
            // The cast fails for data at an unaligned address of a message, and for bytes that are
            // not valid `bool`s. In both cases, the data is copied below.
            if let Ok(elements) = bytemuck::checked::try_cast_slice(bytes) {
                return Ok(Cow::Borrowed(elements));
            }
        }
        Ok(Cow::Owned(T::copied(&data)))
    }

    /// Converts the elements to `T`. Fails if a conversion would change a value.
    fn converted<T: Element>(&self) -> Result<Vec<T>, ArrayError> {
        let error = |reason: &str| {
            let hint = match self.dtype.is_real() {
                true => "; `cast` and `iter_f64` read every type of real numbers",
                false => "",
            };
            let (expected, got) = (T::DTYPE, &self.dtype);
            ArrayError(format!(
                "expected an array of {expected}, got one of {got}{reason}{hint}"
            ))
        };
        let widens = T::DTYPE.widens(&self.dtype);
        let fits = widens || T::HOLDS_INTEGERS && self.dtype.is_integer();
        if !fits {
            return Err(error(""));
        }
        let items = self.data.chunks_exact(self.real_size()?).enumerate();
        let elements = items.map(|(index, item)| {
            let element = match self.dtype.read(item, self.order) {
                Some(Number::Int(number)) => T::exactly(number.into()),
                Some(Number::UInt(number)) => T::exactly(number.into()),
                Some(Number::Float(number)) if widens => T::rounded(number),
                _ => None,
            };
            element.ok_or_else(|| error(&format!(" whose element {index} does not fit")))
        });
        elements.collect()
    }

    /// Returns an array of the same shape with its elements converted to `T`. If `T` is an integer
    /// type, fractions are cut off, and values saturate at the bounds of `T`. If `T` is a float
    /// type, values are rounded. If `T` is `bool`, an element becomes true if it is not 0.
    ///
    /// ```
    /// # use hypha_wire::NdArray;
    ///
    /// let image = NdArray::from_vec([2, 1], vec![0.1f64, 300.7])?;
    /// assert_eq!(image.cast::<f32>()?.to_vec::<f32>()?, [0.1, 300.7]);
    /// assert_eq!(image.cast::<u8>()?.to_vec::<u8>()?, [0, 255]);
    /// # Ok::<(), hypha_wire::ArrayError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns an error if the type of the elements or `T` is not a type of real numbers.
    pub fn cast<T: Element>(&self) -> Result<NdArray, ArrayError> {
        if !T::DTYPE.is_real() {
            return Err(ArrayError(format!(
                "real numbers cannot be cast to {}",
                T::DTYPE
            )));
        }
        let size = self.real_size()?;
        let mut data = Vec::with_capacity(self.len().saturating_mul(size_of::<T>()));
        for item in self.data.chunks_exact(size) {
            if let Some(number) = self.dtype.read(item, self.order) {
                T::DTYPE.write_number(number, &mut data);
            }
        }
        Self::from_bytes(T::DTYPE, self.shape.clone(), data)
    }

    /// Returns a copy of the elements in C order, converted as in [`elements`](Self::elements).
    ///
    /// # Errors
    ///
    /// Returns an error if the elements have another type, or if an integer does not fit `T`.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>, ArrayError> {
        self.elements().map(Cow::into_owned)
    }

    /// Returns an iterator over the elements in C order as floats, for every type of real numbers
    /// and `bool`.
    ///
    /// `false` and `true` become 0 and 1. Integers beyond 2⁵³ are rounded; all other values are
    /// exact.
    ///
    /// # Errors
    ///
    /// Returns an error if the elements are complex or not numbers.
    ///
    /// ```
    /// # use hypha_wire::NdArray;
    /// let array = NdArray::from(vec![1i16, 2, 3]);
    /// assert_eq!(array.iter_f64()?.sum::<f64>(), 6.0);
    /// # Ok::<(), hypha_wire::ArrayError>(())
    /// ```
    pub fn iter_f64(&self) -> Result<impl ExactSizeIterator<Item = f64>, ArrayError> {
        let size = self.real_size()?;
        Ok(self.data.chunks_exact(size).map(|item| {
            let number = self.dtype.read(item, self.order);
            // `real_size` has checked the type, so `number` is always `Some`.
            number.map_or(f64::NAN, |number| number.to_f64())
        }))
    }

    /// Returns an array of the same shape and type with `f` applied to every element.
    ///
    /// For integer types, fractions are cut off and values saturate at the bounds of the type, as
    /// with `as`. A `bool` becomes true if the result is not 0.
    ///
    /// # Errors
    ///
    /// Returns an error if the elements are complex or not numbers.
    pub fn map_f64(&self, mut f: impl FnMut(f64) -> f64) -> Result<NdArray, ArrayError> {
        let mut data = Vec::with_capacity(self.data.len());
        for number in self.iter_f64()? {
            self.dtype.write(f(number), &mut data);
        }
        Self::from_bytes(self.dtype.clone(), self.shape.clone(), data)
    }

    /// Returns the number of bytes per element. Fails if the elements are not real numbers.
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

/// Returns the number of elements of an array of this shape, with elements of `size` bytes.
///
/// Returns an error if the bytes of the array do not fit into memory. Lengths of zero do not count
/// in this check, because numpy rejects a shape that is too large even if another length is zero.
pub(super) fn count(shape: &[usize], size: usize) -> Result<usize, ArrayError> {
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

/// Returns whether numpy's name of a type denotes Python objects, whose bytes are memory addresses,
/// or records, whose names numpy itself cannot parse.
fn is_opaque(dtype: &str) -> bool {
    matches!(dtype, "object" | "O" | "|O") || dtype.starts_with(['[', '{', '('])
}

/// Creates an array of one dimension. Does not copy.
impl<T: Element> From<Vec<T>> for NdArray {
    fn from(elements: Vec<T>) -> NdArray {
        let shape = vec![elements.len()];
        NdArray::of_elements::<T>(shape, bytes::Bytes::from_owner(Owned(elements)))
    }
}

/// Shows type and shape, but omits the data, which may be very long.
impl fmt::Debug for NdArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NdArray")
            .field("dtype", &self.dtype.wire_name(self.order))
            .field("shape", &self.shape)
            .finish_non_exhaustive()
    }
}

/// Returns the message for an array of type `got` that is no array of type `expected` with this
/// number of dimensions.
pub(super) fn misfit(
    expected: &str,
    dimensions: Option<usize>,
    got: &dyn fmt::Display,
    shape: &[usize],
) -> String {
    let wanted = match dimensions {
        None => String::new(),
        Some(1) => " with 1 dimension".into(),
        Some(number) => format!(" with {number} dimensions"),
    };
    format!("expected an array of {expected}{wanted}, got one of {got} with shape {shape:?}")
}

/// Returns the array of an empty list with this number of dimensions. An empty list contains no
/// inner lists, so the lengths of the inner dimensions are unknown. Returns other arrays unchanged.
pub(super) fn with_dimensions(array: NdArray, dimensions: usize) -> NdArray {
    if !array.is_empty() || array.shape().len() >= dimensions {
        return array;
    }
    let mut shape = array.shape().to_vec();
    shape.resize(dimensions, 0);
    array.reshaped(shape)
}
