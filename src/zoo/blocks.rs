//! Pieces that several architectures share. Tensor layouts are Burn's: linear weights are `[in, out]`.

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{
    BatchNorm, BatchNormConfig, Embedding, LayerNorm, LayerNormConfig, Linear, LinearConfig, PaddingConfig1d,
    PaddingConfig2d, RmsNorm, RmsNormConfig,
};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor};

use super::cost::ConvShape;
use super::error::ZooError;
use super::hooks::{AttentionCall, AttentionKind};
use super::layers::{Layer, Plain, attend, product};
use super::observe::{self, Operator, module};
use super::targets::{Distilled, Targets};

/// A 1D convolution of this shape.
pub fn conv1d(shape: ConvShape, device: &Device) -> Conv1d {
    Conv1dConfig::new(shape.channels_in, shape.channels_out, shape.kernel)
        .with_stride(shape.stride)
        .with_padding(PaddingConfig1d::Explicit(shape.padding, shape.padding))
        .with_groups(shape.groups)
        .with_bias(shape.bias)
        .init(device)
}

/// A 2D convolution of this shape.
pub fn conv2d(shape: ConvShape, device: &Device) -> Conv2d {
    let p = shape.padding;
    Conv2dConfig::new([shape.channels_in, shape.channels_out], [shape.kernel, shape.kernel])
        .with_stride([shape.stride, shape.stride])
        .with_padding(PaddingConfig2d::Explicit(p, p, p, p))
        .with_groups(shape.groups)
        .with_bias(shape.bias)
        .init(device)
}

/// What every batch normalisation adds to the variance: PyTorch's default.
pub const BATCH_NORM_EPSILON: f64 = 1e-5;

/// A batch normalisation as PyTorch's defaults have it: epsilon 1e-5, momentum 0.1.
pub fn batch_norm(channels: usize, device: &Device) -> BatchNorm {
    BatchNormConfig::new(channels).with_epsilon(BATCH_NORM_EPSILON).with_momentum(0.1).init(device)
}

/// A layer normalisation over the last dimension.
pub fn layer_norm(width: usize, epsilon: f64, device: &Device) -> LayerNorm {
    LayerNormConfig::new(width).with_epsilon(epsilon).init(device)
}

/// A linear layer with bias.
pub fn dense(features_in: usize, features_out: usize, device: &Device) -> Linear {
    LinearConfig::new(features_in, features_out).init(device)
}

/// A linear layer without bias.
pub fn projection(features_in: usize, features_out: usize, device: &Device) -> Linear {
    LinearConfig::new(features_in, features_out).with_bias(false).init(device)
}

/// A root mean square normalisation over the last dimension: a scale, no mean and no shift (Zhang and Sennrich 2019).
pub fn rms_norm(width: usize, epsilon: f64, device: &Device) -> RmsNorm {
    RmsNormConfig::new(width).with_epsilon(epsilon).init(device)
}

/// A convolution without bias and the batch normalisation behind it.
#[derive(Module, Debug)]
pub struct ConvBn {
    /// The convolution.
    pub conv: Conv2d,
    /// The normalisation of what it writes.
    pub bn: BatchNorm,
}

impl ConvBn {
    /// Both, for a convolution of this shape.
    pub fn new(shape: ConvShape, device: &Device) -> Self {
        Self { conv: conv2d(shape, device), bn: batch_norm(shape.channels_out, device) }
    }

    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.bn.run(self.conv.run(x))
    }
}

/// The mean over all pixels: `[batch, channels, height, width]` to `[batch, channels]`.
pub fn global_average_pool(x: Tensor<4>) -> Tensor<2> {
    let [batch, channels, height, width] = x.dims();
    observe::function("global_average_pool", x, |x| {
        x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
    })
}

/// `[batch, sequence, heads * head_width]` to `[batch, heads, sequence, head_width]`.
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, sequence, width] = x.dims();
    x.reshape([batch, sequence, heads, width / heads]).swap_dims(1, 2)
}

/// `[batch, heads, sequence, head_width]` to `[batch, sequence, heads * head_width]`.
pub fn join_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, sequence, head_width] = x.dims();
    x.swap_dims(1, 2).reshape([batch, sequence, heads * head_width])
}

/// Scaled dot-product attention of `heads` heads of a sequence to itself (Vaswani et al. 2017), each tensor
/// `[batch, sequence, width]`; `causal` hides what comes later. Uses Burn's fused kernel where the device has one.
pub fn multi_head_attention(
    query: Tensor<3>,
    key: Tensor<3>,
    value: Tensor<3>,
    heads: usize,
    causal: bool,
) -> Tensor<3> {
    heads_attend(AttentionKind::Own, [query, key, value], heads, causal)
}

/// What each of `heads` heads makes of query, key and value, `[batch, sequence, width]` each, joined.
fn heads_attend(kind: AttentionKind, parts: [Tensor<3>; 3], heads: usize, causal: bool) -> Tensor<3> {
    let [query, key, value] = parts.map(|x| split_heads(x, heads));
    join_heads(attend(AttentionCall { kind, query, key, value, bias: None, scale: None, causal }))
}

/// Multi-head attention with a projection each for queries, keys, values and the result, all of one width.
#[derive(Module, Debug)]
pub struct Attention {
    /// Of the keys.
    pub k_proj: Linear,
    /// Of the values.
    pub v_proj: Linear,
    /// Of the queries.
    pub q_proj: Linear,
    /// Of the result.
    pub out_proj: Linear,
    /// Attention heads.
    pub heads: usize,
}

impl Attention {
    /// `heads` must divide `width`.
    pub fn new(width: usize, heads: usize, device: &Device) -> Self {
        let [k_proj, v_proj, q_proj, out_proj] = [(); 4].map(|()| dense(width, width, device));
        Self { k_proj, v_proj, q_proj, out_proj, heads }
    }

    /// Of a sequence to itself: query, key and value `[batch, sequence, width]` to the same; `causal` hides what comes
    /// later.
    pub fn forward(&self, query: Tensor<3>, key: Tensor<3>, value: Tensor<3>, causal: bool) -> Tensor<3> {
        self.projected(AttentionKind::Own, [query, key, value], causal)
    }

    /// To another sequence: query `[batch, queries, width]` and key and value `[batch, keys, width]` to
    /// `[batch, queries, width]`.
    pub fn forward_across(&self, query: Tensor<3>, key: Tensor<3>, value: Tensor<3>) -> Tensor<3> {
        self.projected(AttentionKind::Cross, [query, key, value], false)
    }

    fn projected(&self, kind: AttentionKind, parts: [Tensor<3>; 3], causal: bool) -> Tensor<3> {
        module(self, || self.attended(kind, parts, causal))
    }

    fn attended(&self, kind: AttentionKind, [query, key, value]: [Tensor<3>; 3], causal: bool) -> Tensor<3> {
        let parts = [self.q_proj.call(query), self.k_proj.call(key), self.v_proj.call(value)];
        self.out_proj.call(heads_attend(kind, parts, self.heads, causal))
    }
}

/// Query, key and value from one projection: `[batch, sequence, 3 * width]` to three of `[batch, sequence, width]`.
pub fn split_projection(projected: Tensor<3>) -> [Tensor<3>; 3] {
    let [_, _, triple] = projected.dims();
    let width = triple / 3;
    [0, 1, 2].map(|part| projected.clone().narrow(2, part * width, width))
}

/// The first `sequence` rows of a table of positions, `[1, sequence, width]`.
pub fn leading_positions(table: &Embedding, sequence: usize) -> Tensor<3> {
    positions_from(table, 0, sequence)
}

/// `sequence` rows of a table of positions from row `start` on, `[1, sequence, width]`.
pub fn positions_from(table: &Embedding, start: usize, sequence: usize) -> Tensor<3> {
    table.weight.val().narrow(0, start, sequence).unsqueeze()
}

/// Logits of a table that is also the input embedding: `[rows, width]` and `[vocabulary, width]` to
/// `[rows, vocabulary]`.
///
/// The table stands on the left of the product, where it lies in memory as the kernels want it; transposing this
/// large matrix instead makes CPUs two to five times slower.
pub fn tied_logits(hidden: Tensor<2>, table: Tensor<2>) -> Tensor<2> {
    times_table(hidden, table, |hidden, table| table.matmul(hidden.transpose()).transpose())
}

/// What `multiply` makes of hidden states, `[..., width]`, and a table, `[vocabulary, width]`, under the name of
/// [`tied_logits`].
pub(super) fn times_table<const D: usize>(
    hidden: Tensor<D>,
    table: Tensor<2>,
    multiply: impl FnOnce(Tensor<D>, Tensor<2>) -> Tensor<D>,
) -> Tensor<D> {
    let [vocabulary, width] = table.dims();
    let shape = || product([width, vocabulary], false);
    observe::operator(Operator::Function("tied_logits"), shape, hidden, |hidden| multiply(hidden, table))
}

/// The mean cross-entropy of `[samples, labels]` logits and `[samples]` labels.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
    observe::function("cross_entropy", logits, |logits| {
        CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, labels)
    })
}

/// The loss of knowledge distillation (Hinton et al. 2015) of `[batch, classes]` logits `z`, with the teacher's `t`:
/// `alpha * T^2 * KL(softmax(t / T) || softmax(z / T)) + (1 - alpha) * cross-entropy(z, classes)`, both the mean over
/// the batch. The square keeps the gradients of the first part as large as those of the second whatever T is.
pub fn distillation_loss(logits: Tensor<2>, targets: &Distilled) -> Tensor<1> {
    let Distilled { classes, teacher, temperature, alpha } = targets;
    let [batch, _] = logits.dims();
    let expected = log_softmax(teacher.clone() / *temperature, 1);
    let found = log_softmax(logits.clone() / *temperature, 1);
    // The logarithms are finite where a probability is too small for its type, so no 0 * infinity comes up.
    let divergence = (expected.clone().exp() * (expected - found)).sum() / batch as f64;
    divergence * (alpha * temperature * temperature) + cross_entropy(logits, classes.clone()) * (1.0 - alpha)
}

/// The loss of an image classifier, of `[batch, classes]` logits: cross-entropy, or that of distillation.
///
/// # Errors
///
/// Targets that are no classes, of another batch size, or a teacher of other classes.
pub fn classification_loss(logits: Tensor<2>, targets: &Targets) -> Result<Tensor<1>, ZooError> {
    match targets {
        Targets::Classes(classes) if classes.dims()[0] == logits.dims()[0] => {
            Ok(cross_entropy(logits, (**classes).clone()))
        }
        Targets::Distilled(distilled) if distilled.teacher.dims() != logits.dims() => {
            Err(ZooError::Targets { expected: "a teacher of as many classes" })
        }
        Targets::Distilled(distilled) if distilled.classes.dims()[0] == logits.dims()[0] => {
            Ok(distillation_loss(logits, distilled))
        }
        _ => Err(ZooError::Targets { expected: "one class for every sample" }),
    }
}

/// The loss of a masked language model: cross-entropy at the masked positions of `[batch, sequence, width]`,
/// through the tied input embedding `[vocabulary, width]`. The reference's extra transformation before the
/// product is part of a pre-training head that the base model does not have.
///
/// # Errors
///
/// Targets that are no masked tokens.
pub fn masked_language_loss(hidden: Tensor<3>, table: Tensor<2>, targets: &Targets) -> Result<Tensor<1>, ZooError> {
    let Targets::MaskedTokens(masked) = targets else {
        return Err(ZooError::Targets { expected: "positions and tokens of the masked words" });
    };
    let [batch, sequence, width] = hidden.dims();
    let hidden = hidden.reshape([batch * sequence, width]).select(0, masked.positions.clone()); // [masked, width]
    let logits = tied_logits(hidden, table); // [masked, vocabulary]
    Ok(cross_entropy(logits, masked.tokens.clone()))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;
    use burn::tensor::activation::softmax;

    use super::*;

    fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        (a - b).abs().max().into_scalar::<f32>()
    }

    fn random(shape: [usize; 3], device: &Device) -> Tensor<3> {
        Tensor::random(shape, Distribution::Normal(0.0, 2.0), device)
    }

    #[test]
    fn attention_equals_its_definition() {
        let device = Device::flex();
        for causal in [false, true] {
            let [q, k, v] = [(); 3].map(|()| random([2, 6, 8], &device));
            let found = multi_head_attention(q.clone(), k.clone(), v.clone(), 2, causal);
            for head in 0..2 {
                let part = |x: &Tensor<3>| x.clone().narrow(2, head * 4, 4);
                let mut scores = part(&q).matmul(part(&k).transpose()) / 2.0;
                if causal {
                    let hidden = Tensor::<2>::ones([6, 6], &device).triu(1) * -1e9;
                    scores = scores + hidden.unsqueeze();
                }
                let expected = softmax(scores, 2).matmul(part(&v));
                assert!(difference(part(&found), expected) < 1e-5);
            }
        }
    }

    #[test]
    fn a_projection_splits_in_order() {
        let device = Device::flex();
        let x = random([1, 2, 6], &device);
        let parts = split_projection(x.clone());
        assert_eq!(difference(Tensor::cat(parts.to_vec(), 2), x), 0.0);
    }

    #[test]
    fn tied_logits_multiply_with_the_table() {
        let device = Device::flex();
        let hidden = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
        let table = Tensor::<2>::from_floats([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], &device);
        let expected = Tensor::<2>::from_floats([[1.0, 2.0, -1.0], [3.0, 4.0, -1.0]], &device);
        assert_eq!(difference(tied_logits(hidden, table), expected), 0.0);
    }

    #[test]
    fn losses_refuse_other_targets() {
        let device = Device::flex();
        let logits = Tensor::<2>::zeros([2, 10], &device);
        assert!(classification_loss(logits.clone(), &Targets::NextTokens).is_err());
        let classes = Targets::Classes(Box::new(Tensor::zeros([2], &device)));
        let loss = classification_loss(logits, &classes).unwrap();
        assert!((loss.into_scalar::<f32>() - 10_f32.ln()).abs() < 1e-5);
    }

    // Two classes, T = 2, teacher logits (2 ln 3, 0): p = (3/4, 1/4). Student logits (0, 0): q = (1/2, 1/2).
    // KL = 3/4 ln(3/2) + 1/4 ln(1/2); its gradient is T^2 * (q - p) / T = 2 * (-1/4, 1/4), that of the cross-entropy
    // with class 1 is (1/2, -1/2).
    #[test]
    fn distillation_equals_its_definition_and_gradient() {
        let device = Device::flex().autodiff();
        for (alpha, gradient) in [(1.0, [-0.5, 0.5]), (0.0, [0.5, -0.5]), (0.5, [0.0, 0.0])] {
            let logits = Tensor::<2>::zeros([1, 2], &device).require_grad();
            let targets = Targets::Distilled(Box::new(Distilled {
                classes: Tensor::from_ints([1], &device),
                teacher: Tensor::from_floats([[2.0 * 3_f32.ln(), 0.0]], &device),
                temperature: 2.0,
                alpha,
            }));
            let loss = classification_loss(logits.clone(), &targets).unwrap();
            let divergence = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
            let expected = alpha * 4.0 * divergence + (1.0 - alpha) * 2_f64.ln();
            assert!((f64::from(loss.clone().into_scalar::<f32>()) - expected).abs() < 1e-6);
            let found = logits.grad(&loss.backward()).unwrap().try_to_vec_as::<f32>().unwrap();
            for (found, expected) in found.iter().zip(gradient) {
                assert!((found - expected).abs() < 1e-6, "alpha {alpha}: {found} is not {expected}");
            }
        }
    }

    #[test]
    fn a_sure_teacher_gives_a_finite_loss_and_one_of_other_classes_none() {
        let device = Device::flex();
        let distilled = |teacher| {
            Targets::Distilled(Box::new(Distilled {
                classes: Tensor::from_ints([0], &device),
                teacher,
                temperature: 1.0,
                alpha: 1.0,
            }))
        };
        let logits = Tensor::<2>::zeros([1, 2], &device);
        let sure = distilled(Tensor::from_floats([[500.0, -500.0]], &device));
        let loss = classification_loss(logits.clone(), &sure).unwrap().into_scalar::<f32>();
        assert!((loss - 2_f32.ln()).abs() < 1e-6, "{loss}");
        assert!(classification_loss(logits, &distilled(Tensor::zeros([1, 3], &device))).is_err());
    }
}
