//! Tensors between the host and a device: inputs and outputs of the networks.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::error::{ZooError, readable_shape};
use super::rule;
use crate::domain::model::{HostData, HostTensor, InputKind, InputSpec, Task};

/// The input that holds pictures.
const IMAGE: &str = "image";
/// The input that holds token ids.
pub(super) const IDS: &str = "ids";
/// The input that holds the token ids that a decoder has so far.
pub(super) const DECODER_IDS: &str = "decoder_ids";
/// The input that holds a spectrogram.
const MEL: &str = "mel";

/// The inputs of one forward pass, on a device. Networks take what they need and fail without it.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Pictures: `[batch, channels, height, width]`, in the device's float type.
    pub image: Option<Tensor<4>>,
    /// Token ids: `[batch, sequence]`, in the device's integer type.
    pub ids: Option<Tensor<2, Int>>,
    /// Token ids that a decoder has so far: `[batch, sequence]`, in the device's integer type.
    pub decoder_ids: Option<Tensor<2, Int>>,
    /// Spectrograms: `[batch, bins, frames]`, in the device's float type.
    pub mel: Option<Tensor<3>>,
}

impl Batch {
    /// Copies host tensors to `device`, which must be the device that the network was built on (for training
    /// with autodiff, too). Every tensor is found by its name; the order does not matter.
    ///
    /// # Errors
    ///
    /// Unknown or repeated names, ranks that the input cannot have, empty dimensions, data that does not fill
    /// the shape, floats for integers or the reverse.
    pub fn from_host(tensors: &[HostTensor], device: &Device) -> Result<Self, ZooError> {
        let mut batch = Self::default();
        for tensor in tensors {
            let taken = match tensor.name.as_str() {
                IMAGE => batch.image.replace(float_tensor(tensor, device)?).is_some(),
                IDS => batch.ids.replace(int_tensor(tensor, device)?).is_some(),
                DECODER_IDS => batch.decoder_ids.replace(int_tensor(tensor, device)?).is_some(),
                MEL => batch.mel.replace(float_tensor(tensor, device)?).is_some(),
                _ => {
                    return Err(ZooError::UnknownInput { name: tensor.name.clone() });
                }
            };
            if taken {
                return Err(ZooError::RepeatedInput { name: tensor.name.clone() });
            }
        }
        Ok(batch)
    }

    /// The pictures, `[batch, 3, height, width]`, checked for their three channels and a least extent.
    pub(super) fn image(&self, least: usize) -> Result<Tensor<4>, ZooError> {
        let image = self.image.clone().ok_or_else(|| missing(IMAGE))?;
        let [_, channels, height, width] = image.dims();
        if channels != 3 || height < least || width < least {
            return Err(wrong_shape(IMAGE, &image.dims(), format!("batch x 3 x at least {least} x at least {least}")));
        }
        Ok(image)
    }

    /// The pictures, `[batch, 3, size, size]`, checked for exactly this size.
    pub(super) fn image_of(&self, size: usize) -> Result<Tensor<4>, ZooError> {
        let image = self.image.clone().ok_or_else(|| missing(IMAGE))?;
        let [batch, ..] = image.dims();
        if image.dims() != [batch, 3, size, size] {
            return Err(wrong_shape(IMAGE, &image.dims(), format!("batch x 3 x {size} x {size}")));
        }
        Ok(image)
    }

    /// The token ids, `[batch, sequence]`, checked for the longest sequence.
    pub(super) fn ids(&self, longest: usize) -> Result<Tensor<2, Int>, ZooError> {
        tokens(IDS, self.ids.clone(), longest)
    }

    /// The token ids of the decoder, `[batch, sequence]`, checked for the longest sequence, and for as many samples as
    /// the encoder's input has.
    pub(super) fn decoder_ids(&self, longest: usize) -> Result<Tensor<2, Int>, ZooError> {
        let ids = tokens(DECODER_IDS, self.decoder_ids.clone(), longest)?;
        let encoder_samples = [self.ids.as_ref().map(|ids| ids.dims()[0]), self.mel.as_ref().map(|mel| mel.dims()[0])];
        match encoder_samples.into_iter().flatten().find(|&samples| samples != ids.dims()[0]) {
            Some(samples) => Err(wrong_shape(DECODER_IDS, &ids.dims(), format!("{samples} x at most {longest}"))),
            None => Ok(ids),
        }
    }

    /// The spectrograms, `[batch, bins, frames]`, checked for exactly these extents.
    pub(super) fn mel(&self, bins: usize, frames: usize) -> Result<Tensor<3>, ZooError> {
        let mel = self.mel.clone().ok_or_else(|| missing(MEL))?;
        let [batch, ..] = mel.dims();
        if mel.dims() != [batch, bins, frames] {
            return Err(wrong_shape(MEL, &mel.dims(), format!("batch x {bins} x {frames}")));
        }
        Ok(mel)
    }
}

fn tokens(name: &str, ids: Option<Tensor<2, Int>>, longest: usize) -> Result<Tensor<2, Int>, ZooError> {
    let ids = ids.ok_or_else(|| missing(name))?;
    let [_, sequence] = ids.dims();
    if sequence > longest {
        return Err(wrong_shape(name, &ids.dims(), format!("batch x at most {longest}")));
    }
    Ok(ids)
}

/// A named result of a forward pass, still on its device.
#[derive(Clone, Debug)]
pub struct Output {
    /// `logits`, `logits_last`, `last_hidden_state`, `image_embeds`, `pred_boxes`, ...: that of the golden files.
    pub name: &'static str,
    /// The values.
    pub tensor: OutputTensor,
}

/// Outputs come in two ranks.
#[derive(Clone, Debug)]
pub enum OutputTensor {
    /// `[batch, features]`.
    D2(Tensor<2>),
    /// `[batch, sequence, features]`.
    D3(Tensor<3>),
}

impl Output {
    /// An output of rank 2.
    pub(super) fn d2(name: &'static str, tensor: Tensor<2>) -> Self {
        Self { name, tensor: OutputTensor::D2(tensor) }
    }

    /// An output of rank 3.
    pub(super) fn d3(name: &'static str, tensor: Tensor<3>) -> Self {
        Self { name, tensor: OutputTensor::D3(tensor) }
    }

    /// The first sample alone.
    pub fn first_sample(&self) -> Self {
        let tensor = match &self.tensor {
            OutputTensor::D2(tensor) => OutputTensor::D2(tensor.clone().narrow(0, 0, 1)),
            OutputTensor::D3(tensor) => OutputTensor::D3(tensor.clone().narrow(0, 0, 1)),
        };
        Self { name: self.name, tensor }
    }

    /// The dimensions, batch first.
    pub fn shape(&self) -> Vec<usize> {
        match &self.tensor {
            OutputTensor::D2(tensor) => tensor.dims().to_vec(),
            OutputTensor::D3(tensor) => tensor.dims().to_vec(),
        }
    }

    /// The element type on the device: what the network really computed in.
    pub fn dtype(&self) -> DType {
        match &self.tensor {
            OutputTensor::D2(tensor) => tensor.dtype(),
            OutputTensor::D3(tensor) => tensor.dtype(),
        }
    }

    /// Copies the values to the host, as single-precision floats whatever the device computes in. Waits for
    /// the device.
    ///
    /// # Errors
    ///
    /// The device failed to compute or to hand over the values.
    pub fn to_host(&self) -> Result<HostTensor, ZooError> {
        let values = match &self.tensor {
            OutputTensor::D2(tensor) => tensor.try_to_vec_as::<f32>(),
            OutputTensor::D3(tensor) => tensor.try_to_vec_as::<f32>(),
        };
        let values =
            values.map_err(|source| ZooError::Read { name: self.name.to_owned(), source: Box::new(source) })?;
        Ok(HostTensor { name: self.name.to_owned(), shape: self.shape(), data: HostData::F32(values) })
    }
}

/// Inputs by the rule of [`rule`], one host tensor for each spec, named `input.<name>` in the rule.
pub fn host_inputs(specs: &[InputSpec], batch_size: usize, seed: u64) -> Vec<HostTensor> {
    specs
        .iter()
        .map(|spec| {
            let shape: Vec<usize> = std::iter::once(batch_size).chain(spec.shape.iter().copied()).collect();
            let count = shape.iter().product();
            let rule_name = format!("input.{}", spec.name);
            let data = match spec.kind {
                InputKind::Float => HostData::F32(rule::floats(&rule_name, count, seed)),
                InputKind::Tokens { vocabulary } => HostData::I64(rule::tokens(&rule_name, count, vocabulary, seed)),
                InputKind::Words { words, end, .. } => {
                    let mut ids = rule::tokens(&rule_name, count, words, seed);
                    if let (Some(end), Some(&length @ 1..)) = (end, spec.shape.last()) {
                        ids.chunks_exact_mut(length).for_each(|sample| sample[length - 1] = end as i64);
                    }
                    HostData::I64(ids)
                }
                InputKind::Constant(value) => HostData::I64(vec![value; count]),
            };
            HostTensor { name: spec.name.clone(), shape, data }
        })
        .collect()
}

/// Checks host tensors against what a model takes: every input once and no other, a batch dimension that all
/// share before a sample of the right rank, the right element type, tokens of the vocabulary. Which extents a network
/// takes beside the default ones, it says itself.
///
/// Image-text matching compares every image with every text, so there each input has a batch dimension of its own.
///
/// # Errors
///
/// The first difference that is found.
pub fn check_inputs(task: Task, specs: &[InputSpec], tensors: &[HostTensor]) -> Result<(), ZooError> {
    if let Some(stranger) = tensors.iter().find(|tensor| specs.iter().all(|spec| spec.name != tensor.name)) {
        return Err(ZooError::UnknownInput { name: stranger.name.clone() });
    }
    let mut batch_size = None;
    for spec in specs {
        let mut named = tensors.iter().filter(|tensor| tensor.name == spec.name);
        let tensor = named.next().ok_or_else(|| missing(&spec.name))?;
        if named.next().is_some() {
            return Err(ZooError::RepeatedInput { name: spec.name.clone() });
        }
        check_length(tensor)?;
        let batch = tensor.shape.first().copied().unwrap_or(0);
        let shared = *batch_size.get_or_insert(batch);
        let fits = (batch == shared || task == Task::ImageTextMatching)
            && tensor.shape.len() == spec.shape.len() + 1
            && !tensor.shape.contains(&0);
        if !fits {
            let expected = format!("batch x {}", readable_shape(&spec.shape));
            return Err(wrong_shape(&spec.name, &tensor.shape, expected));
        }
        match (spec.kind.vocabulary(), &tensor.data) {
            (None, HostData::F32(_)) if spec.kind == InputKind::Float => {}
            (None, HostData::I64(_)) if spec.kind != InputKind::Float => {}
            (Some(vocabulary), HostData::I64(ids)) => {
                let outside = |id: &&i64| usize::try_from(**id).map_or(true, |id| id >= vocabulary);
                if let Some(&token) = ids.iter().find(outside) {
                    return Err(ZooError::TokenRange { name: spec.name.clone(), token, vocabulary });
                }
            }
            (None, HostData::I64(_)) => return Err(wrong_kind(&spec.name, "floats")),
            (_, HostData::F32(_)) => return Err(wrong_kind(&spec.name, "integers")),
        }
    }
    Ok(())
}

pub(super) fn float_tensor<const D: usize>(tensor: &HostTensor, device: &Device) -> Result<Tensor<D>, ZooError> {
    check_rank::<D>(tensor)?;
    match &tensor.data {
        HostData::F32(values) => Ok(Tensor::from_data(TensorData::new(values.clone(), tensor.shape.clone()), device)),
        HostData::I64(_) => Err(wrong_kind(&tensor.name, "floats")),
    }
}

pub(super) fn int_tensor<const D: usize>(tensor: &HostTensor, device: &Device) -> Result<Tensor<D, Int>, ZooError> {
    check_rank::<D>(tensor)?;
    match &tensor.data {
        HostData::I64(values) => Ok(Tensor::from_data(TensorData::new(values.clone(), tensor.shape.clone()), device)),
        HostData::F32(_) => Err(wrong_kind(&tensor.name, "integers")),
    }
}

pub(super) fn check_rank<const D: usize>(tensor: &HostTensor) -> Result<(), ZooError> {
    check_length(tensor)?;
    if tensor.shape.len() != D || tensor.shape.contains(&0) {
        let expected = format!("{D} dimensions, none of them empty");
        return Err(wrong_shape(&tensor.name, &tensor.shape, expected));
    }
    Ok(())
}

fn check_length(tensor: &HostTensor) -> Result<(), ZooError> {
    // A product that overflows fits no data.
    let expected = tensor.shape.iter().try_fold(1_usize, |all, extent| all.checked_mul(*extent)).unwrap_or(usize::MAX);
    let found = tensor.data.len();
    if expected == found { Ok(()) } else { Err(ZooError::InputLength { name: tensor.name.clone(), expected, found }) }
}

pub(super) fn missing(name: &str) -> ZooError {
    ZooError::MissingInput { name: name.to_owned() }
}

fn wrong_kind(name: &str, expected: &'static str) -> ZooError {
    ZooError::InputKind { name: name.to_owned(), expected }
}

pub(super) fn wrong_shape(name: &str, found: &[usize], expected: String) -> ZooError {
    ZooError::InputShape { name: name.to_owned(), expected, found: readable_shape(found) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image_spec() -> InputSpec {
        InputSpec { name: IMAGE.into(), kind: InputKind::Float, shape: vec![3, 4, 4] }
    }

    fn ids_spec(length: usize) -> InputSpec {
        InputSpec { name: IDS.into(), kind: InputKind::Tokens { vocabulary: 100 }, shape: vec![length] }
    }

    fn ids(shape: &[usize], values: Vec<i64>) -> HostTensor {
        HostTensor { name: IDS.into(), shape: shape.to_vec(), data: HostData::I64(values) }
    }

    #[test]
    fn rule_made_inputs_fit_their_specs() {
        let specs = [image_spec(), ids_spec(7)];
        let inputs = host_inputs(&specs, 2, 0);
        check_inputs(Task::ImageClassification, &specs, &inputs).unwrap();
        assert_eq!(inputs[0].shape, [2, 3, 4, 4]);
        let batch = Batch::from_host(&inputs, &Device::flex()).unwrap();
        assert_eq!(batch.image.unwrap().dims(), [2, 3, 4, 4]);
        assert_eq!(batch.ids.unwrap().dims(), [2, 7]);
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let specs = [ids_spec(2)];
        let task = Task::MaskedLanguageModelling;
        let refused = |tensor: HostTensor| check_inputs(task, &specs, &[tensor]).unwrap_err().to_string();
        assert_eq!(refused(ids(&[3], vec![1, 2, 3])), "the input `ids` has the shape 3, expected batch x 2");
        check_inputs(task, &specs, &[ids(&[1, 3], vec![1, 2, 3])]).unwrap();
        assert_eq!(
            refused(ids(&[1, 2], vec![1, 100])),
            "token 100 of the input `ids` is outside of the vocabulary of 100"
        );
        assert!(refused(ids(&[1, 2], vec![-1, 1])).starts_with("token -1"));
        assert_eq!(refused(ids(&[1, 2], vec![1])), "the input `ids` holds 1 elements, its shape asks for 2");
        assert_eq!(check_inputs(task, &specs, &[]).unwrap_err().to_string(), "the input `ids` is missing");
    }

    #[test]
    fn only_images_and_texts_to_be_matched_may_differ_in_number() {
        let specs = [image_spec(), ids_spec(2)];
        let mut inputs = host_inputs(&specs, 1, 0);
        inputs[1] = ids(&[2, 2], vec![1, 2, 3, 4]);
        check_inputs(Task::ImageTextMatching, &specs, &inputs).unwrap();
        let refused = check_inputs(Task::ImageClassification, &specs, &inputs).unwrap_err();
        assert_eq!(refused.to_string(), "the input `ids` has the shape 2x2, expected batch x 2");
        inputs[1] = ids(&[0, 2], vec![]);
        assert!(check_inputs(Task::ImageTextMatching, &specs, &inputs).is_err());
    }

    #[test]
    fn a_batch_refuses_strangers_and_wrong_ranks() {
        let device = Device::flex();
        let mut stranger = ids(&[1, 2], vec![1, 2]);
        stranger.name = "idz".into();
        let refused = |tensors: &[HostTensor]| Batch::from_host(tensors, &device).unwrap_err();
        assert!(matches!(refused(&[stranger]), ZooError::UnknownInput { .. }));
        let flat = ids(&[2], vec![1, 2]);
        assert!(matches!(refused(&[flat]), ZooError::InputShape { .. }));
        let twice = ids(&[1, 2], vec![1, 2]);
        let error = refused(&[twice.clone(), twice]);
        assert!(matches!(error, ZooError::RepeatedInput { .. }));
        let empty = ids(&[0, 2], vec![]);
        assert!(matches!(refused(&[empty]), ZooError::InputShape { .. }));
        let floats = HostTensor { data: HostData::F32(vec![0.0; 2]), ..ids(&[1, 2], vec![]) };
        assert!(matches!(refused(&[floats]), ZooError::InputKind { .. }));
    }
}
