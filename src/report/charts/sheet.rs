//! A whole sheet: its head, its panels in rows, its legend, its notes.

use plotters::style::Color;

use super::canvas::{Area, Lie, Refused, block, fitted, layer, line, sign, width_of, wrapped, write};
use super::histogram::HistogramPanel;
use super::matrix::MatrixPanel;
use super::panel::{Keys, Panel, Place};
use super::plane::PlanePanel;
use super::rows::RowsPanel;
use super::style::{HEADING, INK, LABEL, Look, PAPER, SOFT, TITLE};
use super::{Drawing, Spot};
use crate::domain::chart::{Chart, Content, Join, RowShape};
use crate::domain::text::printable;

/// Free room around everything.
const MARGIN: u32 = 20;

/// Width of a sheet with one panel in a row, at most with long names, and of one panel where several stand side by side.
const ALONE: u32 = 920;
const WIDEST: u32 = 1300;
const BESIDE: u32 = 460;

/// Height of a plane alone, and beside others.
const PLANE_ALONE: u32 = 440;
const PLANE_BESIDE: u32 = 300;

/// Height of a line of words.
const LINE: u32 = 17;

/// The names of the legend: every name of a series once, in order; none where there is one series alone.
fn keys(chart: &Chart) -> Keys {
    let mut names: Vec<String> = Vec::new();
    for panel in &chart.panels {
        let own: Vec<&str> = match &panel.content {
            Content::Rows(rows) => rows.series.iter().map(|series| series.name.as_str()).collect(),
            Content::Plane(plane) => plane.series.iter().map(|series| series.name.as_str()).collect(),
            Content::Matrix(_) | Content::Histogram(_) => Vec::new(),
        };
        for name in own {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    Keys(names)
}

/// What is written and where, before anything is drawn.
struct Layout<'c> {
    chart: &'c Chart,
    keys: &'c Keys,
    size: (u32, u32),
    title: Vec<String>,
    subtitle: Vec<String>,
    notes: Vec<String>,
    /// The panels with the place of each, without its title.
    panels: Vec<(Box<dyn Panel + 'c>, Place)>,
    /// The name of each entry of the legend that is shown, and its place.
    legend: Vec<(usize, String, (i32, i32))>,
    notes_at: u32,
}

pub(super) fn draw(chart: &Chart) -> Result<Drawing, Refused> {
    // A character that XML does not know would break the whole picture.
    let chart = &cleaned(chart);
    let keys = keys(chart);
    let layout = Layout::new(chart, &keys);
    let mut body = layer(layout.size, |sheet| layout.background(sheet))?;
    let mut spots: Vec<Spot> = Vec::new();
    let count = keys.0.len().max(1);
    for key in 0..count {
        let drawn = layer(layout.size, |sheet| {
            layout.panels.iter().try_for_each(|(panel, place)| panel.series(sheet, *place, key, &mut spots))
        })?;
        body.push_str(&format!("<g class=\"series\" data-series=\"{key}\">\n{drawn}</g>\n"));
    }
    for (key, name, at) in &layout.legend {
        let drawn = layer(layout.size, |sheet| layout.entry(sheet, *key, name, *at))?;
        body.push_str(&format!("<g class=\"key\" data-series=\"{key}\">\n{drawn}</g>\n"));
    }
    let (width, height) = layout.size;
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\">\n{body}</svg>\n"
    );
    Ok(Drawing { name: chart.name.clone(), svg, width, height, keys: keys.0.clone(), spots })
}

/// The chart without control characters.
fn cleaned(chart: &Chart) -> Chart {
    let mut chart = chart.clone();
    let clean = |text: &mut String| *text = printable(text).replace('\n', " ");
    [&mut chart.title, &mut chart.subtitle].into_iter().for_each(clean);
    chart.notes.iter_mut().for_each(clean);
    for panel in &mut chart.panels {
        clean(&mut panel.title);
        match &mut panel.content {
            Content::Rows(rows) => {
                rows.names.iter_mut().for_each(clean);
                rows.series.iter_mut().for_each(|series| clean(&mut series.name));
            }
            Content::Plane(plane) => {
                plane.marks.iter_mut().for_each(|mark| clean(&mut mark.label));
                for series in &mut plane.series {
                    clean(&mut series.name);
                    series.points.iter_mut().for_each(|point| clean(&mut point.label));
                }
            }
            Content::Matrix(matrix) => matrix.rows.iter_mut().chain(&mut matrix.columns).for_each(clean),
            Content::Histogram(histogram) => histogram.marks.iter_mut().for_each(|mark| clean(&mut mark.label)),
        }
    }
    chart
}

/// The width of panels below each other: more, where the rows have long names.
fn alone_width(chart: &Chart) -> u32 {
    let names = chart.panels.iter().flat_map(|panel| match &panel.content {
        Content::Rows(rows) => rows.names.as_slice(),
        _ => &[],
    });
    let longest = names.map(|name| width_of(name, LABEL)).max().unwrap_or(0);
    // The names get two fifths.
    ((longest + 12) * 5 / 2).clamp(ALONE, WIDEST)
}

impl<'c> Layout<'c> {
    fn new(chart: &'c Chart, keys: &'c Keys) -> Self {
        let columns = chart.columns.clamp(1, chart.panels.len().max(1));
        let alone = chart.panels.len() == 1;
        let panel_width = if columns == 1 { alone_width(chart) } else { BESIDE };
        let plane_height = if alone { PLANE_ALONE } else { PLANE_BESIDE };
        let mut width = panel_width * columns as u32;
        // Planes below each other begin and end at the same places: what was at one time stands there in all of them.
        let mut borders = (0, 0);
        for panel in chart.panels.iter().filter(|_| columns == 1) {
            if let Content::Plane(plane) = &panel.content {
                let (left, right) = PlanePanel::new(plane, keys, panel_width, plane_height, (0, 0)).borders();
                borders = (left.max(borders.0), right.max(borders.1));
            }
        }
        let mut made: Vec<Box<dyn Panel + 'c>> = Vec::new();
        for panel in &chart.panels {
            made.push(match &panel.content {
                Content::Rows(rows) => Box::new(RowsPanel::new(rows, keys, panel_width)),
                Content::Plane(plane) => Box::new(PlanePanel::new(plane, keys, panel_width, plane_height, borders)),
                Content::Histogram(histogram) => Box::new(HistogramPanel::new(histogram, panel_width, plane_height)),
                Content::Matrix(matrix) => {
                    let panel = MatrixPanel::new(matrix, panel_width);
                    width = width.max(panel.width());
                    Box::new(panel)
                }
            });
        }
        let title = wrapped(&chart.title, TITLE, width);
        let subtitle = wrapped(&chart.subtitle, LABEL, width);
        let mut y = MARGIN + 26 * title.len() as u32 + LINE * subtitle.len() as u32 + 10;
        let mut panels: Vec<(Box<dyn Panel + 'c>, Place)> = Vec::new();
        let mut made = made.into_iter().enumerate().peekable();
        while made.peek().is_some() {
            let row: Vec<_> = made.by_ref().take(columns).collect();
            let titled = row.iter().any(|(number, _)| !chart.panels[*number].title.is_empty());
            let height = row.iter().map(|(_, panel)| panel.height()).max().unwrap_or(0);
            y += if titled { 24 } else { 0 };
            for (column, (_, panel)) in row.into_iter().enumerate() {
                let (x, own) = (MARGIN + panel_width * column as u32, panel.height());
                panels.push((panel, Place { x, y, width: panel_width, height: own }));
            }
            y += height + 10;
        }
        let (legend, below) = entries(keys, width, y);
        let notes: Vec<String> = chart.notes.iter().flat_map(|note| wrapped(note, LABEL, width)).collect();
        let notes_at = below + 6;
        let height = notes_at + LINE * notes.len() as u32 + MARGIN;
        Self { chart, keys, size: (width + 2 * MARGIN, height), title, subtitle, notes, panels, legend, notes_at }
    }

    fn background(&self, sheet: &Area<'_>) -> Result<(), Refused> {
        block(sheet, [(0, 0), (self.size.0 as i32, self.size.1 as i32)], PAPER.filled())?;
        let left = MARGIN as i32;
        let mut y = MARGIN as i32 + 10;
        for words in &self.title {
            write(sheet, words, (left, y), Lie::Right, (TITLE, INK))?;
            y += 26;
        }
        for words in &self.subtitle {
            write(sheet, words, (left, y), Lie::Right, (LABEL, SOFT))?;
            y += LINE as i32;
        }
        for ((panel, place), named) in self.panels.iter().zip(&self.chart.panels) {
            if !named.title.is_empty() {
                write(sheet, &named.title, (place.x as i32, place.y as i32 - 12), Lie::Right, (HEADING, INK))?;
            }
            panel.background(sheet, *place)?;
        }
        for (number, words) in self.notes.iter().enumerate() {
            let y = self.notes_at + LINE * number as u32 + 8;
            write(sheet, words, (left, y as i32), Lie::Right, (LABEL, SOFT))?;
        }
        Ok(())
    }

    fn entry(&self, sheet: &Area<'_>, key: usize, name: &str, (x, y): (i32, i32)) -> Result<(), Refused> {
        let look = Look::of(key);
        if self.has_line(key) {
            line(sheet, vec![(x, y), (x + 24, y)], look.line(2), look.dashed)?;
        }
        match self.has_bar(key) {
            true => block(sheet, [(x + 6, y - 5), (x + 18, y + 5)], look.fill())?,
            false => sign(sheet, (x + 12, y), look, 4)?,
        }
        write(sheet, name, (x + 30, y), Lie::Right, (LABEL, INK))
    }

    /// Whether the points of this key are joined anywhere.
    fn has_line(&self, key: usize) -> bool {
        self.chart.panels.iter().any(|panel| match &panel.content {
            Content::Plane(plane) => {
                let mut own = plane.series.iter().filter(|series| self.keys.place(&series.name) == key);
                own.any(|series| series.join != Join::Scatter)
            }
            _ => false,
        })
    }

    /// Whether this key is a part of bars anywhere.
    fn has_bar(&self, key: usize) -> bool {
        self.chart.panels.iter().any(|panel| match &panel.content {
            Content::Rows(rows) => {
                rows.shape == RowShape::Stacked && rows.series.iter().any(|series| self.keys.place(&series.name) == key)
            }
            _ => false,
        })
    }
}

/// An entry of the legend: its key, its words, its place.
type Entry = (usize, String, (i32, i32));

/// The legend, in columns below the panels, from `top` on; and where it ends.
fn entries(keys: &Keys, width: u32, top: u32) -> (Vec<Entry>, u32) {
    let shown: Vec<(usize, &String)> = keys.0.iter().enumerate().filter(|(_, name)| !name.is_empty()).collect();
    if keys.0.len() < 2 {
        return (Vec::new(), top);
    }
    let widest = shown.iter().map(|(_, name)| width_of(name, LABEL)).max().unwrap_or(0) + 50;
    let columns = (width / widest.max(1)).clamp(1, 6) as usize;
    let column_width = (width / columns as u32).min(widest + 10);
    let lines = shown.len().div_ceil(columns);
    let names: Vec<String> = shown.iter().map(|(_, name)| (*name).clone()).collect();
    let (names, _) = fitted(&names, [column_width - 40; 2]);
    let entries = shown.iter().zip(names).enumerate().map(|(number, ((key, _), words))| {
        let (column, row) = (number / lines, number % lines);
        let x = MARGIN + column_width * column as u32;
        (*key, words, (x as i32, (top + LINE * row as u32 + 8) as i32))
    });
    (entries.collect(), top + LINE * lines as u32 + 4)
}
