//! The parent's side: starts a worker for each run, listens to it, and turns every way in which it can end into a
//! measurement.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::error::is_out_of_memory;
use super::protocol::{Answer, MARK, Request, WORKER_ARGUMENT};
use super::rates::AROUND;
use super::{EngineError, ProbedDevice, worker};
use crate::domain::text::one_line;
use crate::domain::{DeviceRates, Measurement, PlannedRun, Precision, RunStatus};
use crate::hardware::{logical_cpus, procfs};

/// How often a waiting parent looks at its stop flag.
const LOOK: Duration = Duration::from_millis(50);

/// How often the progress is told again while the worker is silent.
const REPORT: Duration = Duration::from_secs(5);

/// How long a worker that has answered may take to end.
const EXIT_GRACE: Duration = Duration::from_secs(5);

/// How long a worker that was asked to stop may take to hand over what it has.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A worker that says nothing for this long (beyond its own time limit) hangs.
const SILENCE: Duration = Duration::from_secs(30 * 60);

/// How long a device may take to start and to compile its first kernels before it has shown a rate.
const FIRST_RATE: Duration = Duration::from_secs(30);

/// The most that is kept of what a worker prints to its standard error, in bytes.
const MOST_WORDS: usize = 64 * 1024;

/// How far a run is, for a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The worker builds the model.
    Loading,
    /// It warms up.
    WarmingUp,
    /// It takes samples.
    Sampling {
        /// Samples so far.
        iterations: u64,
        /// Time since sampling started.
        elapsed: Duration,
    },
    /// It measures the accuracy on a test set.
    Evaluating {
        /// Pictures classified.
        done: u64,
        /// Pictures in the set.
        total: u64,
    },
}

/// Starts workers.
#[derive(Clone, Debug)]
pub struct Runner {
    program: PathBuf,
}

impl Runner {
    /// A runner that starts this program again; its `main` must begin with [`worker::serve_if_asked`].
    ///
    /// # Errors
    /// The program's own path cannot be found out.
    pub fn for_this_program() -> Result<Self, EngineError> {
        let program = std::env::current_exe()
            .map_err(|source| EngineError::Start { program: PathBuf::from("benchdb"), source })?;
        Ok(Self { program })
    }

    /// The devices that an engine finds, asked in a process of its own: drivers may crash.
    ///
    /// # Errors
    /// The worker could not be started, crashed, or the engine refused.
    pub fn probe(&self, engine: &str) -> Result<Vec<ProbedDevice>, EngineError> {
        let request = Request::Probe { engine: engine.to_owned() };
        let mut talk = Talk::start(self, &request, 0)?;
        loop {
            match talk.answers.recv_timeout(SILENCE) {
                Ok(Answer::Devices(devices)) => {
                    talk.finish();
                    return devices.map_err(|message| EngineError::Device { message });
                }
                Ok(_) => {}
                Err(_) => return Err(talk.obituary()),
            }
        }
    }

    /// What a device can do at most, measured in a process of its own, on all processors that this one may use. A worker
    /// that hangs is given up after a multiple of the limit; what it had found by then counts.
    ///
    /// # Errors
    /// The worker could not be started, crashed or hung before it had found anything, or the engine refused.
    pub fn measure_rates(
        &self,
        engine: &str,
        device_index: u32,
        precision: Precision,
        limit: Duration,
    ) -> Result<DeviceRates, EngineError> {
        let request = Request::Rates { engine: engine.to_owned(), device_index, precision, limit };
        let mut talk = Talk::start(self, &request, logical_cpus())?;
        let patience = (2 + AROUND) * limit + Duration::from_secs(1);
        let mut deadline = Instant::now() + FIRST_RATE + patience;
        let mut found = DeviceRates::default();
        let failure = loop {
            match talk.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Answer::Rates(rates)) => {
                    talk.finish();
                    return rates.map_err(|message| {
                        let out_of_memory = is_out_of_memory(&message);
                        EngineError::Worker { message, out_of_memory }
                    });
                }
                Ok(Answer::RatesSoFar(rates)) => {
                    if !found.any() {
                        deadline = Instant::now() + patience;
                    }
                    found = rates;
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => break talk.obituary(),
                Err(RecvTimeoutError::Timeout) => {
                    talk.kill();
                    let message = "the device did not finish its work in time, and was given up".to_owned();
                    break EngineError::Worker { message, out_of_memory: false };
                }
            }
        };
        if !found.any() {
            return Err(failure);
        }
        found.left_out.push(one_line(&failure));
        Ok(found)
    }

    /// Writes the outputs of a run of [`fidelity::reference_plan`](super::fidelity::reference_plan) to a file.
    ///
    /// # Errors
    /// The worker could not be started, crashed, ran out of memory, or the engine refused.
    pub fn write_reference(&self, plan: &PlannedRun, path: &Path, stop: &AtomicBool) -> Result<(), EngineError> {
        let request = Request::Reference { plan: Box::new(plan.clone()), path: path.to_owned() };
        let mut talk = Talk::start(self, &request, plan.configuration.threads)?;
        let started = Instant::now();
        loop {
            match talk.answers.recv_timeout(LOOK) {
                Ok(Answer::Referred(done)) => {
                    talk.finish();
                    return done.map_err(|message| EngineError::Device { message });
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(talk.obituary()),
            }
            if stop.load(Ordering::Relaxed) || started.elapsed() > SILENCE {
                talk.kill();
                let message = "the reference was not finished".to_owned();
                return Err(EngineError::Worker { message, out_of_memory: false });
            }
        }
    }

    /// Measures one run, and compares its outputs with those of a file where there is one. However it ends, the answer
    /// is a measurement: `stop` makes it an interrupted one.
    pub fn measure(
        &self,
        plan: &PlannedRun,
        reference: Option<&Path>,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> Measurement {
        let request = Request::Measure { plan: Box::new(plan.clone()), reference: reference.map(Path::to_path_buf) };
        let mut talk = match Talk::start(self, &request, plan.configuration.threads) {
            Ok(talk) => talk,
            Err(error) => return worker::failure(&error),
        };
        let mut state = Progress::Loading;
        progress(state);
        let mut last_report = Instant::now();
        let silence = SILENCE + plan.sampling.max_time;
        let mut last_word = Instant::now();
        let mut stopped_at: Option<Instant> = None;
        loop {
            match talk.answers.recv_timeout(LOOK) {
                Ok(Answer::Measured(measurement)) => {
                    talk.finish();
                    return *measurement;
                }
                Ok(Answer::Progress { iterations, elapsed_ns, warming_up }) => {
                    last_word = Instant::now();
                    state = if warming_up {
                        Progress::WarmingUp
                    } else {
                        Progress::Sampling { iterations, elapsed: Duration::from_nanos(elapsed_ns) }
                    };
                    last_report = Instant::now();
                    progress(state);
                }
                Ok(Answer::Evaluating { done, total }) => {
                    last_word = Instant::now();
                    state = Progress::Evaluating { done, total };
                    last_report = Instant::now();
                    progress(state);
                }
                Ok(Answer::Devices(_) | Answer::Referred(_) | Answer::RatesSoFar(_) | Answer::Rates(_)) => {}
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return worker::failure(&talk.obituary()),
            }
            // A first call may take minutes; whoever renews a lease must not fall silent with the worker.
            if last_report.elapsed() >= REPORT {
                last_report = Instant::now();
                progress(state);
            }
            if stop.load(Ordering::Relaxed) && stopped_at.is_none() {
                stopped_at = Some(Instant::now());
                talk.hang_up();
            }
            if stopped_at.is_some_and(|at| at.elapsed() > STOP_GRACE) {
                talk.kill();
                return interrupted("it was stopped from outside");
            }
            if last_word.elapsed() > silence {
                talk.kill();
                return worker::failure(&EngineError::Worker {
                    message: format!("the worker said nothing for {} minutes and was ended", silence.as_secs() / 60),
                    out_of_memory: false,
                });
            }
        }
    }
}

/// The record of a run that was stopped.
pub fn interrupted(reason: &str) -> Measurement {
    Measurement::without_numbers(
        RunStatus::Interrupted,
        reason.to_owned(),
        Some("`benchdb run --resume CAMPAIGN` measures it".to_owned()),
    )
}

/// A worker process and the pipes to it.
struct Talk {
    child: Child,
    answers: Receiver<Answer>,
    words: Receiver<String>,
    kills_before: Option<u64>,
}

impl Talk {
    fn start(runner: &Runner, request: &Request, threads: u32) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Start { program: runner.program.clone(), source };
        let mut command = Command::new(&runner.program);
        command
            .arg(WORKER_ARGUMENT)
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if threads > 0 {
            // Burn's CPU backends share rayon's pool; ndarray's products have a pool of their own.
            for variable in ["RAYON_NUM_THREADS", "MATMUL_NUM_THREADS", "OMP_NUM_THREADS"] {
                command.env(variable, threads.to_string());
            }
        }
        // Ctrl-C reaches the whole foreground group; the parent decides what becomes of a worker.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let kills_before = procfs::out_of_memory_kills();
        let mut child = command.spawn().map_err(failed)?;
        let (answer_to, answers) = channel();
        let (words_to, words) = channel();
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || listen(stdout, &answer_to));
        }
        if let Some(stderr) = child.stderr.take() {
            std::thread::spawn(move || {
                // Nobody may be left to hear it.
                let _ = words_to.send(last_words(stderr));
            });
        }
        let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        if let Some(stdin) = child.stdin.as_mut() {
            // A worker that is already gone shows by its silence.
            let _ = stdin.write_all(&line);
        }
        Ok(Self { child, answers, words, kills_before })
    }

    /// Tells the worker to stop: it ends when its parent's pipe closes.
    fn hang_up(&mut self) {
        self.child.stdin = None;
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// A driver may hang while its process ends; what it had to say was said.
    fn finish(&mut self) {
        self.hang_up();
        let answered = Instant::now();
        while answered.elapsed() < EXIT_GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.kill();
    }

    /// Why a worker ended without an answer.
    fn obituary(&mut self) -> EngineError {
        self.hang_up();
        let status = self.child.wait();
        let words = self.words.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        let killed_for_memory = match (self.kills_before, procfs::out_of_memory_kills()) {
            (Some(before), Some(after)) => after > before,
            _ => false,
        };
        let ending = match &status {
            Ok(status) => describe_exit(*status),
            Err(error) => error.to_string(),
        };
        let sigkill = matches!(&status, Ok(status) if signal_of(*status) == Some(9));
        let out_of_memory = is_out_of_memory(&words) || (sigkill && killed_for_memory);
        let telling = words
            .lines()
            .map(str::trim)
            .rfind(|line| !line.is_empty() && !line.starts_with("note:"))
            .map(|line| format!("; it said: {}", line.chars().take(300).collect::<String>()))
            .unwrap_or_default();
        EngineError::Worker {
            message: if out_of_memory {
                format!("the worker ran out of memory ({ending}){telling}")
            } else {
                format!("the worker {ending}{telling}")
            },
            out_of_memory,
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.kill();
    }
}

fn listen(stdout: impl Read, answers: &Sender<Answer>) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let Some(document) = line.strip_prefix(MARK.as_bytes()) else {
            continue;
        };
        if let Ok(answer) = serde_json::from_slice(document)
            && answers.send(answer).is_err()
        {
            return;
        }
    }
}

/// The end of what a worker printed.
fn last_words(stderr: impl Read) -> String {
    let mut reader = BufReader::new(stderr);
    let mut kept = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(count) = reader.read(&mut chunk) {
        if count == 0 {
            break;
        }
        kept.extend_from_slice(&chunk[..count]);
        if kept.len() > 2 * MOST_WORDS {
            kept.drain(..kept.len() - MOST_WORDS);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(unix)]
fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

fn describe_exit(status: ExitStatus) -> String {
    match signal_of(status) {
        Some(signal) => {
            let name = match signal {
                4 => " (SIGILL)",
                6 => " (SIGABRT)",
                7 => " (SIGBUS)",
                9 => " (SIGKILL)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("was ended by signal {signal}{name}")
        }
        None => match status.code() {
            Some(code) => format!("ended with exit code {code} and no answer"),
            None => "ended without an answer".to_owned(),
        },
    }
}
