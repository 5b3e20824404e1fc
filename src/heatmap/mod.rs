//! Attributions as pictures: heat maps over what they explain, and contact sheets of several methods.
//!
//! It knows neither networks nor files: numbers and pixels come in, pixels go out.

mod canvas;
mod colours;
mod figure;
mod map;
mod overlay;

use std::io::Cursor;

use image::{ImageFormat, RgbImage};

pub use colours::Palette;
pub use figure::{Caption, SheetCell, contact_sheet, figure};
pub use map::{HeatMap, SHOWN_SHARE};
pub use overlay::{grey_picture, heat_over};

/// A picture as a PNG file.
///
/// # Errors
/// A picture too large for the format; memory is the only other limit.
pub fn png(picture: &RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(bytes.into_inner())
}
