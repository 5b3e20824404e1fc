//! Attention rollout (Abnar and Zuidema, "Quantifying attention flow in transformers", 2020): how much of each token
//! reaches the token that the answer is read from, if attention alone mixed them.

use std::cell::RefCell;
use std::rc::Rc;

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::super::error::ExplainError;
use super::super::method::{Method, Relevance};
use super::super::subject::Subject;
use super::named;
use crate::zoo::hooks::{AttentionCall, AttentionKind, Hooks, Weighted};

/// How the heads of a layer become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadFusion {
    /// Their mean, as in the paper.
    #[default]
    Mean,
    /// The head that attends most, place by place.
    Max,
    /// The head that attends least, place by place.
    Min,
}

/// Its rules stand at the head of its file. It looks at no class: the map is the same for all targets that are read from the same token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentionRollout {
    /// Of each layer.
    pub heads: HeadFusion,
    /// Counts the shortcut around each attention as half of what passes, as in the paper.
    pub shortcut: bool,
}

impl Default for AttentionRollout {
    fn default() -> Self {
        Self { heads: HeadFusion::Mean, shortcut: true }
    }
}

/// Multiplies the attentions of a stack as the network runs.
struct Flow {
    rollout: AttentionRollout,
    /// One product for each length of a sequence, `[rows, tokens, tokens]`: networks of two towers have two.
    products: Vec<Tensor<3>>,
    /// Whether a sequence attends to another one.
    crosses: bool,
    /// Places of the convolution before the first attention: patches.
    patches: Option<[usize; 2]>,
}

impl Hooks for Flow {
    fn weighted(&mut self, layer: Weighted<'_>, x: Tensor<4>) -> Tensor<4> {
        let written = layer.forward(x);
        if layer.is_convolution() {
            let [_, _, height, width] = written.dims();
            self.patches = Some([height, width]);
        }
        written
    }

    fn attention(&mut self, call: AttentionCall) -> Tensor<4> {
        if call.kind == AttentionKind::Cross {
            self.crosses = true;
            return call.forward();
        }
        let probabilities = call.probabilities(); // [rows, heads, tokens, tokens]
        let [rows, _, tokens, _] = probabilities.dims();
        let written = probabilities.clone().matmul(call.value);
        let fused = match self.rollout.heads {
            HeadFusion::Mean => probabilities.mean_dim(1),
            HeadFusion::Max => probabilities.max_dim(1),
            HeadFusion::Min => probabilities.min_dim(1),
        };
        let mut mixed = fused.reshape([rows, tokens, tokens]);
        if self.rollout.shortcut {
            mixed = mixed + Tensor::<2>::eye(tokens, &written.device()).unsqueeze::<3>();
        }
        let mixed = mixed.clone() / mixed.sum_dim(2);
        match self.products.iter_mut().find(|product| product.dims()[1] == tokens) {
            Some(product) => *product = mixed.matmul(product.clone()),
            None => self.products.push(mixed),
        }
        written
    }
}

impl AttentionRollout {
    fn unsupported(&self, reason: &str) -> ExplainError {
        ExplainError::Unsupported { method: self.name(), reason: reason.to_owned() }
    }

    /// The product of the tower that reads the input, with the shape of the map of one sample and how many tokens stand
    /// before the first one of the map.
    fn tower(&self, flow: &Flow, subject: &Subject<'_>) -> Result<(Tensor<3>, Vec<usize>, usize), ExplainError> {
        if flow.products.is_empty() {
            return Err(self.unsupported("it has no attention"));
        }
        if flow.crosses {
            let reason =
                "it reads the input in one stack of layers and answers from another, and attention flows through one";
            return Err(self.unsupported(reason));
        }
        let of_length = |tokens: usize| flow.products.iter().find(|product| product.dims()[1] == tokens).cloned();
        let found = match (subject.is_text(), flow.patches) {
            (true, _) => {
                let tokens = subject.shape()[0];
                of_length(tokens).map(|product| (product, vec![tokens], 0))
            }
            (false, Some([height, width])) => {
                let with_class = of_length(height * width + 1).map(|product| (product, 1));
                let found = with_class.or_else(|| of_length(height * width).map(|product| (product, 0)));
                found.map(|(product, before)| (product, vec![1, height, width], before))
            }
            (false, None) => None,
        };
        found.ok_or_else(|| self.unsupported("its tokens are neither words nor patches of the input"))
    }
}

impl Method for AttentionRollout {
    named!("attention_rollout");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        let mut parts = Vec::new();
        let mut map_shape = Vec::new();
        for chunk in subject.every_sample().chunks(subject.inner_batch()) {
            let flow = Flow { rollout: self.clone(), products: Vec::new(), crosses: false, patches: None };
            let hooks = Rc::new(RefCell::new(flow));
            subject.run(hooks.clone(), subject.input_of(chunk), chunk)?;
            let (product, shape, before) = self.tower(&hooks.borrow(), subject)?;
            let [rows, tokens, _] = product.dims();
            let read = read_tokens(subject, tokens)?;
            let places: Vec<usize> =
                chunk.iter().enumerate().map(|(row, &sample)| row * tokens + read[sample]).collect();
            let flows = product.reshape([rows * tokens, tokens]).select(0, subject.index(&places));
            let count = shape.iter().product::<usize>();
            parts.push(flows.narrow(1, before, count));
            map_shape = shape;
        }
        Ok(Relevance::Map(Tensor::cat(parts, 0), map_shape))
    }
}

/// The token of every sample that its answer is read from.
fn read_tokens(subject: &Subject<'_>, tokens: usize) -> Result<Vec<usize>, ExplainError> {
    if let Some(read) = subject.tokens_read(tokens)? {
        // What a picture's answer is read from is its class token, whatever the position of the target.
        let first = !subject.is_text();
        return Ok(read.into_iter().map(|token| if first { 0 } else { token.min(tokens - 1) }).collect());
    }
    // Of a pair: the picture's class token, or the first end of the text, which has the largest id.
    let Some(ids) = subject.ids() else { return Ok(vec![0; subject.samples()]) };
    let ids = ids.try_to_vec_as::<i64>().map_err(|source| ExplainError::Read { source: Box::new(source) })?;
    Ok(ids
        .chunks(tokens)
        .map(|text| {
            let last = text.iter().max();
            text.iter().position(|id| Some(id) == last).unwrap_or(0)
        })
        .collect())
}
