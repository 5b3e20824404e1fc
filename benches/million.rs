//! A database of a million runs: filling it, importing it as CSV, and every answer that people wait for. Everything is
//! the made-up database of `generated/mod.rs`; `BENCHDB_RUNS=100000` makes a smaller one.

#![allow(missing_docs, reason = "criterion's macros make public functions")]
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::time::{Duration, Instant};

use benchdb::analysis::compare::{Reference, SAME_WORK, compare, overall};
use benchdb::analysis::facts::{Facts, facts_of, metrics_of_facts};
use benchdb::analysis::recommend::{Candidate, Constraints, Objective, recommend};
use benchdb::domain::RunRecord;
use benchdb::exchange::{ColumnMap, ExchangeError, Exporter as _, Head, OwnCsv, read_ahead};
use benchdb::store::imports::ImportSource;
use benchdb::store::list::Selection;
use benchdb::store::named::NAMED_QUERIES;
use benchdb::store::query::QueryLimits;
use benchdb::store::{Access, Store, StoreError};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use generated::Generated;

mod generated;

/// Runs that are made at a time, outside the clock.
const PORTION: u64 = 5_000;

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
    store
        .import_runs::<Failed>(&source, true, |sink| {
            read_ahead(&Head::new("x.csv", csv), &mut &*csv, &ColumnMap::default(), sink).map(drop)
        })
        .unwrap();
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

fn facts(store: &Store, selection: &Selection) -> Vec<Facts> {
    let mut facts = Vec::new();
    store
        .for_each_series(selection, &metrics_of_facts(), |series| {
            facts.extend(facts_of(&series));
            Ok::<_, StoreError>(())
        })
        .unwrap();
    facts
}

/// What `benchdb analyze` computes.
fn analyze(store: &Store, selection: &Selection) -> usize {
    let facts = facts(store, selection);
    let compared = compare(&facts, &Reference::default(), &SAME_WORK);
    overall(&facts, &compared, &SAME_WORK, &Default::default()).len()
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
    for (name, models) in [("one_model", vec!["model_07".to_owned()]), ("everything", Vec::new())] {
        let selection = Selection { models, ..Selection::default() };
        group.bench_function(format!("analyze/{name}"), |bencher| bencher.iter(|| analyze(&store, &selection)));
        group.bench_function(format!("recommend/{name}"), |bencher| {
            bencher.iter(|| {
                let facts = facts(&store, &selection);
                let candidates: Vec<Candidate> = facts.iter().map(|facts| Candidate::measured(facts, &[])).collect();
                recommend(&candidates, Objective::Throughput, &Constraints::default())
            });
        });
    }
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
