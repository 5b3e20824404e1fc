//! Variants of networks: what pruning leaves can be built, loaded and run, and int8 files are weights like any other.
#![cfg(feature = "flex")]

use std::path::PathBuf;

use benchdb::domain::model::{HostTensor, InputKind, InputSpec};
use benchdb::optimize::{
    ChannelPruning, MagnitudePruning, PruningScope, int8_file, prune_channels, prune_magnitudes, sparsity, weight_file,
};
use benchdb::zoo::bert::BertConfig;
use benchdb::zoo::cifar_cnn::CifarCnnConfig;
use benchdb::zoo::distilbert::DistilBertConfig;
use benchdb::zoo::gpt2::Gpt2Config;
use benchdb::zoo::mobilenet_v2::{MobileNetV2Config, Stage};
use benchdb::zoo::resnet::{BlockKind, ResNetConfig};
use benchdb::zoo::vit::VitConfig;
use benchdb::zoo::{
    Batch, Flexible, ModelEntry, Network, Slice, WeightError, WeightSource, Widths, find, host_inputs, models,
};
use burn::tensor::Device;
use safetensors::SafeTensors;
use tempfile::TempDir;

use crate::support::f32_values;

/// A file that is gone when this is.
struct Kept {
    _folder: TempDir,
    path: PathBuf,
}

impl Kept {
    fn new(bytes: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        std::fs::write(&path, bytes).unwrap();
        Self { _folder: folder, path }
    }

    fn source(&self) -> WeightSource {
        WeightSource::File(self.path.clone())
    }
}

fn seeded(entry: &ModelEntry) -> Vec<HostTensor> {
    entry.build_loaded(&WeightSource::Seeded(0), &Device::flex()).unwrap().weights().unwrap()
}

fn answer(network: &dyn Network, inputs: &[InputSpec]) -> Vec<f32> {
    let batch = Batch::from_host(&host_inputs(inputs, 2, 0), &Device::flex()).unwrap();
    f32_values(&network.forward(&batch).unwrap()[0].to_host().unwrap()).to_vec()
}

fn image(size: usize) -> Vec<InputSpec> {
    vec![InputSpec { name: "image".into(), kind: InputKind::Float, shape: vec![3, size, size] }]
}

fn ids(length: usize) -> Vec<InputSpec> {
    vec![InputSpec { name: "ids".into(), kind: InputKind::Tokens { vocabulary: 11 }, shape: vec![length] }]
}

/// Multiplies what the slice has of the channels that `chosen` names.
fn scale(weights: &mut [HostTensor], slice: &Slice, chosen: fn(usize) -> bool, factor: f32) {
    let tensor = weights.iter_mut().find(|tensor| tensor.name == slice.tensor).unwrap();
    let inner: usize = tensor.shape[slice.axis + 1..].iter().product();
    let extent = tensor.shape[slice.axis];
    let benchdb::domain::HostData::F32(values) = &mut tensor.data else { panic!("{} holds integers", slice.tensor) };
    for (index, value) in values.iter_mut().enumerate() {
        if chosen(index / inner % extent / slice.extent) {
            *value *= factor;
        }
    }
}

fn odd(channel: usize) -> bool {
    channel % 2 == 1
}

/// Nobody listens to every second channel, and its own filter is small but not zero. Pruning a half must take exactly
/// these, and the network that the file describes must answer as before.
fn unheard_channels_can_go(config: &dyn Flexible, inputs: &[InputSpec]) {
    let device = Device::flex();
    let mut full = config.narrowed(Widths::default(), &device);
    full.load(&WeightSource::Seeded(0)).unwrap();
    let mut weights = full.weights().unwrap();
    let groups = config.groups();
    for group in &groups {
        scale(&mut weights, &group.producer, odd, 1e-3);
        scale(&mut weights, &group.consumer, odd, 0.0);
    }
    full.load(&Kept::new(&weight_file(&weights).unwrap()).source()).unwrap();
    let before = answer(full.as_ref(), inputs);

    let found = prune_channels(&mut weights, &groups, &ChannelPruning { share: 0.5, multiple: 1 }).unwrap();
    for (found, group) in found.iter().zip(&groups) {
        assert_eq!((found.before, found.after), (group.channels, group.channels / 2), "{}", found.producer);
    }
    let file = Kept::new(&weight_file(&weights).unwrap());
    let widths = config.widths_in(&full.shapes_in(&file.source()).unwrap());
    assert_eq!(widths, found.iter().map(|group| group.after).collect::<Vec<_>>());
    let mut narrow = config.narrowed(Widths(&widths), &device);
    narrow.load(&file.source()).unwrap();
    let after = answer(narrow.as_ref(), inputs);
    let largest = before.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    for (before, after) in before.iter().zip(&after) {
        assert!((before - after).abs() <= 1e-5 * largest, "{after} is not {before} (largest {largest})");
    }

    let (reference, cost) =
        (config.narrowed_cost(Widths::default(), inputs), config.narrowed_cost(Widths(&widths), inputs));
    assert_eq!(narrow.parameter_count(), cost.parameter_count);
    assert_eq!(full.parameter_count(), reference.parameter_count);
    assert!(cost.multiply_adds < reference.multiply_adds);
    assert!(cost.activation_count < reference.activation_count);
}

#[test]
fn unheard_channels_of_cifar_cnn_can_go() {
    unheard_channels_can_go(&CifarCnnConfig { channels: [4, 6, 8], hidden: 10, classes: 3 }, &image(32));
}

#[test]
fn unheard_channels_of_residual_networks_can_go() {
    for kind in [BlockKind::Basic, BlockKind::Bottleneck] {
        unheard_channels_can_go(&ResNetConfig { kind, blocks: [2, 1, 1, 1], classes: 5 }, &image(64));
    }
}

#[test]
fn unheard_channels_of_mobilenet_can_go() {
    let stage = |expansion, channels, blocks, stride| Stage { expansion, channels, blocks, stride };
    let stages = vec![stage(1, 8, 1, 1), stage(4, 12, 2, 2), stage(6, 16, 1, 2)];
    unheard_channels_can_go(&MobileNetV2Config { stages, classes: 5 }, &image(32));
}

#[test]
fn unheard_channels_of_transformers_can_go() {
    let vit = VitConfig { image: 8, patch: 4, width: 8, heads: 2, layers: 2, hidden: 16, classes: 3 };
    unheard_channels_can_go(&vit, &image(8));
    let bert = BertConfig { vocabulary: 11, positions: 6, token_types: 2, width: 8, heads: 2, layers: 2, hidden: 12 };
    unheard_channels_can_go(&bert, &ids(5));
    let distilbert = DistilBertConfig { vocabulary: 11, positions: 6, width: 8, heads: 2, layers: 2, hidden: 12 };
    unheard_channels_can_go(&distilbert, &ids(5));
    unheard_channels_can_go(&Gpt2Config { vocabulary: 11, positions: 6, width: 8, heads: 2, layers: 2 }, &ids(5));
}

/// The other way to be useless: a filter and a normalisation that write nothing but zeros.
#[test]
fn silent_channels_of_a_residual_network_can_go() {
    let config = ResNetConfig { kind: BlockKind::Bottleneck, blocks: [1, 1, 1, 1], classes: 5 };
    let device = Device::flex();
    let mut full = config.narrowed(Widths::default(), &device);
    full.load(&WeightSource::Seeded(0)).unwrap();
    let mut weights = full.weights().unwrap();
    for group in config.groups() {
        for slice in std::iter::once(&group.producer).chain(&group.followers) {
            if !slice.tensor.contains("running") {
                scale(&mut weights, slice, odd, 0.0);
            }
        }
    }
    full.load(&Kept::new(&weight_file(&weights).unwrap()).source()).unwrap();
    prune_channels(&mut weights, &config.groups(), &ChannelPruning { share: 0.5, multiple: 1 }).unwrap();
    let file = Kept::new(&weight_file(&weights).unwrap());
    let widths = config.widths_in(&full.shapes_in(&file.source()).unwrap());
    let mut narrow = config.narrowed(Widths(&widths), &device);
    narrow.load(&file.source()).unwrap();
    let (before, after) = (answer(full.as_ref(), &image(64)), answer(narrow.as_ref(), &image(64)));
    let largest = before.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() <= 1e-5 * largest), "{before:?} {after:?}");
}

#[test]
fn every_group_of_the_zoo_fits_its_network() {
    let device = Device::flex();
    let mut flexible = 0;
    for entry in models() {
        let shapes: std::collections::BTreeMap<_, _> =
            entry.build(&device).parameters().into_iter().map(|tensor| (tensor.name, tensor.shape)).collect();
        for group in entry.channel_groups() {
            flexible += 1;
            for slice in group.slices() {
                assert_eq!(shapes[&slice.tensor][slice.axis], group.channels * slice.extent, "{}", slice.tensor);
            }
        }
    }
    // 7 + 16 + 8 + 32 + 12 + 6 + 12 + 12, and what later models add.
    assert!(flexible >= 105, "{flexible}");
}

fn half_of_the_channels(name: &str, size: usize) -> (benchdb::domain::model::ModelCost, Vec<InputSpec>) {
    let (entry, device) = (find(name).unwrap(), Device::flex());
    let mut weights = seeded(entry);
    prune_channels(&mut weights, &entry.channel_groups(), &ChannelPruning { share: 0.5, multiple: 8 }).unwrap();
    let file = Kept::new(&weight_file(&weights).unwrap());
    let network = entry.build_loaded(&file.source(), &device).unwrap();
    assert_eq!(network.weights().unwrap(), weights);
    let inputs = image(size);
    assert!(answer(network.as_ref(), &inputs).iter().all(|value| value.is_finite()));
    let shapes = entry.build(&device).shapes_in(&file.source()).unwrap();
    let cost = entry.cost_like(&shapes, &inputs);
    assert_eq!(network.parameter_count(), cost.parameter_count);
    assert!(cost.multiply_adds < entry.cost(&inputs).multiply_adds);
    (cost, inputs)
}

#[test]
fn half_of_cifar_cnn_is_the_network_of_half_the_widths() {
    let (cost, _) = half_of_the_channels("cifar_cnn", 32);
    assert_eq!(cost, CifarCnnConfig { channels: [16, 32, 64], hidden: 128, classes: 10 }.cost([32, 32]));
}

// Both convolutions of a basic block work on half of the inner channels, so both cost half; stem, shortcuts and
// classifier stay.
#[test]
fn half_of_resnet18_halves_its_blocks() {
    let (cost, inputs) = half_of_the_channels("resnet18", 64);
    let full = find("resnet18").unwrap().cost(&inputs).multiply_adds;
    let stem = 64 * 3 * 49 * 32 * 32;
    let shortcuts: u64 =
        [(64, 128, 8), (128, 256, 4), (256, 512, 2)].map(|(from, to, size)| from * to * size * size).iter().sum();
    let fixed = stem + shortcuts + 512 * 1000;
    assert_eq!(cost.multiply_adds - fixed, (full - fixed) / 2);
}

#[test]
fn half_of_mobilenet_v2_runs() {
    half_of_the_channels("mobilenet_v2", 64);
}

fn text(error: &WeightError) -> String {
    error.to_string()
}

#[test]
fn a_file_that_fits_nothing_is_compared_with_the_reference() {
    let device = Device::flex();
    let (small, large) = (find("resnet18").unwrap(), find("resnet50").unwrap());
    let file = Kept::new(&weight_file(&seeded(small)).unwrap());
    let found = large.build_loaded(&file.source(), &device).err().unwrap();
    let expected = large.build(&device).load(&file.source()).unwrap_err();
    assert_eq!(text(&found), text(&expected));

    // Wider than the reference is another network, not a pruned one.
    let wide = CifarCnnConfig { channels: [40, 64, 128], hidden: 256, classes: 10 };
    let mut network = wide.narrowed(Widths::default(), &device);
    network.load(&WeightSource::Seeded(0)).unwrap();
    let file = Kept::new(&weight_file(&network.weights().unwrap()).unwrap());
    let found = text(&find("cifar_cnn").unwrap().build_loaded(&file.source(), &device).err().unwrap());
    assert!(found.contains("`conv1.weight`: expected 32x3x3x3, found 40x3x3x3"), "{found}");
}

#[test]
fn a_pruned_file_with_a_gap_is_compared_with_the_pruned_network() {
    let entry = find("cifar_cnn").unwrap();
    let mut weights = seeded(entry);
    prune_channels(&mut weights, &entry.channel_groups(), &ChannelPruning { share: 0.5, multiple: 1 }).unwrap();
    weights.retain(|tensor| tensor.name != "conv3.bias");
    let file = Kept::new(&weight_file(&weights).unwrap());
    let found = entry.build_loaded(&file.source(), &Device::flex()).err().unwrap();
    assert_eq!(text(&found), "the weights do not fit the network: 1 missing (`conv3.bias`)");
}

#[test]
fn pruned_weights_load_and_keep_their_zeros() {
    let entry = find("cifar_cnn").unwrap();
    let mut weights = seeded(entry);
    let options = MagnitudePruning { share: 0.9, scope: PruningScope::Global };
    prune_magnitudes(&mut weights, &options).unwrap();
    let file = Kept::new(&weight_file(&weights).unwrap());
    let network = entry.build_loaded(&file.source(), &Device::flex()).unwrap();
    let counted = sparsity(&network.weights().unwrap());
    let of_weights = |count: fn(&benchdb::optimize::TensorSparsity) -> u64| -> u64 {
        counted.tensors.iter().filter(|tensor| tensor.name.ends_with("weight")).map(count).sum()
    };
    let (elements, left) = (of_weights(|tensor| tensor.elements), of_weights(|tensor| tensor.nonzero));
    assert_eq!(left, elements - (elements as f64 * 0.9).round() as u64);
    assert!(counted.nonzero_share() > 0.1 && counted.nonzero_share() < 0.102);
}

#[test]
fn int8_weights_are_off_by_half_a_step_at_most() {
    let entry = find("cifar_cnn").unwrap();
    let weights = seeded(entry);
    let floats = weight_file(&weights).unwrap();
    let bytes = int8_file(&weights).unwrap();
    assert!((bytes.len() as f64) < 0.26 * floats.len() as f64, "{} of {}", bytes.len(), floats.len());
    let loaded = entry.build_loaded(&Kept::new(&bytes).source(), &Device::flex()).unwrap().weights().unwrap();
    for (loaded, weight) in loaded.iter().zip(&weights) {
        assert_eq!((&loaded.name, &loaded.shape), (&weight.name, &weight.shape));
        if weight.shape.len() < 2 {
            assert_eq!(loaded, weight);
            continue;
        }
        let width: usize = weight.shape[1..].iter().product();
        let mut differs = false;
        for (loaded, weight) in f32_values(loaded).chunks(width).zip(f32_values(weight).chunks(width)) {
            let step = weight.iter().fold(0.0_f32, |largest, value| largest.max(value.abs())) / 127.0;
            for (loaded, weight) in loaded.iter().zip(weight) {
                assert!((loaded - weight).abs() <= 0.5001 * step, "{loaded} is not {weight}, step {step}");
                differs |= loaded != weight;
            }
        }
        assert!(differs, "{} was not quantised", weight.name);
    }
}

#[test]
fn narrow_networks_can_be_int8_too() {
    let entry = find("cifar_cnn").unwrap();
    let mut weights = seeded(entry);
    prune_channels(&mut weights, &entry.channel_groups(), &ChannelPruning { share: 0.5, multiple: 1 }).unwrap();
    let file = Kept::new(&int8_file(&weights).unwrap());
    let network = entry.build_loaded(&file.source(), &Device::flex()).unwrap();
    assert_eq!(network.weights().unwrap()[0].shape, [16, 3, 3, 3]);
}

/// The int8 file with one scale replaced; `None` leaves it out.
fn with_scale(name: &str, scale: Option<(Vec<usize>, safetensors::Dtype)>) -> WeightError {
    let entry = find("cifar_cnn").unwrap();
    let bytes = int8_file(&seeded(entry)).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let zeros = [0_u8; 4096];
    let views: Vec<_> = file
        .tensors()
        .into_iter()
        .filter_map(|(found, view)| match &scale {
            _ if found != name => Some((found, view)),
            None => None,
            Some((shape, dtype)) => {
                let length = shape.iter().product::<usize>() * dtype.bitsize() / 8;
                let view = safetensors::tensor::TensorView::new(*dtype, shape.clone(), &zeros[..length]).unwrap();
                Some((found, view))
            }
        })
        .collect();
    let file = Kept::new(&safetensors::serialize(views, None).unwrap());
    entry.build_loaded(&file.source(), &Device::flex()).err().unwrap()
}

#[test]
fn int8_weights_without_a_fitting_scale_are_refused() {
    let error = with_scale("conv2.weight.scale", None);
    assert_eq!(text(&error), "the int8 tensor `conv2.weight` has no scale `conv2.weight.scale` beside it");
    assert!(error.hint().unwrap().contains("NAME.scale"));
    let error = with_scale("conv2.weight.scale", Some((vec![16, 1, 1, 1], safetensors::Dtype::F32)));
    assert_eq!(
        text(&error),
        "the int8 tensor `conv2.weight` has a scale of the shape 16x1x1x1, which does not stretch to 32x32x3x3"
    );
    let error = with_scale("conv2.weight.scale", Some((vec![32, 1, 1, 1], safetensors::Dtype::I32)));
    assert_eq!(text(&error), "the int8 tensor `conv2.weight` has a scale that is no float but I32");
}
