//! The engine `openvino`: Intel's runtime on whatever devices it finds. Its library is looked for when it is asked for.

use std::path::{Path, PathBuf};

use super::super::Surroundings;
#[cfg(feature = "openvino")]
use super::super::{EngineError, ProbedDevice, Versions};
use super::Library;
use super::library;
#[cfg(feature = "openvino")]
use super::session::Open;
use crate::domain::{Device, Platform, Precision};
use crate::hardware::host_cpu;

/// The variable that says where OpenVINO is installed; its crate looks there first.
const INSTALLED_VARIABLE: &str = "OPENVINO_INSTALL_DIR";

/// Variables with which somebody has said already where it is.
const NAMED: [&str; 3] = [INSTALLED_VARIABLE, "OPENVINO_BUILD_DIR", "INTEL_OPENVINO_DIR"];

/// A place below an installation where the crate looks for libraries, whatever the processor.
const LIBRARIES: &str = "runtime/lib/intel64";

/// OpenVINO.
#[derive(Clone, Copy, Debug)]
pub struct OpenVinoEngine;

impl Library for OpenVinoEngine {
    fn name(&self) -> &'static str {
        "openvino"
    }

    fn platforms(&self) -> &'static [Platform] {
        &[Platform::Openvino]
    }

    fn feature(&self) -> (&'static str, bool) {
        ("openvino", cfg!(feature = "openvino"))
    }

    fn surroundings(&self) -> Surroundings {
        if NAMED.iter().any(|variable| std::env::var_os(variable).is_some_and(|path| !path.is_empty())) {
            return Surroundings::default();
        }
        // Without a folder of links the crate looks by itself, and says so if it finds nothing.
        find().and_then(|library| linked(&library).ok()).unwrap_or_default()
    }

    fn home(&self) -> Option<Device> {
        Some(host_cpu())
    }

    #[cfg(feature = "openvino")]
    fn versions(&self) -> Versions {
        calls::versions()
    }

    #[cfg(feature = "openvino")]
    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        calls::probe()
    }

    #[cfg(feature = "openvino")]
    fn opener(&self) -> Result<Open, EngineError> {
        Ok(Box::new(calls::open))
    }

    /// It computes a file in fp32 with bfloat16 products where it is told to.
    fn converts(&self, from: Precision, to: Precision) -> bool {
        (from, to) == (Precision::Fp32, Precision::Bf16)
    }
}

/// The C library in the package of a Python environment, or among the system's libraries.
fn find() -> Option<PathBuf> {
    let name = library::file_name("openvino_c");
    let of_python = library::python_packages().iter().map(|packages| packages.join("openvino").join("libs"));
    of_python.chain(library::system_folders()).find_map(|folder| library::library_in(&folder, &name))
}

/// A folder that looks like an installation, of links to the libraries beside this one. The package of Python has its libraries
/// under names with versions alone, and they look for each other beside themselves.
fn linked(library: &Path) -> std::io::Result<Surroundings> {
    let folder = tempfile::Builder::new().prefix("benchdb-openvino-").tempdir()?;
    let place = folder.path().join(LIBRARIES);
    std::fs::create_dir_all(&place)?;
    let beside = library.parent().unwrap_or(Path::new("."));
    for entry in std::fs::read_dir(beside)? {
        let entry = entry?;
        let name = entry.file_name();
        // A folder of the whole system has thousands of others.
        let own = ["openvino", "tbb", "hwloc", "cache.json"].iter().any(|sign| name.to_string_lossy().contains(sign));
        if own && entry.path().is_file() {
            link(&entry.path(), &place.join(&name))?;
        }
    }
    let plain = place.join(library::file_name("openvino_c"));
    if !plain.exists() {
        link(library, &plain)?;
    }
    Ok(Surroundings { variables: vec![(INSTALLED_VARIABLE, folder.path().into())], folder: Some(folder) })
}

#[cfg(unix)]
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(from, to)
}

#[cfg(not(unix))]
fn link(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(drop))
}

#[cfg(feature = "openvino")]
mod calls {
    use std::sync::OnceLock;
    use std::time::{Duration, Instant};

    use openvino::{
        CompiledModel, Core, DeviceType, ElementType as OpenVinoType, InferRequest, PartialShape, PropertyKey,
        RwPropertyKey, Shape, Tensor,
    };

    use super::super::session::{Session, bytes, from_bytes};
    use super::super::{file_of, refused};
    use super::Versions;
    use crate::domain::{Device, DeviceKind, ElementType, GraphInput, HostTensor, PlannedRun, Platform, Precision};
    use crate::engine::{EngineError, ProbedDevice};
    use crate::hardware::host_cpu;

    const NAME: &str = "openvino";

    /// The way out where there is no library.
    const INSTALL: &str = "`pip install openvino` into the Python environment at hand, or name the installation: \
                           `OPENVINO_INSTALL_DIR=/opt/intel/openvino`";

    /// The build of the library, once it was loaded.
    static BUILD: OnceLock<String> = OnceLock::new();

    /// The version of the library, once it was loaded; empty before.
    pub(super) fn versions() -> Versions {
        let Some(build) = BUILD.get() else {
            return Versions { engine: String::new(), framework: String::new() };
        };
        // `2026.4.1-20123-abc`: the release, then the build.
        let release = build.split('-').next().unwrap_or(build);
        Versions { engine: release.to_owned(), framework: format!("openvino {build}") }
    }

    /// The library, loaded. Its crate panics where the library lacks a function that it calls.
    fn core() -> Result<Core, EngineError> {
        let core = Core::new().map_err(|error| {
            let message = match error.to_string() {
                said if said.contains("Unable to find") => {
                    let looked =
                        "neither in a Python environment, nor where a variable says, nor among the system's libraries";
                    format!("OpenVINO's library was not found: {looked}")
                }
                said => format!("OpenVINO's library cannot be used: {}", plain(&said)),
            };
            EngineError::NotHere { message, hint: Some(INSTALL.to_owned()) }
        })?;
        BUILD.get_or_init(|| openvino::version().build_number);
        Ok(core)
    }

    fn failed(doing: &str, error: &openvino::InferenceError) -> EngineError {
        refused(NAME, doing, &plain(error.message.as_deref().unwrap_or(&error.to_string())))
    }

    /// What an error says, without the places in the library's sources where it was found.
    fn plain(message: &str) -> String {
        let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
        let is_place = |part: &&str| part.starts_with("Exception from") || part.starts_with("Check '");
        line.split(": ").skip_while(is_place).collect::<Vec<_>>().join(": ")
    }

    /// The devices in the library's order, by its names.
    fn devices(core: &Core) -> Result<Vec<DeviceType<'static>>, EngineError> {
        core.available_devices()
            .map(|devices| devices.iter().map(DeviceType::to_owned).collect())
            .map_err(|error| failed("list its devices", &error))
    }

    pub(super) fn probe() -> Result<Vec<ProbedDevice>, EngineError> {
        let core = core()?;
        let probed = |name: &DeviceType<'_>| {
            let can = core.get_property(name, &PropertyKey::DeviceCapabilities).unwrap_or_default();
            let has = |word: &str| can.split_whitespace().any(|capability| capability == word);
            let mut precisions = vec![Precision::Fp32];
            let others = [("FP16", Precision::Fp16), ("BF16", Precision::Bf16), ("INT8", Precision::Int8)];
            precisions.extend(others.into_iter().filter(|(word, _)| has(word)).map(|(_, precision)| precision));
            // Weights alone are restored on the way.
            precisions.push(Precision::Int8w);
            ProbedDevice { device: describe(&core, name), precisions }
        };
        Ok(devices(&core)?.iter().map(probed).collect())
    }

    fn describe(core: &Core, name: &DeviceType<'_>) -> Device {
        let kind = match name.as_ref().split('.').next() {
            Some("CPU") => return host_cpu(),
            Some("NPU") => DeviceKind::Npu,
            _ => DeviceKind::Gpu,
        };
        let whole = core.get_property(name, &PropertyKey::DeviceFullName).unwrap_or_else(|_| name.to_string());
        // It says at the end whether a GPU is a part of the processor.
        let plain = whole.trim_end_matches(" (iGPU)").trim_end_matches(" (dGPU)").to_owned();
        Device {
            kind,
            vendor: if plain.contains("Intel") { "Intel".to_owned() } else { String::new() },
            name: plain,
            compute_units: None,
            memory_bytes: None,
            software: false,
        }
    }

    /// A file, compiled for a device and for inputs of one shape.
    struct OpenVinoSession {
        request: InferRequest,
        /// Its arithmetic, as the device says.
        precision: Option<Precision>,
        compile: Duration,
        inputs: Vec<GraphInput>,
        outputs: Vec<String>,
        // Dropped after what belongs to it.
        _model: CompiledModel,
        _core: Core,
    }

    pub(super) fn open(plan: &PlannedRun, batch_size: usize) -> Result<Box<dyn Session>, EngineError> {
        let (graph, path) = file_of(plan)?;
        let mut core = core()?;
        let found = devices(&core)?;
        let Some(device) = found.get(plan.device_index as usize).map(DeviceType::to_owned) else {
            return Err(EngineError::DeviceIndex {
                platform: Platform::Openvino,
                index: plan.device_index,
                found: found.len(),
            });
        };
        let loading = format!("load `{}`", path.display());
        let wrong = |error: openvino::InferenceError| failed(&loading, &error);
        let mut model = core.read_model_from_file(&path.to_string_lossy(), "").map_err(wrong)?;
        let mut shapes = Vec::new();
        for (at, input) in graph.inputs.iter().enumerate().filter(|(_, input)| !input.extents.is_empty()) {
            let extents: Vec<i64> = input.shape(batch_size).into_iter().map(|extent| extent as i64).collect();
            shapes.push((at, PartialShape::new_static(extents.len() as i64, &extents).map_err(wrong)?));
        }
        let shapes: Vec<(usize, &PartialShape)> = shapes.iter().map(|(at, shape)| (*at, shape)).collect();
        if !shapes.is_empty() {
            model.reshape_by_port_indexes(&shapes).map_err(wrong)?;
        }
        settle(&mut core, &device, plan).map_err(wrong)?;
        let mut outputs = Vec::new();
        for at in 0..model.get_outputs_len().map_err(wrong)? {
            outputs.push(model.get_output_by_index(at).and_then(|node| node.get_name()).map_err(wrong)?);
        }
        let start = Instant::now();
        let mut compiled = core.compile_model(&model, device).map_err(wrong)?;
        let compile = start.elapsed();
        let hint = compiled.get_property(&RwPropertyKey::HintInferencePrecision.into()).ok();
        let floats = match hint.as_deref() {
            Some("f32") => Some(Precision::Fp32),
            Some("f16") => Some(Precision::Fp16),
            Some("bf16") => Some(Precision::Bf16),
            _ => None,
        };
        // The hint is about floats; products of integers are done as the file has them.
        let by_integers = matches!(graph.precision, Precision::Int8 | Precision::Int8w);
        let precision = floats.filter(|_| !by_integers);
        let request = compiled.create_infer_request().map_err(wrong)?;
        Ok(Box::new(OpenVinoSession {
            request,
            precision,
            compile,
            inputs: graph.inputs.clone(),
            outputs,
            _model: compiled,
            _core: core,
        }))
    }

    /// Says how the device is to work: one batch at a time, on so many threads, and in the arithmetic that was asked for. By
    /// itself it takes bfloat16 where the processor has it.
    fn settle(core: &mut Core, device: &DeviceType<'_>, plan: &PlannedRun) -> Result<(), openvino::InferenceError> {
        let configuration = &plan.configuration;
        let float = match configuration.precision {
            Precision::Bf16 => "bf16",
            Precision::Fp16 => "f16",
            _ => "f32",
        };
        core.set_property(device, &RwPropertyKey::HintInferencePrecision, float)?;
        core.set_property(device, &RwPropertyKey::HintPerformanceMode, "LATENCY")?;
        if device.as_ref() == "CPU" {
            core.set_property(device, &RwPropertyKey::NumStreams, "1")?;
            if configuration.threads > 0 {
                let threads = configuration.threads.to_string();
                core.set_property(device, &RwPropertyKey::InferenceNumThreads, &threads)?;
            }
        }
        Ok(())
    }

    impl Session for OpenVinoSession {
        fn feed(&mut self, inputs: &[HostTensor]) -> Result<(), EngineError> {
            let wrong = |error: openvino::InferenceError| failed("take its inputs", &error);
            for (at, (input, own)) in inputs.iter().zip(&self.inputs).enumerate() {
                let element = &own.element;
                if input.shape.is_empty() {
                    // Its interface for C makes no shape without extents; the request has such a tensor already.
                    let mut tensor = self.request.get_tensor(&self.inputs[at].name).map_err(wrong)?;
                    let data = bytes(&input.data, *element);
                    let room = tensor.get_raw_data_mut().map_err(wrong)?;
                    room.iter_mut().zip(data).for_each(|(place, byte)| *place = byte);
                    continue;
                }
                let extents: Vec<i64> = input.shape.iter().map(|extent| *extent as i64).collect();
                let shape = Shape::new(&extents).map_err(wrong)?;
                let mut tensor = Tensor::new(openvino_type(*element), &shape).map_err(wrong)?;
                let data = bytes(&input.data, *element);
                let room = tensor.get_raw_data_mut().map_err(wrong)?;
                if room.len() != data.len() {
                    return Err(refused(NAME, "take its inputs", "a tensor has another size than its elements"));
                }
                room.copy_from_slice(&data);
                self.request.set_input_tensor_by_index(at, &tensor).map_err(wrong)?;
            }
            Ok(())
        }

        fn run(&mut self) -> Result<(), EngineError> {
            self.request.infer().map_err(|error| failed("run the file", &error))
        }

        fn outputs(&mut self) -> Result<Vec<HostTensor>, EngineError> {
            self.run()?;
            let wrong = |error: openvino::InferenceError| failed("hand over its outputs", &error);
            let mut outputs = Vec::new();
            for (at, name) in self.outputs.iter().enumerate() {
                let tensor = self.request.get_output_tensor_by_index(at).map_err(wrong)?;
                // Its interface for C has no shape without extents.
                let shape: Vec<usize> = tensor.get_shape().map_or_else(
                    |_| Vec::new(),
                    |extents| {
                        extents.get_dimensions().iter().map(|extent| usize::try_from(*extent).unwrap_or(0)).collect()
                    },
                );
                let element = element_of(tensor.get_element_type().map_err(wrong)?);
                let element = element.ok_or_else(|| refused(NAME, "hand over its outputs", "an unknown type"))?;
                outputs.push(HostTensor {
                    name: name.clone(),
                    shape,
                    data: from_bytes(tensor.get_raw_data().map_err(wrong)?, element),
                });
            }
            Ok(outputs)
        }

        fn compile(&self) -> Option<Duration> {
            Some(self.compile)
        }

        fn precision(&self) -> Option<Precision> {
            self.precision
        }
    }

    /// Element types by our names and by the library's.
    const TYPES: [(ElementType, OpenVinoType); 13] = [
        (ElementType::F64, OpenVinoType::F64),
        (ElementType::F32, OpenVinoType::F32),
        (ElementType::F16, OpenVinoType::F16),
        (ElementType::Bf16, OpenVinoType::Bf16),
        (ElementType::I64, OpenVinoType::I64),
        (ElementType::I32, OpenVinoType::I32),
        (ElementType::I16, OpenVinoType::I16),
        (ElementType::I8, OpenVinoType::I8),
        (ElementType::U64, OpenVinoType::U64),
        (ElementType::U32, OpenVinoType::U32),
        (ElementType::U16, OpenVinoType::U16),
        (ElementType::U8, OpenVinoType::U8),
        (ElementType::Bool, OpenVinoType::Boolean),
    ];

    fn openvino_type(element: ElementType) -> OpenVinoType {
        TYPES.iter().find(|(own, _)| *own == element).map_or(OpenVinoType::F32, |(_, theirs)| *theirs)
    }

    fn element_of(theirs: OpenVinoType) -> Option<ElementType> {
        TYPES.iter().find(|(_, known)| *known == theirs).map(|(own, _)| *own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_links_has_the_plain_name() {
        let package = tempfile::tempdir().unwrap();
        for name in ["libopenvino.so.2641", "libopenvino_c.so.2641", "libtbb.so.12", "other.txt"] {
            std::fs::write(package.path().join(name), name).unwrap();
        }
        let made = linked(&package.path().join("libopenvino_c.so.2641")).unwrap();
        let place = made.folder.as_ref().unwrap().path().join(LIBRARIES);
        let plain = std::fs::read_to_string(place.join(library::file_name("openvino_c"))).unwrap();
        assert_eq!(plain, "libopenvino_c.so.2641");
        assert!(place.join("libtbb.so.12").exists() && !place.join("other.txt").exists());
        assert_eq!(made.variables[0].0, INSTALLED_VARIABLE);
    }
}
