//! What training steps compare the outputs with.

use burn::tensor::{Device, Int, Tensor};

use super::batch::{check_rank, float_tensor, int_tensor, missing};
use super::cost::sequence_length;
use super::error::ZooError;
use super::rule;
use crate::domain::model::{HostData, HostTensor, InputSpec, Task};

/// Targets of an image classifier and of a detector.
const CLASSES: &str = "classes";
/// Targets of a masked language model: where in the flattened batch.
const POSITIONS: &str = "positions";
/// Targets of a masked language model: which token.
const TOKENS: &str = "tokens";

/// Targets of a detector: where its objects are.
const BOXES: &str = "boxes";

/// The objects that made targets put into every image. COCO has 7.3 in the mean image (2017, training part: 860 001 in
/// 118 287).
const OBJECTS: usize = 7;

/// The share of the positions that a masked language model guesses (Devlin et al. 2019, section 3.1).
const MASKED_PERCENT: usize = 15;

/// The targets of one training step, on a device. Boxed, because a tensor is some hundred bytes of handle.
#[derive(Clone, Debug)]
pub enum Targets {
    /// The right class of every sample: `[batch]`.
    Classes(Box<Tensor<1, Int>>),
    /// The right class of every sample, and what a teacher thinks of all classes.
    Distilled(Box<Distilled>),
    /// Tokens to be guessed by a masked language model.
    MaskedTokens(Box<MaskedTokens>),
    /// The input (of the decoder, where there is one) itself, shifted by one: nothing more is needed.
    NextTokens,
    /// The i-th text belongs to the i-th image: nothing more is needed.
    Pairs,
    /// The objects of every image. They stay on the host, where they are matched with the predictions.
    Objects(Vec<Vec<Object>>),
}

/// An object in an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Object {
    /// What it is.
    pub class: usize,
    /// Where it is: centre x, centre y, width and height, as shares of the image; width and height above 0.
    pub area: [f32; 4],
}

/// The targets of knowledge distillation (Hinton et al., "Distilling the knowledge in a neural network", 2015).
#[derive(Clone, Debug)]
pub struct Distilled {
    /// The right class of every sample: `[batch]`.
    pub classes: Tensor<1, Int>,
    /// The teacher's logits, which no gradient reaches: `[batch, classes]`.
    pub teacher: Tensor<2>,
    /// Divides the logits of both before the softmax; above 0. High ones show how classes that are wrong compare.
    pub temperature: f64,
    /// The share of the teacher in the loss, from 0 (labels alone) to 1 (teacher alone).
    pub alpha: f64,
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
    /// The targets of distillation, copied to `device`, which must be that of the student: `classes` `[batch]` and the
    /// `teacher`'s logits `[batch, classes]`.
    ///
    /// # Errors
    ///
    /// Other ranks or element types.
    pub fn distilled(
        classes: &HostTensor,
        teacher: &HostTensor,
        temperature: f64,
        alpha: f64,
        device: &Device,
    ) -> Result<Self, ZooError> {
        let (classes, teacher) = (int_tensor(classes, device)?, float_tensor(teacher, device)?);
        Ok(Self::Distilled(Box::new(Distilled { classes, teacher, temperature, alpha })))
    }

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
            Task::ObjectDetection => objects(find(CLASSES)?, find(BOXES)?).map(Self::Objects),
        }
    }
}

/// The objects of every image from classes `[batch, objects]` and boxes `[batch, objects, 4]`.
fn objects(classes: &HostTensor, boxes: &HostTensor) -> Result<Vec<Vec<Object>>, ZooError> {
    check_rank::<2>(classes)?;
    check_rank::<3>(boxes)?;
    let (HostData::I64(ids), HostData::F32(values)) = (&classes.data, &boxes.data) else {
        return Err(ZooError::Targets { expected: "integers as classes and floats as boxes" });
    };
    let [batch, count] = [classes.shape[0], classes.shape[1]];
    if boxes.shape != [batch, count, 4] {
        return Err(ZooError::Targets { expected: "a box of four numbers for every class" });
    }
    let objects: Vec<Object> = ids
        .iter()
        .zip(values.chunks_exact(4))
        .map(|(&class, area)| {
            let area = [area[0], area[1], area[2], area[3]];
            let class = usize::try_from(class).ok().filter(|_| area[2] > 0.0 && area[3] > 0.0);
            Some(Object { class: class?, area })
        })
        .collect::<Option<_>>()
        .ok_or(ZooError::Targets { expected: "classes from 0 on, and boxes with a width and a height" })?;
    Ok(objects.chunks_exact(count).map(<[Object]>::to_vec).collect())
}

/// Training targets by the rule of [`rule`].
///
/// - Image classification: `classes` `[batch]`, each below `labels`.
/// - Masked language modelling: 15 % of the positions of every sample, at least one, as `positions` `[masked]`
///   in the flattened batch, and the `tokens` `[masked]` that belong there, each below `labels`. The inputs stay
///   as they are: what the position holds does not change what a step costs.
/// - Models that write text: none, the input (of the decoder) is its own target.
/// - Image-text matching: none, the i-th text is the i-th image's.
/// - Object detection: seven objects an image, `classes` `[batch, 7]`, each below `labels`, and `boxes`
///   `[batch, 7, 4]` that lie inside of the image: centre x and y in [0.25, 0.75), width and height in [0.1, 0.5), all
///   as shares of the image.
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
        Task::ObjectDetection => {
            let classes = rule::tokens("target.classes", batch_size * OBJECTS, labels, seed);
            let boxes = rule::floats("target.boxes", batch_size * OBJECTS * 4, seed)
                .into_iter()
                .enumerate()
                // Of every four, the first two are the centre.
                .map(|(index, signed)| if index % 4 < 2 { 0.5 + 0.25 * signed } else { 0.3 + 0.2 * signed })
                .collect();
            vec![
                HostTensor { name: CLASSES.to_owned(), shape: vec![batch_size, OBJECTS], data: HostData::I64(classes) },
                HostTensor { name: BOXES.to_owned(), shape: vec![batch_size, OBJECTS, 4], data: HostData::F32(boxes) },
            ]
        }
        Task::CausalLanguageModelling
        | Task::SequenceToSequence
        | Task::SpeechRecognition
        | Task::ImageTextMatching => Vec::new(),
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
    fn made_objects_lie_inside_of_the_image() {
        let made = host_targets(Task::ObjectDetection, &[], 91, 3, 0);
        assert_eq!((made[0].shape.as_slice(), made[1].shape.as_slice()), (&[3, 7][..], &[3, 7, 4][..]));
        let targets = Targets::from_host(Task::ObjectDetection, &made, &Device::flex()).unwrap();
        let Targets::Objects(images) = targets else { panic!("other targets") };
        assert_eq!(images.iter().map(Vec::len).collect::<Vec<_>>(), [7, 7, 7]);
        for Object { class, area: [x, y, width, height] } in images.concat() {
            assert!(class < 91);
            assert!(x - width / 2.0 >= 0.0 && x + width / 2.0 <= 1.0);
            assert!(y - height / 2.0 >= 0.0 && y + height / 2.0 <= 1.0);
        }
    }

    #[test]
    fn refuses_objects_without_an_area_or_a_class() {
        let device = Device::flex();
        let refused = |classes: Vec<i64>, boxes: Vec<f32>| {
            let classes = HostTensor { name: CLASSES.into(), shape: vec![1, 1], data: HostData::I64(classes) };
            let boxes = HostTensor { name: BOXES.into(), shape: vec![1, 1, boxes.len()], data: HostData::F32(boxes) };
            Targets::from_host(Task::ObjectDetection, &[classes, boxes], &device).is_err()
        };
        assert!(!refused(vec![0], vec![0.5, 0.5, 0.1, 0.1]));
        assert!(refused(vec![-1], vec![0.5, 0.5, 0.1, 0.1]));
        assert!(refused(vec![0], vec![0.5, 0.5, 0.0, 0.1]));
        assert!(refused(vec![0], vec![0.5, 0.5, 0.1, f32::NAN]));
        assert!(refused(vec![0], vec![0.5, 0.5, 0.1]));
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
