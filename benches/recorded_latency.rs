//! Is what benchdb records what a bare loop over Burn measures? Pairs of processes in turns, in alternating order: one
//! measured by the runner, one that only loads ResNet-50 and times forward passes. Prints every pair, and the ratio of
//! the medians with its interval.
//!
//! `cargo bench --bench recorded_latency -- [PAIRS] [MODEL]`

#![allow(clippy::print_stdout, reason = "a bench speaks")]

use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use benchdb::domain::Platform;
use benchdb::engine::plan::{HardwareChoice, ModelChoice, NamedModel, PlanRequest, plan};
use benchdb::engine::{Runner, worker};
use benchdb::stats::{median, median_interval, sorted};
use benchdb::zoo::{Batch, WeightSource, find, host_inputs};
use burn::tensor::Device;

const BARE: &str = "__bare";
const ITERATIONS: usize = 30;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if worker::serve_if_asked()? {
        return Ok(());
    }
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [word, model] = arguments.as_slice()
        && word == BARE
    {
        println!("{}", bare(model)?);
        return Ok(());
    }
    let pairs = arguments.first().map_or(Ok(20), |text| text.parse())?;
    let model = arguments.get(1).map_or("resnet50", String::as_str);
    let mut ratios = Vec::new();
    for pair in 0..pairs {
        let (recorded_ms, bare_ms) = if pair % 2 == 0 {
            let recorded_ms = recorded(model)?;
            (recorded_ms, run_bare(model)?)
        } else {
            let bare_ms = run_bare(model)?;
            (recorded(model)?, bare_ms)
        };
        println!("pair {:2}: recorded {recorded_ms:8.2} ms, bare {bare_ms:8.2} ms", pair + 1);
        ratios.push(recorded_ms / bare_ms);
    }
    let ascending = sorted(&ratios);
    let centre = median(&ratios).ok_or("no pairs")?;
    match median_interval(&ascending, 0.95) {
        Some((low, high)) => println!("recorded / bare: median {centre:.4}, 95 % interval {low:.4} to {high:.4}"),
        None => println!("recorded / bare: median {centre:.4}; too few pairs for an interval"),
    }
    Ok(())
}

fn recorded(model: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let mut request = PlanRequest {
        models: ModelChoice::Named(vec![NamedModel::plain(model)]),
        hardware: vec![HardwareChoice::Platform(Platform::Cpu)],
        ..PlanRequest::default()
    };
    request.sampling.min_iterations = ITERATIONS as u32;
    request.sampling.min_time = Duration::ZERO;
    let runner = Runner::for_this_program()?;
    let planned = plan(&request, &runner)?.runs.pop().ok_or("nothing to run")?;
    let measured = runner.measure(&planned, None, &AtomicBool::new(false), &mut |_| {});
    Ok(measured.metrics.get("latency_p50_ms").ok_or("no latency")?)
}

fn run_bare(model: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let threads = benchdb::hardware::logical_cpus().to_string();
    let output = Command::new(std::env::current_exe()?)
        .args([BARE, model])
        .env("RAYON_NUM_THREADS", &threads)
        .env("MATMUL_NUM_THREADS", &threads)
        .output()?;
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// The loop that somebody would write without benchdb: the same warm-up rule, the same number of iterations.
fn bare(model: &str) -> Result<f64, Box<dyn std::error::Error>> {
    let entry = find(model).ok_or("no such model")?;
    let device = Device::flex();
    let mut network = entry.build(&device);
    network.load(&WeightSource::Seeded(0))?;
    let batch = Batch::from_host(&host_inputs(&entry.inputs(), 1, 0), &device)?;
    let start = Instant::now();
    for calls in 1.. {
        let _ = network.forward(&batch)?;
        if calls > 3 && start.elapsed() > Duration::from_millis(200) {
            break;
        }
    }
    let mut times = Vec::new();
    for _ in 0..ITERATIONS {
        let start = Instant::now();
        let outputs = network.forward(&batch)?;
        device.sync()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        drop(outputs);
    }
    Ok(median(&times).ok_or("no times")?)
}
