//! Samples as the inputs of a network: read, decoded and pre-processed a batch at a time, by all cores.

use rayon::prelude::{IndexedParallelIterator as _, IntoParallelRefIterator as _, ParallelIterator as _};
use rayon::slice::ParallelSliceMut as _;

use super::picture::preprocess;
use super::{Dataset, DatasetError, Sample};
use crate::domain::{HostData, HostTensor, LabelledBatch};

/// Batches of a set, one after the other; only the one at hand is in memory.
#[derive(Debug)]
pub struct Batches<'d> {
    set: &'d Dataset,
    at: usize,
    size: usize,
}

impl Dataset {
    /// All samples once in their stored order, `size` at a time (0 is taken as 1); the last batch may be smaller.
    pub fn batches(&self, size: usize) -> Batches<'_> {
        Batches { set: self, at: 0, size: size.max(1) }
    }

    /// `size` samples from number `start` on, in their stored order; after the last one comes the first again. What
    /// feeds timed batches, which must all be of one size.
    ///
    /// # Errors
    /// As for [`Batches`].
    pub fn cyclic_batch(&self, start: usize, size: usize) -> Result<LabelledBatch, DatasetError> {
        let samples = self.samples();
        let indexes: Vec<usize> = (0..size).map(|offset| (start % samples + offset) % samples).collect();
        self.batch(&indexes)
    }

    /// The samples of these numbers, all below [`samples`](Self::samples), as one batch.
    ///
    /// # Errors
    /// As for [`Batches`].
    pub fn batch(&self, indexes: &[usize]) -> Result<LabelledBatch, DatasetError> {
        let shape = self.preprocessing.shape();
        let length: usize = shape.iter().product();
        let mut values = vec![0.0; indexes.len() * length];
        let outcomes: Vec<Result<(), DatasetError>> = values
            .par_chunks_exact_mut(length)
            .zip(indexes.par_iter())
            .map(|(sample, &index)| {
                match self.sample(index)? {
                    Sample::Picture(picture) => preprocess(&picture, &self.preprocessing, sample),
                    Sample::Prepared(prepared) => sample.copy_from_slice(&prepared),
                }
                Ok(())
            })
            .collect();
        // Of several errors always the first in order, whichever thread was faster.
        outcomes.into_iter().collect::<Result<(), DatasetError>>()?;
        Ok(LabelledBatch {
            image: HostTensor {
                name: "image".to_owned(),
                shape: std::iter::once(indexes.len()).chain(shape).collect(),
                data: HostData::F32(values),
            },
            labels: indexes.iter().map(|&index| self.labels[index]).collect(),
        })
    }
}

/// The batches; an item is an error where a picture is broken or a file cannot be read. Accuracy is that of the whole
/// set or of nothing: after an error there is no further item.
impl Iterator for Batches<'_> {
    type Item = Result<LabelledBatch, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let end = start.saturating_add(self.size).min(self.set.samples());
        if start == end {
            return None;
        }
        self.at = end;
        let loaded = self.set.batch(&(start..end).collect::<Vec<_>>());
        if loaded.is_err() {
            self.at = self.set.samples();
        }
        Some(loaded)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = (self.set.samples() - self.at).div_ceil(self.size);
        // An error ends it early.
        (usize::from(left > 0), Some(left))
    }
}
