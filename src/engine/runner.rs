//! The parent's side: starts a worker for each run, listens to it, and turns every way in which it can end into a
//! measurement.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::error::is_out_of_memory;
use super::process::{LastWords, describe_exit, end_group, own_group, signal_of, telling};
use super::protocol::{Answer, MARK, Request, WORKER_ARGUMENT, Words};
use super::rates::AROUND;
use super::registry::engine_of;
use super::{
    Engine, EngineError, MethodChoice, Probed, ProfileWish, Surroundings, external, fidelity, find_engine, worker,
};
use crate::domain::profile::Profile;
use crate::domain::text::one_line;
use crate::domain::{DeviceRates, HostTensor, Measurement, PlannedRun, Precision, RunStatus};
use crate::explain::Fit;
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

    /// The devices that an engine finds, and its versions, asked in a process of its own: drivers may crash.
    ///
    /// # Errors
    /// The worker could not be started, crashed, or the engine refused.
    pub fn probe(&self, engine: &str) -> Result<Probed, EngineError> {
        let request = Request::Probe { engine: engine.to_owned() };
        let mut talk = Talk::start(self, &request, 0)?;
        loop {
            match talk.answers.recv_timeout(SILENCE) {
                Ok(Answer::Devices(probed)) => {
                    talk.finish();
                    return probed.map_err(|Words { message, hint }| EngineError::NotHere { message, hint });
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
                    return rates.map_err(|Words { message, hint }| EngineError::NotHere { message, hint });
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

    /// What attribution methods make of a model, tried in a process of its own.
    ///
    /// # Errors
    /// The worker could not be started, crashed or fell silent; no such model or method.
    pub fn fits(&self, model: &str, methods: Vec<MethodChoice>) -> Result<Vec<Fit>, EngineError> {
        let request = Request::Fits { model: model.to_owned(), methods };
        let mut talk = Talk::start(self, &request, logical_cpus())?;
        loop {
            match talk.answers.recv_timeout(SILENCE) {
                Ok(Answer::Fits(fits)) => {
                    talk.finish();
                    return fits.map_err(|Words { message, hint }| EngineError::NotHere { message, hint });
                }
                Ok(_) => {}
                Err(_) => return Err(talk.obituary()),
            }
        }
    }

    /// Writes the outputs of a run of [`fidelity::reference_plans`] to a file.
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
                    return done.map_err(|Words { message, hint }| EngineError::NotHere { message, hint });
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

    /// The outputs of one forward pass over the inputs of a plan, computed in a process of its own.
    ///
    /// # Errors
    /// As [`Self::write_reference`].
    pub fn infer(&self, plan: &PlannedRun) -> Result<Vec<HostTensor>, EngineError> {
        let failed =
            |source: std::io::Error| EngineError::Reference { path: std::env::temp_dir(), source: source.into() };
        let file = tempfile::NamedTempFile::new().map_err(failed)?;
        self.write_reference(plan, file.path(), &AtomicBool::new(false))?;
        fidelity::read_reference(file.path())
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
        match self.follow(&request, plan, stop, progress) {
            Ok(Answer::Measured(measurement)) => *measurement,
            Ok(_) => worker::failure(&out_of_turn()),
            Err(measurement) => *measurement,
        }
    }

    /// Measures one run with a time for each operator. However it ends, there is a measurement; there is no profile
    /// where nothing was measured.
    pub fn profile(
        &self,
        plan: &PlannedRun,
        wish: &ProfileWish,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> (Measurement, Option<Profile>) {
        let request = Request::Profile { plan: Box::new(plan.clone()), wish: wish.clone() };
        match self.follow(&request, plan, stop, progress) {
            Ok(Answer::Profiled(measurement, profile)) => (*measurement, profile.map(|profile| *profile)),
            Ok(_) => (worker::failure(&out_of_turn()), None),
            Err(measurement) => (*measurement, None),
        }
    }

    /// Follows the worker that measures a run until it answers; what it ended with instead is a measurement, too.
    fn follow(
        &self,
        request: &Request,
        plan: &PlannedRun,
        stop: &AtomicBool,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Answer, Box<Measurement>> {
        let failed = |error: &EngineError| Box::new(worker::failure(error));
        let mut talk = Talk::start(self, request, plan.configuration.threads).map_err(|error| failed(&error))?;
        let mut state = Progress::Loading;
        progress(state);
        let mut last_report = Instant::now();
        let silence = SILENCE + plan.sampling.max_time;
        let mut last_word = Instant::now();
        let mut stopped_at: Option<Instant> = None;
        loop {
            match talk.answers.recv_timeout(LOOK) {
                Ok(answer @ (Answer::Measured(_) | Answer::Profiled(..))) => {
                    talk.finish();
                    return Ok(answer);
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
                Ok(
                    Answer::Devices(_)
                    | Answer::Referred(_)
                    | Answer::Fits(_)
                    | Answer::RatesSoFar(_)
                    | Answer::Rates(_)
                    | Answer::Started { .. }
                    | Answer::Printed(_),
                ) => {}
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(failed(&talk.obituary())),
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
                return Err(Box::new(interrupted("it was stopped from outside")));
            }
            if last_word.elapsed() > silence {
                talk.kill();
                return Err(failed(&EngineError::Worker {
                    message: format!("the worker said nothing for {} minutes and was ended", silence.as_secs() / 60),
                    out_of_memory: false,
                }));
            }
        }
    }
}

/// A worker that answers something else than it was asked.
fn out_of_turn() -> EngineError {
    EngineError::Worker { message: "the worker answered another question".to_owned(), out_of_memory: false }
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
    words: LastWords,
    /// Groups of processes that the worker started; a worker that crashed could not end them.
    groups: Arc<Mutex<Vec<u32>>>,
    kills_before: Option<u64>,
    /// What the worker needs around it for as long as it lives.
    _surroundings: Surroundings,
}

/// What the worker of a request needs around it: what its engine says, or a folder for a program of others.
fn surroundings_of(request: &Request) -> Surroundings {
    let engine = match request {
        Request::Probe { engine } | Request::Rates { engine, .. } => find_engine(engine),
        Request::Fits { .. } => return Surroundings::default(),
        Request::Measure { plan, .. } if plan.external.is_some() => return external::surroundings(),
        Request::Measure { plan, .. } | Request::Profile { plan, .. } | Request::Reference { plan, .. } => {
            engine_of(plan)
        }
    };
    // A name that means nothing is told by the worker.
    engine.map(Engine::surroundings).unwrap_or_default()
}

impl Talk {
    fn start(runner: &Runner, request: &Request, threads: u32) -> Result<Self, EngineError> {
        let failed = |source| EngineError::Start { program: runner.program.clone(), source };
        let mut command = Command::new(&runner.program);
        command.arg(WORKER_ARGUMENT).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A command that is measured keeps the surroundings that it would have without benchdb.
        if !matches!(request, Request::Measure { plan, .. } if plan.command.is_some()) {
            command.env("RUST_BACKTRACE", "0");
        }
        if threads > 0 {
            // Burn's CPU backends share rayon's pool; ndarray's products have a pool of their own.
            for variable in ["RAYON_NUM_THREADS", "MATMUL_NUM_THREADS", "OMP_NUM_THREADS"] {
                command.env(variable, threads.to_string());
            }
        }
        let surroundings = surroundings_of(request);
        command.envs(surroundings.variables.iter().map(|(name, value)| (name, value)));
        // Ctrl-C reaches the whole foreground group; the parent decides what becomes of a worker.
        own_group(&mut command);
        let kills_before = procfs::out_of_memory_kills();
        let mut child = command.spawn().map_err(failed)?;
        let (answer_to, answers) = channel();
        let groups = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            let groups = Arc::clone(&groups);
            std::thread::spawn(move || listen(stdout, &answer_to, &groups));
        }
        let words = LastWords::of(child.stderr.take());
        let mut line = serde_json::to_vec(request).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        if let Some(stdin) = child.stdin.as_mut() {
            // A worker that is already gone shows by its silence.
            let _ = stdin.write_all(&line);
        }
        Ok(Self { child, answers, words, groups, kills_before, _surroundings: surroundings })
    }

    /// Tells the worker to stop: it ends when its parent's pipe closes.
    fn hang_up(&mut self) {
        self.child.stdin = None;
    }

    fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.end_groups();
    }

    /// Ends what a worker left behind that could not do it itself.
    fn end_groups(&mut self) {
        for leader in self.groups.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            end_group(leader);
        }
    }

    /// A driver may hang while its process ends; what it had to say was said.
    fn finish(&mut self) {
        self.hang_up();
        let answered = Instant::now();
        while answered.elapsed() < EXIT_GRACE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                // It answered and ended as it should, and so did those that it started.
                self.groups.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
        self.end_groups();
        let words = self.words.text(Duration::from_secs(1));
        let killed_for_memory = match (self.kills_before, procfs::out_of_memory_kills()) {
            (Some(before), Some(after)) => after > before,
            _ => false,
        };
        let ending = match &status {
            Ok(status) if signal_of(*status).is_some() => describe_exit(*status),
            Ok(status) => format!("{} and no answer", describe_exit(*status)),
            Err(error) => error.to_string(),
        };
        let sigkill = matches!(&status, Ok(status) if signal_of(*status) == Some(9));
        let out_of_memory = is_out_of_memory(&words) || (sigkill && killed_for_memory);
        let telling = telling(&words, 1);
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

fn listen(stdout: impl Read, answers: &Sender<Answer>, groups: &Mutex<Vec<u32>>) {
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
        match serde_json::from_slice(document) {
            Ok(Answer::Printed(text)) => {
                // What a command prints is shown, not kept; nobody may be there to see it.
                let _ = std::io::stderr().write_all(text.as_bytes());
            }
            Ok(Answer::Started { group }) => groups.lock().unwrap_or_else(PoisonError::into_inner).push(group),
            Ok(answer) => {
                if answers.send(answer).is_err() {
                    return;
                }
            }
            Err(_) => {}
        }
    }
}
