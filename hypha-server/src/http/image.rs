//! Detects images in results by their first bytes, and encodes arrays as images.

#[cfg(feature = "images")]
use std::io::Write as _;

#[cfg(feature = "images")]
use hypha_rpc::NdArray;
#[cfg(feature = "images")]
use hypha_wire::{ByteOrder, DType};
#[cfg(feature = "images")]
use png::{BitDepth, ColorType, Compression, Encoder};

/// Size of the chunks of an image, in bytes.
#[cfg(feature = "images")]
const CHUNK: usize = 64 * 1024;
/// Maximum width and height of an image, in pixels. Models scale larger images down, and a larger
/// array is probably not an image.
#[cfg(feature = "images")]
const SIDE_MAX: usize = 16_384;

/// Detects the format of an image by its first bytes. Returns the media type if browsers and models
/// support the format.
pub(super) fn media_type(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'W',
            b'E',
            b'B',
            b'P',
            ..,
        ] => Some("image/webp"),
        _ => None,
    }
}

/// Returns the width, the height and the colors of an array that is an image. The elements of an
/// image are `u8` or `u16`, and the shape is `[height, width]`, or `[height, width, channels]` with
/// 1, 3 or 4 channels. Returns `None` for any other array.
#[cfg(feature = "images")]
fn layout(array: &NdArray) -> Option<(u32, u32, ColorType, BitDepth)> {
    let (height, width, color) = match *array.shape() {
        [height, width] | [height, width, 1] => (height, width, ColorType::Grayscale),
        [height, width, 3] => (height, width, ColorType::Rgb),
        [height, width, 4] => (height, width, ColorType::Rgba),
        _ => return None,
    };
    let depth = match array.dtype() {
        DType::UInt8 => BitDepth::Eight,
        DType::UInt16 => BitDepth::Sixteen,
        _ => return None,
    };
    let side = 1..=SIDE_MAX;
    if !side.contains(&height) || !side.contains(&width) {
        return None;
    }
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    Some((width, height, color, depth))
}

/// Returns the maximum memory of [`png`] for an array, in bytes, or `None` if the array is not an
/// image.
#[cfg(feature = "images")]
pub(super) fn png_bound(array: &NdArray) -> Option<usize> {
    let (_, height, ..) = layout(array)?;
    let size = array.data().len();
    // The compressor writes up to 12 bits for a byte. The PNG format adds one byte to each row. The
    // encoder holds four rows at a time.
    let row = size / height as usize;
    Some(size + size / 2 + 2 * height as usize + 4 * row + 2 * CHUNK)
}

/// Encodes an array as PNG. Returns `None` unless the array is an image (see [`layout`]).
#[cfg(feature = "images")]
pub(super) fn png(array: &NdArray) -> Option<Vec<u8>> {
    let (width, height, color, depth) = layout(array)?;
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(depth);
    // Fast compression matters more than a small file, because the image is sent only once.
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    let mut rows = writer.stream_writer_with_size(CHUNK).ok()?;
    if depth == BitDepth::Sixteen && array.byte_order() == ByteOrder::Little {
        let row = array.data().len() / height as usize;
        let mut swapped = Vec::with_capacity(row);
        for row in array.data().chunks(row) {
            swapped.clear();
            swapped.extend(row.chunks_exact(2).flat_map(|pixel| [pixel[1], pixel[0]]));
            rows.write_all(&swapped).ok()?;
        }
    } else {
        rows.write_all(array.data()).ok()?;
    }
    rows.finish().ok()?;
    writer.finish().ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "images")]
    #[test]
    fn arrays_of_bytes_are_images_and_others_are_not() {
        let gray = NdArray::from_vec([2, 3], vec![0_u8, 50, 100, 150, 200, 250]).unwrap();
        let image = png(&gray).unwrap();
        assert_eq!(media_type(&image), Some("image/png"));
        assert_eq!(image[16..26], [0, 0, 0, 3, 0, 0, 0, 2, 8, 0]);
        let colours = NdArray::from_vec([1, 1, 4], vec![1_u8, 2, 3, 4]).unwrap();
        assert_eq!(png(&colours).unwrap()[25], 6);
        let large = NdArray::from_vec([300, 300], vec![7_u8; 90_000]).unwrap();
        assert!(
            png(&large).unwrap().len() < 9000,
            "the image is not compressed"
        );
        let noise: Vec<u8> = (0..90_000_u64).map(|i| (i * i % 251) as u8).collect();
        let noise = NdArray::from_vec([300, 300], noise).unwrap();
        assert!(png(&noise).unwrap().len() < png_bound(&noise).unwrap());
        // PNG stores 16-bit values with the most significant byte first, so both byte orders of an
        // array give the same image.
        for order in [ByteOrder::Little, ByteOrder::Big] {
            let pixels = match order {
                ByteOrder::Little => vec![0x02, 0x01, 0x04, 0x03],
                ByteOrder::Big => vec![0x01, 0x02, 0x03, 0x04],
            };
            let deep = NdArray::from_bytes(DType::UInt16, [1, 2], pixels).unwrap();
            let image = png(&deep.with_byte_order(order)).unwrap();
            assert_eq!(image[24..26], [16, 0]);
            let mut reader = png::Decoder::new(std::io::Cursor::new(image))
                .read_info()
                .unwrap();
            let mut pixels = [0; 4];
            reader.next_frame(&mut pixels).unwrap();
            assert_eq!(pixels, [1, 2, 3, 4]);
        }
        for array in [
            NdArray::from_vec([2], vec![0_u8, 1]).unwrap(),
            NdArray::from_vec([1, 1, 2], vec![0_u8, 1]).unwrap(),
            NdArray::from_vec([1, 2], vec![0.5_f32, 1.0]).unwrap(),
            NdArray::from_vec([0, 2], Vec::<u8>::new()).unwrap(),
        ] {
            assert!(png(&array).is_none());
        }
    }

    #[test]
    fn images_are_recognized_by_their_first_bytes() {
        assert_eq!(media_type(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(media_type(b"GIF89a.."), Some("image/gif"));
        assert_eq!(media_type(b"RIFF\0\0\0\0WEBP"), Some("image/webp"));
        assert_eq!(media_type(b"\x89PN"), None);
        assert_eq!(media_type(b""), None);
    }
}
