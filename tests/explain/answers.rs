//! What an explanation is asked and answers: targets, errors, passes, and a method of one's own.
#![cfg(feature = "flex")]

use benchdb::domain::model::{HostData, HostTensor};
use benchdb::explain::{ExplainError, Method, Relevance, Subject, Target, explain, no_hooks};
use benchdb::zoo::{Batch, OutputTensor, host_inputs};
use burn::tensor::Device;
use serde_json::json;

use crate::networks::{TOKENS, one};
use crate::support::{attributed, image, method, network, relative_error, scores, values};

#[test]
fn targets_are_checked_predicted_and_kept() {
    let device = Device::flex();
    let saliency = method("saliency", json!({}));
    let cnn = network("cifar_cnn", &device);
    let inputs = image(32, 2, 0);
    let logits = match &cnn.forward(&Batch::from_host(&inputs, &device).unwrap()).unwrap()[0].tensor {
        OutputTensor::D2(logits) => logits.clone().argmax(1).try_to_vec_as::<i64>().unwrap(),
        OutputTensor::D3(_) => panic!("logits of a classifier are vectors"),
    };
    let predicted = explain(saliency.as_ref(), &Subject::new(cnn.as_ref(), &inputs).unwrap()).unwrap().targets;
    assert_eq!(predicted, logits.iter().map(|&class| Target::class(class as usize)).collect::<Vec<_>>());

    let refused = |targets: &[Target]| -> ExplainError {
        match Subject::new(cnn.as_ref(), &inputs).unwrap().with_targets(targets) {
            Ok(subject) => explain(saliency.as_ref(), &subject).unwrap_err(),
            Err(error) => error,
        }
    };
    let error = refused(&[Target::class(10)]);
    assert_eq!(error.to_string(), "there is no class 10: the network tells 10 apart");
    assert_eq!(error.hint().unwrap(), "classes count from 0 to 9");
    assert_eq!(refused(&[Target::class(0); 3]).to_string(), "3 targets are given for 2 samples");

    let (gpt2, specs) = one(&device, "gpt2");
    let at = |position| {
        let subject = Subject::new(gpt2.as_ref(), &host_inputs(&specs, 1, 0)).unwrap();
        subject.with_targets(&[Target { class: 3, position }]).unwrap()
    };
    assert_eq!(scores(&at(None)), scores(&at(Some(TOKENS - 1))));
    // What comes later cannot have been read.
    let early = attributed(saliency.as_ref(), &at(Some(1)));
    assert!(early[..2].iter().all(|value| *value > 0.0) && early[2..].iter().all(|value| *value == 0.0), "{early:?}");
    let error = explain(saliency.as_ref(), &at(Some(99))).unwrap_err();
    assert_eq!(error.to_string(), format!("there is no position 99: the output has {TOKENS}"));

    let (detr, specs) = one(&device, "detr");
    let subject = Subject::new(detr.as_ref(), &host_inputs(&specs, 2, 0)).unwrap();
    let predicted = subject.targets().unwrap();
    assert!(predicted.iter().all(|target| target.class < 5 && target.position.is_some_and(|query| query < 7)));
    let subject = subject.with_targets(&[Target::class(4)]).unwrap();
    let found = explain(saliency.as_ref(), &subject).unwrap();
    assert!(found.targets.iter().all(|target| target.class == 4 && target.position.is_some()));
    // The gradient goes on to the image through the part that training leaves alone.
    assert!(values(&found).iter().any(|value| *value > 0.0));
}

#[test]
fn what_cannot_be_explained_is_said_in_a_sentence() {
    let device = Device::flex();
    let cnn = network("cifar_cnn", &device);
    let mut broken = image(32, 1, 0);
    if let HostData::F32(values) = &mut broken[0].data {
        values[7] = f32::NAN;
    }
    let error = Subject::new(cnn.as_ref(), &broken).err().unwrap();
    assert_eq!(error.to_string(), "the input `image` cannot be explained: it holds values that are not finite");
    let subject = Subject::new(cnn.as_ref(), &image(32, 1, 0)).unwrap();
    for (name, parameters, expected) in [
        ("integrated_gradients", json!({ "steps": 0 }), "steps are 1 to 100000, not 0"),
        ("smooth_grad", json!({ "samples": 0 }), "samples are 1 to 100000, not 0"),
        ("lrp", json!({ "epsilon": -1.0 }), "epsilon and gamma are 0 or more"),
        ("occlusion", json!({ "window": [3, 40, 8] }), "a window of 40 with stride 40 does not fit into 32"),
        ("occlusion", json!({ "window": [8, 8] }), "window and stride need 3 extents"),
        ("occlusion", json!({ "window": [3, 4, 4], "stride": [3, 5, 4] }), "leaves gaps"),
        ("deeplift", json!({ "baseline": "given" }), "none came with the input"),
        ("attention_rollout", json!({}), "it has no attention"),
    ] {
        let error = explain(method(name, parameters).as_ref(), &subject).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let error = subject.with_baselines(&image(16, 1, 0)[0]).err().unwrap();
    assert!(error.to_string().contains("[1, 3, 16, 16]"), "{error}");
    let wrong_size = Subject::new(cnn.as_ref(), &image(16, 1, 0)).unwrap();
    let error = explain(method("saliency", json!({})).as_ref(), &wrong_size).unwrap_err();
    assert_eq!(error.to_string(), "the input `image` has the shape 1x3x16x16, expected batch x 3 x 32 x 32");
}

#[test]
fn passes_are_counted_for_every_sample() {
    let device = Device::flex();
    let cnn = network("cifar_cnn", &device);
    let subject = || Subject::new(cnn.as_ref(), &image(32, 2, 0)).unwrap();
    let targeted = subject().with_targets(&[Target::class(1)]).unwrap().with_inner_batch(8);
    for (name, parameters, expected) in [
        ("saliency", json!({}), [1.0, 1.0]),
        ("integrated_gradients", json!({ "steps": 20 }), [20.0, 20.0]),
        ("gradient_shap", json!({ "samples": 7 }), [7.0, 7.0]),
        ("smooth_grad", json!({ "samples": 6 }), [6.0, 6.0]),
        // One pass of the baseline serves all samples.
        ("deeplift", json!({}), [1.5, 1.0]),
        ("deeplift_shap", json!({}), [6.0, 4.0]),
        ("grad_cam", json!({}), [1.0, 1.0]),
        ("guided_grad_cam", json!({}), [2.0, 2.0]),
        ("guided_backpropagation", json!({}), [1.0, 1.0]),
        ("deconvolution", json!({}), [1.0, 1.0]),
        ("occlusion", json!({ "window": [3, 8, 8], "stride": [3, 4, 4] }), [50.0, 0.0]),
        ("lrp", json!({}), [1.0, 1.0]),
        ("lrp", json!({ "rule": "gamma" }), [2.0, 1.0]),
    ] {
        let attribution = explain(method(name, parameters).as_ref(), &targeted).unwrap();
        assert_eq!(attribution.passes_per_sample(), expected, "{name}");
    }
    // A target that is not given has to be predicted first.
    let attribution = explain(method("saliency", json!({})).as_ref(), &subject()).unwrap();
    assert_eq!(attribution.passes_per_sample(), [2.0, 1.0]);
}

/// An explanation leaves nothing behind: the network answers bit for bit what it did.
#[test]
fn a_network_is_the_same_after_it_was_explained() {
    let device = Device::flex();
    let resnet = network("resnet18", &device);
    let inputs = image(64, 1, 0);
    let answer = || resnet.forward(&Batch::from_host(&inputs, &device).unwrap()).unwrap()[0].to_host().unwrap();
    let (before, weights) = (answer(), resnet.weights().unwrap());
    let subject = Subject::new(resnet.as_ref(), &inputs).unwrap();
    for name in ["saliency", "deeplift", "lrp", "guided_backpropagation", "grad_cam"] {
        explain(method(name, json!({})).as_ref(), &subject).unwrap();
    }
    explain(method("lrp", json!({ "rule": "alpha1_beta0" })).as_ref(), &subject).unwrap();
    assert_eq!(before, answer());
    assert_eq!(weights, resnet.weights().unwrap());
}

/// The example of docs/explanations.md.
#[derive(serde::Serialize, serde::Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
struct SquaredGradient {}

impl Method for SquaredGradient {
    fn name(&self) -> &'static str {
        "squared_gradient"
    }

    fn parameters(&self) -> serde_json::Value {
        json!({})
    }

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        let samples: Vec<usize> = (0..subject.samples()).collect();
        let gradients = subject.gradients(self.name(), no_hooks(), subject.input(), &samples)?;
        Ok(Relevance::Features(gradients.powi_scalar(2)))
    }
}

#[test]
fn a_method_of_ones_own_is_one_implementation() {
    let device = Device::flex();
    let network = network("cifar_cnn", &device);
    let subject = Subject::new(network.as_ref(), &image(32, 2, 0)).unwrap();
    let saliency = attributed(method("saliency", json!({})).as_ref(), &subject);
    let expected: Vec<f64> = saliency.iter().map(|value| value * value).collect();
    assert!(relative_error(&attributed(&SquaredGradient {}, &subject), &expected) < 1e-6);
}

/// The samples of a batch in another order.
fn reordered(tensor: &HostTensor, order: &[usize]) -> Vec<HostTensor> {
    let HostData::F32(values) = &tensor.data else { panic!("integers") };
    let size = values.len() / tensor.shape[0];
    let values = order.iter().flat_map(|&sample| values[sample * size..(sample + 1) * size].to_vec()).collect();
    let shape = std::iter::once(order.len()).chain(tensor.shape[1..].iter().copied()).collect();
    vec![HostTensor { name: tensor.name.clone(), shape, data: HostData::F32(values) }]
}

/// A cache serves what was computed in another batch.
#[test]
fn a_sample_is_explained_alike_in_any_company() {
    let device = Device::flex();
    let network = network("cifar_cnn", &device);
    let inputs = image(32, 3, 0).remove(0);
    let noise = json!({ "noise": { "scale": 0.5, "count": 3, "seed": 2 } });
    for (name, parameters) in [
        ("smooth_grad", json!({ "samples": 7, "seed": 3 })),
        ("gradient_shap", json!({ "samples": 7, "noise_std": 0.3, "baseline": noise.clone() })),
        ("gradient_shap", json!({ "samples": 7, "stratified": true })),
        ("integrated_gradients", json!({ "steps": 5, "baseline": noise.clone() })),
        ("deeplift_shap", json!({ "baseline": noise.clone() })),
    ] {
        let method = method(name, parameters);
        let explained = |order: &[usize], inner_batch: usize| {
            let inputs = reordered(&inputs, order);
            let subject = Subject::new(network.as_ref(), &inputs).unwrap().with_targets(&[Target::class(2)]).unwrap();
            attributed(method.as_ref(), &subject.with_inner_batch(inner_batch))
        };
        let alone = explained(&[1], 16);
        for (order, place, inner_batch) in [(&[1][..], 0, 1), (&[1, 0, 2], 0, 16), (&[0, 2, 1], 2, 5), (&[0, 1], 1, 3)]
        {
            let together = explained(order, inner_batch);
            let own = &together[place * alone.len()..(place + 1) * alone.len()];
            assert!(relative_error(own, &alone) < 1e-5, "{name} at {place} in passes of {inner_batch}");
        }
    }
    let draws = |seed: u64| {
        let subject = Subject::new(network.as_ref(), std::slice::from_ref(&inputs)).unwrap();
        attributed(method("smooth_grad", json!({ "seed": seed })).as_ref(), &subject)
    };
    assert!(relative_error(&draws(1), &draws(0)) > 1e-3, "another seed is other noise");
}
