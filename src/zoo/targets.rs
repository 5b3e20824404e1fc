//! What training steps compare the outputs with.

use burn::tensor::{Device, Int, Tensor};

use super::batch::{int_tensor, missing};
use super::cost::sequence_length;
use super::error::ZooError;
use super::rule;
use crate::domain::model::{HostData, HostTensor, InputSpec, Task};

/// Targets of an image classifier.
const CLASSES: &str = "classes";
/// Targets of a masked language model: where in the flattened batch.
const POSITIONS: &str = "positions";
/// Targets of a masked language model: which token.
const TOKENS: &str = "tokens";

/// The share of the positions that a masked language model guesses (Devlin et al. 2019, section 3.1).
const MASKED_PERCENT: usize = 15;

/// The targets of one training step, on a device. Boxed, because a tensor is some hundred bytes of handle.
#[derive(Clone, Debug)]
pub enum Targets {
    /// The right class of every sample: `[batch]`.
    Classes(Box<Tensor<1, Int>>),
    /// Tokens to be guessed by a masked language model.
    MaskedTokens(Box<MaskedTokens>),
    /// The input (of the decoder, where there is one) itself, shifted by one: nothing more is needed.
    NextTokens,
    /// The i-th text belongs to the i-th image: nothing more is needed.
    Pairs,
}

/// Where tokens are to be guessed, and which ones are right.
#[derive(Clone, Debug)]
pub struct MaskedTokens {
    /// Positions in the flattened `[batch * sequence]`: `[masked]`.
    pub positions: Tensor<1, Int>,
    /// The right token of each: `[masked]`.
    pub tokens: Tensor<1, Int>,
}

impl Targets {
    /// Copies what [`host_targets`] made to `device`, which must be that of the network.
    ///
    /// # Errors
    ///
    /// Names, ranks or element types other than those of the task.
    pub fn from_host(task: Task, tensors: &[HostTensor], device: &Device) -> Result<Self, ZooError> {
        let find = |name: &str| tensors.iter().find(|tensor| tensor.name == name).ok_or_else(|| missing(name));
        match task {
            Task::ImageClassification => Ok(Self::Classes(Box::new(int_tensor(find(CLASSES)?, device)?))),
            Task::MaskedLanguageModelling => {
                let positions = find(POSITIONS)?;
                let tokens = find(TOKENS)?;
                if positions.data.len() != tokens.data.len() {
                    return Err(ZooError::Targets { expected: "as many tokens as positions" });
                }
                Ok(Self::MaskedTokens(Box::new(MaskedTokens {
                    positions: int_tensor(positions, device)?,
                    tokens: int_tensor(tokens, device)?,
                })))
            }
            Task::CausalLanguageModelling | Task::SequenceToSequence | Task::SpeechRecognition => Ok(Self::NextTokens),
            Task::ImageTextMatching => Ok(Self::Pairs),
            Task::ObjectDetection => Err(ZooError::Targets { expected: "a task that can be learnt here" }),
        }
    }
}

/// Training targets by the rule of [`rule`].
///
/// - Image classification: `classes` `[batch]`, each below `labels`.
/// - Masked language modelling: 15 % of the positions of every sample, at least one, as `positions` `[masked]`
///   in the flattened batch, and the `tokens` `[masked]` that belong there, each below `labels`. The inputs stay
///   as they are: what the position holds does not change what a step costs.
/// - Models that write text: none, the input (of the decoder) is its own target.
/// - Image-text matching: none, the i-th text is the i-th image's.
pub fn host_targets(task: Task, specs: &[InputSpec], labels: usize, batch_size: usize, seed: u64) -> Vec<HostTensor> {
    let vector = |name: &str, values: Vec<i64>| HostTensor {
        name: name.to_owned(),
        shape: vec![values.len()],
        data: HostData::I64(values),
    };
    match task {
        Task::ImageClassification => {
            let classes = rule::tokens("target.classes", batch_size, labels, seed);
            vec![vector(CLASSES, classes)]
        }
        Task::MaskedLanguageModelling => {
            let sequence = sequence_length(specs);
            let masked = (sequence * MASKED_PERCENT / 100).max(1);
            let positions: Vec<i64> = (0..batch_size)
                .flat_map(|sample| {
                    let name = format!("target.positions.{sample}");
                    rule::subset(&name, sequence, masked, seed)
                        .into_iter()
                        .map(move |position| (sample * sequence + position) as i64)
                })
                .collect();
            let tokens = rule::tokens("target.tokens", positions.len(), labels, seed);
            vec![vector(POSITIONS, positions), vector(TOKENS, tokens)]
        }
        Task::CausalLanguageModelling
        | Task::SequenceToSequence
        | Task::SpeechRecognition
        | Task::ImageTextMatching
        | Task::ObjectDetection => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::model::InputKind;

    fn ids_spec(length: usize) -> InputSpec {
        InputSpec { name: "ids".into(), kind: InputKind::Tokens { vocabulary: 100 }, shape: vec![length] }
    }

    #[test]
    fn fifteen_percent_of_the_positions_are_masked_and_at_least_one() {
        let task = Task::MaskedLanguageModelling;
        let targets = host_targets(task, &[ids_spec(128)], 100, 2, 0);
        let HostData::I64(positions) = &targets[0].data else { panic!("positions are integers") };
        assert_eq!(positions.len(), 2 * 19);
        assert!(positions[..19].iter().all(|&p| (0..128).contains(&p)));
        assert!(positions[19..].iter().all(|&p| (128..256).contains(&p)));
        assert_eq!(targets[1].shape, [38]);
        let short = host_targets(task, &[ids_spec(3)], 100, 1, 0);
        assert_eq!(short[0].shape, [1]);
    }

    #[test]
    fn targets_of_another_task_are_refused() {
        let task = Task::MaskedLanguageModelling;
        let mut targets = host_targets(task, &[ids_spec(8)], 100, 2, 0);
        let device = Device::flex();
        assert!(Targets::from_host(task, &targets, &device).is_ok());
        assert!(Targets::from_host(Task::ImageClassification, &targets, &device).is_err());
        targets[1] = HostTensor { shape: vec![1], data: HostData::I64(vec![1]), ..targets[1].clone() };
        assert!(Targets::from_host(task, &targets, &device).is_err());
    }
}
