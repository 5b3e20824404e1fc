//! Drawing on pixels: rectangles, pictures, and text from a font that is part of the program.

use image::{Rgb, RgbImage};
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

/// The height of a line of text, in pixels.
pub(super) const LINE: u32 = 20;

pub(super) const WHITE: Rgb<u8> = Rgb([255; 3]);
pub(super) const BLACK: Rgb<u8> = Rgb([25; 3]);
pub(super) const GREY: Rgb<u8> = Rgb([95; 3]);

const SIZE: RasterHeight = RasterHeight::Size16;

/// How text stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Regular,
    Bold,
}

/// A white canvas.
pub(super) fn canvas(width: u32, height: u32) -> RgbImage {
    RgbImage::from_pixel(width, height, WHITE)
}

/// The characters that fit into a width.
pub(super) fn fitting(width: u32) -> usize {
    width as usize / get_raster_width(FontWeight::Regular, SIZE)
}

/// The width of a text, in pixels.
pub(super) fn text_width(text: &str) -> u32 {
    (text.chars().count() * get_raster_width(FontWeight::Regular, SIZE)) as u32
}

/// A text that fits into a width: its end is left out where it is too long.
pub(super) fn shortened(text: &str, width: u32) -> String {
    let most = fitting(width);
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(2)).collect();
    kept.trim_end().to_owned() + ".."
}

/// Writes a line whose upper left corner is at (`x`, `y`), no further than the canvas goes. The font has the printable
/// characters of ASCII; `?` stands for any other.
pub(super) fn write(canvas: &mut RgbImage, x: u32, y: u32, text: &str, colour: Rgb<u8>, weight: Weight) {
    let weight = match weight {
        Weight::Regular => FontWeight::Regular,
        Weight::Bold => FontWeight::Bold,
    };
    let mut left = x;
    for character in text.chars() {
        let Some(glyph) = get_raster(character, weight, SIZE).or_else(|| get_raster('?', weight, SIZE)) else {
            continue;
        };
        for (row, top) in glyph.rows().zip(y..) {
            for (cover, at) in row.iter().zip(left..) {
                if let Some(pixel) = canvas.get_pixel_mut_checked(at, top) {
                    *pixel = mix(*pixel, colour, f32::from(*cover) / 255.0);
                }
            }
        }
        left += glyph.width() as u32;
    }
}

/// Puts a picture on the canvas with its upper left corner at (`x`, `y`).
pub(super) fn put(canvas: &mut RgbImage, picture: &RgbImage, x: u32, y: u32) {
    image::imageops::replace(canvas, picture, i64::from(x), i64::from(y));
}

/// A line of one pixel around a rectangle, outside of it.
pub(super) fn frame(canvas: &mut RgbImage, x: u32, y: u32, width: u32, height: u32) {
    const LIGHT: Rgb<u8> = Rgb([190; 3]);
    let (left, top) = (x.saturating_sub(1), y.saturating_sub(1));
    for at in left..=x + width {
        for row in [top, y + height] {
            canvas.get_pixel_mut_checked(at, row).into_iter().for_each(|pixel| *pixel = LIGHT);
        }
    }
    for at in top..=y + height {
        for column in [left, x + width] {
            canvas.get_pixel_mut_checked(column, at).into_iter().for_each(|pixel| *pixel = LIGHT);
        }
    }
}

/// The colour between two: `share` 0 is the first one, 1 the second.
pub(super) fn mix(Rgb(first): Rgb<u8>, Rgb(second): Rgb<u8>, share: f32) -> Rgb<u8> {
    let channel = |at: usize| {
        let [first, second] = [first, second].map(|colour| f32::from(colour[at]));
        (first + (second - first) * share).round() as u8
    };
    Rgb([channel(0), channel(1), channel(2)])
}

/// A number for people who look: three digits.
pub(super) fn number(value: f32) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 {
        "0".to_owned()
    } else if (0.01..1000.0).contains(&magnitude) {
        let digits = (2 - magnitude.log10().floor() as i32).max(0) as usize;
        format!("{value:.digits$}")
    } else {
        format!("{value:.1e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_too_long_ends_in_dots() {
        let width = text_width("0123456789");
        assert_eq!(shortened("0123456789", width), "0123456789");
        assert_eq!(shortened("0123456789A", width), "01234567..");
        assert_eq!(fitting(width), 10);
    }

    #[test]
    fn characters_are_drawn_where_they_should_be_and_nowhere_else() {
        let mut picture = canvas(60, 40);
        write(&mut picture, 20, 10, "W", BLACK, Weight::Regular);
        let dark: Vec<(u32, u32)> =
            picture.enumerate_pixels().filter(|(_, _, pixel)| pixel.0[0] < 128).map(|(x, y, _)| (x, y)).collect();
        assert!(dark.len() > 10);
        assert!(dark.iter().all(|(x, y)| (20..20 + text_width("W")).contains(x) && (10..26).contains(y)));
        // A sign that the font does not have, at the edge.
        write(&mut picture, 55, 35, "\u{4e16}\u{754c}", BLACK, Weight::Bold);
    }

    #[test]
    fn numbers_have_three_digits() {
        let texts = [0.0, 1.0, -0.123_45, 12.345, 999.4, 1234.5, 0.001_234].map(number);
        assert_eq!(texts, ["0", "1.00", "-0.123", "12.3", "999", "1.2e3", "1.2e-3"]);
    }
}
