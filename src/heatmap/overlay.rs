//! A heat map over the picture that it explains.

use image::{Rgb, RgbImage};

use super::canvas::mix;
use super::colours::Palette;
use super::map::HeatMap;

/// How much of a picture's contrast is left under a heat map, which has white for nothing.
const CONTRAST: f32 = 0.55;

/// How much of the picture the strongest colour covers.
const COVER: f32 = 0.9;

/// Numbers `[height, width]` as a picture from black (the least) to white (the most): for inputs that are no pictures.
/// `None` where the number of values is another one.
pub fn grey_picture(width: usize, height: usize, values: &[f32]) -> Option<RgbImage> {
    let (low, high) = range(values);
    let bytes = values.iter().flat_map(|value| [level(*value, low, high); 3]).collect();
    (values.len() == width * height).then(|| RgbImage::from_raw(width as u32, height as u32, bytes)).flatten()
}

/// The least and the most of the finite values.
fn range(values: &[f32]) -> (f32, f32) {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    finite.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)))
}

/// 0 to 255; a casting of NaN is 0.
fn level(value: f32, low: f32, high: f32) -> u8 {
    if high > low { ((value - low) / (high - low) * 255.0).round() as u8 } else { 128 }
}

/// The heat map, `factor` times as large as the picture; over it in pale grey where `picture` is given, on nothing
/// else. A map of the picture's size keeps its pixels, a coarser one is interpolated.
pub fn heat_over(map: &HeatMap, picture: Option<&RgbImage>, factor: u32) -> RgbImage {
    let palette = Palette::of(map.is_signed());
    let (width, height) = picture.map_or((map.width() as u32, map.height() as u32), RgbImage::dimensions);
    let exact = (width as usize, height as usize) == (map.width(), map.height());
    RgbImage::from_fn(width * factor, height * factor, |x, y| {
        let (column, row) = (x / factor, y / factor);
        let share = if exact {
            map.share(column as usize, row as usize)
        } else {
            let at = |place: u32, length: u32| (f64::from(place) + 0.5) / f64::from(length * factor);
            map.share_between(at(x, width), at(y, height))
        };
        let colour = palette.colour(share);
        match picture {
            None => colour,
            // What is no number stands out.
            Some(_) if share.is_nan() => colour,
            Some(picture) => mix(pale(*picture.get_pixel(column, row)), colour, COVER * share.abs().sqrt()),
        }
    })
}

/// The lightness of a colour (ITU-R BT.601), between white and middle grey.
fn pale(Rgb([red, green, blue]): Rgb<u8>) -> Rgb<u8> {
    let luma = 0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue);
    Rgb([(255.0 - (255.0 - luma) * CONTRAST).round() as u8; 3])
}

/// A picture, `factor` times as large: its pixels stay as they are.
pub(super) fn enlarged(picture: &RgbImage, factor: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    RgbImage::from_fn(width * factor, height * factor, |x, y| *picture.get_pixel(x / factor, y / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_picture_in_grey_and_much_covers_it() {
        let picture = RgbImage::from_fn(2, 1, |x, _| Rgb([x as u8 * 255, 0, 0]));
        let map = HeatMap::new(&[1, 2], &[0.0, 1.0]).unwrap();
        let over = heat_over(&map, Some(&picture), 1);
        let Rgb([red, green, blue]) = *over.get_pixel(0, 0);
        assert!(red == green && green == blue && red > 100, "{red} {green} {blue}");
        let end = Palette::Sequential.colour(1.0);
        assert!(over.get_pixel(1, 0).0.iter().zip(end.0).all(|(found, end)| found.abs_diff(end) < 25));
        assert_eq!(*heat_over(&map, None, 1).get_pixel(1, 0), end);
    }

    #[test]
    fn small_pictures_keep_their_pixels_and_coarse_maps_are_smooth() {
        let picture = RgbImage::from_pixel(2, 2, Rgb([255; 3]));
        let fine = heat_over(&HeatMap::new(&[2, 2], &[0.0, 1.0, -1.0, 0.5]).unwrap(), Some(&picture), 8);
        assert_eq!(fine.dimensions(), (16, 16));
        assert!((0..8).all(|place| fine.get_pixel(place, 7) == fine.get_pixel(0, 0)));
        assert_ne!(fine.get_pixel(7, 0), fine.get_pixel(8, 0));
        let picture = RgbImage::from_pixel(16, 16, Rgb([255; 3]));
        let coarse = heat_over(&HeatMap::new(&[2, 2], &[0.0, 1.0, 0.0, 1.0]).unwrap(), Some(&picture), 1);
        let reds: Vec<u8> = (0..16).map(|x| coarse.get_pixel(x, 8).0[0]).collect();
        assert!(reds.is_sorted_by(|one, next| one >= next), "{reds:?}");
        assert!(reds.windows(2).all(|pair| pair[0] - pair[1] < 60), "{reds:?}");
    }

    #[test]
    fn what_is_no_number_is_seen() {
        let picture = RgbImage::from_pixel(1, 1, Rgb([255; 3]));
        let map = HeatMap::new(&[1, 1], &[f32::NAN]).unwrap();
        assert_eq!(*heat_over(&map, Some(&picture), 1).get_pixel(0, 0), super::super::colours::MISSING);
    }

    #[test]
    fn numbers_become_shades() {
        let picture = grey_picture(3, 1, &[-1.0, 0.0, 1.0]).unwrap();
        assert_eq!(picture.pixels().map(|pixel| pixel.0[0]).collect::<Vec<_>>(), [0, 128, 255]);
        assert_eq!(grey_picture(2, 1, &[3.0, 3.0]).unwrap().get_pixel(1, 0).0, [128; 3]);
        assert!(grey_picture(2, 2, &[0.0]).is_none());
    }
}
