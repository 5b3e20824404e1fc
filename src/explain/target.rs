//! What is explained: one number of a network's output for every sample, its score.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::error::ExplainError;
use crate::zoo::{Output, OutputTensor};

/// Scaled similarities of every image with every text: the score is that of a pair.
const PAIRS: &str = "logits_per_image";

/// Outputs of one vector a sample, the one that says most first.
const VECTORS: [&str; 3] = ["logits", LAST, "pooler_output"];

/// Of the last token.
const LAST: &str = "logits_last";

/// Outputs that have a last class for nothing at all, beside this one.
const BOXES: &str = "pred_boxes";

/// The number of the output that is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// The class, the token of the vocabulary, or the feature of the hidden state. Of a pair of image and text: 0.
    pub class: usize,
    /// The token, or the query of a detector, whose output it is. Without it: the last token of a network that writes,
    /// the first of one that reads, the query of a detector that is surest of the class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
}

impl Target {
    /// A class of a classifier.
    pub fn class(class: usize) -> Self {
        Self { class, position: None }
    }
}

/// Where the scores stand: on the diagonal of the matrix of all pairs, or in a named output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Pair,
    At { output: &'static str },
}

/// Finds the scores of samples in the outputs of a network.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    place: Place,
    layout: Layout,
    /// One for every sample.
    targets: Vec<Target>,
}

impl Reader {
    /// Resolves targets by the shapes of any outputs. `None` where the values for the samples themselves are needed, see
    /// [`from_values`](Self::from_values): a detector is asked for a class, and no query is named.
    ///
    /// # Errors
    ///
    /// Classes or positions that the network does not have.
    pub fn from_shapes(outputs: &[Output], targets: &[Target]) -> Result<Option<Self>, ExplainError> {
        let (place, layout) = layout(outputs, Some(targets))?;
        let unknown = layout.detects && targets.iter().any(|target| target.position.is_none());
        if unknown {
            return Ok(None);
        }
        let targets = targets.iter().map(|&target| layout.checked(target)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(Self::new(place, layout, targets)))
    }

    /// Resolves targets by the outputs for the samples; predicts them where they are not given.
    ///
    /// # Errors
    ///
    /// Classes or positions that the network does not have, or outputs that cannot be read.
    pub fn from_values(outputs: &[Output], targets: Option<&[Target]>) -> Result<Self, ExplainError> {
        let (place, layout) = layout(outputs, targets)?;
        let samples = outputs.first().map_or(0, |output| output.shape()[0]);
        let scores = match place {
            Place::Pair => Vec::new(),
            Place::At { output } => read(find(outputs, output)?)?,
        };
        let size = layout.positions * layout.classes;
        let scores = |sample: usize| scores.get(sample * size..(sample + 1) * size).unwrap_or_default();
        let targets = (0..samples).map(|sample| match targets.and_then(|targets| targets.get(sample)) {
            None => Ok(layout.best(scores(sample), None)),
            Some(&target) => {
                let target = layout.checked(target)?;
                let free = layout.detects && target.position.is_none();
                Ok(if free { layout.best(scores(sample), Some(target.class)) } else { target })
            }
        });
        Ok(Self::new(place, layout, targets.collect::<Result<_, ExplainError>>()?))
    }

    fn new(place: Place, layout: Layout, targets: Vec<Target>) -> Self {
        Self { place, layout, targets }
    }

    /// One target for every sample, complete.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The scores `[rows, 1]` of rows that belong to these samples.
    ///
    /// # Errors
    ///
    /// An output is missing.
    pub fn scores(&self, outputs: &[Output], samples: &[usize], device: &Device) -> Result<Tensor<2>, ExplainError> {
        let (name, indices): (&str, Vec<i64>) = match self.place {
            Place::Pair => (PAIRS, (0..samples.len() as i64).collect()),
            Place::At { output } => (output, samples.iter().map(|&sample| self.index(sample)).collect()),
        };
        let rows = indices.len();
        let indices = Tensor::<2, Int>::from_data(TensorData::new(indices, [rows, 1]), device);
        Ok(flat(find(outputs, name)?).gather(1, indices))
    }

    /// Where a sample's score stands in its flattened output.
    fn index(&self, sample: usize) -> i64 {
        let target = self.targets[sample];
        (target.position.unwrap_or(0) * self.layout.classes + target.class) as i64
    }

    /// The token of `tokens` whose output is read in every sample; `None` for a pair, whose text is read at its end.
    pub fn tokens_read(&self, tokens: usize) -> Option<Vec<usize>> {
        let Place::At { output } = self.place else { return None };
        let free = if output == LAST { tokens.saturating_sub(1) } else { 0 };
        Some(self.targets.iter().map(|target| target.position.unwrap_or(free)).collect())
    }
}

fn find<'o>(outputs: &'o [Output], name: &str) -> Result<&'o Output, ExplainError> {
    outputs.iter().find(|output| output.name == name).ok_or_else(|| ExplainError::Input {
        name: name.to_owned(),
        reason: "the network has no such output".to_owned(),
    })
}

/// The output that holds the scores: one with positions where a position is asked for.
fn readable(outputs: &[Output], position_given: bool) -> Result<&Output, ExplainError> {
    let has_positions = |output: &&Output| matches!(output.tensor, OutputTensor::D3(_));
    let by_position = outputs.iter().find(has_positions).filter(|_| position_given);
    let vector = || VECTORS.iter().find_map(|name| outputs.iter().find(|o| o.name == *name && !has_positions(o)));
    by_position.or_else(vector).or(outputs.first()).ok_or_else(|| ExplainError::Input {
        name: "output".to_owned(),
        reason: "the network answers nothing".to_owned(),
    })
}

/// `[batch, everything else]`.
fn flat(output: &Output) -> Tensor<2> {
    match &output.tensor {
        OutputTensor::D2(tensor) => tensor.clone(),
        OutputTensor::D3(tensor) => {
            let [batch, positions, classes] = tensor.dims();
            tensor.clone().reshape([batch, positions * classes])
        }
    }
}

/// The values of an output on the host.
fn read(output: &Output) -> Result<Vec<f32>, ExplainError> {
    let values = flat(output).inner().try_to_vec_as::<f32>();
    values.map_err(|source| ExplainError::Read { source: Box::new(source) })
}

/// How the scores of one sample are laid out.
#[derive(Clone, Copy, Debug)]
struct Layout {
    positions: usize,
    classes: usize,
    /// Whether the output has positions; a vector has none.
    placed: bool,
    /// Whether every position is a query, and the last class stands for nothing at all.
    detects: bool,
}

/// Where the scores stand, and how.
fn layout(outputs: &[Output], targets: Option<&[Target]>) -> Result<(Place, Layout), ExplainError> {
    if outputs.iter().any(|output| output.name == PAIRS) {
        return Ok((Place::Pair, Layout { positions: 1, classes: 1, placed: false, detects: false }));
    }
    let position_given = targets.is_some_and(|targets| targets.iter().any(|target| target.position.is_some()));
    let output = readable(outputs, position_given)?;
    let (positions, classes, placed) = match output.tensor {
        OutputTensor::D2(_) => (1, output.shape()[1], false),
        OutputTensor::D3(_) => (output.shape()[1], output.shape()[2], true),
    };
    let detects = placed && outputs.iter().any(|output| output.name == BOXES);
    Ok((Place::At { output: output.name }, Layout { positions, classes, placed, detects }))
}

impl Layout {
    /// The highest of a sample's scores, or of those of one class. Of positions only a detector's are free; the others
    /// are read at the first.
    fn best(self, scores: &[f32], class: Option<usize>) -> Target {
        let classes = match class {
            Some(class) => class..class + 1,
            None => 0..self.classes - usize::from(self.detects),
        };
        let positions = if self.detects { self.positions } else { 1 };
        let mut best = (f32::NEG_INFINITY, Target { class: class.unwrap_or(0), position: None });
        for position in 0..positions {
            for class in classes.clone() {
                let score = scores.get(position * self.classes + class).copied().unwrap_or(f32::NEG_INFINITY);
                if score > best.0 {
                    best = (score, Target { class, position: self.placed.then_some(position) });
                }
            }
        }
        best.1
    }

    fn checked(self, target: Target) -> Result<Target, ExplainError> {
        if target.class >= self.classes {
            return Err(ExplainError::Class { class: target.class, classes: self.classes });
        }
        match target.position {
            Some(position) if position >= self.positions => {
                Err(ExplainError::Position { position, positions: self.positions })
            }
            position => Ok(Target { position: position.filter(|_| self.placed), ..target }),
        }
    }
}
