//! Weights as the products of convolutions need them, kept for as long as the network has the weights they were made from.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use burn::tensor::Bytes;
use rayon::prelude::{IndexedParallelIterator as _, ParallelIterator as _, ParallelSliceMut as _};

use super::convolution::{Geometry, HostTensor, tensor, values};

/// What weights are arranged for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// The convolution: `[channels_out, kernel * channels_in]`.
    Forward,
    /// The gradient of its input: `[channels_in, kernel * channels_out]`, the kernels turned by half a circle.
    Backward,
}

/// Arranged weights.
struct Kept {
    /// What they were made from. As long as there is a weak reference nobody writes to what it refers to: writers need it for
    /// themselves alone, and move to a copy where they do not have it.
    origin: Weak<Bytes>,
    layout: Layout,
    arrangement: Arrangement,
    arranged: HostTensor,
}

/// Channels in and out, and numbers of one kernel.
type Layout = [usize; 3];

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

/// Contiguous weights `[channels_out, channels_in, height, width]`, arranged.
pub(super) fn arranged(weight: &HostTensor, geometry: Geometry, arrangement: Arrangement) -> HostTensor {
    let Geometry { channels_in, channels_out, kernel: [height, width], .. } = geometry;
    let layout = [channels_in, channels_out, height * width];
    let origin = weight.data_arc();
    // Of a part of other numbers the origin does not tell which part it is.
    let whole = values(weight).len() == weight.storage::<f32>().len();
    let list = || KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |kept: &&Kept| {
        std::ptr::eq(kept.origin.as_ptr(), Arc::as_ptr(&origin))
            && kept.layout == layout
            && kept.arrangement == arrangement
    };
    if whole && let Some(kept) = list().iter().find(same) {
        return kept.arranged.clone();
    }
    let arranged = computed(values(weight), layout, arrangement);
    if whole {
        let mut list = list();
        list.retain(|kept| kept.origin.strong_count() > 0);
        list.push(Kept { origin: Arc::downgrade(&origin), layout, arrangement, arranged: arranged.clone() });
    }
    arranged
}

fn computed(weights: &[f32], [channels_in, channels_out, taps]: Layout, arrangement: Arrangement) -> HostTensor {
    let (rows, inner) = match arrangement {
        Arrangement::Forward => (channels_out, channels_in),
        Arrangement::Backward => (channels_in, channels_out),
    };
    let mut arranged = vec![0.0; weights.len()];
    arranged.par_chunks_mut(taps * inner).enumerate().for_each(|(row, arranged)| {
        for (place, value) in arranged.iter_mut().enumerate() {
            let (tap, channel) = (place / inner, place % inner);
            *value = weights[match arrangement {
                Arrangement::Forward => (row * channels_in + channel) * taps + tap,
                Arrangement::Backward => (channel * channels_in + row) * taps + taps - 1 - tap,
            }];
        }
    });
    tensor(arranged, [rows, taps * inner])
}
