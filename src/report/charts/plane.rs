//! Values over numbers: lines, points, steps.

use plotters::style::Color;

use super::Spot;
use super::canvas::{Area, BELOW, Frame, Pixel, Refused, beside, error_bar, fitted, line, sign};
use super::marks::{Marks, Names, TOP, WIDEST};
use super::panel::{Keys, Panel, Place, spot, told};
use super::rows::ends;
use super::ruler::{Extent, Ruler};
use super::style::Look;
use crate::domain::chart::{self, Axis, Join, Plane, PlaneSeries, Point, Scale};
use crate::report::significant;

/// So many points of a line can be pointed at; more would be closer than a pixel.
const SPOTS: usize = 400;

/// A plane, laid out.
pub(super) struct PlanePanel<'c> {
    plane: &'c Plane,
    keys: &'c Keys,
    frame: Frame,
    marks: Marks<'c>,
    height: u32,
}

impl<'c> PlanePanel<'c> {
    /// Lays a plane out on this width, with at least these borders: left and right, in pixels.
    pub(super) fn new(plane: &'c Plane, keys: &'c Keys, width: u32, height: u32, borders: (u32, u32)) -> Self {
        let points = || plane.series.iter().flat_map(|series| &series.points);
        let levels = plane.marks.iter().filter_map(|mark| match mark.place {
            chart::Place::Horizontal(y) => Some(y),
            _ => None,
        });
        let uprights = plane.marks.iter().filter_map(|mark| match mark.place {
            chart::Place::Vertical(x) => Some(x),
            _ => None,
        });
        let at_least = |axis: &Axis| axis.range.into_iter().flat_map(|(low, high)| [low, high]);
        let x = Extent::of(points().map(|point| point.x).chain(uprights).chain(at_least(&plane.x)));
        let y = Extent::of(points().flat_map(|point| ends(&point.y)).chain(levels).chain(at_least(&plane.y)));
        let diagonal = plane.marks.iter().any(|mark| mark.place == chart::Place::Diagonal);
        // The same axis twice, where what is equal has to lie on the diagonal.
        let (x, y) = match (diagonal, x, y) {
            (true, Some(x), Some(y)) => {
                let both = x.with(y);
                (Some(both), Some(both))
            }
            (_, x, y) => (x, y),
        };
        let y_scale = if diagonal { plane.x.scale } else { plane.y.scale };
        let y = y.map(|extent| near_zero(extent, y_scale));
        let x = if diagonal { y } else { x };
        let marks = Marks::new(&plane.marks);
        let top = TOP + marks.above();
        let y = Ruler::new(y, y_scale, height - BELOW - TOP, 36);
        let left = beside(y.labels()).max(borders.0);
        let right = (24 + marks.right()).max(borders.1);
        let x = Ruler::new(x, plane.x.scale, width.saturating_sub(left + right).max(100), 75);
        let frame = Frame { x, y, left, right, top, bottom: BELOW, x_text: plane.x.text(), y_text: plane.y.text() };
        Self { plane, keys, frame, marks, height }
    }

    /// The room beside the plotting area: left and right, in pixels.
    pub(super) fn borders(&self) -> (u32, u32) {
        (self.frame.left, self.frame.right)
    }

    fn of_key(&self, key: usize) -> impl Iterator<Item = &'c PlaneSeries> {
        self.plane.series.iter().filter(move |series| self.keys.place(&series.name) == key)
    }
}

/// Linear axes begin at zero where it is not far, so that heights can be compared.
fn near_zero(extent: Extent, scale: Scale) -> Extent {
    let linear = matches!(scale, Scale::Auto | Scale::Linear) && !extent.is_logarithmic(scale);
    if linear && extent.is_wide() { extent.with_zero() } else { extent }
}

/// What a line shows at this width: of more points than pixels the least and the largest of each pixel, in order.
fn thinned(places: Vec<Pixel>) -> Vec<Pixel> {
    let mut kept: Vec<Pixel> = Vec::with_capacity(places.len());
    for column in places.chunk_by(|a, b| a.0 == b.0) {
        let lowest = (0..column.len()).min_by_key(|&place| column[place].1).unwrap_or(0);
        let highest = (0..column.len()).max_by_key(|&place| column[place].1).unwrap_or(0);
        let mut chosen =
            [0, lowest.min(highest), lowest.max(highest), column.len() - 1].map(|place| column[place]).to_vec();
        chosen.dedup();
        kept.extend(chosen);
    }
    kept
}

/// Corners between the points: a value holds until the next one.
fn stepped(places: &[Pixel]) -> Vec<Pixel> {
    let mut corners = Vec::with_capacity(2 * places.len());
    for (number, &place) in places.iter().enumerate() {
        if let Some(before) = number.checked_sub(1).map(|before| places[before]) {
            corners.push((place.0, before.1));
        }
        corners.push(place);
    }
    corners
}

impl Panel for PlanePanel<'_> {
    fn height(&self) -> u32 {
        self.height + self.marks.above()
    }

    fn background(&self, sheet: &Area<'_>, place: Place) -> Result<(), Refused> {
        let area = place.of(sheet);
        let axes = self.frame.draw(&area)?;
        self.marks.draw(sheet, &axes, &self.frame)?;
        let at = |point: &Point| axes.backend_coord(&(point.x, point.y.value));
        let mut names = Names::default();
        let points = || self.plane.series.iter().flat_map(|series| &series.points);
        if points().all(|point| point.label.is_empty()) {
            return Ok(());
        }
        for point in points() {
            names.take(at(point), 5);
            if let Some((low, high)) = point.y.interval {
                names.take_line(&[axes.backend_coord(&(point.x, low)), axes.backend_coord(&(point.x, high))]);
            }
        }
        self.marks.lines(&axes, &self.frame).for_each(|line| names.take_line(&line));
        for series in self.plane.series.iter().filter(|series| series.join == Join::Steps) {
            let corners = stepped(&series.points.iter().map(at).collect::<Vec<_>>());
            corners.windows(2).for_each(|line| names.take_line(line));
        }
        let (left, bottom) = axes.backend_coord(&(self.frame.x.low(), self.frame.y.low()));
        let (right, top) = axes.backend_coord(&(self.frame.x.high(), self.frame.y.high()));
        let named: Vec<&Point> = points().filter(|point| !point.label.is_empty()).collect();
        let labels: Vec<String> = named.iter().map(|point| point.label.clone()).collect();
        for (point, label) in named.into_iter().zip(fitted(&labels, [WIDEST, 2 * WIDEST]).0) {
            names.write(sheet, &label, at(point), [left + 2, top, right, bottom - 2])?;
        }
        Ok(())
    }

    fn series(&self, sheet: &Area<'_>, place: Place, key: usize, spots: &mut Vec<Spot>) -> Result<(), Refused> {
        let area = place.of(sheet);
        let axes = self.frame.axes(&area)?;
        let look = Look::of(key);
        for series in self.of_key(key) {
            let points: Vec<&Point> =
                series.points.iter().filter(|point| point.x.is_finite() && point.y.value.is_finite()).collect();
            let places: Vec<Pixel> = points.iter().map(|point| axes.backend_coord(&(point.x, point.y.value))).collect();
            if places.len() > 1 {
                match series.join {
                    Join::Scatter => {}
                    Join::LineAndPoints => line(sheet, places.clone(), look.line(2), look.dashed)?,
                    Join::Line => line(sheet, thinned(places.clone()), look.line(1), look.dashed)?,
                    Join::Steps => line(sheet, stepped(&places), look.line(2), look.dashed)?,
                }
            }
            for (point, &at) in points.iter().zip(&places) {
                if let Some((low, high)) = point.y.interval {
                    let end = |y: f64| axes.backend_coord(&(point.x, y));
                    error_bar(sheet, end(low), end(high), look.colour.stroke_width(1))?;
                }
                // A lone point of a line would not be seen.
                if series.join != Join::Line || places.len() == 1 {
                    sign(sheet, at, look, if points.len() > 200 { 2 } else { 4 })?;
                }
            }
            let every = points.len().div_ceil(SPOTS).max(1);
            for (point, &at) in points.iter().zip(&places).step_by(every) {
                let x = match self.plane.x.scale {
                    Scale::Time => crate::domain::time::moment(point.x as i64),
                    _ => format!("{} {}", significant(point.x), self.plane.x.unit).trim_end().to_owned(),
                };
                let x = format!("{}: {x}", self.plane.x.label);
                let names = [series.name.as_str(), point.label.as_str(), x.as_str()];
                spots.push(spot(at, key, told(&names, &self.plane.y, &point.y)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_keeps_its_peaks() {
        let places: Vec<Pixel> = (0..10_000).map(|place| (place / 100, if place == 5_050 { 7 } else { 100 })).collect();
        let kept = thinned(places);
        assert!(kept.len() <= 400, "{}", kept.len());
        assert!(kept.contains(&(50, 7)));
    }

    #[test]
    fn steps_go_right_before_they_go_down() {
        assert_eq!(stepped(&[(0, 0), (10, 5)]), [(0, 0), (10, 0), (10, 5)]);
    }
}
