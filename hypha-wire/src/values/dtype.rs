//! Defines the element types of arrays, with numpy's names and their sizes. Converts numbers to and
//! from bytes.
//!
//! This module converts 16-bit floats itself, because stable Rust has no such type and the feature
//! `half` is optional.

use std::borrow::Cow;
use std::fmt;

use super::decode_error::shorten;

/// Type of the elements of an [`NdArray`](crate::NdArray). The names are numpy's names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// `bool`: one byte, 0 or 1.
    Bool,
    /// `int8`.
    Int8,
    /// `int16`.
    Int16,
    /// `int32`.
    Int32,
    /// `int64`.
    Int64,
    /// `uint8`.
    UInt8,
    /// `uint16`.
    UInt16,
    /// `uint32`.
    UInt32,
    /// `uint64`.
    UInt64,
    /// `float16`.
    Float16,
    /// `float32`.
    Float32,
    /// `float64`.
    Float64,
    /// `complex64`: the real and the imaginary part are `float32`.
    Complex64,
    /// `complex128`: the real and the imaginary part are `float64`.
    Complex128,
    /// Any other type, with its numpy name, such as `<U2` or `datetime64[D]`. A program can receive
    /// and send an array of such a type and read the bytes of the array, but cannot convert the
    /// elements.
    Other(String),
}

/// Order of the bytes of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ByteOrder {
    /// Least significant byte first, as on almost all machines and in JavaScript.
    Little,
    /// Most significant byte first, as in some file formats.
    Big,
}

impl ByteOrder {
    /// Byte order of this machine.
    pub const NATIVE: ByteOrder = if cfg!(target_endian = "little") {
        ByteOrder::Little
    } else {
        ByteOrder::Big
    };
}

/// All known types. Each row contains the type, numpy's name, numpy's short code, and the number of
/// bytes per element.
static TYPES: [(DType, &str, &str, usize); 14] = [
    (DType::Bool, "bool", "b1", 1),
    (DType::Int8, "int8", "i1", 1),
    (DType::Int16, "int16", "i2", 2),
    (DType::Int32, "int32", "i4", 4),
    (DType::Int64, "int64", "i8", 8),
    (DType::UInt8, "uint8", "u1", 1),
    (DType::UInt16, "uint16", "u2", 2),
    (DType::UInt32, "uint32", "u4", 4),
    (DType::UInt64, "uint64", "u8", 8),
    (DType::Float16, "float16", "f2", 2),
    (DType::Float32, "float32", "f4", 4),
    (DType::Float64, "float64", "f8", 8),
    (DType::Complex64, "complex64", "c8", 8),
    (DType::Complex128, "complex128", "c16", 16),
];

impl DType {
    /// Parses numpy's notation of a type: a name (`float32`), or a short code. The short code may
    /// start with a character for the byte order (`<f4`, `>i2`, `|u1`, `=f8`).
    ///
    /// Unknown types become [`DType::Other`].
    ///
    /// ```
    /// # use hypha_wire::{ByteOrder, DType};
    /// assert_eq!(DType::parse("int16"), (DType::Int16, ByteOrder::Little));
    /// assert_eq!(DType::parse(">i2"), (DType::Int16, ByteOrder::Big));
    /// assert_eq!(DType::parse("<U2").0, DType::Other("<U2".to_owned()));
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> (DType, ByteOrder) {
        let (code, order) = match text.strip_prefix('>') {
            Some(code) => (code, ByteOrder::Big),
            None => (
                text.strip_prefix(['<', '|', '=']).unwrap_or(text),
                ByteOrder::Little,
            ),
        };
        // numpy's `dtype.char` of `bool` is `?`, and its `dtype.str` is `|b1`.
        let code = if code == "?" { "b1" } else { code };
        let known = TYPES
            .iter()
            .find(|known| known.1 == text || known.2 == code);
        match known {
            // A single byte has no byte order. Always return the same order, so that equal types
            // compare equal.
            Some((dtype, _, _, 1)) => (dtype.clone(), ByteOrder::Little),
            Some((dtype, ..)) => (dtype.clone(), order),
            None => (DType::Other(text.to_owned()), ByteOrder::Little),
        }
    }

    /// Returns the row of this type in [`TYPES`].
    fn entry(&self) -> Option<&'static (DType, &'static str, &'static str, usize)> {
        TYPES.iter().find(|known| known.0 == *self)
    }

    /// Returns the number of bytes per element, or `None` for [`DType::Other`].
    #[must_use]
    pub fn item_size(&self) -> Option<usize> {
        self.entry().map(|known| known.3)
    }

    /// Returns the number of bytes per number. For a complex type, this is half of the bytes per
    /// element. Returns 1 for [`DType::Other`], so that its bytes are never swapped.
    pub(crate) fn number_size(&self) -> usize {
        match (self, self.item_size()) {
            (DType::Complex64 | DType::Complex128, Some(size)) => size / 2,
            (_, size) => size.unwrap_or(1),
        }
    }

    /// Returns the name on the wire. A big-endian type is written as a short code that starts with
    /// `>`, because numpy's names do not specify a byte order.
    pub(crate) fn wire_name(&self, order: ByteOrder) -> Cow<'_, str> {
        match (self, self.entry()) {
            (_, Some((_, _, code, _))) if order == ByteOrder::Big => format!(">{code}").into(),
            (_, Some((_, name, _, _))) => (*name).into(),
            (DType::Other(text), None) => text.into(),
            (_, None) => "".into(),
        }
    }

    /// Returns whether the elements are real numbers or `bool`.
    pub(crate) fn is_real(&self) -> bool {
        !matches!(self, DType::Complex64 | DType::Complex128 | DType::Other(_))
    }

    /// Returns whether the elements are integers.
    pub(crate) fn is_integer(&self) -> bool {
        matches!(
            self,
            DType::Int8
                | DType::Int16
                | DType::Int32
                | DType::Int64
                | DType::UInt8
                | DType::UInt16
                | DType::UInt32
                | DType::UInt64
        )
    }

    /// Returns whether both types are floats, and `self` can represent every value of `narrow`.
    pub(crate) fn widens(&self, narrow: &DType) -> bool {
        match self {
            DType::Float32 => *narrow == DType::Float16,
            DType::Float64 => matches!(narrow, DType::Float16 | DType::Float32),
            _ => false,
        }
    }

    /// Reads one element. Returns `None` if the elements are not real numbers or `bool`, or if
    /// `item` does not have the length of one element.
    pub(crate) fn read(&self, item: &[u8], order: ByteOrder) -> Option<Number> {
        Some(match self {
            DType::Bool => Number::Bool(u8::from_le_bytes(bytes(item, order)?) != 0),
            DType::Int8 => Number::Int(i8::from_le_bytes(bytes(item, order)?).into()),
            DType::Int16 => Number::Int(i16::from_le_bytes(bytes(item, order)?).into()),
            DType::Int32 => Number::Int(i32::from_le_bytes(bytes(item, order)?).into()),
            DType::Int64 => Number::Int(i64::from_le_bytes(bytes(item, order)?)),
            DType::UInt8 => Number::UInt(u8::from_le_bytes(bytes(item, order)?).into()),
            DType::UInt16 => Number::UInt(u16::from_le_bytes(bytes(item, order)?).into()),
            DType::UInt32 => Number::UInt(u32::from_le_bytes(bytes(item, order)?).into()),
            DType::UInt64 => Number::UInt(u64::from_le_bytes(bytes(item, order)?)),
            DType::Float16 => Number::Float(f16_to_f64(u16::from_le_bytes(bytes(item, order)?))),
            DType::Float32 => Number::Float(f32::from_le_bytes(bytes(item, order)?).into()),
            DType::Float64 => Number::Float(f64::from_le_bytes(bytes(item, order)?)),
            DType::Complex64 | DType::Complex128 | DType::Other(_) => return None,
        })
    }

    /// Reads the real and the imaginary part of one complex number. Returns `None` if the element
    /// type is not complex.
    pub(crate) fn complex_parts(&self, item: &[u8], order: ByteOrder) -> Option<[f64; 2]> {
        let part = match self {
            DType::Complex64 => DType::Float32,
            DType::Complex128 => DType::Float64,
            _ => return None,
        };
        let (real, imaginary) = item.split_at_checked(item.len() / 2)?;
        let read = |item| part.read(item, order).map(Number::to_f64);
        Some([read(real)?, read(imaginary)?])
    }

    /// Appends `number` like [`write`](Self::write), but writes 64-bit integers exactly.
    pub(crate) fn write_number(&self, number: Number, out: &mut Vec<u8>) {
        match (self, number) {
            (DType::Int64, Number::Int(value)) => out.extend(value.to_le_bytes()),
            (DType::Int64, Number::UInt(value)) => {
                out.extend(i64::try_from(value).unwrap_or(i64::MAX).to_le_bytes());
            }
            (DType::UInt64, Number::UInt(value)) => out.extend(value.to_le_bytes()),
            (DType::UInt64, Number::Int(value)) => {
                out.extend(u64::try_from(value).unwrap_or(0).to_le_bytes());
            }
            (_, number) => self.write(number.to_f64(), out),
        }
    }

    /// Appends `number` in little-endian order. For an integer type, truncates the fraction, and
    /// clamps the number to the range of the type.
    pub(crate) fn write(&self, number: f64, out: &mut Vec<u8>) {
        match self {
            // `as` clamps the number and converts NaN to 0, so no result of a calculation causes a
            // panic.
            DType::Bool => out.push((number != 0.0).into()),
            DType::Int8 => out.extend((number as i8).to_le_bytes()),
            DType::Int16 => out.extend((number as i16).to_le_bytes()),
            DType::Int32 => out.extend((number as i32).to_le_bytes()),
            DType::Int64 => out.extend((number as i64).to_le_bytes()),
            DType::UInt8 => out.extend((number as u8).to_le_bytes()),
            DType::UInt16 => out.extend((number as u16).to_le_bytes()),
            DType::UInt32 => out.extend((number as u32).to_le_bytes()),
            DType::UInt64 => out.extend((number as u64).to_le_bytes()),
            DType::Float16 => out.extend(f16_from_f64(number).to_le_bytes()),
            DType::Float32 => out.extend((number as f32).to_le_bytes()),
            DType::Float64 => out.extend(number.to_le_bytes()),
            DType::Complex64 | DType::Complex128 | DType::Other(_) => {}
        }
    }
}

/// Returns whether elements with this `_rdtype` are plain bytes.
pub(crate) fn is_bytes(dtype: &[u8]) -> bool {
    std::str::from_utf8(dtype).is_ok_and(|dtype| DType::parse(dtype).0 == DType::UInt8)
}

/// Returns the type of elements that have this type in Rust, or that serde describes so.
pub(crate) fn of_rust(name: &str) -> Option<DType> {
    Some(match name {
        "bool" | "a boolean" => DType::Bool,
        "i8" => DType::Int8,
        "i16" => DType::Int16,
        "i32" => DType::Int32,
        "i64" | "isize" => DType::Int64,
        "u8" => DType::UInt8,
        "u16" => DType::UInt16,
        "u32" => DType::UInt32,
        "u64" | "usize" => DType::UInt64,
        "f16" => DType::Float16,
        "f32" => DType::Float32,
        "f64" => DType::Float64,
        _ => return None,
    })
}

/// Writes numpy's name.
impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Truncate the name, because a peer may have sent it, and it may be long.
        f.write_str(&shorten(&self.wire_name(ByteOrder::Little)))
    }
}

/// Real number or `bool`, without loss of precision.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Number {
    Bool(bool),
    Int(i64),
    UInt(u64),
    Float(f64),
}

impl Number {
    /// Converts the number to a float. `bool` becomes 0 or 1. Integers beyond 2⁵³ are rounded.
    pub(crate) fn to_f64(self) -> f64 {
        match self {
            Self::Bool(value) => f64::from(u8::from(value)),
            Self::Int(value) => value as f64,
            Self::UInt(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// Returns the bytes of one number in little-endian order. Returns `None` if `item` does not have
/// the length of the number.
fn bytes<const N: usize>(item: &[u8], order: ByteOrder) -> Option<[u8; N]> {
    let mut bytes: [u8; N] = item.try_into().ok()?;
    if order == ByteOrder::Big {
        bytes.reverse();
    }
    Some(bytes)
}

/// Converts the bits of a 16-bit float, which has a sign, 5 bits of exponent and 10 bits of
/// fraction.
pub(super) fn f16_to_f64(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    // The exponent 0 denotes a subnormal number, and 31 denotes infinity or NaN. The bias of the
    // exponent is 15. Subtracting another 10 makes the fraction an integer.
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        0x1f if fraction == 0.0 => f64::INFINITY,
        0x1f => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Returns the bits of the nearest 16-bit float. If two floats are equally near, returns the float
/// with an even fraction.
pub(super) fn f16_from_f64(number: f64) -> u16 {
    let size = number.abs();
    let bits = if number.is_nan() {
        0x7e00
    } else if size >= 65520.0 {
        // The number is at least halfway between the largest float, 65504, and the next power of
        // two, so it rounds up to infinity.
        0x7c00
    } else {
        // Below 2^-14, all neighboring floats have the same distance, so the exponent is at least
        // -14. Scaling by a power of two is exact. If rounding increases the fraction to the next
        // power of two, the exponent must be incremented. The carry of the addition increments the
        // exponent.
        let exponent = (size.to_bits() >> 52) as i32 - 1023;
        let exponent = exponent.max(-14);
        let steps = (size * 2f64.powi(10 - exponent)).round_ties_even();
        ((exponent + 14) as u16) * 1024 + steps as u16
    };
    u16::from(number.is_sign_negative()) << 15 | bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_float_survives() {
        for bits in 0..=u16::MAX {
            let number = f16_to_f64(bits);
            if number.is_nan() {
                assert_eq!(f16_from_f64(number) & 0x7fff, 0x7e00);
            } else {
                assert_eq!(f16_from_f64(number), bits, "{number}");
            }
        }
        assert_eq!(f16_to_f64(0x3c01), 1.0 + 1.0 / 1024.0);
        assert_eq!(f16_to_f64(0xfbff), -65504.0);
    }

    /// Tests rounding to the nearest float. A number halfway between two floats is rounded to the
    /// float with the even fraction.
    #[test]
    fn half_floats_are_rounded_to_the_nearest() {
        for bits in 0..0x7bffu16 {
            let (low, high) = (f16_to_f64(bits), f16_to_f64(bits + 1));
            let middle = (low + high) / 2.0;
            let even = bits + (bits & 1);
            assert_eq!(f16_from_f64(middle), even, "{middle}");
            assert_eq!(f16_from_f64(f64::from_bits(middle.to_bits() - 1)), bits);
            assert_eq!(f16_from_f64(f64::from_bits(middle.to_bits() + 1)), bits + 1);
        }
        assert_eq!(f16_from_f64(65519.9), 0x7bff);
        assert_eq!(f16_from_f64(65520.0), 0x7c00);
        assert_eq!(f16_from_f64(-1e300), 0xfc00);
        assert_eq!(f16_from_f64(1e-300), 0);
    }

    #[test]
    fn names_and_codes_are_read_and_written() {
        for (dtype, name, code, size) in &TYPES {
            let big = match size {
                1 => ByteOrder::Little,
                _ => ByteOrder::Big,
            };
            let little = (dtype.clone(), ByteOrder::Little);
            for mark in ["", "<", "|", "="] {
                assert_eq!(DType::parse(&format!("{mark}{code}")), little);
            }
            assert_eq!(DType::parse(name), little);
            assert_eq!(DType::parse(&format!(">{code}")), (dtype.clone(), big));
            assert_eq!(dtype.to_string(), *name);
            assert_eq!(dtype.wire_name(ByteOrder::Big), format!(">{code}"));
        }
        for text in [
            "<U2",
            "|S5",
            "datetime64[D]",
            "",
            ">",
            ">float32",
            "float128",
            "i",
        ] {
            let other = DType::Other(text.to_owned());
            assert_eq!(other.wire_name(ByteOrder::Little), text);
            assert_eq!(DType::parse(text), (other, ByteOrder::Little));
        }
        assert_eq!(DType::parse("?").0, DType::Bool);
    }

    #[test]
    fn numbers_are_clamped_to_the_type() {
        let written = |dtype: DType, number| {
            let mut out = Vec::new();
            dtype.write(number, &mut out);
            dtype.read(&out, ByteOrder::Little).map(Number::to_f64)
        };
        assert_eq!(written(DType::UInt8, 300.0), Some(255.0));
        assert_eq!(written(DType::UInt8, -1.0), Some(0.0));
        assert_eq!(written(DType::Int8, -1.9), Some(-1.0));
        assert_eq!(written(DType::Int32, f64::NAN), Some(0.0));
        assert_eq!(written(DType::Bool, 0.5), Some(1.0));
        assert_eq!(written(DType::Float32, 0.5), Some(0.5));
        assert_eq!(written(DType::Complex64, 0.5), None);
    }
}
