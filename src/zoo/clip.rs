//! CLIP, which puts images and texts into one space (Radford et al., "Learning transferable visual models from
//! natural language supervision", 2021).
//!
//! Reference: `CLIPModel` of transformers with the sizes of `clip-vit-base-patch32`: two pre-norm transformers, the
//! text's one causal, epsilon 1e-5, GELU approximated by a sigmoid. Dropout is 0 in the reference, too.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, Linear, LinearConfig};
use burn::tensor::{Device, Int, Tensor};

use super::activation::quick_gelu;
use super::batch::{Batch, IDS, Output};
use super::blocks::{Attention, conv2d, cross_entropy, dense, layer_norm, leading_positions};
use super::cost::{ConvShape, CostCounter};
use super::error::ZooError;
use super::layers::{Layer, Plain, embed, product};
use super::network::Architecture;
use super::observe::{self, Operator, module};
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern};
use crate::domain::model::ModelCost;

/// Of all layer norms.
const EPSILON: f64 = 1e-5;

/// The logarithm of the scale that the similarities start with, ln(1 / 0.07) (section 2.5 of the paper).
const LOGIT_SCALE: f64 = 2.6592;

/// Sizes of one of the two transformers of a [`Clip`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipTowerConfig {
    /// Width of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub hidden: usize,
}

impl ClipTowerConfig {
    fn init(&self, device: &Device) -> ClipEncoder {
        let Self { width, heads, layers, hidden } = *self;
        let layers = (0..layers)
            .map(|_| ClipLayer {
                self_attn: Attention::new(width, heads, device),
                layer_norm1: layer_norm(width, EPSILON, device),
                mlp: ClipMlp { fc1: dense(width, hidden, device), fc2: dense(hidden, width, device) },
                layer_norm2: layer_norm(width, EPSILON, device),
            })
            .collect();
        ClipEncoder { layers }
    }

    fn count(&self, counter: &mut CostCounter, tokens: usize) {
        for _ in 0..self.layers {
            counter.encoder_layer(tokens, self.width, self.heads, self.hidden);
        }
    }
}

/// Sizes of a [`Clip`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipConfig {
    /// Reads images.
    pub vision: ClipTowerConfig,
    /// Height and width of the images; the position embedding fixes them.
    pub image: usize,
    /// Height and width of a patch.
    pub patch: usize,
    /// Reads texts.
    pub text: ClipTowerConfig,
    /// Distinct tokens.
    pub vocabulary: usize,
    /// The longest text.
    pub positions: usize,
    /// Width of the common space.
    pub embedding: usize,
}

impl ClipConfig {
    /// `clip-vit-base-patch32`.
    pub fn vit_base_patch32() -> Self {
        Self {
            vision: ClipTowerConfig { width: 768, heads: 12, layers: 12, hidden: 3072 },
            image: 224,
            patch: 32,
            text: ClipTowerConfig { width: 512, heads: 8, layers: 12, hidden: 2048 },
            vocabulary: 49408,
            positions: 77,
            embedding: 512,
        }
    }

    fn patches(&self) -> ConvShape {
        ConvShape::new(3, self.vision.width, self.patch, self.patch).with_padding(0)
    }

    /// The class token and one for every patch.
    fn image_tokens(&self) -> usize {
        (self.image / self.patch).pow(2) + 1
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> Clip {
        let table = |rows, width| EmbeddingConfig::new(rows, width).init(device);
        let projection = |width| LinearConfig::new(width, self.embedding).with_bias(false).init(device);
        let (vision, text) = (self.vision.width, self.text.width);
        Clip {
            logit_scale: Initializer::Constant { value: LOGIT_SCALE }.init([1], device),
            text_model: ClipText {
                embeddings: ClipTextEmbeddings {
                    token_embedding: table(self.vocabulary, text),
                    position_embedding: table(self.positions, text),
                },
                encoder: self.text.init(device),
                final_layer_norm: layer_norm(text, EPSILON, device),
            },
            vision_model: ClipVision {
                embeddings: ClipVisionEmbeddings {
                    class_embedding: Initializer::Zeros.init([vision], device),
                    patch_embedding: conv2d(self.patches(), device),
                    position_embedding: table(self.image_tokens(), vision),
                },
                pre_layernorm: layer_norm(vision, EPSILON, device),
                encoder: self.vision.init(device),
                post_layernorm: layer_norm(vision, EPSILON, device),
            },
            visual_projection: projection(vision),
            text_projection: projection(text),
            image: self.image,
            positions: self.positions,
        }
    }

    /// The cost for one image of `[height, width]` (only the configured size can be run), one text of this length and
    /// their similarity.
    pub fn cost(&self, image: [usize; 2], sequence: usize) -> ModelCost {
        let mut counter = CostCounter::new();
        let [rows, columns] = counter.conv2d(self.patches(), image);
        counter.parameters(self.vision.width); // class token
        counter.embedding(self.image_tokens(), self.vision.width);
        counter.norm(self.vision.width);
        self.vision.count(&mut counter, rows * columns + 1);
        counter.norm(self.vision.width);

        counter.embedding(self.vocabulary, self.text.width);
        counter.embedding(self.positions, self.text.width);
        self.text.count(&mut counter, sequence);
        counter.norm(self.text.width);

        for width in [self.vision.width, self.text.width] {
            counter.parameters(width * self.embedding);
            counter.matmul(1, width, self.embedding);
        }
        counter.parameters(1); // scale of the similarities
        counter.matmul(1, self.embedding, 1);
        counter.finish()
    }
}

/// The feed-forward part.
#[derive(Module, Debug)]
pub struct ClipMlp {
    /// `width` to `hidden`.
    pub fc1: Linear,
    /// `hidden` to `width`.
    pub fc2: Linear,
}

/// Norm, attention, norm, feed-forward, each pair around a shortcut.
#[derive(Module, Debug)]
pub struct ClipLayer {
    /// The attention.
    pub self_attn: Attention,
    /// Before the attention.
    pub layer_norm1: LayerNorm,
    /// The feed-forward part.
    pub mlp: ClipMlp,
    /// Before the feed-forward part.
    pub layer_norm2: LayerNorm,
}

impl ClipLayer {
    /// `[batch, tokens, width]` to the same.
    pub fn forward(&self, x: Tensor<3>, causal: bool) -> Tensor<3> {
        let normed = self.layer_norm1.call(x.clone());
        let x = self.self_attn.forward(normed.clone(), normed.clone(), normed, causal) + x;
        let hidden = quick_gelu(self.mlp.fc1.call(self.layer_norm2.call(x.clone())));
        self.mlp.fc2.call(hidden) + x
    }
}

/// A stack of layers.
#[derive(Module, Debug)]
pub struct ClipEncoder {
    /// The layers.
    pub layers: Vec<ClipLayer>,
}

impl ClipEncoder {
    fn forward(&self, x: Tensor<3>, causal: bool) -> Tensor<3> {
        self.layers.iter().fold(x, |x, layer| module(layer, || layer.forward(x, causal)))
    }
}

/// Tokens and positions.
#[derive(Module, Debug)]
pub struct ClipTextEmbeddings {
    /// `[vocabulary, width]`.
    pub token_embedding: Embedding,
    /// `[positions, width]`.
    pub position_embedding: Embedding,
}

/// Reads texts.
#[derive(Module, Debug)]
pub struct ClipText {
    /// Tokens to vectors.
    pub embeddings: ClipTextEmbeddings,
    /// The transformer, causal.
    pub encoder: ClipEncoder,
    /// After the last layer.
    pub final_layer_norm: LayerNorm,
}

impl ClipText {
    /// `[batch, sequence]` to `[batch, width]`: what the end-of-text token has read.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let [_, sequence] = ids.dims();
        let positions = leading_positions(&self.embeddings.position_embedding, sequence);
        let x = embed(IDS, &self.embeddings.token_embedding, ids.clone()) + positions;
        let x = module(&self.encoder, || self.encoder.forward(x, true));
        let [batch, _, width] = x.dims();
        let ends = end_positions(ids).reshape([batch, 1, 1]).expand([batch, 1, width]);
        // The norm works on every token by itself, so these are enough.
        self.final_layer_norm.call(x.gather(1, ends).reshape([batch, width]))
    }
}

/// Where the end-of-text token stands in every sample: it has the largest id, and only the first one counts, because
/// the tokenizer also pads with it. `[batch, sequence]` to `[batch, 1]`.
fn end_positions(ids: Tensor<2, Int>) -> Tensor<2, Int> {
    let [_, sequence] = ids.dims();
    let places = Tensor::<1, Int>::arange(0..sequence as i64, &ids.device()).unsqueeze::<2>();
    // Which of several maxima is found is not the same on all devices: ranks that differ leave no choice.
    (ids.mul_scalar(sequence as i64) - places).argmax(1)
}

/// Patches, a class token and positions.
#[derive(Module, Debug)]
pub struct ClipVisionEmbeddings {
    /// `[width]`, the token that stands for the image.
    pub class_embedding: Param<Tensor<1>>,
    /// Turns patches into tokens.
    pub patch_embedding: Conv2d,
    /// `[tokens, width]`.
    pub position_embedding: Embedding,
}

impl ClipVisionEmbeddings {
    /// `[batch, 3, image, image]` to `[batch, tokens, width]`.
    pub fn forward(&self, image: Tensor<4>) -> Tensor<3> {
        let patches: Tensor<3> = self
            .patch_embedding
            .run(image) // [batch, width, rows, columns]
            .flatten::<3>(2, 3)
            .swap_dims(1, 2); // [batch, patches, width]
        let [batch, _, width] = patches.dims();
        let class = self.class_embedding.val().reshape([1, 1, width]).expand([batch, 1, width]);
        Tensor::cat(vec![class, patches], 1) + self.position_embedding.weight.val().unsqueeze()
    }
}

/// Reads images.
#[derive(Module, Debug)]
pub struct ClipVision {
    /// Pixels to tokens.
    pub embeddings: ClipVisionEmbeddings,
    /// Before the first layer.
    pub pre_layernorm: LayerNorm,
    /// The transformer.
    pub encoder: ClipEncoder,
    /// Of the class token.
    pub post_layernorm: LayerNorm,
}

impl ClipVision {
    /// `[batch, 3, image, image]` to `[batch, width]`: what the class token has read.
    pub fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let x = self.pre_layernorm.call(module(&self.embeddings, || self.embeddings.forward(image)));
        let x = module(&self.encoder, || self.encoder.forward(x, false));
        let [batch, _, width] = x.dims();
        self.post_layernorm.call(x.narrow(1, 0, 1).reshape([batch, width]))
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct Clip {
    /// `[1]` (a scalar in the reference): the logarithm of what similarities are multiplied with.
    pub logit_scale: Param<Tensor<1>>,
    /// Reads texts.
    pub text_model: ClipText,
    /// Reads images.
    pub vision_model: ClipVision,
    /// From images to the common space.
    pub visual_projection: Linear,
    /// From texts to the common space.
    pub text_projection: Linear,
    /// Height and width of the images.
    pub image: usize,
    /// The longest text.
    pub positions: usize,
}

/// What a [`Clip`] makes of images and texts.
#[derive(Clone, Debug)]
pub struct ClipFeatures {
    /// Of length one each, `[images, embedding]`.
    pub image_embeds: Tensor<2>,
    /// Of length one each, `[texts, embedding]`.
    pub text_embeds: Tensor<2>,
    /// Scaled cosines, `[images, texts]`.
    pub logits_per_image: Tensor<2>,
}

impl Clip {
    /// Images `[images, 3, image, image]` and texts `[texts, sequence]`, as many as one likes of each.
    pub fn forward(&self, image: Tensor<4>, ids: Tensor<2, Int>) -> ClipFeatures {
        let image_embeds =
            normalize(self.visual_projection.call(module(&self.vision_model, || self.vision_model.forward(image))));
        let text_embeds =
            normalize(self.text_projection.call(module(&self.text_model, || self.text_model.forward(ids))));
        let scale = self.logit_scale.val().exp().reshape([1, 1]);
        let [texts, embedding] = text_embeds.dims();
        let shape = || product([embedding, texts], false);
        let products = observe::operator(Operator::Function("similarities"), shape, image_embeds.clone(), |images| {
            images.matmul(text_embeds.clone().transpose())
        });
        let logits_per_image = products * scale;
        ClipFeatures { image_embeds, text_embeds, logits_per_image }
    }
}

/// Every row divided by its Euclidean length.
fn normalize(x: Tensor<2>) -> Tensor<2> {
    let length = (x.clone() * x.clone()).sum_dim(1).sqrt();
    x / length
}

impl Architecture for Clip {
    type Features = ClipFeatures;

    fn features(&self, batch: &Batch) -> Result<ClipFeatures, ZooError> {
        Ok(self.forward(batch.image_of(self.image)?, batch.ids(self.positions)?))
    }

    fn outputs(&self, features: ClipFeatures) -> Vec<Output> {
        vec![
            Output::d2("image_embeds", features.image_embeds),
            Output::d2("text_embeds", features.text_embeds),
            Output::d2("logits_per_image", features.logits_per_image),
        ]
    }

    /// The symmetric cross-entropy of the paper's figure 3: every image finds its text among those of the batch, and
    /// every text its image. A batch of one pair leaves nothing to choose: its loss and all gradients are 0, though a
    /// step of it does the whole work.
    fn loss(&self, features: ClipFeatures, _batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        let logits = features.logits_per_image;
        let [images, texts] = logits.dims();
        if !matches!(targets, Targets::Pairs) || images != texts {
            return Err(ZooError::Targets { expected: "one text for every image" });
        }
        let pairs = Tensor::<1, Int>::arange(0..images as i64, &logits.device());
        let per_image = cross_entropy(logits.clone(), pairs.clone());
        let per_text = cross_entropy(logits.transpose(), pairs);
        Ok((per_image + per_text) / 2.0)
    }

    fn is_scalar(name: &str) -> bool {
        name == "logit_scale"
    }

    fn word_table(&self, input: &str) -> Option<Tensor<2>> {
        (input == IDS).then(|| self.text_model.embeddings.token_embedding.weight.val())
    }

    fn reference_name(path: &str) -> String {
        path.replace(".pre_layernorm.", ".pre_layrnorm.") // as the reference spells it
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            // 0, 1, 2, ..., which old versions of transformers kept as a buffer.
            ignored: &[Pattern::End(".embeddings.position_ids")],
            ..Checkpoint::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_of_text_counts() {
        let device = Device::flex();
        let ids = Tensor::<2, Int>::from_ints([[5, 9, 9, 9], [1, 2, 3, 9], [9, 0, 0, 0], [3, 3, 3, 3]], &device);
        let found: Vec<i64> = end_positions(ids).try_to_vec_as().unwrap();
        assert_eq!(found, [1, 3, 0, 0]);
    }

    fn loss(logits: Tensor<2>, targets: &Targets) -> Result<f32, ZooError> {
        let device = logits.device();
        let tower = ClipTowerConfig { width: 4, heads: 1, layers: 0, hidden: 4 };
        let config = ClipConfig {
            vision: tower.clone(),
            image: 4,
            patch: 4,
            text: tower,
            vocabulary: 4,
            positions: 4,
            embedding: 4,
        };
        let empty = Tensor::zeros([1, 1], &device);
        let features = ClipFeatures { image_embeds: empty.clone(), text_embeds: empty, logits_per_image: logits };
        let loss = config.init(&device).loss(features, &Batch::default(), targets)?;
        Ok(loss.into_scalar::<f32>())
    }

    // `image_text_contrastive_loss` of transformers 5.23 on the same logits.
    #[test]
    fn the_loss_equals_the_reference() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[2.0, -1.0, 0.5], [0.25, 1.5, -2.0], [3.0, 0.0, 1.0]], &device);
        let found = loss(logits, &Targets::Pairs).unwrap();
        assert!((found - 0.802_698_3).abs() < 1e-6, "{found}");
    }

    #[test]
    fn one_pair_has_no_loss_and_odd_ones_are_refused() {
        let device = Device::flex();
        assert_eq!(loss(Tensor::full([1, 1], 3.0, &device), &Targets::Pairs).unwrap(), 0.0);
        assert!(loss(Tensor::full([1, 2], 3.0, &device), &Targets::Pairs).is_err());
        assert!(loss(Tensor::full([1, 1], 3.0, &device), &Targets::NextTokens).is_err());
    }
}
