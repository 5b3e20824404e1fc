//! Scaling pictures as Pillow does up to version 12, to the last bit: networks were trained and their accuracy was
//! published on its pixels.
//!
//! A bilinear filter (a triangle) whose support grows with the reduction, so that every source pixel counts
//! ("antialias"). It goes over the rows first and then over the columns, with weights of 22 fractional bits, and rounds
//! to 8 bits after either. (Pillow 13 goes over the columns first where the height shrinks more than the width; a value
//! may then differ by one.) What lies outside of the window that is asked for is never computed.

use std::ops::Range;

use image::RgbImage;

/// Fractional bits of the weights: 8 bits of the value and two for sums stay free in 32.
const PRECISION: u32 = 32 - 8 - 2;

/// What one output pixel is made of along one axis.
struct Taps {
    /// The first source pixel.
    first: usize,
    /// Weights of it and those that follow, in units of 2^-22; they add up to one but for rounding.
    weights: Vec<u32>,
}

/// The part of `picture`, scaled to `size` (width, height), that lies in the columns `across` and the rows `down`:
/// three bytes a pixel, row by row.
pub(super) fn scaled_window(
    picture: &RgbImage,
    size: (usize, usize),
    across: Range<usize>,
    down: Range<usize>,
) -> Vec<u8> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let columns = taps(width, size.0, across);
    let rows = taps(height, size.1, down);
    let top = rows.iter().map(|row| row.first).min().unwrap_or(0);
    let bottom = rows.iter().map(|row| row.first + row.weights.len()).max().unwrap_or(0);
    let source = picture.as_raw();
    let mut narrow = Vec::with_capacity((bottom - top) * columns.len() * 3);
    for row in source[top * width * 3..bottom * width * 3].chunks_exact(width * 3) {
        for column in &columns {
            let pixels = row[column.first * 3..].chunks_exact(3);
            narrow.extend(weighted(&column.weights, pixels));
        }
    }
    let stride = columns.len() * 3;
    let mut scaled = Vec::with_capacity(rows.len() * stride);
    for row in &rows {
        let lines = &narrow[(row.first - top) * stride..];
        for offset in (0..stride).step_by(3) {
            let pixels = lines[offset..].chunks(stride);
            scaled.extend(weighted(&row.weights, pixels));
        }
    }
    scaled
}

/// The weighted sum of pixels; a pixel is the first three bytes of a slice.
fn weighted<'p>(weights: &[u32], pixels: impl Iterator<Item = &'p [u8]>) -> [u8; 3] {
    let mut sums = [1_u32 << (PRECISION - 1); 3];
    for (weight, pixel) in weights.iter().zip(pixels) {
        for (sum, value) in sums.iter_mut().zip(pixel) {
            *sum += weight * u32::from(*value);
        }
    }
    sums.map(|sum| (sum >> PRECISION).min(255) as u8)
}

/// What the output pixels of `window` are made of, when `input` pixels become `output`.
fn taps(input: usize, output: usize, window: Range<usize>) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    // The triangle reaches one pixel of the coarser grid to either side.
    let support = scale.max(1.0);
    window
        .map(|pixel| {
            let centre = (pixel as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(input);
            let triangle: Vec<f64> =
                (first..end).map(|source| (1.0 - ((source as f64 - centre + 0.5) / support).abs()).max(0.0)).collect();
            let sum: f64 = triangle.iter().sum();
            let unit = f64::from(1_u32 << PRECISION);
            Taps { first, weights: triangle.iter().map(|weight| (weight / sum * unit + 0.5) as u32).collect() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 9 % 256) as u8, (y * 7 % 256) as u8, 200]))
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let picture = ramp(13, 7);
        assert_eq!(&scaled_window(&picture, (13, 7), 0..13, 0..7), picture.as_raw());
    }

    #[test]
    fn a_window_is_a_part_of_the_whole() {
        let picture = ramp(40, 30);
        let whole = scaled_window(&picture, (20, 15), 0..20, 0..15);
        let part = scaled_window(&picture, (20, 15), 3..8, 2..6);
        for (line, row) in part.chunks_exact(5 * 3).zip(2..) {
            let start = (row * 20 + 3) * 3;
            assert_eq!(line, &whole[start..start + 15]);
        }
        assert_eq!(part.len(), 4 * 5 * 3);
    }

    #[test]
    fn halving_weighs_four_pixels_a_side() {
        // Pillow 13: Image.fromarray(uint8[[0, 100, 200, 40]] as RGB).resize((2, 1), BILINEAR).
        let picture = RgbImage::from_fn(4, 1, |x, _| image::Rgb([[0, 100, 200, 40][x as usize]; 3]));
        assert_eq!(scaled_window(&picture, (2, 1), 0..2, 0..1), [71, 71, 71, 117, 117, 117]);
    }

    #[test]
    fn a_long_strip_needs_no_more_memory_than_its_middle() {
        // 1 x 65000 pixels would become 256 x 16 640 000.
        let strip = RgbImage::from_pixel(1, 65_000, image::Rgb([9, 8, 7]));
        let middle = scaled_window(&strip, (256, 16_640_000), 16..240, 8_319_888..8_320_112);
        assert_eq!(middle.len(), 224 * 224 * 3);
        assert!(middle.chunks_exact(3).all(|pixel| pixel == [9, 8, 7]));
    }
}
