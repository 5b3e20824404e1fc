//! The named queries: the statements of `queries/`, each of which opens with the question that it answers.

/// A statement with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedQuery {
    /// Its name: the file's, without `.sql`.
    pub name: &'static str,
    /// The statement, its question in the first lines.
    pub sql: &'static str,
}

macro_rules! named_queries {
    ($($name:literal),+ $(,)?) => {
        /// All of them, in alphabetical order.
        pub const NAMED_QUERIES: &[NamedQuery] = &[
            $(NamedQuery { name: $name, sql: include_str!(concat!("../../queries/", $name, ".sql")) }),+
        ];
    };
}

named_queries![
    "batch_scaling",
    "coverage",
    "coverage_gaps",
    "energy_per_sample",
    "environments",
    "failures",
    "history",
    "leaderboard",
    "newest",
    "precision_effect",
    "slowest_startup",
    "speedup_matrix",
    "training_phases",
];

impl NamedQuery {
    /// The question in the comment that opens the file.
    pub fn question(&self) -> String {
        self.sql.lines().map_while(|line| line.strip_prefix("--")).map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

/// The named query of that name; `-` and `_` are the same.
pub fn find_named(name: &str) -> Option<&'static NamedQuery> {
    let wanted = crate::domain::names::folded(name);
    NAMED_QUERIES.iter().find(|query| crate::domain::names::folded(query.name) == wanted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::super::Store;
    use super::super::query::QueryLimits;
    use super::super::samples::{broken, new_store, of_model, on_gpu, run, with};
    use super::*;
    use crate::domain::{Cell, Precision, RunRecord, RunStatus, Validity};

    #[test]
    fn every_file_of_the_folder_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/queries");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let listed = NAMED_QUERIES.iter().map(|query| query.name.to_owned()).collect();
        assert_eq!(files, listed);
    }

    #[test]
    fn every_query_opens_with_its_question() {
        for query in NAMED_QUERIES {
            assert!(query.question().contains('?'), "{} asks nothing", query.name);
        }
    }

    const LIMITS: QueryLimits = QueryLimits { time: Duration::from_secs(10), rows: None };

    /// The columns that a test looks at of what a named query answers, as text.
    fn answer(store: &mut Store, name: &str, columns: &[&str]) -> Vec<String> {
        let table = store.query(find_named(name).unwrap().sql, &[], LIMITS).unwrap().table;
        let places: Vec<usize> =
            columns.iter().map(|wanted| table.columns.iter().position(|column| column == wanted).unwrap()).collect();
        let text = |cell: &Cell| match cell {
            Cell::Null => "-".to_owned(),
            Cell::Integer(number) => number.to_string(),
            Cell::Real(number) => number.to_string(),
            Cell::Text(text) => text.clone(),
        };
        table
            .rows
            .iter()
            .map(|row| places.iter().map(|place| text(&row[*place])).collect::<Vec<_>>().join(" "))
            .collect()
    }

    fn throughput(run: RunRecord, value: f64) -> RunRecord {
        with(run, &[("throughput_samples_per_second", value)])
    }

    fn by(mut run: RunRecord, engine: &str, precision: Precision) -> RunRecord {
        engine.clone_into(&mut run.configuration.engine);
        run.configuration.precision = precision;
        run
    }

    #[test]
    fn every_query_answers_an_empty_and_a_filled_database() {
        let (_folder, mut store) = new_store();
        for filled in [false, true] {
            if filled {
                store.insert_runs([run(1), broken(on_gpu(run(2)), RunStatus::Failed)].iter()).unwrap();
            }
            for query in NAMED_QUERIES {
                let answer =
                    store.query(query.sql, &[], LIMITS).unwrap_or_else(|error| panic!("{}: {error}", query.name));
                assert!(filled || answer.table.rows.is_empty(), "{}", query.name);
            }
        }
    }

    #[test]
    fn history_is_of_one_model_or_of_all() {
        let (_folder, mut store) = new_store();
        store.insert_runs([run(2), of_model(run(3), "gpt2"), run(1)].iter()).unwrap();
        assert_eq!(answer(&mut store, "history", &["model", "run_id"]), ["gpt2 2", "resnet18 3", "resnet18 1"]);
        let history = find_named("history").unwrap().sql;
        let of = |store: &mut Store, model: &str| {
            store.query(history, &[("model".into(), model.into())], LIMITS).unwrap().table.rows.len()
        };
        assert_eq!(of(&mut store, "resnet18"), 2);
        assert_eq!(of(&mut store, "gpt3"), 0);
    }

    #[test]
    fn speedup_is_against_the_fastest_fp32_run_on_a_cpu() {
        let (_folder, mut store) = new_store();
        let mut elsewhere = throughput(on_gpu(run(6)), 900.0);
        elsewhere.configuration.batch_size = 8;
        let mut pretended = throughput(on_gpu(run(7)), 5.0);
        pretended.configuration.device.software = true;
        store
            .insert_runs(
                [
                    throughput(run(1), 100.0),
                    throughput(by(run(2), "onnxruntime", Precision::Fp32), 125.0),
                    // Faster, but there is an fp32 run.
                    throughput(by(run(3), "onnxruntime", Precision::Int8), 250.0),
                    throughput(on_gpu(run(4)), 1000.0),
                    throughput(on_gpu(of_model(run(5), "gpt2")), 10.0),
                    elsewhere,
                    pretended,
                    // No fp32 run on a CPU: int8 is what there is.
                    throughput(of_model(by(run(8), "onnxruntime", Precision::Int8), "vit_b_16"), 20.0),
                    throughput(of_model(on_gpu(run(9)), "vit_b_16"), 50.0),
                ]
                .iter(),
            )
            .unwrap();
        assert_eq!(
            answer(
                &mut store,
                "speedup_matrix",
                &["model", "engine", "precision", "speedup", "cpu_engine", "cpu_precision"]
            ),
            [
                "resnet18 burn-cuda fp32 8 onnxruntime fp32",
                "resnet18 onnxruntime int8 2 onnxruntime fp32",
                "resnet18 onnxruntime fp32 1 onnxruntime fp32",
                "resnet18 burn-flex fp32 0.8 onnxruntime fp32",
                "vit_b_16 burn-cuda fp32 2.5 onnxruntime int8",
                "vit_b_16 onnxruntime int8 1 onnxruntime int8",
            ]
        );
    }

    #[test]
    fn a_profile_stands_in_no_answer_that_compares() {
        let (_folder, mut store) = new_store();
        let mut profile = throughput(run(2), 500.0);
        profile.configuration.parameters.insert("profile".into(), "operators".into());
        let runs = [throughput(run(1), 100.0), profile, throughput(on_gpu(run(3)), 1000.0)];
        store.insert_runs(runs.iter()).unwrap();
        assert_eq!(
            answer(&mut store, "speedup_matrix", &["engine", "speedup", "run_id"]),
            ["burn-cuda 10 3", "burn-flex 1 1"]
        );
        assert_eq!(answer(&mut store, "leaderboard", &["place", "run_id"]), ["1 3", "2 1"]);
        assert_eq!(answer(&mut store, "history", &["run_id"]), ["3", "1"]);
        assert_eq!(answer(&mut store, "coverage", &["platform", "runs"]), ["cpu 1", "cuda 1"]);
        assert_eq!(answer(&mut store, "batch_scaling", &["engine"]), ["burn-cuda", "burn-flex"]);
        // What was done is told, with what it is.
        assert_eq!(
            answer(&mut store, "newest", &["run_id", "parameters"]),
            ["3 {}", r#"2 {"profile":"operators"}"#, "1 {}"]
        );
    }

    #[test]
    fn a_precision_is_compared_with_fp32_of_the_same_work() {
        let (_folder, mut store) = new_store();
        let base = [("latency_p50_ms", 10.0), ("memory_device_peak_mb", 400.0), ("model_size_mb", 100.0)];
        let half = [
            ("throughput_samples_per_second", 180.0),
            ("latency_p50_ms", 5.0),
            ("memory_device_peak_mb", 300.0),
            ("model_size_mb", 50.0),
            ("fidelity_relative_error", 0.001),
        ];
        let mut other_batch = with(by(on_gpu(run(4)), "burn-cuda", Precision::Fp16), &half);
        other_batch.configuration.batch_size = 8;
        store
            .insert_runs(
                [
                    with(on_gpu(run(1)), &base),
                    with(by(on_gpu(run(2)), "burn-cuda", Precision::Fp16), &half),
                    // Without an fp32 run of the same engine, and at another batch size: nothing to compare with.
                    with(by(on_gpu(run(3)), "pytorch", Precision::Amp), &half),
                    other_batch,
                ]
                .iter(),
            )
            .unwrap();
        let columns = [
            "precision",
            "speedup",
            "latency_ratio",
            "memory_ratio",
            "size_ratio",
            "energy_ratio",
            "fidelity_relative_error",
        ];
        assert_eq!(answer(&mut store, "precision_effect", &columns), ["fp16 1.8 0.5 0.75 0.5 - 0.001"]);
    }

    #[test]
    fn energy_is_ranked_within_a_model() {
        let (_folder, mut store) = new_store();
        store
            .insert_runs(
                [
                    with(run(1), &[("energy_per_sample_j", 0.5), ("power_mean_w", 50.0)]),
                    with(on_gpu(run(2)), &[("energy_per_sample_j", 0.2), ("power_mean_w", 200.0)]),
                    with(of_model(run(3), "gpt2"), &[("energy_per_sample_j", 4.0)]),
                    // Its energy was not measured.
                    of_model(on_gpu(run(4)), "gpt2"),
                ]
                .iter(),
            )
            .unwrap();
        assert_eq!(
            answer(&mut store, "energy_per_sample", &["model", "place", "device", "samples_per_joule", "power_mean_w"]),
            ["gpt2 1 Processor 0.25 -", "resnet18 1 Graphics 5 200", "resnet18 2 Processor 2 50"]
        );
    }

    #[test]
    fn a_gap_is_what_other_models_have() {
        let (_folder, mut store) = new_store();
        store
            .insert_runs(
                [
                    run(1),
                    of_model(run(2), "gpt2"),
                    on_gpu(run(3)),
                    by(on_gpu(run(4)), "pytorch", Precision::Fp16),
                    // Tried in vain.
                    broken(of_model(on_gpu(run(5)), "gpt2"), RunStatus::Failed),
                    broken(of_model(on_gpu(run(6)), "gpt2"), RunStatus::Unsupported),
                    // Nobody ever succeeded: no gap of anybody.
                    broken(by(run(7), "burn-flex", Precision::Int8), RunStatus::Unsupported),
                ]
                .iter(),
            )
            .unwrap();
        let columns = ["model", "platform", "precision", "models_measured", "attempts", "unsupported"];
        assert_eq!(answer(&mut store, "coverage_gaps", &columns), ["gpt2 cuda fp16 1 0 0", "gpt2 cuda fp32 1 2 1"]);
    }

    #[test]
    fn coverage_and_environments_count_runs() {
        let (_folder, mut store) = new_store();
        let mut elsewhere = run(3);
        elsewhere.environment.host = Some("elsewhere".into());
        let mut few = run(4);
        few.measurement.validity = Validity::TooFewSamples;
        store.insert_runs([run(1), run(2), elsewhere, few, broken(run(5), RunStatus::Failed)].iter()).unwrap();
        let columns = ["model", "platform", "runs", "ok", "not_valid", "not_ok"];
        assert_eq!(answer(&mut store, "coverage", &columns), ["resnet18 cpu 5 4 1 1"]);
        assert_eq!(
            answer(&mut store, "environments", &["host", "runs", "first_run", "last_run"]),
            [
                "host 4 2026-11-21T08:00:01.000Z 2026-11-21T08:00:05.000Z",
                "elsewhere 1 2026-11-21T08:00:03.000Z 2026-11-21T08:00:03.000Z",
            ]
        );
    }
}
