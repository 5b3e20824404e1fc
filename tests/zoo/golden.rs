//! Every model gives what the public implementation gives, for weights loaded from a file by reference names.

use std::time::Instant;

use benchdb::zoo::{Batch, ParameterKind, WeightSource, find, host_inputs};
use burn::tensor::Device;

use crate::support::{Golden, f32_values, relative_error, write_weights};

fn assert_golden(model: &str, device: Option<Device>, tolerance: f64) {
    let Some(device) = device else { return };
    let golden = Golden::read(model);
    let mut network = find(model).unwrap().build(&device);

    assert_eq!(network.parameter_count(), golden.parameter_count);
    let mut expected = golden.tensors();
    let mut found: Vec<_> =
        network.parameters().into_iter().map(|parameter| (parameter.name, parameter.shape)).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected, "names and shapes of the state_dict");
    let elements: u64 = network
        .parameters()
        .iter()
        .filter(|parameter| parameter.kind != ParameterKind::Buffer)
        .map(|parameter| parameter.elements)
        .sum();
    assert_eq!(elements, golden.parameter_count);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let tensors = golden.tensors().into_iter().map(|(name, shape)| (name.clone(), name, shape)).collect();
    let started = Instant::now();
    write_weights(&path, tensors);
    let written = started.elapsed();
    let started = Instant::now();
    network.load(&WeightSource::File(path)).unwrap();
    device.sync().unwrap();
    let loaded = started.elapsed();
    assert!(network.size_bytes() >= 4 * golden.parameter_count);

    let batch = Batch::from_host(&golden.host_inputs(), &device).unwrap();
    let started = Instant::now();
    let outputs: Vec<_> = network.forward(&batch).unwrap().iter().map(|output| output.to_host().unwrap()).collect();
    let first = started.elapsed();
    let started = Instant::now();
    let _ = network.forward(&batch).unwrap()[0].to_host().unwrap();
    let second = started.elapsed();

    for (name, expected) in &golden.outputs {
        let output = outputs.iter().find(|output| &output.name == name).unwrap();
        assert_eq!(output.shape, expected.shape, "{name}");
        let values: Vec<f64> = f32_values(output).iter().map(|&v| f64::from(v)).collect();
        let listed: Vec<f64> = values.iter().step_by(expected.stride).take(64).copied().collect();
        let error = relative_error(&listed, &expected.values);
        let l2 = values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        eprintln!(
            "{model} {name}: relative error {error:.2e}, l2 {:.2e}; \
             written {written:.2?}, loaded {loaded:.2?}, first {first:.2?}, second {second:.2?}",
            (l2 - expected.l2).abs() / expected.l2
        );
        assert!(error <= tolerance, "{name}: relative error {error:.3e}");
        assert!((l2 - expected.l2).abs() <= tolerance * expected.l2, "{name}: l2 {l2}");
        // A mean near zero has no relative error; the root of the mean square is its scale.
        let scale = expected.l2 / (values.len() as f64).sqrt();
        assert!((mean - expected.mean).abs() <= tolerance * scale, "{name}: mean {mean}");
    }
}

macro_rules! golden {
    ($($test:ident: $model:literal on $device:ident within $tolerance:literal;)*) => {$(
        #[test]
        fn $test() {
            assert_golden($model, crate::support::$device(), $tolerance);
        }
    )*};
}

// T5's attention has no scale, and the weights of the rule do not make up for it as trained ones do: its softmax picks
// one key, and rounding grows 2000-fold from the embedding to the logits. In single precision the reference itself is
// 1.1e-4 (fused attention) or 1.4e-4 (eager) away from its answer in double precision, flex 1.7e-4, ndarray 1.2e-4. The
// tiny T5 in generation.rs, whose queries are as narrow as those of the reference, agrees to 1e-5.
#[cfg(feature = "flex")]
golden! {
    cifar_cnn_on_flex: "cifar_cnn" on flex within 1e-4;
    resnet18_on_flex: "resnet18" on flex within 1e-4;
    resnet50_on_flex: "resnet50" on flex within 1e-4;
    mobilenet_v2_on_flex: "mobilenet_v2" on flex within 1e-4;
    vit_b_16_on_flex: "vit_b_16" on flex within 1e-4;
    bert_on_flex: "bert-base-uncased" on flex within 1e-4;
    distilbert_on_flex: "distilbert-base-uncased" on flex within 1e-4;
    gpt2_on_flex: "gpt2" on flex within 1e-4;
    clip_on_flex: "clip-vit-base-patch32" on flex within 1e-4;
    detr_on_flex: "detr-resnet-50" on flex within 1e-4;
    smollm2_on_flex: "smollm2-135m" on flex within 1e-4;
    t5_on_flex: "t5-small" on flex within 3e-4; // see above
    whisper_tiny_on_flex: "whisper-tiny" on flex within 1e-4;
}

#[cfg(feature = "ndarray")]
golden! {
    cifar_cnn_on_ndarray: "cifar_cnn" on ndarray within 1e-4;
    resnet18_on_ndarray: "resnet18" on ndarray within 1e-4;
    resnet50_on_ndarray: "resnet50" on ndarray within 1e-4;
    mobilenet_v2_on_ndarray: "mobilenet_v2" on ndarray within 1e-4;
    vit_b_16_on_ndarray: "vit_b_16" on ndarray within 1e-4;
    bert_on_ndarray: "bert-base-uncased" on ndarray within 1e-4;
    distilbert_on_ndarray: "distilbert-base-uncased" on ndarray within 1e-4;
    gpt2_on_ndarray: "gpt2" on ndarray within 1e-4;
    clip_on_ndarray: "clip-vit-base-patch32" on ndarray within 1e-4;
    detr_on_ndarray: "detr-resnet-50" on ndarray within 1e-4;
    smollm2_on_ndarray: "smollm2-135m" on ndarray within 1e-4;
    t5_on_ndarray: "t5-small" on ndarray within 3e-4; // see above
    whisper_tiny_on_ndarray: "whisper-tiny" on ndarray within 1e-4;
}

#[cfg(feature = "wgpu")]
golden! {
    cifar_cnn_on_wgpu: "cifar_cnn" on wgpu within 1e-3;
    resnet18_on_wgpu: "resnet18" on wgpu within 1e-3;
}

/// Seeded weights and a file of the same rule are the same weights.
#[cfg(feature = "flex")]
#[test]
fn seeded_weights_equal_the_file() {
    let device = Device::flex();
    let golden = Golden::read("cifar_cnn");
    let mut network = find("cifar_cnn").unwrap().build(&device);
    network.load(&WeightSource::Seeded(0)).unwrap();
    let batch = Batch::from_host(&golden.host_inputs(), &device).unwrap();
    let logits = || network.forward(&batch).unwrap()[0].to_host().unwrap();
    let values: Vec<f64> = f32_values(&logits()).iter().map(|&v| f64::from(v)).collect();
    assert!(relative_error(&values, &golden.outputs["logits"].values) <= 1e-4);
    let seeded = logits();
    let mut other = find("cifar_cnn").unwrap().build(&device);
    other.load(&WeightSource::Seeded(1)).unwrap();
    assert_ne!(other.forward(&batch).unwrap()[0].to_host().unwrap(), seeded);
}

/// The parts that the image networks do not have (integers, embeddings, attention, causal masks) on a GPU runtime.
#[cfg(all(feature = "flex", feature = "wgpu"))]
#[test]
fn tiny_transformers_on_wgpu_equal_flex() {
    use benchdb::domain::model::{InputKind, InputSpec};
    use benchdb::zoo::bert::BertConfig;
    use benchdb::zoo::clip::{ClipConfig, ClipTowerConfig};
    use benchdb::zoo::detr::DetrConfig;
    use benchdb::zoo::gpt2::Gpt2Config;
    use benchdb::zoo::network::boxed;
    use benchdb::zoo::resnet::{BlockKind, ResNetConfig};

    let Some(wgpu) = crate::support::wgpu() else {
        return;
    };
    let specs = [
        InputSpec { name: "ids".into(), kind: InputKind::Tokens { vocabulary: 50 }, shape: vec![8] },
        InputSpec { name: "image".into(), kind: InputKind::Float, shape: vec![3, 64, 64] },
    ];
    let outputs = |device: &Device| -> Vec<_> {
        let bert =
            BertConfig { vocabulary: 50, positions: 16, token_types: 2, width: 32, heads: 2, layers: 2, hidden: 64 };
        let gpt2 = Gpt2Config { vocabulary: 50, positions: 16, width: 32, heads: 2, layers: 2 };
        let tower = ClipTowerConfig { width: 32, heads: 2, layers: 2, hidden: 64 };
        let clip = ClipConfig {
            vision: tower.clone(),
            image: 64,
            patch: 32,
            text: tower,
            vocabulary: 50,
            positions: 16,
            embedding: 16,
        };
        let detr = DetrConfig {
            backbone: ResNetConfig { kind: BlockKind::Basic, blocks: [1; 4], classes: 0 },
            width: 32,
            heads: 2,
            hidden: 64,
            encoder_layers: 1,
            decoder_layers: 2,
            queries: 10,
            classes: 5,
        };
        let batch = Batch::from_host(&host_inputs(&specs, 2, 0), device).unwrap();
        [
            boxed(bert.init(device), device),
            boxed(gpt2.init(device), device),
            boxed(clip.init(device), device),
            boxed(detr.init(device), device),
        ]
        .into_iter()
        .flat_map(|mut network| {
            network.load(&WeightSource::Seeded(0)).unwrap();
            network.forward(&batch).unwrap()
        })
        .map(|output| output.to_host().unwrap())
        .collect()
    };
    let started = Instant::now();
    let found = outputs(&wgpu);
    eprintln!("tiny transformers on wgpu: {:.2?}", started.elapsed());
    for (found, expected) in found.iter().zip(&outputs(&Device::flex())) {
        assert_eq!((&found.name, &found.shape), (&expected.name, &expected.shape));
        let floats = |tensor| -> Vec<f64> { f32_values(tensor).iter().map(|&v| f64::from(v)).collect() };
        let error = relative_error(&floats(found), &floats(expected));
        assert!(error <= 1e-3, "{}: relative error {error:.3e}", found.name);
    }
}
