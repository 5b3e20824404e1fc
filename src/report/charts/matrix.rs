//! A number for each pair of a row and a column.

use plotters::style::{Color, RGBColor};

use super::Spot;
use super::canvas::{Area, Lie, Refused, block, fitted, width_of, write};
use super::panel::{Panel, Place, spot, told};
use super::style::{GRID, INK, LABEL};
use crate::domain::chart::{Matrix, Value};

/// Height of a row.
const ROW: u32 = 26;

/// Width of a column at least, where there is room, and how wide names may be that do not go up.
const COLUMN: (u32, u32) = (52, 130);

/// How long names of columns that go up may be, and where that would make two of them one.
const UPRIGHT: [u32; 2] = [180, 320];

/// The strongest colours are for twice as much, or half, at least: some per cent are no alarm.
const LEAST_REACH: f64 = std::f64::consts::LN_2;

/// A matrix, laid out.
pub(super) struct MatrixPanel<'c> {
    matrix: &'c Matrix,
    /// The names as they have room.
    rows: Vec<String>,
    columns: Vec<String>,
    left: u32,
    above: u32,
    column: u32,
    /// Whether the columns' names go up.
    upright: bool,
    /// The largest distance from the neutral value, by the logarithm.
    reach: f64,
}

impl<'c> MatrixPanel<'c> {
    /// Lays a matrix out on this width.
    pub(super) fn new(matrix: &'c Matrix, width: u32) -> Self {
        let (rows, room) = fitted(&matrix.rows, [width * 2 / 5, width * 3 / 5]);
        let left = room + 12;
        let free = width.saturating_sub(left + 24).max(100) / matrix.columns.len().max(1) as u32;
        let names = matrix.columns.iter().map(|name| width_of(name, LABEL)).max().unwrap_or(0);
        let upright = names + 10 > free.min(COLUMN.1);
        let values = || matrix.cells.iter().flatten().flatten().map(|value| value.value);
        let least = values().map(|value| width_of(&three(value), LABEL) + 10).max().unwrap_or(0).max(36);
        let column = if upright { free.min(COLUMN.0).max(least) } else { (names + 12).max(COLUMN.0).max(least) };
        let (columns, above) = if upright {
            let (columns, room) = fitted(&matrix.columns, UPRIGHT);
            (columns, room + 16)
        } else {
            (matrix.columns.clone(), 24)
        };
        let reach = values()
            .map(|value| (value / matrix.neutral).ln().abs())
            .filter(|way| way.is_finite())
            .fold(LEAST_REACH, f64::max);
        Self { matrix, rows, columns, left, above, column, upright, reach }
    }

    /// The width that it needs.
    pub(super) fn width(&self) -> u32 {
        self.left + self.column * self.matrix.columns.len() as u32 + 24
    }

    fn cells(&self) -> impl Iterator<Item = (usize, usize, &'c Value)> {
        let rows = self.matrix.cells.iter().enumerate();
        rows.flat_map(|(row, cells)| {
            cells.iter().enumerate().filter_map(move |(column, value)| Some((row, column, value.as_ref()?)))
        })
    }

    fn corner(&self, place: Place, row: usize, column: usize) -> (i32, i32) {
        let x = place.x + self.left + self.column * column as u32;
        let y = place.y + self.above + ROW * row as u32;
        (x as i32, y as i32)
    }

    /// Blue is more than neutral, red is less, white is neither (ColorBrewer's RdBu, which all kinds of colour vision
    /// tell apart).
    fn colour(&self, value: f64) -> RGBColor {
        let way = (value / self.matrix.neutral).ln() / self.reach;
        // The darkest ends would hide the numbers.
        let colour = colorous::RED_BLUE.eval_continuous(0.5 + 0.4 * way.clamp(-1.0, 1.0));
        RGBColor(colour.r, colour.g, colour.b)
    }
}

/// Black or white, whichever is read better on a colour (relative luminance of WCAG 2.2, whose balance is at 0.18).
fn readable(RGBColor(r, g, b): RGBColor) -> RGBColor {
    let linear = |part: u8| {
        let share = f64::from(part) / 255.0;
        if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    // Neither is a colour of the page: the cell keeps its own in the dark.
    if luminance > 0.18 { RGBColor(0, 0, 0) } else { RGBColor(0xFE, 0xFE, 0xFE) }
}

impl Panel for MatrixPanel<'_> {
    fn height(&self) -> u32 {
        self.above + ROW * self.matrix.rows.len() as u32 + 12
    }

    fn background(&self, sheet: &Area<'_>, place: Place) -> Result<(), Refused> {
        for (row, name) in self.rows.iter().enumerate() {
            let (x, y) = self.corner(place, row, 0);
            write(sheet, name, (x - 8, y + ROW as i32 / 2), Lie::Left, (LABEL, INK))?;
        }
        for (column, name) in self.columns.iter().enumerate() {
            let (x, y) = self.corner(place, 0, column);
            let middle = x + self.column as i32 / 2;
            if self.upright {
                write(sheet, name, (middle, y - 6), Lie::Up, (LABEL, INK))?;
            } else {
                write(sheet, name, (middle, y - 12), Lie::Middle, (LABEL, INK))?;
            }
        }
        let (left, top) = self.corner(place, 0, 0);
        let (right, bottom) = self.corner(place, self.matrix.rows.len(), self.matrix.columns.len());
        block(sheet, [(left, top), (right, bottom)], GRID.stroke_width(1))?;
        for (row, column, value) in self.cells() {
            let (x, y) = self.corner(place, row, column);
            let (width, height) = (self.column as i32, ROW as i32);
            let colour = self.colour(value.value);
            block(sheet, [(x, y), (x + width - 1, y + height - 1)], colour.filled())?;
            write(sheet, &three(value.value), (x + width / 2, y + height / 2), Lie::Middle, (LABEL, readable(colour)))?;
        }
        Ok(())
    }

    fn series(&self, _sheet: &Area<'_>, place: Place, key: usize, spots: &mut Vec<Spot>) -> Result<(), Refused> {
        if key != 0 {
            return Ok(());
        }
        for (row, column, value) in self.cells() {
            let (x, y) = self.corner(place, row, column);
            let names = [&self.matrix.rows, &self.matrix.columns];
            let names = [names[0].get(row), names[1].get(column)].map(|name| name.map_or("", String::as_str));
            let middle = (x + self.column as i32 / 2, y + ROW as i32 / 2);
            spots.push(spot(middle, key, told(&names, &self.matrix.axis, value)));
        }
        Ok(())
    }
}

/// Three digits are enough in a cell.
fn three(value: f64) -> String {
    match value.abs() {
        size if size >= 1e5 || (size < 1e-3 && size > 0.0) => format!("{value:.1e}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        size if size >= 0.01 => format!("{value:.3}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_on_every_colour() {
        assert_eq!(readable(RGBColor(255, 255, 0)), RGBColor(0, 0, 0));
        assert_eq!(readable(RGBColor(0, 0, 120)), RGBColor(0xFE, 0xFE, 0xFE));
    }

    #[test]
    fn numbers_are_never_cut() {
        let cells = vec![(0..30).map(|column| Some(Value::plain(0.0886 / f64::from(column + 1)))).collect::<Vec<_>>()];
        let columns: Vec<String> = (0..30).map(|column| format!("the name of column {column}")).collect();
        let matrix = Matrix { rows: vec!["r".into()], columns, cells, neutral: 1.0, ..Matrix::default() };
        let panel = MatrixPanel::new(&matrix, 600);
        assert!(panel.cells().all(|(_, _, value)| width_of(&three(value.value), LABEL) < panel.column));
        assert_eq!([0.0886, 0.00533, 0.85, 12.34, 4321.0].map(three), ["0.089", "0.0053", "0.85", "12.3", "4321"]);
    }

    #[test]
    fn neutral_is_white_and_the_colours_turn_about_it() {
        let value = |value| Some(Value::plain(value));
        let cells = vec![vec![value(0.5), value(1.0), value(2.0)]];
        let columns = ["a", "b", "c"].map(str::to_owned).to_vec();
        let matrix = Matrix { rows: vec!["r".into()], columns, cells, neutral: 1.0, ..Matrix::default() };
        let panel = MatrixPanel::new(&matrix, 600);
        let [slow, same, fast] = [0.5, 1.0, 2.0].map(|value| panel.colour(value));
        assert!(same.0 > 230 && same.1 > 230 && same.2 > 230, "{same:?}");
        assert!(slow.0 > slow.2 && fast.2 > fast.0, "{slow:?} {fast:?}");
    }
}
