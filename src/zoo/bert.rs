//! BERT, an encoder of text (Devlin et al., "BERT", 2019).
//!
//! Reference: `BertModel` of transformers with the sizes of `bert-base-uncased`: post-norm, epsilon 1e-12, exact
//! GELU. All tokens are of type 0 and none is padding. Dropout is left out.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor};

use super::activation::{gelu, tanh};
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

/// Sizes of a [`Bert`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BertConfig {
    /// Distinct tokens.
    pub vocabulary: usize,
    /// The longest sequence.
    pub positions: usize,
    /// Kinds of segments.
    pub token_types: usize,
    /// Width of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Encoder layers.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub hidden: usize,
}

impl BertConfig {
    /// `bert-base-uncased`.
    pub fn base_uncased() -> Self {
        Self { vocabulary: 30522, positions: 512, token_types: 2, width: 768, heads: 12, layers: 12, hidden: 3072 }
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> Bert {
        self.init_with(Widths::default(), device)
    }

    fn init_with(&self, widths: Widths<'_>, device: &Device) -> Bert {
        let width = self.width;
        let table = |rows| EmbeddingConfig::new(rows, width).init(device);
        let layer = (0..self.layers)
            .map(|index| {
                let hidden = widths.of(index, self.hidden);
                BertLayer {
                    attention: BertAttention {
                        self_attention: BertSelfAttention {
                            query: dense(width, width, device),
                            key: dense(width, width, device),
                            value: dense(width, width, device),
                            heads: self.heads,
                        },
                        output: BertOutput {
                            dense: dense(width, width, device),
                            layer_norm: layer_norm(width, EPSILON, device),
                        },
                    },
                    intermediate: BertDense { dense: dense(width, hidden, device) },
                    output: BertOutput {
                        dense: dense(hidden, width, device),
                        layer_norm: layer_norm(width, EPSILON, device),
                    },
                }
            })
            .collect();
        Bert {
            embeddings: BertEmbeddings {
                word_embeddings: table(self.vocabulary),
                position_embeddings: table(self.positions),
                token_type_embeddings: table(self.token_types),
                layer_norm: layer_norm(width, EPSILON, device),
            },
            encoder: BertEncoder { layer },
            pooler: BertDense { dense: dense(width, width, device) },
            positions: self.positions,
        }
    }

    /// The cost for a sequence of this length, the pooler included.
    pub fn cost(&self, sequence: usize) -> ModelCost {
        self.cost_with(Widths::default(), sequence)
    }

    fn cost_with(&self, widths: Widths<'_>, sequence: usize) -> ModelCost {
        let mut counter = CostCounter::new();
        counter.embedding(self.vocabulary, self.width);
        counter.embedding(self.positions, self.width);
        counter.embedding(self.token_types, self.width);
        counter.norm(self.width);
        for index in 0..self.layers {
            let hidden = widths.of(index, self.hidden);
            counter.encoder_layer(sequence, self.width, self.heads, hidden);
        }
        counter.linear(1, self.width, self.width); // pooler
        counter.finish()
    }
}

impl Flexible for BertConfig {
    /// The inside of every feed-forward part.
    fn groups(&self) -> Vec<ChannelGroup> {
        (0..self.layers)
            .map(|index| {
                let layer = format!("encoder.layer.{index}");
                ChannelGroup::feed_forward(
                    self.hidden,
                    &format!("{layer}.intermediate.dense"),
                    &format!("{layer}.output.dense"),
                )
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

/// Words, positions and segments, added and normalised.
#[derive(Module, Debug)]
pub struct BertEmbeddings {
    /// `[vocabulary, width]`.
    pub word_embeddings: Embedding,
    /// `[positions, width]`.
    pub position_embeddings: Embedding,
    /// `[token_types, width]`.
    pub token_type_embeddings: Embedding,
    /// Of the sum.
    pub layer_norm: LayerNorm,
}

impl BertEmbeddings {
    /// `[batch, sequence]` to `[batch, sequence, width]`.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, sequence] = ids.dims();
        let positions = leading_positions(&self.position_embeddings, sequence);
        let types = leading_positions(&self.token_type_embeddings, 1); // [1, 1, width]
        let x = embed(IDS, &self.word_embeddings, ids) + (positions + types);
        self.layer_norm.call(x)
    }
}

/// The three projections of the attention.
#[derive(Module, Debug)]
pub struct BertSelfAttention {
    /// `width` to `width`.
    pub query: Linear,
    /// `width` to `width`.
    pub key: Linear,
    /// `width` to `width`.
    pub value: Linear,
    /// Attention heads.
    pub heads: usize,
}

/// A linear layer, and the norm of its sum with a shortcut.
#[derive(Module, Debug)]
pub struct BertOutput {
    /// To `width`.
    pub dense: Linear,
    /// Of the sum.
    pub layer_norm: LayerNorm,
}

impl BertOutput {
    fn forward(&self, x: Tensor<3>, shortcut: Tensor<3>) -> Tensor<3> {
        self.layer_norm.call(self.dense.call(x) + shortcut)
    }
}

/// A linear layer by itself.
#[derive(Module, Debug)]
pub struct BertDense {
    /// The layer.
    pub dense: Linear,
}

/// Attention and its output.
#[derive(Module, Debug)]
pub struct BertAttention {
    /// The projections.
    pub self_attention: BertSelfAttention,
    /// After the heads.
    pub output: BertOutput,
}

/// Attention and feed-forward part, each with its norm behind it.
#[derive(Module, Debug)]
pub struct BertLayer {
    /// The attention.
    pub attention: BertAttention,
    /// `width` to `hidden`.
    pub intermediate: BertDense,
    /// `hidden` to `width`.
    pub output: BertOutput,
}

impl BertLayer {
    /// `[batch, sequence, width]` to the same.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let project = &self.attention.self_attention;
        let context = multi_head_attention(
            project.query.call(x.clone()),
            project.key.call(x.clone()),
            project.value.call(x.clone()),
            project.heads,
            false,
        );
        let x = module(&self.attention.output, || self.attention.output.forward(context, x));
        let hidden = gelu(self.intermediate.dense.call(x.clone())); // [batch, sequence, hidden]
        module(&self.output, || self.output.forward(hidden, x))
    }
}

/// The stack of layers.
#[derive(Module, Debug)]
pub struct BertEncoder {
    /// The layers.
    pub layer: Vec<BertLayer>,
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct Bert {
    /// Tokens to vectors.
    pub embeddings: BertEmbeddings,
    /// The transformer.
    pub encoder: BertEncoder,
    /// Reads the first token.
    pub pooler: BertDense,
    /// The longest sequence.
    pub positions: usize,
}

impl Bert {
    /// `[batch, sequence]` to `[batch, sequence, width]`.
    pub fn forward(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let embedded = module(&self.embeddings, || self.embeddings.forward(ids));
        module(&self.encoder, || {
            self.encoder.layer.iter().fold(embedded, |x, layer| module(layer, || layer.forward(x)))
        })
    }

    /// What the first token says of the sequence: `[batch, sequence, width]` to `[batch, width]`.
    pub fn pool(&self, hidden: Tensor<3>) -> Tensor<2> {
        let [batch, _, width] = hidden.dims();
        let first = hidden.narrow(1, 0, 1).reshape([batch, width]);
        tanh(self.pooler.dense.call(first))
    }
}

impl Architecture for Bert {
    type Features = Tensor<3>;

    fn features(&self, batch: &Batch) -> Result<Tensor<3>, ZooError> {
        Ok(self.forward(batch.ids(self.positions)?))
    }

    fn outputs(&self, hidden: Tensor<3>) -> Vec<Output> {
        vec![Output::d3("last_hidden_state", hidden.clone()), Output::d2("pooler_output", self.pool(hidden))]
    }

    /// The pooler plays no part in it, so training leaves its weights alone.
    fn loss(&self, hidden: Tensor<3>, _batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        let table = self.embeddings.word_embeddings.weight.val();
        masked_language_loss(hidden, table, targets)
    }

    fn word_table(&self, input: &str) -> Option<Tensor<2>> {
        (input == IDS).then(|| self.embeddings.word_embeddings.weight.val())
    }

    fn reference_name(path: &str) -> String {
        path.replace(".self_attention.", ".self.").replace(".layer_norm.", ".LayerNorm.")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            prefix: Some(Prefix::Stripped("bert.")),
            renames: &[(".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias")],
            ignored: &[Pattern::Start("cls."), Pattern::Name("embeddings.position_ids")],
        }
    }
}
