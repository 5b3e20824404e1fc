//! The user's word on a foreign file: where a run's parts stand in it, and what it does not say.
//!
//! Each entry is one of
//!
//! | entry | meaning |
//! | --- | --- |
//! | `TARGET=COLUMN` | the column of a CSV holds it |
//! | `TARGET=COLUMN*FACTOR`, `TARGET=COLUMN/FACTOR` | the same in another unit: `latency_p50_ms=lat_s*1000` |
//! | `TARGET==VALUE` | it is this, for every run of the file: `platform==cuda` |
//!
//! A target is a part of a run by its name in the view `results` (and `device_vendor`, `family`, `repetition`,
//! `error`), a standard metric, `parameters.NAME` for anything else that changes the work, or `extra.NAME` for a metric
//! of the user's own. Values with `==` hold for every foreign format, the columns for plain CSV alone.

use std::str::FromStr;

use super::MapError;
use super::foreign::draft::{Draft, Part};
use crate::domain::label::parse_label;
use crate::domain::metric::find_metric;

/// What an entry is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Target {
    /// A part of the run itself.
    Part(Part),
    /// A standard metric.
    Metric(&'static str),
    /// Something that changes the work.
    Parameter(String),
    /// A metric of the user's own.
    Extra(String),
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let name = |rest: &str| (!rest.is_empty()).then(|| rest.to_owned());
        if let Some(rest) = text.strip_prefix("parameters.") {
            return name(rest).map(Self::Parameter);
        }
        if let Some(rest) = text.strip_prefix("extra.") {
            return name(rest).map(Self::Extra);
        }
        // The view's `method` is a parameter.
        if text == "method" {
            return Some(Self::Parameter(text.to_owned()));
        }
        parse_label::<Part>(text)
            .map(Self::Part)
            .or_else(|| find_metric(text).map(|metric| Self::Metric(metric.name.as_str())))
    }

    /// Whether it is a number with a unit.
    fn scales(&self) -> bool {
        matches!(self, Self::Metric(_) | Self::Extra(_))
    }
}

/// A factor that is exact in both directions: a value is multiplied, then divided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) multiply: f64,
    pub(super) divide: f64,
}

impl Scale {
    /// The unit is right already.
    pub(super) const ONE: Self = Self { multiply: 1.0, divide: 1.0 };

    pub(super) fn times(factor: f64) -> Self {
        Self { multiply: factor, divide: 1.0 }
    }

    pub(super) fn over(factor: f64) -> Self {
        Self { multiply: 1.0, divide: factor }
    }

    pub(super) fn apply(self, value: f64) -> f64 {
        value * self.multiply / self.divide
    }
}

/// A part that a column of a CSV holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MappedColumn {
    pub(super) target: Target,
    pub(super) column: String,
    pub(super) scale: Scale,
}

/// All entries.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnMap {
    columns: Vec<MappedColumn>,
    constants: Vec<(Target, String)>,
}

impl ColumnMap {
    /// The map of entries as they stand on the command line.
    ///
    /// # Errors
    /// The first entry that makes no sense.
    pub fn new<'e>(entries: impl IntoIterator<Item = &'e str>) -> Result<Self, MapError> {
        let mut map = Self::default();
        for entry in entries {
            map.add(entry)?;
        }
        Ok(map)
    }

    fn add(&mut self, entry: &str) -> Result<(), MapError> {
        let shape = || MapError::Shape(entry.to_owned());
        let (name, rest) = entry.split_once('=').ok_or_else(shape)?;
        let name = name.trim();
        let target = Target::parse(name).ok_or_else(|| MapError::Target(name.to_owned()))?;
        if self.targets().any(|known| *known == target) {
            return Err(MapError::Twice(name.to_owned()));
        }
        if let Some(value) = rest.strip_prefix('=') {
            if value.trim().is_empty() {
                return Err(shape());
            }
            // What cannot be is said before any file is read.
            Draft::default()
                .assign(&target, value.trim(), Scale::ONE)
                .map_err(|reason| MapError::Shape(format!("{entry} ({reason})")))?;
            self.constants.push((target, value.trim().to_owned()));
            return Ok(());
        }
        let (column, scale) = match rest.rsplit_once(['*', '/']) {
            Some((column, factor)) if target.scales() => {
                let number = factor.trim().parse().ok().filter(|number: &f64| number.is_normal() && *number > 0.0);
                let number = number.ok_or_else(|| MapError::Factor(factor.trim().to_owned()))?;
                let times = rest.as_bytes().get(column.len()) == Some(&b'*');
                (column, if times { Scale::times(number) } else { Scale::over(number) })
            }
            Some((_, factor)) if factor.trim().parse::<f64>().is_ok() => return Err(MapError::Scaled(name.to_owned())),
            _ => (rest, Scale::ONE),
        };
        let column = column.trim().to_owned();
        if column.is_empty() {
            return Err(shape());
        }
        self.columns.push(MappedColumn { target, column, scale });
        Ok(())
    }

    /// Whether the user said nothing.
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty() && self.constants.is_empty()
    }

    /// Whether any entry names a column, which only plain CSV has.
    pub fn names_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    pub(super) fn columns(&self) -> &[MappedColumn] {
        &self.columns
    }

    pub(super) fn constants(&self) -> &[(Target, String)] {
        &self.constants
    }

    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.columns.iter().map(|column| &column.target).chain(self.constants.iter().map(|(target, _)| target))
    }

    /// Whether the user said the value of this part.
    pub(super) fn sets(&self, part: Part) -> bool {
        self.constants.iter().any(|(target, _)| *target == Target::Part(part))
    }

    /// Whether the user gave this part, as a value or as a column.
    pub(super) fn gives(&self, part: Part) -> bool {
        self.targets().any(|target| *target == Target::Part(part))
    }
}

impl FromStr for ColumnMap {
    type Err = MapError;

    /// The map of one entry, so that a command line can check it where it stands.
    fn from_str(entry: &str) -> Result<Self, MapError> {
        Self::new([entry])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(entry: &str) -> String {
        ColumnMap::new([entry]).unwrap_err().to_string()
    }

    #[test]
    fn columns_factors_and_values_are_read() {
        let map = ColumnMap::new([
            "throughput_samples_per_second=throughput_ips",
            "latency_p50_ms = lat s * 1000",
            "latency_p95_ms=lat_us/1000",
            "engine==pytorch",
            "parameters.layout==nhwc",
            "extra.loss=final/loss/1",
        ])
        .unwrap();
        assert_eq!(map.columns().len(), 4);
        assert_eq!(map.columns()[1].column, "lat s");
        assert_eq!(map.columns()[1].scale.apply(1.5), 1500.0);
        assert_eq!(map.columns()[2].scale.apply(3.0), 0.003);
        assert_eq!(map.columns()[3].column, "final/loss");
        assert!(map.gives(Part::Engine));
        assert!(!map.gives(Part::Platform));
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        assert!(error("latency").contains("TARGET=COLUMN"));
        assert!(error("lateness=lat").contains("no `lateness`"));
        assert!(error("latency_p50_ms=lat*zero").contains("`zero` is no factor"));
        assert!(error("latency_p50_ms=lat*-1").contains("`-1` is no factor"));
        assert!(error("model=name*2").contains("cannot be scaled"));
        assert!(error("platform==warp").contains("warp"));
        assert!(error("latency_p50_ms==NaN").contains("NaN"));
        assert!(error("model=").contains("TARGET=COLUMN"));
        let twice = ColumnMap::new(["model=a", "model==b"]).unwrap_err();
        assert_eq!(twice, MapError::Twice("model".into()));
    }
}
