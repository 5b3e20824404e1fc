//! Poolings by maxima over windows that do not overlap and cover the input.

use rayon::prelude::{IndexedParallelIterator as _, ParallelIterator as _, ParallelSlice as _, ParallelSliceMut as _};

/// Maxima over windows `[height, width]` of planes `[height, width]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Windows {
    /// Height and width of a plane, multiples of those of a window.
    pub size: [usize; 2],
    pub window: [usize; 2],
}

/// Planes that one task takes at least, in numbers.
const TASK: usize = 16_384;

impl Windows {
    fn plane(self) -> usize {
        self.size[0] * self.size[1]
    }

    fn plane_out(self) -> usize {
        self.plane() / (self.window[0] * self.window[1])
    }

    fn planes_of_a_task(self) -> usize {
        TASK.div_ceil(self.plane())
    }
}

/// The maxima; NaN where a window holds one.
pub(super) fn maxima(x: &[f32], windows: Windows) -> Vec<f32> {
    let Windows { size: [_, width], window: [rows, columns] } = windows;
    let mut output = vec![0.0; x.len() / (rows * columns)];
    let planes = windows.planes_of_a_task();
    let input = x.par_chunks(planes * windows.plane());
    output.par_chunks_mut(planes * windows.plane_out()).zip(input).for_each(|(output, input)| {
        let output = output.chunks_exact_mut(width / columns);
        for (output, input) in output.zip(input.chunks_exact(rows * width)) {
            if [rows, columns] == [2, 2] {
                // By far the most common window, in a form that compiles to vector instructions.
                let (upper, lower) = input.split_at(width);
                let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
                for (output, (upper, lower)) in output.iter_mut().zip(pairs) {
                    *output = larger(larger(upper[0], upper[1]), larger(lower[0], lower[1]));
                }
                continue;
            }
            let (first, others) = input.split_at(width);
            for (output, window) in output.iter_mut().zip(first.chunks_exact(columns)) {
                *output = window.iter().copied().fold(window[0], larger);
            }
            for row in others.chunks_exact(width) {
                for (output, window) in output.iter_mut().zip(row.chunks_exact(columns)) {
                    *output = window.iter().copied().fold(*output, larger);
                }
            }
        }
    });
    output
}

fn larger(found: f32, value: f32) -> f32 {
    if value > found || value.is_nan() { value } else { found }
}

/// What goes back to the input: the gradient of every window to the first of its maxima, row by row.
pub(super) fn maxima_back(x: &[f32], output: &[f32], gradient: &[f32], windows: Windows) -> Vec<f32> {
    let Windows { size: [_, width], window: [rows, columns] } = windows;
    let mut back = vec![0.0; x.len()];
    let planes = windows.planes_of_a_task();
    let tasks = back
        .par_chunks_mut(planes * windows.plane())
        .zip(x.par_chunks(planes * windows.plane()))
        .zip(output.par_chunks(planes * windows.plane_out()))
        .zip(gradient.par_chunks(planes * windows.plane_out()));
    tasks.for_each(|(((back, x), output), gradient)| {
        let width_out = width / columns;
        let bands = back.chunks_exact_mut(rows * width).zip(x.chunks_exact(rows * width));
        let answers = output.chunks_exact(width_out).zip(gradient.chunks_exact(width_out));
        for ((back, x), (output, gradient)) in bands.zip(answers) {
            if [rows, columns] == [2, 2] {
                let ((back_upper, back_lower), (upper, lower)) = (back.split_at_mut(width), x.split_at(width));
                let upper = back_upper.chunks_exact_mut(2).zip(upper.chunks_exact(2));
                let lower = back_lower.chunks_exact_mut(2).zip(lower.chunks_exact(2));
                for (((back_upper, upper), (back_lower, lower)), (&maximum, &gradient)) in
                    upper.zip(lower).zip(output.iter().zip(gradient))
                {
                    let first = upper[0] == maximum;
                    let second = !first & (upper[1] == maximum);
                    let third = !(first | second) & (lower[0] == maximum);
                    let fourth = !(first | second | third) & (lower[1] == maximum);
                    back_upper[0] = if first { gradient } else { 0.0 };
                    back_upper[1] = if second { gradient } else { 0.0 };
                    back_lower[0] = if third { gradient } else { 0.0 };
                    back_lower[1] = if fourth { gradient } else { 0.0 };
                }
                continue;
            }
            for (column, (&maximum, &gradient)) in output.iter().zip(gradient).enumerate() {
                let mut open = true;
                for row in 0..rows {
                    let places = row * width + column * columns..row * width + (column + 1) * columns;
                    for (back, &value) in back[places.clone()].iter_mut().zip(&x[places]) {
                        let wins = open & (value == maximum);
                        *back = if wins { gradient } else { 0.0 };
                        open &= !wins;
                    }
                }
            }
        }
    });
    back
}
