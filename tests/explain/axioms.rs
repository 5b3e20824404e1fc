//! What attributions must obey whatever the network: on random inputs and small random networks.
#![cfg(feature = "flex")]

use benchdb::domain::model::HostTensor;
use benchdb::explain::{Subject, Target, explain};
use benchdb::zoo::Network;
use benchdb::zoo::cifar_cnn::CifarCnnConfig;
use benchdb::zoo::mobilenet_v2::MobileNetV2Config;
use benchdb::zoo::network::boxed;
use benchdb::zoo::resnet::{BlockKind, ResNetConfig};
use burn::tensor::Device;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{
    attributed, floats, image, method, norm, relative_error, scores, scores_of_zeros, values, with_weights,
};

const CLASSES: usize = 3;
const SIZE: usize = 32;
const PIXELS: usize = SIZE * SIZE;

/// Convolutions, pools and linear layers of random widths.
fn small_cnn(device: &Device, widths: (usize, usize)) -> Box<dyn Network> {
    let (channels, hidden) = widths;
    let config = CifarCnnConfig { channels: [channels, channels + 1, channels + 2], hidden, classes: CLASSES };
    boxed(config.init(device), device)
}

/// Normalisations, shortcuts, pools that overlap, and means.
fn small_resnet(device: &Device) -> Box<dyn Network> {
    boxed(ResNetConfig { kind: BlockKind::Basic, blocks: [1; 4], classes: CLASSES }.init(device), device)
}

fn widths() -> impl Strategy<Value = (usize, usize)> {
    (2..6_usize, 3..12_usize)
}

fn as_made(_: &str, _: &[usize], _: &mut [f32]) {}

/// Both samples of a pair, explained for one class.
fn subject<'n>(network: &'n dyn Network, inputs: &[HostTensor], class: usize) -> Subject<'n> {
    Subject::new(network, inputs).unwrap().with_targets(&[Target::class(class)]).unwrap().with_inner_batch(64)
}

fn of_name(name: &str, parameters: Value) -> (String, Value) {
    (name.to_owned(), parameters)
}

/// Every method on pictures, short.
fn all_methods() -> Vec<(String, Value)> {
    vec![
        of_name("saliency", json!({})),
        of_name("input_x_gradient", json!({})),
        of_name("integrated_gradients", json!({ "steps": 8 })),
        of_name("gradient_shap", json!({ "samples": 4, "noise_std": 0.1 })),
        of_name("deeplift", json!({})),
        of_name("deeplift", json!({ "max_pool": "rescale" })),
        of_name("deeplift_shap", json!({})),
        of_name("grad_cam", json!({ "relu": false })),
        of_name("guided_grad_cam", json!({})),
        of_name("guided_backpropagation", json!({})),
        of_name("deconvolution", json!({})),
        of_name("occlusion", json!({ "window": [1, 8, 8], "stride": [1, 4, 8] })),
        of_name("lrp", json!({})),
        of_name("lrp", json!({ "rule": "gamma" })),
        of_name("lrp", json!({ "rule": "alpha1_beta0" })),
        of_name("smooth_grad", json!({ "absolute": false })),
    ]
}

/// The sums over each sample's features, and how large a rounding error of them may be.
fn sums(attribution: &[f64], samples: usize) -> Vec<(f64, f64)> {
    let features = attribution.len() / samples;
    attribution.chunks(features).map(|sample| (sample.iter().sum(), sample.iter().map(|v| v.abs()).sum())).collect()
}

fn assert_complete(attribution: &[f64], expected: &[f64], tolerance: f64) {
    for ((sum, scale), expected) in sums(attribution, expected.len()).into_iter().zip(expected) {
        assert!((sum - expected).abs() <= tolerance * scale + 1e-6, "{sum} is not {expected}; scale {scale}");
    }
}

fn differences(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a - b).collect()
}

/// How much the gradient at one pixel moves altogether while that pixel alone goes from 0 to `to`.
fn variation(network: &dyn Network, pixel: usize, to: f32, steps: usize) -> f64 {
    let features = 3 * PIXELS;
    let mut inputs = image(SIZE, steps, 0);
    if let benchdb::domain::model::HostData::F32(values) = &mut inputs[0].data {
        values.fill(0.0);
        for step in 0..steps {
            values[step * features + pixel] = to * (step as f32 + 0.5) / steps as f32;
        }
    }
    let found = attributed(method("saliency", json!({ "absolute": false })).as_ref(), &subject(network, &inputs, 0));
    let gradients: Vec<f64> = found.chunks_exact(features).map(|sample| sample[pixel]).collect();
    gradients.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(8) })]

    /// The gradient jumps at kinks, between which the path is straight: 200 places leave some hundredths of what moves.
    #[test]
    fn integrated_gradients_are_complete(seed in 0..1000_u64, widths in widths(), class in 0..CLASSES) {
        let device = Device::flex();
        let network = with_weights(small_cnn(&device, widths), seed, as_made);
        let subject = subject(network.as_ref(), &image(SIZE, 2, seed), class);
        let change = differences(&scores(&subject), &scores_of_zeros(&subject));
        let found = attributed(method("integrated_gradients", json!({ "steps": 200 })).as_ref(), &subject);
        assert_complete(&found, &change, 5e-3);
    }

    #[test]
    fn deeplift_is_complete(seed in 0..1000_u64, widths in widths(), class in 0..CLASSES) {
        let device = Device::flex();
        let network = with_weights(small_cnn(&device, widths), seed, as_made);
        let subject = subject(network.as_ref(), &image(SIZE, 2, seed), class);
        let change = differences(&scores(&subject), &scores_of_zeros(&subject));
        assert_complete(&attributed(method("deeplift", json!({ "max_pool": "rescale" })).as_ref(), &subject), &change, 1e-4);
    }

    #[test]
    fn deeplift_shap_is_complete_in_the_mean(seed in 0..1000_u64, widths in widths(), class in 0..CLASSES) {
        let device = Device::flex();
        let network = with_weights(small_cnn(&device, widths), seed, as_made);
        let baselines = image(SIZE, 3, seed + 1);
        let before = scores(&subject(network.as_ref(), &baselines, class));
        let mean = before.iter().sum::<f64>() / before.len() as f64;
        let subject = subject(network.as_ref(), &image(SIZE, 2, seed), class).with_baselines(&baselines[0]).unwrap();
        let change: Vec<f64> = scores(&subject).iter().map(|score| score - mean).collect();
        let given = method("deeplift_shap", json!({ "baseline": "given", "max_pool": "rescale" }));
        assert_complete(&attributed(given.as_ref(), &subject), &change, 1e-4);
    }

    #[test]
    fn lrp_is_complete_without_biases(seed in 0..1000_u64, widths in widths(), class in 0..CLASSES) {
        let device = Device::flex();
        let network = with_weights(small_cnn(&device, widths), seed, |name, _, values| {
            if name.ends_with(".bias") {
                values.fill(0.0);
            }
        });
        let subject = subject(network.as_ref(), &image(SIZE, 2, seed), class);
        let expected = scores(&subject);
        assert_complete(&attributed(method("lrp", json!({})).as_ref(), &subject), &expected, 1e-4);
        let gamma = method("lrp", json!({ "rule": "gamma", "gamma": 0.1 }));
        assert_complete(&attributed(gamma.as_ref(), &subject), &expected, 1e-3);
    }

    /// One pixel differs from the baseline: all of the change is its own.
    #[test]
    fn what_changes_the_score_alone_gets_all_of_it(seed in 0..1000_u64, widths in widths(), pixel in 0..3 * PIXELS) {
        let device = Device::flex();
        let network = with_weights(small_cnn(&device, widths), seed, as_made);
        let mut inputs = image(SIZE, 1, seed);
        if let benchdb::domain::model::HostData::F32(values) = &mut inputs[0].data {
            values.fill(0.0);
            values[pixel] = 5.0;
        }
        let subject = subject(network.as_ref(), &inputs, 0);
        let change = scores(&subject)[0] - scores_of_zeros(&subject)[0];
        // A sum over places misses at most the variation of what is summed, times the widest gap between two of them.
        let steps = 400;
        let missed = variation(network.as_ref(), pixel, 5.0, steps) * 5.0 * 2.0 / steps as f64;
        for (name, parameters, tolerance) in [
            ("integrated_gradients", json!({ "steps": steps }), missed),
            ("deeplift", json!({ "max_pool": "rescale" }), 1e-3 * change.abs()),
            ("occlusion", json!({ "window": [1, 1, 1], "stride": [1, 1, 1] }), 1e-4 * change.abs()),
        ] {
            let found = attributed(method(name, parameters).as_ref(), &subject);
            for (place, value) in found.iter().enumerate() {
                let expected = if place == pixel { change } else { 0.0 };
                assert!((value - expected).abs() <= tolerance + 1e-5, "{name} at {place}: {value}, {expected}");
            }
        }
    }

    /// A colour that no weight reads.
    #[test]
    fn what_cannot_change_the_score_gets_nothing(seed in 0..1000_u64, widths in widths(), colour in 0..3_usize) {
        let device = Device::flex();
        let network = with_weights(small_cnn(&device, widths), seed, |name, shape, values| {
            if name == "conv1.weight" {
                let kernel: usize = shape[2..].iter().product();
                values.chunks_mut(kernel).skip(colour).step_by(3).for_each(|kernel| kernel.fill(0.0));
            }
        });
        let subject = subject(network.as_ref(), &image(SIZE, 1, seed), 1);
        for (name, parameters) in all_methods() {
            if name != "grad_cam" {
                let found = attributed(method(&name, parameters).as_ref(), &subject);
                let unread = norm(&found[colour * PIXELS..(colour + 1) * PIXELS]);
                assert!(unread <= 1e-6 * norm(&found), "{name}: {unread} of {}", norm(&found));
            }
        }
    }

    /// The third class is a sum of the other two.
    #[test]
    fn attributions_are_linear_in_the_score(seed in 0..1000_u64, widths in widths(), a in -2.0..2.0_f32, b in 0.5..2.0_f32) {
        let device = Device::flex();
        let network = with_weights(small_cnn(&device, widths), seed, |name, shape, values| {
            if name.starts_with("fc2.") {
                let width: usize = shape[1..].iter().product();
                for place in 0..width {
                    values[2 * width + place] = a * values[place] + b * values[width + place];
                }
            }
        });
        let inputs = image(SIZE, 2, seed);
        for (name, parameters) in [
            ("saliency", json!({ "absolute": false })),
            ("input_x_gradient", json!({})),
            ("integrated_gradients", json!({ "steps": 8 })),
            ("gradient_shap", json!({ "noise_std": 0.1 })),
            ("deeplift", json!({})),
            ("deeplift", json!({ "max_pool": "rescale" })),
            ("deeplift_shap", json!({})),
            ("grad_cam", json!({ "relu": false })),
            ("occlusion", json!({})),
            ("lrp", json!({})),
            ("smooth_grad", json!({ "absolute": false })),
        ] {
            let method = method(name, parameters);
            let of_class = |class| attributed(method.as_ref(), &subject(network.as_ref(), &inputs, class));
            let (first, second, sum) = (of_class(0), of_class(1), of_class(2));
            let expected: Vec<f64> =
                first.iter().zip(&second).map(|(x, y)| f64::from(a) * x + f64::from(b) * y).collect();
            let scale = f64::from(a.abs()) * norm(&first) + f64::from(b) * norm(&second);
            let error = norm(&differences(&sum, &expected));
            assert!(error <= 1e-4 * scale, "{name}: {error} of {scale}");
        }
    }

    #[test]
    fn occlusion_equals_its_definition(
        seed in 0..1000_u64,
        window in (1..4_usize, 4..20_usize, 4..20_usize),
        steps in (1..4_usize, 1..3_usize, 1..3_usize),
    ) {
        let device = Device::flex();
        let network = with_weights(small_cnn(&device, (2, 4)), seed, as_made);
        let window = [window.0, window.1, window.2];
        // Never larger than the window, so that nothing is left out.
        let stride = [window[0].div_ceil(steps.0), window[1].div_ceil(steps.1), window[2].div_ceil(steps.2)];
        let inputs = image(SIZE, 1, seed);
        let score = |inputs: &[HostTensor]| scores(&subject(network.as_ref(), inputs, 2))[0];
        let before = score(&inputs);
        let baseline = image(SIZE, 1, seed + 7);
        let starts = |axis: usize, extent: usize| {
            let mut starts = vec![0];
            while starts[starts.len() - 1] + window[axis] < extent {
                starts.push(starts[starts.len() - 1] + stride[axis]);
            }
            starts
        };
        let (mut sums, mut counts) = (vec![0.0; 3 * PIXELS], vec![0.0; 3 * PIXELS]);
        for channel in starts(0, 3) {
            for row in starts(1, SIZE) {
                for column in starts(2, SIZE) {
                    let mut covered = floats(&inputs[0]);
                    let cover = floats(&baseline[0]);
                    let mut places = Vec::new();
                    for c in channel..(channel + window[0]).min(3) {
                        for y in row..(row + window[1]).min(SIZE) {
                            for x in column..(column + window[2]).min(SIZE) {
                                let place = (c * SIZE + y) * SIZE + x;
                                covered[place] = cover[place];
                                places.push(place);
                            }
                        }
                    }
                    let data = covered.into_iter().map(|value| value as f32).collect();
                    let covered =
                        HostTensor { data: benchdb::domain::model::HostData::F32(data), ..inputs[0].clone() };
                    let loss = before - score(&[covered]);
                    for place in places {
                        sums[place] += loss;
                        counts[place] += 1.0;
                    }
                }
            }
        }
        let expected: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect();
        let occlusion = method("occlusion", json!({ "window": window, "stride": stride, "baseline": "given" }));
        let subject = subject(network.as_ref(), &inputs, 2).with_baselines(&baseline[0]).unwrap().with_inner_batch(5);
        let found = attributed(occlusion.as_ref(), &subject);
        assert!(relative_error(&found, &expected) < 1e-4);
    }
}

/// Layers that the small network does not have: normalisations, shortcuts, overlapping pools, ReLU6, depthwise
/// convolutions, means over pixels.
#[test]
fn deeplift_is_complete_on_networks_of_other_layers() {
    let device = Device::flex();
    let mobilenet =
        boxed(MobileNetV2Config { classes: CLASSES, ..MobileNetV2Config::default() }.init(&device), &device);
    for (network, seed) in [(small_resnet(&device), 1), (small_resnet(&device), 2), (mobilenet, 3)] {
        let network = with_weights(network, seed, as_made);
        let subject = subject(network.as_ref(), &image(64, 2, seed), 1);
        let change = differences(&scores(&subject), &scores_of_zeros(&subject));
        assert_complete(
            &attributed(method("deeplift", json!({ "max_pool": "rescale" })).as_ref(), &subject),
            &change,
            1e-3,
        );
    }
}

/// LRP by the epsilon rule with a small epsilon is the input times the gradient where every function is a ReLU.
#[test]
fn lrp_is_the_input_times_the_gradient_on_rectified_networks() {
    let device = Device::flex();
    let network = with_weights(small_resnet(&device), 5, as_made);
    let subject = subject(network.as_ref(), &image(64, 2, 5), 0);
    let lrp = attributed(method("lrp", json!({})).as_ref(), &subject);
    let product = attributed(method("input_x_gradient", json!({})).as_ref(), &subject);
    assert!(relative_error(&lrp, &product) < 1e-4);
}

/// The same network on both processors' engines has the same explanations. (GPU runtimes compile a kernel for every shape,
/// which takes minutes on a software adapter: the golden cases are enough for them.)
#[cfg(feature = "ndarray")]
#[test]
fn engines_agree() {
    let Some(other) = crate::support::ndarray() else { return };
    // LRP divides by sums that may cancel.
    let tolerance = |name: &str| if name == "lrp" { 5e-3 } else { 1e-4 };
    for (seed, class) in [(3, 0), (4, 2)] {
        let explained = |device: &Device| -> Vec<(String, Vec<f64>)> {
            let network = with_weights(small_cnn(device, (3, 8)), seed, as_made);
            let subject = subject(network.as_ref(), &image(SIZE, 2, seed), class);
            all_methods()
                .into_iter()
                .map(|(name, parameters)| {
                    let method = method(&name, parameters);
                    (name, values(&explain(method.as_ref(), &subject).unwrap()))
                })
                .collect()
        };
        for ((name, found), (_, expected)) in explained(&other).iter().zip(&explained(&Device::flex())) {
            let error = relative_error(found, expected);
            assert!(error < tolerance(name), "{name}: {error:.2e}");
        }
    }
}
