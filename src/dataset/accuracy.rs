//! Top-1 and top-5 accuracy.

use super::DatasetError;
use crate::domain::{HostData, HostTensor};

/// How many classes top-5 looks at, and the fewest that a model must have for it.
const TOP: usize = 5;

/// Counts the samples whose right class has the greatest logit, or one of the five greatest.
///
/// Among equal logits the class with the smaller number comes first, so that the count never depends on the order of a
/// sort. A sample with a NaN among its logits is never right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accuracy {
    classes: usize,
    samples: usize,
    first: usize,
    top: usize,
    broken: usize,
}

impl Accuracy {
    /// Nothing counted yet, for a model of this many classes.
    pub fn new(classes: usize) -> Self {
        Self { classes, samples: 0, first: 0, top: 0, broken: 0 }
    }

    /// Counts a batch: `logits` `[batch, classes]` and the right class of every sample.
    ///
    /// # Errors
    /// Logits of another shape or type, or classes that the model does not have; nothing is counted then.
    pub fn add(&mut self, logits: &HostTensor, labels: &[usize]) -> Result<(), DatasetError> {
        let unfit =
            || DatasetError::Logits { found: logits.shape.clone(), samples: labels.len(), classes: self.classes };
        let HostData::F32(values) = &logits.data else {
            return Err(unfit());
        };
        let fits = logits.shape == [labels.len(), self.classes]
            && values.len() == labels.len() * self.classes
            && labels.iter().all(|label| *label < self.classes);
        if !fits {
            return Err(unfit());
        }
        for (row, &label) in values.chunks_exact(self.classes.max(1)).zip(labels) {
            self.samples += 1;
            match rank(row, label) {
                None => self.broken += 1,
                Some(rank) => {
                    self.first += usize::from(rank == 0);
                    self.top += usize::from(rank < TOP);
                }
            }
        }
        Ok(())
    }

    /// The samples that were counted.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// The samples with a NaN among their logits.
    pub fn broken(&self) -> usize {
        self.broken
    }

    /// The share of samples whose right class has the greatest logit; `None` without samples.
    pub fn top1(&self) -> Option<f64> {
        self.share(self.first)
    }

    /// The share of samples whose right class is among the five greatest logits; `None` without samples, and for models
    /// of fewer than five classes, where it says nothing.
    pub fn top5(&self) -> Option<f64> {
        if self.classes < TOP { None } else { self.share(self.top) }
    }

    fn share(&self, right: usize) -> Option<f64> {
        (self.samples > 0).then(|| right as f64 / self.samples as f64)
    }
}

/// How many classes come before `label`; `None` where a logit is not a number.
fn rank(logits: &[f32], label: usize) -> Option<usize> {
    if logits.iter().any(|logit| logit.is_nan()) {
        return None;
    }
    let own = logits[label];
    let before = |(class, &logit): (usize, &f32)| logit > own || (logit == own && class < label);
    Some(logits.iter().enumerate().filter(|&entry| before(entry)).count())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logits(classes: usize, values: Vec<f32>) -> HostTensor {
        let shape = vec![values.len() / classes, classes];
        HostTensor { name: "logits".into(), shape, data: HostData::F32(values) }
    }

    #[test]
    fn the_greatest_and_the_five_greatest_are_counted() {
        let mut accuracy = Accuracy::new(6);
        let row = [5.0, 4.0, 3.0, 2.0, 1.0, f32::NEG_INFINITY];
        let batch = logits(6, row.repeat(6));
        accuracy.add(&batch, &[0, 1, 2, 3, 4, 5]).unwrap();
        assert_eq!(accuracy.samples(), 6);
        assert_eq!(accuracy.top1(), Some(1.0 / 6.0));
        assert_eq!(accuracy.top5(), Some(5.0 / 6.0));
        accuracy.add(&logits(6, row.to_vec()), &[0]).unwrap();
        assert_eq!(accuracy.top1(), Some(2.0 / 7.0));
    }

    #[test]
    fn among_equals_the_smaller_class_is_first() {
        let mut accuracy = Accuracy::new(6);
        // A network that says the same of all classes is right for class 0 alone, and in the top five but for class 5.
        accuracy.add(&logits(6, vec![0.5; 36]), &[0, 1, 2, 3, 4, 5]).unwrap();
        assert_eq!(accuracy.top1(), Some(1.0 / 6.0));
        assert_eq!(accuracy.top5(), Some(5.0 / 6.0));
    }

    #[test]
    fn what_is_not_a_number_is_never_right() {
        let mut accuracy = Accuracy::new(5);
        accuracy.add(&logits(5, vec![f32::NAN; 5]), &[0]).unwrap();
        accuracy.add(&logits(5, vec![9.0, f32::NAN, 0.0, 0.0, 0.0]), &[0]).unwrap();
        accuracy.add(&logits(5, vec![f32::INFINITY, 0.0, 0.0, 0.0, 0.0]), &[0]).unwrap();
        assert_eq!((accuracy.broken(), accuracy.samples()), (2, 3));
        assert_eq!(accuracy.top1(), Some(1.0 / 3.0));
        assert_eq!(accuracy.top5(), Some(1.0 / 3.0));
    }

    #[test]
    fn top_five_of_fewer_classes_and_of_nothing_is_not_measured() {
        let mut accuracy = Accuracy::new(4);
        assert_eq!((accuracy.top1(), accuracy.top5()), (None, None));
        accuracy.add(&logits(4, vec![1.0, 0.0, 0.0, 0.0]), &[0]).unwrap();
        assert_eq!((accuracy.top1(), accuracy.top5()), (Some(1.0), None));
    }

    #[test]
    fn logits_that_do_not_fit_are_refused_and_not_counted() {
        let mut accuracy = Accuracy::new(3);
        assert!(accuracy.add(&logits(2, vec![0.0; 4]), &[0, 1]).is_err());
        assert!(accuracy.add(&logits(3, vec![0.0; 6]), &[0]).is_err());
        assert!(accuracy.add(&logits(3, vec![0.0; 3]), &[3]).is_err());
        let integers = HostTensor { data: HostData::I64(vec![0; 3]), ..logits(3, vec![0.0; 3]) };
        assert!(accuracy.add(&integers, &[0]).is_err());
        let error = accuracy.add(&logits(2, vec![0.0; 4]), &[0]).unwrap_err().to_string();
        assert_eq!(error, "logits of the shape 2x2 for 1 samples of 3 classes");
        assert_eq!(accuracy.samples(), 0);
    }
}
