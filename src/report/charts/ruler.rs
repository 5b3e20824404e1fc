//! Axes: how values become places, and where the ticks are.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, KeyPointWeight, NoDefaultFormatting, Ranged, ValueFormatter};

use crate::domain::chart::Scale;

/// Where the range of positive values is this large, the axis is logarithmic if it may choose.
const LOG_FROM: f64 = 50.0;

/// An axis: its range, its ticks and what stands at them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ruler {
    range: Range<f64>,
    logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

/// What an axis has to hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    low: f64,
    high: f64,
    /// Whether all are whole numbers: there is nothing between a first and a second run.
    whole: bool,
}

impl Extent {
    /// From the least to the largest of them; what is no number does not count. `None` where there is none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        values.into_iter().filter(|value| value.is_finite()).fold(None, |extent: Option<Self>, value| {
            let own = Self { low: value, high: value, whole: value.fract() == 0.0 };
            Some(extent.map_or(own, |extent| extent.with(own)))
        })
    }

    /// Whether an axis of this scale is logarithmic for these values.
    pub(super) fn is_logarithmic(self, scale: Scale) -> bool {
        match scale {
            Scale::Auto => self.low > 0.0 && self.high >= LOG_FROM * self.low,
            Scale::Log | Scale::PowersOfTwo => self.low > 0.0,
            Scale::Linear | Scale::Time | Scale::Names(_) => false,
        }
    }

    /// Both.
    pub(super) fn with(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high), whole: self.whole && other.whole }
    }

    /// Whether zero is not far: the least is below a third of the largest; or there is nothing but zero to compare
    /// with, because all are the same.
    pub(super) fn is_wide(self) -> bool {
        self.low * 3.0 < self.high || self.low >= self.high
    }

    /// With zero in it.
    pub(super) fn with_zero(self) -> Self {
        Self { low: self.low.min(0.0), high: self.high.max(0.0), ..self }
    }
}

impl Ruler {
    /// An axis for these values, of this many pixels, with a tick every `apart` pixels or less often.
    pub(super) fn new(extent: Option<Extent>, scale: Scale, pixels: u32, apart: u32) -> Self {
        let most = (pixels / apart.max(1)).clamp(2, 12) as usize;
        let Some(extent) = extent else {
            return Self { range: 0.0..1.0, logarithmic: false, ticks: Vec::new() };
        };
        match scale {
            Scale::Names(names) => Self::names(names),
            Scale::Time => Self::time(extent, most),
            Scale::PowersOfTwo if extent.is_logarithmic(scale) => Self::powers_of_two(extent, most),
            _ if extent.is_logarithmic(scale) => Self::logarithmic(extent, most),
            _ => Self::linear(extent, most),
        }
    }

    /// An axis of this many equal rows without ticks, the first at the top.
    pub(super) fn rows(count: usize) -> Self {
        Self { range: count as f64..0.0, logarithmic: false, ticks: Vec::new() }
    }

    /// What stands at the ticks.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.ticks.iter().map(|(_, text)| text.as_str())
    }

    /// Where a bar begins.
    pub(super) fn base(&self) -> f64 {
        if self.logarithmic { self.range.start } else { 0.0_f64.clamp(self.low(), self.high()) }
    }

    /// Its least value.
    pub(super) fn low(&self) -> f64 {
        self.range.start.min(self.range.end)
    }

    /// Its largest value.
    pub(super) fn high(&self) -> f64 {
        self.range.start.max(self.range.end)
    }

    /// The same axis with room for this share of it beyond its end.
    #[must_use]
    pub(super) fn with_room(mut self, share: f64) -> Self {
        self.range.end = if self.logarithmic {
            self.range.end * (self.range.end / self.range.start).powf(share)
        } else {
            self.range.end + (self.range.end - self.range.start) * share
        };
        self
    }

    fn linear(extent: Extent, most: usize) -> Self {
        let Extent { mut low, mut high, whole } = extent;
        if high - low <= f64::EPSILON * high.abs().max(low.abs()) {
            let around = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - around, high + around);
        }
        let step = round_step((high - low) / most as f64);
        let step = if whole { step.max(1.0) } else { step };
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
        let ticks = (first..=last).map(|number| number as f64 * step);
        Self {
            range: first as f64 * step..last as f64 * step,
            logarithmic: false,
            ticks: ticks.map(|tick| (tick, tick_text(tick, decimals))).collect(),
        }
    }

    fn logarithmic(extent: Extent, most: usize) -> Self {
        let (low, high) = (extent.low.log10(), extent.high.log10());
        // A little room, so that no point sits on the frame.
        let room = (high - low).max(0.1) * 0.04;
        let range = 10_f64.powf(low - room)..10_f64.powf(high + room);
        let inside = |value: &f64| range.contains(value);
        let powers = ((low - room).floor() as i32..=(high + room).ceil() as i32).map(|power| 10_f64.powi(power));
        // As many of 1, 2 and 5 as there is room for.
        let of = |factors: &[f64]| -> Vec<f64> {
            powers.clone().flat_map(|power| factors.iter().map(move |factor| factor * power)).filter(inside).collect()
        };
        let choices = [of(&[1.0, 2.0, 5.0]), of(&[1.0, 3.0]), of(&[1.0])];
        let chosen = choices.iter().find(|ticks| ticks.len() <= most).unwrap_or(&choices[2]);
        let every = chosen.len().div_ceil(most).max(1);
        let ticks = chosen.iter().step_by(every).map(|&tick| (tick, tick_text(tick, decimals_of(tick)))).collect();
        Self { range, logarithmic: true, ticks }
    }

    fn powers_of_two(extent: Extent, most: usize) -> Self {
        let (low, high) = (extent.low.log2(), extent.high.log2());
        let room = (high - low).max(1.0) * 0.05;
        let (first, last) = (low.floor() as i32, high.ceil() as i32);
        let every = ((last - first + 1) as usize).div_ceil(most).max(1);
        let range = (low - room).exp2()..(high + room).exp2();
        let ticks = (first..=last).step_by(every).map(|power| f64::from(power).exp2());
        let ticks = ticks.filter(|tick| range.contains(tick)).map(|tick| (tick, tick_text(tick, decimals_of(tick))));
        Self { ticks: ticks.collect(), range, logarithmic: true }
    }

    fn names(names: &[&str]) -> Self {
        let ticks = names.iter().enumerate().map(|(place, name)| (place as f64, (*name).to_owned())).collect();
        Self { range: -0.5..names.len() as f64 - 0.5, logarithmic: false, ticks }
    }

    fn time(extent: Extent, most: usize) -> Self {
        const SECOND: f64 = 1e3;
        const MINUTE: f64 = 60.0 * SECOND;
        const HOUR: f64 = 60.0 * MINUTE;
        const DAY: f64 = 24.0 * HOUR;
        let Extent { mut low, mut high, .. } = extent;
        let room = ((high - low) * 0.03).max(if high > low { 0.0 } else { HOUR });
        (low, high) = (low - room, high + room);
        let steps = [
            SECOND,
            5.0 * SECOND,
            15.0 * SECOND,
            MINUTE,
            5.0 * MINUTE,
            15.0 * MINUTE,
            HOUR,
            3.0 * HOUR,
            6.0 * HOUR,
            DAY,
            2.0 * DAY,
            7.0 * DAY,
            14.0 * DAY,
            30.0 * DAY,
            91.0 * DAY,
            365.0 * DAY,
            3650.0 * DAY,
        ];
        // Dates are wide: two thirds as many.
        let most = (most as f64 * 0.67).max(2.0);
        let step = steps.into_iter().find(|step| (high - low) / step <= most).unwrap_or(36500.0 * DAY);
        let format = if step >= DAY {
            "%Y-%m-%d"
        } else if step >= MINUTE {
            "%m-%d %H:%M"
        } else {
            "%H:%M:%S"
        };
        let text = |milliseconds: f64| {
            jiff::Timestamp::from_millisecond(milliseconds as i64)
                .map(|time| time.strftime(format).to_string())
                .unwrap_or_default()
        };
        let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
        let ticks = (first..=last).map(|number| number as f64 * step).map(|tick| (tick, text(tick))).collect();
        Self { range: low..high, logarithmic: false, ticks }
    }

    fn share(&self, value: f64) -> f64 {
        let place = |value: f64| if self.logarithmic { value.max(f64::MIN_POSITIVE).ln() } else { value };
        let (start, end) = (place(self.range.start), place(self.range.end));
        ((place(value) - start) / (end - start)).clamp(0.0, 1.0)
    }
}

impl Ranged for Ruler {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (first, last): (i32, i32)) -> i32 {
        first + (self.share(*value) * f64::from(last - first)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        match hint.weight() {
            KeyPointWeight::Bold => self.ticks.iter().map(|(tick, _)| *tick).collect(),
            KeyPointWeight::Any => Vec::new(),
        }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Ruler {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == value).map(|(_, text)| text.clone()).unwrap_or_default()
    }
}

/// 1, 2 or 5 times a power of ten, not below this.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9)).unwrap_or(10.0);
    factor * power
}

/// The decimals that a number of one digit needs.
fn decimals_of(value: f64) -> usize {
    (-value.abs().log10().floor()).clamp(0.0, 12.0) as usize
}

/// A number at an axis: `0.05`, `20`, `5k`, `2M`.
fn tick_text(value: f64, decimals: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    for (size, prefix) in [(1e12, "T"), (1e9, "G"), (1e6, "M"), (1e4, "k")] {
        if value.abs() >= size {
            let unit = if prefix == "k" { 1e3 } else { size };
            let scaled = (value / unit * 1e3).round() / 1e3;
            return format!("{scaled}{prefix}");
        }
    }
    if value.abs() < 1e-6 {
        return format!("{value:e}");
    }
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64, scale: Scale) -> Vec<String> {
        Ruler::new(Extent::of([low, high]), scale, 600, 80).labels().map(str::to_owned).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(labels(0.0, 0.93, Scale::Linear), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(0.0, 31_000.0, Scale::Linear), ["0", "5000", "10k", "15k", "20k", "25k", "30k", "35k"]);
        assert_eq!(labels(1.0, 2000.0, Scale::Auto), ["1", "3", "10", "30", "100", "300", "1000"]);
        assert_eq!(labels(1.0, 64.0, Scale::PowersOfTwo), ["1", "2", "4", "8", "16", "32", "64"]);
        assert_eq!(labels(1.0, 3.0, Scale::Linear), ["1", "2", "3"], "whole numbers alone");
        assert_eq!(labels(5.5, 5.5, Scale::Auto).first().map(String::as_str), Some("4.8"));
    }

    #[test]
    fn the_range_decides_whether_an_axis_is_logarithmic() {
        let extent = |low, high| Extent::of([low, high, f64::NAN]).unwrap();
        assert!(extent(1.0, 50.0).is_logarithmic(Scale::Auto));
        assert!(!extent(1.0, 49.0).is_logarithmic(Scale::Auto));
        assert!(!extent(0.0, 49.0).is_logarithmic(Scale::Auto));
        assert!(!extent(0.0, 49.0).is_logarithmic(Scale::Log), "zero has no logarithm");
        assert!(Extent::of([f64::NAN]).is_none());
    }

    #[test]
    fn times_are_dates_or_hours() {
        let day = 86_400_000.0;
        assert_eq!(labels(0.0, 30.0 * day, Scale::Time)[0], "1970-01-01");
        assert_eq!(labels(0.0, day / 2.0, Scale::Time)[1], "01-01 03:00");
        assert!(labels(0.0, 4_000.0, Scale::Time)[0].ends_with(":00"));
    }

    #[test]
    fn every_value_has_a_place_inside() {
        let ruler = Ruler::new(Extent::of([0.001, 3e6]), Scale::Auto, 600, 80);
        for value in [0.001, 1.0, 3e6, 0.0, f64::MAX] {
            assert!((0..=600).contains(&ruler.map(&value, (0, 600))), "{value}");
        }
        assert!(ruler.map(&0.001, (0, 600)) < ruler.map(&1.0, (0, 600)));
    }
}
