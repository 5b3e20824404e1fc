//! Pieces that decoders share: attention to a text that grows, logits, and the loss of guessing the next token.

use burn::tensor::{Int, Tensor};

use super::batch::{Batch, Output};
use super::blocks::{cross_entropy, join_heads, tied_logits, times_table};
use super::error::ZooError;
use super::generation::{KeyValue, Memory, Writer};
use super::hooks::{AttentionCall, AttentionKind};
use super::layers::attend;
use super::targets::Targets;

/// A decoder without an encoder, its head tied to the table of its words: it writes on what it reads.
pub trait DecoderOnly {
    /// The longest sequence.
    fn positions(&self) -> usize;

    /// All layers: `[batch, sequence]`, after what `memory` has, to `[batch, sequence, width]`.
    fn layers(&self, ids: Tensor<2, Int>, memory: Option<&mut Memory>) -> Tensor<3>;

    /// The normalisation behind the last layer, over the last dimension.
    fn normalised<const D: usize>(&self, hidden: Tensor<D>) -> Tensor<D>;

    /// The words, `[vocabulary, width]`.
    fn words(&self) -> Tensor<2>;

    /// `[batch, sequence]` to logits `[batch, sequence, vocabulary]`.
    fn logits(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        tied_logits_everywhere(self.normalised(self.layers(ids, None)), self.words())
    }

    /// Reads on, and answers the logits after the last token: `[batch, sequence]` to `[batch, vocabulary]`.
    fn read_on(&self, ids: Tensor<2, Int>, memory: &mut Memory) -> Tensor<2> {
        let last = last_position(self.layers(ids, Some(memory)));
        tied_logits(self.normalised(last), self.words())
    }
}

impl<D: DecoderOnly> Writer for D {
    fn read(&self, batch: &Batch) -> Result<(Tensor<2>, Memory), ZooError> {
        let mut memory = Memory::default();
        let logits = self.read_on(batch.ids(self.positions())?, &mut memory);
        Ok((logits, memory))
    }

    fn append(&self, tokens: Tensor<2, Int>, memory: &mut Memory) -> Result<Tensor<2>, ZooError> {
        memory.check_append(&tokens, self.positions())?;
        Ok(self.read_on(tokens, memory))
    }
}

/// `x` `[batch, sequence, width]` through all layers, each with what it has read, where there is a memory.
pub fn through_layers<L>(
    layers: &[L],
    mut x: Tensor<3>,
    mut memory: Option<&mut Memory>,
    forward: impl Fn(&L, Tensor<3>, Option<&mut KeyValue>) -> Tensor<3>,
) -> Tensor<3> {
    let [_, sequence, _] = x.dims();
    for (index, layer) in layers.iter().enumerate() {
        let own = memory.as_deref_mut().map(|memory| &mut memory.layer(index).own);
        x = forward(layer, x, own);
    }
    if let Some(memory) = memory {
        memory.length += sequence;
    }
    x
}

/// Scaled dot-product attention that hides what comes later: queries `[batch, heads, queries, head_width]` of the last
/// positions of keys and values `[batch, shared, keys, head_width]`, to `[batch, queries, heads * head_width]`.
///
/// Each key belongs to `heads / shared` heads that stand beside each other (grouped-query attention, Ainslie et al.
/// 2023); with as many of them as heads it is that of Vaswani et al. 2017. Either all positions are queried or the
/// last one alone: the kernels of some devices know no other causal mask.
pub fn causal_attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>) -> Tensor<3> {
    let [batch, heads, queries, head_width] = query.dims();
    let [_, shared, ..] = key.dims();
    let group = heads / shared;
    if queries == 1 {
        // One query sees all keys, so the heads of a group can stand in line as queries do; nothing is copied.
        let query = query.reshape([batch, shared, group, head_width]);
        let context = attend(own(query, key, value, false));
        return context.reshape([batch, 1, heads * head_width]);
    }
    let [key, value] = [key, value].map(|x| repeat_heads(x, group));
    join_heads(attend(own(query, key, value, true)))
}

fn own(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, causal: bool) -> AttentionCall {
    AttentionCall { kind: AttentionKind::Own, query, key, value, bias: None, scale: None, causal }
}

/// Every head `times` times in succession: `[batch, heads, sequence, head_width]` to
/// `[batch, heads * times, sequence, head_width]`.
fn repeat_heads(x: Tensor<4>, times: usize) -> Tensor<4> {
    if times == 1 {
        return x;
    }
    let [batch, heads, sequence, head_width] = x.dims();
    x.unsqueeze_dim::<5>(2).expand([batch, heads, times, sequence, head_width]).reshape([
        batch,
        heads * times,
        sequence,
        head_width,
    ])
}

/// The last position: `[batch, sequence, width]` to `[batch, width]`.
pub fn last_position(x: Tensor<3>) -> Tensor<2> {
    let [batch, sequence, width] = x.dims();
    x.narrow(1, sequence - 1, 1).reshape([batch, width])
}

/// Logits at every position through a table that is also the input embedding: `[batch, sequence, width]` and
/// `[vocabulary, width]` to `[batch, sequence, vocabulary]`.
pub fn tied_logits_everywhere(hidden: Tensor<3>, table: Tensor<2>) -> Tensor<3> {
    let [batch, sequence, _] = hidden.dims();
    let [vocabulary, _] = table.dims();
    // Bringing the logits into order is as much a part of it as multiplying.
    times_table(hidden, table, |hidden, table| {
        let logits = table.matmul(hidden.flatten::<2>(0, 1).transpose()).transpose(); // [batch * sequence, vocabulary]
        logits.reshape([batch, sequence, vocabulary])
    })
}

/// The outputs of a network that writes, from its logits `[batch, sequence, vocabulary]`: these, and those of the
/// last position by themselves.
pub fn logits_outputs(logits: Tensor<3>) -> Vec<Output> {
    let last = last_position(logits.clone());
    vec![Output::d3("logits", logits), Output::d2("logits_last", last)]
}

/// The loss of a network that writes: cross-entropy of logits `[batch, sequence, vocabulary]` at every position but
/// the last with the token `[batch, sequence]` at the next one.
///
/// # Errors
///
/// Targets of another task, tokens of another shape, or a single token a sample, after which nothing comes.
pub fn next_token_loss(logits: Tensor<3>, tokens: Tensor<2, Int>, targets: &Targets) -> Result<Tensor<1>, ZooError> {
    let [samples, sequence, vocabulary] = logits.dims();
    if !matches!(targets, Targets::NextTokens) || tokens.dims() != [samples, sequence] {
        return Err(ZooError::Targets { expected: "the tokens of the batch itself" });
    }
    if sequence < 2 {
        return Err(ZooError::Targets { expected: "at least two tokens a sample" });
    }
    let guessed = sequence - 1;
    let logits = logits.narrow(1, 0, guessed).reshape([samples * guessed, vocabulary]);
    let tokens = tokens.narrow(1, 1, guessed).reshape([samples * guessed]);
    Ok(cross_entropy(logits, tokens))
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::softmax;
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        (a - b).abs().max().into_scalar::<f32>()
    }

    fn random(shape: [usize; 4], device: &Device) -> Tensor<4> {
        Tensor::random(shape, Distribution::Normal(0.0, 2.0), device)
    }

    #[test]
    fn heads_of_a_group_share_keys_and_the_future_is_hidden() {
        let device = Device::flex();
        let query = random([2, 6, 5, 4], &device);
        let [key, value] = [(); 2].map(|()| random([2, 3, 5, 4], &device));
        let found = causal_attention(query.clone(), key.clone(), value.clone());
        assert_eq!(found.dims(), [2, 5, 24]);
        let hidden = Tensor::<2>::ones([5, 5], &device).triu(1) * -1e9;
        for head in 0..6 {
            let part = |x: &Tensor<4>, head| x.clone().narrow(1, head, 1).squeeze_dim::<3>(1); // [2, 5, 4]
            let scores = part(&query, head).matmul(part(&key, head / 2).transpose()) / 2.0;
            let expected = softmax(scores + hidden.clone().unsqueeze(), 2).matmul(part(&value, head / 2));
            assert!(difference(found.clone().narrow(2, head * 4, 4), expected) < 1e-5);
        }
        // The last position alone, as it is queried when a token is appended.
        let last = causal_attention(query.narrow(2, 4, 1), key, value);
        assert!(difference(last, found.narrow(1, 4, 1)) < 1e-5);
    }

    #[test]
    fn the_loss_compares_each_position_with_the_next_token() {
        let device = Device::flex();
        let tokens = Tensor::<2, Int>::from_ints([[2, 0, 1]], &device);
        // Sure of 0 after the first token and of 1 after the second; what comes after the last does not matter.
        let logits = Tensor::<3>::from_floats([[[50.0, 0.0, 0.0], [0.0, 50.0, 0.0], [0.0, 0.0, 9.0]]], &device);
        let loss = next_token_loss(logits.clone(), tokens.clone(), &Targets::NextTokens).unwrap();
        assert!(loss.into_scalar::<f32>() < 1e-6);
        let even = next_token_loss(logits * 0.0, tokens.clone(), &Targets::NextTokens).unwrap();
        assert!((even.into_scalar::<f32>() - 3_f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn the_loss_refuses_what_has_no_next_token() {
        let device = Device::flex();
        let refused = |logits: [usize; 3], tokens: [usize; 2], targets: &Targets| {
            next_token_loss(Tensor::zeros(logits, &device), Tensor::zeros(tokens, &device), targets).is_err()
        };
        assert!(!refused([1, 2, 5], [1, 2], &Targets::NextTokens));
        assert!(refused([1, 1, 5], [1, 1], &Targets::NextTokens));
        assert!(refused([1, 2, 5], [1, 3], &Targets::NextTokens));
        assert!(refused([1, 2, 5], [1, 2], &Targets::Pairs));
    }
}
