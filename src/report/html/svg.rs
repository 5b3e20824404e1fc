//! Drawings as they stand in a page: the same picture in fewer bytes. A report has a dozen of them, and many of their
//! bytes say what is so anyway.

/// What the root of a drawing in a page says for all that is in it.
pub(super) const INHERITED: &str =
    "fill=\"none\" font-family=\"Roboto, Helvetica, Arial, sans-serif\" font-size=\"12\"";

/// What needs no words: the root says it, or SVG does.
const IMPLIED: [&str; 7] = [
    " fill=\"none\"",
    " font-family=\"Roboto, Helvetica, Arial, sans-serif\"",
    " font-size=\"12\"",
    " opacity=\"1\"",
    " stroke=\"none\"",
    " stroke-width=\"1\"",
    " text-anchor=\"start\"",
];

/// The drawing with one tag or one line of words a line, as the plotting crate writes it, in fewer bytes: without what is
/// implied, and with strokes of one look that follow each other in one path.
pub(super) fn compact(svg: &str) -> String {
    let mut text = String::with_capacity(svg.len() / 2);
    let mut path = Path::default();
    for line in svg.lines() {
        if !line.starts_with('<') {
            text.push_str(line);
            continue;
        }
        let tag = IMPLIED.iter().fold(line.to_owned(), |tag, implied| tag.replace(implied, ""));
        match stroke(&tag) {
            Some((look, points)) => {
                if path.look != look {
                    path.end(&mut text);
                    look.clone_into(&mut path.look);
                }
                path.data.push('M');
                path.data.push_str(points);
            }
            None => {
                path.end(&mut text);
                text.push_str(&tag);
            }
        }
    }
    path.end(&mut text);
    text
}

/// Strokes of one look.
#[derive(Default)]
struct Path {
    look: String,
    data: String,
}

impl Path {
    /// Writes what was gathered, and begins anew.
    fn end(&mut self, text: &mut String) {
        if !self.data.is_empty() {
            text.push_str(&["<path", &self.look, " d=\"", &self.data, "\"/>"].concat());
        }
        *self = Self::default();
    }
}

/// The look and the points of a stroke; none of what is filled, or shines through where it crosses itself.
fn stroke(tag: &str) -> Option<(&str, &str)> {
    let (look, points) = tag.strip_prefix("<polyline")?.strip_suffix("\"/>")?.split_once(" points=\"")?;
    (!look.contains("fill=") && !look.contains("opacity=")).then_some((look, points.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strokes_of_one_look_are_one_path() {
        let stroke = |points: &str, opacity: &str| {
            format!(
                "<polyline fill=\"none\" opacity=\"{opacity}\" stroke=\"red\" stroke-width=\"1\" points=\"{points} \"/>\n"
            )
        };
        let circle =
            "<circle cx=\"1\" cy=\"2\" r=\"4\" opacity=\"1\" fill=\"red\" stroke=\"none\" stroke-width=\"1\"/>\n";
        let svg = [
            "<g>\n",
            &stroke("1,2 3,4", "1"),
            &stroke("5,6 7,8", "1"),
            circle,
            &stroke("1,1 2,2", "0.5"),
            &stroke("9,9 8,8", "1"),
            "</g>\n",
        ];
        assert_eq!(
            compact(&svg.concat()),
            "<g><path stroke=\"red\" d=\"M1,2 3,4M5,6 7,8\"/><circle cx=\"1\" cy=\"2\" r=\"4\" fill=\"red\"/>\
             <polyline opacity=\"0.5\" stroke=\"red\" points=\"1,1 2,2 \"/><path stroke=\"red\" d=\"M9,9 8,8\"/></g>"
        );
    }

    #[test]
    fn words_stay_as_they_are() {
        let svg = "<text x=\"1\" font-size=\"12\" opacity=\"1\" fill=\"red\">\na opacity=\"1\" model\n</text>\n";
        assert_eq!(compact(svg), "<text x=\"1\" fill=\"red\">a opacity=\"1\" model</text>");
    }
}
