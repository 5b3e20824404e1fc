//! What a run reads: real pictures, somebody's tensors, or numbers by the rule.

use crate::dataset::{self, Split};
use crate::domain::{Extent, HostData, HostTensor, InputSpec, PlannedRun};
use crate::engine::EngineError;
use crate::engine::evaluation::open_set;
use crate::zoo;

/// The inputs of a run as a batch of this size, named and ordered as the plan has them.
///
/// # Errors
/// Files that cannot be read, or do not hold what the model reads.
pub(super) fn inputs(plan: &PlannedRun, batch_size: usize) -> Result<Vec<HostTensor>, EngineError> {
    if let (Some(data), Some(entry)) = (&plan.data, zoo::find(&plan.configuration.model))
        && data.feeds_batches
    {
        return Ok(vec![open_set(entry, &data.path, Split::Test)?.cyclic_batch(0, batch_size)?.image]);
    }
    let shapes = shapes(plan, batch_size);
    if let Some(path) = &plan.input {
        let given = dataset::read_inputs(path)?;
        return plan.inputs.iter().zip(&shapes).map(|(spec, shape)| taken(plan, &given, spec, shape)).collect();
    }
    let whole = |(spec, shape): (&InputSpec, &Vec<usize>)| InputSpec { shape: shape.clone(), ..spec.clone() };
    let specs: Vec<InputSpec> = plan.inputs.iter().zip(&shapes).map(whole).collect();
    // One sample of the whole shape: what the rule makes depends on the number of elements alone.
    let made = zoo::host_inputs(&specs, 1, plan.seed);
    Ok(made.into_iter().zip(shapes).map(|(tensor, shape)| HostTensor { shape, ..tensor }).collect())
}

/// The whole shapes of a plan's inputs.
pub(super) fn shapes(plan: &PlannedRun, batch_size: usize) -> Vec<Vec<usize>> {
    match &plan.graph {
        Some(graph) => graph.inputs.iter().map(|input| input.shape(batch_size)).collect(),
        None => plan.inputs.iter().map(|spec| [&[batch_size], spec.shape.as_slice()].concat()).collect(),
    }
}

/// The tensor of a file that an input reads, as a batch of this shape: its samples in turns.
fn taken(
    plan: &PlannedRun,
    given: &[HostTensor],
    spec: &InputSpec,
    shape: &[usize],
) -> Result<HostTensor, EngineError> {
    let place = plan.inputs.iter().position(|other| other.name == spec.name);
    let input = place.and_then(|at| plan.graph.as_ref()?.inputs.get(at));
    let named = |tensor: &&HostTensor| {
        let own = input.is_some_and(|input| input.name == tensor.name);
        // A .npy holds a tensor without a name.
        own || tensor.name == spec.name || (tensor.name.is_empty() && plan.inputs.len() == 1)
    };
    let wrong = |reason: String| EngineError::Input {
        path: plan.input.clone().unwrap_or_default(),
        input: input.map_or(&spec.name, |input| &input.name).clone(),
        reason,
    };
    let tensor = given.iter().find(named).ok_or_else(|| wrong("is missing".to_owned()))?;
    let batch_first = input.is_none_or(|input| input.extents.first() == Some(&Extent::Batch));
    let found = &tensor.shape;
    let text = crate::domain::model::shape_text;
    let data = if batch_first && found.len() == shape.len() && found.get(1..) == shape.get(1..) && found[0] > 0 {
        in_turns(&tensor.data, found[0], shape[0])
    } else if found == shape {
        tensor.data.clone()
    } else {
        return Err(wrong(format!("has the shape {}, not {}", text(found), text(shape))));
    };
    Ok(HostTensor { name: spec.name.clone(), shape: shape.to_vec(), data })
}

/// As many samples as are wanted, from the first on, and again from the first.
fn in_turns(data: &HostData, samples: usize, wanted: usize) -> HostData {
    fn repeat<T: Copy>(values: &[T], samples: usize, wanted: usize) -> Vec<T> {
        let size = values.len() / samples.max(1);
        (0..wanted).flat_map(|sample| values[sample % samples * size..][..size].iter().copied()).collect()
    }
    match data {
        HostData::F32(values) => HostData::F32(repeat(values, samples, wanted)),
        HostData::I64(values) => HostData::I64(repeat(values, samples, wanted)),
    }
}
