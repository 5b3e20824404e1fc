//! Convolutions of stride 1 as matrix products: the weights `[channels_out, kernel * channels_in]` times columns `[kernel *
//! channels_in, places]`, which hold for every weight the input that it meets at every place. Sums run over the kernel first
//! and the channels last, and the bias comes at the end, as in oneDNN, so that PyTorch rounds to the same side of zero.

use std::cell::Cell;
use std::ops::Range;

use burn::backend::Flex;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::TensorData;
use rayon::prelude::{
    IndexedParallelIterator as _, IntoParallelIterator as _, ParallelIterator as _, ParallelSliceMut as _,
};

use super::weights::{Arrangement, arranged};

/// A tensor of burn-flex.
pub(super) type HostTensor = FloatTensor<Flex>;

/// Columns of one product: they are to stay in a core's own cache.
const COLUMN_BYTES: usize = 600_000;

/// Multiplications of one product: with as many as this Burn shares it out among threads, which all have work already.
const MOST_WORK: usize = 192 * 192 * 192 - 1;

/// With this many times fewer channels before than behind a convolution its gradient is scattered: gathering would take
/// columns of the many.
const SCATTERED: usize = 4;

thread_local! {
    /// Columns that the next product of the thread may write over.
    static SCRATCH: Cell<Option<HostTensor>> = const { Cell::new(None) };
}

/// A convolution of stride 1 without dilation or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    pub samples: usize,
    pub channels_in: usize,
    pub channels_out: usize,
    /// Height and width.
    pub kernel: [usize; 2],
    /// Zeros on each side, less than the kernel's extents.
    pub padding: [usize; 2],
    /// Height and width of the input.
    pub size: [usize; 2],
}

impl Geometry {
    /// Height and width of the output.
    pub fn size_out(self) -> [usize; 2] {
        [0, 1].map(|axis| self.size[axis] + 2 * self.padding[axis] + 1 - self.kernel[axis])
    }

    /// Weights for each output channel.
    fn depth(self) -> usize {
        self.channels_in * self.kernel[0] * self.kernel[1]
    }

    /// The convolution that takes gradients of the output to gradients of the input, by the turned weights.
    fn turned(self) -> Self {
        Self {
            channels_in: self.channels_out,
            channels_out: self.channels_in,
            padding: [0, 1].map(|axis| self.kernel[axis] - 1 - self.padding[axis]),
            size: self.size_out(),
            ..self
        }
    }
}

/// A matrix without a copy.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> HostTensor {
    <Flex as FloatTensorOps<Flex>>::float_from_data(TensorData::new(values, shape), &Default::default())
}

/// The values in their order, copied only where they stand in another one.
pub(super) fn contiguous(tensor: &HostTensor) -> HostTensor {
    if tensor.as_slice::<f32>().is_some() { tensor.clone() } else { tensor.to_contiguous() }
}

/// The values of what [`contiguous`] answers.
pub(super) fn values(tensor: &HostTensor) -> &[f32] {
    tensor.as_slice().unwrap_or_default()
}

/// `[samples, channels_out, height_out, width_out]` of `[samples, channels_in, height, width]`, the weights `[channels_out,
/// channels_in, kernel_height, kernel_width]` and the bias `[channels_out]`.
pub(super) fn convolve(x: &[f32], weight: &HostTensor, bias: Option<&[f32]>, geometry: Geometry) -> Vec<f32> {
    let weight = arranged(weight, geometry, Arrangement::Forward);
    convolve_arranged(x, &weight, bias, geometry)
}

/// [`convolve`] by weights that are arranged already.
fn convolve_arranged(x: &[f32], weight: &HostTensor, bias: Option<&[f32]>, geometry: Geometry) -> Vec<f32> {
    let Geometry { samples, channels_in, channels_out, .. } = geometry;
    let [height, width] = geometry.size_out();
    let (plane_in, plane) = (geometry.size[0] * geometry.size[1], height * width);
    let threads = rayon::current_num_threads();
    let mut rows = (COLUMN_BYTES / (4 * geometry.depth() * width)).clamp(1, height);
    if samples < threads {
        rows = rows.min(height.div_ceil(threads.div_ceil(samples.max(1))));
    }
    let tiles = height.div_ceil(rows);
    let range = |tile: usize| tile * rows..((tile + 1) * rows).min(height);
    let product = |sample: usize, tile: usize| {
        let input = &x[sample * channels_in * plane_in..(sample + 1) * channels_in * plane_in];
        products(input, weight, range(tile), geometry)
    };
    let write = |written: &mut [f32], tile: usize, parts: &[HostTensor]| {
        let places = range(tile).start * width..range(tile).end * width;
        let rows = parts.iter().flat_map(|part| values(part).chunks_exact(places.len()));
        for (channel, row) in rows.enumerate() {
            let written = &mut written[channel * plane..][places.clone()];
            match bias {
                Some(bias) => written.iter_mut().zip(row).for_each(|(written, value)| *written = value + bias[channel]),
                None => written.copy_from_slice(row),
            }
        }
    };
    let mut output = vec![0.0; samples * channels_out * plane];
    if samples < threads {
        let parts: Vec<_> = (0..samples * tiles).into_par_iter().map(|i| product(i / tiles, i % tiles)).collect();
        for (place, parts) in parts.iter().enumerate() {
            write(&mut output[place / tiles * channels_out * plane..], place % tiles, parts);
        }
    } else {
        output.par_chunks_mut(channels_out * plane).enumerate().for_each(|(sample, output)| {
            (0..tiles).for_each(|tile| write(output, tile, &product(sample, tile)));
        });
    }
    output
}

/// The output of one sample for rows of places, as matrices `[some channels, places]` that follow each other.
fn products(input: &[f32], weight: &HostTensor, rows: Range<usize>, geometry: Geometry) -> Vec<HostTensor> {
    let (depth, places) = (geometry.depth(), rows.len() * geometry.size_out()[1]);
    // Taken, not borrowed: a thread that waits inside the product may begin another one.
    let fitting = SCRATCH.take().filter(|scratch| *scratch.layout().shape() == [depth, places].into());
    let mut columns = fitting.unwrap_or_else(|| tensor(vec![0.0; depth * places], [depth, places]));
    gather(columns.storage_mut(), input, rows, geometry);
    let channels = (MOST_WORK / (depth * places)).clamp(1, geometry.channels_out);
    let parts = geometry.channels_out.div_ceil(channels);
    let channels = geometry.channels_out.div_ceil(parts);
    let products = (0..geometry.channels_out).step_by(channels).map(|first| {
        let weight = weight.narrow(0, first, channels.min(geometry.channels_out - first));
        <Flex as FloatTensorOps<Flex>>::float_matmul(weight, columns.clone())
    });
    let products = products.collect();
    SCRATCH.set(Some(columns));
    products
}

/// Writes the columns for rows of places.
fn gather(columns: &mut [f32], input: &[f32], rows: Range<usize>, geometry: Geometry) {
    let Geometry { channels_in, kernel: [_, kernel_width], padding, size: [height, width], .. } = geometry;
    let [_, width_out] = geometry.size_out();
    let places = rows.len() * width_out;
    for (number, column) in columns.chunks_exact_mut(places).enumerate() {
        let (tap, channel) = (number / channels_in, number % channels_in);
        let plane = &input[channel * height * width..][..height * width];
        let down = (tap / kernel_width) as isize - padding[0] as isize;
        let right = (tap % kernel_width) as isize - padding[1] as isize;
        if width_out == width {
            // The plane as it lies, moved; what came around a row's end is put out.
            shifted(column, plane, (rows.start as isize + down) * width as isize + right);
            let (left, after) = (right.min(0).unsigned_abs().min(width), right.max(0).unsigned_abs().min(width));
            if right != 0 {
                for row in column.chunks_exact_mut(width) {
                    row[..left].fill(0.0);
                    row[width - after..].fill(0.0);
                }
            }
        } else {
            for (row, column) in rows.clone().zip(column.chunks_exact_mut(width_out)) {
                let above = row as isize + down;
                match usize::try_from(above).ok().filter(|&above| above < height) {
                    Some(above) => shifted(column, &plane[above * width..][..width], right),
                    None => column.fill(0.0),
                }
            }
        }
    }
}

/// `to[i] = from[i + by]`, and 0 where that lies outside.
fn shifted(to: &mut [f32], from: &[f32], by: isize) {
    let before = by.min(0).unsigned_abs().min(to.len());
    let start = by.max(0).unsigned_abs().min(from.len());
    let count = (to.len() - before).min(from.len() - start);
    to[..before].fill(0.0);
    to[before..before + count].copy_from_slice(&from[start..start + count]);
    to[before + count..].fill(0.0);
}

/// The gradient `[samples, channels_in, height, width]` of the input.
pub(super) fn convolve_back(gradient: &HostTensor, weight: &HostTensor, geometry: Geometry) -> Vec<f32> {
    if geometry.channels_in * SCATTERED <= geometry.channels_out {
        return scattered(gradient, weight, geometry);
    }
    convolve_arranged(values(gradient), &arranged(weight, geometry, Arrangement::Backward), None, geometry.turned())
}

/// [`convolve_back`] by the product of the weights and the gradient, each row of which belongs to one shift of the input.
fn scattered(gradient: &HostTensor, weight: &HostTensor, geometry: Geometry) -> Vec<f32> {
    let Geometry { samples, channels_in, channels_out, kernel: [kernel_height, kernel_width], padding, size } =
        geometry;
    let ([height, width], [height_out, width_out]) = (size, geometry.size_out());
    let weight = weight.reshape([channels_out, geometry.depth()].into()).transpose(0, 1);
    let gradient = gradient.reshape([samples * channels_out, height_out * width_out].into());
    let mut output = vec![0.0; samples * channels_in * height * width];
    output.par_chunks_mut(channels_in * height * width).enumerate().for_each(|(sample, output)| {
        let gradient = gradient.narrow(0, sample * channels_out, channels_out);
        let columns = <Flex as FloatTensorOps<Flex>>::float_matmul(weight.clone(), gradient);
        for (number, column) in values(&columns).chunks_exact(height_out * width_out).enumerate() {
            let plane = &mut output[number / (kernel_height * kernel_width) * height * width..][..height * width];
            let down = number / kernel_width % kernel_height;
            let right = number % kernel_width;
            // The places `i` that meet a pixel: 0 <= i + right - padding < width.
            let first = padding[1].saturating_sub(right);
            let last = (width + padding[1] - right).min(width_out);
            for (row, column) in column.chunks_exact(width_out).enumerate() {
                let Some(row) = (row + down).checked_sub(padding[0]).filter(|&row| row < height) else { continue };
                let pixels = &mut plane[row * width + first + right - padding[1]..][..last - first];
                pixels.iter_mut().zip(&column[first..last]).for_each(|(pixel, value)| *pixel += value);
            }
        }
    });
    output
}
