//! The training step of the models of the second half against the reference: its loss and its gradients.
//!
//! The expected values are those of transformers 5.23 in double precision, with the same weights, inputs and targets,
//! computed by PyTorch's autograd. A first step of SGD moves every tensor by the learning rate times its gradient,
//! which therefore needs no access to the inside of a network.
#![cfg(feature = "flex")]

use benchdb::domain::TrainingOptimizer;
use benchdb::domain::model::InputSpec;
use benchdb::zoo::{
    Batch, ParameterInfo, ParameterKind, Targets, ZooError, find, host_inputs, host_targets, learning_rate,
};
use burn::tensor::Device;

use crate::support::f32_values;
use crate::training::{loaded, setup};

struct Step {
    loss: f64,
    /// Every tensor with the Euclidean length of its gradient; 0 where it did not move.
    gradients: Vec<(ParameterInfo, f64)>,
}

fn one_step(model: &str, specs: &[InputSpec], samples: usize) -> Step {
    let entry = find(model).unwrap();
    let before = loaded(entry, &Device::flex()).weights().unwrap();
    let mut setup = setup(entry, specs, samples, Device::flex(), TrainingOptimizer::Sgd);
    let loss = f64::from(setup.step());
    let trained = setup.trainer.into_network().unwrap();
    let after = trained.weights().unwrap();
    let rate = learning_rate(TrainingOptimizer::Sgd);
    let gradients = trained
        .parameters()
        .into_iter()
        .zip(before.iter().zip(&after))
        .map(|(info, (before, after))| {
            assert_eq!((&before.name, &after.name), (&info.name, &info.name));
            let steps = f32_values(before).iter().zip(f32_values(after)).map(|(&a, &b)| f64::from(a) - f64::from(b));
            let length = steps.map(|step| step * step).sum::<f64>().sqrt() / rate;
            assert!(length.is_finite(), "{}", info.name);
            (info, length)
        })
        .collect();
    Step { loss, gradients }
}

impl Step {
    fn assert_equals(&self, loss: f64, gradients: &[(&str, f64)]) {
        assert!((self.loss - loss).abs() <= 1e-5 * loss, "loss {}", self.loss);
        for (name, expected) in gradients {
            let (_, found) = self.gradients.iter().find(|(info, _)| info.name == *name).unwrap();
            assert!((found - expected).abs() <= 1e-3 * expected, "{name}: {found} is not {expected}");
        }
    }
}

/// The softmax does not see what is added to all keys of a query alike, so this gradient is zero but for rounding.
fn key_bias(name: &str) -> bool {
    name.ends_with(".k_proj.bias")
}

#[test]
fn clip_learns_as_the_reference() {
    let mut specs = find("clip-vit-base-patch32").unwrap().inputs();
    specs[1].shape = vec![8];
    let step = one_step("clip-vit-base-patch32", &specs, 2);
    step.assert_equals(
        0.6996046,
        &[
            ("logit_scale", 0.006484034),
            ("text_model.embeddings.token_embedding.weight", 0.1982409),
            ("text_model.encoder.layers.5.self_attn.q_proj.weight", 0.008898022),
            ("text_model.encoder.layers.5.mlp.fc1.weight", 0.04400342),
            ("text_model.final_layer_norm.weight", 0.006190745),
            ("vision_model.embeddings.class_embedding", 0.06137686),
            ("vision_model.embeddings.patch_embedding.weight", 0.3279729),
            ("vision_model.encoder.layers.5.self_attn.k_proj.weight", 0.02007554),
            ("visual_projection.weight", 0.1777496),
            ("text_projection.weight", 0.1450057),
        ],
    );
    for (info, length) in &step.gradients {
        assert_eq!(info.kind, ParameterKind::Trainable);
        assert!(*length > 0.0 || key_bias(&info.name), "{} stays", info.name);
    }
}

/// Gradients of DETR that are zero but for rounding.
fn vanishes(name: &str) -> bool {
    // The queries enter the first decoder layer as zeros. All its values are the same then, and it does not matter
    // which of them attention picks: only their bias learns.
    let decoder = name.strip_prefix("model.decoder.layers.0.self_attn.");
    // Nothing normalises the activations of a backbone with made weights: the first attention behind it sees no token
    // but one, whatever its queries and keys (gradients of the reference: below 1e-10).
    let encoder = name.strip_prefix("model.encoder.layers.0.self_attn.");
    let asks = |part: &str| part.starts_with("q_proj.") || part.starts_with("k_proj.");
    key_bias(name) || decoder.is_some_and(|part| asks(part) || part == "v_proj.weight") || encoder.is_some_and(asks)
}

#[test]
fn detr_learns_as_the_reference_and_what_is_frozen_stays() {
    let mut specs = find("detr-resnet-50").unwrap().inputs();
    specs[0].shape = vec![3, 72, 100];
    let step = one_step("detr-resnet-50", &specs, 2);
    step.assert_equals(
        8.524149,
        &[
            ("model.backbone.model.encoder.stages.1.layers.0.layer.0.convolution.weight", 1.551618),
            ("model.input_projection.weight", 37.70585),
            ("model.query_position_embeddings.weight", 0.004169976),
            ("model.encoder.layers.0.self_attn.v_proj.weight", 13.85658),
            ("model.encoder.layers.3.mlp.fc1.weight", 9.119794),
            ("model.decoder.layers.2.encoder_attn.v_proj.weight", 4.014604),
            ("class_labels_classifier.weight", 9.485273),
            ("bbox_predictor.layers.0.weight", 13.72155),
        ],
    );
    let mut frozen = 0;
    let mut buffers = 0;
    for (info, length) in &step.gradients {
        match info.kind {
            ParameterKind::Trainable => assert!(*length > 0.0 || vanishes(&info.name), "{} stays", info.name),
            ParameterKind::Frozen => frozen += 1,
            ParameterKind::Buffer => buffers += 1,
        }
        assert!(*length == 0.0 || info.kind == ParameterKind::Trainable, "{} moved", info.name);
    }
    // The stem's convolution and the ten of the first stage; four tensors for each of the 53 normalisations.
    assert_eq!((frozen, buffers), (11, 4 * 53));
}

#[test]
fn detr_refuses_targets_of_another_batch() {
    let entry = find("detr-resnet-50").unwrap();
    let mut specs = entry.inputs();
    specs[0].shape = vec![3, 32, 32];
    let mut setup = setup(entry, &specs, 1, Device::flex(), TrainingOptimizer::Sgd);
    let targets = host_targets(entry.task, &specs, entry.labels, 2, 0);
    let targets = Targets::from_host(entry.task, &targets, &Device::flex()).unwrap();
    setup.trainer.forward(&setup.batch).unwrap();
    assert!(matches!(setup.trainer.loss(&setup.batch, &targets), Err(ZooError::Targets { .. })));
}

/// A network that was trained infers on a plain device, its buffers included.
#[test]
fn a_trained_detr_infers() {
    let entry = find("detr-resnet-50").unwrap();
    let mut specs = entry.inputs();
    specs[0].shape = vec![3, 64, 64];
    let mut setup = setup(entry, &specs, 1, Device::flex(), TrainingOptimizer::Adam);
    let first = setup.step();
    let losses: Vec<f32> = (0..4).map(|_| setup.step()).collect();
    assert!(losses.iter().all(|loss| loss.is_finite()), "{losses:?}");
    assert!(losses[3] < first, "{first}, {losses:?}");
    let trained = setup.trainer.into_network().unwrap();
    let batch = Batch::from_host(&host_inputs(&specs, 1, 0), &Device::flex()).unwrap();
    for output in trained.forward(&batch).unwrap() {
        assert!(f32_values(&output.to_host().unwrap()).iter().all(|value| value.is_finite()));
    }
}
