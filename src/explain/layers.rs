//! The convolutions of a network by their names, found by letting it run.

use std::cell::RefCell;
use std::rc::Rc;

use burn::module::ParamId;
use burn::tensor::Tensor;

use super::error::ExplainError;
use super::subject::Subject;
use crate::zoo::hooks::{Hooks, Weighted};

/// What the weight of a layer is called, after the layer's name.
const WEIGHT: &str = ".weight";

/// Notes what convolutions run, and what they write.
#[derive(Default)]
struct Survey {
    seen: Vec<(ParamId, [usize; 3])>,
}

impl Hooks for Survey {
    fn weighted(&mut self, layer: Weighted<'_>, x: Tensor<4>) -> Tensor<4> {
        let written = layer.forward(x);
        if layer.is_convolution() {
            let [_, channels, height, width] = written.dims();
            self.seen.push((layer.weight_id(), [channels, height, width]));
        }
        written
    }
}

/// The convolutions of a network in the order in which they run, by their reference names, with the channels, height and
/// width that they write for the first sample. Over one dimension the width is 1.
///
/// # Errors
///
/// The network cannot run.
pub fn convolutions(subject: &Subject<'_>) -> Result<Vec<(String, [usize; 3])>, ExplainError> {
    let survey = Rc::new(RefCell::new(Survey::default()));
    subject.run(survey.clone(), subject.input_of(&[0]), &[0])?;
    let seen = std::mem::take(&mut survey.borrow_mut().seen);
    let named = seen.into_iter().filter_map(|(id, shape)| {
        let name = subject.network().name_of(id)?;
        Some((name.strip_suffix(WEIGHT)?.to_owned(), shape))
    });
    Ok(named.collect())
}

/// The weight of the layer of this name.
///
/// # Errors
///
/// No such layer.
pub(super) fn convolution_id(subject: &Subject<'_>, name: &str) -> Result<ParamId, ExplainError> {
    match subject.network().parameter_id(&format!("{name}{WEIGHT}")) {
        Some(id) => Ok(id),
        None => Err(ExplainError::Layer {
            name: name.to_owned(),
            known: convolutions(subject)?.into_iter().map(|(name, _)| name).collect(),
        }),
    }
}
