//! How near the outputs of a run come to the reference: fp32 on the processor, with the same weights and inputs. Networks of
//! the zoo are computed by burn-flex, also for an ONNX file of one whose weights are at hand; other ONNX files by tract.
//!
//! The reference is computed in a process of its own, so that it counts as nobody's memory, and travels as a file.

use std::borrow::Cow;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, View};

use super::EngineError;
use super::burn::BurnEngine;
use super::{Engine as _, find_engine, is_hidden};
use crate::domain::metric::Better;
use crate::domain::model::shape_text;
use crate::domain::run::ExtraMetric;
use crate::domain::{
    Configuration, Graph, HostData, HostTensor, InputSpec, MetricSet, Mode, PlannedRun, Platform, Precision,
    ReferenceChoice, Sampling, WeightChoice,
};
use crate::hardware::host_cpu;
use crate::zoo;

/// The samples of a batch that are compared: its first ones. More would cost time and tell nothing new.
const SAMPLES: u32 = 4;

/// The share of rows of `logits` whose largest element is where the reference has it.
const TOP1_AGREEMENT: &str = "fidelity_top1_agreement";

/// The runs that give the reference for `plan`, the best first: the next one is for where that cannot be computed. None
/// where `plan` is such a run itself, its engine only pretends, or nothing in single precision is at hand.
pub fn reference_plans(plan: &PlannedRun) -> Vec<PlannedRun> {
    let configuration = &plan.configuration;
    if is_hidden(plan) {
        return Vec::new();
    }
    let candidates = match (&plan.graph, &plan.reference) {
        (None, _) => by_zoo(plan, plan.weights.clone()),
        (Some(_), Some(ReferenceChoice { path, graph: None })) => by_zoo(plan, WeightChoice::File(path.clone())),
        (Some(_), Some(ReferenceChoice { path, graph: Some(graph) })) => {
            by_graph(plan, WeightChoice::File(path.clone()), graph)
        }
        (Some(graph), None) => by_graph(plan, plan.weights.clone(), graph),
    };
    let is_plan = |candidate: &PlannedRun| {
        candidate.configuration.engine == configuration.engine
            && candidate.configuration.precision == configuration.precision
            && candidate.weights == plan.weights
    };
    candidates.into_iter().take_while(|candidate| !is_plan(candidate)).collect()
}

/// The zoo's network with these weights, by burn-flex.
fn by_zoo(plan: &PlannedRun, weights: WeightChoice) -> Vec<PlannedRun> {
    let engine = BurnEngine::Flex;
    let Some(entry) = zoo::find(&plan.configuration.model).filter(|_| engine.feature().1) else {
        return Vec::new();
    };
    // A file may read more than the zoo's network does: a mask that hides nothing.
    let own = |spec: &InputSpec| plan.inputs.iter().find(|input| input.name == spec.name).cloned();
    let inputs = entry.inputs().iter().filter_map(own).collect();
    vec![PlannedRun { inputs, weights, graph: None, described: None, reference: None, ..fp32(plan, engine.name()) }]
}

/// The ONNX file itself, by the engine that needs no library, then by the one that most people have.
fn by_graph(plan: &PlannedRun, weights: WeightChoice, graph: &Graph) -> Vec<PlannedRun> {
    if graph.precision != Precision::Fp32 {
        return Vec::new();
    }
    ["tract", "onnxruntime"]
        .into_iter()
        .filter(|name| find_engine(name).is_ok_and(|engine| engine.feature().1))
        .map(|name| PlannedRun {
            weights: weights.clone(),
            graph: Some(graph.clone()),
            reference: None,
            ..fp32(plan, name)
        })
        .collect()
}

/// The same work on the processor, in single precision, by another engine.
fn fp32(plan: &PlannedRun, engine: &str) -> PlannedRun {
    let configuration = &plan.configuration;
    PlannedRun {
        position: 0,
        repetition: 1,
        configuration: Configuration {
            platform: Platform::Cpu,
            device: host_cpu(),
            engine: engine.to_owned(),
            precision: Precision::Fp32,
            mode: Mode::Inference,
            // What is compared does not depend on these.
            batch_size: compared_batch(plan),
            parameters: Default::default(),
            ..configuration.clone()
        },
        device_index: 0,
        sampling: Sampling::default(),
        generate: None,
        external: None,
        ..plan.clone()
    }
}

/// The samples of a batch that are compared: the first few, or all where a file takes no fewer.
fn compared_batch(plan: &PlannedRun) -> u32 {
    let whole = plan.configuration.batch_size;
    let fixed = plan.graph.as_ref().is_some_and(|graph| graph.fixed_batch.is_some());
    if fixed { whole } else { whole.min(SAMPLES) }
}

/// The inputs that are compared: those of the first samples of the plan's batch.
pub(super) fn inputs(plan: &PlannedRun) -> Result<Vec<HostTensor>, EngineError> {
    super::inputs::inputs(plan, compared_batch(plan) as usize)
}

/// Computes the outputs of a reference plan and writes them to a file.
pub(super) fn write_reference(plan: &PlannedRun, path: &Path) -> Result<(), EngineError> {
    let inputs = super::inputs::inputs(plan, plan.configuration.batch_size as usize)?;
    let outputs = find_engine(&plan.configuration.engine)?.infer(plan, &inputs)?;
    let views = outputs.iter().map(|output| (output.name.as_str(), Elements(output)));
    safetensors::serialize_to_file(views, None, path)
        .map_err(|source| EngineError::Reference { path: path.to_owned(), source: Box::new(source) })
}

/// Reads what [`write_reference`] wrote.
pub(super) fn read_reference(path: &Path) -> Result<Vec<HostTensor>, EngineError> {
    let failed =
        |source: Box<dyn std::error::Error + Send + Sync>| EngineError::Reference { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(|source| failed(source.into()))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| failed(source.into()))?;
    let data = |tensor: &TensorView<'_>| match tensor.dtype() {
        Dtype::I64 => {
            HostData::I64(tensor.data().as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect())
        }
        _ => HostData::F32(tensor.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
    };
    Ok(file
        .iter()
        .map(|(name, tensor)| HostTensor { name: name.to_owned(), shape: tensor.shape().to_vec(), data: data(&tensor) })
        .collect())
}

/// A tensor in the form in which it is written.
struct Elements<'v>(&'v HostTensor);

impl View for Elements<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.data {
            HostData::F32(_) => Dtype::F32,
            HostData::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.0.data {
            HostData::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            HostData::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn data_len(&self) -> usize {
        match &self.0.data {
            HostData::F32(values) => 4 * values.len(),
            HostData::I64(values) => 8 * values.len(),
        }
    }
}

/// How two sets of outputs relate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Fidelity {
    cosine: Option<f64>,
    relative_error: Option<f64>,
    top1_agreement: Option<f64>,
    remark: Option<&'static str>,
}

impl Fidelity {
    /// What whoever reads these numbers should know.
    pub fn remark(&self) -> Option<&'static str> {
        self.remark
    }

    /// Stores what is known.
    pub fn store(self, metrics: &mut MetricSet, extra: &mut Vec<ExtraMetric>) {
        metrics.set_optional("fidelity_cosine", self.cosine);
        metrics.set_optional("fidelity_relative_error", self.relative_error);
        extra.extend(self.top1_agreement.filter(|share| share.is_finite()).map(|value| ExtraMetric {
            name: TOP1_AGREEMENT.to_owned(),
            unit: String::new(),
            better: Better::Higher,
            value,
        }));
    }
}

/// Compares outputs with those of the reference file.
pub(super) fn against_file(outputs: &[HostTensor], path: &Path) -> Result<Fidelity, EngineError> {
    Ok(compare(outputs, &read_reference(path)?))
}

/// What is wrong with outputs beside those of the reference file, in one line: one that both have in different shapes, or
/// none that both have.
pub(super) fn unlike(outputs: &[HostTensor], path: &Path) -> Result<Option<String>, EngineError> {
    let listed = |tensors: &[HostTensor]| {
        let named = tensors.iter().map(|tensor| format!("{} {}", tensor.name, shape_text(&tensor.shape)));
        named.collect::<Vec<_>>().join(", ")
    };
    let reference = read_reference(path)?;
    let expected = |output: &HostTensor| reference.iter().find(|expected| expected.name == output.name);
    let alike = |output: &HostTensor| {
        expected(output)
            .is_none_or(|expected| output.shape == expected.shape && matches!(output.data, HostData::F32(_)))
    };
    let fits = outputs.iter().all(alike) && outputs.iter().any(|output| expected(output).is_some());
    Ok((!fits).then(|| format!("its outputs are [{}], the model has [{}]", listed(outputs), listed(&reference))))
}

/// Compares the outputs that both have, all of them taken as one vector: the cosine of the angle between the two, and
/// the L2 norm of their difference over that of the reference. An output that is not finite agrees with nothing: the
/// cosine is 0 and there is no relative error. With a reference that is not finite itself nothing agrees or differs. The share of rows whose largest element is at the same place in both
/// is taken over outputs of the name `logits`; `None` without one.
fn compare(outputs: &[HostTensor], reference: &[HostTensor]) -> Fidelity {
    let (mut product, mut own, mut theirs, mut difference) = (0.0, 0.0, 0.0, 0.0);
    let (mut rows, mut agreeing) = (0_u64, 0_u64);
    let mut compared = false;
    for expected in reference {
        let found = counterpart(expected, outputs, reference);
        let (Some(HostData::F32(found)), HostData::F32(wanted)) = (found.map(|output| &output.data), &expected.data)
        else {
            continue;
        };
        compared = true;
        for (&a, &b) in found.iter().zip(wanted) {
            let (a, b) = (f64::from(a), f64::from(b));
            product += a * b;
            own += a * a;
            theirs += b * b;
            difference += (a - b) * (a - b);
        }
        if let ("logits", Some(&classes @ 1..)) = (expected.name.as_str(), expected.shape.last()) {
            for (a, b) in found.chunks_exact(classes).zip(wanted.chunks_exact(classes)) {
                rows += 1;
                agreeing += u64::from(largest(a).is_some() && largest(a) == largest(b));
            }
        }
    }
    if !compared {
        return Fidelity::default();
    }
    if !theirs.is_finite() {
        let remark = Some("there is no fidelity: the outputs of the reference in fp32 are not finite themselves");
        return Fidelity { remark, ..Fidelity::default() };
    }
    let finite = own.is_finite();
    let cosine = product / (own.sqrt() * theirs.sqrt());
    Fidelity {
        cosine: Some(if finite { cosine } else { 0.0 }).filter(|cosine| cosine.is_finite()),
        relative_error: finite.then(|| (difference / theirs).sqrt()).filter(|error| error.is_finite()),
        top1_agreement: (rows > 0).then(|| agreeing as f64 / rows as f64),
        remark: Some("its outputs are not finite: its fidelity_cosine of 0 says so").filter(|_| !finite),
    }
}

/// The output that an expected one is compared with: that of its name and shape; where no name is shared, the only one of
/// its shape.
fn counterpart<'o>(
    expected: &HostTensor,
    outputs: &'o [HostTensor],
    reference: &[HostTensor],
) -> Option<&'o HostTensor> {
    let named = |expected: &HostTensor| outputs.iter().find(|output| output.name == expected.name);
    if reference.iter().any(|expected| named(expected).is_some()) {
        return named(expected).filter(|output| output.shape == expected.shape);
    }
    let mut alike = outputs.iter().filter(|output| output.shape == expected.shape);
    let only = reference.iter().filter(|other| other.shape == expected.shape).count() == 1;
    alike.next().filter(|_| only && alike.next().is_none())
}

/// The place of the largest element, the first of equals; `None` where one is not a number.
fn largest(row: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (at, value) in row.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if *value > row[best] {
            best = at;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, shape: &[usize], values: &[f32]) -> HostTensor {
        HostTensor { name: name.into(), shape: shape.to_vec(), data: HostData::F32(values.to_vec()) }
    }

    #[test]
    fn equal_outputs_agree_wholly() {
        let outputs = [tensor("logits", &[2, 2], &[1.0, 2.0, 4.0, 3.0])];
        let fidelity = compare(&outputs, &outputs);
        assert_eq!(
            fidelity,
            Fidelity { cosine: Some(1.0), relative_error: Some(0.0), top1_agreement: Some(1.0), remark: None }
        );
    }

    #[test]
    fn error_and_cosine_are_those_of_the_whole_vector() {
        let reference = [tensor("logits", &[1, 2], &[3.0, 4.0]), tensor("pooled", &[1, 1], &[0.0])];
        let outputs = [tensor("pooled", &[1, 1], &[5.0]), tensor("logits", &[1, 2], &[3.0, 4.0])];
        let fidelity = compare(&outputs, &reference);
        assert_eq!(fidelity.relative_error, Some(1.0));
        assert!((fidelity.cosine.unwrap() - 25.0 / (50.0_f64.sqrt() * 5.0)).abs() < 1e-12);
        assert_eq!(fidelity.top1_agreement, Some(1.0));
    }

    #[test]
    fn what_is_not_a_number_agrees_with_nothing() {
        let reference = [tensor("logits", &[1, 2], &[3.0, 4.0])];
        let fidelity = compare(&[tensor("logits", &[1, 2], &[f32::NAN, 4.0])], &reference);
        assert_eq!((fidelity.cosine, fidelity.relative_error, fidelity.top1_agreement), (Some(0.0), None, Some(0.0)));
        assert!(fidelity.remark().unwrap().contains("not finite"));
    }

    #[test]
    fn nothing_is_compared_with_what_is_not_a_number() {
        let broken = [tensor("logits", &[1, 2], &[f32::NAN, 4.0])];
        let fidelity = compare(&broken, &broken);
        assert_eq!((fidelity.cosine, fidelity.relative_error, fidelity.top1_agreement), (None, None, None));
        assert!(fidelity.remark().unwrap().contains("reference"));
    }

    #[test]
    fn outputs_of_other_names_are_told_by_their_shapes() {
        let reference = [tensor("logits", &[1, 2], &[3.0, 4.0]), tensor("boxes", &[1, 1], &[1.0])];
        let outputs = [tensor("out.1", &[1, 1], &[1.0]), tensor("out.0", &[1, 2], &[3.0, 4.0])];
        assert_eq!(compare(&outputs, &reference).relative_error, Some(0.0));
        let twins = [tensor("out.0", &[1, 2], &[3.0, 4.0]), tensor("out.1", &[1, 2], &[3.0, 4.0])];
        assert_eq!(compare(&twins, &reference[..1]), Fidelity::default());
    }

    #[test]
    fn outputs_of_other_shapes_are_not_compared() {
        let reference = [tensor("logits", &[1, 2], &[3.0, 4.0])];
        assert_eq!(compare(&[tensor("logits", &[2, 1], &[3.0, 4.0])], &reference), Fidelity::default());
        assert_eq!(compare(&[], &reference), Fidelity::default());
    }

    #[test]
    fn a_reference_survives_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reference.safetensors");
        let ids = HostTensor { name: "ids".into(), shape: vec![2], data: HostData::I64(vec![-1, i64::MAX]) };
        let outputs = [ids, tensor("logits", &[1, 3], &[0.5, -0.0, f32::MAX])];
        let views = outputs.iter().map(|output| (output.name.as_str(), Elements(output)));
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let mut found = read_reference(&path).unwrap();
        found.sort_by(|left, right| left.name.cmp(&right.name));
        assert_eq!(found, outputs);
    }
}
