//! Defines [`Element`], which the Rust types of array elements implement.
//!
//! The trait is sealed, because the elements of an array can only have numpy's types.

use super::dtype::DType;

/// Rust type of array elements.
///
/// Implemented for `bool`, integers of 8 to 64 bits, `f32` and `f64`. With the feature `half`, also
/// implemented for `half::f16`. With the feature `num-complex`, also implemented for `Complex<f32>`
/// and `Complex<f64>`.
pub trait Element: sealed::Item {
    /// Type of an array whose elements have this Rust type.
    const DTYPE: DType;
}

pub(crate) mod sealed {
    use bytemuck::{CheckedBitPattern, NoUninit};

    /// Converts elements to and from bytes.
    pub trait Item: NoUninit + CheckedBitPattern + Send + Sync + 'static {
        /// Copies elements from bytes in native byte order. The bytes need not be aligned.
        fn copied(bytes: &[u8]) -> Vec<Self>;

        /// Whether [`exactly`](Self::exactly) can convert integers to this type.
        const HOLDS_INTEGERS: bool = false;

        /// Converts an integer. Returns `None` if the type cannot represent the integer exactly.
        fn exactly(_: i128) -> Option<Self> {
            None
        }

        /// Converts a float, and rounds it if necessary. Returns `None` if the type is not a float
        /// type.
        fn rounded(_: f64) -> Option<Self> {
            None
        }
    }
}

impl Element for bool {
    const DTYPE: DType = DType::Bool;
}

impl sealed::Item for bool {
    /// Every byte except 0 is true, as in numpy. A cast would be invalid, because in Rust a byte
    /// other than 0 or 1 is not a valid `bool`.
    fn copied(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().map(|&byte| byte != 0).collect()
    }
}

/// Converts an `i128` to an integer type.
macro_rules! integer {
    ($number:expr) => {
        $number.try_into().ok()
    };
}

/// Converts an `i128` to a float type. The cast rounds large numbers. The result is therefore
/// converted back and compared with the original.
macro_rules! float {
    ($number:expr) => {{
        let float = $number as Self;
        (float as i128 == $number).then_some(float)
    }};
}

macro_rules! rounded {
    (integer $number:ident) => {{
        let _ = $number;
        None
    }};
    (float $number:ident) => {
        Some($number as Self)
    };
}

macro_rules! elements {
    ($($type:ty: $dtype:ident $(, $convert:ident)?;)*) => {
        $(impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        }

        impl sealed::Item for $type {
            fn copied(bytes: &[u8]) -> Vec<Self> {
                bytemuck::pod_collect_to_vec(bytes)
            }

            $(
                const HOLDS_INTEGERS: bool = true;

                fn exactly(number: i128) -> Option<Self> {
                    $convert!(number)
                }

                fn rounded(number: f64) -> Option<Self> {
                    rounded!($convert number)
                }
            )?
        })*
    };
}

elements! {
    i8: Int8, integer;
    i16: Int16, integer;
    i32: Int32, integer;
    i64: Int64, integer;
    u8: UInt8, integer;
    u16: UInt16, integer;
    u32: UInt32, integer;
    u64: UInt64, integer;
    f32: Float32, float;
    f64: Float64, float;
}

#[cfg(feature = "half")]
elements! {
    half::f16: Float16;
}

#[cfg(feature = "num-complex")]
elements! {
    num_complex::Complex<f32>: Complex64;
    num_complex::Complex<f64>: Complex128;
}
