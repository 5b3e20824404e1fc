//! Picture files: PNG and JPEG to 8-bit RGB, as Pillow's `convert("RGB")` does it, and then to a sample.

use std::io::Cursor;

use image::{DynamicImage, ImageReader, RgbImage};

use super::resample::scaled_window;
use crate::domain::Preprocessing;

/// Why a file is no picture.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    /// Nothing is in it.
    #[error("the file is empty")]
    Empty,
    /// It ends too early.
    #[error("the file ends in the middle of the picture")]
    Truncated,
    /// Shades that 8 bits cannot hold.
    #[error("it has 16-bit shades of grey, which Pillow (and so torchvision) would cut off at 255")]
    DeepGrey,
    /// The decoder refuses.
    #[error(transparent)]
    Decode(#[from] image::ImageError),
}

/// A PNG or JPEG file, told by its content, as RGB: grey is tripled, palettes are looked up, transparency is dropped,
/// 16-bit colours keep their high byte. The orientation of EXIF is not applied, as in torchvision.
///
/// # Errors
/// Anything that Pillow refuses, too, and 16-bit grey.
pub(super) fn decode(bytes: Vec<u8>) -> Result<RgbImage, PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    // The decoder fills what is missing of a JPEG with grey and does not tell.
    if bytes.starts_with(&[0xff, 0xd8]) && !jpeg_is_whole(&bytes) {
        return Err(PictureError::Truncated);
    }
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(image::ImageError::IoError)?;
    Ok(match reader.decode()? {
        DynamicImage::ImageLuma16(_) => return Err(PictureError::DeepGrey),
        DynamicImage::ImageLumaA16(deep) => {
            RgbImage::from_fn(deep.width(), deep.height(), |x, y| image::Rgb([high_byte(deep[(x, y)][0]); 3]))
        }
        DynamicImage::ImageRgb16(deep) => RgbImage::from_fn(deep.width(), deep.height(), |x, y| {
            let [red, green, blue] = deep[(x, y)].0;
            image::Rgb([red, green, blue].map(high_byte))
        }),
        DynamicImage::ImageRgba16(deep) => RgbImage::from_fn(deep.width(), deep.height(), |x, y| {
            let [red, green, blue, _] = deep[(x, y)].0;
            image::Rgb([red, green, blue].map(high_byte))
        }),
        shallow => shallow.into_rgb8(),
    })
}

fn high_byte(value: u16) -> u8 {
    (value >> 8) as u8
}

/// Whether a JPEG goes on to its end marker (ITU-T T.81, annex B). The segments before the first scan are stepped over,
/// because a thumbnail among them has an end marker of its own; in scans, 0xff is followed by 0 unless it is a marker.
fn jpeg_is_whole(bytes: &[u8]) -> bool {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let mut at = 2;
    while let Some(&[mark, code, high, low]) = bytes.get(at..at + 4) {
        if mark != 0xff {
            // No marker: let the decoder say what it thinks of it.
            return true;
        }
        if code == START_OF_SCAN {
            return bytes[at..].windows(2).any(|pair| pair == END_OF_IMAGE);
        }
        // Any number of 0xff may come before a marker.
        at += if code == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
    }
    false
}

/// Fills `sample` (`[3, crop, crop]`) with the pre-processed picture: torchvision's `Resize(resize)` on the shorter
/// side, `CenterCrop(crop)`, `ToTensor`, `Normalize`.
pub(super) fn preprocess(picture: &RgbImage, preprocessing: &Preprocessing, sample: &mut [f32]) {
    let crop = preprocessing.crop();
    let size = scaled_size(picture.width() as usize, picture.height() as usize, preprocessing.resize());
    let (left, top) = (crop_offset(size.0, crop), crop_offset(size.1, crop));
    let window = scaled_window(picture, size, left..left + crop, top..top + crop);
    for (channel, plane) in sample.chunks_exact_mut(crop * crop).enumerate() {
        let table: [f32; 256] = std::array::from_fn(|value| preprocessing.normalise(channel, value as u8));
        for (value, pixel) in plane.iter_mut().zip(window.chunks_exact(3)) {
            *value = table[usize::from(pixel[channel])];
        }
    }
}

/// Width and height with the shorter side at `resize`; the longer one is rounded down.
fn scaled_size(width: usize, height: usize, resize: usize) -> (usize, usize) {
    if width <= height { (resize, resize * height / width) } else { (resize * width / height, resize) }
}

/// Where the middle `crop` of `size` pixels starts. Half a pixel goes to the even side, as Python's `round` does it.
fn crop_offset(size: usize, crop: usize) -> usize {
    let spare = size - crop;
    let half = spare / 2;
    if spare % 2 == 1 && half % 2 == 1 { half + 1 } else { half }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};

    use super::*;
    use crate::dataset::tests::fixtures;

    fn file(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_kind_of_pixel_becomes_rgb_as_in_pillow() {
        let first = |bytes: Vec<u8>| decode(bytes).unwrap()[(0, 0)].0;
        let png = ImageFormat::Png;
        assert_eq!(first(file(ImageBuffer::from_pixel(2, 2, Luma([77_u8])), png)), [77; 3]);
        assert_eq!(first(file(ImageBuffer::from_pixel(2, 2, LumaA([77_u8, 0])), png)), [77; 3]);
        // Transparency is dropped, not blended.
        assert_eq!(first(file(ImageBuffer::from_pixel(2, 2, Rgba([1_u8, 2, 3, 0])), png)), [1, 2, 3]);
        // The high byte of 16 bits: 0x12ff would round to 0x13.
        assert_eq!(first(file(ImageBuffer::from_pixel(2, 2, Rgb([0x12ff_u16, 0xffff, 0])), png)), [0x12, 0xff, 0]);
        let deep = ImageBuffer::from_pixel(2, 2, Rgba([0x12ff_u16, 0x00ff, 0x8000, 9]));
        assert_eq!(first(file(deep, png)), [0x12, 0, 0x80]);
        assert_eq!(first(file(ImageBuffer::from_pixel(2, 2, LumaA([0x12ff_u16, 9])), png)), [0x12; 3]);
        assert_eq!(first(file(ImageBuffer::from_pixel(8, 8, Luma([128_u8])), ImageFormat::Jpeg)), [128; 3]);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        assert!(matches!(decode(Vec::new()), Err(PictureError::Empty)));
        assert!(matches!(decode(b"not a picture at all".to_vec()), Err(PictureError::Decode(_))));
        let grey = file(ImageBuffer::from_pixel(2, 2, Luma([300_u16])), ImageFormat::Png);
        assert!(matches!(decode(grey), Err(PictureError::DeepGrey)));
    }

    #[test]
    fn a_picture_that_ends_too_early_is_refused() {
        let picture = RgbImage::from_fn(64, 64, |x, y| Rgb([(x * y) as u8, x as u8, (y * 3) as u8]));
        let png = file(picture.clone(), ImageFormat::Png);
        assert!(decode(png[..png.len() / 2].to_vec()).is_err());
        let jpeg = file(picture, ImageFormat::Jpeg);
        assert!(decode(jpeg.clone()).is_ok());
        for length in [3, 20, jpeg.len() / 2, jpeg.len() - 2] {
            assert!(matches!(decode(jpeg[..length].to_vec()), Err(PictureError::Truncated)), "{length}");
        }
        // The end of a thumbnail before the scan is not the end of the picture.
        let mut thumbnail = vec![0xff, 0xd8, 0xff, 0xe1, 0, 4, 0xff, 0xd9];
        thumbnail.extend(&jpeg[2..]);
        assert!(decode(thumbnail.clone()).is_ok());
        assert!(matches!(decode(thumbnail[..thumbnail.len() - 2].to_vec()), Err(PictureError::Truncated)));
    }

    #[test]
    fn the_longer_side_is_rounded_down_and_half_a_pixel_goes_to_the_even_side() {
        assert_eq!(scaled_size(400, 300, 256), (341, 256));
        assert_eq!(scaled_size(300, 400, 256), (256, 341));
        assert_eq!(scaled_size(32, 32, 32), (32, 32));
        // Python: round(0.5), round(1.5), round(2.5).
        assert_eq!([1, 3, 5].map(|spare| crop_offset(224 + spare, 224)), [0, 2, 2]);
        assert_eq!(crop_offset(256, 224), 16);
    }

    /// The files `*.expected.png` were made by torchvision's Resize and CenterCrop; the pixels must be the same.
    #[test]
    fn pixels_are_those_of_torchvision() {
        for (name, preprocessing) in [
            ("reduced", Preprocessing::IMAGENET),
            ("tall", Preprocessing::CIFAR10),
            ("enlarged", Preprocessing::CIFAR10),
        ] {
            let read = |ending: &str| {
                let path = fixtures().join("preprocessing").join([name, ending].concat());
                decode(std::fs::read(path).unwrap()).unwrap()
            };
            let expected = read(".expected.png");
            let crop = preprocessing.crop();
            assert_eq!(expected.dimensions(), (crop as u32, crop as u32));
            let mut sample = vec![0.0; 3 * crop * crop];
            preprocess(&read(".png"), &preprocessing, &mut sample);
            let mut wanted = Vec::new();
            for channel in 0..3 {
                wanted.extend(expected.pixels().map(|pixel| preprocessing.normalise(channel, pixel.0[channel])));
            }
            let different = sample.iter().zip(&wanted).filter(|(made, wanted)| made != wanted).count();
            assert_eq!((sample.len(), different), (wanted.len(), 0), "{name}");
        }
    }
}
