//! Training steps: the loss falls, and every parameter moves.
#![cfg(feature = "flex")]

use benchdb::domain::TrainingOptimizer;
use benchdb::domain::model::InputSpec;
use benchdb::zoo::{
    Batch, ModelEntry, Network, ParameterKind, Targets, Trainer, WeightSource, ZooError, find, host_inputs,
    host_targets,
};
use burn::tensor::Device;

use crate::support::f32_values;

pub struct Setup {
    pub trainer: Box<dyn Trainer>,
    pub batch: Batch,
    pub targets: Targets,
}

pub fn loaded(entry: &ModelEntry, device: &Device) -> Box<dyn Network> {
    let mut network = entry.build(device);
    network.load(&WeightSource::Seeded(0)).unwrap();
    network
}

pub fn setup(
    entry: &ModelEntry,
    specs: &[InputSpec],
    samples: usize,
    device: Device,
    optimizer: TrainingOptimizer,
) -> Setup {
    let device = device.autodiff();
    let targets = host_targets(entry.task, specs, entry.labels, samples, 0);
    Setup {
        trainer: loaded(entry, &device).into_trainer(optimizer),
        batch: Batch::from_host(&host_inputs(specs, samples, 0), &device).unwrap(),
        targets: Targets::from_host(entry.task, &targets, &device).unwrap(),
    }
}

impl Setup {
    pub fn step(&mut self) -> f32 {
        self.trainer.forward(&self.batch).unwrap();
        self.trainer.loss(&self.batch, &self.targets).unwrap();
        self.trainer.backward().unwrap();
        self.trainer.step().unwrap();
        self.trainer.last_loss().unwrap()
    }
}

fn ten_adam_steps_lower_the_loss(device: Device, samples: usize) {
    let entry = find("cifar_cnn").unwrap();
    let mut setup = setup(entry, &entry.inputs(), samples, device, TrainingOptimizer::Adam);
    let started = std::time::Instant::now();
    let losses: Vec<f32> = (0..10).map(|_| setup.step()).collect();
    eprintln!("ten steps in {:.2?}: {losses:?}", started.elapsed());
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    assert!(losses[9] < 0.8 * losses[0], "{losses:?}");
}

#[test]
fn adam_lowers_the_loss_on_flex() {
    ten_adam_steps_lower_the_loss(Device::flex(), 8);
}

#[cfg(feature = "ndarray")]
#[test]
fn adam_lowers_the_loss_on_ndarray() {
    // Its backward convolutions take two seconds a step with eight samples.
    ten_adam_steps_lower_the_loss(crate::support::ndarray().unwrap(), 2);
}

/// One step of SGD moves every tensor but `frozen`; images of `size` where the architecture allows.
fn every_parameter_moves(model: &str, shape: &[usize], samples: usize, frozen: fn(&str) -> bool) {
    let entry = find(model).unwrap();
    let mut specs = entry.inputs();
    specs[0].shape = shape.to_vec();
    let before = loaded(entry, &Device::flex()).weights().unwrap();
    let mut setup = setup(entry, &specs, samples, Device::flex(), TrainingOptimizer::Sgd);
    let loss = setup.step();
    assert!(loss.is_finite() && loss > 0.0, "loss {loss}");
    let trained = setup.trainer.into_network().unwrap();
    let kinds = trained.parameters();
    let after = trained.weights().unwrap();
    assert_eq!(before.len(), after.len());
    let mut unmoved = Vec::new();
    for ((before, after), info) in before.iter().zip(&after).zip(&kinds) {
        assert_eq!((&before.name, &after.name), (&info.name, &info.name));
        assert!(f32_values(after).iter().all(|v| v.is_finite()), "{}", info.name);
        if info.kind == ParameterKind::Frozen {
            assert!(before == after && frozen(&info.name), "{} is frozen", info.name);
        }
        if before == after && !frozen(&info.name) {
            unmoved.push((info.name.clone(), info.kind == ParameterKind::Trainable));
        }
    }
    assert!(unmoved.is_empty(), "unmoved (name, trainable): {unmoved:?}");

    // The trained network infers on a plain device.
    let batch = Batch::from_host(&host_inputs(&specs, 1, 0), &Device::flex()).unwrap();
    let output = trained.forward(&batch).unwrap()[0].to_host().unwrap();
    assert!(f32_values(&output).iter().all(|v| v.is_finite()));
}

fn none(_: &str) -> bool {
    false
}

/// The softmax does not see what is added to all keys of a query alike, so the gradient of a key's bias is zero
/// but for rounding. The pooler is not part of the loss.
fn key_bias_or_pooler(name: &str) -> bool {
    name.ends_with(".key.bias") || name.ends_with(".k_lin.bias") || name.starts_with("pooler.")
}

#[test]
fn every_parameter_of_cifar_cnn_moves() {
    every_parameter_moves("cifar_cnn", &[3, 32, 32], 2, none);
}

#[test]
fn every_parameter_of_resnet18_moves() {
    every_parameter_moves("resnet18", &[3, 64, 64], 2, none);
}

#[test]
fn every_parameter_of_resnet50_moves() {
    every_parameter_moves("resnet50", &[3, 64, 64], 2, none);
}

#[test]
fn every_parameter_of_mobilenet_v2_moves() {
    every_parameter_moves("mobilenet_v2", &[3, 64, 64], 2, none);
}

#[test]
fn every_parameter_of_vit_b_16_moves() {
    every_parameter_moves("vit_b_16", &[3, 224, 224], 1, none);
}

#[test]
fn every_parameter_of_bert_moves() {
    every_parameter_moves("bert-base-uncased", &[16], 2, key_bias_or_pooler);
}

#[test]
fn every_parameter_of_distilbert_moves() {
    every_parameter_moves("distilbert-base-uncased", &[16], 2, key_bias_or_pooler);
}

#[test]
fn every_parameter_of_gpt2_moves() {
    every_parameter_moves("gpt2", &[8], 2, none);
}

/// The positions of the encoder are fixed.
#[test]
fn every_parameter_of_whisper_tiny_moves() {
    every_parameter_moves("whisper-tiny", &[80, 3000], 1, |name| name == "model.encoder.embed_positions.weight");
}

#[test]
fn every_parameter_of_smollm2_moves() {
    every_parameter_moves("smollm2-135m", &[8], 2, none);
}

#[test]
fn every_parameter_of_t5_moves() {
    every_parameter_moves("t5-small", &[16], 2, none);
}

#[test]
fn phases_are_refused_out_of_order() {
    let entry = find("cifar_cnn").unwrap();
    let mut setup = setup(entry, &entry.inputs(), 1, Device::flex(), TrainingOptimizer::Sgd);
    let trainer = &mut setup.trainer;
    assert!(matches!(trainer.backward(), Err(ZooError::PhaseOrder { .. })));
    assert!(matches!(trainer.step(), Err(ZooError::PhaseOrder { .. })));
    let loss = trainer.loss(&setup.batch, &setup.targets);
    assert!(matches!(loss, Err(ZooError::PhaseOrder { .. })));
    assert_eq!(trainer.last_loss(), None);
}

#[test]
fn a_plain_device_trains_nothing() {
    let entry = find("cifar_cnn").unwrap();
    let device = Device::flex();
    let batch = Batch::from_host(&host_inputs(&entry.inputs(), 1, 0), &device).unwrap();
    let mut trainer = loaded(entry, &device).into_trainer(TrainingOptimizer::Adam);
    assert!(matches!(trainer.forward(&batch), Err(ZooError::NoGradients)));
}

#[test]
fn inference_leaves_running_statistics_alone() {
    let entry = find("resnet18").unwrap();
    let device = Device::flex();
    let network = loaded(entry, &device);
    let mut specs = entry.inputs();
    specs[0].shape = vec![3, 64, 64];
    let batch = Batch::from_host(&host_inputs(&specs, 1, 0), &device).unwrap();
    let before = network.weights().unwrap();
    network.forward(&batch).unwrap();
    assert_eq!(network.weights().unwrap(), before);
}
