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
            Scale::Linear | Scale::Time => false,
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
        // What lies closer than this cannot be told apart by numbers that anybody reads.
        if high - low <= 1e-12 * high.abs().max(low.abs()) {
            let around = if low == 0.0 { 1.0 } else { low.abs() * 0.1 };
            (low, high) = (low - around, high + around);
        }
        let step = round_step((high - low) / most as f64);
        let step = if whole { step.max(1.0) } else { step };
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let ticks = (first..=last).map(|number| number as f64 * step).collect();
        Self { range: first as f64 * step..last as f64 * step, logarithmic: false, ticks: written(ticks, step) }
    }

    /// Evenly spaced ticks inside a range, two at least: for a logarithmic axis so short that no round number of its own
    /// lies on it. Between whole numbers there are none, if two of them are inside.
    fn even(range: &Range<f64>, most: usize, whole: bool) -> Vec<(f64, String)> {
        let (low, high) = (range.start, range.end);
        let inside = |step: f64| -> Vec<f64> {
            let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
            (first..=last).map(|number| number as f64 * step).filter(|tick| range.contains(tick)).collect()
        };
        let first = round_step((high - low) / most as f64);
        let steps =
            [if whole { first.max(1.0) } else { first }, first, round_step(first / 4.0), round_step(first / 9.0)];
        let found = steps.into_iter().map(|step| (step, inside(step))).find(|(_, ticks)| ticks.len() > 1);
        found.map(|(step, ticks)| written(fewer(ticks, most), step)).unwrap_or_default()
    }

    fn logarithmic(extent: Extent, most: usize) -> Self {
        let (low, high) = (extent.low.log10(), extent.high.log10());
        // A little room, so that no point sits on the frame; about a single value as much as there is to both sides.
        let room = if high > low { (high - low).max(0.1) * 0.04 } else { 0.3 };
        let range = 10_f64.powf(low - room)..10_f64.powf(high + room);
        let inside = |value: &f64| range.contains(value);
        let powers = ((low - room).floor() as i32..=(high + room).ceil() as i32).map(|power| 10_f64.powi(power));
        // As many of 1, 2 and 5 as there is room for.
        let of = |factors: &[f64]| -> Vec<f64> {
            powers.clone().flat_map(|power| factors.iter().map(move |factor| factor * power)).filter(inside).collect()
        };
        let choices = [of(&[1.0, 2.0, 5.0]), of(&[1.0, 3.0]), of(&[1.0])];
        let chosen = choices.iter().find(|ticks| ticks.len() <= most).unwrap_or(&choices[2]);
        let ticks = fewer(chosen.clone(), most);
        let ticks = if ticks.len() < 2 {
            Self::even(&range, most, extent.whole)
        } else {
            ticks.into_iter().map(|tick| (tick, tick_text(tick, tick, true))).collect()
        };
        Self { range, logarithmic: true, ticks }
    }

    fn powers_of_two(extent: Extent, most: usize) -> Self {
        let (low, high) = (extent.low.log2(), extent.high.log2());
        let room = if high > low { (high - low).max(1.0) * 0.05 } else { 1.1 };
        let (first, last) = (low.floor() as i32, high.ceil() as i32);
        let range = (low - room).exp2()..(high + room).exp2();
        let powers = (first..=last).map(|power| f64::from(power).exp2()).filter(|tick| range.contains(tick));
        let ticks = fewer(powers.collect(), most);
        let ticks = if ticks.len() < 2 {
            Self::even(&range, most, extent.whole)
        } else {
            // Whole, as people say batch sizes: 16384, not 16.4k.
            ticks.into_iter().map(|tick| (tick, tick.to_string())).collect()
        };
        Self { ticks, range, logarithmic: true }
    }

    fn time(extent: Extent, most: usize) -> Self {
        const MILLISECOND: f64 = 1.0;
        const SECOND: f64 = 1e3;
        const MINUTE: f64 = 60.0 * SECOND;
        const HOUR: f64 = 60.0 * MINUTE;
        const DAY: f64 = 24.0 * HOUR;
        let Extent { mut low, mut high, .. } = extent;
        let room = ((high - low) * 0.03).max(if high > low { 0.0 } else { HOUR });
        (low, high) = (low - room, high + room);
        let of = |unit: f64, sizes: &'static [f64]| sizes.iter().map(move |size| size * unit);
        let steps: Vec<f64> = of(MILLISECOND, &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0])
            .chain(of(SECOND, &[1.0, 5.0, 15.0]))
            .chain(of(MINUTE, &[1.0, 5.0, 15.0]))
            .chain(of(HOUR, &[1.0, 3.0, 6.0]))
            .chain(of(DAY, &[1.0, 2.0, 7.0, 14.0, 30.0, 91.0, 365.0, 3650.0, 36500.0]))
            .collect();
        // Dates are wide: two thirds as many.
        let most = (most as f64 * 0.67).max(2.0);
        let inside = |step: f64| -> Vec<f64> {
            let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
            (first..=last).map(|number| number as f64 * step).collect()
        };
        // The finest of which there is room for all, or the next finer one, thinned out, where it has less than two.
        let place = steps.iter().position(|step| (high - low) / step <= most).unwrap_or(steps.len() - 1);
        let step = (0..=place).rev().map(|place| steps[place]).find(|step| inside(*step).len() > 1).unwrap_or(SECOND);
        let format = if step >= DAY {
            "%Y-%m-%d"
        } else if step >= MINUTE {
            "%m-%d %H:%M"
        } else if step >= SECOND {
            "%H:%M:%S"
        } else {
            "%H:%M:%S%.3f"
        };
        let text = |milliseconds: f64| {
            jiff::Timestamp::from_millisecond(milliseconds as i64)
                .map(|time| time.strftime(format).to_string())
                .unwrap_or_default()
        };
        let ticks = fewer(inside(step), most.ceil() as usize).into_iter().map(|tick| (tick, text(tick))).collect();
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

/// At most so many of these: every second, third and so on.
fn fewer(ticks: Vec<f64>, most: usize) -> Vec<f64> {
    let every = ticks.len().div_ceil(most.max(1)).max(1);
    ticks.into_iter().step_by(every).collect()
}

/// The power of ten of the first digit. A number may lie a rounding below it.
fn magnitude(value: f64) -> i32 {
    (value.abs().log10() + 1e-9).floor() as i32
}

/// The decimals of steps of this size.
fn decimals_of(step: f64) -> usize {
    usize::try_from(-magnitude(step)).unwrap_or(0)
}

/// What a number is counted in, and the letter for it.
fn prefix_of(value: f64) -> Option<(f64, &'static str)> {
    let prefixes = [(1e12, 1e12, "T"), (1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")];
    prefixes.into_iter().find(|(from, ..)| value.abs() >= *from).map(|(_, unit, letter)| (unit, letter))
}

/// Ticks with their texts, with as many decimals as their steps need to be told apart. Thousands are counted where that
/// makes a text shorter: `10k`, but `1000200`.
fn written(ticks: Vec<f64>, step: f64) -> Vec<(f64, String)> {
    let short = |tick: &f64| prefix_of(*tick).is_none_or(|(unit, _)| decimals_of(step / unit) <= 2);
    let by_prefix = ticks.iter().all(short);
    ticks.into_iter().map(|tick| (tick, tick_text(tick, step, by_prefix))).collect()
}

/// A number at an axis whose ticks are this far apart: `0.05`, `20`, `5k`, `2M`, `3e-8`.
fn tick_text(value: f64, step: f64, by_prefix: bool) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(0.9e-5..1e15).contains(&value.abs()) {
        let decimals = usize::try_from(magnitude(value) - magnitude(step)).unwrap_or(0);
        return format!("{value:.decimals$e}");
    }
    match prefix_of(value).filter(|_| by_prefix) {
        Some((unit, letter)) => {
            let decimals = decimals_of(step / unit);
            format!("{:.decimals$}{letter}", value / unit)
        }
        None => {
            let decimals = decimals_of(step);
            format!("{value:.decimals$}")
        }
    }
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
    fn ticks_differ_where_values_are_close() {
        assert_eq!(labels(1_000_000.0, 1_001_000.0, Scale::Linear)[..2], ["1000000", "1000200"]);
        assert_eq!(labels(12_345.0, 12_346.5, Scale::Linear)[..3], ["12345.0", "12345.5", "12346.0"]);
        assert_eq!(labels(3e-8, 2e-6, Scale::Log), ["5e-8", "1e-7", "2e-7", "5e-7", "1e-6", "2e-6"]);
        assert_eq!(labels(1e-8, 5e-6, Scale::Log)[1], "3e-8");
        assert_eq!(labels(4096.0, 32_768.0, Scale::PowersOfTwo), ["4096", "8192", "16384", "32768"]);
    }

    #[test]
    fn a_short_axis_has_ticks_too() {
        assert_eq!(labels(22.0, 48.0, Scale::Log), ["25", "30", "35", "40", "45"]);
        assert_eq!(labels(5.0, 7.0, Scale::PowersOfTwo), ["5", "6", "7"]);
        let second = 86_400_000.0;
        assert_eq!(labels(second, second + 800.0, Scale::Time)[..2], ["00:00:00.000", "00:00:00.200"]);
    }

    #[test]
    fn every_axis_has_two_ticks_and_no_text_twice() {
        let mut seed = fastrand::Rng::with_seed(8);
        for _ in 0..4_000 {
            let low = 10_f64.powf(30.0 * seed.f64() - 15.0);
            let high = low * (1.0 + 10_f64.powf(16.0 * seed.f64() - 11.0));
            let (low, high) = if seed.bool() { (low, high) } else { (low.round().max(1.0), high.round().max(1.0)) };
            for scale in [Scale::Auto, Scale::Linear, Scale::Log, Scale::PowersOfTwo] {
                for pixels in [100, 300, 900] {
                    let ruler = Ruler::new(Extent::of([low, high]), scale, pixels, 75);
                    let texts: Vec<&str> = ruler.labels().collect();
                    let distinct: std::collections::BTreeSet<&str> = texts.iter().copied().collect();
                    assert!(texts.len() > 1, "{low} to {high}, {scale:?}, {pixels}: {texts:?}");
                    assert!(distinct.len() == texts.len(), "{low} to {high}, {scale:?}, {pixels}: {texts:?}");
                }
            }
            let (from, to) = (1e12 + low.min(1e12), 1e12 + high.min(2e12));
            let texts = Ruler::new(Extent::of([from.floor(), to.floor()]), Scale::Time, 600, 75);
            let distinct: std::collections::BTreeSet<&str> = texts.labels().collect();
            assert!(distinct.len() > 1 && distinct.len() == texts.labels().count(), "{from} to {to}: {texts:?}");
        }
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
