//! Criterion's `target/criterion/.../new/estimates.json`: the estimates of one benchmark, in nanoseconds.
//!
//! The file does not name its benchmark, its path does: what stands between `criterion` and `new` (or the name of a
//! saved baseline). The samples lie in another file and are not read, so the number of iterations is unknown.
//! `change/estimates.json` holds ratios, no times, and is refused. Criterion measures on the host.

use std::io::BufRead;
use std::path::{Component, Path};

use serde_json::Value;

use super::draft::{Draft, Part, host_note, item};
use super::json;
use crate::domain::RunRecord;
use crate::exchange::{ColumnMap, ExchangeError, Head, Importer, Sink};

/// Reads Criterion's estimates.
#[derive(Clone, Debug, Default)]
pub struct Criterion {
    map: ColumnMap,
}

impl Criterion {
    /// An importer that takes the user's word where the file is silent.
    pub fn new(map: ColumnMap) -> Self {
        Self { map }
    }
}

impl<E: From<ExchangeError>> Importer<E> for Criterion {
    fn format(&self) -> &'static str {
        "criterion"
    }

    fn recognises(&self, head: &Head<'_>) -> bool {
        let outline = head.outline();
        outline.first == b'{' && outline.has_all(1, &["mean", "median"]) && outline.has(2, "point_estimate")
    }

    fn read(&self, path: &str, content: &mut dyn BufRead, sink: &mut Sink<'_, E>) -> Result<Vec<String>, E> {
        let text = json::text(path, content)?;
        let estimates: Value = json::document(path, &text)?;
        sink(item(1, self.run(path, &estimates)))?;
        Ok(host_note("Criterion", &self.map).into_iter().collect())
    }
}

impl Criterion {
    fn run(&self, path: &str, estimates: &Value) -> Result<RunRecord, String> {
        let folders = folders(path);
        if folders.last().is_some_and(|folder| folder == "change") || estimates.get("std_dev").is_none() {
            return Err("it holds changes, no times; import the `estimates.json` of the folder `new`".to_owned());
        }
        let name = benchmark(&folders).unwrap_or_default();
        if name.is_empty() && !self.map.sets(Part::Model) {
            return Err("its path does not name the benchmark as `target/criterion/NAME/new/estimates.json` does; \
                        `--map model==NAME` does"
                .to_owned());
        }
        let mut draft = Draft { model: name, ..Draft::of_host("criterion") };
        for (key, metric) in [("mean", "latency_mean_ms"), ("median", "latency_p50_ms"), ("std_dev", "latency_std_ms")]
        {
            if let Some(nanoseconds) = json::number(estimates, &[key, "point_estimate"]) {
                draft.measured(metric, nanoseconds / 1e6)?;
            }
        }
        draft.finish(&self.map)
    }
}

fn folders(path: &str) -> Vec<String> {
    let names = Path::new(path).parent().into_iter().flat_map(Path::components);
    names
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
            _ => None,
        })
        .collect()
}

/// The folders between `criterion` and the last one; without `criterion`, the one before `new` or `base`.
fn benchmark(folders: &[String]) -> Option<String> {
    let (last, before) = folders.split_last()?;
    match before.iter().rposition(|folder| folder == "criterion") {
        Some(at) => Some(before[at + 1..].join("/")),
        None if matches!(last.as_str(), "new" | "base") => before.last().cloned(),
        None => None,
    }
}
