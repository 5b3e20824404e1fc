//! The kernels of explanations against Burn's own operations: values and gradients of the input.

use benchdb::zoo::activation::Activation;
use benchdb::zoo::hooks::{Hooks, NoHooks, Weighted};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Distribution, Tensor};

/// What `f` writes for `x`, and what goes back from it under random weights.
fn both<const D: usize, const E: usize>(
    x: &Tensor<D>,
    weights: &Tensor<E>,
    f: impl Fn(Tensor<D>) -> Tensor<E>,
) -> (Tensor<E>, Tensor<D>) {
    let leaf = x.clone().autodiff().require_grad();
    let written = f(leaf.clone());
    let gradients = (written.clone() * weights.clone().autodiff()).sum().backward();
    // Without gradients the same must come out.
    let plain = f(x.clone());
    assert!(error(plain, written.clone().inner()) < 1e-6);
    (written.inner(), leaf.grad(&gradients).unwrap())
}

fn error<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f32 {
    let scale = expected.clone().abs().max().into_scalar::<f32>();
    (found - expected).abs().max().into_scalar::<f32>() / scale
}

fn assert_same<const D: usize, const E: usize>(
    what: &str,
    x: Tensor<D>,
    own: impl Fn(Tensor<D>) -> Tensor<E>,
    burn: impl Fn(Tensor<D>) -> Tensor<E>,
) {
    let weights = Tensor::random(burn(x.clone()).dims(), Distribution::Normal(0.0, 1.0), &x.device());
    let (found, expected) = (both(&x, &weights, own), both(&x, &weights, burn));
    assert!(error(found.0, expected.0) < 1e-5, "{what}: values");
    assert!(error(found.1, expected.1) < 1e-5, "{what}: gradients");
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn convolution([channels_in, channels_out]: [usize; 2], kernel: [usize; 2], padding: [usize; 2], bias: bool) -> Conv2d {
    let [height, width] = padding;
    Conv2dConfig::new([channels_in, channels_out], kernel)
        .with_padding(PaddingConfig2d::Explicit(height, width, height, width))
        .with_bias(bias)
        .init(&Device::flex())
}

#[test]
fn convolutions_are_burns() {
    // Samples, channels, kernel, padding, height and width, bias: padding of all sizes, output narrower and wider than the
    // input, gathered and scattered gradients, several parts and tiles, one sample and many.
    let cases = [
        (1, [3, 32], [3, 3], [1, 1], [32, 32], true),
        (5, [3, 32], [3, 3], [1, 1], [32, 32], true),
        (1, [32, 32], [3, 3], [1, 1], [32, 32], true),
        (3, [32, 64], [3, 3], [1, 1], [16, 16], false),
        (1, [128, 128], [3, 3], [1, 1], [8, 8], true),
        (4, [128, 128], [3, 3], [1, 1], [16, 16], true),
        (2, [4, 6], [3, 3], [0, 0], [7, 9], true),
        (2, [4, 6], [3, 3], [2, 2], [5, 6], true),
        (3, [2, 9], [5, 3], [1, 2], [6, 5], true),
        (2, [9, 2], [2, 4], [1, 3], [4, 6], false),
        (2, [3, 3], [1, 3], [0, 1], [1, 4], true),
        (1, [1, 8], [4, 4], [3, 0], [4, 4], true),
    ];
    for case in cases {
        let (samples, channels, kernel, padding, [height, width], bias) = case;
        let layer = convolution(channels, kernel, padding, bias);
        let x = random([samples, channels[0], height, width]);
        assert_same(&format!("{case:?}"), x, |x| Weighted::Conv2d(&layer).forward(x), |x| layer.forward(x));
    }
}

/// What the kernels are not for is left to Burn.
#[test]
fn other_convolutions_stay_as_they_are() {
    let device = Device::flex();
    let layers = [
        Conv2dConfig::new([4, 8], [3, 3]).with_stride([2, 2]),
        Conv2dConfig::new([4, 8], [3, 3]).with_dilation([2, 2]),
        Conv2dConfig::new([4, 8], [3, 3]).with_groups(2),
        Conv2dConfig::new([4, 8], [1, 1]),
        Conv2dConfig::new([4, 8], [2, 2]).with_padding(PaddingConfig2d::Same),
        Conv2dConfig::new([4, 8], [2, 2]).with_padding(PaddingConfig2d::Explicit(0, 1, 1, 0)),
    ];
    for config in layers {
        let layer = config.init(&device);
        let x = random([2, 4, 9, 8]);
        assert_same(&format!("{config}"), x, |x| Weighted::Conv2d(&layer).forward(x), |x| layer.forward(x));
    }
}

/// Inputs that do not lie in their order.
#[test]
fn turned_inputs_are_read_in_their_order() {
    let layer = convolution([4, 8], [3, 3], [1, 1], true);
    let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
    let turned = |x: Tensor<4>| x.swap_dims(2, 3);
    let x = random([2, 4, 6, 8]);
    let own = |x| Weighted::Conv2d(&layer).forward(turned(x));
    assert_same("convolution", x.clone(), own, |x| layer.forward(turned(x)));
    assert_same("pooling", x.clone(), |x| NoHooks.max_pool(&pool, turned(x)), |x| pool.forward(turned(x)));
    let flat = |x: Tensor<4>| x.swap_dims(0, 1).reshape([8, 48]);
    assert_same("relu", x, |x| NoHooks.activation(Activation::Relu, flat(x)), |x| relu(flat(x)));
}

#[test]
fn poolings_are_burns() {
    let pool = |window: [usize; 2], stride: [usize; 2]| -> MaxPool2d {
        MaxPool2dConfig::new(window).with_strides(stride).init()
    };
    let cases = [
        ([2, 2], [2, 2], [3, 5, 8, 6]),
        ([3, 2], [3, 2], [2, 3, 9, 4]),
        ([1, 3], [1, 3], [2, 3, 4, 6]),
        ([2, 2], [2, 2], [16, 8, 32, 32]),
        ([2, 2], [2, 2], [1, 2, 7, 6]),
        ([3, 3], [2, 2], [1, 2, 7, 7]),
    ];
    for (window, stride, shape) in cases {
        let layer = pool(window, stride);
        // Rectified, so that windows of zeros have several maxima: the first one wins.
        let x = relu(random(shape) - 0.5);
        assert_same(&format!("{window:?} {shape:?}"), x, |x| NoHooks.max_pool(&layer, x), |x| layer.forward(x));
    }
}

#[test]
fn rectifiers_are_burns_and_keep_what_others_hold() {
    let x = random([7, 5000]);
    let before = x.clone() * 1.0;
    assert_same("relu", x.clone(), |x| NoHooks.activation(Activation::Relu, x), relu);
    assert_eq!(error(x, before), 0.0);
    let odd = Tensor::<2>::from_floats([[f32::NAN, -1.0, f32::INFINITY, -0.0]], &Device::flex());
    let found = NoHooks.activation(Activation::Relu, odd).try_to_vec_as::<f32>().unwrap();
    assert!(found[0].is_nan());
    assert_eq!(found[1..], [0.0, f32::INFINITY, 0.0]);
}
