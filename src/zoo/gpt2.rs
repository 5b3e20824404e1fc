//! GPT-2, a causal language model (Radford et al., "Language models are unsupervised multitask learners", 2019).
//!
//! Reference: `GPT2LMHeadModel` of transformers with the sizes of `gpt2`: pre-norm, epsilon 1e-5, GELU by the
//! tanh approximation; the head is the transposed word embedding. Dropout is left out.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm};
use burn::tensor::module::linear;
use burn::tensor::{Device, Int, Tensor};

use super::activation::gelu_tanh;
use super::batch::{Batch, IDS, Output};
use super::blocks::{layer_norm, positions_from, split_heads, split_projection};
use super::channels::{ChannelGroup, Flexible, Widths};
use super::cost::{CostCounter, sequence_length};
use super::decoder::{DecoderOnly, causal_attention, logits_outputs, next_token_loss, through_layers};
use super::error::ZooError;
use super::generation::{KeyValue, Memory, Writer};
use super::layers::{Plain, embed, product};
use super::network::{Architecture, Network, boxed};
use super::observe::{self, Operator, module};
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern, Prefix};
use crate::domain::model::{InputSpec, ModelCost};

/// Of all layer norms.
const EPSILON: f64 = 1e-5;
/// Of the initial weights.
const STANDARD_DEVIATION: f64 = 0.02;

/// Sizes of a [`Gpt2`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpt2Config {
    /// Distinct tokens.
    pub vocabulary: usize,
    /// The longest sequence.
    pub positions: usize,
    /// Width of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Layers.
    pub layers: usize,
}

impl Gpt2Config {
    /// `gpt2`, the smallest of the four.
    pub fn small() -> Self {
        Self { vocabulary: 50257, positions: 1024, width: 768, heads: 12, layers: 12 }
    }

    /// Width inside the feed-forward part.
    fn hidden(&self) -> usize {
        4 * self.width
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> Gpt2 {
        self.init_with(Widths::default(), device)
    }

    fn init_with(&self, widths: Widths<'_>, device: &Device) -> Gpt2 {
        let width = self.width;
        let table = |rows| EmbeddingConfig::new(rows, width).init(device);
        let h = (0..self.layers)
            .map(|index| {
                let hidden = widths.of(index, self.hidden());
                Gpt2Layer {
                    ln_1: layer_norm(width, EPSILON, device),
                    attn: Gpt2Attention {
                        c_attn: Conv1D::new(width, 3 * width, device),
                        c_proj: Conv1D::new(width, width, device),
                        heads: self.heads,
                    },
                    ln_2: layer_norm(width, EPSILON, device),
                    mlp: Gpt2Mlp {
                        c_fc: Conv1D::new(width, hidden, device),
                        c_proj: Conv1D::new(hidden, width, device),
                    },
                }
            })
            .collect();
        Gpt2 {
            wte: table(self.vocabulary),
            wpe: table(self.positions),
            h,
            ln_f: layer_norm(width, EPSILON, device),
            positions: self.positions,
        }
    }

    /// The cost for a sequence of this length, with logits at every position.
    pub fn cost(&self, sequence: usize) -> ModelCost {
        self.cost_with(Widths::default(), sequence)
    }

    fn cost_with(&self, widths: Widths<'_>, sequence: usize) -> ModelCost {
        let mut counter = CostCounter::new();
        counter.embedding(self.vocabulary, self.width);
        counter.embedding(self.positions, self.width);
        for index in 0..self.layers {
            let hidden = widths.of(index, self.hidden());
            counter.encoder_layer(sequence, self.width, self.heads, hidden);
        }
        counter.norm(self.width);
        counter.matmul(sequence, self.width, self.vocabulary); // the head, its weights tied
        counter.finish()
    }
}

impl Flexible for Gpt2Config {
    /// The inside of every feed-forward part.
    fn groups(&self) -> Vec<ChannelGroup> {
        (0..self.layers)
            .map(|index| {
                let layer = format!("transformer.h.{index}.mlp");
                ChannelGroup::feed_forward(self.hidden(), &format!("{layer}.c_fc"), &format!("{layer}.c_proj"))
                    .transposed()
            })
            .collect()
    }

    fn narrowed(&self, widths: Widths<'_>, device: &Device) -> Box<dyn Network> {
        boxed(self.init_with(widths, device), device)
    }

    fn narrowed_cost(&self, widths: Widths<'_>, inputs: &[InputSpec]) -> ModelCost {
        self.cost_with(widths, sequence_length(inputs))
    }
}

/// A linear layer whose reference stores its weight as `[in, out]`, under the reference's name for it. Being no
/// Burn `Linear`, it is not transposed when it is loaded.
#[derive(Module, Debug)]
pub struct Conv1D {
    /// `[in, out]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Param<Tensor<1>>,
}

impl Conv1D {
    fn new(features_in: usize, features_out: usize, device: &Device) -> Self {
        let normal = Initializer::Normal { mean: 0.0, std: STANDARD_DEVIATION };
        Self {
            weight: normal.init([features_in, features_out], device),
            bias: Initializer::Zeros.init([features_out], device),
        }
    }

    /// `[batch, sequence, in]` to `[batch, sequence, out]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        observe::operator(
            Operator::Layer(self.weight.id),
            || product(self.weight.dims(), true).of_weight(&self.weight.val()),
            x,
            |x| linear(x, self.weight.val(), Some(self.bias.val())),
        )
    }
}

/// Causal self-attention with one projection for query, key and value.
#[derive(Module, Debug)]
pub struct Gpt2Attention {
    /// `width` to `3 * width`.
    pub c_attn: Conv1D,
    /// `width` to `width`.
    pub c_proj: Conv1D,
    /// Attention heads.
    pub heads: usize,
}

impl Gpt2Attention {
    fn forward(&self, x: Tensor<3>, own: Option<&mut KeyValue>) -> Tensor<3> {
        let projected = split_projection(self.c_attn.forward(x));
        let [query, key, value] = projected.map(|x| split_heads(x, self.heads)); // [batch, heads, sequence, head_width]
        let (key, value) = match own {
            Some(own) => own.append(key, value),
            None => (key, value),
        };
        self.c_proj.forward(causal_attention(query, key, value))
    }
}

/// The feed-forward part.
#[derive(Module, Debug)]
pub struct Gpt2Mlp {
    /// `width` to `4 * width`.
    pub c_fc: Conv1D,
    /// `4 * width` to `width`.
    pub c_proj: Conv1D,
}

/// Norm, attention, norm, feed-forward, each pair around a shortcut.
#[derive(Module, Debug)]
pub struct Gpt2Layer {
    /// Before the attention.
    pub ln_1: LayerNorm,
    /// The attention.
    pub attn: Gpt2Attention,
    /// Before the feed-forward part.
    pub ln_2: LayerNorm,
    /// The feed-forward part.
    pub mlp: Gpt2Mlp,
}

impl Gpt2Layer {
    /// `[batch, sequence, width]` to the same; with a memory, of positions after those that it has.
    pub fn forward(&self, x: Tensor<3>, own: Option<&mut KeyValue>) -> Tensor<3> {
        let normed = self.ln_1.call(x.clone());
        let x = module(&self.attn, || self.attn.forward(normed, own)) + x;
        let hidden = gelu_tanh(self.mlp.c_fc.forward(self.ln_2.call(x.clone())));
        self.mlp.c_proj.forward(hidden) + x
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct Gpt2 {
    /// Words, `[vocabulary, width]`; also the head.
    pub wte: Embedding,
    /// Positions, `[positions, width]`.
    pub wpe: Embedding,
    /// The layers.
    pub h: Vec<Gpt2Layer>,
    /// After the last layer.
    pub ln_f: LayerNorm,
    /// The longest sequence.
    pub positions: usize,
}

impl DecoderOnly for Gpt2 {
    fn positions(&self) -> usize {
        self.positions
    }

    fn layers(&self, ids: Tensor<2, Int>, memory: Option<&mut Memory>) -> Tensor<3> {
        let [_, sequence] = ids.dims();
        let start = memory.as_deref().map_or(0, |memory| memory.length);
        let x = embed(IDS, &self.wte, ids) + positions_from(&self.wpe, start, sequence);
        through_layers(&self.h, x, memory, |layer, x, own| module(layer, || layer.forward(x, own)))
    }

    fn normalised<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        self.ln_f.call(hidden)
    }

    fn words(&self) -> Tensor<2> {
        self.wte.weight.val()
    }
}

impl Architecture for Gpt2 {
    type Features = Tensor<3>;

    fn features(&self, batch: &Batch) -> Result<Tensor<3>, ZooError> {
        Ok(self.logits(batch.ids(self.positions)?))
    }

    fn outputs(&self, logits: Tensor<3>) -> Vec<Output> {
        logits_outputs(logits)
    }

    fn loss(&self, logits: Tensor<3>, batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        next_token_loss(logits, batch.ids(self.positions)?, targets)
    }

    fn writer(&self) -> Option<&dyn Writer> {
        Some(self)
    }

    fn word_table(&self, input: &str) -> Option<Tensor<2>> {
        (input == IDS).then(|| self.words())
    }

    fn reference_name(path: &str) -> String {
        format!("transformer.{path}")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            prefix: Some(Prefix::Added("transformer.")),
            renames: &[],
            ignored: &[
                // The causal mask, which old versions of transformers kept as a buffer.
                Pattern::End(".attn.bias"),
                Pattern::End(".attn.masked_bias"),
                // Tied to `wte.weight`.
                Pattern::Name("lm_head.weight"),
            ],
        }
    }
}
