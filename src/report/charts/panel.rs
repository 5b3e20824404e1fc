//! What all kinds of panels have in common.

use super::Spot;
use super::canvas::{Area, Pixel, Refused};
use crate::domain::chart::{Axis, Value};
use crate::report::significant;

/// A place on the sheet: where a panel is, and how wide.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Place {
    /// The part of the sheet.
    pub(super) fn of<'b>(self, sheet: &Area<'b>) -> Area<'b> {
        sheet.clone().shrink((self.x, self.y), (self.width, self.height))
    }
}

/// A panel that knows how large it has to be.
pub(super) trait Panel {
    /// Its height in pixels.
    fn height(&self) -> u32;

    /// Draws what belongs to no series: axes, names, marks.
    fn background(&self, sheet: &Area<'_>, place: Place) -> Result<(), Refused>;

    /// Draws the series of one key, and tells what can be pointed at.
    fn series(&self, sheet: &Area<'_>, place: Place, key: usize, spots: &mut Vec<Spot>) -> Result<(), Refused>;
}

/// The names of the legend.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys(pub(super) Vec<String>);

impl Keys {
    /// The place of a name; a sheet with one series has no names to look for.
    pub(super) fn place(&self, name: &str) -> usize {
        self.0.iter().position(|key| key == name).unwrap_or(0)
    }
}

/// What is told of a value.
pub(super) fn told(names: &[&str], axis: &Axis, value: &Value) -> String {
    let number = |number: f64| significant(number);
    let unit = if axis.unit.is_empty() { String::new() } else { format!(" {}", axis.unit) };
    let mut lines: Vec<String> = names.iter().filter(|name| !name.is_empty()).map(|&name| name.to_owned()).collect();
    let interval = value.interval.map(|(low, high)| format!(" ({} to {})", number(low), number(high)));
    lines.push(format!("{}: {}{unit}{}", axis.label, number(value.value), interval.unwrap_or_default()));
    if !value.detail.is_empty() {
        lines.push(value.detail.clone());
    }
    lines.join("\n")
}

/// A spot for a value.
pub(super) fn spot((x, y): Pixel, series: usize, text: String) -> Spot {
    Spot { x: f64::from(x), y: f64::from(y), series, text }
}
