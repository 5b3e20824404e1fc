//! Named rows: bars, stacked bars, dots.

use plotters::style::Color;

use super::Spot;
use super::canvas::{Area, BELOW, Frame, Lie, Pixel, Refused, block, error_bar, fitted, line, sign, write};
use super::panel::{Keys, Panel, Place, spot, told};
use super::ruler::{Extent, Ruler};
use super::style::{GRID, INK, LABEL, Look, SOFT};
use crate::domain::chart::{RowShape, Rows, Scale, Value};
use crate::report::significant;

/// The thickness of a bar and of a row of dots.
const BAR: u32 = 12;
const DOTS: u32 = 20;

/// Named rows, laid out.
pub(super) struct RowsPanel<'c> {
    rows: &'c Rows,
    keys: &'c Keys,
    names: Vec<String>,
    frame: Frame,
    shape: RowShape,
    row_height: u32,
    /// Whether the numbers stand at the bars.
    numbers: bool,
}

impl<'c> RowsPanel<'c> {
    /// Lays rows out on this width.
    pub(super) fn new(rows: &'c Rows, keys: &'c Keys, width: u32) -> Self {
        let extent = extent(rows);
        let scale = if rows.shape == RowShape::Stacked { Scale::Linear } else { rows.axis.scale };
        let logarithmic = extent.is_some_and(|extent| extent.is_logarithmic(scale));
        // A bar has to begin at zero, and zero is nowhere on a logarithmic axis.
        let shape = if logarithmic && rows.shape == RowShape::Bars { RowShape::Dots } else { rows.shape };
        let (names, room) = fitted(&rows.names, [width * 2 / 5, width * 3 / 5]);
        let left = room + 12;
        let right = 24;
        let extent = if logarithmic { extent } else { extent.map(Extent::with_zero) };
        let numbers = match shape {
            RowShape::Bars => rows.series.len() == 1,
            RowShape::Stacked => true,
            RowShape::Dots => false,
        };
        let free = width.saturating_sub(left + right).max(100);
        let x = Ruler::new(extent, scale, free, 70);
        let x = if numbers { x.with_room(60.0 / f64::from(free)) } else { x };
        let row_height = match shape {
            RowShape::Bars => BAR * rows.series.len().max(1) as u32 + 8,
            // Error bars stand below the parts.
            RowShape::Stacked => BAR + if has_intervals(rows) { 16 } else { 8 },
            RowShape::Dots => DOTS,
        };
        let frame = Frame {
            x,
            y: Ruler::rows(rows.names.len().max(1)),
            left,
            right,
            top: 6,
            bottom: BELOW,
            x_text: rows.axis.text(),
            y_text: String::new(),
        };
        Self { rows, keys, names, frame, shape, row_height, numbers }
    }

    /// Where the bar or dot of a series is, from the top of its row, as a share of the row.
    fn offset(&self, series: usize) -> f64 {
        match self.shape {
            RowShape::Bars => {
                let height = f64::from(self.row_height);
                (4.0 + f64::from(BAR) * (series as f64 + 0.5)) / height
            }
            RowShape::Stacked => (4.0 + f64::from(BAR) / 2.0) / f64::from(self.row_height),
            RowShape::Dots => 0.5,
        }
    }

    /// Where a stacked part begins.
    fn before(&self, series: usize, row: usize) -> f64 {
        let parts = self.rows.series.iter().take(series).filter_map(|part| part.values.get(row)?.as_ref());
        parts.map(|part| part.value).sum()
    }
}

fn has_intervals(rows: &Rows) -> bool {
    rows.series.iter().flat_map(|series| series.values.iter().flatten()).any(|value| value.interval.is_some())
}

fn extent(rows: &Rows) -> Option<Extent> {
    if rows.shape == RowShape::Stacked {
        let far = |row: usize| {
            let parts = rows.series.iter().filter_map(move |series| series.values.get(row)?.as_ref());
            parts.scan(0.0, |before, part| {
                let far = *before + ends(part).fold(part.value, f64::max);
                *before += part.value;
                Some(far)
            })
        };
        return Extent::of((0..rows.names.len()).flat_map(far));
    }
    let values = rows.series.iter().flat_map(|series| series.values.iter().flatten());
    Extent::of(values.flat_map(ends))
}

/// A value and the ends of its interval.
pub(super) fn ends(value: &Value) -> impl Iterator<Item = f64> {
    let (low, high) = value.interval.unwrap_or((value.value, value.value));
    [value.value, low, high].into_iter()
}

impl Panel for RowsPanel<'_> {
    fn height(&self) -> u32 {
        self.row_height * self.names.len().max(1) as u32 + self.frame.top + self.frame.bottom
    }

    fn background(&self, sheet: &Area<'_>, place: Place) -> Result<(), Refused> {
        let area = place.of(sheet);
        let axes = self.frame.draw(&area)?;
        for (row, name) in self.names.iter().enumerate() {
            let (x, y) = axes.backend_coord(&(self.frame.x.low(), row as f64 + 0.5));
            write(sheet, name, (x - 8, y), Lie::Left, (LABEL, INK))?;
            if self.shape == RowShape::Dots {
                let (end, _) = axes.backend_coord(&(self.frame.x.high(), row as f64 + 0.5));
                line(sheet, vec![(x, y), (end, y)], GRID.stroke_width(1), false)?;
            }
        }
        Ok(())
    }

    fn series(&self, sheet: &Area<'_>, place: Place, key: usize, spots: &mut Vec<Spot>) -> Result<(), Refused> {
        let area = place.of(sheet);
        let axes = self.frame.axes(&area)?;
        let look = Look::of(key);
        let of_key = |name: &str| self.keys.place(name) == key;
        for (number, series) in self.rows.series.iter().enumerate().filter(|(_, series)| of_key(&series.name)) {
            let last = number + 1 == self.rows.series.len();
            for (row, value) in series.values.iter().enumerate() {
                let height = row as f64 + self.offset(number);
                let at = |value: f64| -> Pixel { axes.backend_coord(&(value, height)) };
                let start =
                    if self.shape == RowShape::Stacked { self.before(number, row) } else { self.frame.x.base() };
                let Some(value) = value else {
                    if last && self.shape == RowShape::Stacked && start > 0.0 {
                        let (x, y) = at(start);
                        write(sheet, &significant(start), (x + 6, y), Lie::Right, (LABEL, SOFT))?;
                    }
                    continue;
                };
                let end = if self.shape == RowShape::Stacked { start + value.value } else { value.value };
                let (x, y) = at(end);
                if self.shape != RowShape::Dots {
                    let half = BAR as i32 / 2 - 1;
                    block(sheet, [(at(start).0, y - half), (x, y + half)], look.fill())?;
                }
                let mut right = x;
                if let Some((low, high)) = value.interval {
                    let (from, to) = match self.shape {
                        // Below the bar: the next part would lie on it.
                        RowShape::Stacked => {
                            let below = |value: f64| at(start + value);
                            let (from, to) = (below(low), below(high));
                            let height = BAR as i32 / 2 + 3;
                            ((from.0, from.1 + height), (to.0, to.1 + height))
                        }
                        RowShape::Bars | RowShape::Dots => (at(low), at(high)),
                    };
                    let style = if self.shape == RowShape::Bars { INK.stroke_width(1) } else { look.line(1) };
                    error_bar(sheet, from, to, style)?;
                    right = right.max(to.0);
                }
                if self.shape == RowShape::Dots {
                    sign(sheet, (x, y), look, 4)?;
                }
                if self.numbers && (last || self.shape == RowShape::Bars) {
                    write(sheet, &significant(end), (right + 6, y), Lie::Right, (LABEL, SOFT))?;
                }
                let name = self.rows.names.get(row).map_or("", String::as_str);
                spots.push(spot((x, y), key, told(&[name, &series.name], &self.rows.axis, value)));
            }
        }
        Ok(())
    }
}
