//! Drawings as PNG.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{FontResolver, Options, Tree};

use super::style::FAMILY;
use super::{ChartError, Drawing, FONT};

fn fonts() -> Arc<Database> {
    let mut fonts = Database::new();
    fonts.load_font_data(FONT.to_vec());
    fonts.set_sans_serif_family(FAMILY);
    Arc::new(fonts)
}

fn options(fonts: Arc<Database>) -> Options<'static> {
    Options { fontdb: fonts, font_family: FAMILY.to_owned(), ..Options::default() }
}

/// The letters of a drawing that the embedded font does not have.
pub fn letters_without_glyphs(drawing: &Drawing) -> BTreeSet<char> {
    let fonts = fonts();
    let others: BTreeSet<char> = drawing.svg.chars().filter(|letter| !letter.is_ascii()).collect();
    others.into_iter().filter(|letter| !has_glyph(*letter, &fonts)).collect()
}

/// Whether a letter is drawn without asking for another font.
fn has_glyph(letter: char, fonts: &Arc<Database>) -> bool {
    let asked = AtomicBool::new(false);
    let ask = |_, _: &[_], _: &mut _| {
        asked.store(true, Ordering::Relaxed);
        None
    };
    let resolver = FontResolver { select_fallback: Box::new(ask), ..FontResolver::default() };
    let options = Options { font_resolver: resolver, ..options(Arc::clone(fonts)) };
    let svg = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><text>{letter}</text></svg>");
    let is_text = Tree::from_str(&svg, &options).is_ok();
    drop(options);
    is_text && !asked.load(Ordering::Relaxed)
}

/// A picture of a drawing, `scale` times as large, in PNG. It needs no fonts of the system; for
/// [`letters_without_glyphs`] stands a `?`.
///
/// # Errors
/// A picture that is too large or empty.
pub fn png(drawing: &Drawing, scale: f32) -> Result<Vec<u8>, ChartError> {
    let failed = |reason: String| ChartError::Picture { name: drawing.name.clone(), reason };
    let missing = letters_without_glyphs(drawing);
    let svg: String = drawing.svg.chars().map(|letter| if missing.contains(&letter) { '?' } else { letter }).collect();
    let tree = Tree::from_str(&svg, &options(fonts())).map_err(|error| failed(error.to_string()))?;
    let side = |length: u32| (length as f32 * scale).round() as u32;
    let (width, height) = (side(drawing.width), side(drawing.height));
    let mut picture =
        Pixmap::new(width, height).ok_or_else(|| failed(format!("{width} x {height} pixels are too many or none")))?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut picture.as_mut());
    picture.encode_png().map_err(|error| failed(error.to_string()))
}
