//! A database of a million runs: filling it, importing it as CSV, and every answer that people wait for. Everything is
//! the made-up database of `generated/mod.rs`; `BENCHDB_RUNS=100000` makes a smaller one.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use benchdb::domain::{ImportItem, RunRecord};
use benchdb::exchange::{Content, ExchangeError, Exporter as _, Importer, OwnCsv};
use benchdb::store::imports::ImportSource;
use benchdb::store::named::NAMED_QUERIES;
use benchdb::store::query::QueryLimits;
use benchdb::store::{Access, Store, StoreError};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use generated::Generated;

mod generated;

/// Runs that are made at a time, outside the clock.
const PORTION: u64 = 5_000;

/// Rows that the reading thread hands over at a time, and portions that wait.
const ROWS: usize = 500;
const WAITING: usize = 8;

fn runs() -> u64 {
    std::env::var("BENCHDB_RUNS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

/// An error of either layer.
#[derive(Debug)]
struct Failed;

impl From<StoreError> for Failed {
    fn from(_: StoreError) -> Self {
        Self
    }
}

impl From<ExchangeError> for Failed {
    fn from(_: ExchangeError) -> Self {
        Self
    }
}

fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(&folder.path().join("bench.sqlite"), Access::Create).unwrap();
    (folder, store)
}

/// All runs into a new database, in one transaction; the time that it took without making the runs.
fn insert(generated: &Generated) -> Duration {
    let (_folder, mut store) = new_store();
    let (mut next, mut making) = (0, Duration::ZERO);
    let mut ready: Vec<RunRecord> = Vec::new();
    let begun = Instant::now();
    store
        .insert_runs(std::iter::from_fn(|| {
            if ready.is_empty() {
                let begun = Instant::now();
                let end = (next + PORTION).min(runs());
                ready = (next..end).rev().map(|index| generated.run(index)).collect();
                next = end;
                making += begun.elapsed();
            }
            ready.pop()
        }))
        .unwrap();
    begun.elapsed() - making
}

/// A CSV file into a new database: one thread reads it, another writes.
fn import(store: &mut Store, csv: &[u8]) {
    let source = ImportSource { path: "x.csv".into(), format: "csv".into(), content_sha256: "0".repeat(64) };
    let (sender, receiver) = sync_channel::<Vec<ImportItem>>(WAITING);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut rows = Vec::with_capacity(ROWS);
            let content = Content { path: "x.csv", bytes: csv };
            Importer::<Failed>::read(&OwnCsv, content, &mut |item| {
                rows.push(item);
                if rows.len() == ROWS {
                    sender.send(std::mem::replace(&mut rows, Vec::with_capacity(ROWS))).unwrap();
                }
                Ok(())
            })
            .unwrap();
            sender.send(rows).unwrap();
        });
        store
            .import_runs::<Failed>(&source, true, |sink| receiver.into_iter().flatten().try_for_each(&mut *sink))
            .unwrap();
    });
}

fn filling(criterion: &mut Criterion) {
    let generated = Generated::new(runs());
    let mut group = criterion.benchmark_group("fill");
    group.sample_size(10);
    group.throughput(Throughput::Elements(runs()));
    group.bench_function("insert_in_one_transaction", |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| insert(&generated)).sum());
    });
    let mut csv = Vec::new();
    OwnCsv.begin(&mut csv).unwrap();
    for (index, run) in generated.runs().enumerate() {
        OwnCsv.write(&mut csv, index as i64 + 1, &run).unwrap();
    }
    OwnCsv.end(&mut csv).unwrap();
    group.bench_function("import_csv", |bencher| {
        bencher.iter_batched_ref(new_store, |(_, store)| import(store, &csv), BatchSize::PerIteration);
    });
    group.finish();
}

fn answers(criterion: &mut Criterion) {
    let (_folder, mut store) = new_store();
    store.insert_runs(Generated::new(runs()).runs()).unwrap();
    let mut group = criterion.benchmark_group("answer");
    group.sample_size(10);
    let limits = QueryLimits { time: Duration::from_secs(60), rows: Some(10_000) };
    group.bench_function("status", |bencher| {
        let newest = NAMED_QUERIES.iter().find(|query| query.name == "newest").unwrap();
        bencher.iter(|| {
            store.summary().unwrap();
            store.list_coverage().unwrap();
            store.list_campaigns(5).unwrap();
            store.query(newest.sql, &[], limits).unwrap()
        });
    });
    for named in NAMED_QUERIES {
        let parameters = [("model".to_owned(), "model_00".to_owned())];
        let parameters: &[_] = if named.sql.contains(":model") { &parameters } else { &[] };
        group.bench_function(format!("named/{}", named.name), |bencher| {
            bencher.iter(|| store.query(named.sql, parameters, limits).unwrap());
        });
    }
    group.bench_function("check", |bencher| bencher.iter(|| store.check().unwrap()));
    group.finish();
}

criterion_group!(benches, filling, answers);
criterion_main!(benches);
