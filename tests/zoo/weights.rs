//! The loader against files that fit, nearly fit, and do not.
#![cfg(feature = "flex")]

use std::path::{Path, PathBuf};

use benchdb::domain::{HostData, HostTensor};
use benchdb::zoo::bert::BertConfig;
use benchdb::zoo::cifar_cnn::CifarCnnConfig;
use benchdb::zoo::clip::{ClipConfig, ClipTowerConfig};
use benchdb::zoo::detr::DetrConfig;
use benchdb::zoo::distilbert::DistilBertConfig;
use benchdb::zoo::gpt2::Gpt2Config;
use benchdb::zoo::llama::LlamaConfig;
use benchdb::zoo::network::boxed;
use benchdb::zoo::resnet::{BlockKind, ResNetConfig};
use benchdb::zoo::t5::T5Config;
use benchdb::zoo::vit::VitConfig;
use benchdb::zoo::whisper::WhisperConfig;
use benchdb::zoo::{
    Batch, Misshapen, Network, WeightError, WeightMismatch, WeightSource, ZooError, find, host_inputs, rule,
};
use burn::tensor::{Device, f16};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;

use crate::support::{f32_values, fixture, write_weights};

/// (name in the file, name in the rule, shape)
type Listed = Vec<(String, String, Vec<usize>)>;

fn tiny() -> Box<dyn Network> {
    let device = Device::flex();
    let config = CifarCnnConfig { channels: [2, 3, 4], hidden: 5, classes: 3 };
    boxed(config.init(&device), &device)
}

fn listed(network: &dyn Network) -> Listed {
    network
        .parameters()
        .into_iter()
        .map(|parameter| (parameter.name.clone(), parameter.name, parameter.shape))
        .collect()
}

fn written(tensors: Listed) -> (TempDir, WeightSource) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    write_weights(&path, tensors);
    (folder, WeightSource::File(path))
}

/// Every weight of the network is what the rule says of its reference name.
fn assert_by_rule(network: &dyn Network) {
    for tensor in network.weights().unwrap() {
        let expected = rule::parameter(&tensor.name, &tensor.shape, 0);
        assert_eq!(f32_values(&tensor), expected, "{}", tensor.name);
    }
}

fn mismatch(error: WeightError) -> WeightMismatch {
    match error {
        WeightError::Mismatch(mismatch) => *mismatch,
        other => panic!("{other}"),
    }
}

#[test]
fn lists_all_differences_by_reference_names() {
    let mut network = tiny();
    let mut tensors = listed(network.as_ref());
    tensors.retain(|(name, ..)| name != "fc1.bias" && name != "conv2.weight");
    tensors.push(("head.weight".into(), "head.weight".into(), vec![2, 2]));
    for (name, _, shape) in &mut tensors {
        if name == "fc2.weight" {
            // As many elements, but Burn's layout instead of the reference's.
            *shape = vec![5, 3];
        }
    }
    let (_folder, source) = written(tensors);
    let found = mismatch(network.load(&source).unwrap_err());
    assert_eq!(
        found,
        WeightMismatch {
            missing: vec!["conv2.weight".into(), "fc1.bias".into()],
            unused: vec!["head.weight".into()],
            misshapen: vec![Misshapen { name: "fc2.weight".into(), expected: vec![3, 5], found: vec![5, 3] }],
            mistyped: vec![],
        }
    );
    assert_eq!(
        found.to_string(),
        "2 missing (`conv2.weight`, `fc1.bias`); 1 unused (`head.weight`); \
         1 misshapen (`fc2.weight`: expected 3x5, found 5x3)"
    );
    let device = Device::flex();
    let inputs = host_inputs(&find("cifar_cnn").unwrap().inputs(), 1, 0);
    let batch = Batch::from_host(&inputs, &device).unwrap();
    assert!(matches!(network.forward(&batch), Err(ZooError::NoWeights)));
}

#[test]
fn integers_are_no_weights() {
    let mut network = tiny();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let bytes: Vec<(String, Vec<usize>, Vec<u8>)> = listed(network.as_ref())
        .into_iter()
        .map(|(name, _, shape)| {
            let count: usize = shape.iter().product();
            (name, shape, vec![0; 4 * count])
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let dtype = if name == "fc2.bias" { Dtype::I32 } else { Dtype::F32 };
        (name.clone(), TensorView::new(dtype, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, &path).unwrap();
    let found = mismatch(network.load(&WeightSource::File(path)).unwrap_err());
    assert_eq!(found.mistyped.len(), 1);
    assert_eq!(found.mistyped[0].name, "fc2.bias");
}

#[test]
fn half_and_double_precision_are_cast() {
    let mut network = tiny();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let bytes: Vec<(String, Vec<usize>, Dtype, Vec<u8>)> = listed(network.as_ref())
        .into_iter()
        .map(|(name, _, shape)| {
            let values = rule::parameter(&name, &shape, 0).into_iter();
            if shape.len() == 1 {
                let bytes = values.flat_map(|v| f64::from(v).to_le_bytes()).collect();
                (name, shape, Dtype::F64, bytes)
            } else {
                let bytes = values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect();
                (name, shape, Dtype::F16, bytes)
            }
        })
        .collect();
    let views = bytes
        .iter()
        .map(|(name, shape, dtype, bytes)| (name.clone(), TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    safetensors::serialize_to_file(views, None, &path).unwrap();
    network.load(&WeightSource::File(path)).unwrap();
    for tensor in network.weights().unwrap() {
        for (found, expected) in f32_values(&tensor).iter().zip(rule::parameter(&tensor.name, &tensor.shape, 0)) {
            assert!((found - expected).abs() <= 1e-3 * expected.abs() + 1e-6, "{}", tensor.name);
        }
    }
    let elements: u64 = network.parameters().iter().map(|p| p.elements).sum();
    assert_eq!(network.size_bytes(), 4 * elements);
}

/// `fixtures/weights/tiny_cifar_cnn.pth`, see the script beside it.
#[test]
fn a_pytorch_file_loads() {
    let mut network = tiny();
    let path = fixture("weights/tiny_cifar_cnn.pth");
    network.load(&WeightSource::File(path)).unwrap();
    assert_by_rule(network.as_ref());
}

/// `fixtures/weights/tiny_vit.pth`, saved by PyTorch itself; see the script beside it.
#[test]
fn a_file_of_torchvision_answers_as_torchvision_does() {
    let device = Device::flex();
    let config = VitConfig { image: 8, patch: 4, width: 8, heads: 2, layers: 2, hidden: 16, classes: 3 };
    let mut network = boxed(config.init(&device), &device);
    network.load(&WeightSource::File(fixture("weights/tiny_vit.pth"))).unwrap();
    let values = (0..192).map(|index| index as f32 / 100.0).collect();
    let image = HostTensor { name: "image".into(), shape: vec![1, 3, 8, 8], data: HostData::F32(values) };
    let outputs = network.forward(&Batch::from_host(&[image], &device).unwrap()).unwrap();
    let answer: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("weights/tiny_vit.json")).unwrap()).unwrap();
    let expected: Vec<f32> = serde_json::from_value(answer["logits"].clone()).unwrap();
    for (ours, theirs) in f32_values(&outputs[0].to_host().unwrap()).iter().zip(&expected) {
        assert!((ours - theirs).abs() <= 1e-4 * theirs.abs(), "{ours} is not {theirs}");
    }
}

#[test]
fn bert_files_come_with_prefixes_heads_and_old_names() {
    let device = Device::flex();
    let config = BertConfig { vocabulary: 11, positions: 6, token_types: 2, width: 8, heads: 2, layers: 2, hidden: 12 };
    let mut network = boxed(config.init(&device), &device);
    let mut tensors: Listed = listed(network.as_ref())
        .into_iter()
        .map(|(name, rule_name, shape)| {
            let old = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta");
            (format!("bert.{old}"), rule_name, shape)
        })
        .collect();
    for extra in ["bert.embeddings.position_ids", "cls.predictions.bias", "cls.predictions.transform.LayerNorm.gamma"] {
        tensors.push((extra.into(), extra.into(), vec![6]));
    }
    let (_folder, source) = written(tensors);
    network.load(&source).unwrap();
    assert_by_rule(network.as_ref());
}

#[test]
fn distilbert_files_come_with_prefix_and_head() {
    let device = Device::flex();
    let config = DistilBertConfig { vocabulary: 11, positions: 6, width: 8, heads: 2, layers: 1, hidden: 12 };
    let mut network = boxed(config.init(&device), &device);
    let mut tensors: Listed = listed(network.as_ref())
        .into_iter()
        .map(|(name, rule_name, shape)| (format!("distilbert.{name}"), rule_name, shape))
        .collect();
    tensors.push(("vocab_transform.weight".into(), "x".into(), vec![8, 8]));
    let (_folder, source) = written(tensors);
    network.load(&source).unwrap();
    assert_by_rule(network.as_ref());
}

#[test]
fn gpt2_files_come_with_and_without_prefix() {
    let device = Device::flex();
    let config = Gpt2Config { vocabulary: 11, positions: 6, width: 8, heads: 2, layers: 2 };
    for prefixed in [true, false] {
        let mut network = boxed(config.init(&device), &device);
        let prefix = if prefixed { "transformer." } else { "" };
        let mut tensors: Listed = listed(network.as_ref())
            .into_iter()
            .map(|(name, rule_name, shape)| {
                let bare = name.strip_prefix("transformer.").unwrap();
                (format!("{prefix}{bare}"), rule_name, shape)
            })
            .collect();
        for extra in ["h.0.attn.bias", "h.1.attn.masked_bias"] {
            tensors.push((format!("{prefix}{extra}"), extra.into(), vec![1, 1, 6, 6]));
        }
        tensors.push(("lm_head.weight".into(), "transformer.wte.weight".into(), vec![11, 8]));
        let (_folder, source) = written(tensors);
        network.load(&source).unwrap();
        assert_by_rule(network.as_ref());
    }
}

#[test]
fn whisper_files_come_with_and_without_prefix() {
    let device = Device::flex();
    let config = WhisperConfig {
        vocabulary: 11,
        bins: 4,
        encoder_positions: 6,
        decoder_positions: 5,
        width: 8,
        heads: 2,
        layers: 1,
        hidden: 12,
    };
    for prefix in ["model.", ""] {
        let mut network = boxed(config.init(&device), &device);
        let mut tensors: Listed = listed(network.as_ref())
            .into_iter()
            .map(|(name, rule_name, shape)| {
                (format!("{prefix}{}", name.strip_prefix("model.").unwrap()), rule_name, shape)
            })
            .collect();
        tensors.push(("proj_out.weight".into(), "model.decoder.embed_tokens.weight".into(), vec![11, 8]));
        let (_folder, source) = written(tensors);
        network.load(&source).unwrap();
        assert_by_rule(network.as_ref());
    }
}

#[test]
fn llama_files_come_with_and_without_prefix() {
    let device = Device::flex();
    let config = LlamaConfig {
        vocabulary: 11,
        width: 8,
        heads: 2,
        key_value_heads: 1,
        layers: 2,
        hidden: 12,
        ..LlamaConfig::smollm2_135m()
    };
    for prefixed in [true, false] {
        let mut network = boxed(config.init(&device), &device);
        let prefix = if prefixed { "model." } else { "" };
        let mut tensors: Listed = listed(network.as_ref())
            .into_iter()
            .map(|(name, rule_name, shape)| {
                let bare = name.strip_prefix("model.").unwrap();
                (format!("{prefix}{bare}"), rule_name, shape)
            })
            .collect();
        for layer in 0..2 {
            let name = format!("{prefix}layers.{layer}.self_attn.rotary_emb.inv_freq");
            tensors.push((name.clone(), name, vec![2]));
        }
        tensors.push(("lm_head.weight".into(), "model.embed_tokens.weight".into(), vec![11, 8]));
        let (_folder, source) = written(tensors);
        network.load(&source).unwrap();
        assert_by_rule(network.as_ref());
    }
}

#[test]
fn t5_files_come_with_tied_names_and_a_table_that_nobody_reads() {
    let device = Device::flex();
    let config =
        T5Config { vocabulary: 11, width: 8, heads: 2, head_width: 3, layers: 2, hidden: 12, ..T5Config::small() };
    let mut network = boxed(config.init(&device), &device);
    let mut tensors = listed(network.as_ref());
    for tied in ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight"] {
        tensors.push((tied.into(), "shared.weight".into(), vec![11, 8]));
    }
    let unread = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight";
    tensors.push((unread.into(), unread.into(), vec![32, 2]));
    let (_folder, source) = written(tensors);
    network.load(&source).unwrap();
    assert_by_rule(network.as_ref());
}

#[test]
fn published_vit_files_have_older_names() {
    let device = Device::flex();
    let config = VitConfig { image: 8, patch: 4, width: 8, heads: 2, layers: 1, hidden: 12, classes: 3 };
    let mut network = boxed(config.init(&device), &device);
    let tensors = listed(network.as_ref())
        .into_iter()
        .map(|(name, rule_name, shape)| {
            let old = name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2.");
            (old, rule_name, shape)
        })
        .collect();
    let (_folder, source) = written(tensors);
    network.load(&source).unwrap();
    assert_by_rule(network.as_ref());
}

/// Two towers of one layer; images of 8 x 8 pixels, texts of 6 tokens.
fn tiny_clip() -> ClipConfig {
    let tower = ClipTowerConfig { width: 8, heads: 2, layers: 1, hidden: 12 };
    ClipConfig { vision: tower.clone(), image: 8, patch: 4, text: tower, vocabulary: 11, positions: 6, embedding: 4 }
}

#[test]
fn clip_files_come_with_position_ids() {
    let device = Device::flex();
    let mut network = boxed(tiny_clip().init(&device), &device);
    let mut tensors: Listed = listed(network.as_ref());
    for (tower, positions) in [("text_model", 6), ("vision_model", 5)] {
        tensors.push((format!("{tower}.embeddings.position_ids"), "x".into(), vec![1, positions]));
    }
    let (_folder, source) = written(tensors);
    network.load(&source).unwrap();
    assert_by_rule(network.as_ref());
}

#[test]
fn a_scalar_has_no_dimensions() {
    let device = Device::flex();
    let mut network = boxed(tiny_clip().init(&device), &device);
    let mut tensors: Listed = listed(network.as_ref());
    let scalar = tensors.iter_mut().find(|(name, ..)| name == "logit_scale").unwrap();
    assert!(scalar.2.is_empty());
    scalar.2 = vec![1];
    let (_folder, source) = written(tensors);
    let found = mismatch(network.load(&source).unwrap_err());
    let expected = Misshapen { name: "logit_scale".into(), expected: vec![], found: vec![1] };
    assert_eq!(found, WeightMismatch { misshapen: vec![expected], ..WeightMismatch::default() });

    network.load(&WeightSource::Seeded(0)).unwrap();
    assert_by_rule(network.as_ref());
    let scalar = network.weights().unwrap().into_iter().find(|tensor| tensor.name == "logit_scale").unwrap();
    assert_eq!((scalar.shape.len(), f32_values(&scalar).len()), (0, 1));
}

fn tiny_detr(kind: BlockKind) -> DetrConfig {
    DetrConfig {
        backbone: ResNetConfig { kind, blocks: [1, 2, 1, 1], classes: 0 },
        width: 8,
        heads: 2,
        hidden: 12,
        encoder_layers: 1,
        decoder_layers: 1,
        queries: 5,
        classes: 3,
    }
}

/// `facebook/detr-resnet-50` has timm's names in the backbone, its revision `no_timm` those of transformers.
#[test]
fn published_detr_files_have_older_names() {
    let device = Device::flex();
    for timm in [true, false] {
        let mut network = boxed(tiny_detr(BlockKind::Bottleneck).init(&device), &device);
        let tensors = listed(network.as_ref())
            .into_iter()
            .map(|(name, rule_name, shape)| {
                let old = name
                    .replace("model.backbone.", "model.backbone.conv_encoder.")
                    .replace(".o_proj.", ".out_proj.")
                    .replace(".mlp.fc", ".fc");
                (if timm { timm_name(&old) } else { old }, rule_name, shape)
            })
            .collect();
        let (_folder, source) = written(tensors);
        network.load(&source).unwrap();
        assert_by_rule(network.as_ref());
    }
}

/// `model.backbone.conv_encoder.model.layer1.0.bn1.weight` and its like.
fn timm_name(name: &str) -> String {
    if !name.contains(".backbone.") {
        return name.to_owned();
    }
    let mut name = name
        .replace("embedder.embedder.convolution", "conv1")
        .replace("embedder.embedder.normalization", "bn1")
        .replace("shortcut.convolution", "downsample.0")
        .replace("shortcut.normalization", "downsample.1");
    for index in 0..4 {
        name = name
            .replace(&format!("encoder.stages.{index}.layers"), &format!("layer{}", index + 1))
            .replace(&format!("layer.{index}.convolution"), &format!("conv{}", index + 1))
            .replace(&format!("layer.{index}.normalization"), &format!("bn{}", index + 1));
    }
    name
}

#[test]
fn counters_of_batch_norms_are_ignored_and_second_spellings_are_not() {
    let device = Device::flex();
    let mut network = find("mobilenet_v2").unwrap().build(&device);
    let mut tensors = listed(network.as_ref());
    tensors.push(("features.0.1.num_batches_tracked".into(), "n".into(), vec![]));
    let (_folder, source) = written(tensors);
    network.load(&source).unwrap();
    assert_by_rule(network.as_ref());

    let config = BertConfig { layers: 1, ..BertConfig::base_uncased() };
    let mut network = boxed(
        BertConfig { vocabulary: 9, positions: 4, width: 8, heads: 2, hidden: 8, ..config }.init(&device),
        &device,
    );
    let mut tensors = listed(network.as_ref());
    let name = "bert.pooler.dense.bias".to_owned();
    tensors.push((name.clone(), name, vec![8]));
    let (_folder, source) = written(tensors);
    let found = mismatch(network.load(&source).unwrap_err());
    assert_eq!(found.unused.len(), 1);
}

fn refused(path: PathBuf) -> WeightError {
    tiny().load(&WeightSource::File(path)).unwrap_err()
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let names = |error: &WeightError, path: &Path| {
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert!(std::error::Error::source(error).is_some(), "{error}");
    };

    let absent = folder.path().join("absent.safetensors");
    let error = refused(absent.clone());
    assert!(matches!(error, WeightError::Unreadable { .. }));
    names(&error, &absent);

    let directory = folder.path().join("folder.safetensors");
    std::fs::create_dir(&directory).unwrap();
    assert!(matches!(refused(directory), WeightError::Unreadable { .. }));

    for name in ["pointer.safetensors", "pointer.pth"] {
        let path = file(name, b"version https://git-lfs.github.com/spec/v1\n");
        let error = refused(path.clone());
        assert!(matches!(error, WeightError::Malformed { .. }), "{error}");
        names(&error, &path);
        assert!(error.hint().unwrap().contains("Git LFS"));
    }
    let empty = file("empty.safetensors", b"");
    assert!(matches!(refused(empty), WeightError::Malformed { .. }));

    let onnx = file("model.onnx", b"x");
    assert!(matches!(refused(onnx), WeightError::Extension { .. }));
}
