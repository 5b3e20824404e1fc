//! Inputs of other sizes than those of the golden files.
#![cfg(feature = "flex")]

use benchdb::zoo::{Batch, WeightSource, ZooError, find, host_inputs};
use burn::tensor::Device;

use crate::support::{f32_values, relative_error};

/// Name, shape, distance of the listed values, these values, and the length of all.
type Expected = (&'static str, &'static [usize], usize, [f64; 16], f64);

/// Two images of 97 x 130 pixels, no multiples of anything that the network halves: the sixteen first values at this
/// distance, and the length of all, as `DetrForObjectDetection` of transformers 5.23 answers them.
#[test]
fn detr_takes_images_of_any_size() {
    let expected: [Expected; 2] = [
        (
            "logits",
            &[2, 100, 92],
            1149,
            [
                -1.119771, -0.1053786, -0.3824118, 0.3499765, -0.2234203, 0.2371207, 0.1616303, -1.045025, 0.5973719,
                -0.6446303, 2.616723, 1.30788, -0.1016231, -1.111961, -0.9198422, 1.002342,
            ],
            132.631_551_981_788_53,
        ),
        (
            "pred_boxes",
            &[2, 100, 4],
            49,
            [
                0.4517398, 0.5179101, 0.463276, 0.4066311, 0.451678, 0.5177308, 0.4632068, 0.406656, 0.4517842,
                0.5166376, 0.4743751, 0.4142686, 0.4523702, 0.5167578, 0.4744023, 0.4142456,
            ],
            13.116_552_247_020_799,
        ),
    ];
    let device = Device::flex();
    let entry = find("detr-resnet-50").unwrap();
    let mut network = entry.build(&device);
    network.load(&WeightSource::Seeded(0)).unwrap();
    let mut specs = entry.inputs();
    specs[0].shape = vec![3, 97, 130];
    let batch = Batch::from_host(&host_inputs(&specs, 2, 0), &device).unwrap();
    for (output, (name, shape, stride, values, length)) in network.forward(&batch).unwrap().iter().zip(expected) {
        let output = output.to_host().unwrap();
        assert_eq!((output.name.as_str(), output.shape.as_slice()), (name, shape));
        let found: Vec<f64> = f32_values(&output).iter().map(|&value| f64::from(value)).collect();
        let listed: Vec<f64> = found.iter().step_by(stride).take(16).copied().collect();
        let error = relative_error(&listed, &values);
        assert!(error <= 1e-4, "{name}: relative error {error:.3e}");
        let found = found.iter().map(|value| value * value).sum::<f64>().sqrt();
        assert!((found - length).abs() <= 1e-4 * length, "{name}: length {found}");
    }
}

/// The smallest image leaves a single token, whose place is well defined, too.
#[test]
fn detr_takes_an_image_of_one_pixel() {
    let device = Device::flex();
    let entry = find("detr-resnet-50").unwrap();
    let mut network = entry.build(&device);
    network.load(&WeightSource::Seeded(0)).unwrap();
    let mut specs = entry.inputs();
    specs[0].shape = vec![3, 1, 1];
    let batch = Batch::from_host(&host_inputs(&specs, 1, 0), &device).unwrap();
    for output in network.forward(&batch).unwrap() {
        assert!(f32_values(&output.to_host().unwrap()).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn clip_refuses_other_images_and_longer_texts() {
    let device = Device::flex();
    let entry = find("clip-vit-base-patch32").unwrap();
    let mut network = entry.build(&device);
    network.load(&WeightSource::Seeded(0)).unwrap();
    let refused = |input: usize, shape: &[usize]| {
        let mut specs = entry.inputs();
        specs[input].shape = shape.to_vec();
        let batch = Batch::from_host(&host_inputs(&specs, 1, 0), &device).unwrap();
        network.forward(&batch).unwrap_err()
    };
    assert!(matches!(refused(0, &[3, 256, 256]), ZooError::InputShape { .. }));
    assert!(matches!(refused(1, &[78]), ZooError::InputShape { .. }));
}
