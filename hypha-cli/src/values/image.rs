//! Images as arrays.

use std::io::Cursor;

use anyhow::{Context as _, Result};
use hypha_rpc::NdArray;
use png::{BitDepth, Decoder, Limits, Transformations};

/// Maximum memory for a decoded image, in bytes. A small file can describe a huge image.
const BYTES_MAX: usize = 1 << 30;

/// Returns whether the content is a PNG image.
pub(crate) fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG\r\n\x1a\n")
}

/// Returns the pixels of a PNG image as an array of `u8` or `u16`, with the shape `[height, width]`
/// for gray images, otherwise `[height, width, channels]`.
pub(crate) fn read(bytes: &[u8]) -> Result<NdArray> {
    let limits = Limits { bytes: BYTES_MAX };
    let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
    // Pixels of a palette, or of fewer than 8 bits, become colors of 8 bits.
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    let size = reader.output_buffer_size();
    let size = size.filter(|size| *size <= BYTES_MAX);
    let mut pixels = vec![0; size.context("the image is too large")?];
    let frame = reader.next_frame(&mut pixels)?;
    pixels.truncate(frame.buffer_size());
    let mut shape = vec![frame.height as usize, frame.width as usize];
    let channels = frame.color_type.samples();
    if channels > 1 {
        shape.push(channels);
    }
    Ok(match frame.bit_depth {
        BitDepth::Sixteen => {
            let pairs = pixels.chunks_exact(2);
            let numbers = pairs.map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            NdArray::from_vec(shape, numbers.collect::<Vec<u16>>())?
        }
        _ => NdArray::from_vec(shape, pixels)?,
    })
}

#[cfg(test)]
mod tests {
    use png::{ColorType, Encoder};

    use super::*;

    fn image(color: ColorType, depth: BitDepth, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes, 2, 1);
        encoder.set_color(color);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(pixels).unwrap();
        writer.finish().unwrap();
        bytes
    }

    #[test]
    fn pixels_become_elements() {
        let gray = image(ColorType::Grayscale, BitDepth::Eight, &[3, 250]);
        assert!(is_png(&gray));
        let expected = NdArray::from_vec([1, 2], vec![3u8, 250]).unwrap();
        assert_eq!(read(&gray).unwrap(), expected);
        let color = image(ColorType::Rgb, BitDepth::Eight, &[1, 2, 3, 4, 5, 6]);
        let expected = NdArray::from_vec([1, 2, 3], vec![1u8, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(read(&color).unwrap(), expected);
        let deep = image(ColorType::Grayscale, BitDepth::Sixteen, &[1, 0, 0, 2]);
        let expected = NdArray::from_vec([1, 2], vec![256u16, 2]).unwrap();
        assert_eq!(read(&deep).unwrap(), expected);
        assert!(read(&gray[..gray.len() - 20]).is_err());
    }
}
