//! Writing tokens one after another, greedily, with a cache of keys and values (Vaswani et al. 2017; the cache as in
//! every public implementation: what attention has read once is kept instead of computed again).

use burn::tensor::{Int, Tensor};

use super::batch::{Batch, wrong_shape};
use super::error::ZooError;

/// A network that writes: a decoder, with or without an encoder before it.
pub trait Writer {
    /// Reads the prompt: runs the encoder, where there is one, and the decoder over all tokens that it has so far.
    /// Answers the logits of the next token, `[batch, vocabulary]`, and what was read.
    ///
    /// # Errors
    ///
    /// Missing or misshapen inputs.
    fn read(&self, batch: &Batch) -> Result<(Tensor<2>, Memory), ZooError>;

    /// Appends one token to every sample, `[batch, 1]`, and answers the logits of the next one, `[batch, vocabulary]`.
    ///
    /// # Errors
    ///
    /// No position is left for another token.
    fn append(&self, tokens: Tensor<2, Int>, memory: &mut Memory) -> Result<Tensor<2>, ZooError>;
}

/// What a decoder has read, layer by layer.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// How many tokens.
    pub length: usize,
    /// One for each layer of the decoder.
    pub layers: Vec<LayerMemory>,
}

impl Memory {
    /// What layer `index` has read; nothing before its first token.
    pub fn layer(&mut self, index: usize) -> &mut LayerMemory {
        if self.layers.len() <= index {
            self.layers.resize_with(index + 1, LayerMemory::default);
        }
        &mut self.layers[index]
    }

    /// Checks what [`Writer::append`] is given: one token for each sample that was read, and a position left of the
    /// network's `positions`.
    pub(super) fn check_append(&self, tokens: &Tensor<2, Int>, positions: usize) -> Result<(), ZooError> {
        let written = self.layers.first().and_then(|layer| layer.own.get());
        let (key, _) = written.ok_or(ZooError::PhaseOrder { phase: "append", needed: "read" })?;
        let [samples, ..] = key.dims();
        if tokens.dims() != [samples, 1] {
            return Err(wrong_shape("decoder_ids", &tokens.dims(), format!("{samples} x 1")));
        }
        if self.length >= positions {
            return Err(ZooError::NoPosition { positions });
        }
        Ok(())
    }
}

/// What one layer of a decoder has read.
#[derive(Clone, Debug, Default)]
pub struct LayerMemory {
    /// Of the decoder's own tokens; grows.
    pub own: KeyValue,
    /// Of the encoder's output; stays. Empty without an encoder.
    pub encoder: KeyValue,
}

/// Keys and values of some positions, each `[batch, heads, positions, head_width]`; `None` before the first.
#[derive(Clone, Debug, Default)]
pub struct KeyValue(Option<Box<(Tensor<4>, Tensor<4>)>>);

impl KeyValue {
    /// Keys and values of all positions, which are read once for every token to come: they are laid out in memory as
    /// attention reads them, where it would otherwise copy them each time.
    pub fn new(key: Tensor<4>, value: Tensor<4>) -> Self {
        Self(Some(Box::new((laid_out(key), laid_out(value)))))
    }

    /// Both; `None` before the first.
    pub fn get(&self) -> Option<(Tensor<4>, Tensor<4>)> {
        self.0.as_deref().cloned()
    }

    /// Appends keys and values of further positions; answers those of all.
    pub fn append(&mut self, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let whole = match self.0.take() {
            Some(before) => {
                let (keys, values) = *before;
                (Tensor::cat(vec![keys, key], 2), Tensor::cat(vec![values, value], 2))
            }
            None => (key, value),
        };
        self.0 = Some(Box::new(whole.clone()));
        whole
    }
}

/// The same values without the strides that splitting the heads leaves behind.
fn laid_out(x: Tensor<4>) -> Tensor<4> {
    let shape = x.dims();
    // No strided view has a single dimension, so that this reshape copies.
    x.reshape([shape.iter().product::<usize>()]).reshape(shape)
}

/// A text that is being written, every sample of a batch at the same pace. Nothing ends it early: the work is the same
/// for every prompt.
pub struct Generation<'w> {
    writer: &'w dyn Writer,
    memory: Memory,
    /// The logits that the newest token was taken from, `[batch, vocabulary]`.
    logits: Tensor<2>,
    tokens: Vec<Tensor<2, Int>>,
}

impl<'w> Generation<'w> {
    /// Reads the prompt and takes the first token.
    ///
    /// # Errors
    ///
    /// Inputs that do not fit.
    pub fn start(writer: &'w dyn Writer, batch: &Batch) -> Result<Self, ZooError> {
        let (logits, memory) = writer.read(batch)?;
        let first = logits.clone().argmax(1);
        Ok(Self { writer, memory, logits, tokens: vec![first] })
    }

    /// Takes the next token.
    ///
    /// # Errors
    ///
    /// No position is left.
    pub fn step(&mut self) -> Result<(), ZooError> {
        if let Some(newest) = self.tokens.last().cloned() {
            self.logits = self.writer.append(newest, &mut self.memory)?;
            self.tokens.push(self.logits.clone().argmax(1));
        }
        Ok(())
    }

    /// The logits that the newest token was taken from, `[batch, vocabulary]`.
    pub fn logits(&self) -> Tensor<2> {
        self.logits.clone()
    }

    /// What was written so far, `[batch, tokens]`.
    pub fn tokens(&self) -> Tensor<2, Int> {
        Tensor::cat(self.tokens.clone(), 1)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.try_to_vec_as::<f32>().unwrap()
    }

    #[test]
    fn keys_and_values_stay_what_they_are_and_grow_at_the_end() {
        let device = Device::flex();
        // [batch, positions, heads, head_width] as projections write it, its heads split by strides alone.
        let split = || Tensor::<4>::random([2, 5, 3, 4], Distribution::Default, &device).swap_dims(1, 2);
        let (key, value) = (split(), split());
        let given = KeyValue::new(key.clone(), value.clone()).get().unwrap();
        assert_eq!([values(given.0), values(given.1)], [values(key.clone()), values(value.clone())]);

        let mut grown = KeyValue::default();
        assert!(grown.get().is_none());
        let part = |x: &Tensor<4>, start, count| x.clone().narrow(2, start, count);
        grown.append(part(&key, 0, 3), part(&value, 0, 3));
        let answered = grown.append(part(&key, 3, 2), part(&value, 3, 2));
        assert_eq!([values(answered.0), values(answered.1)], [values(key), values(value)]);
    }
}
