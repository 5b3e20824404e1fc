//! Drawings as PNG.

use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

use super::style::FAMILY;
use super::{ChartError, Drawing, FONT};

/// A picture of a drawing, `scale` times as large, in PNG. It needs no fonts of the system.
///
/// # Errors
/// A picture that is too large or empty.
pub fn png(drawing: &Drawing, scale: f32) -> Result<Vec<u8>, ChartError> {
    let failed = |reason: String| ChartError::Picture { name: drawing.name.clone(), reason };
    let mut fonts = Database::new();
    fonts.load_font_data(FONT.to_vec());
    fonts.set_sans_serif_family(FAMILY);
    let options = Options { fontdb: Arc::new(fonts), font_family: FAMILY.to_owned(), ..Options::default() };
    let tree = Tree::from_str(&drawing.svg, &options).map_err(|error| failed(error.to_string()))?;
    let side = |length: u32| (length as f32 * scale).round() as u32;
    let (width, height) = (side(drawing.width), side(drawing.height));
    let mut picture =
        Pixmap::new(width, height).ok_or_else(|| failed(format!("{width} x {height} pixels are too many or none")))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut picture.as_mut());
    picture.encode_png().map_err(|error| failed(error.to_string()))
}
