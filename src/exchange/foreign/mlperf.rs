//! LoadGen's `mlperf_log_summary.txt` of MLPerf inference: `key : value` lines, times in nanoseconds.
//!
//! The summary does not say the model, the hardware, the software or the precision. The model is the folder before that
//! of the scenario, as submissions lay them out (`resnet50/Offline/performance/run_1`); the rest is the user's to say.
//! A result that LoadGen calls INVALID is refused with what was not satisfied: its rules are not benchdb's, and no
//! validity of benchdb says the same. The latency of an offline query is the wait for all of its samples and is no
//! batch's, so offline results give a throughput alone.

use std::io::BufRead;
use std::path::Path;

use super::draft::{Draft, Part, item};
use super::json;
use crate::domain::{Mode, RunRecord};
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// The engine where the user does not name it.
const ENGINE: &str = "mlperf";

/// Reads MLPerf inference summaries.
#[derive(Clone, Debug, Default)]
pub struct MlperfInference {
    map: ColumnMap,
}

impl MlperfInference {
    /// An importer that takes the user's word where the file is silent.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

impl<E: From<ExchangeError>> Importer<E> for MlperfInference {
    fn format(&self) -> &'static str {
        "mlperf-inference"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        let text = head.text();
        text.contains("MLPerf Results Summary") && Summary(&text).value("Scenario").is_some()
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = json::text(path, content)?;
        let line = text.lines().position(|line| line.contains("MLPerf Results Summary")).unwrap_or(0) as u64 + 1;
        sink(item(line, self.run(path, &Summary(&text))))?;
        let unsaid = (!self.map.sets(Part::Engine)).then(|| {
            format!("the summary does not name the software; its engine is `{ENGINE}` (`--map engine==NAME`)")
        });
        Ok(unsaid.into_iter().collect())
    }
}

/// The lines of a summary.
struct Summary<'t>(&'t str);

impl<'t> Summary<'t> {
    /// What stands behind a key.
    fn value(&self, key: &str) -> Option<&'t str> {
        self.0.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key && !value.trim().is_empty()).then(|| value.trim())
        })
    }

    fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let number = |text: &str| text.parse().ok().filter(|value: &f64| value.is_finite() && *value >= 0.0);
        self.value(key)
            .map(|text| number(text).ok_or_else(|| format!("`{key}` is `{text}`, not a number that was measured")))
            .transpose()
    }

    /// The conditions that were not satisfied, and what LoadGen recommends.
    fn complaints(&self) -> String {
        let unsatisfied = self.0.lines().filter(|line| {
            line.split_once(':').is_some_and(|(name, value)| {
                name.trim_end().ends_with("satisfied") && value.trim().eq_ignore_ascii_case("no")
            })
        });
        let advice = self.0.lines().filter(|line| line.trim_start().starts_with("* "));
        let all: Vec<&str> = unsatisfied.chain(advice).map(str::trim).collect();
        if all.is_empty() { "it does not say why".to_owned() } else { all.join("; ") }
    }
}

impl MlperfInference {
    fn run(&self, path: &str, summary: &Summary<'_>) -> Result<RunRecord, String> {
        let mode = summary.value("Mode").unwrap_or_default();
        if mode != "PerformanceOnly" {
            return Err(format!("the mode is `{mode}`: performance is measured in `PerformanceOnly` alone"));
        }
        match summary.value("Result is") {
            Some("VALID") => {}
            Some(_) => return Err(format!("LoadGen calls the result INVALID: {}", summary.complaints())),
            None => return Err("it does not say whether the result is valid: the log ends too early".to_owned()),
        }
        let scenario = summary.value("Scenario").unwrap_or_default();
        let mut draft = Draft {
            model: model_of(path, scenario).unwrap_or_default(),
            engine: ENGINE.to_owned(),
            mode: Some(Mode::Inference),
            // How many samples the system takes at once is its own affair, but for these.
            batch_size: match scenario {
                "SingleStream" => Some(1),
                "MultiStream" => summary.number("samples_per_query")?.map(|samples| samples as u32),
                _ => None,
            },
            ..Draft::default()
        };
        draft.parameters.insert("scenario".to_owned(), scenario.into());
        if scenario == "Server"
            && let Some(rate) = summary.number("target_qps")?
        {
            draft.parameters.insert("target_qps".to_owned(), rate.into());
        }
        if scenario != "Offline" {
            for (key, metric) in [
                ("Mean latency (ns)", "latency_mean_ms"),
                ("Min latency (ns)", "latency_min_ms"),
                ("Max latency (ns)", "latency_max_ms"),
                ("50.00 percentile latency (ns)", "latency_p50_ms"),
                ("90.00 percentile latency (ns)", "latency_p90_ms"),
                ("95.00 percentile latency (ns)", "latency_p95_ms"),
                ("99.00 percentile latency (ns)", "latency_p99_ms"),
                ("99.90 percentile latency (ns)", "latency_p999_ms"),
                ("Mean First Token latency (ns)", "time_to_first_token_ms"),
                ("Mean Time per Output Token (ns)", "time_per_output_token_ms"),
            ] {
                if let Some(nanoseconds) = summary.number(key)? {
                    draft.measured(metric, nanoseconds / 1e6)?;
                }
            }
        }
        // A query of MultiStream has several samples: its rate is not theirs.
        let queries = if scenario == "SingleStream" { "QPS w/ loadgen overhead" } else { "Samples per second" };
        for key in ["Samples per second", "Completed samples per second", queries] {
            if let Some(rate) = summary.number(key)? {
                draft.measured("throughput_samples_per_second", rate)?;
                break;
            }
        }
        for key in ["Tokens per second", "Completed tokens per second"] {
            if let Some(rate) = summary.number(key)? {
                draft.measured("throughput_tokens_per_second", rate)?;
                break;
            }
        }
        draft.finish(&self.map)
    }
}

/// The folder before that of the scenario.
fn model_of(path: &str, scenario: &str) -> Option<String> {
    let folders: Vec<String> = Path::new(path).iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
    let at = folders.iter().rposition(|folder| folder.eq_ignore_ascii_case(scenario))?;
    let model = folders.get(at.checked_sub(1)?)?;
    (model.starts_with(|first: char| first.is_alphanumeric())).then(|| model.clone())
}
