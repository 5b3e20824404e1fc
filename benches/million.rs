//! The database: insertion of runs in one transaction and one by one, and the answers of `status` and `query` over
//! 100,000 runs.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::time::Duration;

use benchdb::domain::run::{ModelRecord, ModelSource};
use benchdb::domain::{
    Configuration, Device, DeviceKind, Environment, Measurement, Mode, Platform, Precision, RunRecord, RunStatus,
    StopReason, Validity,
};
use benchdb::store::named::NAMED_QUERIES;
use benchdb::store::query::QueryLimits;
use benchdb::store::{Access, Store};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const BATCH: u64 = 10_000;
const LARGE: u64 = 100_000;

/// The `index`-th run of a database of 20 models on 10 devices at 10 batch sizes; numbers vary, none means anything.
fn run(index: u64) -> RunRecord {
    let model = format!("model_{}", index % 20);
    let configuration = Configuration {
        model: model.clone(),
        variant: String::new(),
        platform: Platform::Cpu,
        device: Device {
            kind: DeviceKind::Cpu,
            vendor: "Vendor".into(),
            name: format!("Device {}", index / 20 % 10),
            compute_units: Some(8),
            memory_bytes: None,
            software: false,
        },
        engine: "burn-flex".into(),
        precision: Precision::Fp32,
        mode: Mode::Inference,
        batch_size: 1 << (index / 200 % 10),
        input_shape: "3x224x224".into(),
        threads: 8,
        parameters: Default::default(),
    };
    let mut measurement = Measurement::without_numbers(RunStatus::Ok, String::new(), None);
    measurement.error = None;
    measurement.validity = Validity::Valid;
    measurement.stop_reason = Some(StopReason::Completed);
    measurement.iterations = 50;
    for (offset, name) in [
        "latency_mean_ms",
        "latency_p50_ms",
        "latency_p90_ms",
        "latency_p95_ms",
        "latency_p99_ms",
        "throughput_samples_per_second",
        "startup_ms",
        "first_inference_ms",
        "memory_host_peak_mb",
        "success_rate",
    ]
    .into_iter()
    .enumerate()
    {
        measurement
            .metrics
            .set(name, if name == "success_rate" { 1.0 } else { (index % 977 + offset as u64) as f64 + 0.5 });
    }
    RunRecord {
        uuid: uuid::Uuid::now_v7().to_string(),
        campaign: None,
        model: ModelRecord {
            name: model,
            family: None,
            category: None,
            task: None,
            source: ModelSource::Imported,
            parameter_count: None,
            multiply_adds: None,
            activation_count: None,
        },
        configuration,
        environment: Environment { host: Some("host".into()), ..Environment::default() },
        artifact: None,
        weight_seed: Some(0),
        repetition: 1,
        started_at: Some(format!("2026-11-{:02}T{:02}:00:00.000Z", index % 28 + 1, index % 24)),
        duration_s: Some(2.0),
        measurement,
    }
}

fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("bench.sqlite"), Access::Create).unwrap();
    (folder, store)
}

fn insertion(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("10000_runs_in_one_transaction", |bencher| {
        bencher.iter_batched_ref(
            || (new_store(), (0..BATCH).map(run).collect::<Vec<_>>()),
            |((_, store), runs)| store.insert_runs(runs.iter()).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.throughput(Throughput::Elements(1));
    group.bench_function("one_durable_run", |bencher| {
        let (_folder, mut store) = new_store();
        let mut index = 0;
        bencher.iter_batched(
            || {
                index += 1;
                run(index)
            },
            |record| store.insert_run(&record).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let (_folder, mut store) = new_store();
    store.insert_runs((0..LARGE).map(run).collect::<Vec<_>>().iter()).unwrap();
    let mut group = criterion.benchmark_group("100000_runs");
    group.sample_size(10);
    group.bench_function("status_summary_and_coverage", |bencher| {
        bencher.iter(|| (store.summary().unwrap(), store.list_coverage().unwrap()));
    });
    let limits = QueryLimits { time: Duration::from_secs(60), rows: Some(10_000) };
    let ad_hoc = [
        ("ordered_top_20", "SELECT model, device, throughput_samples_per_second FROM results ORDER BY 3 DESC LIMIT 20"),
        ("filtered_by_model", "SELECT run_id, latency_p50_ms FROM results WHERE model = 'model_7' AND batch_size = 8"),
        ("count_by_model", "SELECT model, count(*), avg(latency_p50_ms) FROM results GROUP BY model"),
    ];
    for (name, sql) in ad_hoc {
        group
            .bench_function(format!("query/{name}"), |bencher| bencher.iter(|| store.query(sql, &[], limits).unwrap()));
    }
    for named in NAMED_QUERIES {
        let parameters = [("model".to_owned(), "model_7".to_owned())];
        let parameters: &[_] = if named.sql.contains(":model") { &parameters } else { &[] };
        group.bench_function(format!("named/{}", named.name), |bencher| {
            bencher.iter(|| store.query(named.sql, parameters, limits).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, insertion, answers);
criterion_main!(benches);
