//! Lines across a plane, with words above or beside it, and names of points: whatever must not lie on something else.

use plotters::style::{Color, RGBColor};

use super::canvas::{Area, Axes, Frame, Lie, Pixel, Refused, line, shortened, width_of, write};
use super::ruler::Ruler;
use super::style::{BAD, GOOD, INK, LABEL, SOFT};
use crate::domain::chart::{self, Mark, Tone};

/// Free room above a plotting area without marks.
pub(super) const TOP: u32 = 8;

/// Height of a line of words.
const LINE: u32 = 15;

/// So many lines of words stand above each other at most; the rest is told by the tone alone.
const LINES: usize = 5;

/// A word over a mark, or at a point, is cut to this width.
pub(super) const WIDEST: u32 = 220;

/// The marks of a panel.
pub(super) struct Marks<'c> {
    marks: &'c [Mark],
}

fn colour(tone: Tone) -> RGBColor {
    match tone {
        Tone::Neutral => SOFT,
        Tone::Good => GOOD,
        Tone::Bad => BAD,
    }
}

impl<'c> Marks<'c> {
    pub(super) fn new(marks: &'c [Mark]) -> Self {
        Self { marks }
    }

    fn named(&self) -> impl Iterator<Item = (f64, &'c Mark)> {
        self.marks.iter().filter_map(|mark| match mark.place {
            chart::Place::Vertical(x) if !mark.label.is_empty() => Some((x, mark)),
            _ => None,
        })
    }

    /// Room that the words above need, in pixels.
    pub(super) fn above(&self) -> u32 {
        LINE * self.named().count().min(LINES) as u32
    }

    /// Room that the words of level lines need at the right, in pixels.
    pub(super) fn right(&self) -> u32 {
        let level = self.marks.iter().filter(|mark| matches!(mark.place, chart::Place::Horizontal(_)));
        level.map(|mark| width_of(&mark.label, LABEL).min(WIDEST) + 12).max().unwrap_or(0)
    }

    /// Draws lines and words.
    pub(super) fn draw(&self, sheet: &Area<'_>, axes: &Axes<'_, '_>, frame: &Frame) -> Result<(), Refused> {
        let (x, y) = (&frame.x, &frame.y);
        let mut levels = Vec::new();
        for mark in self.marks {
            let style = colour(mark.tone).stroke_width(1);
            match mark.place {
                chart::Place::Vertical(at) => {
                    line(sheet, across(axes, (at, y.low()), (at, y.high())), style, true)?;
                }
                chart::Place::Horizontal(at) => {
                    let places = across(axes, (x.low(), at), (x.high(), at));
                    levels.push((places[1], mark));
                    line(sheet, places, style, true)?;
                }
                chart::Place::Diagonal => {
                    let (low, high) = (x.low().max(y.low()), x.high().min(y.high()));
                    line(sheet, across(axes, (low, low), (high, high)), style, true)?;
                }
            }
        }
        let (top, bottom) = (axes.backend_coord(&(x.high(), y.high())).1, axes.backend_coord(&(x.high(), y.low())).1);
        levels.retain(|(_, mark)| !mark.label.is_empty());
        levels.sort_by_key(|((_, height), _)| *height);
        let heights = spread(&levels.iter().map(|((_, height), _)| *height).collect::<Vec<_>>(), (top, bottom));
        for (((end, level), mark), height) in levels.into_iter().zip(heights) {
            let words = shortened(&mark.label, LABEL, WIDEST);
            let colour = colour(mark.tone);
            if height != level {
                line(sheet, vec![(end, level), (end + 7, height)], colour.stroke_width(1), false)?;
            }
            write(sheet, &words, (end + 9, height), Lie::Right, (LABEL, colour))?;
        }
        self.words(sheet, axes, frame)
    }

    /// The upright and level lines, as pairs of places.
    pub(super) fn lines(&self, axes: &Axes<'_, '_>, frame: &Frame) -> impl Iterator<Item = Vec<Pixel>> {
        let (x, y) = (&frame.x, &frame.y);
        self.marks.iter().filter_map(move |mark| match mark.place {
            chart::Place::Vertical(at) => Some(across(axes, (at, y.low()), (at, y.high()))),
            chart::Place::Horizontal(at) => Some(across(axes, (x.low(), at), (x.high(), at))),
            chart::Place::Diagonal => None,
        })
    }

    /// Every word above gets the lowest line that is free there.
    fn words(&self, sheet: &Area<'_>, axes: &Axes<'_, '_>, frame: &Frame) -> Result<(), Refused> {
        let top = axes.backend_coord(&(frame.x.low(), frame.y.high())).1;
        let (first, last) = (edge(axes, &frame.x, frame.x.low()), edge(axes, &frame.x, frame.x.high()));
        let mut taken: Vec<Vec<(i32, i32)>> = vec![Vec::new(); LINES];
        for (at, mark) in self.named() {
            let words = shortened(&mark.label, LABEL, WIDEST);
            let half = width_of(&words, LABEL) as i32 / 2 + 3;
            let middle = edge(axes, &frame.x, at).clamp((first + half).min(last), (last - half).max(first));
            let free =
                |line: &Vec<(i32, i32)>| line.iter().all(|&(from, to)| middle + half < from || to < middle - half);
            let Some(number) = taken.iter().position(free) else { continue };
            taken[number].push((middle - half, middle + half));
            let height = top - (LINE * number as u32) as i32 - 9;
            write(sheet, &words, (middle, height), Lie::Middle, (LABEL, colour(mark.tone)))?;
        }
        Ok(())
    }
}

/// Heights in ascending order moved apart by a line of words, between these borders; of more than have room the first ones.
fn spread(heights: &[i32], (top, bottom): (i32, i32)) -> Vec<i32> {
    let line = LINE as i32;
    let room = ((bottom - top) / line + 1).max(1) as usize;
    let mut spread: Vec<i32> = Vec::with_capacity(heights.len());
    for &height in heights.iter().take(room) {
        let least = spread.last().map_or(top, |before| before + line);
        spread.push(height.max(least));
    }
    // The last ones may stand too low now: up again.
    let mut most = bottom;
    for height in spread.iter_mut().rev() {
        *height = (*height).min(most);
        most = *height - line;
    }
    spread
}

fn edge(axes: &Axes<'_, '_>, ruler: &Ruler, value: f64) -> i32 {
    axes.backend_coord(&(value.clamp(ruler.low(), ruler.high()), 0.0)).0
}

fn across(axes: &Axes<'_, '_>, from: (f64, f64), to: (f64, f64)) -> Vec<Pixel> {
    vec![axes.backend_coord(&from), axes.backend_coord(&to)]
}

/// Places for the names of points, where they lie on no point and on no other name.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: Vec<[i32; 4]>,
}

impl Names {
    /// A line between two places is taken.
    pub(super) fn take_line(&mut self, places: &[Pixel]) {
        if let [(x0, y0), (x1, y1)] = *places {
            self.taken.push([x0.min(x1) - 1, y0.min(y1) - 1, x0.max(x1) + 1, y0.max(y1) + 1]);
        }
    }

    /// A place that is taken: a point of this size.
    pub(super) fn take(&mut self, (x, y): Pixel, size: i32) {
        self.taken.push([x - size, y - size, x + size, y + size]);
    }

    /// Writes a name near its point if there is room within these borders (left, top, right, bottom); a thin line leads to
    /// one that does not stand right beside it.
    pub(super) fn write(
        &mut self,
        sheet: &Area<'_>,
        words: &str,
        (x, y): Pixel,
        borders: [i32; 4],
    ) -> Result<(), Refused> {
        let width = width_of(words, LABEL) as i32;
        for away in AWAY {
            for (dx, dy) in ways(width, away) {
                let place = [x + dx, y + dy - 7, x + dx + width, y + dy + 7];
                let inside = place[0] >= borders[0]
                    && place[1] >= borders[1]
                    && place[2] <= borders[2]
                    && place[3] <= borders[3];
                if !inside || !self.is_free(place) {
                    continue;
                }
                let end = (x.clamp(place[0], place[2]), y.clamp(place[1], place[3]));
                let lead = if away == 0 { Vec::new() } else { beads((x, y), end) };
                if !lead.iter().all(|bead| self.is_free(*bead)) {
                    continue;
                }
                if away > 0 {
                    line(sheet, vec![(x, y), end], SOFT.stroke_width(1), false)?;
                }
                self.taken.extend(lead);
                self.taken.push(place);
                return write(sheet, words, (place[0], y + dy), Lie::Right, (LABEL, INK));
            }
        }
        Ok(())
    }

    fn is_free(&self, place: [i32; 4]) -> bool {
        self.taken.iter().all(|other| apart(place, *other))
    }
}

/// How much farther than right beside it a name may stand from its point, in pixels.
const AWAY: [i32; 4] = [0, 16, 32, 48];

/// Where a name of this width may begin, from its point; its height is the middle of its words.
fn ways(width: i32, away: i32) -> [Pixel; 12] {
    let (beside, above) = (8 + away, 14 + away);
    let (corner_x, corner_y) = (6 + away, 13 + away);
    [
        (beside, 0),
        (-beside - width, 0),
        (-width / 2, -above),
        (-width / 2, above),
        (corner_x, -corner_y),
        (corner_x, corner_y),
        (-corner_x - width, -corner_y),
        (-corner_x - width, corner_y),
        (beside, -6),
        (beside, 6),
        (-beside - width, -6),
        (-beside - width, 6),
    ]
}

/// Small squares along a way from a point to a name, from where the point's own sign ends.
fn beads((x0, y0): Pixel, (x1, y1): Pixel) -> Vec<[i32; 4]> {
    const SIGN: f64 = 7.0;
    const STEP: f64 = 3.0;
    let (dx, dy) = (f64::from(x1 - x0), f64::from(y1 - y0));
    let length = dx.hypot(dy);
    let count = ((length - SIGN) / STEP).max(0.0) as i32;
    let bead = |number: i32| {
        let part = (SIGN + STEP * f64::from(number)) / length;
        let (x, y) = (x0 + (dx * part) as i32, y0 + (dy * part) as i32);
        [x - 1, y - 1, x + 1, y + 1]
    };
    (0..count).map(bead).collect()
}

fn apart(a: [i32; 4], b: [i32; 4]) -> bool {
    a[2] < b[0] || b[2] < a[0] || a[3] < b[1] || b[3] < a[1]
}

#[cfg(test)]
mod tests {
    use super::super::canvas::layer;
    use super::*;

    #[test]
    fn words_of_levels_stand_apart_and_between_the_borders() {
        assert_eq!(spread(&[40, 100], (0, 200)), [40, 100]);
        assert_eq!(spread(&[100, 104, 106], (0, 200)), [100, 115, 130]);
        assert_eq!(spread(&[198, 199], (0, 200)), [185, 200]);
        assert_eq!(spread(&[5; 9], (0, 30)), [0, 15, 30]);
        assert_eq!(spread(&[], (0, 30)), Vec::<i32>::new());
    }

    #[test]
    fn names_never_lie_on_each_other() {
        let mut names = Names::default();
        let borders = [0, 0, 400, 300];
        let drawn = layer((400, 300), |area| {
            for place in 0..30 {
                names.write(area, "a name of a point", (200 + place % 3, 150), borders)?;
            }
            Ok(())
        })
        .unwrap();
        let written = drawn.matches("<text").count();
        assert!((2..30).contains(&written), "{written} of 30 on one place");
        // What else is taken are the small squares of the lines that lead to names.
        let places: Vec<[i32; 4]> = names.taken.iter().copied().filter(|place| place[3] - place[1] == 14).collect();
        assert_eq!(places.len(), written);
        for (number, a) in places.iter().enumerate() {
            assert!(places[..number].iter().all(|b| apart(*a, *b)));
        }
    }
}
