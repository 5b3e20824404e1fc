//! Vision transformer (Dosovitskiy et al., "An image is worth 16x16 words", 2021).
//!
//! Reference: torchvision's `vit_b_16`: pre-norm, layer norms with epsilon 1e-6, exact GELU. Dropout is left out.

use burn::module::{Module, Param};
use burn::nn::conv::Conv2d;
use burn::nn::{Initializer, LayerNorm, Linear};
use burn::tensor::{Device, Tensor};

use super::activation::gelu;
use super::batch::{Batch, Output};
use super::blocks::{classification_loss, conv2d, dense, layer_norm, multi_head_attention, split_projection};
use super::channels::{ChannelGroup, Flexible, Widths};
use super::cost::{ConvShape, CostCounter, image_size};
use super::error::ZooError;
use super::layers::{Layer, Plain};
use super::network::{Architecture, Network, boxed};
use super::observe::module;
use super::targets::Targets;
use super::weights::Checkpoint;
use crate::domain::model::{InputSpec, ModelCost};

/// Of all layer norms.
const EPSILON: f64 = 1e-6;

/// Sizes of a [`VisionTransformer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VitConfig {
    /// Height and width of the images; the position embedding fixes them.
    pub image: usize,
    /// Height and width of a patch.
    pub patch: usize,
    /// Width of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub hidden: usize,
    /// Number of classes.
    pub classes: usize,
}

impl VitConfig {
    /// torchvision's `vit_b_16`.
    pub fn vit_b_16() -> Self {
        Self { image: 224, patch: 16, width: 768, heads: 12, layers: 12, hidden: 3072, classes: 1000 }
    }

    fn patches(&self) -> ConvShape {
        ConvShape::new(3, self.width, self.patch, self.patch).with_padding(0).with_bias()
    }

    /// The class token and one for every patch.
    fn tokens(&self) -> usize {
        (self.image / self.patch).pow(2) + 1
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> VisionTransformer {
        self.init_with(Widths::default(), device)
    }

    fn init_with(&self, widths: Widths<'_>, device: &Device) -> VisionTransformer {
        let width = self.width;
        let layers = (0..self.layers)
            .map(|index| {
                let hidden = widths.of(index, self.hidden);
                EncoderLayer {
                    ln_1: layer_norm(width, EPSILON, device),
                    self_attention: SelfAttention {
                        in_proj: dense(width, 3 * width, device),
                        out_proj: dense(width, width, device),
                        heads: self.heads,
                    },
                    ln_2: layer_norm(width, EPSILON, device),
                    mlp: Mlp { linear_1: dense(width, hidden, device), linear_2: dense(hidden, width, device) },
                }
            })
            .collect();
        VisionTransformer {
            class_token: Initializer::Zeros.init([1, 1, width], device),
            conv_proj: conv2d(self.patches(), device),
            encoder: Encoder {
                pos_embedding: Initializer::Zeros.init([1, self.tokens(), width], device),
                layers,
                ln: layer_norm(width, EPSILON, device),
            },
            head: dense(width, self.classes, device),
            image: self.image,
        }
    }

    /// The cost for an image of `[height, width]`; only the configured size can be run.
    pub fn cost(&self, image: [usize; 2]) -> ModelCost {
        self.cost_with(Widths::default(), image)
    }

    fn cost_with(&self, widths: Widths<'_>, image: [usize; 2]) -> ModelCost {
        let mut counter = CostCounter::new();
        let [rows, columns] = counter.conv2d(self.patches(), image);
        let tokens = rows * columns + 1;
        counter.parameters(self.width); // class token
        counter.embedding(self.tokens(), self.width);
        for index in 0..self.layers {
            let hidden = widths.of(index, self.hidden);
            counter.encoder_layer(tokens, self.width, self.heads, hidden);
        }
        counter.norm(self.width);
        counter.linear(1, self.width, self.classes);
        counter.finish()
    }
}

impl Flexible for VitConfig {
    /// The inside of every feed-forward part.
    fn groups(&self) -> Vec<ChannelGroup> {
        (0..self.layers)
            .map(|index| {
                let layer = format!("encoder.layers.encoder_layer_{index}.mlp");
                ChannelGroup::feed_forward(self.hidden, &format!("{layer}.0"), &format!("{layer}.3"))
            })
            .collect()
    }

    fn narrowed(&self, widths: Widths<'_>, device: &Device) -> Box<dyn Network> {
        boxed(self.init_with(widths, device), device)
    }

    fn narrowed_cost(&self, widths: Widths<'_>, inputs: &[InputSpec]) -> ModelCost {
        self.cost_with(widths, image_size(inputs))
    }
}

/// Self-attention with one projection for query, key and value.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `width` to `3 * width`.
    pub in_proj: Linear,
    /// `width` to `width`.
    pub out_proj: Linear,
    /// Attention heads.
    pub heads: usize,
}

impl SelfAttention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [query, key, value] = split_projection(self.in_proj.call(x));
        let context = multi_head_attention(query, key, value, self.heads, false);
        self.out_proj.call(context)
    }
}

/// The feed-forward part.
#[derive(Module, Debug)]
pub struct Mlp {
    /// `width` to `hidden`.
    pub linear_1: Linear,
    /// `hidden` to `width`.
    pub linear_2: Linear,
}

/// Norm, attention, norm, feed-forward, each pair around a shortcut.
#[derive(Module, Debug)]
pub struct EncoderLayer {
    /// Before the attention.
    pub ln_1: LayerNorm,
    /// The attention.
    pub self_attention: SelfAttention,
    /// Before the feed-forward part.
    pub ln_2: LayerNorm,
    /// The feed-forward part.
    pub mlp: Mlp,
}

impl EncoderLayer {
    /// `[batch, tokens, width]` to the same.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let normed = self.ln_1.call(x.clone());
        let x = module(&self.self_attention, || self.self_attention.forward(normed)) + x;
        let hidden = gelu(self.mlp.linear_1.call(self.ln_2.call(x.clone())));
        self.mlp.linear_2.call(hidden) + x
    }
}

/// The stack of layers.
#[derive(Module, Debug)]
pub struct Encoder {
    /// `[1, tokens, width]`.
    pub pos_embedding: Param<Tensor<3>>,
    /// The layers.
    pub layers: Vec<EncoderLayer>,
    /// After the last layer.
    pub ln: LayerNorm,
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct VisionTransformer {
    /// `[1, 1, width]`, the token that the classifier reads.
    pub class_token: Param<Tensor<3>>,
    /// Turns patches into tokens.
    pub conv_proj: Conv2d,
    /// The transformer.
    pub encoder: Encoder,
    /// The classifier.
    pub head: Linear,
    /// Height and width of the images.
    pub image: usize,
}

impl VisionTransformer {
    /// `[batch, 3, image, image]` to logits `[batch, classes]`.
    pub fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let patches: Tensor<3> = self
            .conv_proj
            .run(image) // [batch, width, rows, columns]
            .flatten::<3>(2, 3)
            .swap_dims(1, 2); // [batch, patches, width]
        let [batch, _, width] = patches.dims();
        let class = self.class_token.val().expand([batch, 1, width]);
        let mut x = Tensor::cat(vec![class, patches], 1) + self.encoder.pos_embedding.val();
        for layer in &self.encoder.layers {
            x = module(layer, || layer.forward(x)); // [batch, tokens, width]
        }
        // The norm works on every token by itself, so the class token's is enough.
        let class = self.encoder.ln.call(x.narrow(1, 0, 1));
        self.head.call(class.reshape([batch, width]))
    }
}

impl Architecture for VisionTransformer {
    type Features = Tensor<2>;

    fn features(&self, batch: &Batch) -> Result<Tensor<2>, ZooError> {
        Ok(self.forward(batch.image_of(self.image)?))
    }

    fn outputs(&self, logits: Tensor<2>) -> Vec<Output> {
        vec![Output::d2("logits", logits)]
    }

    fn loss(&self, logits: Tensor<2>, _batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        classification_loss(logits, targets)
    }

    fn reference_name(path: &str) -> String {
        let path = path
            .replace("encoder.layers.", "encoder.layers.encoder_layer_")
            .replace(".in_proj.", ".in_proj_")
            .replace(".mlp.linear_1.", ".mlp.0.")
            .replace(".mlp.linear_2.", ".mlp.3.");
        match path.strip_prefix("head.") {
            Some(rest) => format!("heads.head.{rest}"),
            None => path,
        }
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            // The published weights are older than torchvision's present names of the feed-forward part.
            renames: &[(".mlp.linear_1.", ".mlp.0."), (".mlp.linear_2.", ".mlp.3.")],
            ..Checkpoint::default()
        }
    }
}
