//! Images in results: detected by their first bytes, or encoded from byte arrays.

use hypha_rpc::NdArray;
use hypha_wire::DType;
use png::{BitDepth, ColorType, Compression, Encoder};

/// Maximum width and height of an image, in pixels. Models scale larger images down, and a larger
/// array is probably not an image.
const SIDE_MAX: usize = 16_384;

/// Returns the media type of an image format that models support, by its first bytes.
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

/// Encodes an array as PNG. Returns `None` unless it is an image: `u8` elements with shape
/// `[height, width]`, or `[height, width, channels]` with 1, 3 or 4 channels.
pub(super) fn png(array: &NdArray) -> Option<Vec<u8>> {
    let (height, width, color) = match *array.shape() {
        [height, width] | [height, width, 1] => (height, width, ColorType::Grayscale),
        [height, width, 3] => (height, width, ColorType::Rgb),
        [height, width, 4] => (height, width, ColorType::Rgba),
        _ => return None,
    };
    let side = 1..=SIDE_MAX;
    if *array.dtype() != DType::UInt8 || !side.contains(&height) || !side.contains(&width) {
        return None;
    }
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let mut out = Vec::new();
    let mut encoder = Encoder::new(&mut out, width, height);
    encoder.set_color(color);
    encoder.set_depth(BitDepth::Eight);
    // The time matters more than the size: the image is sent once.
    encoder.set_compression(Compression::Fast);
    let mut writer = encoder.write_header().ok()?;
    // An array whose data do not fill its shape is not an image.
    writer.write_image_data(array.data()).ok()?;
    writer.finish().ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_bytes_are_images_and_others_are_not() {
        let gray = NdArray::from_vec([2, 3], vec![0_u8, 50, 100, 150, 200, 250]).unwrap();
        let image = png(&gray).unwrap();
        assert_eq!(media_type(&image), Some("image/png"));
        assert_eq!(&image[16..26], [0, 0, 0, 3, 0, 0, 0, 2, 8, 0]);
        let colours = NdArray::from_vec([1, 1, 4], vec![1_u8, 2, 3, 4]).unwrap();
        assert_eq!(png(&colours).unwrap()[25], 6);
        let large = NdArray::from_vec([300, 300], vec![7_u8; 90_000]).unwrap();
        assert!(png(&large).unwrap().len() < 9000, "it is not compressed");
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
