//! What a forward pass costs, counted from the architecture: multiply-adds, activations, parameters.
//!
//! The definitions are those of fvcore's flop and activation counters, which timm publishes as `gmacs` and
//! `macts`: a multiply-add counts once, and an activation is an element that a convolution, a linear layer or
//! one of the two attention products writes (Radosavovic et al., "Designing network design spaces", 2020).
//! Unlike fvcore's `gmacs`, normalisations are not counted as multiply-adds: torchvision's published numbers
//! (4.09 for ResNet-50) leave them out too, and they are 0.1 to 0.6 % (4 % for MobileNetV2).

use crate::domain::model::{InputSpec, ModelCost};

/// A convolution with padding `kernel / 2`, as every network here uses (patches aside); square where it is 2D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels read.
    pub channels_in: usize,
    /// Channels written.
    pub channels_out: usize,
    /// Extent of the kernel, in every direction.
    pub kernel: usize,
    /// Step, in every direction.
    pub stride: usize,
    /// Zeros added on every side.
    pub padding: usize,
    /// Groups; as many as channels for a depthwise convolution.
    pub groups: usize,
    /// Whether a bias is added.
    pub bias: bool,
}

impl ConvShape {
    /// Ungrouped, without bias, padded by half the kernel.
    pub fn new(channels_in: usize, channels_out: usize, kernel: usize, stride: usize) -> Self {
        Self { channels_in, channels_out, kernel, stride, padding: kernel / 2, groups: 1, bias: false }
    }

    /// The same, one group a channel; `channels_in` and `channels_out` must be equal.
    pub fn depthwise(channels: usize, kernel: usize, stride: usize) -> Self {
        Self { groups: channels, ..Self::new(channels, channels, kernel, stride) }
    }

    /// The same, with a bias.
    pub fn with_bias(self) -> Self {
        Self { bias: true, ..self }
    }

    /// The same, with this padding.
    pub fn with_padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }
}

/// The size that a window of `kernel`, `stride` and `padding` leaves of `[length]` or `[height, width]`.
pub fn window_output<const D: usize>(size: [usize; D], kernel: usize, stride: usize, padding: usize) -> [usize; D] {
    size.map(|extent| {
        let padded = extent + 2 * padding;
        if extent == 0 || padded < kernel { 0 } else { (padded - kernel) / stride + 1 }
    })
}

/// Adds up the cost of one sample, layer by layer.
#[derive(Clone, Copy, Debug, Default)]
pub struct CostCounter {
    cost: ModelCost,
}

impl CostCounter {
    /// Nothing counted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted.
    pub fn finish(self) -> ModelCost {
        self.cost
    }

    /// Parameters that no helper below counts.
    pub fn parameters(&mut self, count: usize) {
        self.cost.parameter_count += count as u64;
    }

    /// A convolution over `length` positions; returns how many it writes.
    pub fn conv1d(&mut self, conv: ConvShape, length: usize) -> usize {
        let [written] = self.convolution(conv, [length]);
        written
    }

    /// A convolution over `[height, width]`; returns the size it writes.
    pub fn conv2d(&mut self, conv: ConvShape, size: [usize; 2]) -> [usize; 2] {
        self.convolution(conv, size)
    }

    fn convolution<const D: usize>(&mut self, conv: ConvShape, size: [usize; D]) -> [usize; D] {
        let output = window_output(size, conv.kernel, conv.stride, conv.padding);
        let fan_in = conv.channels_in / conv.groups * size.map(|_| conv.kernel).iter().product::<usize>();
        let written = conv.channels_out * output.iter().product::<usize>();
        self.parameters(conv.channels_out * fan_in);
        if conv.bias {
            self.parameters(conv.channels_out);
        }
        self.product(written, fan_in);
        output
    }

    /// A convolution and the batch normalisation behind it.
    pub fn conv_bn(&mut self, conv: ConvShape, size: [usize; 2]) -> [usize; 2] {
        let output = self.conv2d(conv, size);
        self.norm(conv.channels_out);
        output
    }

    /// A linear layer with bias on `rows` rows.
    pub fn linear(&mut self, rows: usize, features_in: usize, features_out: usize) {
        self.parameters(features_in * features_out + features_out);
        self.matmul(rows, features_in, features_out);
    }

    /// A linear layer without bias on `rows` rows.
    pub fn projection(&mut self, rows: usize, features_in: usize, features_out: usize) {
        self.parameters(features_in * features_out);
        self.matmul(rows, features_in, features_out);
    }

    /// A product `[m, k] x [k, n]` without parameters of its own (attention, tied weights).
    pub fn matmul(&mut self, m: usize, k: usize, n: usize) {
        self.product(m * n, k);
    }

    /// The two products of self-attention, QKᵗ and the weighted sum of V, for `sequence` tokens.
    pub fn attention(&mut self, sequence: usize, width: usize, heads: usize) {
        self.cross_attention(sequence, sequence, width, heads);
    }

    /// The same of attention from `queries` tokens to `keys` others. A causal mask saves nothing, and heads that share
    /// their keys and values do the work of heads that do not. `width` is that of all heads together.
    pub fn cross_attention(&mut self, queries: usize, keys: usize, width: usize, heads: usize) {
        self.product(heads * queries * keys, width / heads);
        self.product(queries * width, keys);
    }

    /// A transformer layer over `sequence` tokens: query, key and value (in one projection or three, which is the same
    /// work), attention, the projection back, a feed-forward part of `hidden` features, and two normalisations,
    /// wherever they stand.
    pub fn encoder_layer(&mut self, sequence: usize, width: usize, heads: usize, hidden: usize) {
        self.linear(sequence, width, 3 * width);
        self.attention(sequence, width, heads);
        self.linear(sequence, width, width);
        self.norm(width);
        self.linear(sequence, width, hidden);
        self.linear(sequence, hidden, width);
        self.norm(width);
    }

    /// The scale and shift of a batch or layer normalisation.
    pub fn norm(&mut self, features: usize) {
        self.parameters(2 * features);
    }

    /// The scale of a root mean square normalisation.
    pub fn rms_norm(&mut self, features: usize) {
        self.parameters(features);
    }

    /// A table that is read, not multiplied.
    pub fn embedding(&mut self, rows: usize, width: usize) {
        self.parameters(rows * width);
    }

    fn product(&mut self, written: usize, depth: usize) {
        self.cost.activation_count += written as u64;
        self.cost.multiply_adds += written as u64 * depth as u64;
    }
}

/// Height and width of the input `image`; zeros where there is none, which then costs nothing.
pub fn image_size(inputs: &[InputSpec]) -> [usize; 2] {
    match shape_of(inputs, "image") {
        Some([_, height, width]) => [*height, *width],
        _ => [0, 0],
    }
}

/// The length of the input `ids`; zero where there is none, which then costs nothing.
pub fn sequence_length(inputs: &[InputSpec]) -> usize {
    token_count(inputs, "ids")
}

/// The length of the input `decoder_ids`; zero where there is none, which then costs nothing.
pub fn decoder_length(inputs: &[InputSpec]) -> usize {
    token_count(inputs, "decoder_ids")
}

/// The frames of the input `mel`; zero where there is none, which then costs nothing.
pub fn frame_count(inputs: &[InputSpec]) -> usize {
    match shape_of(inputs, "mel") {
        Some([_, frames]) => *frames,
        _ => 0,
    }
}

fn token_count(inputs: &[InputSpec], name: &str) -> usize {
    match shape_of(inputs, name) {
        Some([length]) => *length,
        _ => 0,
    }
}

fn shape_of<'a>(inputs: &'a [InputSpec], name: &str) -> Option<&'a [usize]> {
    inputs.iter().find(|spec| spec.name == name).map(|spec| spec.shape.as_slice())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::zoo::registry::{find, models};

    fn cost(name: &str) -> ModelCost {
        let entry = find(name).unwrap();
        entry.cost(&entry.inputs())
    }

    #[track_caller]
    fn assert_rounds_to(value: f64, published: f64) {
        assert!((value - published).abs() <= 0.005 + 1e-9, "{value} is not {published}");
    }

    #[test]
    fn a_convolution_is_counted_by_hand() {
        let mut counter = CostCounter::new();
        let size = counter.conv2d(ConvShape::new(3, 8, 3, 2).with_bias(), [5, 5]);
        assert_eq!(size, [3, 3]);
        assert_eq!(
            counter.finish(),
            ModelCost { parameter_count: 8 * 27 + 8, multiply_adds: 72 * 27, activation_count: 72 }
        );
    }

    // The sums by hand: 4 x 3 x 3 weights and 4 biases, 5 positions of 10 at stride 2, 4 channels each; two heads of
    // width 3 with 4 queries and 7 keys.
    #[test]
    fn sound_and_cross_attention_are_counted_by_hand() {
        let mut counter = CostCounter::new();
        assert_eq!(counter.conv1d(ConvShape::new(3, 4, 3, 2).with_bias(), 10), 5);
        assert_eq!(counter.finish(), ModelCost { parameter_count: 40, multiply_adds: 20 * 9, activation_count: 20 });
        let mut counter = CostCounter::new();
        counter.cross_attention(4, 7, 6, 2);
        let (scores, sums) = (2 * 4 * 7, 4 * 6);
        assert_eq!(
            counter.finish(),
            ModelCost { parameter_count: 0, multiply_adds: scores * 3 + sums * 7, activation_count: scores + sums }
        );
    }

    #[test]
    fn windows_that_do_not_fit_write_nothing() {
        assert_eq!(window_output([0, 0], 3, 1, 1), [0, 0]);
        assert_eq!(window_output([2, 9], 7, 2, 0), [0, 2]);
    }

    // torchvision documents `_ops` of its weights: 4.089 (resnet50), 1.814 (resnet18), 0.301 (mobilenet_v2) and
    // 17.564 (vit_b_16) billions.
    #[test]
    fn multiply_adds_equal_torchvision() {
        assert_eq!((cost("resnet50").multiply_adds as f64 / 1e6).round(), 4089.0);
        assert_eq!((cost("resnet18").multiply_adds as f64 / 1e6).round(), 1814.0);
        assert_eq!((cost("mobilenet_v2").multiply_adds as f64 / 1e6).round(), 301.0);
        assert_eq!((cost("vit_b_16").multiply_adds as f64 / 1e6).round(), 17564.0);
    }

    // open_clip, docs/model_profile.csv, ViT-B-32 (two operations a multiply-add): 14.78 GFLOPs, of which 8.82 are the
    // image's and 5.96 the text's.
    #[test]
    fn multiply_adds_equal_open_clip() {
        let entry = find("clip-vit-base-patch32").unwrap();
        let operations = |inputs: &[InputSpec]| 2.0 * entry.cost(inputs).multiply_adds as f64 / 1e9;
        assert_rounds_to(operations(&entry.inputs()), 14.78);
        assert_rounds_to(operations(&entry.inputs()[..1]), 8.82);
    }

    // PyTorch 2.15's FlopCounterMode on transformers 5.23 with eager attention, halved: 17779654656 for 128 tokens of
    // smollm2, 4181721088 for 128 tokens that t5-small reads and 32 that it writes.
    #[test]
    fn multiply_adds_equal_the_counter_of_pytorch() {
        assert_eq!(cost("smollm2-135m").multiply_adds, 17_779_654_656);
        assert_eq!(cost("t5-small").multiply_adds, 4_181_721_088);
    }

    // timm, benchmark-infer-amp-nchw-pt113-cu117-rtx3090.csv (before fused attention hid its products from the
    // counter): infer_macts 11.11, 2.48, 6.68 and 23.9 for resnet50, resnet18, mobilenetv2_100 and
    // vit_base_patch16_224.
    #[test]
    fn activations_equal_timm() {
        let millions = |name| cost(name).activation_count as f64 / 1e6;
        assert_rounds_to(millions("resnet50"), 11.11);
        assert_rounds_to(millions("resnet18"), 2.48);
        assert_rounds_to(millions("mobilenet_v2"), 6.68);
        assert_rounds_to(millions("vit_b_16"), 23.90);
    }

    // The same table, infer_gmacs 4.11, 1.82 and 0.31: fvcore adds two operations for every element that an affine
    // batch normalisation writes, and each convolution is followed by one; the classifier is not.
    #[test]
    fn batch_norms_explain_the_difference_to_timm() {
        let with_norms = |name| {
            let cost = cost(name);
            (cost.multiply_adds + 2 * (cost.activation_count - 1000)) as f64 / 1e9
        };
        assert_rounds_to(with_norms("resnet50"), 4.11);
        assert_rounds_to(with_norms("resnet18"), 1.82);
        assert_rounds_to(with_norms("mobilenet_v2"), 0.31);
    }

    #[test]
    fn parameters_equal_the_module() {
        let device = Device::flex();
        for entry in models() {
            let counted = entry.cost(&entry.inputs()).parameter_count;
            assert_eq!(entry.build(&device).parameter_count(), counted, "{}", entry.name);
        }
    }

    #[test]
    fn cost_follows_the_input() {
        let entry = find("bert-base-uncased").unwrap();
        let mut inputs = entry.inputs();
        let full = entry.cost(&inputs);
        inputs[0].shape = vec![64];
        let half = entry.cost(&inputs);
        assert!(half.multiply_adds < full.multiply_adds / 2 + full.multiply_adds / 50);
        assert_eq!(half.parameter_count, full.parameter_count);
        inputs.clear();
        assert_eq!(entry.cost(&inputs).parameter_count, full.parameter_count);
    }
}
