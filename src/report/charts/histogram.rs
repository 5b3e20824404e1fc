//! How many values lie in each interval.

use super::Spot;
use super::canvas::{Area, BELOW, Frame, Refused, beside, block};
use super::marks::{Marks, TOP};
use super::panel::{Panel, Place, spot};
use super::ruler::{Extent, Ruler};
use super::style::Look;
use crate::domain::chart::{Histogram, Scale};
use crate::report::significant;

/// A histogram, laid out.
pub(super) struct HistogramPanel<'c> {
    histogram: &'c Histogram,
    frame: Frame,
    marks: Marks<'c>,
    height: u32,
}

impl<'c> HistogramPanel<'c> {
    /// Lays a histogram out on this width.
    pub(super) fn new(histogram: &'c Histogram, width: u32, height: u32) -> Self {
        let end = histogram.start + histogram.width * histogram.counts.len() as f64;
        let most = histogram.counts.iter().max().copied().unwrap_or(0) as f64;
        let y = Ruler::new(Extent::of([0.0, most.max(1.0)]), Scale::Linear, height - BELOW - 6, 40);
        let left = beside(y.labels());
        let x = Ruler::new(
            Extent::of([histogram.start, end]),
            // Equal intervals have equal widths on a linear axis only.
            Scale::Linear,
            width.saturating_sub(left + 24).max(100),
            70,
        );
        let marks = Marks::new(&histogram.marks);
        let frame = Frame {
            x,
            y,
            left,
            right: 24,
            top: TOP + marks.above(),
            bottom: BELOW,
            x_text: histogram.axis.text(),
            y_text: histogram.counted.clone(),
        };
        Self { histogram, frame, marks, height }
    }
}

impl Panel for HistogramPanel<'_> {
    fn height(&self) -> u32 {
        self.height + self.marks.above()
    }

    fn background(&self, sheet: &Area<'_>, place: Place) -> Result<(), Refused> {
        let area = place.of(sheet);
        let axes = self.frame.draw(&area)?;
        for (number, &count) in self.histogram.counts.iter().enumerate() {
            let start = self.histogram.start + self.histogram.width * number as f64;
            let (left, base) = axes.backend_coord(&(start, 0.0));
            let (right, top) = axes.backend_coord(&(start + self.histogram.width, count as f64));
            if count > 0 {
                block(sheet, [(left, top), ((right - 1).max(left + 1), base)], Look::of(0).fill())?;
            }
        }
        self.marks.draw(sheet, &axes, &self.frame)
    }

    fn series(&self, sheet: &Area<'_>, place: Place, key: usize, spots: &mut Vec<Spot>) -> Result<(), Refused> {
        if key != 0 {
            return Ok(());
        }
        let area = place.of(sheet);
        let axes = self.frame.axes(&area)?;
        for (number, &count) in self.histogram.counts.iter().enumerate() {
            let start = self.histogram.start + self.histogram.width * number as f64;
            let end = start + self.histogram.width;
            let at = axes.backend_coord(&((start + end) / 2.0, count as f64));
            let unit = &self.histogram.axis.unit;
            let words =
                format!("{} to {} {unit}\n{}: {count}", significant(start), significant(end), self.histogram.counted);
            spots.push(spot(at, key, words));
        }
        Ok(())
    }
}
