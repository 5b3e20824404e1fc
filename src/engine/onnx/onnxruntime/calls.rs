//! The calls of ONNX Runtime: its library, sessions, tensors.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider as _, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session as OrtSession};
use ort::value::{DynValue, Tensor, TensorElementType};

use super::super::session::{Open, Session, floats, integers, narrowed};
use super::super::{file_of, refused};
use super::{OnnxRuntimeEngine, PATH_VARIABLE, Versions, find};
use crate::domain::text::one_line;
use crate::domain::{ElementType, HostData, HostTensor, PlannedRun, Precision};
use crate::engine::{Engine as _, EngineError, ProbedDevice};
use crate::onnx::OnnxFile;

/// The way out where there is no library.
const INSTALL: &str = "`pip install onnxruntime` into the Python environment at hand, or name the library: \
                       `ORT_DYLIB_PATH=/path/to/libonnxruntime.so`";

/// What was loaded: once a process.
static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();

/// The version of the library, once it was loaded; empty before.
pub(super) fn versions() -> Versions {
    let build = if ENVIRONMENT.get().is_some() { ort::info() } else { "" };
    let version = VERSION.get().cloned().unwrap_or_default();
    let commit = build.split("git-commit-id=").nth(1).and_then(|rest| rest.split(',').next());
    let commit = commit.map(|commit| format!(", commit {commit}")).unwrap_or_default();
    let framework = if version.is_empty() { String::new() } else { format!("onnxruntime {version}{commit}") };
    Versions { engine: version, framework }
}

/// The version of the library that was loaded.
static VERSION: OnceLock<String> = OnceLock::new();

/// The library, loaded.
fn environment() -> Result<&'static Environment, EngineError> {
    if let Some(environment) = ENVIRONMENT.get() {
        return Ok(environment);
    }
    let named = std::env::var_os(PATH_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = named.or_else(find).ok_or_else(|| EngineError::NotHere {
        message: "ONNX Runtime's library was not found: neither in a Python environment nor among the system's \
                  libraries"
            .to_owned(),
        hint: Some(INSTALL.to_owned()),
    })?;
    let environment = load(&path)?;
    Ok(ENVIRONMENT.get_or_init(|| environment))
}

fn load(path: &Path) -> Result<Environment, EngineError> {
    let unusable = |reason: String, hint: &str| EngineError::NotHere {
        message: format!("ONNX Runtime's library `{}` cannot be used: {reason}", path.display()),
        hint: Some(hint.to_owned()),
    };
    let builder = ort::init_from(path).map_err(|error| match error {
        ort::LoadDynamicError::BadVersion { version_str, .. } => unusable(
            format!("it is version {version_str}, and 1.{} is the oldest that fits", ort::MINOR_VERSION),
            "`pip install --upgrade onnxruntime`",
        ),
        ort::LoadDynamicError::Dlopen { error, .. } => unusable(one_line(&error), INSTALL),
        ort::LoadDynamicError::MissingApi { .. } => unusable("it is another library".to_owned(), INSTALL),
        other => unusable(other.to_string(), INSTALL),
    })?;
    let built = builder.with_name("benchdb").with_telemetry(false).build();
    let environment = built.map_err(|error| unusable(error.to_string(), INSTALL))?;
    // Another thread says the same.
    let _ = VERSION.set(version_of(path, ort::info()));
    Ok(environment)
}

/// The version of a library: by its file, as in `libonnxruntime.so.1.31.1`, else by the branch that it was built from.
fn version_of(path: &Path, build: &str) -> String {
    let whole = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let name = whole.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let numbers: Vec<&str> = name.split('.').filter(|word| word.parse::<u64>().is_ok()).collect();
    let branch = build.split("git-branch=rel-").nth(1).and_then(|rest| rest.split(',').next());
    if numbers.is_empty() { branch.unwrap_or_default().trim().to_owned() } else { numbers.join(".") }
}

/// What the engine finds of silicon that its provider drives.
pub(super) fn probe(engine: OnnxRuntimeEngine) -> Result<Vec<ProbedDevice>, EngineError> {
    environment()?;
    if !offered(engine)? {
        return Err(EngineError::NotHere {
            message: format!("this build of ONNX Runtime does not have the provider of {}", engine.name()),
            hint: Some(way_to(engine).to_owned()),
        });
    }
    let precisions = [Precision::Fp32, Precision::Fp16, Precision::Bf16, Precision::Int8, Precision::Int8w];
    let devices = engine.devices().into_iter();
    Ok(devices.map(|device| ProbedDevice { device, precisions: precisions.to_vec() }).collect())
}

fn way_to(engine: OnnxRuntimeEngine) -> &'static str {
    match engine {
        OnnxRuntimeEngine::Cpu => INSTALL,
        OnnxRuntimeEngine::Cuda | OnnxRuntimeEngine::TensorRt => "`pip install onnxruntime-gpu`",
        OnnxRuntimeEngine::MiGraphX => "`pip install onnxruntime-migraphx`",
        OnnxRuntimeEngine::Rocm => "`pip install onnxruntime-rocm`",
        OnnxRuntimeEngine::CoreMl => "`pip install onnxruntime` on macOS",
        OnnxRuntimeEngine::OpenVino => "`pip install onnxruntime-openvino`",
    }
}

fn offered(engine: OnnxRuntimeEngine) -> Result<bool, EngineError> {
    let available = match engine {
        OnnxRuntimeEngine::Cpu => return Ok(true),
        OnnxRuntimeEngine::Cuda => ep::CUDA::is_available(),
        OnnxRuntimeEngine::TensorRt => ep::TensorRT::is_available(),
        OnnxRuntimeEngine::MiGraphX => ep::MIGraphX::is_available(),
        OnnxRuntimeEngine::Rocm => ep::ROCm::is_available(),
        OnnxRuntimeEngine::CoreMl => ep::CoreML::is_available(),
        OnnxRuntimeEngine::OpenVino => ep::OpenVINO::is_available(),
    };
    available.map_err(|error| refused(engine.name(), "list its providers", &plain(&error.to_string())))
}

/// The provider of an engine on the device of this index; `None` for the processor, which needs none.
fn provider(engine: OnnxRuntimeEngine, index: i32) -> Option<ExecutionProviderDispatch> {
    Some(match engine {
        OnnxRuntimeEngine::Cpu => return None,
        // fp32 is meant where fp32 is said.
        OnnxRuntimeEngine::Cuda => ep::CUDA::default().with_device_id(index).with_tf32(false).build(),
        OnnxRuntimeEngine::TensorRt => ep::TensorRT::default().with_device_id(index).build(),
        OnnxRuntimeEngine::MiGraphX => ep::MIGraphX::default().with_device_id(index).build(),
        OnnxRuntimeEngine::Rocm => ep::ROCm::default().with_device_id(index).build(),
        OnnxRuntimeEngine::CoreMl => ep::CoreML::default().build(),
        OnnxRuntimeEngine::OpenVino => ep::OpenVINO::default().with_device_type("CPU").build(),
    })
}

/// What an error says, without the file that the caller names and the place in the library's sources.
fn plain(message: &str) -> String {
    let mut words = match message.strip_prefix("Load model from ").and_then(|rest| rest.split_once(" failed:")) {
        Some((_, reason)) => reason,
        None => message,
    };
    if words.contains("onnxruntime_src/") {
        // A signature ends in a bracket; what follows is a sentence.
        let sentence = |at: &usize| words[at + 2..].starts_with(char::is_uppercase);
        let end = words.match_indices(") ").map(|(at, _)| at).find(sentence);
        words = end.map_or(words, |at| &words[at + 2..]);
    }
    words.trim_start_matches("Fatal error: ").to_owned()
}

/// Loads files.
pub(super) fn opener(engine: OnnxRuntimeEngine) -> Open {
    Box::new(move |plan, _| open(engine, plan))
}

fn open(engine: OnnxRuntimeEngine, plan: &PlannedRun) -> Result<Box<dyn Session>, EngineError> {
    let (graph, path) = file_of(plan)?;
    let environment = environment()?;
    let loading = format!("load `{}`", path.display());
    let failed = |message: String| refused(engine.name(), &loading, &message);
    let index = i32::try_from(plan.device_index).unwrap_or(0);
    let session = session(engine, environment, plan, path, None).map_err(|error| failed(plain(&error)))?;
    Ok(Box::new(RuntimeSession {
        plan: plan.clone(),
        engine,
        index,
        elements: graph.inputs.iter().map(|input| (input.name.clone(), input.element)).collect(),
        inputs: Vec::new(),
        binding: None,
        session,
    }))
}

/// A session for a file; the graph as the library changes it goes to `optimized`.
fn session(
    engine: OnnxRuntimeEngine,
    environment: &Environment,
    plan: &PlannedRun,
    path: &Path,
    optimized: Option<&Path>,
) -> Result<OrtSession, String> {
    // Its errors of a builder carry the builder, each of another type.
    fn text(error: impl std::fmt::Display) -> String {
        error.to_string()
    }
    let mut builder = OrtSession::builder(environment).map_err(text)?;
    if plan.configuration.threads > 0 {
        builder = builder.with_intra_threads(plan.configuration.threads as usize).map_err(text)?;
    }
    if let Some(path) = optimized {
        builder = builder.with_optimized_model_path(path).map_err(text)?;
    }
    if let Some(provider) = provider(engine, i32::try_from(plan.device_index).unwrap_or(0)) {
        builder = builder
            .with_execution_providers([provider.error_on_failure()])
            .map_err(text)?
            // What the provider cannot do would go to the processor in silence.
            .with_disable_cpu_fallback()
            .map_err(text)?;
    }
    builder.commit_from_file(path).map_err(text)
}

/// The arithmetic of a file once the library has changed it for the processor: where it has no products in a type, it
/// converts to another around each.
fn real_precision(plan: &PlannedRun) -> Option<Precision> {
    let folder = tempfile::tempdir().ok()?;
    let changed = folder.path().join("optimized.onnx");
    let (_, path) = file_of(plan).ok()?;
    session(OnnxRuntimeEngine::Cpu, environment().ok()?, plan, path, Some(&changed)).ok()?;
    OnnxFile::read(&changed).ok()?.arithmetic()
}

/// A file in a session.
struct RuntimeSession {
    plan: PlannedRun,
    engine: OnnxRuntimeEngine,
    index: i32,
    elements: Vec<(String, ElementType)>,
    inputs: Vec<(String, DynValue)>,
    binding: Option<IoBinding>,
    // Dropped last: the others belong to it.
    session: OrtSession,
}

impl Session for RuntimeSession {
    fn feed(&mut self, inputs: &[HostTensor]) -> Result<(), EngineError> {
        let name = self.engine.name();
        let taken = |error: ort::Error| refused(name, "take its inputs", &plain(&error.to_string()));
        let mut values = Vec::new();
        for ((name, element), input) in self.elements.iter().zip(inputs) {
            values.push((name.clone(), value(input, *element).map_err(taken)?));
        }
        let mut binding = self.session.create_binding().map_err(taken)?;
        for (name, value) in &values {
            // Copied to the device here, once.
            binding.bind_input(name, value).map_err(taken)?;
        }
        // Outputs stay where they were made: reading them back is no part of the work.
        let (device, index) = match self.engine {
            OnnxRuntimeEngine::Cuda | OnnxRuntimeEngine::TensorRt => (AllocationDevice::CUDA, self.index),
            _ => (AllocationDevice::CPU, 0),
        };
        let memory = MemoryInfo::new(device, index, AllocatorType::Device, MemoryType::Default);
        let memory = memory.map_err(taken)?;
        for output in self.session.outputs() {
            binding.bind_output_to_device(output.name(), &memory).map_err(taken)?;
        }
        self.inputs = values;
        self.binding = Some(binding);
        Ok(())
    }

    fn run(&mut self) -> Result<(), EngineError> {
        let Some(binding) = &self.binding else { return Ok(()) };
        match self.session.run_binding(binding) {
            Ok(_) => Ok(()),
            Err(error) => Err(refused(self.engine.name(), "run the file", &plain(&error.to_string()))),
        }
    }

    fn outputs(&mut self) -> Result<Vec<HostTensor>, EngineError> {
        let name = self.engine.name();
        let views: Vec<(&str, &DynValue)> = self.inputs.iter().map(|(name, value)| (name.as_str(), value)).collect();
        let outputs =
            self.session.run(views).map_err(|error| refused(name, "run the file", &plain(&error.to_string())))?;
        // Sequences, maps and texts are run and timed; there is nothing to compare in them.
        let of_numbers =
            |value: &DynValue| value.dtype().tensor_type().is_some_and(|kind| kind != TensorElementType::String);
        outputs
            .iter()
            .filter(|(_, value)| of_numbers(value))
            .map(|(output, value)| {
                host(output, &value).map_err(|error| refused(name, "hand over its outputs", &plain(&error.to_string())))
            })
            .collect()
    }

    fn precision(&self) -> Option<Precision> {
        // Files in fp32 are computed in it; what other providers do, they do not tell.
        let told = self.engine == OnnxRuntimeEngine::Cpu && self.plan.configuration.precision != Precision::Fp32;
        if told { real_precision(&self.plan) } else { None }
    }
}

/// A tensor as the library takes it.
fn value(tensor: &HostTensor, element: ElementType) -> ort::Result<DynValue> {
    let shape = tensor.shape.clone();
    let data = &tensor.data;
    Ok(match element {
        ElementType::F64 => {
            let wide: Vec<f64> = floats(data).into_iter().map(f64::from).collect();
            Tensor::from_array((shape, wide))?.into_dyn()
        }
        ElementType::F32 => Tensor::from_array((shape, floats(data)))?.into_dyn(),
        ElementType::F16 => {
            let half: Vec<half::f16> = floats(data).into_iter().map(half::f16::from_f32).collect();
            Tensor::from_array((shape, half))?.into_dyn()
        }
        ElementType::Bf16 => {
            let half: Vec<half::bf16> = floats(data).into_iter().map(half::bf16::from_f32).collect();
            Tensor::from_array((shape, half))?.into_dyn()
        }
        ElementType::I64 => Tensor::from_array((shape, integers(data)))?.into_dyn(),
        ElementType::I32 => Tensor::from_array((shape, narrowed::<i32>(data)))?.into_dyn(),
        ElementType::I16 => Tensor::from_array((shape, narrowed::<i16>(data)))?.into_dyn(),
        ElementType::I8 => Tensor::from_array((shape, narrowed::<i8>(data)))?.into_dyn(),
        ElementType::U64 => Tensor::from_array((shape, narrowed::<u64>(data)))?.into_dyn(),
        ElementType::U32 => Tensor::from_array((shape, narrowed::<u32>(data)))?.into_dyn(),
        ElementType::U16 => Tensor::from_array((shape, narrowed::<u16>(data)))?.into_dyn(),
        ElementType::U8 => Tensor::from_array((shape, narrowed::<u8>(data)))?.into_dyn(),
        ElementType::Bool => {
            let truths: Vec<bool> = integers(data).into_iter().map(|value| value != 0).collect();
            Tensor::from_array((shape, truths))?.into_dyn()
        }
    })
}

/// A tensor of the library as host memory; floats come as single precision, whole numbers as integers.
fn host(name: &str, value: &DynValue) -> ort::Result<HostTensor> {
    fn read<T: ort::value::PrimitiveTensorElementType + Copy, U>(
        value: &DynValue,
        of: impl Fn(T) -> U,
    ) -> ort::Result<(Vec<usize>, Vec<U>)> {
        let (shape, elements) = value.try_extract_tensor::<T>()?;
        let shape = shape.iter().map(|extent| usize::try_from(*extent).unwrap_or(0)).collect();
        Ok((shape, elements.iter().map(|element| of(*element)).collect()))
    }
    let float = |(shape, values)| (shape, HostData::F32(values));
    let whole = |(shape, values)| (shape, HostData::I64(values));
    let (shape, data) = match value.dtype().tensor_type() {
        Some(TensorElementType::Float64) => float(read(value, |element: f64| element as f32)?),
        Some(TensorElementType::Float16) => float(read(value, |element: half::f16| element.to_f32())?),
        Some(TensorElementType::Bfloat16) => float(read(value, |element: half::bf16| element.to_f32())?),
        Some(TensorElementType::Int64) => whole(read(value, |element: i64| element)?),
        Some(TensorElementType::Int32) => whole(read(value, |element: i32| element.into())?),
        Some(TensorElementType::Int16) => whole(read(value, |element: i16| element.into())?),
        Some(TensorElementType::Int8) => whole(read(value, |element: i8| element.into())?),
        Some(TensorElementType::Uint64) => whole(read(value, |element: u64| element.cast_signed())?),
        Some(TensorElementType::Uint32) => whole(read(value, |element: u32| element.into())?),
        Some(TensorElementType::Uint16) => whole(read(value, |element: u16| element.into())?),
        Some(TensorElementType::Uint8) => whole(read(value, |element: u8| element.into())?),
        Some(TensorElementType::Bool) => whole(read(value, |element: bool| element.into())?),
        _ => float(read(value, |element: f32| element)?),
    };
    Ok(HostTensor { name: name.to_owned(), shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_has_its_version_in_its_name_or_its_branch() {
        let build = "ORT Build Info: git-branch=rel-1.22.0, git-commit-id=26250ae, build type=Release";
        assert_eq!(version_of(Path::new("/x/libonnxruntime.so.1.31.1"), build), "1.31.1");
        assert_eq!(version_of(Path::new("/x/onnxruntime.dll"), build), "1.22.0");
        assert_eq!(version_of(Path::new("/x/onnxruntime.dll"), ""), "");
    }

    #[test]
    fn an_error_is_what_is_wrong_and_not_where_it_was_found() {
        let of_version = "Load model from /x/future.onnx failed:/onnxruntime_src/core/load.h:46 void \
                          f(const std::map<std::string, int>&, int) ONNX Runtime takes versions up to 26 (and no more).";
        assert_eq!(plain(of_version), "ONNX Runtime takes versions up to 26 (and no more).");
        let of_operator =
            "Load model from /x/custom.onnx failed:Fatal error: example.org:Mystery(-1) is not registered";
        assert_eq!(plain(of_operator), "example.org:Mystery(-1) is not registered");
        assert_eq!(plain("no memory"), "no memory");
    }
}
