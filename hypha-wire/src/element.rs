//! Rust types that are elements of arrays.

use super::dtype::DType;

/// A Rust type that arrays have as elements: `bool`, integers of 8 to 64 bits, `f32` and `f64`; with
/// the feature `half` also `half::f16`, with `num-complex` `Complex<f32>` and `Complex<f64>`.
pub trait Element: sealed::Item {
    /// numpy's type for it.
    const DTYPE: DType;
}

pub(super) mod sealed {
    use bytemuck::{CheckedBitPattern, NoUninit};

    /// What lets elements be seen as bytes, and bytes as elements.
    pub trait Item: NoUninit + CheckedBitPattern + Send + Sync + 'static {
        /// Elements from bytes in the order of this machine, which need not be aligned.
        fn copied(bytes: &[u8]) -> Vec<Self>;
    }
}

impl Element for bool {
    const DTYPE: DType = DType::Bool;
}

impl sealed::Item for bool {
    /// As in numpy, everything but 0 is true.
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
