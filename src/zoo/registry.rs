//! The list of models: one row each. To add a model, write its file and add a row.

use burn::tensor::Device;

use super::bert::BertConfig;
use super::channels::{ChannelGroup, Flexible, Shapes, Widths};
use super::cifar_cnn::CifarCnnConfig;
use super::clip::ClipConfig;
use super::cost::{decoder_length, frame_count, image_size, sequence_length};
use super::detr::DetrConfig;
use super::distilbert::DistilBertConfig;
use super::error::WeightError;
use super::gpt2::Gpt2Config;
use super::llama::LlamaConfig;
use super::mobilenet_v2::MobileNetV2Config;
use super::network::{Network, boxed};
use super::resnet::ResNetConfig;
use super::t5::T5Config;
use super::vit::VitConfig;
use super::weights::WeightSource;
use super::whisper::WhisperConfig;
use crate::domain::model::{Category, InputKind, InputSpec, ModelCost, Task};

/// A model by name: what it takes, what it costs, how it is built.
#[derive(Debug)]
pub struct ModelEntry {
    /// The canonical name, that of the reference.
    pub name: &'static str,
    /// Other names that mean this model and no other.
    pub aliases: &'static [&'static str],
    /// The group of architectures: `resnet`, `bert`, ...
    pub family: &'static str,
    /// The kind of data it works on.
    pub category: Category,
    /// What it is for.
    pub task: Task,
    /// How many classes or tokens its targets choose from.
    pub labels: usize,
    /// The paper, and the implementation that the golden file comes from.
    pub source_note: &'static str,
    inputs: fn() -> Vec<InputSpec>,
    cost: fn(&[InputSpec]) -> ModelCost,
    build: fn(&Device) -> Box<dyn Network>,
    positions: fn() -> Option<usize>,
    /// Where a weight file may be narrower; `None` where every width is fixed.
    flexible: Option<fn() -> Box<dyn Flexible>>,
}

impl ModelEntry {
    /// The inputs with their default sizes, without the batch dimension.
    pub fn inputs(&self) -> Vec<InputSpec> {
        (self.inputs)()
    }

    /// The cost of one sample with these inputs; an input that is missing costs nothing.
    pub fn cost(&self, inputs: &[InputSpec]) -> ModelCost {
        (self.cost)(inputs)
    }

    /// The network on a device (`device.autodiff()` to train it), without weights: nothing is initialised before
    /// [`Network::load`].
    pub fn build(&self, device: &Device) -> Box<dyn Network> {
        (self.build)(device)
    }

    /// The longest text that a model which writes can have, prompt included; `None` for the others.
    pub fn positions(&self) -> Option<usize> {
        (self.positions)()
    }

    /// The inner channels that pruning may take out; none where every width is fixed.
    pub fn channel_groups(&self) -> Vec<ChannelGroup> {
        self.flexible.map(|config| config().groups()).unwrap_or_default()
    }

    /// The network that tensors of these shapes describe, without weights: inner channels are as many as the shapes
    /// agree on, all else is as [`build`](Self::build) has it. Shapes that do not fit change nothing, so that
    /// [`Network::load`] can say what differs.
    pub fn build_like(&self, shapes: &Shapes, device: &Device) -> Box<dyn Network> {
        match self.flexible {
            Some(config) => {
                let config = config();
                config.narrowed(Widths(&config.widths_in(shapes)), device)
            }
            None => self.build(device),
        }
    }

    /// The cost of one sample in the network that [`build_like`](Self::build_like) makes of these shapes.
    pub fn cost_like(&self, shapes: &Shapes, inputs: &[InputSpec]) -> ModelCost {
        match self.flexible {
            Some(config) => {
                let config = config();
                config.narrowed_cost(Widths(&config.widths_in(shapes)), inputs)
            }
            None => self.cost(inputs),
        }
    }

    /// The network with these weights, as wide as they are.
    ///
    /// # Errors
    ///
    /// See [`Network::load`].
    pub fn build_loaded(&self, source: &WeightSource, device: &Device) -> Result<Box<dyn Network>, WeightError> {
        let mut network = self.build(device);
        if self.flexible.is_some() && matches!(source, WeightSource::File(_)) {
            network = self.build_like(&network.shapes_in(source)?, device);
        }
        network.load(source)?;
        Ok(network)
    }
}

/// All models, small ones first within a category.
pub fn models() -> &'static [ModelEntry] {
    &MODELS
}

/// The model of exactly this canonical name.
pub fn find(name: &str) -> Option<&'static ModelEntry> {
    MODELS.iter().find(|entry| entry.name == name)
}

fn image(size: usize) -> Vec<InputSpec> {
    vec![InputSpec { name: "image".to_owned(), kind: InputKind::Float, shape: vec![3, size, size] }]
}

fn tokens(name: &str, length: usize, vocabulary: usize) -> InputSpec {
    InputSpec { name: name.to_owned(), kind: InputKind::Tokens { vocabulary }, shape: vec![length] }
}

fn ids(length: usize, vocabulary: usize) -> Vec<InputSpec> {
    vec![tokens("ids", length, vocabulary)]
}

/// Texts as the tokenizer of CLIP writes them: 77 tokens, the last of which is the end.
fn clip_text() -> Vec<InputSpec> {
    let kind = InputKind::Words { vocabulary: 49408, words: 49406, end: Some(49407) };
    vec![InputSpec { name: "ids".to_owned(), kind, shape: vec![77] }]
}

static MODELS: [ModelEntry; 13] = [
    ModelEntry {
        name: "cifar_cnn",
        aliases: &["cifar", "cifar-cnn", "small-cnn"],
        family: "cnn",
        category: Category::Vision,
        task: Task::ImageClassification,
        labels: 10,
        source_note: "six convolutions and two linear layers for CIFAR-10; `CifarCnn` of the golden files",
        inputs: || image(32),
        cost: |inputs| CifarCnnConfig::default().cost(image_size(inputs)),
        build: |device| boxed(CifarCnnConfig::default().init(device), device),
        positions: || None,
        flexible: Some(|| Box::new(CifarCnnConfig::default())),
    },
    ModelEntry {
        name: "mobilenet_v2",
        aliases: &["mobilenet", "mobilenetv2", "mobilenet-v2", "mobilenetv2_100"],
        family: "mobilenet",
        category: Category::Vision,
        task: Task::ImageClassification,
        labels: 1000,
        source_note: "Sandler et al. 2018; torchvision `mobilenet_v2`",
        inputs: || image(224),
        cost: |inputs| MobileNetV2Config::default().cost(image_size(inputs)),
        build: |device| boxed(MobileNetV2Config::default().init(device), device),
        positions: || None,
        flexible: Some(|| Box::new(MobileNetV2Config::default())),
    },
    ModelEntry {
        name: "resnet18",
        aliases: &["resnet-18", "resnet_18"],
        family: "resnet",
        category: Category::Vision,
        task: Task::ImageClassification,
        labels: 1000,
        source_note: "He et al. 2016; torchvision `resnet18`",
        inputs: || image(224),
        cost: |inputs| ResNetConfig::resnet18().cost(image_size(inputs)),
        build: |device| boxed(ResNetConfig::resnet18().init(device), device),
        positions: || None,
        flexible: Some(|| Box::new(ResNetConfig::resnet18())),
    },
    ModelEntry {
        name: "resnet50",
        aliases: &["resnet-50", "resnet_50", "resnet50_v1.5"],
        family: "resnet",
        category: Category::Vision,
        task: Task::ImageClassification,
        labels: 1000,
        source_note: "He et al. 2016, version 1.5; torchvision `resnet50`",
        inputs: || image(224),
        cost: |inputs| ResNetConfig::resnet50().cost(image_size(inputs)),
        build: |device| boxed(ResNetConfig::resnet50().init(device), device),
        positions: || None,
        flexible: Some(|| Box::new(ResNetConfig::resnet50())),
    },
    ModelEntry {
        name: "detr-resnet-50",
        aliases: &["detr", "detr-r50", "detr-resnet50", "detr_resnet50", "detr_resnet_50"],
        family: "detr",
        category: Category::Vision,
        task: Task::ObjectDetection,
        labels: 91,
        source_note: "Carion et al. 2020; transformers `DetrForObjectDetection`",
        // The golden file's size. The paper's images are 800 to 1333 pixels wide and high, ten times the work: too slow
        // as a default where there is only a CPU. Any other size can be asked for.
        inputs: || image(320),
        cost: |inputs| DetrConfig::resnet50().cost(image_size(inputs)),
        build: |device| boxed(DetrConfig::resnet50().init(device), device),
        positions: || None,
        flexible: None,
    },
    ModelEntry {
        name: "vit_b_16",
        aliases: &["vit", "vit-b-16", "vit-b/16", "vit_base_patch16_224"],
        family: "vit",
        category: Category::Vision,
        task: Task::ImageClassification,
        labels: 1000,
        source_note: "Dosovitskiy et al. 2021; torchvision `vit_b_16`",
        inputs: || image(224),
        cost: |inputs| VitConfig::vit_b_16().cost(image_size(inputs)),
        build: |device| boxed(VitConfig::vit_b_16().init(device), device),
        positions: || None,
        flexible: Some(|| Box::new(VitConfig::vit_b_16())),
    },
    ModelEntry {
        name: "t5-small",
        aliases: &["t5", "google-t5/t5-small"],
        family: "t5",
        category: Category::Text,
        task: Task::SequenceToSequence,
        labels: 32128,
        source_note: "Raffel et al. 2020, version 1.0; transformers `T5ForConditionalGeneration`",
        inputs: || vec![tokens("ids", 128, 32128), tokens("decoder_ids", 32, 32128)],
        cost: |inputs| T5Config::small().cost(sequence_length(inputs), decoder_length(inputs)),
        build: |device| boxed(T5Config::small().init(device), device),
        positions: || Some(T5Config::small().positions),
        flexible: None,
    },
    ModelEntry {
        name: "distilbert-base-uncased",
        aliases: &["distilbert", "distilbert-base", "distilbert_base_uncased"],
        family: "bert",
        category: Category::Text,
        task: Task::MaskedLanguageModelling,
        labels: 30522,
        source_note: "Sanh et al. 2019; transformers `DistilBertModel`",
        inputs: || ids(128, 30522),
        cost: |inputs| DistilBertConfig::base_uncased().cost(sequence_length(inputs)),
        build: |device| boxed(DistilBertConfig::base_uncased().init(device), device),
        positions: || None,
        flexible: Some(|| Box::new(DistilBertConfig::base_uncased())),
    },
    ModelEntry {
        name: "bert-base-uncased",
        aliases: &["bert", "bert-base", "bert_base_uncased"],
        family: "bert",
        category: Category::Text,
        task: Task::MaskedLanguageModelling,
        labels: 30522,
        source_note: "Devlin et al. 2019; transformers `BertModel`",
        inputs: || ids(128, 30522),
        cost: |inputs| BertConfig::base_uncased().cost(sequence_length(inputs)),
        build: |device| boxed(BertConfig::base_uncased().init(device), device),
        positions: || None,
        flexible: Some(|| Box::new(BertConfig::base_uncased())),
    },
    ModelEntry {
        name: "gpt2",
        aliases: &["gpt-2", "gpt2-small", "gpt2-124m"],
        family: "gpt2",
        category: Category::Text,
        task: Task::CausalLanguageModelling,
        labels: 50257,
        source_note: "Radford et al. 2019; transformers `GPT2LMHeadModel`",
        inputs: || ids(128, 50257),
        cost: |inputs| Gpt2Config::small().cost(sequence_length(inputs)),
        build: |device| boxed(Gpt2Config::small().init(device), device),
        positions: || Some(Gpt2Config::small().positions),
        flexible: Some(|| Box::new(Gpt2Config::small())),
    },
    ModelEntry {
        name: "smollm2-135m",
        aliases: &["smollm2", "smollm", "huggingfacetb/smollm2-135m"],
        family: "llama",
        category: Category::Text,
        task: Task::CausalLanguageModelling,
        labels: 49152,
        source_note: "Ben Allal et al. 2025, Llama architecture; transformers `LlamaForCausalLM`",
        inputs: || ids(128, 49152),
        cost: |inputs| LlamaConfig::smollm2_135m().cost(sequence_length(inputs)),
        build: |device| boxed(LlamaConfig::smollm2_135m().init(device), device),
        positions: || Some(LlamaConfig::smollm2_135m().positions),
        flexible: None,
    },
    ModelEntry {
        name: "whisper-tiny",
        aliases: &["whisper", "whisper_tiny", "openai/whisper-tiny"],
        family: "whisper",
        category: Category::Audio,
        task: Task::SpeechRecognition,
        labels: 51865,
        source_note: "Radford et al. 2022; transformers `WhisperForConditionalGeneration`",
        inputs: || {
            // The special tokens follow the ordinary ones.
            let text = InputKind::Words { vocabulary: 51865, words: 50257, end: None };
            vec![
                InputSpec { name: "mel".to_owned(), kind: InputKind::Float, shape: vec![80, 3000] },
                InputSpec { name: "decoder_ids".to_owned(), kind: text, shape: vec![8] },
            ]
        },
        cost: |inputs| WhisperConfig::tiny().cost(frame_count(inputs), decoder_length(inputs)),
        build: |device| boxed(WhisperConfig::tiny().init(device), device),
        positions: || Some(WhisperConfig::tiny().decoder_positions),
        flexible: None,
    },
    ModelEntry {
        name: "clip-vit-base-patch32",
        aliases: &["clip", "clip-vit-b-32", "clip-vit-b/32", "clip_vit_b_32", "clip_vit_base_patch32"],
        family: "clip",
        category: Category::Multimodal,
        task: Task::ImageTextMatching,
        labels: 49408,
        source_note: "Radford et al. 2021; transformers `CLIPModel`",
        inputs: || [image(224), clip_text()].concat(),
        cost: |inputs| ClipConfig::vit_base_patch32().cost(image_size(inputs), sequence_length(inputs)),
        build: |device| boxed(ClipConfig::vit_base_patch32().init(device), device),
        positions: || None,
        flexible: None,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_name_means_two_models() {
        let mut seen = HashSet::new();
        for entry in models() {
            for name in std::iter::once(&entry.name).chain(entry.aliases) {
                assert!(seen.insert(name.to_lowercase()), "{name} is ambiguous");
            }
        }
    }

    #[test]
    fn find_takes_canonical_names_only() {
        assert!(find("resnet50").is_some());
        assert!(find("ResNet50").is_none());
        assert!(find("bert").is_none());
    }
}
