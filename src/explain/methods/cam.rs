//! Class activation maps: which places of a convolution's output the score rests on.

use std::cell::RefCell;
use std::rc::Rc;

use burn::module::ParamId;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::super::error::ExplainError;
use super::super::layers::{convolution_id, convolutions};
use super::super::method::{Method, Relevance};
use super::super::subject::Subject;
use super::named;
use super::rectified::{Passing, rectified};
use crate::zoo::hooks::{Hooks, Weighted};

/// How a map becomes as large as the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Upsampling {
    /// It stays as it is.
    #[default]
    None,
    /// Every pixel takes the value of the place it falls into.
    Nearest,
}

/// The channels of a convolution's output, each weighted by the mean of its gradient over all places (Selvaraju et al.,
/// "Grad-CAM", 2017).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradCam {
    /// The convolution by its reference name (`conv6`, `layer4.1.conv2`); the last one that runs and writes more than one
    /// place if it is not given.
    pub layer: Option<String>,
    /// Keeps what speaks for the class alone, as the paper does (Captum leaves it off unless asked).
    pub relu: bool,
    /// The size of the map.
    pub upsample: Upsampling,
}

impl Default for GradCam {
    fn default() -> Self {
        Self { layer: None, relu: true, upsample: Upsampling::None }
    }
}

/// [`GradCam`], enlarged to the input by nearest places, times guided backpropagation (Selvaraju et al. 2017, section 3.2).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuidedGradCam {
    /// As for [`GradCam`].
    pub layer: Option<String>,
}

/// Cuts the network at a convolution: what it writes is where gradients end.
struct Cut {
    /// The last one if none is named: every convolution then is an end, and the last one stays.
    wanted: Option<ParamId>,
    map: Option<Tensor<4>>,
}

impl Hooks for Cut {
    fn weighted(&mut self, layer: Weighted<'_>, x: Tensor<4>) -> Tensor<4> {
        let written = layer.forward(x);
        let [_, _, height, width] = written.dims();
        let meant = match self.wanted {
            Some(id) => layer.weight_id() == id,
            None => height * width > 1,
        };
        if !layer.is_convolution() || !meant {
            return written;
        }
        let map = written.inner().autodiff().require_grad();
        self.map = Some(map.clone());
        map
    }
}

/// The maps of all samples, `[samples, 1, height, width]`.
fn maps(
    method: &'static str,
    subject: &Subject<'_>,
    layer: Option<&str>,
    relu: bool,
) -> Result<Tensor<4>, ExplainError> {
    let wanted = layer.map(|name| convolution_id(subject, name)).transpose()?;
    let mut parts = Vec::new();
    for chunk in subject.every_sample().chunks(subject.inner_batch()) {
        let hooks = Rc::new(RefCell::new(Cut { wanted, map: None }));
        let outputs = subject.run(hooks.clone(), subject.input_of(chunk), chunk)?;
        let map = hooks.borrow_mut().map.take();
        let Some(map) = map else {
            return Err(match layer {
                Some(name) => ExplainError::Layer {
                    name: name.to_owned(),
                    known: convolutions(subject)?.into_iter().map(|(name, _)| name).collect(),
                },
                None => ExplainError::Unsupported { method, reason: "it has no convolution".to_owned() },
            });
        };
        let scores = subject.read(&outputs, chunk)?;
        let gradient = subject.back(method, &scores, chunk.len(), &map)?;
        let weights = gradient.mean_dim(2).mean_dim(3); // [rows, channels, 1, 1]
        let summed = (map.inner() * weights).sum_dim(1); // [rows, 1, height, width]
        parts.push(if relu { summed.clamp_min(0.0) } else { summed });
    }
    Ok(Tensor::cat(parts, 0))
}

/// Every pixel takes the value of the place it falls into: place `floor(pixel * places / pixels)`, as PyTorch's
/// `interpolate(mode="nearest")`. `[samples, 1, height, width]` to `[samples, 1, size]`.
fn enlarged(subject: &Subject<'_>, map: Tensor<4>, [height, width]: [usize; 2]) -> Tensor<4> {
    let [_, _, rows, columns] = map.dims();
    let places = |pixels: usize, places: usize| {
        let nearest: Vec<usize> = (0..pixels).map(|pixel| pixel * places / pixels).collect();
        subject.index(&nearest)
    };
    map.select(2, places(height, rows)).select(3, places(width, columns))
}

/// The height and width of a picture that maps can be enlarged to.
fn picture(method: &'static str, subject: &Subject<'_>) -> Result<[usize; 2], ExplainError> {
    match subject.shape() {
        [_, height, width] => Ok([*height, *width]),
        _ => Err(ExplainError::Unsupported { method, reason: "its input is no picture".to_owned() }),
    }
}

impl Method for GradCam {
    named!("grad_cam");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        let mut map = maps(self.name(), subject, self.layer.as_deref(), self.relu)?;
        if self.upsample == Upsampling::Nearest {
            map = enlarged(subject, map, picture(self.name(), subject)?);
        }
        let [samples, _, height, width] = map.dims();
        // Convolutions over time have their frames in the first dimension of two; spectrograms in the second one.
        let over_time = width == 1 && subject.shape().len() == 2 && !subject.is_text();
        let shape = if over_time { vec![1, 1, height] } else { vec![1, height, width] };
        Ok(Relevance::Map(map.reshape([samples, height * width]), shape))
    }
}

impl Method for GuidedGradCam {
    named!("guided_grad_cam");

    fn attribute(&self, subject: &Subject<'_>) -> Result<Relevance, ExplainError> {
        let size = picture(self.name(), subject);
        let guided = rectified(self.name(), subject, Passing::WhereActive)?;
        let map = enlarged(subject, maps(self.name(), subject, self.layer.as_deref(), true)?, size?);
        let [samples, _, height, width] = map.dims();
        let channels = subject.features() / (height * width);
        let map = map.expand([samples, channels, height, width]).reshape([samples, subject.features()]);
        Ok(Relevance::Features(guided * map))
    }
}
