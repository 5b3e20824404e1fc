//! Llama, a causal language model (Touvron et al., "Llama 2", 2023), in the sizes of SmolLM2 (Ben Allal et al. 2025).
//!
//! Reference: `LlamaForCausalLM` of transformers: pre-norm by root mean square, rotary positions, grouped-query
//! attention, a gated feed-forward part with SiLU, no biases; the head is the transposed word embedding.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, Linear, RmsNorm};
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::activation::silu;
use super::batch::{Batch, IDS, Output};
use super::blocks::{projection, rms_norm, split_heads};
use super::cost::CostCounter;
use super::decoder::{DecoderOnly, causal_attention, logits_outputs, next_token_loss, through_layers};
use super::error::ZooError;
use super::generation::{KeyValue, Memory, Writer};
use super::layers::{Plain, embed};
use super::network::Architecture;
use super::observe::module;
use super::targets::Targets;
use super::weights::{Checkpoint, Pattern, Prefix};
use crate::domain::model::ModelCost;

/// Sizes of a [`Llama`].
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Distinct tokens.
    pub vocabulary: usize,
    /// The longest sequence.
    pub positions: usize,
    /// Width of a token; a multiple of twice the heads.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub key_value_heads: usize,
    /// Layers.
    pub layers: usize,
    /// Width inside the feed-forward part.
    pub hidden: usize,
    /// The base of the wavelengths of the rotary positions.
    pub rope_theta: f64,
    /// Of all norms.
    pub epsilon: f64,
}

impl LlamaConfig {
    /// `smollm2-135m`.
    pub fn smollm2_135m() -> Self {
        Self {
            vocabulary: 49152,
            positions: 8192,
            width: 576,
            heads: 9,
            key_value_heads: 3,
            layers: 30,
            hidden: 1536,
            rope_theta: 100_000.0,
            epsilon: 1e-5,
        }
    }

    fn head_width(&self) -> usize {
        self.width / self.heads
    }

    /// The width of all keys, or all values, of a token.
    fn key_value_width(&self) -> usize {
        self.key_value_heads * self.head_width()
    }

    /// The network, its weights not initialised yet.
    pub fn init(&self, device: &Device) -> Llama {
        let (width, hidden, key_value_width) = (self.width, self.hidden, self.key_value_width());
        let norm = || rms_norm(width, self.epsilon, device);
        let layers = (0..self.layers)
            .map(|_| LlamaLayer {
                input_layernorm: norm(),
                self_attn: LlamaAttention {
                    q_proj: projection(width, width, device),
                    k_proj: projection(width, key_value_width, device),
                    v_proj: projection(width, key_value_width, device),
                    o_proj: projection(width, width, device),
                    heads: self.heads,
                    key_value_heads: self.key_value_heads,
                },
                post_attention_layernorm: norm(),
                mlp: LlamaMlp {
                    gate_proj: projection(width, hidden, device),
                    up_proj: projection(width, hidden, device),
                    down_proj: projection(hidden, width, device),
                },
            })
            .collect();
        Llama {
            embed_tokens: EmbeddingConfig::new(self.vocabulary, width).init(device),
            layers,
            norm: norm(),
            positions: self.positions,
            head_width: self.head_width(),
            rope_theta: self.rope_theta,
        }
    }

    /// The cost for a sequence of this length, with logits at every position.
    pub fn cost(&self, sequence: usize) -> ModelCost {
        let mut counter = CostCounter::new();
        counter.embedding(self.vocabulary, self.width);
        for _ in 0..self.layers {
            counter.rms_norm(self.width);
            counter.projection(sequence, self.width, self.width); // query
            counter.projection(sequence, self.width, self.key_value_width()); // key
            counter.projection(sequence, self.width, self.key_value_width()); // value
            counter.attention(sequence, self.width, self.heads);
            counter.projection(sequence, self.width, self.width); // output
            counter.rms_norm(self.width);
            counter.projection(sequence, self.width, self.hidden); // gate
            counter.projection(sequence, self.width, self.hidden); // up
            counter.projection(sequence, self.hidden, self.width); // down
        }
        counter.rms_norm(self.width);
        counter.matmul(sequence, self.width, self.vocabulary); // the head, its weights tied
        counter.finish()
    }
}

/// Rotary positions (Su et al., "RoFormer", 2021), the halves of a head being the two coordinates that are turned.
/// Position `p` turns the i-th of `head_width / 2` pairs by `p * theta^(-2i / head_width)`.
#[derive(Clone, Debug)]
struct Rotation {
    /// `[1, 1, sequence, head_width / 2]`.
    cos: Tensor<4>,
    /// `[1, 1, sequence, head_width / 2]`.
    sin: Tensor<4>,
}

impl Rotation {
    /// That of `sequence` positions from `start` on. Computed on the host in double precision: half precision would
    /// not tell high positions apart.
    fn new(start: usize, sequence: usize, head_width: usize, theta: f64, device: &Device) -> Self {
        let half = head_width / 2;
        let frequencies: Vec<f64> = (0..half).map(|pair| theta.powf(-2.0 * pair as f64 / head_width as f64)).collect();
        let table = |coordinate: fn(f64) -> f64| {
            let values: Vec<f32> = (start..start + sequence)
                .flat_map(|position| frequencies.iter().map(move |frequency| position as f64 * frequency))
                .map(|angle| coordinate(angle) as f32)
                .collect();
            Tensor::from_data(TensorData::new(values, [1, 1, sequence, half]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// `[batch, heads, sequence, head_width]` to the same, turned.
    fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let [.., head_width] = x.dims();
        let half = head_width / 2;
        let (a, b) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        let turned_a = a.clone() * cos.clone() - b.clone() * sin.clone();
        let turned_b = b * cos + a * sin;
        Tensor::cat(vec![turned_a, turned_b], 3)
    }
}

/// Causal grouped-query attention.
#[derive(Module, Debug)]
pub struct LlamaAttention {
    /// `width` to `width`.
    pub q_proj: Linear,
    /// `width` to the width of all keys.
    pub k_proj: Linear,
    /// `width` to the width of all values.
    pub v_proj: Linear,
    /// `width` to `width`.
    pub o_proj: Linear,
    /// Attention heads.
    pub heads: usize,
    /// Heads of keys and values.
    pub key_value_heads: usize,
}

impl LlamaAttention {
    fn forward(&self, x: Tensor<3>, rotation: &Rotation, own: Option<&mut KeyValue>) -> Tensor<3> {
        let query = rotation.apply(split_heads(self.q_proj.call(x.clone()), self.heads));
        let key = rotation.apply(split_heads(self.k_proj.call(x.clone()), self.key_value_heads));
        let value = split_heads(self.v_proj.call(x), self.key_value_heads);
        let (key, value) = match own {
            Some(own) => own.append(key, value),
            None => (key, value),
        };
        self.o_proj.call(causal_attention(query, key, value))
    }
}

/// The gated feed-forward part (SwiGLU; Shazeer 2020).
#[derive(Module, Debug)]
pub struct LlamaMlp {
    /// `width` to `hidden`; says how much passes.
    pub gate_proj: Linear,
    /// `width` to `hidden`; what passes.
    pub up_proj: Linear,
    /// `hidden` to `width`.
    pub down_proj: Linear,
}

impl LlamaMlp {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let gate = silu(self.gate_proj.call(x.clone()));
        self.down_proj.call(gate * self.up_proj.call(x))
    }
}

/// Norm, attention, norm, feed-forward, each pair around a shortcut.
#[derive(Module, Debug)]
pub struct LlamaLayer {
    /// Before the attention.
    pub input_layernorm: RmsNorm,
    /// The attention.
    pub self_attn: LlamaAttention,
    /// Before the feed-forward part.
    pub post_attention_layernorm: RmsNorm,
    /// The feed-forward part.
    pub mlp: LlamaMlp,
}

impl LlamaLayer {
    fn forward(&self, x: Tensor<3>, rotation: &Rotation, own: Option<&mut KeyValue>) -> Tensor<3> {
        let normed = self.input_layernorm.call(x.clone());
        let x = module(&self.self_attn, || self.self_attn.forward(normed, rotation, own)) + x;
        let normed = self.post_attention_layernorm.call(x.clone());
        module(&self.mlp, || self.mlp.forward(normed)) + x
    }
}

/// See the [module](self).
#[derive(Module, Debug)]
pub struct Llama {
    /// Words, `[vocabulary, width]`; also the head.
    pub embed_tokens: Embedding,
    /// The layers.
    pub layers: Vec<LlamaLayer>,
    /// After the last layer.
    pub norm: RmsNorm,
    /// The longest sequence.
    pub positions: usize,
    /// Width of one attention head.
    pub head_width: usize,
    /// The base of the wavelengths of the rotary positions.
    pub rope_theta: f64,
}

impl DecoderOnly for Llama {
    fn positions(&self) -> usize {
        self.positions
    }

    fn layers(&self, ids: Tensor<2, Int>, memory: Option<&mut Memory>) -> Tensor<3> {
        let [_, sequence] = ids.dims();
        let start = memory.as_deref().map_or(0, |memory| memory.length);
        let x = embed(IDS, &self.embed_tokens, ids);
        let rotation = Rotation::new(start, sequence, self.head_width, self.rope_theta, &x.device());
        through_layers(&self.layers, x, memory, |layer, x, own| module(layer, || layer.forward(x, &rotation, own)))
    }

    fn normalised<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D> {
        self.norm.call(hidden)
    }

    fn words(&self) -> Tensor<2> {
        self.embed_tokens.weight.val()
    }
}

impl Architecture for Llama {
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
        format!("model.{path}")
    }

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            prefix: Some(Prefix::Added("model.")),
            renames: &[],
            ignored: &[
                // The frequencies of the rotary positions, which old versions of transformers kept as a buffer.
                Pattern::End(".rotary_emb.inv_freq"),
                // Tied to `embed_tokens.weight`.
                Pattern::Name("lm_head.weight"),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_turn_pairs_of_halves_by_their_position() {
        let device = Device::flex();
        let rotation = Rotation::new(3, 2, 4, 100.0, &device);
        let x = Tensor::<4>::from_floats([[[[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]]]], &device);
        let found: Vec<f32> = rotation.apply(x).into_data().try_to_vec_as().unwrap();
        // theta^(-2/4) is 0.1: the second pair turns ten times slower.
        let turned = |a: f64, b: f64, angle: f64| {
            let (sin, cos) = angle.sin_cos();
            [a * cos - b * sin, b * cos + a * sin]
        };
        let mut expected = Vec::new();
        for (position, [a, b, c, d]) in [(3.0, [1.0, 2.0, 3.0, 4.0]), (4.0, [5.0, 6.0, 7.0, 8.0])] {
            let [fast, slow] = [turned(a, c, position), turned(b, d, 0.1 * position)];
            expected.extend([fast[0], slow[0], fast[1], slow[1]]);
        }
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} is not {expected}");
        }
    }

    #[test]
    fn scores_of_turned_vectors_depend_on_the_distance_alone() {
        let device = Device::flex();
        let at = |position: usize, values: [f32; 4]| {
            let x = Tensor::<4>::from_floats([[[values]]], &device);
            Rotation::new(position, 1, 4, 100_000.0, &device).apply(x)
        };
        let score = |query: usize, key: usize| {
            (at(query, [1.0, -2.0, 0.5, 3.0]) * at(key, [0.3, 1.0, -1.0, 2.0])).sum().into_scalar::<f32>()
        };
        assert!((score(5, 2) - score(4005, 4002)).abs() < 1e-3);
        assert!((score(5, 2) - score(5, 1)).abs() > 1e-2);
    }
}
