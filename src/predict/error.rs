//! Why there is no forecast.

/// An error of the prediction layer.
#[derive(Debug, thiserror::Error)]
pub enum PredictError {
    /// Nothing, or too little, to learn from.
    #[error("{found} usable measurements are too few to learn from, {needed} are needed")]
    TooFew {
        /// Examples with a number.
        found: usize,
        /// The least.
        needed: usize,
    },
    /// All measurements say the same.
    #[error("all {rows} measurements have the same speed, so nothing can be learned from them")]
    Constant {
        /// Examples.
        rows: usize,
    },
    /// The targets cannot be learned.
    #[error("the targets are missing or not finite")]
    BadTargets,
    /// More rows or features than the trees can count.
    #[error("{rows} rows of {features} features are too many")]
    TooWide {
        /// Rows.
        rows: usize,
        /// Features.
        features: usize,
    },
    /// The kind of device was never measured.
    #[error("no {kind} whose rates are known was ever measured: a forecast for `{device}` would be a guess")]
    NewKind {
        /// The kind.
        kind: String,
        /// The device that was asked about.
        device: String,
    },
    /// Nothing is known of the device.
    #[error("nothing is known of the device `{device}`: it was not measured and is in no table")]
    UnknownDevice {
        /// The device.
        device: String,
    },
    /// What is asked about is too little or absurd.
    #[error("`{model}`: {reason}")]
    BadQuestion {
        /// The model that was asked about.
        model: String,
        /// What is wrong.
        reason: String,
    },
    /// A table of devices cannot be read.
    #[error("the table of devices: {reason}")]
    BadDevices {
        /// What is wrong, with the line.
        reason: String,
    },
    /// A file holds no fitted model.
    #[error("this is no fitted model")]
    NotAModel {
        /// What JSON says.
        #[source]
        source: serde_json::Error,
    },
    /// A newer benchdb wrote the model.
    #[error("the model has format {found}, this benchdb knows {known}")]
    OtherVersion {
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// The linear algebra failed.
    #[error("the linear model cannot be fitted")]
    Linear(#[from] linfa_linear::LinearError<f64>),
    /// A dataset that linfa refuses.
    #[error("linfa refuses the data")]
    Linfa(#[from] linfa::Error),
}

impl PredictError {
    /// The way out.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TooFew { .. } | Self::Constant { .. } => {
                "`benchdb run --all` measures more; `--prior` uses a model that was fitted elsewhere"
            }
            Self::NewKind { .. } => "measure one model there, or ask with `--extrapolate` for an order of magnitude",
            Self::UnknownDevice { .. } => {
                "`benchdb hardware --probe` measures it; `--devices FILE` takes a row with its data sheet"
            }
            Self::BadDevices { .. } => "the columns are those of data/devices.csv; `name` and `kind` are needed",
            Self::NotAModel { .. } => "`benchdb predict --export model.json` writes one",
            Self::OtherVersion { .. } => "fit it again with this benchdb: `benchdb predict --fit`",
            Self::BadQuestion { .. } => {
                "`--multiply-adds`, `--parameter-count`, `--activation-count` and `--input-shape` say what a model is"
            }
            Self::BadTargets | Self::TooWide { .. } | Self::Linear(_) | Self::Linfa(_) => return None,
        };
        Some(hint.to_owned())
    }
}
