//! Images in results: recognized by their first bytes, or made of arrays of bytes.

use hypha_rpc::NdArray;
use hypha_wire::DType;

/// Bytes in one stored block of deflate, at most.
const BLOCK: usize = 65_535;
/// Pixels of the longest side of an image. Models see no more of it, and a wrong array is no image.
const SIDE_MAX: usize = 16_384;

/// Returns the media type of an image that models can see, by its first bytes.
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

/// Returns an array as PNG, if it is an image: bytes of the shape `[height, width]`, or with 1, 3
/// or 4 channels as the third dimension.
pub(super) fn png(array: &NdArray) -> Option<Vec<u8>> {
    let (height, width, channels) = match *array.shape() {
        [height, width] => (height, width, 1),
        [height, width, channels @ (1 | 3 | 4)] => (height, width, channels),
        _ => return None,
    };
    let side = 1..=SIDE_MAX;
    if *array.dtype() != DType::UInt8 || !side.contains(&height) || !side.contains(&width) {
        return None;
    }
    let pixels = array.data();
    if pixels.len() != height * width * channels {
        return None;
    }
    let kind = match channels {
        1 => 0,
        3 => 2,
        _ => 6,
    };
    let mut head = Vec::with_capacity(13);
    for side in [width, height] {
        head.extend(u32::try_from(side).unwrap_or(u32::MAX).to_be_bytes());
    }
    // Depth, colours, compression, filter, no interlacing.
    head.extend([8, kind, 0, 0, 0]);
    let mut out = Vec::with_capacity(png_len(height, width, channels));
    out.extend(b"\x89PNG\r\n\x1a\n");
    chunk(&mut out, b"IHDR", &head);
    chunk(&mut out, b"IDAT", &stored(pixels, width * channels));
    chunk(&mut out, b"IEND", &[]);
    Some(out)
}

fn png_len(height: usize, width: usize, channels: usize) -> usize {
    let rows = height * (width * channels + 1);
    rows + 5 * (rows / BLOCK + 1) + 128
}

/// Returns the rows as a stream of zlib that is not compressed: it costs nothing, and base64 of it
/// can be compressed on its way.
fn stored(pixels: &[u8], row: usize) -> Vec<u8> {
    let mut rows = Vec::with_capacity(pixels.len() + pixels.len() / row.max(1));
    for row in pixels.chunks(row) {
        // No filter.
        rows.push(0);
        rows.extend_from_slice(row);
    }
    let mut out = vec![0x78, 0x01];
    let mut blocks = rows.chunks(BLOCK).peekable();
    while let Some(block) = blocks.next() {
        let len = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(blocks.peek().is_none()));
        out.extend(len.to_le_bytes());
        out.extend((!len).to_le_bytes());
        out.extend_from_slice(block);
    }
    out.extend(adler(&rows).to_be_bytes());
    out
}

fn adler(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65_521;
    let (mut a, mut b) = (1_u32, 0_u32);
    // The longest run for which the sums fit.
    for run in bytes.chunks(5552) {
        for &byte in run {
            a += u32::from(byte);
            b += a;
        }
        a %= MODULUS;
        b %= MODULUS;
    }
    b << 16 | a
}

fn chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    out.extend(len.to_be_bytes());
    let start = out.len();
    out.extend_from_slice(kind);
    out.extend_from_slice(data);
    let sum = crc(&out[start..]);
    out.extend(sum.to_be_bytes());
}

/// The remainders of all bytes for the polynomial of PNG.
const REMAINDERS: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut rest = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 {
                0xedb8_8320 ^ (rest >> 1)
            } else {
                rest >> 1
            };
            bit += 1;
        }
        table[byte] = rest;
        byte += 1;
    }
    table
};

fn crc(bytes: &[u8]) -> u32 {
    let step = |rest: u32, byte: &u8| {
        let index = (rest ^ u32::from(*byte)) & 0xff;
        REMAINDERS[index as usize] ^ (rest >> 8)
    };
    !bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standards() {
        assert_eq!(crc(b"IEND"), 0xae42_6082);
        assert_eq!(adler(b"Wikipedia"), 0x11e6_0398);
    }

    #[test]
    fn arrays_of_bytes_are_images_and_others_are_not() {
        let gray = NdArray::from_vec([2, 3], vec![0_u8, 50, 100, 150, 200, 250]).unwrap();
        let image = png(&gray).unwrap();
        assert_eq!(media_type(&image), Some("image/png"));
        assert_eq!(&image[16..26], [0, 0, 0, 3, 0, 0, 0, 2, 8, 0]);
        let colours = NdArray::from_vec([1, 1, 4], vec![1_u8, 2, 3, 4]).unwrap();
        assert_eq!(png(&colours).unwrap()[25], 6);
        let large = NdArray::from_vec([300, 300], vec![7_u8; 90_000]).unwrap();
        assert!(png(&large).unwrap().len() <= png_len(300, 300, 1));
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
