//! Writing with a cache of keys and values gives what writing without one gives.
#![cfg(feature = "flex")]

use std::collections::BTreeMap;

use benchdb::domain::model::{HostData, HostTensor, InputKind, InputSpec};
use benchdb::zoo::gpt2::Gpt2Config;
use benchdb::zoo::llama::LlamaConfig;
use benchdb::zoo::network::boxed;
use benchdb::zoo::t5::T5Config;
use benchdb::zoo::{Batch, Generation, Network, OutputTensor, WeightSource, ZooError, find, host_inputs};
use burn::tensor::{Device, Int, Tensor};
use serde::Deserialize;

use crate::support::{fixture, relative_error};

const VOCABULARY: usize = 50;
const POSITIONS: usize = 24;

fn tiny_gpt2(device: &Device) -> Box<dyn Network> {
    let config = Gpt2Config { vocabulary: VOCABULARY, positions: POSITIONS, width: 32, heads: 2, layers: 2 };
    boxed(config.init(device), device)
}

fn tiny_llama(device: &Device) -> Box<dyn Network> {
    let config = LlamaConfig {
        vocabulary: VOCABULARY,
        positions: POSITIONS,
        width: 48,
        heads: 6,
        key_value_heads: 2,
        layers: 2,
        hidden: 64,
        rope_theta: 10_000.0,
        epsilon: 1e-5,
    };
    boxed(config.init(device), device)
}

/// Heads that are together wider than a token, and distances that reach the last class of positions.
fn tiny_t5(device: &Device) -> Box<dyn Network> {
    let config = T5Config {
        vocabulary: VOCABULARY,
        positions: POSITIONS,
        width: 32,
        heads: 3,
        head_width: 16,
        layers: 2,
        hidden: 64,
        buckets: 8,
        max_distance: 12,
    };
    boxed(config.init(device), device)
}

type Build = fn(&Device) -> Box<dyn Network>;

const TINY: [(&str, Build); 3] = [("gpt2", tiny_gpt2), ("llama", tiny_llama), ("t5", tiny_t5)];

fn tokens(name: &str, length: usize) -> InputSpec {
    InputSpec { name: name.into(), kind: InputKind::Tokens { vocabulary: VOCABULARY }, shape: vec![length] }
}

/// A prompt of `read` tokens, of which a decoder behind an encoder has `written` ones.
fn prompt(model: &str, samples: usize, read: usize, written: usize, device: &Device) -> Batch {
    let mut specs = vec![tokens("ids", read)];
    if model == "t5" {
        specs.push(tokens("decoder_ids", written));
    }
    Batch::from_host(&host_inputs(&specs, samples, 0), device).unwrap()
}

fn host(tensor: Tensor<2>) -> Vec<f64> {
    tensor.try_to_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
}

fn host_ids(tensor: Tensor<2, Int>) -> Vec<i64> {
    tensor.try_to_vec_as::<i64>().unwrap()
}

/// The logits of the next token, by a forward pass over everything.
fn logits_last(network: &dyn Network, batch: &Batch) -> Tensor<2> {
    let outputs = network.forward(batch).unwrap();
    match &outputs.iter().find(|output| output.name == "logits_last").unwrap().tensor {
        OutputTensor::D2(logits) => logits.clone(),
        OutputTensor::D3(_) => panic!("logits of the last position have no sequence"),
    }
}

/// Writes `count` tokens with the cache and without it: the same tokens, and every time the same logits.
fn assert_cached_equals_uncached(
    name: &str,
    network: &dyn Network,
    mut batch: Batch,
    count: usize,
    tolerance: f64,
) -> Vec<i64> {
    let mut cached = Generation::start(network.writer().unwrap(), &batch).unwrap();
    let mut written = Vec::new();
    let mut largest: f64 = 0.0;
    for step in 0..count {
        if step > 0 {
            cached.step().unwrap();
        }
        let logits = logits_last(network, &batch);
        let error = relative_error(&host(cached.logits()), &host(logits.clone()));
        assert!(error <= tolerance, "{name}, token {step}: relative error {error:.3e}");
        largest = largest.max(error);
        let token = logits.argmax(1); // [batch, 1]
        let text = batch.decoder_ids.as_mut().or(batch.ids.as_mut()).unwrap();
        *text = Tensor::cat(vec![text.clone(), token.clone()], 1);
        written.push(token);
    }
    let written = Tensor::cat(written, 1);
    assert_eq!(cached.tokens().dims(), written.dims());
    let written = host_ids(written);
    assert_eq!(host_ids(cached.tokens()), written, "{name}");
    eprintln!("{name}: {written:?}, relative error of the logits at most {largest:.2e}");
    written
}

fn tiny_networks_write_the_same(device: &Device, tolerance: f64) {
    for (name, build) in TINY {
        let mut network = build(device);
        network.load(&WeightSource::Seeded(0)).unwrap();
        for samples in [1, 2] {
            let batch = prompt(name, samples, 7, 3, device);
            assert_cached_equals_uncached(name, network.as_ref(), batch, 14, tolerance);
        }
    }
}

#[test]
fn cached_tokens_equal_uncached_ones_on_flex() {
    tiny_networks_write_the_same(&Device::flex(), 1e-4);
}

#[cfg(feature = "ndarray")]
#[test]
fn cached_tokens_equal_uncached_ones_on_ndarray() {
    tiny_networks_write_the_same(&crate::support::ndarray().unwrap(), 1e-4);
}

#[cfg(feature = "wgpu")]
#[test]
fn cached_tokens_equal_uncached_ones_on_wgpu() {
    let Some(device) = crate::support::wgpu() else { return };
    for (name, build) in TINY {
        let mut network = build(&device);
        network.load(&WeightSource::Seeded(0)).unwrap();
        assert_cached_equals_uncached(name, network.as_ref(), prompt(name, 2, 5, 1, &device), 4, 1e-3);
    }
}

/// A few tokens from a short prompt of the whole network; `expected` is what transformers writes with these weights.
fn a_whole_network_writes(model: &str, expected: [i64; 4]) {
    let entry = find(model).unwrap();
    let device = Device::flex();
    let mut network = entry.build(&device);
    network.load(&WeightSource::Seeded(0)).unwrap();
    let mut specs = entry.inputs();
    specs.iter_mut().for_each(|spec| spec.shape = vec![12]);
    let batch = Batch::from_host(&host_inputs(&specs, 1, 0), &device).unwrap();
    assert_eq!(assert_cached_equals_uncached(model, network.as_ref(), batch, 4, 1e-4), expected);
}

#[test]
fn gpt2_writes_what_transformers_writes() {
    a_whole_network_writes("gpt2", [5766, 5766, 5766, 5766]);
}

#[test]
fn smollm2_writes_what_transformers_writes() {
    a_whole_network_writes("smollm2-135m", [164, 33362, 33362, 4973]);
}

#[test]
fn t5_writes_what_transformers_writes() {
    a_whole_network_writes("t5-small", [10468, 24346, 20608, 23474]);
}

/// What transformers answers to a text and writes after it; see `make_tiny_writers.py` beside the files.
#[derive(Deserialize)]
struct Answer {
    parameter_count: u64,
    ids: Vec<Vec<i64>>,
    decoder_ids: Option<Vec<Vec<i64>>>,
    logits_last: Vec<f64>,
    written: Vec<Vec<i64>>,
}

fn ids(name: &str, texts: &[Vec<i64>]) -> HostTensor {
    HostTensor { name: name.into(), shape: vec![texts.len(), texts[0].len()], data: HostData::I64(texts.concat()) }
}

#[test]
fn files_of_transformers_write_what_transformers_writes() {
    let device = Device::flex();
    let text = std::fs::read_to_string(fixture("weights/tiny_writers.json")).unwrap();
    let answers: BTreeMap<String, Answer> = serde_json::from_str(&text).unwrap();
    assert_eq!(answers.len(), 2);
    for (name, answer) in &answers {
        let mut network = match name.as_str() {
            "tiny_llama" => {
                let config = LlamaConfig {
                    vocabulary: 40,
                    positions: 64,
                    width: 24,
                    heads: 6,
                    key_value_heads: 2,
                    layers: 2,
                    hidden: 20,
                    ..LlamaConfig::smollm2_135m()
                };
                boxed(config.init(&device), &device)
            }
            "tiny_t5" => {
                let config = T5Config {
                    vocabulary: 40,
                    width: 16,
                    heads: 3,
                    head_width: 8,
                    layers: 2,
                    hidden: 20,
                    buckets: 8,
                    max_distance: 12,
                    ..T5Config::small()
                };
                boxed(config.init(&device), &device)
            }
            other => panic!("no network for {other}"),
        };
        assert_eq!(network.parameter_count(), answer.parameter_count, "{name}");
        network.load(&WeightSource::File(fixture(&format!("weights/{name}.pth")))).unwrap();
        let mut inputs = vec![ids("ids", &answer.ids)];
        inputs.extend(answer.decoder_ids.as_deref().map(|texts| ids("decoder_ids", texts)));
        let batch = Batch::from_host(&inputs, &device).unwrap();
        let error = relative_error(&host(logits_last(network.as_ref(), &batch)), &answer.logits_last);
        eprintln!("{name}: relative error {error:.2e}");
        assert!(error <= 1e-5, "{name}: relative error {error:.3e}");
        let mut generation = Generation::start(network.writer().unwrap(), &batch).unwrap();
        for _ in 1..answer.written[0].len() {
            generation.step().unwrap();
        }
        assert_eq!(host_ids(generation.tokens()), answer.written.concat(), "{name}");
    }
}

#[test]
fn no_token_is_written_past_the_last_position() {
    let device = Device::flex();
    for (name, build) in TINY {
        let mut network = build(&device);
        network.load(&WeightSource::Seeded(0)).unwrap();
        let prompt = prompt(name, 1, POSITIONS - 2, POSITIONS - 2, &device);
        let mut generation = Generation::start(network.writer().unwrap(), &prompt).unwrap();
        generation.step().unwrap();
        generation.step().unwrap();
        let error = generation.step().unwrap_err();
        assert!(matches!(error, ZooError::NoPosition { positions: POSITIONS }), "{name}: {error}");
        assert_eq!(generation.tokens().dims(), [1, 3], "{name}");
    }
}

#[test]
fn texts_that_are_too_long_or_do_not_match_are_refused() {
    let device = Device::flex();
    for (name, build) in TINY {
        let mut network = build(&device);
        network.load(&WeightSource::Seeded(0)).unwrap();
        let refused = |batch: &Batch| {
            assert!(matches!(network.forward(batch), Err(ZooError::InputShape { .. })), "{name}");
            let read = network.writer().unwrap().read(batch);
            assert!(matches!(read, Err(ZooError::InputShape { .. })), "{name}");
        };
        refused(&prompt(name, 1, POSITIONS + 1, 1, &device));
        network.forward(&prompt(name, 1, POSITIONS, POSITIONS, &device)).unwrap();
        if name == "t5" {
            refused(&prompt(name, 1, 1, POSITIONS + 1, &device));
            let other = Batch { decoder_ids: prompt(name, 2, 1, 1, &device).decoder_ids, ..Batch::default() };
            refused(&Batch { ids: prompt(name, 1, 1, 1, &device).ids, ..other.clone() });
            assert!(matches!(network.forward(&other), Err(ZooError::MissingInput { .. })));
        }
        let (_, mut memory) = network.writer().unwrap().read(&prompt(name, 1, 2, 2, &device)).unwrap();
        let two = Tensor::<2, Int>::zeros([1, 2], &device);
        let appended = network.writer().unwrap().append(two, &mut memory);
        assert!(matches!(appended, Err(ZooError::InputShape { .. })), "{name}");
    }
}

#[test]
fn only_networks_that_write_and_have_weights_do() {
    let device = Device::flex();
    assert!(matches!(tiny_gpt2(&device).writer(), Err(ZooError::NoWeights)));
    let mut network = find("cifar_cnn").unwrap().build(&device);
    assert!(matches!(network.writer(), Err(ZooError::NoWriter)));
    network.load(&WeightSource::Seeded(0)).unwrap();
    assert!(matches!(network.writer(), Err(ZooError::NoWriter)));
}
