//! The engine `tract`: pure Rust, nothing to install.

use super::super::{EngineError, ProbedDevice, Versions};
use super::Library;
#[cfg(feature = "tract")]
use super::session::Open;
use crate::domain::{Device, Platform, Precision};
use crate::hardware::host_cpu;

/// The release of tract that is built in; `Cargo.toml` pins it.
const TRACT_VERSION: &str = "0.23.9";

/// tract on the host's processor.
#[derive(Clone, Copy, Debug)]
pub struct TractEngine;

impl Library for TractEngine {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn platforms(&self) -> &'static [Platform] {
        &[Platform::Cpu]
    }

    fn feature(&self) -> (&'static str, bool) {
        ("tract", cfg!(feature = "tract"))
    }

    fn versions(&self) -> Versions {
        Versions { engine: TRACT_VERSION.to_owned(), framework: format!("tract {TRACT_VERSION}") }
    }

    fn home(&self) -> Option<Device> {
        Some(host_cpu())
    }

    fn probe(&self) -> Result<Vec<ProbedDevice>, EngineError> {
        let precisions = vec![Precision::Fp32, Precision::Fp16, Precision::Int8, Precision::Int8w];
        Ok(vec![ProbedDevice { device: host_cpu(), precisions }])
    }

    fn computes(&self, precision: Precision) -> Result<(), EngineError> {
        if precision == Precision::Bf16 {
            return Err(EngineError::Unsupported {
                engine: Library::name(self),
                what: precision.to_string(),
                reason: "it has no such type",
                nearest: Some("a file in fp32 or fp16"),
            });
        }
        Ok(())
    }

    #[cfg(feature = "tract")]
    fn opener(&self) -> Result<Open, EngineError> {
        Ok(Box::new(library::open))
    }
}

#[cfg(feature = "tract")]
mod library {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use tract_onnx::prelude::{
        DatumType, Framework as _, InferenceFact, InferenceModelExt as _, IntoRunnable as _, TValue, TVec, Tensor,
        TractResult, TypedModel, TypedRunnableModel, multithread,
    };

    use super::super::session::{Session, bytes, from_bytes};
    use super::super::{file_of, refused};
    use crate::domain::{ElementType, HostTensor, PlannedRun, Precision};
    use crate::engine::EngineError;
    use crate::onnx::OnnxFile;

    const NAME: &str = "tract";

    /// The newest version of the operators that was released when this tract was.
    const NEWEST_OPERATORS: i64 = 28;

    /// A file, optimised for inputs of one shape.
    struct TractSession {
        model: Arc<TypedRunnableModel>,
        compile: Duration,
        precision: Option<Precision>,
        elements: Vec<ElementType>,
        names: Vec<String>,
        inputs: TVec<TValue>,
        outputs: TVec<TValue>,
    }

    pub(super) fn open(plan: &PlannedRun, batch_size: usize) -> Result<Box<dyn Session>, EngineError> {
        let (graph, path) = file_of(plan)?;
        let version = OnnxFile::read(path)?.operator_set();
        if version > NEWEST_OPERATORS {
            let message =
                format!("its operators are of version {version}, and {NEWEST_OPERATORS} is the newest that it knows");
            return Err(refused(NAME, &format!("load `{}`", path.display()), &message));
        }
        let threads = plan.configuration.threads;
        if threads > 1 {
            multithread::set_default_executor(multithread::Executor::multithread(threads as usize));
        }
        let load = || -> TractResult<TractSession> {
            // What a file says of shapes has the names of its extents; the inputs are known in numbers.
            let onnx = tract_onnx::onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
            let mut model = onnx.model_for_path(path)?;
            for (at, input) in graph.inputs.iter().enumerate() {
                model
                    .set_input_fact(at, InferenceFact::dt_shape(datum_type(input.element), input.shape(batch_size)))?;
            }
            let labels = model.output_outlets()?.to_vec();
            let names =
                labels.iter().map(|outlet| model.outlet_label(*outlet).unwrap_or_default().to_owned()).collect();
            let start = Instant::now();
            let model = model.into_typed()?.into_decluttered()?;
            let precision = arithmetic(&model)?;
            let model = model.into_optimized()?.into_runnable()?;
            Ok(TractSession {
                model,
                compile: start.elapsed(),
                precision,
                elements: graph.inputs.iter().map(|input| input.element).collect(),
                names,
                inputs: TVec::new(),
                outputs: TVec::new(),
            })
        };
        let session = load().map_err(|error| refused(NAME, &format!("load `{}`", path.display()), &words(&error)))?;
        Ok(Box::new(session))
    }

    /// The arithmetic in which most products of a model are done. Those of a quantised file are often in floats: what restores
    /// weights from integers is done once, while the file is loaded.
    fn arithmetic(model: &TypedModel) -> TractResult<Option<Precision>> {
        let mut found: Vec<(Option<Precision>, usize)> = Vec::new();
        for node in model.nodes() {
            if !matches!(&*node.op().name(), "Conv" | "EinSum" | "Deconv" | "Scan") {
                continue;
            }
            let facts = model.node_input_facts(node.id)?;
            let factors: Vec<DatumType> = facts.iter().take(2).map(|fact| fact.datum_type.unquantized()).collect();
            let precision = match factors[..] {
                [DatumType::I8 | DatumType::U8, DatumType::I8 | DatumType::U8] => Some(Precision::Int8),
                [DatumType::F32, DatumType::F32] => Some(Precision::Fp32),
                [DatumType::F16, DatumType::F16] => Some(Precision::Fp16),
                _ => None,
            };
            match found.iter_mut().find(|(known, _)| *known == precision) {
                Some((_, count)) => *count += 1,
                None => found.push((precision, 1)),
            }
        }
        Ok(found.into_iter().max_by_key(|(_, count)| *count).and_then(|(precision, _)| precision))
    }

    fn datum_type(element: ElementType) -> DatumType {
        match element {
            ElementType::F64 => DatumType::F64,
            ElementType::F32 => DatumType::F32,
            ElementType::F16 => DatumType::F16,
            // It has no type of that name; the file is refused before.
            ElementType::Bf16 => DatumType::U16,
            ElementType::I64 => DatumType::I64,
            ElementType::I32 => DatumType::I32,
            ElementType::I16 => DatumType::I16,
            ElementType::I8 => DatumType::I8,
            ElementType::U64 => DatumType::U64,
            ElementType::U32 => DatumType::U32,
            ElementType::U16 => DatumType::U16,
            ElementType::U8 => DatumType::U8,
            ElementType::Bool => DatumType::Bool,
        }
    }

    fn element_of(datum: DatumType) -> Option<ElementType> {
        [
            ElementType::F64,
            ElementType::F32,
            ElementType::F16,
            ElementType::I64,
            ElementType::I32,
            ElementType::I16,
            ElementType::I8,
            ElementType::U64,
            ElementType::U32,
            ElementType::U16,
            ElementType::U8,
            ElementType::Bool,
        ]
        .into_iter()
        .find(|element| datum_type(*element) == datum.unquantized())
    }

    /// An error with all of its causes: the last one names the operator.
    fn words(error: &tract_onnx::prelude::TractError) -> String {
        error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    fn failed(doing: &str, error: &tract_onnx::prelude::TractError) -> EngineError {
        refused(NAME, doing, &words(error))
    }

    impl Session for TractSession {
        fn feed(&mut self, inputs: &[HostTensor]) -> Result<(), EngineError> {
            self.inputs = inputs
                .iter()
                .zip(&self.elements)
                .map(|(input, element)| {
                    // Safe only because every pattern of bits is an element, and truth values are 0 or 1 here.
                    let tensor = tensor(&bytes(&input.data, *element), *element, &input.shape);
                    tensor.map(Into::into).map_err(|error| failed("take its inputs", &error))
                })
                .collect::<Result<_, _>>()?;
            Ok(())
        }

        fn run(&mut self) -> Result<(), EngineError> {
            self.outputs = self.model.run(self.inputs.clone()).map_err(|error| failed("run the file", &error))?;
            Ok(())
        }

        fn release(&mut self) {
            self.outputs.clear();
        }

        fn compile(&self) -> Option<Duration> {
            Some(self.compile)
        }

        fn precision(&self) -> Option<Precision> {
            self.precision
        }

        fn outputs(&mut self) -> Result<Vec<HostTensor>, EngineError> {
            self.run()?;
            let read = |(name, value): (&String, &TValue)| {
                // Shapes are numbers of its own here.
                let whole = value.cast_to::<i64>().ok().filter(|_| value.datum_type() == DatumType::TDim);
                let value: &Tensor = whole.as_deref().unwrap_or(value);
                let element = element_of(value.datum_type())
                    .ok_or_else(|| refused(NAME, "hand over its outputs", &format!("{:?}", value.datum_type())))?;
                let data = from_bytes(value.as_bytes(), element);
                Ok(HostTensor { name: name.clone(), shape: value.shape().to_vec(), data })
            };
            let outputs = self.names.iter().zip(&self.outputs).map(read).collect();
            self.release();
            outputs
        }
    }

    fn tensor(bytes: &[u8], element: ElementType, shape: &[usize]) -> TractResult<Tensor> {
        let mut tensor = Tensor::zero_dt(datum_type(element), shape)?;
        tensor.as_bytes_mut().copy_from_slice(bytes);
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_built_in() {
        let lock = include_str!("../../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"tract-onnx\"\nversion = \"{TRACT_VERSION}\"")));
    }
}
