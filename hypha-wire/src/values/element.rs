//! [`Element`]: Rust types of array elements.

use super::dtype::DType;

/// Rust type of array elements.
///
/// Implemented for `bool`, integers of 8 to 64 bits, `f32` and `f64`; with the feature `half` also
/// for `half::f16`, with `num-complex` for `Complex<f32>` and `Complex<f64>`.
pub trait Element: sealed::Item {
    /// numpy's type for it.
    const DTYPE: DType;
}

pub(crate) mod sealed {
    use bytemuck::{CheckedBitPattern, NoUninit};

    /// Conversion of elements to and from bytes.
    pub trait Item: NoUninit + CheckedBitPattern + Send + Sync + 'static {
        /// Copies elements from unaligned bytes in native byte order.
        fn copied(bytes: &[u8]) -> Vec<Self>;
    }
}

impl Element for bool {
    const DTYPE: DType = DType::Bool;
}

impl sealed::Item for bool {
    /// Every byte but 0 is true, as in numpy.
    fn copied(bytes: &[u8]) -> Vec<bool> {
        bytes.iter().map(|&byte| byte != 0).collect()
    }
}

macro_rules! elements {
    ($($type:ty: $dtype:ident;)*) => {
        $(impl Element for $type {
            const DTYPE: DType = DType::$dtype;
        }

        impl sealed::Item for $type {
            fn copied(bytes: &[u8]) -> Vec<Self> {
                bytemuck::pod_collect_to_vec(bytes)
            }
        })*
    };
}

elements! {
    i8: Int8;
    i16: Int16;
    i32: Int32;
    i64: Int64;
    u8: UInt8;
    u16: UInt16;
    u32: UInt32;
    u64: UInt64;
    f32: Float32;
    f64: Float64;
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
