//! Flame graphs (Gregg 2016, "The flame graph"): as wide as the time, as high as the nesting.

use std::io::Write;

use inferno::flamegraph::color::{MultiPalette, Palette};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};

use crate::domain::text::printable;

/// What the frames are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frames {
    /// Parts of a model, known by the beginnings of their names.
    Operators,
    /// Functions of a program, known by the ends of theirs.
    Functions,
}

/// What a flame graph is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flame<'f> {
    /// Over it.
    pub title: &'f str,
    /// Below the title; empty for none.
    pub subtitle: &'f str,
    /// What a width counts: `ns`, `samples`.
    pub unit: &'static str,
    /// What the frames are.
    pub frames: Frames,
}

impl Flame<'_> {
    fn options(&self) -> Options<'static> {
        let mut options = Options::default();
        options.title = printable(self.title);
        options.subtitle = Some(printable(self.subtitle)).filter(|text| !text.is_empty());
        self.unit.clone_into(&mut options.count_name);
        match self.frames {
            Frames::Operators => {
                "Part".clone_into(&mut options.name_type);
                options.text_truncate_direction = TextTruncateDirection::Right;
            }
            Frames::Functions => options.colors = Palette::Multi(MultiPalette::Rust),
        }
        // No font is embedded: any will do, and no name but this is everywhere.
        "monospace".clone_into(&mut options.font_type);
        options.font_width = 0.6;
        // One name has one colour, whenever it is drawn.
        options.hash = true;
        options
    }
}

/// The graph of stacks in folded form, as SVG that shows names and zooms in a browser.
///
/// # Errors
/// What the writer refuses; no stack at all.
pub fn flame_graph(lines: &[String], flame: &Flame<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    draw(flame.options(), lines, out)
}

/// The graph of stacks with two counts each: as wide as the second, red where it is larger than the first and blue where it
/// is smaller.
///
/// # Errors
/// As [`flame_graph`].
pub fn difference_graph(lines: &[String], flame: &Flame<'_>, out: &mut dyn Write) -> std::io::Result<()> {
    draw(flame.options(), lines, out)
}

fn draw(mut options: Options<'_>, lines: &[String], out: &mut dyn Write) -> std::io::Result<()> {
    from_lines(&mut options, lines.iter().map(String::as_str), out).map_err(std::io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAME: Flame<'_> = Flame { title: "a <b> & \u{1b}c", subtitle: "", unit: "ns", frames: Frames::Operators };

    fn drawn(lines: &[&str], draw: fn(&[String], &Flame<'_>, &mut dyn Write) -> std::io::Result<()>) -> String {
        let mut out = Vec::new();
        draw(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>(), &FLAME, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_frame_is_in_the_graph_and_names_are_escaped() {
        let svg = drawn(&["forward;layer1.0;conv1 200", "forward;<script> 100"], flame_graph);
        assert!(svg.contains("<title>conv1 (200 ns, 66.67%)</title>"), "{svg}");
        assert!(svg.contains("&lt;script&gt;") && !svg.contains("<script> ("), "{svg}");
        assert!(svg.contains("a &lt;b&gt; &amp; "), "{svg}");
        assert_eq!(svg, drawn(&["forward;layer1.0;conv1 200", "forward;<script> 100"], flame_graph));
    }

    #[test]
    fn a_difference_tells_what_grew() {
        let svg = drawn(&["forward;a 100 200", "forward;b 100 100"], difference_graph);
        assert!(svg.contains("<title>a (200 ns, 66.67%; +33.33%)</title>"), "{svg}");
        assert!(svg.contains("<title>b (100 ns, 33.33%; 0.00%)</title>"), "{svg}");
    }

    #[test]
    fn nothing_is_no_graph() {
        assert!(flame_graph(&[], &FLAME, &mut Vec::new()).is_err());
    }
}
