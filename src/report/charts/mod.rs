//! Draws charts: SVG by plotters with one embedded font, PNG of that by resvg.
//!
//! A sheet is drawn in layers: what belongs to no series, then every series by itself, then its entry of the legend. Each
//! layer becomes a group of the SVG, so that a page can hide a series.

mod canvas;
mod histogram;
mod marks;
mod matrix;
mod panel;
mod picture;
mod plane;
mod rows;
mod ruler;
mod sheet;
mod style;
#[cfg(test)]
mod tests;

use serde::Serialize;
use thiserror::Error;

use crate::domain::chart::Chart;

pub use picture::{letters_without_glyphs, png};

/// A chart that could not be drawn.
#[derive(Debug, Error)]
pub enum ChartError {
    /// The plotting crate refused.
    #[error("the chart `{name}` cannot be drawn: {reason}")]
    Plot {
        /// The chart.
        name: String,
        /// What the crate says.
        reason: String,
    },
    /// The picture could not be made of the drawing.
    #[error("the picture of `{name}` cannot be made: {reason}")]
    Picture {
        /// The chart.
        name: String,
        /// What the crate says.
        reason: String,
    },
}

/// A drawn chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawing {
    /// The chart's name.
    pub name: String,
    /// The picture: a complete `<svg>` element of this size. What belongs to a series is in groups
    /// `<g class="series" data-series="K">`, its entry of the legend in `<g class="key" data-series="K">`.
    pub svg: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// The names of the legend: `K` is a place here.
    pub keys: Vec<String>,
    /// What can be pointed at.
    pub spots: Vec<Spot>,
}

/// A place on a drawing that means something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spot {
    /// Pixels from the left.
    pub x: f64,
    /// Pixels from the top.
    pub y: f64,
    /// Its series: a place in [`Drawing::keys`].
    pub series: usize,
    /// What it says, in lines: names, the value with its unit, the interval, the detail.
    pub text: String,
}

impl Drawing {
    /// The picture for a page: colours of ink, grid and paper are the page's (`var(--ink)`, `var(--soft)`, `var(--grid)`,
    /// `var(--paper)`), those of series, too (`var(--series-0)` to `var(--series-5)`); text is in the font family
    /// `Roboto`.
    pub fn for_page(&self) -> String {
        style::page_colours().fold(self.svg.clone(), |svg, (colour, name)| svg.replace(&colour, &name))
    }
}

/// The embedded font, TrueType.
pub const FONT: &[u8] = include_bytes!("font/Roboto-Regular-subset.ttf");

/// Draws a chart. The sheet is as large as its content needs.
///
/// # Errors
/// What the plotting crate refuses.
pub fn draw(chart: &Chart) -> Result<Drawing, ChartError> {
    sheet::draw(chart).map_err(|error| ChartError::Plot { name: chart.name.clone(), reason: error.to_string() })
}
