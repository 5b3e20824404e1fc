//! Any command line as work: each iteration is one whole process, from its start to its end. Time, exit code, user and
//! system time and peak memory are those that the kernel tells of it; numbers may be read from what it prints.

mod listener;

use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use wait4::{ResUse, Wait4 as _};

use self::listener::{Listener, Patterns};
use super::process::{Guard, LastWords, describe_exit, end_group, last_lines, own_group, signal_of};
use super::{Engine, EngineError, Loaded, OwnReport, ProbedDevice, RunClock, Versions, Workload};
use crate::domain::metric::Better;
use crate::domain::run::ExtraMetric;
use crate::domain::{
    HostTensor, Mode, ParsedMetric, PlannedRun, Platform, Precision, RunStatus, SampleSeries, TelemetrySeries,
    WholeCommand,
};
use crate::hardware::{host_cpu, procfs};
use crate::measure::ReportedClock;
use crate::stats;

/// The name of the engine, also that under which results of hyperfine are imported.
pub const COMMAND_ENGINE: &str = "command";

/// How often a shell is started with nothing to do.
const SHELL_STARTS: u32 = 30;

/// What a copy of this process may touch beyond what it starts with, before it is a program of its own; in bytes.
const TOUCHED_BY_A_COPY: u64 = 2_000_000;

/// How often the watch over an execution looks at the stop flag.
const LOOK: Duration = Duration::from_millis(20);

/// How long the last words of a process that has ended may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What may go wrong with an execution.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// It could not be started.
    #[error("cannot start `{program}`")]
    Start {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It failed.
    #[error("the command {how} in execution {execution}{words}")]
    Failed {
        /// How it ended.
        how: String,
        /// Which one, from 1; the first is the one before the warm-up.
        execution: usize,
        /// What it said last.
        words: String,
        /// Whether the kernel ended it for want of memory.
        killed_for_memory: bool,
    },
    /// It took too long.
    #[error("the command did not end within {limit:?} in execution {execution} and was ended{words}")]
    TimedOut {
        /// How long it had.
        limit: Duration,
        /// Which one.
        execution: usize,
        /// What it said last.
        words: String,
    },
    /// A pattern that is none.
    #[error("`{pattern}` cannot be used as a pattern: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why not.
        reason: String,
    },
    /// The output does not hold what was looked for.
    #[error("the output of execution {execution} has no `{name}`: {reason}")]
    NotFound {
        /// Which one.
        execution: usize,
        /// The metric.
        name: String,
        /// What was looked for, or found instead.
        reason: String,
    },
    /// Somebody pressed Ctrl-C.
    #[error("it was stopped from outside")]
    Stopped,
}

impl ExecutionError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start { .. } => Some(
                "the first word is the program; `--shell` is for pipes, variables and what else a shell understands"
                    .into(),
            ),
            Self::Failed { killed_for_memory: true, .. } => Some("it needs more memory than there is".into()),
            Self::Failed { .. } => {
                Some("`--show-output` shows what it prints; `--ignore-failure` measures failures, too".into())
            }
            Self::TimedOut { .. } => Some("`--timeout` gives each execution longer".into()),
            Self::Pattern { .. } => {
                Some("`--parse 'accuracy: ([0-9.]+)=accuracy'`: the first group is the number".into())
            }
            Self::NotFound { .. } => Some("`--show-output` shows what it prints".into()),
            Self::Stopped => None,
        }
    }

    /// The status of a run that ends with this error.
    pub fn status(&self) -> RunStatus {
        match self {
            Self::Failed { killed_for_memory: true, .. } => RunStatus::OutOfMemory,
            Self::Stopped => RunStatus::Interrupted,
            _ => RunStatus::Failed,
        }
    }
}

/// Whether the patterns of these metrics can be used.
///
/// # Errors
/// [`ExecutionError::Pattern`] for the first that cannot.
pub fn check_patterns(metrics: &[ParsedMetric]) -> Result<(), ExecutionError> {
    Patterns::new(metrics).map(drop)
}

/// The engine of command lines.
#[derive(Debug)]
pub(super) struct CommandEngine {
    pub guard: Guard,
}

impl Engine for CommandEngine {
    fn name(&self) -> &'static str {
        COMMAND_ENGINE
    }

    fn platforms(&self) -> &'static [Platform] {
        &[Platform::Cpu]
    }

    fn feature(&self) -> (&'static str, bool) {
        ("default", true)
    }

    /// benchdb does not know what version a command has.
    fn versions(&self) -> Versions {
        Versions { engine: String::new(), framework: String::new() }
    }

    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        Ok(vec![ProbedDevice { device: host_cpu(), precisions: vec![Precision::Fp32] }])
    }

    fn supports(&self, _: Mode, _: Precision) -> Result<(), EngineError> {
        Ok(())
    }

    fn load(&self, plan: &PlannedRun) -> Result<Loaded, EngineError> {
        let command = plan.command.clone().unwrap_or_default();
        let patterns = Patterns::new(&command.parse)?;
        let mut workload = CommandWorkload {
            starts: None,
            patterns,
            guard: self.guard.clone(),
            clock: ReportedClock::default(),
            unaccounted: Duration::ZERO,
            executions: Vec::new(),
            copied: 0,
            command,
        };
        workload.starts = workload.shell_starts()?;
        Ok(Loaded {
            clock: RunClock::Reported(workload.clock.clone()),
            workload: Box::new(workload),
            model_size_bytes: None,
            compile: None,
        })
    }

    fn infer(&self, _: &PlannedRun, _: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
        Err(EngineError::Unsupported {
            engine: COMMAND_ENGINE,
            what: "a forward pass".to_owned(),
            reason: "a command is measured as a whole process",
            nearest: None,
        })
    }
}

/// One process, from its start to its end.
#[derive(Clone, Debug)]
struct Execution {
    began: Instant,
    wall: Duration,
    user: Duration,
    system: Duration,
    /// The largest resident memory of it and of those that it waited for, in bytes. The kernel begins to count with the
    /// memory of the process that started it.
    peak_bytes: u64,
    status: ExitStatus,
    /// One number a pattern.
    numbers: Vec<f64>,
}

/// What a shell takes to start and to end: means of wall, user and system time.
#[derive(Clone, Copy, Debug)]
struct ShellStart {
    wall: Duration,
    user: Duration,
    system: Duration,
}

/// A command that is executed again and again.
struct CommandWorkload {
    command: WholeCommand,
    patterns: Patterns,
    guard: Guard,
    clock: ReportedClock,
    /// What an iteration took beyond what counts.
    unaccounted: Duration,
    starts: Option<ShellStart>,
    executions: Vec<Execution>,
    /// What the kernel begins to count with: the most that a copy of this process had, in bytes.
    copied: u64,
}

/// Has the standard library copy this process (`fork`) instead of borrowing its memory (`posix_spawn`) until the command is
/// a program of its own: the kernel counts that memory, with its peak, as the command's (`exec_mmap` in fs/exec.c). A group
/// of users that is named makes it do so; it is the one that this process has anyway.
#[cfg(target_os = "linux")]
fn fork(command: &mut Command) {
    use std::os::unix::fs::MetadataExt as _;
    if let Ok(own) = std::fs::metadata("/proc/self") {
        std::os::unix::process::CommandExt::gid(command, own.gid());
    }
}

#[cfg(not(target_os = "linux"))]
fn fork(_: &mut Command) {}

/// How the watch over an execution ended it.
#[derive(Clone, Copy, Debug)]
enum EndedBy {
    Stop,
    Time(Duration),
}

impl CommandWorkload {
    fn process(&self, text: Option<&str>) -> Command {
        let mut command = match (&self.command.shell, text) {
            (Some(shell), text) => {
                let mut command = Command::new(shell);
                command.arg("-c").arg(text.unwrap_or_default());
                command
            }
            (None, _) => {
                let mut words = self.command.words.iter();
                let mut command = Command::new(words.next().map(String::as_str).unwrap_or_default());
                command.args(words);
                command
            }
        };
        command.current_dir(&self.command.folder).stdin(Stdio::null());
        own_group(&mut command);
        fork(&mut command);
        command
    }

    /// Starts a shell with nothing to do, as hyperfine does, and answers the means.
    fn shell_starts(&mut self) -> Result<Option<ShellStart>, ExecutionError> {
        if self.command.shell.is_none() {
            return Ok(None);
        }
        let mut sum = ShellStart { wall: Duration::ZERO, user: Duration::ZERO, system: Duration::ZERO };
        for _ in 0..SHELL_STARTS {
            let mut command = self.process(None);
            command.stdout(Stdio::null()).stderr(Stdio::null());
            let execution = self.execute(command, None)?;
            sum.wall += execution.wall;
            sum.user += execution.user;
            sum.system += execution.system;
        }
        let [wall, user, system] = [sum.wall, sum.user, sum.system].map(|sum| sum / SHELL_STARTS);
        Ok(Some(ShellStart { wall, user, system }))
    }

    /// Starts a process and waits for its end. `counted` is its number, where it is one of the command; what it prints
    /// is then listened to.
    fn execute(&mut self, mut command: Command, counted: Option<usize>) -> Result<Execution, ExecutionError> {
        let program = command.get_program().to_string_lossy().into_owned();
        let copied = procfs::private_resident_bytes().map_or(0, |bytes| bytes + TOUCHED_BY_A_COPY);
        self.copied = self.copied.max(copied);
        let kills_before = procfs::out_of_memory_kills();
        let began = Instant::now();
        let mut child = command.spawn().map_err(|source| ExecutionError::Start { program, source })?;
        let group = child.id();
        (self.guard.announce)(group);
        let errors = if self.listens() { child.stderr.take() } else { None };
        let listeners = [child.stdout.take().map(|pipe| self.listener(pipe)), errors.map(|pipe| self.listener(pipe))];
        let words = LastWords::of(child.stderr.take());
        let (ended_by, used) = self.watched(child);
        let wall = began.elapsed();
        // Those that it left behind would disturb the next one.
        end_group(group);
        // What it printed last is shown and searched before the next one begins.
        listeners.iter().flatten().for_each(|listener| listener.wait(LAST_WORDS));
        let execution = counted.unwrap_or(0);
        let used = used.map_err(|source| ExecutionError::Start { program: "the command".to_owned(), source })?;
        let last_words = || match &listeners {
            [_, Some(errors)] => errors.last_words(),
            _ => words.text(LAST_WORDS),
        };
        match ended_by {
            Some(EndedBy::Stop) => return Err(ExecutionError::Stopped),
            Some(EndedBy::Time(limit)) => {
                return Err(ExecutionError::TimedOut { limit, execution, words: last_lines(&last_words()) });
            }
            None => {}
        }
        if !used.status.success() && !self.command.ignore_failure {
            let killed = signal_of(used.status) == Some(9);
            let more_kills = matches!((kills_before, procfs::out_of_memory_kills()), (Some(a), Some(b)) if b > a);
            return Err(ExecutionError::Failed {
                how: describe_exit(used.status),
                execution,
                words: last_lines(&last_words()),
                killed_for_memory: killed && more_kills,
            });
        }
        // One that failed, and is counted all the same, need not have come to its numbers.
        let numbers = if counted.is_some() && used.status.success() {
            self.patterns.numbers(&listeners.each_ref().map(Option::as_ref), execution)?
        } else {
            Vec::new()
        };
        Ok(Execution {
            began,
            wall,
            user: used.rusage.utime,
            system: used.rusage.stime,
            peak_bytes: used.rusage.maxrss,
            status: used.status,
            numbers,
        })
    }

    fn listens(&self) -> bool {
        self.command.show_output || !self.command.parse.is_empty()
    }

    fn listener(&self, pipe: impl std::io::Read + Send + 'static) -> Listener {
        Listener::start(pipe, self.patterns.clone(), self.command.show_output.then_some(self.guard.print))
    }

    /// Waits for a process; ends its group where it takes too long, or somebody wants it.
    fn watched(&self, child: Child) -> (Option<EndedBy>, std::io::Result<ResUse>) {
        let (over, waiting) = channel();
        let (guard, limit, group) = (self.guard.clone(), self.command.timeout, child.id());
        let watch = std::thread::spawn(move || watch(&waiting, &guard, limit, group));
        let used = child.wait4();
        drop(over);
        (watch.join().unwrap_or_default(), used)
    }
}

/// Ends a group when its time is over or somebody wants it, and says which; `None` where it ended by itself.
fn watch(over: &Receiver<()>, guard: &Guard, limit: Option<Duration>, group: u32) -> Option<EndedBy> {
    let began = Instant::now();
    loop {
        let left = limit.map_or(LOOK, |limit| limit.saturating_sub(began.elapsed()).min(LOOK));
        if !matches!(over.recv_timeout(left), Err(RecvTimeoutError::Timeout)) {
            return None;
        }
        let ended_by = match limit {
            _ if guard.stop.load(Ordering::Relaxed) => EndedBy::Stop,
            Some(limit) if began.elapsed() >= limit => EndedBy::Time(limit),
            _ => continue,
        };
        end_group(group);
        return Some(ended_by);
    }
}

impl Workload for CommandWorkload {
    fn iterate(&mut self, _: &mut dyn FnMut()) -> Result<(), EngineError> {
        let began = Instant::now();
        let text = self.command.words.join(" ");
        let mut command = self.process(Some(&text));
        command.stdout(if self.listens() { Stdio::piped() } else { Stdio::null() }).stderr(Stdio::piped());
        let execution = self.execute(command, Some(self.executions.len() + 1))?;
        let counts = execution.wall.saturating_sub(self.starts.map_or(Duration::ZERO, |start| start.wall));
        self.clock.advance(nanoseconds(counts));
        self.executions.push(execution);
        self.unaccounted = began.elapsed().saturating_sub(counts);
        Ok(())
    }

    fn between(&mut self) {
        self.clock.advance(nanoseconds(std::mem::take(&mut self.unaccounted)));
    }

    fn samples_per_iteration(&self) -> u64 {
        1
    }

    fn report(&mut self, iterations: usize) -> Option<OwnReport> {
        // The first one and the warm-up come before the samples.
        let counted = &self.executions[self.executions.len().saturating_sub(iterations)..];
        let start = self.starts;
        let less = |taken: Duration, start: Option<Duration>| taken.saturating_sub(start.unwrap_or_default());
        let users: Vec<Duration> =
            counted.iter().map(|execution| less(execution.user, start.map(|start| start.user))).collect();
        let systems: Vec<Duration> =
            counted.iter().map(|execution| less(execution.system, start.map(|start| start.system))).collect();
        let mut extra_metrics = Vec::new();
        let mut add = |name: &str, unit: &str, better, value: Option<f64>| {
            extra_metrics.extend(value.map(|value| ExtraMetric {
                name: name.into(),
                unit: unit.into(),
                better,
                value,
            }));
        };
        for (name, times) in [("user_time", &users), ("system_time", &systems)] {
            let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
            add(name, "s", Better::Lower, stats::mean(&seconds));
        }
        add("shell_startup_time", "s", Better::None, start.map(|start| start.wall.as_secs_f64()));
        let codes: Vec<f64> = counted.iter().filter_map(|execution| execution.status.code()).map(f64::from).collect();
        let mut series = vec![];
        let offsets: Vec<f64> = counted
            .iter()
            .filter_map(|execution| {
                let end = execution.began + execution.wall;
                Some(end.duration_since(counted.first()?.began).as_secs_f64() * 1e3)
            })
            .collect();
        let mut tell = |sensor: String, unit: &str, values: Vec<f64>| {
            if values.len() == offsets.len() && !values.is_empty() {
                series.push(TelemetrySeries { sensor, unit: unit.to_owned(), offsets_ms: offsets.clone(), values });
            }
        };
        for (at, metric) in self.command.parse.iter().enumerate() {
            let values: Vec<f64> = counted.iter().filter_map(|execution| execution.numbers.get(at).copied()).collect();
            add(&metric.name, &metric.unit, Better::None, stats::quantile(&stats::sorted(&values), 0.5));
            tell(format!("output.{}", metric.name), &metric.unit, values);
        }
        if codes.iter().any(|&code| code != 0.0) {
            tell("exit_code".to_owned(), "", codes);
        }
        let nanoseconds = |phase: &str, times: &[Duration]| SampleSeries {
            phase: phase.to_owned(),
            nanoseconds: times.iter().copied().map(nanoseconds).collect(),
        };
        let peak = self.executions.iter().map(|execution| execution.peak_bytes).max().filter(|&peak| peak > 0);
        let known = peak.is_some_and(|peak| peak > self.copied);
        let succeeded = counted.iter().filter(|execution| execution.status.success()).count();
        let too_fast = counted.iter().any(|execution| start.is_some_and(|start| execution.wall < start.wall));
        let mut hints = Vec::new();
        if too_fast {
            hints.push(
                "some executions were over sooner than the shell takes to start: measure without `--shell`".to_owned(),
            );
        }
        if peak.is_some() && !known && !counted.is_empty() {
            hints.push(format!(
                "its peak memory is not known: it is below the {:.0} MB with which the kernel begins to count",
                self.copied as f64 / 1e6
            ));
        }
        Some(OwnReport {
            host_peak_bytes: peak.filter(|_| known),
            success_rate: (!counted.is_empty()).then(|| succeeded as f64 / counted.len() as f64),
            extra_metrics,
            samples: vec![nanoseconds("user_time", &users), nanoseconds("system_time", &systems)],
            series,
            hint: (!hints.is_empty()).then(|| hints.join("; ")),
            ..OwnReport::default()
        })
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
