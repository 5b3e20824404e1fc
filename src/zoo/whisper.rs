//! Whisper, speech recognition: an encoder of sound and a decoder that writes text (Radford et al., "Robust speech
//! recognition via large-scale weak supervision", 2022).
//!
//! Reference: `WhisperForConditionalGeneration` of transformers with the sizes of `openai/whisper-tiny`: pre-norm,
//! epsilon 1e-5, exact GELU, keys without bias; the head is the transposed word embedding. The encoder always reads 30
//! seconds of sound, and its positions are fixed sinusoids, which no training moves. Dropout is left out.

use burn::module::Module;
use burn::nn::conv::Conv1d;
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, Linear};
use burn::tensor::{Device, Int, Tensor};

use super::activation::gelu;
use super::batch::{Batch, DECODER_IDS, Output};
use super::blocks::{
    conv1d, dense, join_heads, layer_norm, leading_positions, multi_head_attention, positions_from, projection,
    split_heads, tied_logits,
};
use super::cost::{ConvShape, CostCounter};
use super::decoder::{causal_attention, last_position, logits_outputs, next_token_loss, tied_logits_everywhere};
use super::error::ZooError;
use super::generation::{KeyValue, LayerMemory, Memory, Writer};
use super::hooks::{AttentionCall, AttentionKind};
use super::layers::{Layer, Plain, attend, embed};
use super::network::Architecture;
use super::observe::module;
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern, Prefix};
use crate::domain::model::ModelCost;

/// Of all layer norms.
const EPSILON: f64 = 1e-5;

/// Sizes of a [`Whisper`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WhisperConfig {
    /// Distinct tokens.
    pub vocabulary: usize,
    /// Frequency bins of the spectrogram.
    pub bins: usize,
    /// What the encoder writes: half as many positions as the spectrogram has frames.
    pub encoder_positions: usize,
    /// The longest text.
    pub decoder_positions: usize,
    /// Width of a position.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Layers of the encoder, and of the decoder.
    pub layers: usize,
    /// Width inside the feed-forward parts.
    pub hidden: usize,
}

impl WhisperConfig {
    /// `whisper-tiny`, the multilingual one.
    pub fn tiny() -> Self {
        Self {
            vocabulary: 51865,
            bins: 80,
            encoder_positions: 1500,
            decoder_positions: 448,
            width: 384,
            heads: 6,
            layers: 4,
            hidden: 1536,
        }
    }

    /// The two convolutions before the encoder; the second halves the frames.
    fn convolutions(&self) -> [ConvShape; 2] {
        let of = |channels_in, stride| ConvShape::new(channels_in, self.width, 3, stride).with_bias();
        [of(self.bins, 1), of(self.width, 2)]
    }

    fn attention(&self, device: &Device) -> WhisperAttention {
        let width = self.width;
        WhisperAttention {
            k_proj: projection(width, width, device),
            v_proj: dense(width, width, device),
            q_proj: dense(width, width, device),
            out_proj: dense(width, width, device),
            heads: self.heads,
        }
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> Whisper {
        let (width, hidden) = (self.width, self.hidden);
        let table = |rows| EmbeddingConfig::new(rows, width).init(device);
        let norm = || layer_norm(width, EPSILON, device);
        let encoder_layers = (0..self.layers).map(|_| WhisperEncoderLayer {
            self_attn: self.attention(device),
            self_attn_layer_norm: norm(),
            fc1: dense(width, hidden, device),
            fc2: dense(hidden, width, device),
            final_layer_norm: norm(),
        });
        let decoder_layers = (0..self.layers).map(|_| WhisperDecoderLayer {
            self_attn: self.attention(device),
            self_attn_layer_norm: norm(),
            encoder_attn: self.attention(device),
            encoder_attn_layer_norm: norm(),
            fc1: dense(width, hidden, device),
            fc2: dense(hidden, width, device),
            final_layer_norm: norm(),
        });
        let [conv1, conv2] = self.convolutions().map(|shape| conv1d(shape, device));
        Whisper {
            encoder: WhisperEncoder {
                conv1,
                conv2,
                embed_positions: table(self.encoder_positions).no_grad(),
                layers: encoder_layers.collect(),
                layer_norm: norm(),
            },
            decoder: WhisperDecoder {
                embed_tokens: table(self.vocabulary),
                embed_positions: table(self.decoder_positions),
                layers: decoder_layers.collect(),
                layer_norm: norm(),
            },
            bins: self.bins,
            frames: 2 * self.encoder_positions,
            positions: self.decoder_positions,
        }
    }

    /// The cost for a spectrogram of `frames` and a text of `sequence` tokens, with logits at each of them.
    pub fn cost(&self, frames: usize, sequence: usize) -> ModelCost {
        let width = self.width;
        let mut counter = CostCounter::new();
        let heard = self.convolutions().into_iter().fold(frames, |length, shape| counter.conv1d(shape, length));
        counter.embedding(self.encoder_positions, width);
        for _ in 0..self.layers {
            self.count_attention(&mut counter, heard, heard);
            self.count_feed_forward(&mut counter, heard);
        }
        counter.norm(width);
        counter.embedding(self.vocabulary, width);
        counter.embedding(self.decoder_positions, width);
        for _ in 0..self.layers {
            self.count_attention(&mut counter, sequence, sequence);
            self.count_attention(&mut counter, sequence, heard);
            self.count_feed_forward(&mut counter, sequence);
        }
        counter.norm(width);
        counter.matmul(sequence, width, self.vocabulary); // the head, its weights tied
        counter.finish()
    }

    /// The norm, the four projections, and the two products between them.
    fn count_attention(&self, counter: &mut CostCounter, queries: usize, keys: usize) {
        let width = self.width;
        counter.norm(width);
        counter.linear(queries, width, width); // query
        counter.projection(keys, width, width); // key
        counter.linear(keys, width, width); // value
        counter.cross_attention(queries, keys, width, self.heads);
        counter.linear(queries, width, width); // back
    }

    fn count_feed_forward(&self, counter: &mut CostCounter, rows: usize) {
        counter.norm(self.width);
        counter.linear(rows, self.width, self.hidden);
        counter.linear(rows, self.hidden, self.width);
    }
}

/// The four projections of an attention.
#[derive(Module, Debug)]
pub struct WhisperAttention {
    /// `width` to `width`, without bias.
    pub k_proj: Linear,
    /// `width` to `width`.
    pub v_proj: Linear,
    /// `width` to `width`.
    pub q_proj: Linear,
    /// `width` to `width`, after the heads.
    pub out_proj: Linear,
    /// Attention heads.
    pub heads: usize,
}

impl WhisperAttention {
    /// Of every position to every other: `[batch, positions, width]` to the same.
    fn self_attention(&self, x: Tensor<3>) -> Tensor<3> {
        let query = self.q_proj.call(x.clone());
        let key = self.k_proj.call(x.clone());
        self.out_proj.call(multi_head_attention(query, key, self.v_proj.call(x), self.heads, false))
    }

    /// Keys and values of `[batch, positions, width]`, each `[batch, heads, positions, head_width]`.
    fn keys_and_values(&self, x: Tensor<3>) -> (Tensor<4>, Tensor<4>) {
        let key = self.k_proj.call(x.clone());
        (split_heads(key, self.heads), split_heads(self.v_proj.call(x), self.heads))
    }

    /// Of the last positions, `[batch, sequence, width]`, to themselves and those before them, whose keys and values
    /// are in `written`, to which theirs are appended.
    fn causal_self_attention(&self, x: Tensor<3>, written: &mut KeyValue) -> Tensor<3> {
        let query = split_heads(self.q_proj.call(x.clone()), self.heads);
        let (key, value) = self.keys_and_values(x);
        let (key, value) = written.append(key, value);
        self.out_proj.call(causal_attention(query, key, value))
    }

    /// Of `[batch, sequence, width]` to other positions, whose keys and values are given.
    fn cross_attention(&self, x: Tensor<3>, (key, value): (Tensor<4>, Tensor<4>)) -> Tensor<3> {
        let query = split_heads(self.q_proj.call(x), self.heads);
        let kind = AttentionKind::Cross;
        let call = AttentionCall { kind, query, key, value, bias: None, scale: None, causal: false };
        self.out_proj.call(join_heads(attend(call)))
    }
}

/// Norm, attention, norm, feed-forward, each pair around a shortcut.
#[derive(Module, Debug)]
pub struct WhisperEncoderLayer {
    /// The attention.
    pub self_attn: WhisperAttention,
    /// Before the attention.
    pub self_attn_layer_norm: LayerNorm,
    /// `width` to `hidden`.
    pub fc1: Linear,
    /// `hidden` to `width`.
    pub fc2: Linear,
    /// Before the feed-forward part.
    pub final_layer_norm: LayerNorm,
}

impl WhisperEncoderLayer {
    /// `[batch, positions, width]` to the same.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let normed = self.self_attn_layer_norm.call(x.clone());
        let x = module(&self.self_attn, || self.self_attn.self_attention(normed)) + x;
        let hidden = gelu(self.fc1.call(self.final_layer_norm.call(x.clone())));
        self.fc2.call(hidden) + x
    }
}

/// The encoder of sound.
#[derive(Module, Debug)]
pub struct WhisperEncoder {
    /// `bins` to `width` channels.
    pub conv1: Conv1d,
    /// Halves the frames.
    pub conv2: Conv1d,
    /// Fixed sinusoids, `[encoder_positions, width]`.
    pub embed_positions: Embedding,
    /// The layers.
    pub layers: Vec<WhisperEncoderLayer>,
    /// After the last layer.
    pub layer_norm: LayerNorm,
}

impl WhisperEncoder {
    /// `[batch, bins, frames]` to `[batch, frames / 2, width]`; the frames must be twice the positions.
    pub fn forward(&self, mel: Tensor<3>) -> Tensor<3> {
        let x = gelu(self.conv2.run(gelu(self.conv1.run(mel)))).swap_dims(1, 2);
        let [_, positions, _] = x.dims();
        let x = x + leading_positions(&self.embed_positions, positions);
        self.layer_norm.call(self.layers.iter().fold(x, |x, layer| module(layer, || layer.forward(x))))
    }
}

/// Norm and causal attention, norm and attention to the sound, norm and feed-forward, each around a shortcut.
#[derive(Module, Debug)]
pub struct WhisperDecoderLayer {
    /// To what was written before.
    pub self_attn: WhisperAttention,
    /// Before the attention to what was written.
    pub self_attn_layer_norm: LayerNorm,
    /// To what the encoder heard.
    pub encoder_attn: WhisperAttention,
    /// Before the attention to what was heard.
    pub encoder_attn_layer_norm: LayerNorm,
    /// `width` to `hidden`.
    pub fc1: Linear,
    /// `hidden` to `width`.
    pub fc2: Linear,
    /// Before the feed-forward part.
    pub final_layer_norm: LayerNorm,
}

impl WhisperDecoderLayer {
    /// `[batch, sequence, width]` to the same, after the positions in `written`, to which these are appended, and with
    /// the keys and values of the sound.
    fn forward(&self, x: Tensor<3>, written: &mut KeyValue, heard: (Tensor<4>, Tensor<4>)) -> Tensor<3> {
        let normed = self.self_attn_layer_norm.call(x.clone());
        let x = module(&self.self_attn, || self.self_attn.causal_self_attention(normed, written)) + x;
        let normed = self.encoder_attn_layer_norm.call(x.clone());
        let x = module(&self.encoder_attn, || self.encoder_attn.cross_attention(normed, heard)) + x;
        let hidden = gelu(self.fc1.call(self.final_layer_norm.call(x.clone())));
        self.fc2.call(hidden) + x
    }
}

/// The decoder of text.
#[derive(Module, Debug)]
pub struct WhisperDecoder {
    /// Words, `[vocabulary, width]`; also the head.
    pub embed_tokens: Embedding,
    /// Positions, `[decoder_positions, width]`.
    pub embed_positions: Embedding,
    /// The layers.
    pub layers: Vec<WhisperDecoderLayer>,
    /// After the last layer.
    pub layer_norm: LayerNorm,
}

impl WhisperDecoder {
    /// Tokens at the positions from `start` on: `[batch, sequence]` to `[batch, sequence, width]`.
    fn embed(&self, ids: Tensor<2, Int>, start: usize) -> Tensor<3> {
        let [_, sequence] = ids.dims();
        embed(DECODER_IDS, &self.embed_tokens, ids) + positions_from(&self.embed_positions, start, sequence)
    }

    /// Reads tokens, `[batch, sequence]`, after those in `memory`, and remembers them too. Answers the logits of the
    /// next token, `[batch, vocabulary]`.
    fn proceed(&self, ids: Tensor<2, Int>, memory: &mut Memory) -> Result<Tensor<2>, ZooError> {
        let [_, sequence] = ids.dims();
        let mut x = self.embed(ids, memory.length);
        for (index, layer) in self.layers.iter().enumerate() {
            let unread = || ZooError::PhaseOrder { phase: "append", needed: "read" };
            let layer_memory = memory.layers.get_mut(index).ok_or_else(unread)?;
            let heard = layer_memory.encoder.get().ok_or_else(unread)?;
            x = module(layer, || layer.forward(x, &mut layer_memory.own, heard));
        }
        memory.length += sequence;
        let last = last_position(self.layer_norm.call(x.narrow(1, sequence - 1, 1)));
        Ok(tied_logits(last, self.embed_tokens.weight.val()))
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct Whisper {
    /// Hears.
    pub encoder: WhisperEncoder,
    /// Writes.
    pub decoder: WhisperDecoder,
    /// Frequency bins of the spectrogram.
    pub bins: usize,
    /// Frames of the spectrogram, neither more nor fewer.
    pub frames: usize,
    /// The longest text.
    pub positions: usize,
}

impl Whisper {
    /// Sound, `[batch, bins, frames]`, and text, `[batch, sequence]`, to logits, `[batch, sequence, vocabulary]`.
    pub fn forward(&self, mel: Tensor<3>, ids: Tensor<2, Int>) -> Tensor<3> {
        let sound = module(&self.encoder, || self.encoder.forward(mel));
        let mut x = self.decoder.embed(ids, 0);
        for layer in &self.decoder.layers {
            let heard = layer.encoder_attn.keys_and_values(sound.clone());
            x = module(layer, || layer.forward(x, &mut KeyValue::default(), heard));
        }
        tied_logits_everywhere(self.decoder.layer_norm.call(x), self.decoder.embed_tokens.weight.val())
    }
}

impl Writer for Whisper {
    fn read(&self, batch: &Batch) -> Result<(Tensor<2>, Memory), ZooError> {
        let ids = batch.decoder_ids(self.positions)?;
        let sound = self.encoder.forward(batch.mel(self.bins, self.frames)?);
        let hear = |layer: &WhisperDecoderLayer| {
            let (key, value) = layer.encoder_attn.keys_and_values(sound.clone());
            LayerMemory { own: KeyValue::default(), encoder: KeyValue::new(key, value) }
        };
        let mut memory = Memory { length: 0, layers: self.decoder.layers.iter().map(hear).collect() };
        let logits = self.decoder.proceed(ids, &mut memory)?;
        Ok((logits, memory))
    }

    fn append(&self, tokens: Tensor<2, Int>, memory: &mut Memory) -> Result<Tensor<2>, ZooError> {
        memory.check_append(&tokens, self.positions)?;
        self.decoder.proceed(tokens, memory)
    }
}

impl Architecture for Whisper {
    type Features = Tensor<3>;

    fn features(&self, batch: &Batch) -> Result<Tensor<3>, ZooError> {
        let mel = batch.mel(self.bins, self.frames)?;
        Ok(self.forward(mel, batch.decoder_ids(self.positions)?))
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

    fn is_frozen(name: &str) -> bool {
        name == "model.encoder.embed_positions.weight"
    }

    fn word_table(&self, input: &str) -> Option<Tensor<2>> {
        (input == DECODER_IDS).then(|| self.decoder.embed_tokens.weight.val())
    }

    fn reference_name(path: &str) -> String {
        format!("model.{path}")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            prefix: Some(Prefix::Added("model.")),
            renames: &[],
            // Tied to `model.decoder.embed_tokens.weight`.
            ignored: &[Pattern::Name("proj_out.weight")],
        }
    }
}
