//! T5, an encoder and a decoder of text (Raffel et al., "Exploring the limits of transfer learning with a unified
//! text-to-text transformer", 2020).
//!
//! Reference: `T5ForConditionalGeneration` of transformers with the sizes of `t5-small`, version 1.0: pre-norm by root
//! mean square, attention whose scores are not scaled and get a bias by relative position, ReLU, no biases in linear
//! layers; the head is the transposed word embedding and reads hidden states times `width^-0.5`. Every token counts,
//! none is padding. Dropout is left out, and so is what the reference does in half precision alone: it clamps
//! infinities and keeps one weight of the feed-forward part in fp32.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, RmsNorm};
use burn::tensor::{Device, Int, Tensor};

use super::activation::relu;
use super::batch::{Batch, DECODER_IDS, IDS, Output};
use super::blocks::{join_heads, projection, rms_norm, split_heads, tied_logits};
use super::cost::CostCounter;
use super::decoder::{last_position, logits_outputs, next_token_loss, tied_logits_everywhere};
use super::error::ZooError;
use super::generation::{KeyValue, LayerMemory, Memory, Writer};
use super::hooks::{AttentionCall, AttentionKind};
use super::layers::{Plain, attend, embed, look_up};
use super::network::Architecture;
use super::observe::module;
use super::t5_positions::T5Positions;
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern};
use crate::domain::model::ModelCost;

/// Of all norms.
const EPSILON: f64 = 1e-6;

/// Sizes of a [`T5`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct T5Config {
    /// Distinct tokens.
    pub vocabulary: usize,
    /// The longest text, read or written. Relative positions know no end; this is what the published file says.
    pub positions: usize,
    /// Width of a token.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Width of one of them; together they need not be as wide as a token.
    pub head_width: usize,
    /// Layers of the encoder, and of the decoder.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub hidden: usize,
    /// Classes of relative positions; a multiple of four.
    pub buckets: usize,
    /// The distance from which on all positions are of one class.
    pub max_distance: usize,
}

impl T5Config {
    /// `t5-small`.
    pub fn small() -> Self {
        Self {
            vocabulary: 32128,
            positions: 512,
            width: 512,
            heads: 8,
            head_width: 64,
            layers: 6,
            hidden: 2048,
            buckets: 32,
            max_distance: 128,
        }
    }

    /// The width of all heads.
    fn inner(&self) -> usize {
        self.heads * self.head_width
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> T5 {
        let norm = || rms_norm(self.width, EPSILON, device);
        let attention = || T5Attention {
            norm: norm(),
            q: projection(self.width, self.inner(), device),
            k: projection(self.width, self.inner(), device),
            v: projection(self.width, self.inner(), device),
            o: projection(self.inner(), self.width, device),
            heads: self.heads,
        };
        let feed_forward = || T5FeedForward {
            norm: norm(),
            wi: projection(self.width, self.hidden, device),
            wo: projection(self.hidden, self.width, device),
        };
        let positions = || T5Positions::new(self.buckets, self.heads, self.max_distance, device);
        T5 {
            shared: EmbeddingConfig::new(self.vocabulary, self.width).init(device),
            encoder: T5Encoder {
                positions: positions(),
                block: (0..self.layers)
                    .map(|_| T5EncoderLayer { self_attention: attention(), feed_forward: feed_forward() })
                    .collect(),
                final_layer_norm: norm(),
            },
            decoder: T5Decoder {
                positions: positions(),
                block: (0..self.layers)
                    .map(|_| T5DecoderLayer {
                        self_attention: attention(),
                        cross_attention: attention(),
                        feed_forward: feed_forward(),
                    })
                    .collect(),
                final_layer_norm: norm(),
            },
            positions: self.positions,
        }
    }

    /// The cost for `sequence` tokens read and `written` ones of the decoder, with logits at every position of these.
    pub fn cost(&self, sequence: usize, written: usize) -> ModelCost {
        let mut counter = CostCounter::new();
        counter.embedding(self.vocabulary, self.width);
        counter.embedding(self.buckets, self.heads);
        counter.embedding(self.buckets, self.heads);
        for _ in 0..self.layers {
            self.count_attention(&mut counter, sequence, sequence);
            self.count_feed_forward(&mut counter, sequence);
        }
        counter.rms_norm(self.width);
        for _ in 0..self.layers {
            self.count_attention(&mut counter, written, written);
            self.count_attention(&mut counter, written, sequence);
            self.count_feed_forward(&mut counter, written);
        }
        counter.rms_norm(self.width);
        counter.matmul(written, self.width, self.vocabulary); // the head, its weights tied
        counter.finish()
    }

    fn count_attention(&self, counter: &mut CostCounter, queries: usize, keys: usize) {
        counter.rms_norm(self.width);
        counter.projection(queries, self.width, self.inner()); // query
        counter.projection(keys, self.width, self.inner()); // key
        counter.projection(keys, self.width, self.inner()); // value
        counter.cross_attention(queries, keys, self.inner(), self.heads);
        counter.projection(queries, self.inner(), self.width); // output
    }

    fn count_feed_forward(&self, counter: &mut CostCounter, rows: usize) {
        counter.rms_norm(self.width);
        counter.projection(rows, self.width, self.hidden);
        counter.projection(rows, self.hidden, self.width);
    }
}

/// Attention without a scale, and the norm before it.
#[derive(Module, Debug)]
pub struct T5Attention {
    /// Of what it queries with; keys and values of the encoder are normalised already.
    pub norm: RmsNorm,
    /// `width` to `heads * head_width`.
    pub q: Linear,
    /// `width` to `heads * head_width`.
    pub k: Linear,
    /// `width` to `heads * head_width`.
    pub v: Linear,
    /// `heads * head_width` to `width`.
    pub o: Linear,
    /// Attention heads.
    pub heads: usize,
}

impl T5Attention {
    /// `[batch, keys, width]` to keys and values, each `[batch, heads, keys, head_width]`.
    fn key_value(&self, x: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        let key = split_heads(self.k.call(x.clone()), self.heads);
        (key, split_heads(self.v.call(x), self.heads))
    }

    /// What `[batch, queries, width]` gets from keys and values; with a bias `[1, heads, queries, keys]`.
    fn attend(
        &self,
        normed: Tensor<3>,
        (key, value): (Tensor<4>, Tensor<4>),
        bias: Option<Tensor<4>>,
        causal: bool,
    ) -> Tensor<3> {
        let query = split_heads(self.q.call(normed), self.heads);
        // Only positions of one and the same sequence have distances.
        let kind = if bias.is_some() { AttentionKind::Own } else { AttentionKind::Cross };
        self.o.call(join_heads(attend(AttentionCall { kind, query, key, value, bias, scale: Some(1.0), causal })))
    }
}

/// The feed-forward part, and the norm before it.
#[derive(Module, Debug)]
pub struct T5FeedForward {
    /// Before it.
    pub norm: RmsNorm,
    /// `width` to `hidden`.
    pub wi: Linear,
    /// `hidden` to `width`.
    pub wo: Linear,
}

impl T5FeedForward {
    /// `[batch, sequence, width]` to the same, the shortcut included.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let hidden = relu(self.wi.call(self.norm.call(x.clone()))); // [batch, sequence, hidden]
        self.wo.call(hidden) + x
    }
}

/// Self-attention and feed-forward part, each around a shortcut.
#[derive(Module, Debug)]
pub struct T5EncoderLayer {
    /// To the whole text.
    pub self_attention: T5Attention,
    /// The feed-forward part.
    pub feed_forward: T5FeedForward,
}

impl T5EncoderLayer {
    fn forward(&self, x: Tensor<3>, bias: Tensor<4>) -> Tensor<3> {
        let normed = self.self_attention.norm.call(x.clone());
        let key_value = self.self_attention.key_value(normed.clone());
        let x = self.self_attention.attend(normed, key_value, Some(bias), false) + x;
        module(&self.feed_forward, || self.feed_forward.forward(x))
    }
}

/// Self-attention, attention to the encoder's output, feed-forward part, each around a shortcut.
#[derive(Module, Debug)]
pub struct T5DecoderLayer {
    /// To what was written so far.
    pub self_attention: T5Attention,
    /// To what was read.
    pub cross_attention: T5Attention,
    /// The feed-forward part.
    pub feed_forward: T5FeedForward,
}

impl T5DecoderLayer {
    /// `[batch, sequence, width]` to the same, of positions after those that `memory` has.
    fn forward(&self, x: Tensor<3>, bias: Tensor<4>, memory: &mut LayerMemory) -> Tensor<3> {
        let [_, queries, _] = x.dims();
        let normed = self.self_attention.norm.call(x.clone());
        let (key, value) = self.self_attention.key_value(normed.clone());
        let key_value = memory.own.append(key, value);
        // A single query is the last position, and nothing comes after it.
        let mut x = self.self_attention.attend(normed, key_value, Some(bias), queries > 1) + x;
        if let Some(key_value) = memory.encoder.get() {
            let normed = self.cross_attention.norm.call(x.clone());
            x = self.cross_attention.attend(normed, key_value, None, false) + x;
        }
        module(&self.feed_forward, || self.feed_forward.forward(x))
    }
}

/// The stack that reads.
#[derive(Module, Debug)]
pub struct T5Encoder {
    /// Of the self-attention, in both directions.
    pub positions: T5Positions,
    /// The layers.
    pub block: Vec<T5EncoderLayer>,
    /// After the last layer.
    pub final_layer_norm: RmsNorm,
}

impl T5Encoder {
    /// `[batch, sequence, width]` to the same.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, sequence, _] = x.dims();
        let bias = self.positions.bias(0, sequence, true);
        let x = self.block.iter().fold(x, |x, layer| module(layer, || layer.forward(x, bias.clone())));
        self.final_layer_norm.call(x)
    }
}

/// The stack that writes.
#[derive(Module, Debug)]
pub struct T5Decoder {
    /// Of the self-attention, to the past alone.
    pub positions: T5Positions,
    /// The layers.
    pub block: Vec<T5DecoderLayer>,
    /// After the last layer.
    pub final_layer_norm: RmsNorm,
}

impl T5Decoder {
    /// Keys and values that every layer makes of the encoder's output, `[batch, sequence, width]`; nothing written yet.
    fn memory(&self, encoded: &Tensor<3>) -> Memory {
        let layers = self.block.iter().map(|layer| {
            let (key, value) = layer.cross_attention.key_value(encoded.clone());
            LayerMemory { encoder: KeyValue::new(key, value), ..LayerMemory::default() }
        });
        Memory { length: 0, layers: layers.collect() }
    }

    /// All layers but the last norm: `[batch, sequence, width]`, after what `memory` has, to the same.
    fn layers(&self, mut x: Tensor<3>, memory: &mut Memory) -> Tensor<3> {
        let [_, sequence, _] = x.dims();
        let bias = self.positions.bias(memory.length, sequence, false);
        for (index, layer) in self.block.iter().enumerate() {
            x = module(layer, || layer.forward(x, bias.clone(), memory.layer(index)));
        }
        memory.length += sequence;
        x
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct T5 {
    /// Words of both stacks, `[vocabulary, width]`; also the head.
    pub shared: Embedding,
    /// The stack that reads.
    pub encoder: T5Encoder,
    /// The stack that writes.
    pub decoder: T5Decoder,
    /// The longest text.
    pub positions: usize,
}

impl T5 {
    /// `[batch, sequence]` read and `[batch, written]` written so far to logits `[batch, written, vocabulary]`.
    pub fn forward(&self, ids: Tensor<2, Int>, decoder_ids: Tensor<2, Int>) -> Tensor<3> {
        let mut memory = self.encode(ids);
        let x = self.decoder.layers(embed(DECODER_IDS, &self.shared, decoder_ids), &mut memory);
        tied_logits_everywhere(self.scaled(self.decoder.final_layer_norm.call(x)), self.shared.weight.val())
    }

    /// Runs the encoder: `[batch, sequence]` to a memory in which nothing is written yet.
    fn encode(&self, ids: Tensor<2, Int>) -> Memory {
        self.decoder.memory(&self.encoded(embed(IDS, &self.shared, ids)))
    }

    fn encoded(&self, words: Tensor<3>) -> Tensor<3> {
        module(&self.encoder, || self.encoder.forward(words))
    }

    /// What the head reads.
    fn scaled<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        let [_, width] = self.shared.weight.shape().dims();
        hidden * (width as f64).powf(-0.5)
    }

    /// Writes on, and answers the logits after the last token: `[batch, sequence]` to `[batch, vocabulary]`.
    fn write_on(&self, decoder_ids: Tensor<2, Int>, memory: &mut Memory) -> Tensor<2> {
        let last = last_position(self.decoder.layers(look_up(&self.shared, decoder_ids), memory));
        tied_logits(self.scaled(self.decoder.final_layer_norm.call(last)), self.shared.weight.val())
    }

    /// What is read and what is written so far.
    fn inputs(&self, batch: &Batch) -> Result<[Tensor<2, Int>; 2], ZooError> {
        Ok([batch.ids(self.positions)?, batch.decoder_ids(self.positions)?])
    }
}

impl Writer for T5 {
    fn read(&self, batch: &Batch) -> Result<(Tensor<2>, Memory), ZooError> {
        let [ids, decoder_ids] = self.inputs(batch)?;
        let mut memory = self.encode(ids);
        let logits = self.write_on(decoder_ids, &mut memory);
        Ok((logits, memory))
    }

    fn append(&self, tokens: Tensor<2, Int>, memory: &mut Memory) -> Result<Tensor<2>, ZooError> {
        memory.check_append(&tokens, self.positions)?;
        Ok(self.write_on(tokens, memory))
    }
}

impl Architecture for T5 {
    type Features = Tensor<3>;

    fn features(&self, batch: &Batch) -> Result<Tensor<3>, ZooError> {
        let [ids, decoder_ids] = self.inputs(batch)?;
        Ok(self.forward(ids, decoder_ids))
    }

    fn outputs(&self, logits: Tensor<3>) -> Vec<Output> {
        logits_outputs(logits)
    }

    fn loss(&self, logits: Tensor<3>, batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError> {
        next_token_loss(logits, batch.decoder_ids(self.positions)?, targets)
    }

    fn writer(&self) -> Option<&dyn Writer> {
        Some(self)
    }

    fn word_table(&self, input: &str) -> Option<Tensor<2>> {
        (input == IDS || input == DECODER_IDS).then(|| self.shared.weight.val())
    }

    /// The reference numbers the parts of a layer, and keeps the table of positions in the first layer of a stack.
    fn reference_name(path: &str) -> String {
        let feed_forward = if path.starts_with("encoder.") { ".layer.1" } else { ".layer.2" };
        path.replace(".positions.table.", ".block.0.layer.0.SelfAttention.relative_attention_bias.")
            .replace(".self_attention.norm.", ".layer.0.layer_norm.")
            .replace(".self_attention.", ".layer.0.SelfAttention.")
            .replace(".cross_attention.norm.", ".layer.1.layer_norm.")
            .replace(".cross_attention.", ".layer.1.EncDecAttention.")
            .replace(".feed_forward.norm.", &format!("{feed_forward}.layer_norm."))
            .replace(".feed_forward.", &format!("{feed_forward}.DenseReluDense."))
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            prefix: None,
            renames: &[],
            ignored: &[
                // Tied to `shared.weight`.
                Pattern::Name("encoder.embed_tokens.weight"),
                Pattern::Name("decoder.embed_tokens.weight"),
                Pattern::Name("lm_head.weight"),
                // The published files hold it, and no implementation reads it.
                Pattern::Name("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"),
            ],
        }
    }
}
