//! A file that is loaded and repeated: the same for every library.

use std::time::Duration;

use super::super::{EngineError, Loaded, RunClock, Workload};
use super::{file_of, refused};
use crate::domain::{ElementType, Extent, GraphInput, HostData, HostTensor, InputSpec, PlannedRun, Precision};
use crate::engine::inputs;
use crate::measure::MonotonicClock;
use crate::onnx::OnnxFile;

/// A file that a library has loaded for inputs of certain shapes.
pub(super) trait Session {
    /// Copies inputs to where the next runs read them; they come in the file's order and in its shapes.
    fn feed(&mut self, inputs: &[HostTensor]) -> Result<(), EngineError>;

    /// One forward pass; returns when it is done.
    fn run(&mut self) -> Result<(), EngineError>;

    /// Lets go of what the last run made, untimed.
    fn release(&mut self) {}

    /// One forward pass, with its outputs copied to the host under the file's names.
    fn outputs(&mut self) -> Result<Vec<HostTensor>, EngineError>;

    /// What optimising the graph and compiling it for the device took; `None` where that is not apart from reading it.
    fn compile(&self) -> Option<Duration> {
        None
    }

    /// The arithmetic that the library says it chose; `None` where it does not say.
    fn precision(&self) -> Option<Precision> {
        None
    }
}

/// Loads the file of a plan for a batch of some size.
pub(super) type Open = Box<dyn Fn(&PlannedRun, usize) -> Result<Box<dyn Session>, EngineError>>;

/// Loads a plan's file, fed and ready to be repeated.
pub(super) fn load(plan: &PlannedRun, open: Open) -> Result<Loaded, EngineError> {
    let (_, path) = file_of(plan)?;
    let batch_size = plan.configuration.batch_size as usize;
    let given = inputs::inputs(plan, batch_size)?;
    // Only shapes are read here, so this is nobody's memory.
    let model_size_bytes = OnnxFile::read(path)?.weight_bytes();
    let mut session = open(plan, batch_size)?;
    session.feed(&in_order(plan, &given)?)?;
    let compile = session.compile();
    let workload = GraphWorkload { plan: plan.clone(), session, open, other: None };
    Ok(Loaded {
        workload: Box::new(workload),
        clock: RunClock::Monotonic(MonotonicClock::default()),
        model_size_bytes: Some(model_size_bytes),
        compile,
    })
}

/// One forward pass over host tensors.
pub(super) fn infer(plan: &PlannedRun, open: &Open, tensors: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
    let mut session = open(plan, batch_of(plan, tensors)?)?;
    session.feed(&in_order(plan, tensors)?)?;
    session.outputs()
}

/// Forward passes of a file.
struct GraphWorkload {
    plan: PlannedRun,
    session: Box<dyn Session>,
    open: Open,
    /// The same file loaded for a batch of another size.
    other: Option<(usize, Box<dyn Session>)>,
}

impl Workload for GraphWorkload {
    fn iterate(&mut self, _: &mut dyn FnMut()) -> Result<(), EngineError> {
        for _ in 0..self.plan.sampling.batches_in_flight.max(1) {
            self.session.run()?;
        }
        Ok(())
    }

    fn between(&mut self) {
        self.session.release();
    }

    fn samples_per_iteration(&self) -> u64 {
        u64::from(self.plan.configuration.batch_size) * u64::from(self.plan.sampling.batches_in_flight.max(1))
    }

    fn result_precision(&self) -> Option<Precision> {
        self.session.precision()
    }

    fn verify(&mut self) -> Result<(), EngineError> {
        self.session.outputs().map(drop)
    }

    fn outputs(&mut self, tensors: &[HostTensor]) -> Result<Option<Vec<HostTensor>>, EngineError> {
        let ordered = in_order(&self.plan, tensors)?;
        let batch = batch_of(&self.plan, tensors)?;
        let session = if batch == self.plan.configuration.batch_size as usize {
            &mut self.session
        } else {
            let other = match self.other.take() {
                Some((known, session)) if known == batch => (known, session),
                _ => (batch, (self.open)(&self.plan, batch)?),
            };
            &mut self.other.insert(other).1
        };
        session.feed(&ordered)?;
        session.outputs().map(Some)
    }
}

/// Tensors by the plan's names, in the file's order.
fn in_order(plan: &PlannedRun, tensors: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
    let found = |(spec, input): (&InputSpec, &GraphInput)| {
        let named = |tensor: &&HostTensor| tensor.name == spec.name || tensor.name == input.name;
        let tensor = tensors.iter().find(named).cloned().ok_or_else(|| {
            let missing = crate::zoo::ZooError::MissingInput { name: spec.name.clone() };
            EngineError::Zoo(missing)
        })?;
        match beyond(&tensor.data, input.element) {
            None => Ok(tensor),
            Some(value) => Err(refused(
                &plan.configuration.engine,
                "take its inputs",
                &format!("`{}` holds {value}, which {:?} has no room for", input.name, input.element),
            )),
        }
    };
    let (graph, _) = file_of(plan)?;
    plan.inputs.iter().zip(&graph.inputs).map(found).collect()
}

/// The batch of tensors that fit the plan's file.
fn batch_of(plan: &PlannedRun, tensors: &[HostTensor]) -> Result<usize, EngineError> {
    let (graph, _) = file_of(plan)?;
    let ordered = in_order(plan, tensors)?;
    let whole = plan.configuration.batch_size as usize;
    let batch = graph.inputs.iter().zip(&ordered).find_map(|(input, tensor)| {
        let at = input.extents.iter().position(|extent| *extent == Extent::Batch)?;
        tensor.shape.get(at).copied()
    });
    let batch = batch.unwrap_or(whole);
    if let Some(fixed) = graph.fixed_batch.filter(|fixed| *fixed != batch) {
        let asked = u32::try_from(batch).unwrap_or(u32::MAX);
        return Err(EngineError::FixedBatch { model: plan.configuration.model.clone(), fixed, asked });
    }
    for (input, tensor) in graph.inputs.iter().zip(&ordered) {
        let expected = input.shape(batch);
        if tensor.shape != expected {
            let text = crate::domain::model::shape_text;
            return Err(EngineError::Zoo(crate::zoo::ZooError::InputShape {
                name: input.name.clone(),
                expected: text(&expected),
                found: text(&tensor.shape),
            }));
        }
    }
    Ok(batch)
}

/// The elements of a tensor as floats, whatever they are.
pub(super) fn floats(data: &HostData) -> Vec<f32> {
    match data {
        HostData::F32(values) => values.clone(),
        HostData::I64(values) => values.iter().map(|value| *value as f32).collect(),
    }
}

/// The elements of a tensor as integers; floats are cut.
pub(super) fn integers(data: &HostData) -> Vec<i64> {
    match data {
        HostData::F32(values) => values.iter().map(|value| *value as i64).collect(),
        HostData::I64(values) => values.clone(),
    }
}

/// The first element that an integer type of this kind has no room for.
fn beyond(data: &HostData, element: ElementType) -> Option<i64> {
    fn first<T: TryFrom<i64>>(data: &HostData) -> Option<i64> {
        integers(data).into_iter().find(|value| T::try_from(*value).is_err())
    }
    match element {
        ElementType::I32 => first::<i32>(data),
        ElementType::I16 => first::<i16>(data),
        ElementType::I8 => first::<i8>(data),
        ElementType::U64 => first::<u64>(data),
        ElementType::U32 => first::<u32>(data),
        ElementType::U16 => first::<u16>(data),
        ElementType::U8 => first::<u8>(data),
        _ => None,
    }
}

/// The elements of a tensor as another integer type; none is beyond it, as [`in_order`] has seen.
pub(super) fn narrowed<T: TryFrom<i64> + Default>(data: &HostData) -> Vec<T> {
    integers(data).into_iter().map(|value| T::try_from(value).unwrap_or_default()).collect()
}

/// The bytes of a tensor whose elements are of this type, as every library lays them out.
pub(super) fn bytes(data: &HostData, element: ElementType) -> Vec<u8> {
    fn all<const N: usize>(elements: impl Iterator<Item = [u8; N]>) -> Vec<u8> {
        elements.flatten().collect()
    }
    let whole = || integers(data).into_iter();
    match element {
        ElementType::F64 => all(floats(data).into_iter().map(|value| f64::from(value).to_ne_bytes())),
        ElementType::F32 => all(floats(data).into_iter().map(f32::to_ne_bytes)),
        ElementType::F16 => all(floats(data).into_iter().map(|value| half::f16::from_f32(value).to_ne_bytes())),
        ElementType::Bf16 => all(floats(data).into_iter().map(|value| half::bf16::from_f32(value).to_ne_bytes())),
        ElementType::I64 => all(whole().map(i64::to_ne_bytes)),
        ElementType::U64 => all(whole().map(|value| value.cast_unsigned().to_ne_bytes())),
        ElementType::I32 => all(narrowed::<i32>(data).into_iter().map(i32::to_ne_bytes)),
        ElementType::U32 => all(narrowed::<u32>(data).into_iter().map(u32::to_ne_bytes)),
        ElementType::I16 => all(narrowed::<i16>(data).into_iter().map(i16::to_ne_bytes)),
        ElementType::U16 => all(narrowed::<u16>(data).into_iter().map(u16::to_ne_bytes)),
        ElementType::I8 => all(narrowed::<i8>(data).into_iter().map(i8::to_ne_bytes)),
        ElementType::U8 => narrowed::<u8>(data),
        ElementType::Bool => whole().map(|value| u8::from(value != 0)).collect(),
    }
}

/// What [`bytes`] has made, read back.
pub(super) fn from_bytes(bytes: &[u8], element: ElementType) -> HostData {
    fn read<const N: usize, T>(bytes: &[u8], of: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|chunk| of(*chunk)).collect()
    }
    match element {
        ElementType::F64 => HostData::F32(read(bytes, |chunk| f64::from_ne_bytes(chunk) as f32)),
        ElementType::F32 => HostData::F32(read(bytes, f32::from_ne_bytes)),
        ElementType::F16 => HostData::F32(read(bytes, |chunk| half::f16::from_ne_bytes(chunk).to_f32())),
        ElementType::Bf16 => HostData::F32(read(bytes, |chunk| half::bf16::from_ne_bytes(chunk).to_f32())),
        ElementType::I64 => HostData::I64(read(bytes, i64::from_ne_bytes)),
        ElementType::U64 => HostData::I64(read(bytes, |chunk| u64::from_ne_bytes(chunk).cast_signed())),
        ElementType::I32 => HostData::I64(read(bytes, |chunk| i32::from_ne_bytes(chunk).into())),
        ElementType::U32 => HostData::I64(read(bytes, |chunk| u32::from_ne_bytes(chunk).into())),
        ElementType::I16 => HostData::I64(read(bytes, |chunk| i16::from_ne_bytes(chunk).into())),
        ElementType::U16 => HostData::I64(read(bytes, |chunk| u16::from_ne_bytes(chunk).into())),
        ElementType::I8 => HostData::I64(read(bytes, |chunk| i8::from_ne_bytes(chunk).into())),
        ElementType::U8 | ElementType::Bool => HostData::I64(bytes.iter().map(|byte| i64::from(*byte)).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_type_has_no_room_for_is_found() {
        let data = HostData::I64(vec![1, 200, -1, 70_000]);
        assert_eq!(beyond(&data, ElementType::I8), Some(200));
        assert_eq!(beyond(&data, ElementType::U8), Some(-1));
        assert_eq!(beyond(&data, ElementType::I16), Some(70_000));
        assert_eq!(beyond(&data, ElementType::I32), None);
    }

    #[test]
    fn elements_survive_their_bytes() {
        let floats = HostData::F32(vec![0.5, -1.0, 0.25]);
        for element in [ElementType::F64, ElementType::F32, ElementType::F16, ElementType::Bf16] {
            assert_eq!(from_bytes(&bytes(&floats, element), element), floats, "{element:?}");
        }
        let integers = HostData::I64(vec![0, 1, 100]);
        for element in [
            ElementType::I64,
            ElementType::U64,
            ElementType::I32,
            ElementType::U32,
            ElementType::I16,
            ElementType::U16,
            ElementType::I8,
            ElementType::U8,
        ] {
            assert_eq!(from_bytes(&bytes(&integers, element), element), integers, "{element:?}");
        }
        let truths = bytes(&integers, ElementType::Bool);
        assert_eq!(from_bytes(&truths, ElementType::Bool), HostData::I64(vec![0, 1, 1]));
    }
}
