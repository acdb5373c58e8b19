//! Reads and writes NumPy files (`.npy`), which hold one array each.
//
// This module uses no crate for the format. The existing crates depend on parsers for Python
// literals and big integers, which the headers of these files do not need.

use anyhow::{Context as _, Result, bail, ensure};
use hypha_rpc::{DType, NdArray};
use hypha_wire::ByteOrder;

const MAGIC: &[u8] = b"\x93NUMPY";
/// Alignment of the data in a NumPy file, in bytes. NumPy uses the same alignment.
const ALIGNMENT: usize = 64;

/// Returns whether the bytes start with the magic bytes of a NumPy file.
pub(crate) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Parses a NumPy file.
///
/// # Errors
///
/// Fails if the bytes are not a NumPy file, or if the elements are objects, strings or records.
pub(crate) fn read(bytes: &[u8]) -> Result<NdArray> {
    let rest = bytes.strip_prefix(MAGIC).context("not a NumPy file")?;
    let (&[major, _], rest) = rest.split_first_chunk().context("the header is cut off")?;
    let (length, rest) = match major {
        1 => {
            let (length, rest) = rest.split_first_chunk().context("the header is cut off")?;
            (usize::from(u16::from_le_bytes(*length)), rest)
        }
        2 | 3 => {
            let (length, rest) = rest.split_first_chunk().context("the header is cut off")?;
            (u32::from_le_bytes(*length) as usize, rest)
        }
        other => bail!("version {other} of the format is not known"),
    };
    let (header, data) = rest
        .split_at_checked(length)
        .context("the header is cut off")?;
    let header = std::str::from_utf8(header).context("the header is not text")?;
    let descr = entry(header, "descr")?;
    let descr = descr
        .strip_prefix(['\'', '"'])
        .and_then(|rest| rest.split(['\'', '"']).next())
        .context("arrays of records cannot be sent")?;
    let (dtype, order) = DType::parse(descr);
    ensure!(
        !matches!(dtype, DType::Other(_)),
        "elements of type `{descr}` cannot be read"
    );
    let shape = shape(entry(header, "shape")?)?;
    let is_fortran = entry(header, "fortran_order")?.starts_with("True");
    let size = dtype.item_size().unwrap_or(1);
    let count = shape
        .iter()
        .try_fold(size, |size, len| size.checked_mul(*len));
    let count = count.context("the array is too large")?;
    let data = data.get(..count).with_context(|| {
        format!(
            "{} bytes of data, but shape {shape:?} of {dtype} needs {count}",
            data.len()
        )
    })?;
    let data = if is_fortran {
        in_c_order(data, &shape, size)
    } else {
        data.to_vec()
    };
    Ok(NdArray::from_bytes(dtype, shape, data)?.with_byte_order(order))
}

/// Returns the rest of the header after `key`.
fn entry<'a>(header: &'a str, key: &str) -> Result<&'a str> {
    let (_, rest) = header
        .split_once(&format!("'{key}'"))
        .with_context(|| format!("the header has no `{key}`"))?;
    let rest = rest.trim_start().strip_prefix(':');
    Ok(rest
        .with_context(|| format!("the header has no value of `{key}`"))?
        .trim_start())
}

fn shape(text: &str) -> Result<Vec<usize>> {
    let inner = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let (inner, _) = inner.context("the shape is not a tuple")?;
    let lengths = inner
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty());
    // Python 2 appended an L to large numbers.
    let lengths = lengths.map(|text| text.trim_end_matches('L').parse());
    lengths
        .collect::<Result<_, _>>()
        .context("the shape is not a tuple of lengths")
}

/// Converts elements from Fortran order, where the first index changes fastest, to C order, where
/// the last index changes fastest.
fn in_c_order(data: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = size;
    for len in shape {
        strides.push(stride);
        stride *= len;
    }
    let mut index = vec![0; shape.len()];
    for _ in 0..data.len() / size {
        let at: usize = index
            .iter()
            .zip(&strides)
            .map(|(i, stride)| i * stride)
            .sum();
        out.extend_from_slice(&data[at..at + size]);
        for (i, len) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *len {
                break;
            }
            *i = 0;
        }
    }
    out
}

/// Returns the content of a NumPy file that contains an array.
pub(crate) fn write(array: &NdArray) -> Vec<u8> {
    let shape: Vec<String> = array.shape().iter().map(ToString::to_string).collect();
    let shape = match shape.as_slice() {
        [only] => format!("({only},)"),
        all => format!("({})", all.join(", ")),
    };
    let descr = descr(array.dtype(), array.byte_order());
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    // The magic bytes, the version and the length stand before the header. The header ends with a
    // newline.
    let before = MAGIC.len() + 4;
    let unpadded = before + header.len() + 1;
    let padding = unpadded.next_multiple_of(ALIGNMENT) - unpadded;
    header.extend(std::iter::repeat_n(' ', padding));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    // An array has few dimensions, so the header fits into 16 bits.
    let length = u16::try_from(header.len()).unwrap_or(u16::MAX);
    bytes.extend([1, 0]);
    bytes.extend(length.to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(array.data());
    bytes
}

fn descr(dtype: &DType, order: ByteOrder) -> String {
    let code = match dtype {
        DType::Bool => "b1",
        DType::Int8 => "i1",
        DType::Int16 => "i2",
        DType::Int32 => "i4",
        DType::Int64 => "i8",
        DType::UInt8 => "u1",
        DType::UInt16 => "u2",
        DType::UInt32 => "u4",
        DType::UInt64 => "u8",
        DType::Float16 => "f2",
        DType::Float32 => "f4",
        DType::Float64 => "f8",
        DType::Complex64 => "c8",
        DType::Complex128 => "c16",
        DType::Other(name) => return name.replace(['\'', '\\', '\n'], ""),
    };
    let mark = match (dtype.item_size(), order) {
        (Some(1), _) => '|',
        (_, ByteOrder::Little) => '<',
        (_, ByteOrder::Big) => '>',
    };
    format!("{mark}{code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_they_were_written() {
        for array in [
            NdArray::from_vec([2, 3], vec![1.5f32, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap(),
            NdArray::from_vec([4], vec![1u8, 2, 3, 4]).unwrap(),
            NdArray::from_vec([0, 7], Vec::<i64>::new()).unwrap(),
            NdArray::from_vec(Vec::new(), vec![7i16]).unwrap(),
            NdArray::from_bytes(DType::UInt16, [2], vec![0, 1, 0, 2])
                .unwrap()
                .with_byte_order(ByteOrder::Big),
        ] {
            let bytes = write(&array);
            let header = bytes.len() - array.data().len();
            assert_eq!(header % ALIGNMENT, 0);
            assert_eq!(read(&bytes).unwrap(), array);
        }
    }

    fn file(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header =
            format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn fortran_order_is_converted() {
        let file = file("'|u1'", "True", "(2, 3)", &[1, 4, 2, 5, 3, 6]);
        let array = read(&file).unwrap();
        assert_eq!(array.shape(), [2, 3]);
        assert_eq!(array.to_vec::<u8>().unwrap(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn invalid_files_are_refused_with_a_reason() {
        for (file, text) in [
            (b"PNG".to_vec(), "not a NumPy file"),
            (b"\x93NUMPY\x01".to_vec(), "the header is cut off"),
            (b"\x93NUMPY\x09\x00".to_vec(), "version 9"),
            (file("'|O'", "False", "(1,)", &[0]), "elements of type `|O`"),
            (
                file("[('a', '<i4')]", "False", "(1,)", &[0; 4]),
                "arrays of records",
            ),
            (file("'<f8'", "False", "(2,)", &[0; 8]), "needs 16"),
            (
                file("'<f8'", "False", "(99999999999999999, 99999)", &[]),
                "too large",
            ),
            (
                file("'<f8'", "False", "(-1,)", &[]),
                "not a tuple of lengths",
            ),
            (file("'<f8'", "False", "3", &[]), "not a tuple"),
        ] {
            let error = format!("{:#}", read(&file).unwrap_err());
            assert!(error.contains(text), "{error}");
        }
    }
}
