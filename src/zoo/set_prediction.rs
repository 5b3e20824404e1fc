//! The set prediction loss of DETR (Carion et al., "End-to-end object detection with transformers", 2020, section
//! 3.1): predictions and objects are matched one to one, then every prediction is told its class and the matched ones
//! their box. Weights and reductions are those of the reference, `ForObjectDetectionLoss` of transformers.

use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Device, Int, Tensor, TensorData};

use super::assignment::assign;
use super::error::ZooError;
use super::targets::{Object, Targets};

/// Of the probability of the right class, in matching alone.
const CLASS_COST: f64 = 1.0;
/// Of the distance of two boxes, in matching and in the loss.
const DISTANCE_WEIGHT: f64 = 5.0;
/// Of the generalised intersection over union, in matching and in the loss.
const OVERLAP_WEIGHT: f64 = 2.0;
/// Of predictions that no object belongs to, in the cross-entropy; the others weigh 1.
const NO_OBJECT_WEIGHT: f32 = 0.1;

/// The loss of `[batch, queries, classes + 1]` logits (the last class means no object) and `[batch, queries, 4]`
/// boxes (centre x, centre y, width and height as shares of the image): the weighted cross-entropy, and by object the
/// distance (L1) and 1 - GIoU of the boxes, weighted 5 and 2.
///
/// The matching is done on the host, as in the reference: this waits for the device.
///
/// # Errors
///
/// Targets that are no objects, of another batch size or of classes that the network does not have, or a device that
/// does not hand the predictions over.
pub(super) fn set_prediction_loss(
    logits: Tensor<3>,
    boxes: Tensor<3>,
    targets: &Targets,
) -> Result<Tensor<1>, ZooError> {
    let [batch, queries, outputs] = logits.dims();
    let no_object = outputs - 1;
    let images = match targets {
        Targets::Objects(images) if images.len() == batch => images,
        _ => return Err(ZooError::Targets { expected: "the objects of every image" }),
    };
    if images.iter().flatten().any(|object| object.class >= no_object) {
        return Err(ZooError::Targets { expected: "classes of objects that the network has" });
    }
    let device = logits.device();
    let pairs = matched(&logits, &boxes, images)?;

    let mut classes = vec![no_object as i64; batch * queries];
    for &(prediction, object) in &pairs {
        classes[prediction] = object.class as i64;
    }
    let mut weights = vec![1.0; outputs];
    weights[no_object] = NO_OBJECT_WEIGHT;
    let cross_entropy = CrossEntropyLossConfig::new().with_weights(Some(weights)).init(&device).forward(
        logits.reshape([batch * queries, outputs]),
        Tensor::from_data(TensorData::new(classes, [batch * queries]), &device),
    );
    if pairs.is_empty() {
        return Ok(cross_entropy);
    }

    let predicted = boxes.reshape([batch * queries, 4]).select(0, predictions(&pairs, &device)); // [matched, 4]
    let right: Vec<f32> = pairs.iter().flat_map(|(_, object)| object.area).collect();
    let right = Tensor::<2>::from_data(TensorData::new(right, [pairs.len(), 4]), &device);
    let distance = (predicted.clone() - right.clone()).abs().sum();
    let overlap = (generalized_overlap(predicted, right).neg() + 1.0).sum();
    // Objects that found no prediction count, too.
    let objects = images.iter().map(Vec::len).sum::<usize>() as f64;
    Ok(cross_entropy + (distance * DISTANCE_WEIGHT + overlap * OVERLAP_WEIGHT) / objects)
}

/// Pairs of a prediction, by its place in the flattened `[batch * queries]`, and its object.
fn matched<'o>(
    logits: &Tensor<3>,
    boxes: &Tensor<3>,
    images: &'o [Vec<Object>],
) -> Result<Vec<(usize, &'o Object)>, ZooError> {
    let [_, queries, outputs] = logits.dims();
    let logits = host(logits, "logits")?;
    let boxes = host(boxes, "pred_boxes")?;
    let mut pairs = Vec::new();
    for (image, objects) in images.iter().enumerate() {
        let first = image * queries;
        let probabilities: Vec<Vec<f64>> =
            logits[first * outputs..][..queries * outputs].chunks_exact(outputs).map(softmax).collect();
        let areas: Vec<[f64; 4]> = boxes[first * 4..][..queries * 4]
            .chunks_exact(4)
            .map(|area| [area[0], area[1], area[2], area[3]].map(f64::from))
            .collect();
        let found = assign(objects.len(), queries, |object, query| {
            let Object { class, area } = &objects[object];
            let area = area.map(f64::from);
            let distance: f64 = area.iter().zip(&areas[query]).map(|(a, b)| (a - b).abs()).sum();
            DISTANCE_WEIGHT * distance
                - CLASS_COST * probabilities[query][*class]
                - OVERLAP_WEIGHT * host_overlap(area, areas[query])
        });
        pairs.extend(found.into_iter().map(|(object, query)| (first + query, &objects[object])));
    }
    Ok(pairs)
}

fn host(tensor: &Tensor<3>, name: &str) -> Result<Vec<f32>, ZooError> {
    tensor.try_to_vec_as::<f32>().map_err(|source| ZooError::Read { name: name.to_owned(), source: Box::new(source) })
}

fn predictions(pairs: &[(usize, &Object)], device: &Device) -> Tensor<1, Int> {
    let places: Vec<i64> = pairs.iter().map(|(prediction, _)| *prediction as i64).collect();
    let count = places.len();
    Tensor::from_data(TensorData::new(places, [count]), device)
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|&logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The generalised intersection over union (Rezatofighi et al. 2019) of two boxes, in [-1, 1]: IoU less the share of
/// the smallest box around both that neither covers. No number for two boxes without any area.
fn host_overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let edges = |area: [f64; 4], axis: usize| {
        let (centre, half) = (area[axis], area[axis + 2] / 2.0);
        (centre - half, centre + half)
    };
    let (mut intersection, mut around) = (1.0, 1.0);
    for axis in [0, 1] {
        let ((a_low, a_high), (b_low, b_high)) = (edges(a, axis), edges(b, axis));
        intersection *= (a_high.min(b_high) - a_low.max(b_low)).max(0.0);
        around *= a_high.max(b_high) - a_low.min(b_low);
    }
    let union = a[2] * a[3] + b[2] * b[3] - intersection;
    intersection / union - (around - union) / around
}

/// The same on the device and row by row: twice `[boxes, 4]` to `[boxes, 1]`.
fn generalized_overlap(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let edges = |area: &Tensor<2>| {
        let (centre, half) = (area.clone().narrow(1, 0, 2), area.clone().narrow(1, 2, 2) / 2.0);
        (centre.clone() - half.clone(), centre + half) // [boxes, 2] each
    };
    let product = |sides: Tensor<2>| sides.clone().narrow(1, 0, 1) * sides.narrow(1, 1, 1); // [boxes, 1]
    let ((a_low, a_high), (b_low, b_high)) = (edges(&a), edges(&b));
    let shared = a_high.clone().min_pair(b_high.clone()) - a_low.clone().max_pair(b_low.clone());
    let intersection = product(shared.clamp_min(0.0));
    let around = product(a_high.max_pair(b_high) - a_low.min_pair(b_low));
    let union = product(a.narrow(1, 2, 2)) + product(b.narrow(1, 2, 2)) - intersection.clone();
    intersection / union.clone() - (around.clone() - union) / around
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::rule;

    fn area(values: &[f32]) -> [f32; 4] {
        [values[0], values[1], values[2], values[3]]
    }

    /// Boxes inside of the image: centres in [0.25, 0.75], sides in [0.1, 0.5).
    fn areas(name: &str, count: usize) -> Vec<[f32; 4]> {
        rule::floats(name, 4 * count, 0)
            .chunks_exact(4)
            .map(|signed| {
                let side = |signed: f32| 0.3 + 0.2 * signed;
                [0.5 + 0.25 * signed[0], 0.5 + 0.25 * signed[1], side(signed[2]), side(signed[3])]
            })
            .collect()
    }

    fn boxes(areas: &[[f32; 4]], device: &Device) -> Tensor<2> {
        Tensor::from_data(TensorData::new(areas.concat(), [areas.len(), 4]), device)
    }

    #[test]
    fn overlaps_are_those_of_simple_boxes() {
        let unit = [0.5, 0.5, 1.0, 1.0];
        assert_eq!(host_overlap(unit, unit), 1.0);
        // A half of the other.
        assert_eq!(host_overlap(unit, [0.25, 0.5, 0.5, 1.0]), 0.5);
        // Two apart: no union inside, a third of the box around them is covered by neither.
        assert!((host_overlap(unit, [2.5, 0.5, 1.0, 1.0]) + 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn host_and_device_agree_on_overlaps() {
        let device = Device::flex();
        let (a, b) = (areas("a", 50), areas("b", 50));
        let found: Vec<f32> = generalized_overlap(boxes(&a, &device), boxes(&b, &device)).try_to_vec_as().unwrap();
        for ((a, b), found) in a.iter().zip(&b).zip(found) {
            let expected = host_overlap(a.map(f64::from), b.map(f64::from));
            assert!((f64::from(found) - expected).abs() < 1e-5, "{found} is not {expected}");
        }
    }

    fn prediction(batch: usize, queries: usize, outputs: usize, device: &Device) -> (Tensor<3>, Tensor<3>) {
        let logits: Vec<f32> =
            rule::floats("logits", batch * queries * outputs, 0).into_iter().map(|logit| 3.0 * logit).collect();
        let boxes = boxes(&areas("boxes", batch * queries), device).reshape([batch, queries, 4]);
        (Tensor::from_data(TensorData::new(logits, [batch, queries, outputs]), device), boxes)
    }

    fn objects(image: usize, count: usize, classes: usize) -> Vec<Object> {
        let chosen = rule::tokens(&format!("classes.{image}"), count, classes, 0);
        areas(&format!("objects.{image}"), count)
            .into_iter()
            .zip(chosen)
            .map(|(area, class)| Object { class: class as usize, area })
            .collect()
    }

    fn loss(images: Vec<Vec<Object>>, queries: usize) -> f32 {
        let device = Device::flex();
        let (logits, boxes) = prediction(images.len(), queries, 6, &device);
        let loss = set_prediction_loss(logits, boxes, &Targets::Objects(images)).unwrap();
        loss.into_scalar::<f32>()
    }

    // `ForObjectDetectionLoss` of transformers 5.23 on the same predictions and objects (matched by SciPy 1.17):
    // usual numbers of objects, an image without any, no object at all, and more objects than predictions.
    #[test]
    fn losses_equal_the_reference() {
        let cases: [(&[usize], usize, f32); 4] =
            [(&[3, 5], 8, 6.643_734_5), (&[0, 2], 8, 5.853_085), (&[0, 0], 8, 2.856_074_8), (&[4, 6], 4, 5.037_225)];
        for (counts, queries, expected) in cases {
            let images = counts.iter().enumerate().map(|(image, &count)| objects(image, count, 5)).collect();
            let found = loss(images, queries);
            assert!((found - expected).abs() <= 1e-5 * expected, "{counts:?}: {found} is not {expected}");
        }
    }

    #[test]
    fn right_predictions_cost_next_to_nothing() {
        let device = Device::flex();
        let right = objects(0, 2, 5);
        // The queries in reverse order, and one that sees nothing; each is sure of itself.
        let order = [Some(&right[1]), None, Some(&right[0])];
        let mut logits = vec![0.0; 3 * 6];
        let mut boxes = Vec::new();
        for (query, object) in order.iter().enumerate() {
            logits[query * 6 + object.map_or(5, |object| object.class)] = 30.0;
            boxes.extend(object.map_or(area(&[0.1, 0.1, 0.1, 0.1]), |object| object.area));
        }
        let logits = Tensor::from_data(TensorData::new(logits, [1, 3, 6]), &device);
        let boxes = Tensor::from_data(TensorData::new(boxes, [1, 3, 4]), &device);
        let loss = set_prediction_loss(logits, boxes, &Targets::Objects(vec![right])).unwrap();
        assert!(loss.into_scalar::<f32>().abs() < 1e-5);
    }

    #[test]
    fn refuses_targets_that_do_not_fit() {
        let device = Device::flex();
        let (logits, boxes) = prediction(1, 4, 6, &device);
        let refused = |targets: Targets| set_prediction_loss(logits.clone(), boxes.clone(), &targets).is_err();
        assert!(refused(Targets::NextTokens));
        assert!(refused(Targets::Objects(vec![objects(0, 1, 5), objects(1, 1, 5)])));
        assert!(refused(Targets::Objects(vec![vec![Object { class: 5, ..objects(0, 1, 5)[0] }]])));
        assert!(!refused(Targets::Objects(vec![vec![Object { class: 4, ..objects(0, 1, 5)[0] }]])));
    }
}
