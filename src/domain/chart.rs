//! A chart as data: what `analysis` makes of the record, `report` draws, and a page shows when somebody points at it.

use serde::Serialize;

use super::document::Statement;

/// One sheet: a title and one panel or several.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Chart {
    /// The name of its file, without an ending: `throughput`.
    pub name: String,
    /// What it shows, in a few words.
    pub title: String,
    /// What was selected, how it was measured, what the error bars are: one line, or nothing.
    pub subtitle: String,
    /// The panels, row by row.
    pub panels: Vec<Panel>,
    /// How many panels stand side by side.
    pub columns: usize,
    /// What a reader has to know, a sentence each; below the panels.
    pub notes: Vec<String>,
    /// What it rests on, where the record keeps it.
    #[serde(skip)]
    pub behind: Option<Behind>,
    /// How to ask the record again for what it rests on; written by whoever knows the record's language.
    pub statement: Option<Statement>,
}

/// What a chart rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behind {
    /// The valid runs of configurations: a value is a median over the runs of one.
    Configurations {
        /// Their row ids.
        ids: Vec<i64>,
        /// The columns of the view `results` that it shows.
        columns: Vec<&'static str>,
    },
    /// The runs of one configuration, each of them.
    History {
        /// Its row id.
        configuration: i64,
        /// The columns of the view `results` that it shows.
        columns: Vec<&'static str>,
    },
    /// The iterations of the run with this row id.
    Samples(i64),
    /// What the sensors said during the run with this row id.
    Telemetry(i64),
}

/// One pair of axes and what is drawn between them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Panel {
    /// What it shows; may be empty where there is one panel.
    pub title: String,
    /// What is drawn.
    pub content: Content,
}

/// What a panel draws.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Content {
    /// Named rows, one below the other, with values to the right: what was measured of each configuration.
    Rows(Rows),
    /// Values over numbers: scaling, history, telemetry, scatter.
    Plane(Plane),
    /// A number for each pair of a row and a column, as a colour and as a text.
    Matrix(Matrix),
    /// How many values lie in each of equal intervals.
    Histogram(Histogram),
}

/// What an axis says.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Axis {
    /// The quantity: `latency`.
    pub label: String,
    /// Its unit, or nothing.
    pub unit: String,
    /// How values become places.
    pub scale: Scale,
    /// What it shows at least, where panels are to be compared place by place: the same time on all of them.
    pub range: Option<(f64, f64)>,
}

impl Axis {
    /// An axis whose scale follows from its values.
    pub fn new(label: impl Into<String>, unit: impl Into<String>) -> Self {
        Self { label: label.into(), unit: unit.into(), scale: Scale::Auto, range: None }
    }

    /// The same axis with another scale.
    #[must_use]
    pub fn scaled(self, scale: Scale) -> Self {
        Self { scale, ..self }
    }

    /// The same axis, which shows these values at least.
    #[must_use]
    pub fn over(self, low: f64, high: f64) -> Self {
        Self { range: Some((low, high)), ..self }
    }

    /// Label and unit: `latency [ms]`.
    pub fn text(&self) -> String {
        if self.unit.is_empty() { self.label.clone() } else { format!("{} [{}]", self.label, self.unit) }
    }
}

/// How values become places on an axis.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// Logarithmic where all values are positive and the largest is 50 times the smallest or more, else linear.
    #[default]
    Auto,
    /// Linear; bars begin at zero.
    Linear,
    /// Logarithmic to base 10.
    Log,
    /// Logarithmic with ticks at powers of two: batch sizes.
    PowersOfTwo,
    /// Milliseconds since 1970, written as dates.
    Time,
}

/// A value with the interval that it is known to lie in.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Value {
    /// The value.
    pub value: f64,
    /// The lower and the upper end of its interval, where one is known: an error bar.
    pub interval: Option<(f64, f64)>,
    /// What is told of it to whoever points at it, beside names and numbers: `n = 12 runs`. May be empty.
    pub detail: String,
}

impl Value {
    /// A value of which nothing more is known.
    pub fn plain(value: f64) -> Self {
        Self { value, ..Self::default() }
    }
}

/// Named rows with values.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rows {
    /// The axis of the values.
    pub axis: Axis,
    /// The rows' names, top down.
    pub names: Vec<String>,
    /// What is shown of each row.
    pub series: Vec<RowSeries>,
    /// How the values of a row stand.
    pub shape: RowShape,
}

/// One value a row.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RowSeries {
    /// Its name in the legend.
    pub name: String,
    /// One a row; a row may have none.
    pub values: Vec<Option<Value>>,
}

/// How the values of a row stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RowShape {
    /// Bars below each other, from zero; dots on a logarithmic axis, where bars would begin anywhere.
    #[default]
    Bars,
    /// Bars end to end: parts of a whole. Never on a logarithmic axis.
    Stacked,
    /// Dots on one line.
    Dots,
}

/// Values over numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plane {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn.
    pub series: Vec<PlaneSeries>,
    /// Lines and words across.
    pub marks: Vec<Mark>,
}

/// Points that belong together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct PlaneSeries {
    /// Its name in the legend.
    pub name: String,
    /// The points, in the order in which a line joins them.
    pub points: Vec<Point>,
    /// How they are joined.
    pub join: Join,
}

/// One point.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Point {
    /// Where it stands.
    pub x: f64,
    /// Its height, its interval and what is told of it.
    pub y: Value,
    /// A few words beside it on the sheet, or nothing.
    pub label: String,
}

/// How the points of a series are joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Join {
    /// Points alone.
    #[default]
    Scatter,
    /// Points on a line.
    LineAndPoints,
    /// A line alone: many points.
    Line,
    /// Steps, as the Pareto front has them: a value holds until the next one.
    Steps,
}

/// A line across a plane.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mark {
    /// Where it goes.
    pub place: Place,
    /// What it says, in a few words; may be empty.
    pub label: String,
    /// Whether it is good news.
    pub tone: Tone,
}

/// Where a mark goes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "at", content = "value", rename_all = "snake_case")]
pub enum Place {
    /// Upright, at this x.
    Vertical(f64),
    /// Level, at this y.
    Horizontal(f64),
    /// Where y is x.
    Diagonal,
}

/// What a mark means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// A help for the eye.
    #[default]
    Neutral,
    /// Better.
    Good,
    /// Worse.
    Bad,
}

/// A number for each pair of a row and a column.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Matrix {
    /// What the numbers are.
    pub axis: Axis,
    /// Names, top down.
    pub rows: Vec<String>,
    /// Names, left to right.
    pub columns: Vec<String>,
    /// `cells[row][column]`.
    pub cells: Vec<Vec<Option<Value>>>,
    /// The value that is neither good nor bad, above zero: colours diverge about it, by the logarithm.
    pub neutral: f64,
}

/// How many values lie in each of equal intervals.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Histogram {
    /// The axis of the values.
    pub axis: Axis,
    /// What is counted: `iterations`.
    pub counted: String,
    /// Lower end of the first interval.
    pub start: f64,
    /// Width of an interval.
    pub width: f64,
    /// How many there are in each.
    pub counts: Vec<u64>,
    /// Upright lines: the median, p99.
    pub marks: Vec<Mark>,
}

/// A chart, or the reason why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Sheet {
    /// There is something to show.
    Chart(Chart),
    /// There is nothing to show.
    Nothing {
        /// The name of the chart.
        name: String,
        /// Why, in one sentence.
        reason: String,
    },
}

impl Sheet {
    /// The chart, where there is one.
    pub fn chart(&self) -> Option<&Chart> {
        match self {
            Self::Chart(chart) => Some(chart),
            Self::Nothing { .. } => None,
        }
    }
}
