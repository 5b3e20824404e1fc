//! Networks of every kind: what fits, per token and per pixel. Small ones, of the real architectures.
#![cfg(feature = "flex")]

use std::cell::RefCell;
use std::rc::Rc;

use benchdb::domain::model::{HostData, HostTensor, InputKind, InputSpec};
use benchdb::explain::compatibility::{fits, tried};
use benchdb::explain::{Baseline, Fit, Subject, Target, all_methods, convolutions, explain, no_hooks};
use benchdb::zoo::bert::BertConfig;
use benchdb::zoo::cifar_cnn::CifarCnnConfig;
use benchdb::zoo::clip::{ClipConfig, ClipTowerConfig};
use benchdb::zoo::detr::DetrConfig;
use benchdb::zoo::distilbert::DistilBertConfig;
use benchdb::zoo::gpt2::Gpt2Config;
use benchdb::zoo::hooks::{AttentionCall, Hooks};
use benchdb::zoo::llama::LlamaConfig;
use benchdb::zoo::network::boxed;
use benchdb::zoo::resnet::{BlockKind, ResNetConfig};
use benchdb::zoo::t5::T5Config;
use benchdb::zoo::vit::VitConfig;
use benchdb::zoo::whisper::WhisperConfig;
use benchdb::zoo::{Batch, Network, WeightSource, host_inputs};
use burn::tensor::{Device, Tensor};
use serde_json::{Map, json};

use crate::support::{attributed, floats, image, method, network, relative_error, scores, values};

const VOCABULARY: usize = 50;
pub const TOKENS: usize = 6;

fn spec(name: &str, kind: InputKind, shape: &[usize]) -> InputSpec {
    InputSpec { name: name.into(), kind, shape: shape.to_vec() }
}

fn text(name: &str) -> InputSpec {
    spec(name, InputKind::Tokens { vocabulary: VOCABULARY }, &[TOKENS])
}

fn picture(size: usize) -> InputSpec {
    spec("image", InputKind::Float, &[3, size, size])
}

/// A small network of every architecture that attends, with what it reads.
fn attentive(device: &Device) -> Vec<(&'static str, Box<dyn Network>, Vec<InputSpec>)> {
    let (width, heads, layers, hidden) = (16, 2, 2, 32);
    let bert = BertConfig { vocabulary: VOCABULARY, positions: 16, token_types: 2, width, heads, layers, hidden };
    let distilbert = DistilBertConfig { vocabulary: VOCABULARY, positions: 16, width, heads, layers, hidden };
    let gpt2 = Gpt2Config { vocabulary: VOCABULARY, positions: 16, width, heads, layers };
    let llama = LlamaConfig {
        vocabulary: VOCABULARY,
        positions: 16,
        width,
        heads,
        key_value_heads: 1,
        layers,
        hidden,
        rope_theta: 100.0,
        epsilon: 1e-5,
    };
    let t5 = T5Config {
        vocabulary: VOCABULARY,
        positions: 16,
        width,
        heads,
        head_width: 8,
        layers,
        hidden,
        buckets: 8,
        max_distance: 16,
    };
    let vit = VitConfig { image: 32, patch: 8, width, heads, layers, hidden, classes: 5 };
    let tower = ClipTowerConfig { width, heads, layers, hidden };
    let clip = ClipConfig {
        vision: tower.clone(),
        image: 32,
        patch: 16,
        text: tower,
        vocabulary: VOCABULARY,
        positions: 16,
        embedding: 8,
    };
    let detr = DetrConfig {
        backbone: ResNetConfig { kind: BlockKind::Basic, blocks: [1; 4], classes: 0 },
        width,
        heads,
        hidden,
        encoder_layers: 1,
        decoder_layers: 2,
        queries: 7,
        classes: 5,
    };
    let whisper = WhisperConfig {
        vocabulary: VOCABULARY,
        bins: 8,
        encoder_positions: 12,
        decoder_positions: 16,
        width,
        heads,
        layers,
        hidden,
    };
    let mel = spec("mel", InputKind::Float, &[8, 24]);
    let networks: Vec<(&'static str, Box<dyn Network>, Vec<InputSpec>)> = vec![
        ("bert", boxed(bert.init(device), device), vec![text("ids")]),
        ("distilbert", boxed(distilbert.init(device), device), vec![text("ids")]),
        ("gpt2", boxed(gpt2.init(device), device), vec![text("ids")]),
        ("llama", boxed(llama.init(device), device), vec![text("ids")]),
        ("t5", boxed(t5.init(device), device), vec![text("ids"), text("decoder_ids")]),
        ("vit", boxed(vit.init(device), device), vec![picture(32)]),
        ("clip", boxed(clip.init(device), device), vec![picture(32), text("ids")]),
        ("detr", boxed(detr.init(device), device), vec![picture(64)]),
        ("whisper", boxed(whisper.init(device), device), vec![mel, text("decoder_ids")]),
    ];
    let seeded = |mut network: Box<dyn Network>| {
        network.load(&WeightSource::Seeded(0)).unwrap();
        network
    };
    networks.into_iter().map(|(name, network, specs)| (name, seeded(network), specs)).collect()
}

pub fn one(device: &Device, wanted: &str) -> (Box<dyn Network>, Vec<InputSpec>) {
    let found = attentive(device).into_iter().find(|(name, ..)| *name == wanted).unwrap();
    (found.1, found.2)
}

/// What every attentive network lacks a rule for.
const BILINEAR: [&str; 3] = ["deeplift", "deeplift_shap", "lrp"];
const RECTIFIED: [&str; 3] = ["guided_backpropagation", "deconvolution", "guided_grad_cam"];

#[test]
fn what_fits_is_found_by_trying() {
    let device = Device::flex();
    for (name, network, specs) in attentive(&device) {
        let mut missing: Vec<&str> = BILINEAR.to_vec();
        if !matches!(name, "detr" | "t5") {
            missing.extend(RECTIFIED);
        }
        if !matches!(name, "vit" | "clip" | "detr" | "whisper") {
            missing.extend(["grad_cam", "guided_grad_cam"]);
        }
        if matches!(name, "t5" | "detr" | "whisper") {
            missing.push("attention_rollout");
        }
        for entry in all_methods() {
            match tried(entry, &Map::new(), network.as_ref(), &specs) {
                Fit::Works => assert!(!missing.contains(&entry.name), "{} on {name} works", entry.name),
                Fit::Unsupported(reason) => {
                    assert!(missing.contains(&entry.name), "{} on {name}: {reason}", entry.name);
                    assert!(!reason.is_empty());
                }
                Fit::Failed(error) => panic!("{} on {name}: {error}", entry.name),
            }
        }
    }
}

#[test]
fn everything_but_rollout_fits_networks_of_convolutions() {
    let device = Device::flex();
    let cnn = boxed(CifarCnnConfig { channels: [2; 3], hidden: 4, classes: 3 }.init(&device), &device);
    let resnet = ResNetConfig { kind: BlockKind::Bottleneck, blocks: [1; 4], classes: 3 };
    for (mut network, size) in [(cnn, 32), (boxed(resnet.init(&device), &device), 64)] {
        network.load(&WeightSource::Seeded(0)).unwrap();
        for entry in all_methods() {
            let found = tried(entry, &Map::new(), network.as_ref(), &[picture(size)]);
            if entry.name == "attention_rollout" {
                assert_eq!(found, Fit::Unsupported("it has no attention".to_owned()));
            } else {
                assert_eq!(found, Fit::Works, "{}", entry.name);
            }
        }
    }
}

/// The vectors of the words take the words' place, and nothing else changes.
#[test]
fn texts_are_explained_by_the_vectors_of_their_words() {
    let device = Device::flex();
    for wanted in ["bert", "distilbert", "gpt2", "llama", "t5"] {
        let (network, specs) = one(&device, wanted);
        let inputs = host_inputs(&specs, 2, 0);
        let subject = Subject::new(network.as_ref(), &inputs).unwrap();
        assert!(subject.is_text());
        assert_eq!(subject.shape(), [TOKENS, 16]);
        let flat = |outputs: Vec<benchdb::zoo::Output>| floats(&outputs[0].to_host().unwrap());
        let plain = flat(network.forward(&Batch::from_host(&inputs, &device).unwrap()).unwrap());
        let watched = flat(subject.run(no_hooks(), subject.input(), &[0, 1]).unwrap());
        assert!(relative_error(&watched, &plain) < 1e-5, "{wanted}");

        // Away from zero, where normalisations turn sharply, these functions are smooth: a hundred places are as good as
        // all.
        let noise = Baseline::Noise { scale: 1.0, count: 1, seed: 1 };
        let from = subject.scores(subject.baselines(noise).unwrap(), &[1]).unwrap().into_scalar::<f32>();
        let change = scores(&subject)[1] - f64::from(from);
        let parameters = json!({ "steps": 100, "baseline": { "noise": { "scale": 1.0, "count": 1, "seed": 1 } } });
        let method = method("integrated_gradients", parameters);
        let attribution = explain(method.as_ref(), &subject).unwrap();
        assert_eq!(attribution.to_host().unwrap().shape, [2, TOKENS]);
        let found = values(&attribution);
        let sum: f64 = found[TOKENS..].iter().sum();
        let scale: f64 = found[TOKENS..].iter().map(|value| value.abs()).sum();
        // T5 rectifies, which is not smooth.
        let tolerance = if wanted == "t5" { 0.03 } else { 1e-3 };
        assert!((sum - change).abs() < tolerance * scale, "{wanted}: {sum} is not {change}, scale {scale}");
    }
}

#[test]
fn a_covered_word_is_a_vector_of_zeros() {
    let device = Device::flex();
    let (network, specs) = one(&device, "gpt2");
    let inputs = host_inputs(&specs, 1, 0);
    let subject = Subject::new(network.as_ref(), &inputs).unwrap().with_targets(&[Target::class(7)]).unwrap();
    let found = attributed(method("occlusion", json!({})).as_ref(), &subject);
    let before = scores(&subject)[0];
    for (token, found) in found.iter().enumerate() {
        let mut rows = subject.input().reshape([1, TOKENS, 16]);
        rows = rows.slice_assign([0..1, token..token + 1, 0..16], Tensor::zeros([1, 1, 16], &device));
        let covered = subject.scores(rows.reshape([1, TOKENS * 16]), &[0]).unwrap().into_scalar::<f32>();
        let expected = before - f64::from(covered);
        assert!((found - expected).abs() < 1e-4, "{token}: {found} is not {expected}");
    }
}

/// The second of two texts, and the tower that reads texts.
#[test]
fn any_input_can_be_the_one_that_is_explained() {
    let device = Device::flex();
    for (wanted, input, shape) in [("t5", "decoder_ids", [TOKENS, 16]), ("clip", "ids", [TOKENS, 16])] {
        let (network, specs) = one(&device, wanted);
        let subject = Subject::of_input(network.as_ref(), &host_inputs(&specs, 2, 0), input).unwrap();
        assert_eq!(subject.shape(), shape);
        let attribution = explain(method("input_x_gradient", json!({})).as_ref(), &subject).unwrap();
        assert_eq!(attribution.to_host().unwrap().shape, [2, TOKENS]);
        assert!(values(&attribution).iter().any(|value| value.abs() > 0.0));
    }
    let (network, specs) = one(&device, "bert");
    let error = Subject::of_input(network.as_ref(), &host_inputs(&specs, 1, 0), "image").err().unwrap();
    assert_eq!(error.to_string(), "the input `image` cannot be explained: the network has no such input");
}

/// Pairs are explained one by one, however many share a batch.
#[test]
fn samples_of_a_batch_do_not_mix() {
    let device = Device::flex();
    for wanted in ["clip", "detr", "whisper", "gpt2"] {
        let (network, specs) = one(&device, wanted);
        let inputs = host_inputs(&specs, 3, 0);
        let method = method("integrated_gradients", json!({ "steps": 3 }));
        let explained = |inputs: &[HostTensor]| {
            let subject = Subject::new(network.as_ref(), inputs).unwrap().with_inner_batch(4);
            attributed(method.as_ref(), &subject)
        };
        let together = explained(&inputs);
        let size = together.len() / 3;
        for sample in 0..3 {
            let alone: Vec<HostTensor> = inputs.iter().map(|tensor| sample_of(tensor, sample)).collect();
            let error = relative_error(&explained(&alone), &together[sample * size..(sample + 1) * size]);
            assert!(error < 1e-3, "{wanted}: {error:.2e}");
        }
    }
}

fn sample_of(tensor: &HostTensor, sample: usize) -> HostTensor {
    let size = tensor.data.len() / tensor.shape[0];
    let part = sample * size..(sample + 1) * size;
    let data = match &tensor.data {
        HostData::F32(values) => HostData::F32(values[part].to_vec()),
        HostData::I64(values) => HostData::I64(values[part].to_vec()),
    };
    let shape = std::iter::once(1).chain(tensor.shape[1..].iter().copied()).collect();
    HostTensor { name: tensor.name.clone(), shape, data }
}

/// Notes the attention of every layer.
#[derive(Default)]
struct Recorder(Vec<Tensor<4>>);

impl Hooks for Recorder {
    fn attention(&mut self, call: AttentionCall) -> Tensor<4> {
        self.0.push(call.probabilities());
        call.forward()
    }
}

#[test]
fn rollout_equals_its_definition() {
    let device = Device::flex();
    for (wanted, read) in [("vit", 0), ("bert", 0), ("gpt2", TOKENS - 1)] {
        let (network, specs) = one(&device, wanted);
        let subject = Subject::new(network.as_ref(), &host_inputs(&specs, 1, 0)).unwrap();
        let recorder = Rc::new(RefCell::new(Recorder::default()));
        subject.run(recorder.clone(), subject.input(), &[0]).unwrap();
        let layers: Vec<Vec<f32>> =
            recorder.borrow().0.iter().map(|layer| layer.clone().mean_dim(1).try_to_vec_as().unwrap()).collect();
        let tokens = (layers[0].len() as f64).sqrt() as usize;
        let mut flow = vec![0.0; tokens];
        flow[read] = 1.0;
        // From the last layer back to the words.
        for layer in layers.iter().rev() {
            let mut before = vec![0.0; tokens];
            for (query, share) in flow.iter().enumerate() {
                for (key, part) in before.iter_mut().enumerate() {
                    let own = if key == query { 0.5 } else { 0.0 };
                    *part += share * (0.5 * f64::from(layer[query * tokens + key]) + own);
                }
            }
            flow = before;
        }
        let class_tokens = tokens - subject.shape()[0].max(if wanted == "vit" { tokens - 1 } else { 0 });
        let attribution = explain(method("attention_rollout", json!({})).as_ref(), &subject).unwrap();
        let expected_shape = if wanted == "vit" { vec![1, 1, 4, 4] } else { vec![1, TOKENS] };
        assert_eq!(attribution.to_host().unwrap().shape, expected_shape);
        assert!(relative_error(&values(&attribution), &flow[class_tokens..]) < 1e-5, "{wanted}");
    }
}

#[test]
fn maps_are_of_the_layer_that_is_named() {
    let device = Device::flex();
    let network = network("resnet18", &device);
    let subject = Subject::new(network.as_ref(), &image(64, 1, 0)).unwrap();
    let found = convolutions(&subject).unwrap();
    assert_eq!(found.len(), 20);
    assert_eq!(found[0], ("conv1".to_owned(), [64, 32, 32]));
    assert_eq!(found[19], ("layer4.1.conv2".to_owned(), [512, 2, 2]));
    let shape = |layer: &str| {
        let attribution = explain(method("grad_cam", json!({ "layer": layer })).as_ref(), &subject);
        attribution.map(|attribution| attribution.to_host().unwrap().shape)
    };
    assert_eq!(shape("conv1").unwrap(), [1, 1, 32, 32]);
    assert_eq!(shape("layer2.0.downsample.0").unwrap(), [1, 1, 8, 8]);
    let last = attributed(method("grad_cam", json!({ "layer": "layer4.1.conv2" })).as_ref(), &subject);
    assert_eq!(last, attributed(method("grad_cam", json!({})).as_ref(), &subject));
    let enlarged = method("grad_cam", json!({ "upsample": "nearest" }));
    assert_eq!(explain(enlarged.as_ref(), &subject).unwrap().shape, [1, 64, 64]);
    for wrong in ["conv9", "fc"] {
        let error = shape(wrong).unwrap_err();
        assert_eq!(error.to_string(), format!("the network has no convolution `{wrong}`"));
        assert!(error.hint().unwrap().contains("layer4.1.conv2"));
    }
}

/// What `benchdb models --methods` shows.
#[test]
#[ignore = "all thirteen models with all methods: two minutes"]
fn no_model_fails_at_any_method() {
    let mut failed = Vec::new();
    for entry in benchdb::zoo::models() {
        let started = std::time::Instant::now();
        let methods: Vec<_> = all_methods().iter().map(|method| (method, Map::new())).collect();
        let found = fits(entry, &methods, &Device::flex()).unwrap();
        eprintln!("{} {:.1?}", entry.name, started.elapsed());
        for ((method, _), fit) in methods.into_iter().zip(found) {
            let method = method.name;
            eprintln!("    {method}: {fit:?}");
            if let Fit::Failed(error) = fit {
                failed.push(format!("{method} on {}: {error}", entry.name));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}
