//! Every method against Captum's attributions on `cifar_cnn`, with Captum's own parameters.
//!
//! The golden file holds what Captum computes in single precision. Where one rectifier stands at zero, or a divisor cancels, that
//! is itself off: `fixtures/golden/explanations-cifar_cnn-float64.json` has the same in double precision
//! (tools/explanations_float64.py). An answer agrees that is as near as the tolerance to either of them.

use std::collections::BTreeMap;
use std::path::Path;

use benchdb::domain::model::{HostData, HostTensor};
use benchdb::explain::{Subject, Target, explain};
use benchdb::zoo::rule;
use burn::tensor::Device;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{attributed, image, method, network, norm, relative_error, values};

#[derive(Deserialize)]
struct Golden {
    targets: Vec<usize>,
    shap_relative_error: f64,
    methods: BTreeMap<String, Case>,
}

#[derive(Deserialize)]
struct Case {
    parameters: Value,
    attribution: Expected,
}

#[derive(Deserialize)]
struct Expected {
    shape: Vec<usize>,
    l2: f64,
    stride: usize,
    values: Vec<f64>,
}

/// The same in double precision.
#[derive(Deserialize)]
struct Exact {
    methods: BTreeMap<String, Listed>,
}

#[derive(Deserialize)]
struct Listed {
    values: Vec<f64>,
    l2: f64,
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

impl Golden {
    fn read() -> Self {
        read("explanations-cifar_cnn.json")
    }
}

impl Exact {
    fn read() -> Self {
        read("explanations-cifar_cnn-float64.json")
    }
}

fn rounded(errors: &[f64]) -> String {
    errors.iter().map(|error| format!("{error:.2e}")).collect::<Vec<_>>().join(" and ")
}

fn apart(a: f64, b: f64) -> f64 {
    (a - b).abs() / b.abs()
}

/// Our parameters for those of the golden file, and how near the answer must come.
fn parameters(name: &str, golden: &Golden) -> (Value, f64) {
    let given = &golden.methods[name].parameters;
    let parameters = match name.split('@').next().unwrap() {
        "integrated_gradients" => {
            assert_eq!(given["quadrature"], "gauss-legendre");
            json!({ "baseline": "zeros", "steps": given["steps"], "quadrature": "gauss_legendre" })
        }
        // An expectation, of which the reference has drawn enough to differ from itself by its own error: so many draws that
        // ours adds little to that, whatever they are.
        "gradient_shap" => json!({ "noise_std": given["noise_std"], "samples": 256, "stratified": true }),
        "deeplift" => json!({ "baseline": given["baseline"] }),
        "deeplift_shap" => json!({ "baseline": "given" }),
        "guided_grad_cam" => json!({ "layer": given["layer"] }),
        _ => given.clone(),
    };
    let tolerance = if name == "gradient_shap" { golden.shap_relative_error } else { 1e-3 };
    (parameters, tolerance)
}

/// `0.5 * s('baseline.image')` of four pictures.
fn baselines() -> HostTensor {
    let shape = vec![4, 3, 32, 32];
    let values = rule::floats("baseline.image", shape.iter().product(), 0).iter().map(|value| 0.5 * value).collect();
    HostTensor { name: "baseline".into(), shape, data: HostData::F32(values) }
}

/// The listed values are within the tolerance of Captum's single or double precision, and the length is. Single precision may
/// be off as Captum's own is: twice the distance between both is allowed to the length, which sums over all values, where that is
/// more. That is so under LRP's gamma rule, where one unit of the first convolution is divided by a sum that cancels to nearly
/// nothing (Captum's length is 4.4 per cent off in single precision), and its alpha1-beta0 rule (0.15 per cent).
fn assert_golden(device: Option<Device>, inner_batch: usize) {
    let Some(device) = device else { return };
    let (golden, exact) = (Golden::read(), Exact::read());
    let network = network("cifar_cnn", &device);
    let targets: Vec<Target> = golden.targets.iter().map(|&class| Target::class(class)).collect();
    let subject = Subject::new(network.as_ref(), &image(32, 2, 0)).unwrap();
    let subject = subject.with_targets(&targets).unwrap().with_inner_batch(inner_batch);
    let subject = subject.with_baselines(&baselines()).unwrap();
    let mut wrong = Vec::new();
    for (name, case) in &golden.methods {
        let (parameters, tolerance) = parameters(name, &golden);
        let method = method(name.split('@').next().unwrap(), parameters);
        let attribution = explain(method.as_ref(), &subject).unwrap();
        let found = values(&attribution);
        let expected = &case.attribution;
        assert_eq!(attribution.to_host().unwrap().shape, expected.shape, "{name}");
        let listed: Vec<f64> = found.iter().step_by(expected.stride).take(64).copied().collect();
        let (mut errors, mut lengths) = (vec![relative_error(&listed, &expected.values)], vec![]);
        let mut of_length = tolerance;
        lengths.push(apart(norm(&found), expected.l2));
        if let Some(exact) = exact.methods.get(name) {
            errors.push(relative_error(&listed, &exact.values));
            lengths.push(apart(norm(&found), exact.l2));
            of_length = of_length.max(2.0 * apart(expected.l2, exact.l2));
        }
        eprintln!(
            "{name}: relative errors (single, double) {}, lengths {}; {:?} passes a sample",
            rounded(&errors),
            rounded(&lengths),
            attribution.passes_per_sample()
        );
        let agrees = |errors: &[f64], tolerance: f64| errors.iter().any(|&error| error <= tolerance);
        if !agrees(&errors, tolerance) || !agrees(&lengths, of_length) {
            wrong.push(format!("{name}: {}, {}", rounded(&errors), rounded(&lengths)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[cfg(feature = "flex")]
#[test]
fn captum_on_flex() {
    assert_golden(crate::support::flex(), 64);
}

/// Without strata, as Captum draws.
#[cfg(feature = "flex")]
#[test]
#[ignore = "8000 passes: half a minute on quiet cores"]
fn captums_draws_on_flex() {
    let golden = Golden::read();
    let (subject_device, case) = (crate::support::flex().unwrap(), &golden.methods["gradient_shap"].attribution);
    let network = network("cifar_cnn", &subject_device);
    let targets: Vec<Target> = golden.targets.iter().map(|&class| Target::class(class)).collect();
    let subject = Subject::new(network.as_ref(), &image(32, 2, 0)).unwrap().with_targets(&targets).unwrap();
    let found = attributed(method("gradient_shap", json!({ "samples": 2000 })).as_ref(), &subject.with_inner_batch(64));
    let listed: Vec<f64> = found.iter().step_by(case.stride).take(64).copied().collect();
    assert!(relative_error(&listed, &case.values) <= golden.shap_relative_error);
}

/// Rows of one sample or two share a pass, so that every seam between passes is crossed.
#[cfg(feature = "flex")]
#[test]
fn captum_on_flex_in_small_batches() {
    assert_golden(crate::support::flex(), 3);
}

#[cfg(feature = "ndarray")]
#[test]
fn captum_on_ndarray() {
    assert_golden(crate::support::ndarray(), 32);
}

/// Few sizes of a pass, because GPU runtimes compile and tune kernels for each of them.
#[cfg(feature = "wgpu")]
#[test]
fn captum_on_wgpu() {
    assert_golden(crate::support::wgpu(), 4);
}
