//! Configurations in files: many questions in a CSV, and what to measure next.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use super::super::{CommandError, unreadable};
use super::questions::Question;
use crate::domain::{Mode, Precision};

/// A configuration as files name it. Cells may be empty; `model` may not.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The model.
    pub model: String,
    /// A platform, or a device by a part of its name.
    #[serde(default, alias = "platform")]
    pub hardware: Option<String>,
    /// The device's name, or a part of it.
    #[serde(default)]
    pub device: Option<String>,
    /// The engine.
    #[serde(default)]
    pub engine: Option<String>,
    /// The precision.
    #[serde(default)]
    pub precision: Option<Precision>,
    /// The mode.
    #[serde(default)]
    pub mode: Option<Mode>,
    /// The batch size.
    #[serde(default)]
    pub batch_size: Option<u32>,
    /// The shape of one sample.
    #[serde(default)]
    pub input_shape: Option<String>,
    /// A JSON object, as text.
    #[serde(default)]
    parameters: Option<String>,
    #[serde(default)]
    multiply_adds: Option<f64>,
    #[serde(default)]
    parameter_count: Option<f64>,
    #[serde(default)]
    activation_count: Option<f64>,
    /// What `--suggest-anchors` says of it; nobody asks.
    #[serde(default, rename = "variance_left")]
    _variance_left: Option<f64>,
}

impl Row {
    /// The rows of a CSV.
    ///
    /// # Errors
    /// A column or a cell that is not understood.
    pub fn of_csv(text: &str) -> Result<Vec<Self>, csv::Error> {
        let mut reader =
            csv::ReaderBuilder::new().trim(csv::Trim::All).comment(Some(b'#')).from_reader(text.as_bytes());
        reader.deserialize().collect()
    }

    /// The parameters of the work.
    ///
    /// # Errors
    /// A text that is no JSON object, in words.
    pub fn parameters(&self) -> Result<BTreeMap<String, Value>, String> {
        match self.parameters.as_deref() {
            None | Some("") => Ok(BTreeMap::new()),
            Some(json) => serde_json::from_str(json)
                .map_err(|error| format!("the parameters `{json}` are no JSON object ({error})")),
        }
    }
}

/// The columns, for hints.
const COLUMNS: &str = "the columns are model, hardware, device, engine, precision, mode, batch_size, input_shape, \
    parameters, multiply_adds, parameter_count and activation_count; only `model` is needed";

/// Reads the questions of a file; `common` says what cells leave open.
///
/// # Errors
/// A file that cannot be read, a column or a cell that is not understood.
pub fn read(path: &Path, common: &Question) -> anyhow::Result<Vec<Question>> {
    let bad =
        |reason: String| CommandError::new(format!("`{}` is no list of questions: {reason}", path.display()), COLUMNS);
    let text = std::fs::read_to_string(path).with_context(|| unreadable(path))?;
    let mut questions = Vec::new();
    for row in Row::of_csv(&text).map_err(|error| bad(error.to_string()))? {
        if row.model.is_empty() {
            return Err(bad("a row names no model".to_owned()).into());
        }
        let mut parameters = common.parameters.clone();
        parameters.extend(row.parameters().map_err(&bad)?);
        questions.push(Question {
            model: row.model,
            hardware: row.hardware.or_else(|| common.hardware.clone()),
            device: row.device.or_else(|| common.device.clone()),
            target: None,
            engine: row.engine.or_else(|| common.engine.clone()),
            precision: row.precision.or(common.precision),
            mode: row.mode.or(common.mode),
            batch_size: row.batch_size.or(common.batch_size),
            input_shape: row.input_shape.or_else(|| common.input_shape.clone()),
            parameters,
            multiply_adds: row.multiply_adds.or(common.multiply_adds),
            parameter_count: row.parameter_count.or(common.parameter_count),
            activation_count: row.activation_count.or(common.activation_count),
        });
    }
    if questions.is_empty() {
        return Err(bad("it holds no row".to_owned()).into());
    }
    Ok(questions)
}
