//! DETR, a detector of objects (Carion et al., "End-to-end object detection with transformers", 2020).
//!
//! Reference: `DetrForObjectDetection` of transformers with a `ResNetConfig` backbone: ResNet-50 with frozen batch
//! normalisations, post-norm transformer, epsilon 1e-5, sine positions, 100 queries. No pixel is padding, so there is
//! no mask. Dropout is left out.
//!
//! As in the paper's own training, the stem and the first stage of the backbone are left alone; the reference does
//! the same for its other backbone (that of timm), whose weights are the published ones.

use burn::module::Module;
use burn::nn::conv::Conv2d;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, Linear};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};

use super::activation::relu;
use super::batch::{Batch, Output};
use super::blocks::{Attention, conv2d, dense, layer_norm};
use super::channels::Widths;
use super::cost::{ConvShape, CostCounter};
use super::detr_backbone::Backbone;
use super::error::ZooError;
use super::layers::{Layer, Plain};
use super::network::Architecture;
use super::observe::module;
use super::resnet::ResNetConfig;
use super::set_prediction::set_prediction_loss;
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern};
use crate::domain::model::ModelCost;

/// Of all layer norms.
const EPSILON: f64 = 1e-5;

/// The longest wavelength of the positions, in turns.
const TEMPERATURE: f64 = 10_000.0;

/// Sizes of a [`Detr`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetrConfig {
    /// The convolutions; its classifier is left out.
    pub backbone: ResNetConfig,
    /// Width of a token; a multiple of four.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width inside the feed-forward parts.
    pub hidden: usize,
    /// Layers of the encoder.
    pub encoder_layers: usize,
    /// Layers of the decoder.
    pub decoder_layers: usize,
    /// The most objects that can be found.
    pub queries: usize,
    /// Classes of objects; one more output stands for no object.
    pub classes: usize,
}

impl DetrConfig {
    /// `detr-resnet-50`, for the 91 category numbers of COCO.
    pub fn resnet50() -> Self {
        Self {
            backbone: ResNetConfig::resnet50(),
            width: 256,
            heads: 8,
            hidden: 2048,
            encoder_layers: 6,
            decoder_layers: 6,
            queries: 100,
            classes: 91,
        }
    }

    fn projection(&self) -> ConvShape {
        ConvShape::new(self.backbone.features(), self.width, 1, 1).with_bias()
    }

    /// Features in and out of the three layers that predict a box.
    fn box_layers(&self) -> [(usize, usize); 3] {
        [(self.width, self.width), (self.width, self.width), (self.width, 4)]
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> Detr {
        let norm = || layer_norm(self.width, EPSILON, device);
        let attention = || Attention::new(self.width, self.heads, device);
        let mlp =
            || DetrMlp { fc1: dense(self.width, self.hidden, device), fc2: dense(self.hidden, self.width, device) };
        let encoder_layer = |_| DetrEncoderLayer {
            self_attn: attention(),
            self_attn_layer_norm: norm(),
            mlp: mlp(),
            final_layer_norm: norm(),
        };
        let decoder_layer = |_| DetrDecoderLayer {
            self_attn: attention(),
            self_attn_layer_norm: norm(),
            encoder_attn: attention(),
            encoder_attn_layer_norm: norm(),
            mlp: mlp(),
            final_layer_norm: norm(),
        };
        Detr {
            backbone: Backbone::new(&self.backbone, device),
            query_position_embeddings: EmbeddingConfig::new(self.queries, self.width).init(device),
            input_projection: conv2d(self.projection(), device),
            encoder: DetrEncoder { layers: (0..self.encoder_layers).map(encoder_layer).collect() },
            decoder: DetrDecoder { layers: (0..self.decoder_layers).map(decoder_layer).collect(), layernorm: norm() },
            class_labels_classifier: dense(self.width, self.classes + 1, device),
            bbox_predictor: BoxPredictor { layers: self.box_layers().map(|(from, to)| dense(from, to, device)).into() },
        }
    }

    /// The cost for an image of `[height, width]`.
    pub fn cost(&self, image: [usize; 2]) -> ModelCost {
        let (queries, width) = (self.queries, self.width);
        let mut counter = CostCounter::new();
        // The frozen normalisations have no parameters.
        let size = self.backbone.walk(Widths::default(), image, |conv, size| counter.conv2d(conv, size));
        let [rows, columns] = counter.conv2d(self.projection(), size);
        let tokens = rows * columns;
        for _ in 0..self.encoder_layers {
            counter.encoder_layer(tokens, width, self.heads, self.hidden);
        }
        counter.embedding(queries, width);
        for _ in 0..self.decoder_layers {
            counter.encoder_layer(queries, width, self.heads, self.hidden);
            counter.linear(queries, width, width); // queries
            counter.linear(tokens, width, 2 * width); // keys and values
            counter.cross_attention(queries, tokens, width, self.heads);
            counter.linear(queries, width, width);
            counter.norm(width);
        }
        counter.norm(width);
        counter.linear(queries, width, self.classes + 1);
        for (from, to) in self.box_layers() {
            counter.linear(queries, from, to);
        }
        counter.finish()
    }
}

/// Where the tokens of a map of `[height, width]` stand, `[1, height * width, features]`: sines and cosines (Vaswani
/// et al. 2017) of the row in the first half, of the column in the second. Rows and columns count from 1 and are
/// scaled so that the last one is a full turn.
fn sine_positions(size: [usize; 2], features: usize, device: &Device) -> Tensor<3> {
    let [height, width] = size;
    let half = features / 2;
    let rows = axis_positions(height, half, device).reshape([height, 1, half]).expand([height, width, half]);
    let columns = axis_positions(width, half, device).reshape([1, width, half]).expand([height, width, half]);
    Tensor::cat(vec![rows, columns], 2).reshape([1, height * width, features])
}

/// One axis of [`sine_positions`], `[extent, features]`; small, so it is computed on the host.
fn axis_positions(extent: usize, features: usize, device: &Device) -> Tensor<2> {
    let turn = 2.0 * std::f64::consts::PI / (extent as f64 + 1e-6);
    let values: Vec<f32> = (1..=extent)
        .flat_map(|place| {
            (0..features).map(move |feature| {
                let pair = (feature / 2 * 2) as f64;
                let angle = place as f64 * turn / TEMPERATURE.powf(pair / features as f64);
                (if feature % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
            })
        })
        .collect();
    Tensor::from_data(TensorData::new(values, [extent, features]), device)
}

/// The feed-forward part.
#[derive(Module, Debug)]
pub struct DetrMlp {
    /// `width` to `hidden`.
    pub fc1: Linear,
    /// `hidden` to `width`.
    pub fc2: Linear,
}

impl DetrMlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.call(relu(self.fc1.call(x)))
    }
}

/// Attention and feed-forward part, each with the norm of its sum with a shortcut behind it.
#[derive(Module, Debug)]
pub struct DetrEncoderLayer {
    /// The attention.
    pub self_attn: Attention,
    /// Behind the attention.
    pub self_attn_layer_norm: LayerNorm,
    /// The feed-forward part.
    pub mlp: DetrMlp,
    /// Behind the feed-forward part.
    pub final_layer_norm: LayerNorm,
}

impl DetrEncoderLayer {
    /// `[batch, tokens, width]` to the same; `positions` `[1, tokens, width]` are added to queries and keys.
    pub fn forward(&self, x: Tensor<3>, positions: Tensor<3>) -> Tensor<3> {
        let placed = x.clone() + positions;
        let x = self.self_attn.forward(placed.clone(), placed, x.clone(), false) + x;
        let x = self.self_attn_layer_norm.call(x);
        self.final_layer_norm.call(module(&self.mlp, || self.mlp.forward(x.clone())) + x)
    }
}

/// The encoder.
#[derive(Module, Debug)]
pub struct DetrEncoder {
    /// The layers.
    pub layers: Vec<DetrEncoderLayer>,
}

/// Attention among the queries, attention to the image and feed-forward part, each with the norm of its sum with a
/// shortcut behind it.
#[derive(Module, Debug)]
pub struct DetrDecoderLayer {
    /// Among the queries.
    pub self_attn: Attention,
    /// Behind it.
    pub self_attn_layer_norm: LayerNorm,
    /// To the image.
    pub encoder_attn: Attention,
    /// Behind it.
    pub encoder_attn_layer_norm: LayerNorm,
    /// The feed-forward part.
    pub mlp: DetrMlp,
    /// Behind it.
    pub final_layer_norm: LayerNorm,
}

impl DetrDecoderLayer {
    /// `[batch, queries, width]` to the same. `positions` `[1, queries, width]` are added to the queries; `memory` is
    /// what the encoder made of the image, `[batch, tokens, width]`, and `keys` the same with its positions added.
    pub fn forward(&self, x: Tensor<3>, positions: Tensor<3>, keys: Tensor<3>, memory: Tensor<3>) -> Tensor<3> {
        let placed = x.clone() + positions.clone();
        let x = self.self_attn.forward(placed.clone(), placed, x.clone(), false) + x;
        let x = self.self_attn_layer_norm.call(x);
        let x = self.encoder_attn.forward_across(x.clone() + positions, keys, memory) + x;
        let x = self.encoder_attn_layer_norm.call(x);
        self.final_layer_norm.call(module(&self.mlp, || self.mlp.forward(x.clone())) + x)
    }
}

/// The decoder.
#[derive(Module, Debug)]
pub struct DetrDecoder {
    /// The layers.
    pub layers: Vec<DetrDecoderLayer>,
    /// After the last layer.
    pub layernorm: LayerNorm,
}

/// Predicts a box from a query.
#[derive(Module, Debug)]
pub struct BoxPredictor {
    /// Three of them, ReLU between.
    pub layers: Vec<Linear>,
}

impl BoxPredictor {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let mut x = x;
        for (index, layer) in self.layers.iter().enumerate() {
            let input = if index == 0 { x } else { relu(x) };
            x = layer.call(input);
        }
        sigmoid(x)
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct Detr {
    /// Pixels to features.
    pub backbone: Backbone,
    /// `[queries, width]`.
    pub query_position_embeddings: Embedding,
    /// Features to tokens, 1x1.
    pub input_projection: Conv2d,
    /// Reads the image.
    pub encoder: DetrEncoder,
    /// Asks for objects.
    pub decoder: DetrDecoder,
    /// The class of every query.
    pub class_labels_classifier: Linear,
    /// The box of every query.
    pub bbox_predictor: BoxPredictor,
}

/// What a [`Detr`] sees.
#[derive(Clone, Debug)]
pub struct Detections {
    /// Of every query `[batch, queries, classes + 1]`; the last class means no object.
    pub logits: Tensor<3>,
    /// Of every query `[batch, queries, 4]`: centre x, centre y, width and height, as shares of the image.
    pub pred_boxes: Tensor<3>,
}

impl Detr {
    /// Images `[batch, 3, height, width]` of any size.
    pub fn forward(&self, image: Tensor<4>) -> Detections {
        let map = self.input_projection.run(module(&self.backbone, || self.backbone.forward(image))); // [batch, width, rows, columns]
        let [batch, width, rows, columns] = map.dims();
        let places = sine_positions([rows, columns], width, &map.device()); // [1, tokens, width]
        let tokens = map.flatten::<3>(2, 3).swap_dims(1, 2); // [batch, tokens, width]
        let memory = module(&self.encoder, || {
            let layers = self.encoder.layers.iter();
            layers.fold(tokens, |x, layer| module(layer, || layer.forward(x, places.clone())))
        });

        let keys = memory.clone() + places;
        let queries: Tensor<3> = self.query_position_embeddings.weight.val().unsqueeze(); // [1, queries, width]
        let [_, count, _] = queries.dims();
        let mut x = Tensor::zeros([batch, count, width], &queries.device());
        for layer in &self.decoder.layers {
            x = module(layer, || layer.forward(x, queries.clone(), keys.clone(), memory.clone())); // [batch, queries, width]
        }
        let x = self.decoder.layernorm.call(x);
        Detections {
            logits: self.class_labels_classifier.call(x.clone()),
            pred_boxes: module(&self.bbox_predictor, || self.bbox_predictor.forward(x)),
        }
    }
}

impl Architecture for Detr {
    type Features = Detections;

    fn features(&self, batch: &Batch) -> Result<Detections, ZooError> {
        Ok(self.forward(batch.image(1)?))
    }

    fn outputs(&self, features: Detections) -> Vec<Output> {
        vec![Output::d3("logits", features.logits), Output::d3("pred_boxes", features.pred_boxes)]
    }

    /// The set prediction loss of the last decoder layer; the reference's default has no auxiliary losses.
    fn loss(&self, features: Detections, _batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        set_prediction_loss(features.logits, features.pred_boxes, targets)
    }

    fn is_buffer(name: &str) -> bool {
        name.starts_with("model.backbone.") && name.contains(".normalization.")
    }

    fn is_frozen(name: &str) -> bool {
        name.starts_with("model.backbone.model.embedder.") || name.starts_with("model.backbone.model.encoder.stages.0.")
    }

    fn reference_name(path: &str) -> String {
        if path.starts_with("class_labels_classifier.") || path.starts_with("bbox_predictor.") {
            return path.to_owned();
        }
        let path = path
            .replace("backbone.stem.", "backbone.model.embedder.embedder.")
            .replace("backbone.first_stage.", "backbone.model.encoder.stages.0.")
            .replace("backbone.later_stages.0.", "backbone.model.encoder.stages.1.")
            .replace("backbone.later_stages.1.", "backbone.model.encoder.stages.2.")
            .replace("backbone.later_stages.2.", "backbone.model.encoder.stages.3.")
            .replace(".out_proj.", ".o_proj.");
        format!("model.{path}")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            prefix: None,
            renames: &[
                // The published weights are older than transformers' present names.
                ("model.backbone.conv_encoder.", "model.backbone."),
                (".out_proj.", ".o_proj."),
                (".mlp.fc", ".fc"),
                (".fc1.", ".mlp.fc1."),
                (".fc2.", ".mlp.fc2."),
                // Their backbone has timm's names.
                ("backbone.model.conv1.", "backbone.model.embedder.embedder.convolution."),
                ("backbone.model.bn1.", "backbone.model.embedder.embedder.normalization."),
                ("backbone.model.layer1.", "backbone.model.encoder.stages.0.layers."),
                ("backbone.model.layer2.", "backbone.model.encoder.stages.1.layers."),
                ("backbone.model.layer3.", "backbone.model.encoder.stages.2.layers."),
                ("backbone.model.layer4.", "backbone.model.encoder.stages.3.layers."),
                (".downsample.0.", ".shortcut.convolution."),
                (".downsample.1.", ".shortcut.normalization."),
                (".conv1.", ".layer.0.convolution."),
                (".conv2.", ".layer.1.convolution."),
                (".conv3.", ".layer.2.convolution."),
                (".bn1.", ".layer.0.normalization."),
                (".bn2.", ".layer.1.normalization."),
                (".bn3.", ".layer.2.normalization."),
            ],
            ignored: &[Pattern::End(".num_batches_tracked")],
        }
    }
}
