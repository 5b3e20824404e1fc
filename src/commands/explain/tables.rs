//! What was done, as rows: one for each sample and method; and for texts one for each token.

use super::super::ExitStatus;
use super::files::Written;
use super::seam::Explained;
use super::session::{Outcome, Waiting};
use crate::dataset::InputFile;
use crate::domain::text::one_line;
use crate::domain::{Cell, HostData, HostTensor, Table};
use crate::report::significant;

/// What became of one sample and one method.
#[derive(Debug)]
pub(super) struct Row {
    sample: String,
    method: String,
    status: &'static str,
    target: Option<Explained>,
    predicted: bool,
    cached: Option<bool>,
    seconds: Option<f64>,
    passes: [Option<f64>; 2],
    inner_batch: Option<usize>,
    reason: Option<String>,
    pub(super) files: Written,
    tokens: Option<Tokens>,
    error: Option<anyhow::Error>,
}

/// A text's words and how much each adds.
#[derive(Debug)]
struct Tokens {
    ids: Vec<i64>,
    values: Vec<f32>,
}

impl Row {
    fn empty(sample: &str, method: &str, status: &'static str) -> Self {
        Self {
            sample: sample.to_owned(),
            method: method.to_owned(),
            status,
            target: None,
            predicted: false,
            cached: None,
            seconds: None,
            passes: [None; 2],
            inner_batch: None,
            reason: None,
            files: Written::default(),
            tokens: None,
            error: None,
        }
    }

    /// Of a file that cannot be read.
    pub(super) fn of_file(file: &InputFile, error: anyhow::Error) -> Self {
        let reason = Some(one_line(error.as_ref()));
        Self { reason, error: Some(error), ..Self::empty(&file.name, "", "failed") }
    }

    /// Of what a method said.
    pub(super) fn new(waiting: &Waiting, method: &str, outcome: &Outcome) -> Self {
        let name = &waiting.sample.name;
        match outcome {
            Outcome::Done(done) => Self {
                target: Some(done.facts.target),
                predicted: waiting.target.is_none(),
                cached: Some(done.cached),
                seconds: Some(done.seconds),
                passes: done.facts.passes.map(Some),
                inner_batch: done.inner_batch,
                tokens: tokens(&waiting.sample.inputs, &done.attribution),
                ..Self::empty(name, method, "ok")
            },
            Outcome::Unsupported(reason) => {
                Self { reason: Some(reason.clone()), ..Self::empty(name, method, "unsupported") }
            }
            Outcome::Failed(error) => {
                let reason = one_line(error.as_ref());
                let text = format!("`{}`: {reason}", waiting.path.display());
                Self { reason: Some(text), ..Self::empty(name, method, "failed") }
            }
        }
    }
}

/// The words of the text that an attribution `[tokens]` is of.
fn tokens(inputs: &[HostTensor], attribution: &HostTensor) -> Option<Tokens> {
    let ([count], HostData::F32(values)) = (&attribution.shape[..], &attribution.data) else { return None };
    let ids = inputs.iter().find_map(|tensor| match &tensor.data {
        HostData::I64(ids) if ids.len() == *count => Some(ids.clone()),
        _ => None,
    })?;
    Some(Tokens { ids, values: values.clone() })
}

/// All rows.
#[derive(Debug)]
pub(super) struct Report {
    rows: Vec<Row>,
    /// Whether the methods were not asked for by name.
    all: bool,
    /// What computed, and its precision.
    engine: String,
}

impl Report {
    pub(super) fn new(all: bool, engine: &str) -> Self {
        Self { rows: Vec::new(), all, engine: engine.to_owned() }
    }

    pub(super) fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// A row, with the error that it may have.
    pub(super) fn add(&mut self, mut row: Row, outcome: Outcome) {
        if let Outcome::Failed(error) = outcome {
            row.error = Some(error);
        }
        self.rows.push(row);
    }

    fn count(&self, status: &str) -> usize {
        self.rows.iter().filter(|row| row.status == status).count()
    }

    /// How the command ends.
    ///
    /// # Errors
    /// The first error, where nothing at all could be explained.
    pub(super) fn status(&mut self) -> anyhow::Result<ExitStatus> {
        let [done, failed, unsupported] = ["ok", "failed", "unsupported"].map(|status| self.count(status));
        if done == 0
            && let Some(error) = self.rows.iter_mut().find_map(|row| row.error.take())
        {
            return Err(error);
        }
        let well = failed == 0 && done > 0 && (self.all || unsupported == 0);
        Ok(if well { ExitStatus::Ok } else { ExitStatus::Failed })
    }

    /// The rows, and those of tokens where there are any; with less detail for people.
    pub(super) fn tables(&self, people: bool) -> Vec<Table> {
        let words = self.rows.iter().any(|row| row.tokens.is_some());
        // Programs that read one table find it without a name.
        let title = if words { "Explanations" } else { "" };
        let mut tables = vec![self.explanations(title, people)];
        if words {
            tables.push(if people { self.token_columns() } else { self.token_rows() });
        }
        tables
    }

    fn explanations(&self, title: &str, people: bool) -> Table {
        let columns = [
            "sample",
            "method",
            "status",
            "class",
            "position",
            "predicted",
            "cached",
            "seconds",
            "forward_passes",
            "backward_passes",
            "inner_batch",
            "engine",
            "picture",
            "attribution",
            "reason",
        ];
        let mut table = Table::new(title, &columns);
        let truth = |value: bool| if value { "yes" } else { "no" };
        let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
        for row in &self.rows {
            let seconds: Cell = match row.seconds {
                Some(seconds) if people => significant(seconds).into(),
                seconds => seconds.into(),
            };
            table.push([
                row.sample.clone().into(),
                row.method.clone().into(),
                row.status.into(),
                row.target.map(|target| target.class as u64).into(),
                row.target.and_then(|target| target.position).map(|position| position as u64).into(),
                row.target.map(|_| truth(row.predicted)).into(),
                row.cached.map(truth).into(),
                seconds,
                row.passes[0].into(),
                row.passes[1].into(),
                row.inner_batch.map(|rows| rows as u64).into(),
                self.engine.clone().into(),
                path(&row.files.picture).into(),
                path(&row.files.attribution).into(),
                row.reason.clone().into(),
            ]);
        }
        if people {
            table.drop_columns(&["forward_passes", "backward_passes", "inner_batch", "engine", "attribution"]);
            table.drop_empty(&["position", "picture", "reason", "method"]);
        }
        table
    }

    /// One row for each token of each explanation.
    fn token_rows(&self) -> Table {
        let mut table = Table::new("Tokens", &["sample", "method", "position", "token", "attribution"]);
        for row in &self.rows {
            let Some(tokens) = &row.tokens else { continue };
            for (position, (id, value)) in (0_u64..).zip(tokens.ids.iter().zip(&tokens.values)) {
                let (sample, method) = (row.sample.clone(), row.method.clone());
                table.push([sample.into(), method.into(), position.into(), (*id).into(), f64::from(*value).into()]);
            }
        }
        table
    }

    /// One row for each token, one column for each method, to be read side by side.
    fn token_columns(&self) -> Table {
        let explained: Vec<(&Row, &Tokens)> =
            self.rows.iter().filter_map(|row| Some((row, row.tokens.as_ref()?))).collect();
        let mut methods: Vec<&str> = Vec::new();
        for (row, _) in &explained {
            if !methods.contains(&row.method.as_str()) {
                methods.push(&row.method);
            }
        }
        let columns: Vec<&str> = ["sample", "position", "token"].into_iter().chain(methods.iter().copied()).collect();
        let mut table = Table::new("Tokens", &columns);
        let mut samples: Vec<&str> = Vec::new();
        for (row, tokens) in &explained {
            if samples.contains(&row.sample.as_str()) {
                continue;
            }
            samples.push(&row.sample);
            for (position, id) in tokens.ids.iter().enumerate() {
                let value = |method: &&str| -> Cell {
                    let of = explained.iter().find(|(other, _)| other.sample == row.sample && other.method == *method);
                    of.and_then(|(_, tokens)| tokens.values.get(position))
                        .map(|value| significant(f64::from(*value)))
                        .into()
                };
                let first = [row.sample.clone().into(), (position as u64).into(), (*id).into()];
                table.push(first.into_iter().chain(methods.iter().map(value)));
            }
        }
        table
    }
}
