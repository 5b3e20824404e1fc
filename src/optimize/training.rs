//! Training on labelled pictures: fine-tuning of a variant, and distillation of a large network into a small one.

use std::ops::ControlFlow;

use super::error::{OptimizeError, checked, checked_share};
use crate::domain::TrainingOptimizer;
use crate::domain::model::{HostData, HostTensor, LabelledBatch, Task};
use crate::zoo::error::Cause;
use crate::zoo::{Batch, Network, Targets, Trainer, ZooError};

/// Pictures with their classes, by index.
pub trait LabelledImages {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The pictures of these indices, all below [`len`](Self::len), in their order and ready for the student.
    ///
    /// # Errors
    ///
    /// Pictures that cannot be read.
    fn batch(&mut self, indices: &[usize]) -> Result<LabelledBatch, Cause>;
}

/// How long and in which order a network learns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The classes that the student tells apart: [`ModelEntry::labels`](crate::zoo::ModelEntry::labels).
    pub classes: usize,
    /// How many times all pictures are seen; at least 1.
    pub epochs: usize,
    /// Pictures in a step; at least 1. What is left at the end of an epoch and fills no batch is left out of that
    /// epoch, unless it is all there is: batch normalisation learns badly from a few pictures.
    pub batch_size: usize,
    /// Of Adam; above 0. [`learning_rate`](crate::zoo::learning_rate) suits a fresh network, a tenth or a hundredth
    /// of it one that has learnt already.
    pub learning_rate: f64,
    /// Of the order of the pictures.
    pub seed: u64,
}

/// A teacher, and how much it counts.
#[derive(Clone, Copy)]
pub struct Teaching<'a> {
    /// An image classifier of the student's classes, with weights, on a device without gradients.
    pub teacher: &'a dyn Network,
    /// Divides the logits of both before the softmax; above 0. Hinton et al. used 1 to 20.
    pub temperature: f64,
    /// The share of the teacher in the loss, from 0 (labels alone) to 1 (teacher alone).
    pub alpha: f64,
}

/// Where a training is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// From 1 on.
    pub epoch: usize,
    /// All epochs.
    pub epochs: usize,
    /// Within the epoch, from 1 on.
    pub step: usize,
    /// Steps of an epoch.
    pub steps: usize,
    /// The loss of the step, before its weights moved.
    pub loss: f32,
}

/// Trains `student`, which was built on `device.autodiff()` and has weights, by Adam. With a teacher the loss is that of
/// distillation (Hinton et al. 2015), see [`distillation_loss`](crate::zoo::blocks::distillation_loss); without one it
/// is the cross-entropy of the classes, which is plain training or fine-tuning.
///
/// Both see the same pictures, at the student's size and prepared as the student wants them. `progress` is called after
/// every step and ends the training by [`ControlFlow::Break`]. The same student, data and schedule give the same order
/// of the pictures; results are as repeatable as the device's arithmetic.
///
/// Returns the trained network on the student's device without gradients.
///
/// # Errors
///
/// Options out of range, no or unreadable pictures, labels or a teacher that do not fit the student, a loss that is no
/// finite number, or [`OptimizeError::Stopped`].
pub fn train(
    student: Box<dyn Network>,
    teaching: Option<Teaching<'_>>,
    data: &mut dyn LabelledImages,
    schedule: &Schedule,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Box<dyn Network>, OptimizeError> {
    check(schedule, teaching)?;
    if data.is_empty() {
        return Err(OptimizeError::NoData);
    }
    let device = student.device();
    let mut trainer = student.into_trainer(TrainingOptimizer::Adam);
    trainer.set_learning_rate(schedule.learning_rate);
    let batch_size = schedule.batch_size.min(data.len());
    let steps = data.len() / batch_size;
    let mut order: Vec<usize> = (0..data.len()).collect();
    let mut random = fastrand::Rng::with_seed(schedule.seed);
    for epoch in 1..=schedule.epochs {
        random.shuffle(&mut order);
        for (step, indices) in (1..=steps).zip(order.chunks(batch_size)) {
            let (image, classes) = labelled(data, indices, schedule.classes)?;
            let targets = match teaching {
                Some(teaching) => {
                    let logits = teaching.logits(&image, schedule.classes)?;
                    Targets::distilled(&classes, &logits, teaching.temperature, teaching.alpha, &device)?
                }
                None => Targets::from_host(Task::ImageClassification, &[classes], &device)?,
            };
            let batch = Batch::from_host(&[image], &device)?;
            let loss = learn(trainer.as_mut(), &batch, &targets)?.ok_or(OptimizeError::Diverged { epoch, step })?;
            let here = Progress { epoch, epochs: schedule.epochs, step, steps, loss };
            if progress(here).is_break() {
                return Err(OptimizeError::Stopped);
            }
        }
    }
    Ok(trainer.into_network()?)
}

fn check(schedule: &Schedule, teaching: Option<Teaching<'_>>) -> Result<(), OptimizeError> {
    let at_least_one = |option, value: usize| checked(option, value as f64, value >= 1, "at least 1");
    at_least_one("number of epochs", schedule.epochs)?;
    at_least_one("batch size", schedule.batch_size)?;
    let above_zero = |option, value: f64| checked(option, value, value > 0.0 && value.is_finite(), "above 0");
    above_zero("learning rate", schedule.learning_rate)?;
    if let Some(teaching) = teaching {
        above_zero("temperature", teaching.temperature)?;
        checked_share("alpha", teaching.alpha)?;
        if teaching.teacher.device().is_autodiff() {
            return Err(OptimizeError::TeacherGradients);
        }
    }
    Ok(())
}

/// The pictures of these indices, and their classes as targets.
fn labelled(
    data: &mut dyn LabelledImages,
    indices: &[usize],
    classes: usize,
) -> Result<(HostTensor, HostTensor), OptimizeError> {
    let batch = data.batch(indices).map_err(|source| OptimizeError::Data { source })?;
    let asked = indices.len();
    let pictures = batch.image.shape.first().copied().unwrap_or(0);
    let labels = batch.labels.len();
    if pictures != asked || labels != asked {
        return Err(OptimizeError::BatchSize { asked, pictures, labels });
    }
    if let Some(&label) = batch.labels.iter().find(|class| **class >= classes) {
        return Err(OptimizeError::Label { label, classes });
    }
    let values = batch.labels.iter().map(|class| *class as i64).collect();
    Ok((batch.image, HostTensor { name: "classes".to_owned(), shape: vec![asked], data: HostData::I64(values) }))
}

impl Teaching<'_> {
    /// The teacher's logits, `[batch, classes]`, on the host: no gradient finds its way back from there.
    fn logits(&self, image: &HostTensor, classes: usize) -> Result<HostTensor, OptimizeError> {
        let batch = Batch::from_host(std::slice::from_ref(image), &self.teacher.device())?;
        let outputs = self.teacher.forward(&batch).map_err(|source| match source {
            ZooError::InputShape { .. } => OptimizeError::TeacherInput { source },
            other => OptimizeError::Network(other),
        })?;
        let logits = outputs.iter().find(|output| output.name == "logits").ok_or(OptimizeError::TeacherOutput)?;
        match logits.shape()[..] {
            [_, found] if found == classes => Ok(logits.to_host()?),
            [_, found] => Err(OptimizeError::TeacherClasses { teacher: found, student: classes }),
            _ => Err(OptimizeError::TeacherOutput),
        }
    }
}

/// One step; its loss, or `None` where that is no finite number. The weights have not moved then.
fn learn(trainer: &mut dyn Trainer, batch: &Batch, targets: &Targets) -> Result<Option<f32>, OptimizeError> {
    trainer.forward(batch)?;
    trainer.loss(batch, targets)?;
    let loss = trainer.last_loss().filter(|loss| loss.is_finite());
    if loss.is_some() {
        trainer.backward()?;
        trainer.step()?;
    }
    Ok(loss)
}
