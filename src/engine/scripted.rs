//! A deterministic engine for tests of the commands: it does no work, its clock moves as a script says, and it fails
//! as a script says. It is chosen by `--engine scripted` alone, appears in no list, and its device says what it is.

use std::time::Duration;

use serde::Deserialize;

use super::{Engine, EngineError, Loaded, ProbedDevice, RunClock, Versions, Workload};
use crate::domain::{Device, DeviceKind, DeviceRates, HostTensor, Mode, PlannedRun, Platform, Precision};
use crate::measure::ReportedClock;

/// The environment variable with the script's path.
pub const SCRIPT_VARIABLE: &str = "BENCHDB_SCRIPT";

/// What the engine does.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Script {
    /// Durations of iterations in milliseconds, repeated from the start when they run out.
    iterations_ms: Vec<f64>,
    /// Real time that every iteration sleeps, so that a test can interrupt it.
    sleep_ms: u64,
    /// What goes wrong.
    fault: Option<Fault>,
    /// At which call of the workload (the first call is 0) it goes wrong.
    fault_at: u64,
    /// Only runs of this batch size have the fault; all without.
    fault_batch_size: Option<u32>,
    /// Memory that is really taken, in MB a sample of the batch.
    memory_mb_per_sample: u32,
    /// What a probe of the device says, in GFLOP/s and GB/s; the fault, or the sleep, comes between the two.
    rates: Option<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Fault {
    /// An error is returned.
    Error,
    /// The workload panics.
    Panic,
    /// The process aborts, as a driver that crashes does.
    Abort,
    /// Memory is taken until there is none.
    Allocate,
    /// The program prints what is not of the protocol.
    Chatter,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            iterations_ms: vec![10.0, 10.2, 9.9, 10.1, 10.4],
            sleep_ms: 0,
            fault: None,
            fault_at: 0,
            fault_batch_size: None,
            memory_mb_per_sample: 0,
            rates: None,
        }
    }
}

/// The engine of tests.
#[derive(Clone, Copy, Debug)]
pub struct ScriptedEngine;

impl Engine for ScriptedEngine {
    fn name(&self) -> &'static str {
        "scripted"
    }

    fn platforms(&self) -> &'static [Platform] {
        &[Platform::Cpu]
    }

    fn feature(&self) -> (&'static str, bool) {
        ("default", true)
    }

    fn takes(&self, _: super::Form) -> bool {
        true
    }

    fn hidden(&self) -> bool {
        true
    }

    fn versions(&self) -> Versions {
        Versions { engine: "1".into(), framework: "scripted 1".into() }
    }

    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        Ok(vec![ProbedDevice {
            device: Device {
                kind: DeviceKind::Cpu,
                vendor: "benchdb".into(),
                name: "scripted test device".into(),
                compute_units: Some(1),
                memory_bytes: None,
                software: true,
            },
            precisions: vec![Precision::Fp32],
        }])
    }

    fn supports(&self, mode: Mode, precision: Precision) -> Result<(), EngineError> {
        if precision == Precision::Fp32 && mode != Mode::Explanation {
            return Ok(());
        }
        Err(EngineError::Unsupported {
            engine: self.name(),
            what: format!("{mode} in {precision}"),
            reason: "it was not written into it",
            nearest: Some("`--precision fp32`"),
        })
    }

    fn load(&self, plan: &PlannedRun) -> Result<Loaded, EngineError> {
        let script = script()?;
        let clock = ReportedClock::default();
        let batch_size = plan.configuration.batch_size;
        Ok(Loaded {
            workload: Box::new(ScriptedWorkload {
                _held: vec![1; script.memory_mb_per_sample as usize * 1_000_000 * batch_size as usize],
                fault: script.fault.filter(|_| script.fault_batch_size.is_none_or(|wanted| wanted == batch_size)),
                script,
                clock: clock.clone(),
                calls: 0,
                batch_size,
                training: plan.configuration.mode == Mode::Training,
            }),
            clock: RunClock::Reported(clock),
            model_size_bytes: Some(1_000_000),
            compile: None,
        })
    }

    fn measure_rates(
        &self,
        _: u32,
        _: Precision,
        _: Duration,
        report: &mut dyn FnMut(&DeviceRates),
    ) -> Result<DeviceRates, EngineError> {
        let script = script()?;
        let (peak, bandwidth) =
            script.rates.ok_or_else(|| EngineError::Device { message: "the script has no rates".into() })?;
        let mut rates = DeviceRates { copy_bandwidth_gb_per_second: Some(bandwidth), ..DeviceRates::default() };
        report(&rates);
        if let Some(fault) = script.fault {
            fail(fault)?;
        }
        std::thread::sleep(Duration::from_millis(script.sleep_ms));
        rates.peak_gflop_per_second = Some(peak);
        Ok(rates)
    }

    fn infer(&self, _: &PlannedRun, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
        Ok(inputs.to_vec())
    }
}

fn script() -> Result<Script, EngineError> {
    match std::env::var_os(SCRIPT_VARIABLE) {
        Some(path) => read_script(&path.to_string_lossy()),
        None => Ok(Script::default()),
    }
}

fn read_script(path: &str) -> Result<Script, EngineError> {
    let unusable = |reason: String| EngineError::Script { path: path.to_owned(), reason };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
    let script: Script = serde_json::from_str(&text).map_err(|error| unusable(error.to_string()))?;
    if script.iterations_ms.is_empty() {
        return Err(unusable("it lists no iterations".into()));
    }
    Ok(script)
}

struct ScriptedWorkload {
    script: Script,
    /// Memory that counts.
    _held: Vec<u8>,
    fault: Option<Fault>,
    clock: ReportedClock,
    calls: u64,
    batch_size: u32,
    training: bool,
}

fn fail(fault: Fault) -> Result<(), EngineError> {
    match fault {
        Fault::Error => Err(EngineError::Device { message: "the script says so".into() }),
        Fault::Panic => std::panic::panic_any("the script says so".to_owned()),
        Fault::Abort => std::process::abort(),
        Fault::Allocate => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            loop {
                held.push(vec![1; 64 << 20]);
                std::hint::black_box(&held);
            }
        }
        Fault::Chatter => {
            use std::io::Write as _;
            let mut out = std::io::stdout().lock();
            // Whether the words arrive does not matter.
            let _ = writeln!(out, "hello from a driver\n{{\"not\": \"the protocol\"}}");
            Ok(())
        }
    }
}

impl Workload for ScriptedWorkload {
    fn iterate(&mut self, mark: &mut dyn FnMut()) -> Result<(), EngineError> {
        let call = self.calls;
        self.calls += 1;
        if let Some(fault) = self.fault.filter(|_| call == self.script.fault_at) {
            fail(fault)?;
        }
        if self.script.sleep_ms > 0 {
            std::thread::sleep(Duration::from_millis(self.script.sleep_ms));
        }
        let durations = &self.script.iterations_ms;
        let nanoseconds = (durations[call as usize % durations.len()] * 1e6) as u64;
        if self.training {
            for share in [3, 1, 4] {
                self.clock.advance(nanoseconds * share / 10);
                mark();
            }
            self.clock.advance(nanoseconds - 8 * (nanoseconds / 10));
        } else {
            self.clock.advance(nanoseconds);
        }
        Ok(())
    }

    fn phases(&self) -> &'static [&'static str] {
        if self.training { &["forward", "loss", "backward", "optimizer_step"] } else { &[] }
    }

    fn samples_per_iteration(&self) -> u64 {
        self.batch_size.into()
    }
}
