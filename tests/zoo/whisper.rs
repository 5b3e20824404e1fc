//! Whisper beyond its golden file: texts of other lengths, writing with the cache, and what it refuses.
#![cfg(feature = "flex")]

use std::time::{Duration, Instant};

use benchdb::domain::TrainingOptimizer;
use benchdb::domain::model::{InputKind, InputSpec};
use benchdb::zoo::generation::Memory;
use benchdb::zoo::network::boxed;
use benchdb::zoo::whisper::WhisperConfig;
use benchdb::zoo::{
    Batch, Generation, Network, OutputTensor, ParameterKind, Targets, WeightSource, ZooError, find, host_inputs,
};
use burn::tensor::{Device, Int, Tensor};

use crate::support::relative_error;

/// Twelve positions of sound, sixteen of text.
fn small() -> WhisperConfig {
    WhisperConfig {
        vocabulary: 50,
        bins: 8,
        encoder_positions: 12,
        decoder_positions: 16,
        width: 32,
        heads: 2,
        layers: 2,
        hidden: 64,
    }
}

fn seeded(mut network: Box<dyn Network>) -> Box<dyn Network> {
    network.load(&WeightSource::Seeded(0)).unwrap();
    network
}

fn small_network(device: &Device) -> Box<dyn Network> {
    seeded(boxed(small().init(device), device))
}

fn tiny_network(device: &Device) -> Box<dyn Network> {
    seeded(find("whisper-tiny").unwrap().build(device))
}

/// A batch by the rule.
fn batch(config: &WhisperConfig, samples: usize, frames: usize, tokens: usize, device: &Device) -> Batch {
    let words = config.vocabulary.min(50257);
    let specs = [
        InputSpec { name: "mel".into(), kind: InputKind::Float, shape: vec![config.bins, frames] },
        InputSpec {
            name: "decoder_ids".into(),
            kind: InputKind::Words { vocabulary: config.vocabulary, words, end: None },
            shape: vec![tokens],
        },
    ];
    Batch::from_host(&host_inputs(&specs, samples, 0), device).unwrap()
}

fn fitting_batch(config: &WhisperConfig, samples: usize, tokens: usize, device: &Device) -> Batch {
    batch(config, samples, 2 * config.encoder_positions, tokens, device)
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.try_to_vec_as::<f32>().unwrap().into_iter().map(f64::from).collect()
}

fn integers(tensor: &Tensor<2, Int>) -> Vec<i64> {
    tensor.try_to_vec_as::<i64>().unwrap()
}

/// The logits at every position.
fn all_logits(network: &dyn Network, batch: &Batch) -> Tensor<3> {
    match network.forward(batch).unwrap().swap_remove(0).tensor {
        OutputTensor::D3(logits) => logits,
        OutputTensor::D2(_) => panic!("logits have three dimensions"),
    }
}

/// The logits of the next token, without a cache.
fn next_logits(network: &dyn Network, batch: &Batch) -> Tensor<2> {
    match network.forward(batch).unwrap().swap_remove(1).tensor {
        OutputTensor::D2(logits) => logits,
        OutputTensor::D3(_) => panic!("logits of one position have two dimensions"),
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Writes `count` tokens with the cache and without, and compares tokens and logits.
fn writes_alike(network: &dyn Network, batch: &Batch, count: usize) {
    let device = network.device();
    let started = Instant::now();
    let mut cached = Generation::start(network.writer().unwrap(), batch).unwrap();
    device.sync().unwrap();
    let first = started.elapsed();
    let mut growing = batch.clone();
    let (mut cached_times, mut uncached_times) = (Vec::new(), Vec::new());
    for step in 0..count {
        let started = Instant::now();
        if step > 0 {
            cached.step().unwrap();
            device.sync().unwrap();
            cached_times.push(started.elapsed());
        }
        let started = Instant::now();
        let logits = next_logits(network, &growing);
        device.sync().unwrap();
        uncached_times.push(started.elapsed());
        let error = relative_error(&values(&cached.logits()), &values(&logits));
        assert!(error <= 1e-4, "token {step}: relative error {error:.3e}");
        let ids = growing.decoder_ids.take().unwrap();
        growing.decoder_ids = Some(Tensor::cat(vec![ids, logits.argmax(1)], 1));
    }
    let ids = growing.decoder_ids.unwrap();
    let [samples, length] = ids.dims();
    let uncached = integers(&ids.narrow(1, length - count, count));
    assert_eq!(cached.tokens().dims(), [samples, count]);
    assert_eq!(integers(&cached.tokens()), uncached);
    eprintln!(
        "batch {samples}: first token {first:.2?}, then {:.2?} a token with the cache, {:.2?} without",
        median(cached_times),
        median(uncached_times)
    );
}

#[test]
fn whisper_tiny_writes_the_same_with_and_without_cache() {
    let device = Device::flex();
    let network = tiny_network(&device);
    writes_alike(network.as_ref(), &fitting_batch(&WhisperConfig::tiny(), 1, 8, &device), 12);
    writes_alike(network.as_ref(), &fitting_batch(&WhisperConfig::tiny(), 2, 5, &device), 12);
}

/// Greedy texts of random weights repeat themselves. Here the tokens are given, each another: every logit depends on
/// the order of all that was written before.
fn reads_a_given_text_token_by_token(network: &dyn Network, config: &WhisperConfig, samples: usize) {
    let device = network.device();
    let whole = fitting_batch(config, samples, 16, &device);
    let logits = all_logits(network, &whole);
    let ids = whole.decoder_ids.clone().unwrap();
    let prompt = Batch { decoder_ids: Some(ids.clone().narrow(1, 0, 3)), ..whole };
    let writer = network.writer().unwrap();
    let (mut found, mut memory) = writer.read(&prompt).unwrap();
    for position in 2..16 {
        if position > 2 {
            found = writer.append(ids.clone().narrow(1, position, 1), &mut memory).unwrap();
        }
        assert_eq!(found.dims(), [samples, config.vocabulary]);
        assert_eq!(memory.length, position + 1);
        let error = relative_error(&values(&found), &values(&logits.clone().narrow(1, position, 1)));
        assert!(error <= 1e-4, "position {position}: relative error {error:.3e}");
    }
}

#[test]
fn a_given_text_is_read_token_by_token_on_flex() {
    let device = Device::flex();
    reads_a_given_text_token_by_token(small_network(&device).as_ref(), &small(), 3);
    reads_a_given_text_token_by_token(tiny_network(&device).as_ref(), &WhisperConfig::tiny(), 2);
}

#[cfg(feature = "ndarray")]
#[test]
fn a_given_text_is_read_token_by_token_on_ndarray() {
    let device = crate::support::ndarray().unwrap();
    reads_a_given_text_token_by_token(small_network(&device).as_ref(), &small(), 3);
}

#[cfg(feature = "wgpu")]
#[test]
fn a_small_whisper_on_wgpu_equals_flex() {
    let Some(wgpu) = crate::support::wgpu() else { return };
    let network = small_network(&wgpu);
    let flex = Device::flex();
    let found = all_logits(network.as_ref(), &fitting_batch(&small(), 2, 8, &wgpu));
    let expected = all_logits(small_network(&flex).as_ref(), &fitting_batch(&small(), 2, 8, &flex));
    let error = relative_error(&values(&found), &values(&expected));
    assert!(error <= 1e-3, "relative error {error:.3e}");
    reads_a_given_text_token_by_token(network.as_ref(), &small(), 2);
    writes_alike(network.as_ref(), &fitting_batch(&small(), 2, 4, &wgpu), 12);
}

/// What comes later changes nothing before it, and a single token is a text too.
#[test]
fn texts_of_other_lengths_agree_where_they_overlap() {
    let device = Device::flex();
    let network = tiny_network(&device);
    let whole = fitting_batch(&WhisperConfig::tiny(), 1, 40, &device);
    let logits = all_logits(network.as_ref(), &whole);
    assert_eq!(logits.dims(), [1, 40, 51865]);
    let ids = whole.decoder_ids.clone().unwrap();
    for length in [1, 17] {
        let start = Batch { decoder_ids: Some(ids.clone().narrow(1, 0, length)), ..whole.clone() };
        let found = all_logits(network.as_ref(), &start);
        let error = relative_error(&values(&found), &values(&logits.clone().narrow(1, 0, length)));
        assert!(error <= 1e-4, "{length} tokens: relative error {error:.3e}");
    }
}

/// Each sample answers as it does alone.
#[test]
fn samples_do_not_mix() {
    let device = Device::flex();
    let network = small_network(&device);
    let pair = fitting_batch(&small(), 2, 6, &device);
    let together = all_logits(network.as_ref(), &pair);
    for sample in 0..2 {
        let alone = Batch {
            mel: pair.mel.clone().map(|mel| mel.narrow(0, sample, 1)),
            decoder_ids: pair.decoder_ids.clone().map(|ids| ids.narrow(0, sample, 1)),
            ..Batch::default()
        };
        let found = all_logits(network.as_ref(), &alone);
        let error = relative_error(&values(&found), &values(&together.clone().narrow(0, sample, 1)));
        assert!(error <= 1e-5, "sample {sample}: relative error {error:.3e}");
    }
}

#[test]
fn texts_and_sounds_that_do_not_fit_are_refused() {
    let device = Device::flex();
    let network = tiny_network(&device);
    let config = WhisperConfig::tiny();
    let refused = |batch: &Batch| {
        let error = network.forward(batch).unwrap_err().to_string();
        let read = network.writer().unwrap().read(batch).unwrap_err().to_string();
        assert_eq!(read, error);
        error
    };
    assert_eq!(
        refused(&fitting_batch(&config, 1, 449, &device)),
        "the input `decoder_ids` has the shape 1x449, expected batch x at most 448"
    );
    assert_eq!(
        refused(&batch(&config, 1, 2999, 8, &device)),
        "the input `mel` has the shape 1x80x2999, expected batch x 80 x 3000"
    );
    let fitting = fitting_batch(&config, 2, 8, &device);
    let other = fitting_batch(&config, 1, 8, &device);
    assert_eq!(
        refused(&Batch { mel: other.mel, ..fitting.clone() }),
        "the input `decoder_ids` has the shape 2x8, expected 1 x at most 448"
    );
    assert_eq!(refused(&Batch { mel: None, ..fitting.clone() }), "the input `mel` is missing");
    assert_eq!(refused(&Batch { decoder_ids: None, ..fitting }), "the input `decoder_ids` is missing");
}

#[test]
fn writing_ends_with_the_positions() {
    let device = Device::flex();
    let network = small_network(&device);
    let writer = network.writer().unwrap();
    let mut generation = Generation::start(writer, &fitting_batch(&small(), 1, 14, &device)).unwrap();
    generation.step().unwrap();
    generation.step().unwrap();
    let error = generation.step().unwrap_err();
    assert!(matches!(error, ZooError::NoPosition { positions: 16 }), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(generation.tokens().dims(), [1, 3], "what was written stays");
}

#[test]
fn appending_needs_a_prompt_and_one_token_a_sample() {
    let device = Device::flex();
    let network = small_network(&device);
    let writer = network.writer().unwrap();
    let ids = |samples, length| Tensor::<2, Int>::zeros([samples, length], &device);
    let error = writer.append(ids(1, 1), &mut Memory::default()).unwrap_err();
    assert!(matches!(error, ZooError::PhaseOrder { .. }), "{error}");
    let (_, mut memory) = writer.read(&fitting_batch(&small(), 2, 3, &device)).unwrap();
    for (samples, length) in [(1, 1), (2, 2)] {
        let error = writer.append(ids(samples, length), &mut memory).unwrap_err();
        assert!(matches!(error, ZooError::InputShape { .. }), "{error}");
    }
    writer.append(ids(2, 1), &mut memory).unwrap();
    assert_eq!(memory.length, 4);
}

#[test]
fn the_encoder_positions_are_parameters_that_stay() {
    let network = find("whisper-tiny").unwrap().build(&Device::flex());
    let frozen: Vec<_> = network.parameters().into_iter().filter(|it| it.kind == ParameterKind::Frozen).collect();
    assert_eq!(frozen.len(), 1);
    assert_eq!(frozen[0].name, "model.encoder.embed_positions.weight");
    assert_eq!(frozen[0].elements, 1500 * 384);
    assert!(network.writer().is_err(), "no weights yet");
}

/// Ten steps of Adam on one sound and one text.
#[test]
fn adam_lowers_the_loss() {
    let device = Device::flex().autodiff();
    let mut trainer = small_network(&device).into_trainer(TrainingOptimizer::Adam);
    let batch = fitting_batch(&small(), 2, 8, &device);
    let mut step = || {
        trainer.forward(&batch).unwrap();
        trainer.loss(&batch, &Targets::NextTokens).unwrap();
        trainer.backward().unwrap();
        trainer.step().unwrap();
        trainer.last_loss().unwrap()
    };
    let losses: Vec<f32> = (0..10).map(|_| step()).collect();
    assert!(losses[9] < 0.8 * losses[0], "{losses:?}");
}

/// The cross-entropy of transformers (5.23.0, PyTorch 2.15.0) for the golden inputs: logits of the first seven tokens
/// against the last seven.
#[test]
fn the_loss_is_that_of_the_reference() {
    let device = Device::flex().autodiff();
    let mut trainer = tiny_network(&device).into_trainer(TrainingOptimizer::Sgd);
    let batch = fitting_batch(&WhisperConfig::tiny(), 1, 8, &device);
    trainer.forward(&batch).unwrap();
    trainer.loss(&batch, &Targets::NextTokens).unwrap();
    let loss = trainer.last_loss().unwrap();
    assert!((loss - 10.873_978).abs() < 1e-3, "{loss}");
}
