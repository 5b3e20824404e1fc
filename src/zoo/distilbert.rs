//! DistilBERT, a BERT of half the layers, without segments and pooler (Sanh et al. 2019).
//!
//! Reference: `DistilBertModel` of transformers with the sizes of `distilbert-base-uncased`: post-norm, epsilon
//! 1e-12, exact GELU. No token is padding. Dropout is left out.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor};

use super::activation::gelu;
use super::batch::{Batch, IDS, Output};
use super::blocks::{dense, layer_norm, leading_positions, masked_language_loss, multi_head_attention};
use super::channels::{ChannelGroup, Flexible, Widths};
use super::cost::{CostCounter, sequence_length};
use super::error::ZooError;
use super::layers::{Plain, embed};
use super::network::{Architecture, Network, boxed};
use super::observe::module;
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern, Prefix};
use crate::domain::model::{InputSpec, ModelCost};

/// Of all layer norms.
const EPSILON: f64 = 1e-12;

/// Sizes of a [`DistilBert`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistilBertConfig {
    /// Distinct tokens.
    pub vocabulary: usize,
    /// The longest sequence.
    pub positions: usize,
    /// Width of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub hidden: usize,
}

impl DistilBertConfig {
    /// `distilbert-base-uncased`.
    pub fn base_uncased() -> Self {
        Self { vocabulary: 30522, positions: 512, width: 768, heads: 12, layers: 6, hidden: 3072 }
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> DistilBert {
        self.init_with(Widths::default(), device)
    }

    fn init_with(&self, widths: Widths<'_>, device: &Device) -> DistilBert {
        let width = self.width;
        let table = |rows| EmbeddingConfig::new(rows, width).init(device);
        let layer = (0..self.layers)
            .map(|index| {
                let hidden = widths.of(index, self.hidden);
                DistilBertLayer {
                    attention: DistilBertAttention {
                        q_lin: dense(width, width, device),
                        k_lin: dense(width, width, device),
                        v_lin: dense(width, width, device),
                        out_lin: dense(width, width, device),
                        heads: self.heads,
                    },
                    sa_layer_norm: layer_norm(width, EPSILON, device),
                    ffn: FeedForward { lin1: dense(width, hidden, device), lin2: dense(hidden, width, device) },
                    output_layer_norm: layer_norm(width, EPSILON, device),
                }
            })
            .collect();
        DistilBert {
            embeddings: DistilBertEmbeddings {
                word_embeddings: table(self.vocabulary),
                position_embeddings: table(self.positions),
                layer_norm: layer_norm(width, EPSILON, device),
            },
            transformer: DistilBertEncoder { layer },
            positions: self.positions,
        }
    }

    /// The cost for a sequence of this length.
    pub fn cost(&self, sequence: usize) -> ModelCost {
        self.cost_with(Widths::default(), sequence)
    }

    fn cost_with(&self, widths: Widths<'_>, sequence: usize) -> ModelCost {
        let mut counter = CostCounter::new();
        counter.embedding(self.vocabulary, self.width);
        counter.embedding(self.positions, self.width);
        counter.norm(self.width);
        for index in 0..self.layers {
            let hidden = widths.of(index, self.hidden);
            counter.encoder_layer(sequence, self.width, self.heads, hidden);
        }
        counter.finish()
    }
}

impl Flexible for DistilBertConfig {
    /// The inside of every feed-forward part.
    fn groups(&self) -> Vec<ChannelGroup> {
        (0..self.layers)
            .map(|index| {
                let layer = format!("transformer.layer.{index}.ffn");
                ChannelGroup::feed_forward(self.hidden, &format!("{layer}.lin1"), &format!("{layer}.lin2"))
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

/// Words and positions, added and normalised.
#[derive(Module, Debug)]
pub struct DistilBertEmbeddings {
    /// `[vocabulary, width]`.
    pub word_embeddings: Embedding,
    /// `[positions, width]`.
    pub position_embeddings: Embedding,
    /// Of the sum.
    pub layer_norm: LayerNorm,
}

/// The four projections of the attention.
#[derive(Module, Debug)]
pub struct DistilBertAttention {
    /// Query, `width` to `width`.
    pub q_lin: Linear,
    /// Key, `width` to `width`.
    pub k_lin: Linear,
    /// Value, `width` to `width`.
    pub v_lin: Linear,
    /// After the heads, `width` to `width`.
    pub out_lin: Linear,
    /// Attention heads.
    pub heads: usize,
}

impl DistilBertAttention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let context = multi_head_attention(
            self.q_lin.call(x.clone()),
            self.k_lin.call(x.clone()),
            self.v_lin.call(x),
            self.heads,
            false,
        );
        self.out_lin.call(context)
    }
}

/// The feed-forward part.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// `width` to `hidden`.
    pub lin1: Linear,
    /// `hidden` to `width`.
    pub lin2: Linear,
}

/// Attention and feed-forward part, each with its norm behind it.
#[derive(Module, Debug)]
pub struct DistilBertLayer {
    /// The attention.
    pub attention: DistilBertAttention,
    /// Of the attention's sum with its input.
    pub sa_layer_norm: LayerNorm,
    /// The feed-forward part.
    pub ffn: FeedForward,
    /// Of the feed-forward part's sum with its input.
    pub output_layer_norm: LayerNorm,
}

impl DistilBertLayer {
    /// `[batch, sequence, width]` to the same.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let x = self.sa_layer_norm.call(module(&self.attention, || self.attention.forward(x.clone())) + x);
        let hidden = gelu(self.ffn.lin1.call(x.clone())); // [batch, sequence, hidden]
        self.output_layer_norm.call(self.ffn.lin2.call(hidden) + x)
    }
}

/// The stack of layers.
#[derive(Module, Debug)]
pub struct DistilBertEncoder {
    /// The layers.
    pub layer: Vec<DistilBertLayer>,
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct DistilBert {
    /// Tokens to vectors.
    pub embeddings: DistilBertEmbeddings,
    /// The transformer.
    pub transformer: DistilBertEncoder,
    /// The longest sequence.
    pub positions: usize,
}

impl DistilBert {
    /// `[batch, sequence]` to `[batch, sequence, width]`.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, sequence] = ids.dims();
        let words = embed(IDS, &self.embeddings.word_embeddings, ids);
        let positions = leading_positions(&self.embeddings.position_embeddings, sequence);
        let embedded = self.embeddings.layer_norm.call(words + positions);
        module(&self.transformer, || {
            self.transformer.layer.iter().fold(embedded, |x, layer| module(layer, || layer.forward(x)))
        })
    }
}

impl Architecture for DistilBert {
    type Features = Tensor<3>;

    fn features(&self, batch: &Batch) -> Result<Tensor<3>, ZooError> {
        Ok(self.forward(batch.ids(self.positions)?))
    }

    fn outputs(&self, hidden: Tensor<3>) -> Vec<Output> {
        vec![Output::d3("last_hidden_state", hidden)]
    }

    fn loss(&self, hidden: Tensor<3>, _batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        let table = self.embeddings.word_embeddings.weight.val();
        masked_language_loss(hidden, table, targets)
    }

    fn word_table(&self, input: &str) -> Option<Tensor<2>> {
        (input == IDS).then(|| self.embeddings.word_embeddings.weight.val())
    }

    fn reference_name(path: &str) -> String {
        path.replace(".layer_norm.", ".LayerNorm.")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            prefix: Some(Prefix::Stripped("distilbert.")),
            renames: &[(".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias")],
            ignored: &[Pattern::Start("vocab_"), Pattern::Name("embeddings.position_ids")],
        }
    }
}
