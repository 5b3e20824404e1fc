//! What `benchdb run --mode explanation` is asked, and how its results are summed up.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::commands::CommandError;
use crate::commands::options::parameter;
use crate::domain::Mode;
use crate::engine::plan::ExplanationChoice;
use crate::explain::InnerBatch;

/// The methods that fit.
const ALL: &str = "all";

/// Options of explanations.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Explanations")]
pub(super) struct ExplanationArgs {
    /// With `--mode explanation`: attribution methods, or `all` that fit the model, which is what is taken without; `benchdb
    /// models --methods` lists them
    #[arg(long, value_name = "METHOD", value_delimiter = ',')]
    methods: Vec<String>,
    /// A parameter of the methods; of one of several methods: METHOD.NAME=VALUE
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    parameters: Vec<(String, Value)>,
    /// The class to explain [default: each sample's own answer]
    #[arg(long, value_name = "CLASS")]
    target: Option<usize>,
    /// The most rows of one pass: samples, and the steps, draws or windows that a method makes of them; `auto` finds the
    /// fastest before anything is timed
    #[arg(long, value_name = "ROWS|auto")]
    inner_batch: Option<InnerBatch>,
    /// Workers that share the samples of a batch, on the host's processor
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=4096))]
    workers: Option<u32>,
    /// Measure what each speed feature brings: versions of every method with one of them changed
    #[arg(long)]
    ablation: bool,
}

impl ExplanationArgs {
    /// What is explained, and how.
    ///
    /// # Errors
    /// Options without `--mode explanation`; `all` beside other names.
    pub(super) fn choice(&self, mode: Mode) -> anyhow::Result<ExplanationChoice> {
        let Self { methods, parameters, target, inner_batch, workers, ablation } = self;
        if mode != Mode::Explanation {
            let given = [
                ("--methods", !methods.is_empty()),
                ("--set", !parameters.is_empty()),
                ("--target", target.is_some()),
                ("--inner-batch", inner_batch.is_some()),
                ("--workers", workers.is_some()),
                ("--ablation", *ablation),
            ];
            if let Some((option, _)) = given.into_iter().find(|(_, given)| *given) {
                let message = format!("`{option}` is for explanations, and {mode} is measured");
                return Err(CommandError::new(message, "add `--mode explanation`").into());
            }
        }
        let all = methods.iter().any(|name| name == ALL);
        if all && methods.len() > 1 {
            return Err(CommandError::new("`all` are all methods", "leave out the other names, or `all`").into());
        }
        Ok(ExplanationChoice {
            methods: if all { Vec::new() } else { methods.clone() },
            parameters: parameters.clone(),
            target: *target,
            inner_batch: *inner_batch,
            workers: *workers,
            ablation: *ablation,
        })
    }
}

/// Where `--export-json` writes: in its name, `YYYYMMDD_HHMMSS` stands for the time at which the campaign began, in UTC.
pub(super) fn export_path(pattern: &Path, started_at: &str) -> PathBuf {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let (date, time) = started_at.split_once('T').unwrap_or((started_at, ""));
    let stamp = format!("{}_{}", digits(date), digits(time.get(..8).unwrap_or(time)));
    let name = pattern.file_name().map(|name| name.to_string_lossy().replace("YYYYMMDD_HHMMSS", &stamp));
    name.map_or_else(|| pattern.to_owned(), |name| pattern.with_file_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_export_holds_the_time() {
        let at = |name: &str| export_path(Path::new(name), "2026-11-21T08:09:10.123Z");
        assert_eq!(
            at("x/hardware_benchmark_YYYYMMDD_HHMMSS.json"),
            Path::new("x/hardware_benchmark_20261121_080910.json")
        );
        assert_eq!(at("mine.json"), Path::new("mine.json"));
    }
}
