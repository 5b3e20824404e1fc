//! The main job of benchdb from Rust: plan runs, measure each in a worker process, store them, read them back.
//!
//! `cargo run --release --example measure -- [DATABASE]`

#![allow(clippy::print_stdout, reason = "a program speaks")]

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use benchdb::engine::plan::{HardwareChoice, ModelChoice, NamedModel, PlanRequest, plan};
use benchdb::engine::{Runner, record, worker};
use benchdb::hardware::capture_environment;
use benchdb::store::list::{Detail, Selection};
use benchdb::store::{Access, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The runner starts this very program again for each run; then it is a worker and nothing else.
    if worker::serve_if_asked()? {
        return Ok(());
    }
    let database = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("example.sqlite"), PathBuf::from);
    let request = PlanRequest {
        models: ModelChoice::Named(vec![NamedModel::plain("cifar_cnn")]),
        hardware: vec![HardwareChoice::Auto],
        batch_sizes: vec![1, 8],
        ..PlanRequest::default()
    };
    let runner = Runner::for_this_program()?;
    let (mut store, _) = Store::open(&database, Access::Create)?;
    let environment = capture_environment(&std::env::current_dir()?);
    for planned in plan(&request, &runner)?.runs {
        let measurement = runner.measure(&planned, None, &AtomicBool::new(false), &mut |_| {});
        store.insert_run(&record(&planned, &environment, measurement))?;
    }
    for (id, run) in store.list_runs(&Selection::default(), Detail::Row)? {
        let median = run.measurement.metrics.get("latency_p50_ms");
        println!("run {id}: batch {}, {}: median {median:?} ms", run.configuration.batch_size, run.measurement.status);
    }
    Ok(())
}
