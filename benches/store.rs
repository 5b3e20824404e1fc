//! The database: insertion of runs in one transaction and one by one, and the answers of `status` and `query` over
//! 100,000 runs.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::time::Duration;

use benchdb::store::named::NAMED_QUERIES;
use benchdb::store::query::QueryLimits;
use benchdb::store::{Access, Store};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use generated::Generated;

mod generated;

const BATCH: u64 = 10_000;
const LARGE: u64 = 100_000;

fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("bench.sqlite"), Access::Create).unwrap();
    (folder, store)
}

fn insertion(criterion: &mut Criterion) {
    let generated = Generated::new(BATCH);
    let mut group = criterion.benchmark_group("insert");
    group.sample_size(10);
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("10000_runs_in_one_transaction", |bencher| {
        bencher.iter_batched_ref(
            || (new_store(), generated.runs().collect::<Vec<_>>()),
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
                generated.run(index)
            },
            |record| store.insert_run(&record).unwrap(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let (_folder, mut store) = new_store();
    store.insert_runs(Generated::new(LARGE).runs()).unwrap();
    let mut group = criterion.benchmark_group("100000_runs");
    group.sample_size(10);
    group.bench_function("status_summary_and_coverage", |bencher| {
        bencher.iter(|| (store.summary().unwrap(), store.list_coverage().unwrap()));
    });
    let limits = QueryLimits { time: Duration::from_secs(60), rows: Some(10_000) };
    let ad_hoc = [
        ("ordered_top_20", "SELECT model, device, throughput_samples_per_second FROM results ORDER BY 3 DESC LIMIT 20"),
        ("filtered_by_model", "SELECT run_id, latency_p50_ms FROM results WHERE model = 'model_07' AND batch_size = 8"),
        ("count_by_model", "SELECT model, count(*), avg(latency_p50_ms) FROM results GROUP BY model"),
    ];
    for (name, sql) in ad_hoc {
        group
            .bench_function(format!("query/{name}"), |bencher| bencher.iter(|| store.query(sql, &[], limits).unwrap()));
    }
    for named in NAMED_QUERIES {
        let parameters = [("model".to_owned(), "model_07".to_owned())];
        let parameters: &[_] = if named.sql.contains(":model") { &parameters } else { &[] };
        group.bench_function(format!("named/{}", named.name), |bencher| {
            bencher.iter(|| store.query(named.sql, parameters, limits).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, insertion, answers);
criterion_main!(benches);
