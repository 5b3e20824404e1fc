//! Rectifiers, in place where nobody else holds the numbers.

use rayon::prelude::{IndexedParallelIterator as _, ParallelIterator as _, ParallelSliceMut as _};

use super::Rectifier;
use super::convolution::{HostTensor, contiguous, tensor, values};

/// Numbers that one task takes.
const TASK: usize = 16_384;

/// `max(x, 0)`; NaN stays.
pub(super) fn rectify(x: HostTensor) -> HostTensor {
    let passed = |x: f32| if (x > 0.0) | x.is_nan() { x } else { 0.0 };
    changed(x, |part, _| part.iter_mut().for_each(|x| *x = passed(*x)))
}

/// What goes back to the input; NaN in the output lets everything pass.
pub(super) fn rectify_back(output: &HostTensor, gradient: HostTensor, rule: Rectifier) -> HostTensor {
    let output = values(output);
    changed(gradient, |gradient, first| {
        let both = gradient.iter_mut().zip(&output[first..]);
        let positive = |gradient: f32| if (gradient > 0.0) | gradient.is_nan() { gradient } else { 0.0 };
        let open = |output: f32| (output > 0.0) | output.is_nan();
        match rule {
            Rectifier::Gradient => both.for_each(|(g, &output)| *g = if open(output) { *g } else { 0.0 }),
            Rectifier::Guided => both.for_each(|(g, &output)| *g = if open(output) { positive(*g) } else { 0.0 }),
            Rectifier::Deconvolution => both.for_each(|(g, _)| *g = positive(*g)),
        }
    })
}

/// The tensor, changed part by part; `change` gets a part and where it begins.
fn changed(mut x: HostTensor, change: impl Fn(&mut [f32], usize) + Sync) -> HostTensor {
    let whole = x.as_slice::<f32>().is_some_and(|numbers| numbers.len() == x.storage::<f32>().len());
    let in_parts = |numbers: &mut [f32]| {
        let parts = numbers.par_chunks_mut(TASK).enumerate();
        parts.for_each(|(number, part)| change(part, number * TASK));
    };
    if whole && let Some(numbers) = x.try_storage_mut::<f32>() {
        in_parts(numbers);
        return x;
    }
    let x = contiguous(&x);
    let mut copy = values(&x).to_vec();
    in_parts(&mut copy);
    tensor(copy, [values(&x).len()]).reshape(x.layout().shape().clone())
}
