//! Engines that are programs of others: they speak the protocol of docs/external.md over their standard input and
//! output. A run talks to one in its worker process, whose child it is; the program times its own steps, and what it
//! says is checked against what was seen from outside.

mod error;
mod hello;
mod messages;
mod talk;
mod workload;

use std::path::Path;
use std::time::Duration;

use self::messages::{Answer, Hello, Input, Prepare, Request, Weights};
use self::talk::Talk;
use self::workload::ExternalWorkload;
use super::process::Guard;
use super::{Engine, EngineError, Form, Loaded, ProbedDevice, RunClock, Surroundings, Versions, inputs};
use crate::domain::{ExternalProgram, HostData, HostTensor, Mode, PlannedRun, Platform, Precision, WeightChoice};
use crate::exchange::tensors::{TensorFileError, read_tensors, write_tensors};
use crate::zoo;
pub use error::ExternalError;

/// No model and no device is larger, in bytes: a petabyte.
const MOST_BYTES: u64 = 1 << 50;

/// The folder in which a worker makes that of its program, so that it goes with the parent's even where the worker dies.
const FOLDER_VARIABLE: &str = "BENCHDB_FOLDER";

/// What a worker needs around it that talks to a program: a folder that is removed when it has ended.
pub(super) fn surroundings() -> Surroundings {
    let folder = tempfile::Builder::new().prefix("benchdb-").tempdir().ok();
    let variables = folder.iter().map(|folder| (FOLDER_VARIABLE, folder.path().into())).collect();
    Surroundings { variables, folder }
}

/// A program that speaks the protocol, as an engine.
#[derive(Debug)]
pub struct ExternalEngine {
    name: &'static str,
    platforms: &'static [Platform],
    program: ExternalProgram,
    /// What it said when the plan was made; a worker asks anew.
    hello: Option<Hello>,
    guard: Guard,
}

impl ExternalEngine {
    /// Starts a program, asks what it can do and lets it end. The engine lives as long as this process, like those that
    /// are compiled in.
    ///
    /// # Errors
    /// Whatever keeps it from saying hello and good-bye.
    pub(in crate::engine) fn meet(program: &ExternalProgram, guard: Guard) -> Result<&'static Self, ExternalError> {
        let (talk, hello) = open(program, 0, guard.clone())?;
        talk.bye(program.times.bye)?;
        let framework = hello.framework.clone().unwrap_or_else(|| format!("{} {}", hello.engine, hello.version));
        Ok(Box::leak(Box::new(Self {
            // One for every `--external` of a command line: what they take is never given back.
            name: hello.engine.clone().leak(),
            platforms: hello.platforms().leak(),
            program: ExternalProgram { version: hello.version.clone(), framework, ..program.clone() },
            hello: Some(hello),
            guard,
        })))
    }

    /// The engine of a run that was planned with this program.
    pub(in crate::engine) fn planned(program: &ExternalProgram, name: &str, guard: Guard) -> &'static Self {
        Box::leak(Box::new(Self {
            name: name.to_owned().leak(),
            platforms: &[],
            program: program.clone(),
            hello: None,
            guard,
        }))
    }

    /// The program, with its versions.
    pub fn program(&self) -> &ExternalProgram {
        &self.program
    }

    /// What changes the work of the program: what it says itself, and the options that it was given.
    pub fn parameters(&self) -> impl Iterator<Item = (String, serde_json::Value)> {
        let own = self.hello.iter().flat_map(|hello| hello.parameters.clone());
        own.chain(self.program.options.clone())
    }

    /// Whether it has a model of that name.
    pub fn has_model(&self, name: &str) -> bool {
        self.hello.as_ref().is_some_and(|hello| hello.has_model(name))
    }

    fn refused(&self, what: String, reason: impl Into<String>, nearest: Option<String>) -> EngineError {
        ExternalError::Refused { program: self.name.to_owned(), what, reason: reason.into(), nearest }.into()
    }

    /// A program that has built the plan's model.
    fn prepared(&self, plan: &PlannedRun, batch: Option<&[HostTensor]>) -> Result<ExternalWorkload, EngineError> {
        let configuration = &plan.configuration;
        let (mut talk, hello) = open(&self.program, configuration.threads, self.guard.clone())?;
        if hello.engine != self.name {
            return Err(talk.lie("hello", format!("it was `{}` when the run was planned", self.name)).into());
        }
        let planned = &self.program.version;
        if !planned.is_empty() && hello.version != *planned {
            let was = format!("it is version {}, and was {planned} when the run was planned", hello.version);
            return Err(talk.lie("hello", was).into());
        }
        let here = hello.devices_on(configuration.platform);
        let device = here.get(plan.device_index as usize).map(|probed| &probed.device.name);
        if device != Some(&configuration.device.name) {
            let was = format!("its device was `{}` when the run was planned", configuration.device.name);
            return Err(talk.lie("hello", was).into());
        }
        let folder = tempfile::Builder::new()
            .prefix("benchdb-")
            .tempdir_in(std::env::var_os(FOLDER_VARIABLE).map_or_else(std::env::temp_dir, Into::into))
            .map_err(|source| ExternalError::Folder { program: talk.name().to_owned(), source })?;
        let entry = zoo::find(&configuration.model);
        let batch_size = configuration.batch_size as usize;
        let inputs = match batch {
            Some(batch) => batch.to_vec(),
            None => inputs::inputs(plan, batch_size)?,
        };
        let training = configuration.mode == Mode::Training;
        let targets = match entry {
            Some(entry) if training => zoo::host_targets(entry.task, &plan.inputs, entry.labels, batch_size, plan.seed),
            _ => Vec::new(),
        };
        let [input, targets] = [("input.npz", &inputs), ("targets.npz", &targets)].map(|(file, tensors)| {
            let path = folder.path().join(file);
            if tensors.is_empty() { Ok(None) } else { write(&talk, tensors, &path).map(|()| Some(path)) }
        });
        let (input, targets) = (input?, targets?);
        let request = Request::Prepare(Box::new(Prepare {
            model: &configuration.model,
            variant: &configuration.variant,
            task: entry.map(|entry| entry.task),
            labels: entry.map(|entry| entry.labels),
            mode: configuration.mode,
            precision: configuration.precision,
            platform: configuration.platform,
            device_index: plan.device_index,
            batch_size: configuration.batch_size,
            batches_in_flight: plan.sampling.batches_in_flight.max(1),
            generate: plan.generate,
            threads: configuration.threads,
            seed: plan.seed,
            weights: match &plan.weights {
                WeightChoice::Seeded(seed) => Weights::Rule(*seed),
                WeightChoice::File(path) => Weights::File { path, format: hello::file_format(path) },
            },
            inputs: inputs
                .iter()
                .map(|tensor| Input {
                    name: &tensor.name,
                    shape: tensor.shape.clone(),
                    element: match tensor.data {
                        HostData::F32(_) => "float32",
                        HostData::I64(_) => "int64",
                    },
                })
                .collect(),
            input: input.as_deref(),
            targets: targets.as_deref(),
            optimizer: training.then_some(plan.optimizer),
            learning_rate: training.then(|| zoo::learning_rate(plan.optimizer)),
            options: &self.program.options,
        }));
        let answer = match talk.ask(&request, self.program.times.prepare) {
            Ok(answer) => answer,
            // The message says what was asked for.
            Err(ExternalError::Refused { program, reason, nearest, .. }) => {
                let what = format!("{} in {} for {}", configuration.mode, configuration.precision, configuration.model);
                return Err(ExternalError::Refused { program, what, reason, nearest }.into());
            }
            Err(error) => return Err(error.into()),
        };
        let (Answer::Prepare(prepared), taken) = answer else {
            return Err(talk.lie("prepare", "it answered something else").into());
        };
        if let Some(compile) = prepared.compile_ns.map(Duration::from_nanos).filter(|compile| *compile > taken) {
            return Err(talk.lie("prepare", format!("compiling took {compile:?}, its answer {taken:?}")).into());
        }
        if let Some(bytes) = prepared.model_size_bytes.filter(|bytes| *bytes > MOST_BYTES) {
            return Err(talk.lie("prepare", format!("its model has {bytes} bytes")).into());
        }
        Ok(ExternalWorkload::new(talk, folder, prepared, hello, plan)?)
    }
}

/// Starts a program and hears its hello.
fn open(program: &ExternalProgram, threads: u32, guard: Guard) -> Result<(Talk, Hello), ExternalError> {
    let name = program.short_name();
    let mut talk = Talk::start(program, name.clone(), threads, guard)?;
    let request = Request::Hello { protocol: messages::PROTOCOL, benchdb: env!("CARGO_PKG_VERSION") };
    match talk.ask(&request, program.times.hello)? {
        (Answer::Hello(said), _) => {
            hello::check(&said, &name)?;
            talk.rename(&said.engine);
            Ok((talk, *said))
        }
        (other, _) => Err(talk.lie("hello", format!("it answered `{}`", other.name()))),
    }
}

fn write(talk: &Talk, tensors: &[HostTensor], path: &Path) -> Result<(), ExternalError> {
    let text = path.to_string_lossy();
    std::fs::File::create(path)
        .map_err(|source| TensorFileError::Read { path: text.clone().into_owned(), source })
        .and_then(|file| write_tensors(&mut std::io::BufWriter::new(file), tensors, true, &text))
        .map_err(|source| ExternalError::Tensors { program: talk.name().to_owned(), source })
}

fn read(talk: &Talk, path: &Path) -> Result<Vec<HostTensor>, ExternalError> {
    // A pipe in its place would be waited for.
    if std::fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(talk.lie("outputs", "what it wrote is no regular file"));
    }
    read_tensors(path, "output").map_err(|source| ExternalError::Tensors { program: talk.name().to_owned(), source })
}

impl Engine for ExternalEngine {
    fn name(&self) -> &'static str {
        self.name
    }

    fn platforms(&self) -> &'static [Platform] {
        self.platforms
    }

    fn feature(&self) -> (&'static str, bool) {
        ("default", true)
    }

    fn versions(&self) -> Versions {
        Versions { engine: self.program.version.clone(), framework: self.program.framework.clone() }
    }

    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        let hello = self.hello.iter();
        Ok(hello.flat_map(|hello| hello.platforms().into_iter().flat_map(|on| hello.devices_on(on))).collect())
    }

    fn known_devices(&self, platform: Platform) -> Option<Vec<ProbedDevice>> {
        self.hello.as_ref().map(|hello| hello.devices_on(platform))
    }

    fn external(&self) -> Option<&ExternalEngine> {
        Some(self)
    }

    /// Networks by the zoo's names, and files where it reads them.
    fn takes(&self, form: Form) -> bool {
        let reads_onnx = || self.hello.as_ref().is_some_and(|hello| hello.weights.iter().any(|known| known == "onnx"));
        form == Form::Zoo || reads_onnx()
    }

    fn supports(&self, mode: Mode, precision: Precision) -> Result<(), EngineError> {
        let Some(hello) = &self.hello else { return Ok(()) };
        if !hello.modes.contains(&mode) {
            let modes: Vec<String> = hello.modes.iter().map(Mode::to_string).collect();
            return Err(self.refused(mode.to_string(), format!("it does {}", modes.join(", ")), None));
        }
        let precisions = hello.precisions();
        if precisions.contains(&precision) {
            return Ok(());
        }
        let known: Vec<String> = precisions.iter().map(Precision::to_string).collect();
        Err(self.refused(
            precision.to_string(),
            "it computes in other precisions",
            Some(format!("`--precision {}`", known.join(","))),
        ))
    }

    fn accepts(&self, plan: &PlannedRun) -> Result<(), EngineError> {
        let refused = self.hello.as_ref().and_then(|hello| hello.refuses(plan));
        refused.map_or(Ok(()), |(what, reason, nearest)| Err(self.refused(what, reason, nearest)))
    }

    fn load(&self, plan: &PlannedRun) -> Result<Loaded, EngineError> {
        let workload = self.prepared(plan, None)?;
        Ok(Loaded {
            clock: RunClock::Reported(workload.clock()),
            model_size_bytes: workload.model_size_bytes(),
            compile: workload.compile(),
            workload: Box::new(workload),
        })
    }

    fn infer(&self, plan: &PlannedRun, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
        let samples = inputs.first().and_then(|input| input.shape.first()).copied().unwrap_or(1);
        let mut plan = PlannedRun { generate: None, ..plan.clone() };
        plan.configuration.mode = Mode::Inference;
        plan.configuration.batch_size = u32::try_from(samples).unwrap_or(u32::MAX);
        plan.sampling.batches_in_flight = 1;
        let mut workload = self.prepared(&plan, Some(inputs))?;
        let outputs = workload.compute_outputs(inputs)?;
        workload.bye()?;
        Ok(outputs)
    }
}
