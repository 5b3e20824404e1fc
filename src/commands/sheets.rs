//! The charts of a selection: what is read for them, and which are asked for. `visualize`, `report` and `serve` draw what
//! comes out.

use crate::analysis::charts::ChartName;
use crate::analysis::compare::Reference;
use crate::domain::chart::Sheet;
use crate::store::Store;
use crate::store::list::Selection;

/// Which charts, and how.
#[derive(Clone, Debug)]
pub(super) struct SheetOptions {
    /// The charts, in this order.
    pub(super) charts: Vec<ChartName>,
    /// What speed-ups are relative to.
    pub(super) relative_to: Reference,
    /// Whether software that pretends to be a device is shown.
    pub(super) include_software: bool,
}

impl Default for SheetOptions {
    /// All charts but the forecasts, which are fitted first and take their time.
    fn default() -> Self {
        use clap::ValueEnum as _;
        let quick = ChartName::value_variants().iter().copied().filter(|chart| *chart != ChartName::Predicted);
        Self { charts: quick.collect(), relative_to: Reference::default(), include_software: false }
    }
}

/// One sheet a chart that is asked for, in that order: the chart, or why there is nothing to show.
///
/// # Errors
/// A database that cannot be read.
pub(super) fn sheets(_store: &Store, _selection: &Selection, options: &SheetOptions) -> anyhow::Result<Vec<Sheet>> {
    let none = |chart: &ChartName| Sheet::Nothing { name: chart.to_string(), reason: "it is being built".to_owned() };
    Ok(options.charts.iter().map(none).collect())
}
