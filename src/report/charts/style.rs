//! Colours, signs and sizes of text.

use plotters::style::text_anchor::Pos;
use plotters::style::{Color, FontFamily, FontStyle, IntoFont, RGBColor, ShapeStyle, TextStyle};

/// Words and axes.
pub(super) const INK: RGBColor = RGBColor(0x1B, 0x1F, 0x24);
/// Words that matter less.
pub(super) const SOFT: RGBColor = RGBColor(0x57, 0x60, 0x6A);
/// Lines behind the data.
pub(super) const GRID: RGBColor = RGBColor(0xDD, 0xE1, 0xE6);
/// What everything lies on.
pub(super) const PAPER: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
/// Better, in marks: a blue and a red that people with any colour vision can tell apart.
pub(super) const GOOD: RGBColor = RGBColor(0x00, 0x72, 0xB2);
/// Worse, in marks.
pub(super) const BAD: RGBColor = RGBColor(0xC8, 0x45, 0x1B);

/// Okabe and Ito's colours for all kinds of colour vision (2008), without black, which is the ink, and without yellow,
/// which nobody sees on white.
const SERIES: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xE6, 0x9F, 0x00),
];

/// What the colours of a drawing are called on a page, where they follow its own light or dark scheme.
pub(super) fn page_colours() -> impl Iterator<Item = (String, String)> {
    let hex = |RGBColor(r, g, b): RGBColor| format!("\"#{r:02X}{g:02X}{b:02X}\"");
    let own = [(INK, "ink"), (SOFT, "soft"), (GRID, "grid"), (PAPER, "paper")];
    let own = own.into_iter().map(move |(colour, name)| (hex(colour), format!("\"var(--{name})\"")));
    let series = SERIES.into_iter().enumerate();
    own.chain(series.map(move |(number, colour)| (hex(colour), format!("\"var(--series-{number})\""))))
}

/// The sign of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Disc,
    Square,
    Triangle,
    Diamond,
    Ring,
    Cross,
}

const SIGNS: [Sign; 6] = [Sign::Disc, Sign::Square, Sign::Triangle, Sign::Diamond, Sign::Ring, Sign::Cross];

/// How a series looks: its colour, then its sign, then whether its lines are dashed. 72 series look different.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) colour: RGBColor,
    pub(super) sign: Sign,
    pub(super) dashed: bool,
}

impl Look {
    pub(super) fn of(key: usize) -> Self {
        let round = key / SERIES.len();
        Self {
            colour: SERIES[key % SERIES.len()],
            sign: SIGNS[round % SIGNS.len()],
            dashed: round / SIGNS.len() % 2 == 1,
        }
    }

    pub(super) fn fill(self) -> ShapeStyle {
        self.colour.filled()
    }

    pub(super) fn line(self, width: u32) -> ShapeStyle {
        self.colour.stroke_width(width)
    }
}

/// The name of the embedded font.
pub(super) const FAMILY: &str = "Roboto";

/// Text of this many pixels. Plotters' sizes are those of a line, 1.24 times that of the letters.
pub(super) fn text(pixels: f64, colour: RGBColor) -> TextStyle<'static> {
    let font = (FontFamily::Name(FAMILY), pixels * 1.24, FontStyle::Normal).into_font();
    TextStyle { font, color: colour.to_backend_color(), pos: Pos::default() }
}

/// Titles of sheets.
pub(super) const TITLE: f64 = 20.0;
/// Titles of panels.
pub(super) const HEADING: f64 = 14.0;
/// Names and numbers.
pub(super) const LABEL: f64 = 12.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_series_look_different() {
        let looks: Vec<Look> = (0..60).map(Look::of).collect();
        for (place, look) in looks.iter().enumerate() {
            assert!(!looks[..place].contains(look), "{place}");
        }
    }
}
