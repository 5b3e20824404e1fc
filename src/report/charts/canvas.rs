//! What lies between plotters and our panels: layers that become groups, words that fit, signs, error bars.

use std::collections::BTreeSet;
use std::sync::Once;

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Polygon, Rectangle};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, FontTransform, RGBColor, ShapeStyle, register_font};

use super::FONT;
use super::ruler::Ruler;
use super::style::{FAMILY, GRID, INK, LABEL, Look, SOFT, Sign, text};
use crate::domain::text::shortened_apart;

/// Where is drawn: pixels from the upper left corner of the sheet.
pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// What plotters answers where it cannot draw.
pub(super) type Refused = DrawingAreaErrorKind<std::io::Error>;

/// A pair of axes on a sheet.
pub(super) type Axes<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ruler, Ruler>>;

/// Pixels from the left and from the top.
pub(super) type Pixel = (i32, i32);

/// Makes the embedded font known to plotters, which measures words by it.
fn know_font() {
    static KNOWN: Once = Once::new();
    KNOWN.call_once(|| {
        // Should the font be broken, `draw` says so: nothing can be measured without one.
        let _ = register_font(FAMILY, FontStyle::Normal, FONT);
    });
}

/// The elements of one layer of a sheet, without the element around them.
pub(super) fn layer(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<(), Refused>) -> Result<String, Refused> {
    know_font();
    let mut whole = String::new();
    {
        let area = SVGBackend::with_string(&mut whole, size).into_drawing_area();
        draw(&area)?;
        area.present()?;
    }
    let start = whole.find('\n').map_or(0, |end| end + 1);
    let end = whole.rfind("</svg>").unwrap_or(whole.len());
    // Plotters knows one family; a reader may have others that are alike.
    let family = format!("font-family=\"{FAMILY}\"");
    let families = format!("font-family=\"{FAMILY}, Helvetica, Arial, sans-serif\"");
    Ok(whole.get(start..end).unwrap_or_default().replace(&family, &families))
}

/// The width of a text of this size, in pixels.
pub(super) fn width_of(words: &str, pixels: f64) -> u32 {
    know_font();
    text(pixels, INK).font.box_size(words).map_or(0, |(width, _)| width)
}

/// A text cut to a width, with an ellipsis where it was longer.
pub(super) fn shortened(words: &str, pixels: f64, width: u32) -> String {
    if width_of(words, pixels) <= width {
        return words.to_owned();
    }
    let mut kept: Vec<char> = words.chars().collect();
    // Both ends of a configuration's name tell it apart; the middle goes.
    while kept.len() > 4 && width_of(&kept.iter().collect::<String>(), pixels) + width_of("…", pixels) > width {
        kept.remove(kept.len() / 2);
    }
    kept.insert(kept.len() / 2, '…');
    kept.into_iter().collect()
}

/// Names cut to the first of these widths at which different ones stay different; at the last one a number tells them
/// apart. With the room that they need, in pixels.
pub(super) fn fitted(names: &[String], widths: [u32; 2]) -> (Vec<String>, u32) {
    let longest = |names: &[String]| names.iter().map(|name| width_of(name, LABEL)).max().unwrap_or(0);
    let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
    let cut: Vec<String> = names.iter().map(|name| shortened(name, LABEL, widths[0])).collect();
    if distinct(&cut) == distinct(names) {
        let room = longest(&cut).min(widths[0]);
        return (cut, room);
    }
    let room = |end: &str| widths[1].saturating_sub(if end.is_empty() { 0 } else { width_of(end, LABEL) });
    let cut = shortened_apart(names, |name, end| shortened(name, LABEL, room(end)));
    let room = longest(&cut).min(widths[1]);
    (cut, room)
}

/// A text in lines of this width; a word that is wider is cut.
pub(super) fn wrapped(words: &str, pixels: f64, width: u32) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        let word = shortened(word, pixels, width);
        match lines.last_mut() {
            Some(line) if width_of(&format!("{line} {word}"), pixels) <= width => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(word),
        }
    }
    lines
}

/// What is left free around the plotting area, in pixels, and its axes.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) x: Ruler,
    pub(super) y: Ruler,
    pub(super) left: u32,
    pub(super) right: u32,
    pub(super) top: u32,
    pub(super) bottom: u32,
    pub(super) x_text: String,
    pub(super) y_text: String,
}

/// Room for the numbers and the text below an axis.
pub(super) const BELOW: u32 = 42;

/// Room for these labels beside an axis, and for its text.
pub(super) fn beside<'l>(labels: impl Iterator<Item = &'l str>) -> u32 {
    labels.map(|label| width_of(label, LABEL)).max().unwrap_or(0) + 34
}

impl Frame {
    /// The axes on a part of a sheet, not drawn.
    pub(super) fn axes<'a, 'b>(&self, area: &'a Area<'b>) -> Result<Axes<'a, 'b>, Refused> {
        ChartBuilder::on(area)
            .margin_top(self.top)
            .margin_right(self.right)
            .x_label_area_size(self.bottom)
            .y_label_area_size(self.left)
            .build_cartesian_2d(self.x.clone(), self.y.clone())
    }

    /// Draws axes, ticks, numbers and the lines behind the data.
    pub(super) fn draw<'a, 'b>(&self, area: &'a Area<'b>) -> Result<Axes<'a, 'b>, Refused> {
        let mut axes = self.axes(area)?;
        let mut mesh = axes.configure_mesh();
        mesh.axis_style(SOFT.stroke_width(1))
            .bold_line_style(GRID.stroke_width(1))
            .max_light_lines(0)
            .label_style(text(LABEL, INK))
            .axis_desc_style(text(LABEL, INK));
        if !self.x_text.is_empty() {
            mesh.x_desc(self.x_text.as_str());
        }
        if !self.y_text.is_empty() {
            mesh.y_desc(self.y_text.as_str());
        }
        mesh.draw()?;
        drop(mesh);
        Ok(axes)
    }
}

/// How words lie about their place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    /// They begin there.
    Right,
    /// They end there.
    Left,
    /// They are about it.
    Middle,
    /// They go up from it.
    Up,
}

/// Writes words; their middle is at this height.
pub(super) fn write(
    area: &Area<'_>,
    words: &str,
    (x, y): Pixel,
    lie: Lie,
    (pixels, colour): (f64, RGBColor),
) -> Result<(), Refused> {
    let style = text(pixels, colour);
    let style = match lie {
        Lie::Right => style.pos(Pos::new(HPos::Left, VPos::Center)),
        Lie::Left => style.pos(Pos::new(HPos::Right, VPos::Center)),
        Lie::Middle => style.pos(Pos::new(HPos::Center, VPos::Center)),
        Lie::Up => style.pos(Pos::new(HPos::Left, VPos::Center)).transform(FontTransform::Rotate270),
    };
    area.draw_text(words, &style, (x, y))
}

/// A line through these places.
pub(super) fn line(area: &Area<'_>, places: Vec<Pixel>, style: ShapeStyle, dashed: bool) -> Result<(), Refused> {
    if !dashed {
        return area.draw(&PathElement::new(places, style));
    }
    for pair in places.windows(2) {
        for (from, to) in dashes(pair[0], pair[1]) {
            area.draw(&PathElement::new(vec![from, to], style))?;
        }
    }
    Ok(())
}

/// A straight way cut into dashes of 6 pixels with gaps of 4.
fn dashes(from: Pixel, to: Pixel) -> Vec<(Pixel, Pixel)> {
    let (dx, dy) = (f64::from(to.0 - from.0), f64::from(to.1 - from.1));
    let length = dx.hypot(dy);
    let at = |way: f64| {
        let share = (way / length).min(1.0);
        (from.0 + (dx * share).round() as i32, from.1 + (dy * share).round() as i32)
    };
    let count = (length / 10.0).ceil() as u32;
    (0..count).map(|dash| f64::from(dash) * 10.0).map(|start| (at(start), at(start + 6.0))).collect()
}

/// A filled rectangle between two corners.
pub(super) fn block(area: &Area<'_>, corners: [Pixel; 2], style: impl Into<ShapeStyle>) -> Result<(), Refused> {
    area.draw(&Rectangle::new(corners, style))
}

/// The sign of a series at a place.
pub(super) fn sign(area: &Area<'_>, (x, y): Pixel, look: Look, size: i32) -> Result<(), Refused> {
    let polygon = |places: Vec<Pixel>| area.draw(&Polygon::new(places, look.fill()));
    match look.sign {
        Sign::Disc => area.draw(&Circle::new((x, y), size, look.fill())),
        Sign::Ring => area.draw(&Circle::new((x, y), size, look.line(2))),
        Sign::Square => block(area, [(x - size, y - size), (x + size, y + size)], look.fill()),
        Sign::Triangle => polygon(vec![(x, y - size - 1), (x + size + 1, y + size), (x - size - 1, y + size)]),
        Sign::Diamond => polygon(vec![(x, y - size - 2), (x + size + 2, y), (x, y + size + 2), (x - size - 2, y)]),
        Sign::Cross => {
            line(area, vec![(x - size, y - size), (x + size, y + size)], look.line(2), false)?;
            line(area, vec![(x - size, y + size), (x + size, y - size)], look.line(2), false)
        }
    }
}

/// An error bar: a line between the ends of an interval, with caps across.
pub(super) fn error_bar(area: &Area<'_>, from: Pixel, to: Pixel, style: ShapeStyle) -> Result<(), Refused> {
    let cap = |(x, y): Pixel| if from.1 == to.1 { vec![(x, y - 3), (x, y + 3)] } else { vec![(x - 3, y), (x + 3, y)] };
    for places in [vec![from, to], cap(from), cap(to)] {
        line(area, places, style, false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_measured_by_the_embedded_font() {
        assert!(width_of("wwww", LABEL) > 2 * width_of("iiii", LABEL));
        assert!(width_of("a", 24.0) >= 2 * width_of("a", 12.0) - 1);
    }

    #[test]
    fn long_words_lose_their_middle() {
        let name = "a-network-with-a-very-long-name/on-some-device/at-batch-size-128";
        let short = shortened(name, LABEL, 150);
        assert!(width_of(&short, LABEL) <= 160, "{short}");
        assert!(short.starts_with("a-net") && short.ends_with("128") && short.contains('…'), "{short}");
        assert_eq!(shortened("short", LABEL, 150), "short");
    }

    #[test]
    fn names_that_differ_in_the_middle_get_more_room_and_then_a_number() {
        let name = |layout: &str, length: usize| [&"left ".repeat(length), layout, &" right".repeat(length)].concat();
        let names = vec![name("a", 8), name("b", 8), name("a", 8), "vit".to_owned()];
        let (cut, room) = fitted(&names, [150, 600]);
        assert_eq!(cut, names, "there is room for all of them");
        assert!(room <= 600 && room > 150, "{room}");
        let names = vec![name("a", 80), name("b", 80), name("a", 80), "vit".to_owned()];
        let (cut, room) = fitted(&names, [150, 250]);
        assert!(room <= 250 && cut.iter().all(|name| width_of(name, LABEL) <= 252), "{cut:?}");
        assert!(cut[0].ends_with("(1)") && cut[1].ends_with("(2)"), "{cut:?}");
        assert_eq!((&cut[0], cut[3].as_str()), (&cut[2], "vit"));
        assert_eq!(fitted(&["a".repeat(90), "b".repeat(90)], [150, 250]).1, 150, "no more room than is needed");
    }

    #[test]
    fn lines_are_as_wide_as_they_may_be() {
        let lines = wrapped("one two three four five six seven eight nine ten", LABEL, 100);
        assert!(lines.len() > 1);
        assert!(lines.iter().all(|line| width_of(line, LABEL) <= 100));
        assert_eq!(lines.join(" "), "one two three four five six seven eight nine ten");
    }

    #[test]
    fn what_is_written_is_escaped() {
        let layer = layer((100, 100), |area| write(area, "<script>&\"", (0, 0), Lie::Right, (LABEL, INK))).unwrap();
        assert!(layer.contains("&lt;script&gt;&amp;&quot;") && !layer.contains("<svg"), "{layer}");
    }
}
