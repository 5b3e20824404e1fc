//! Writing tokens one after another, greedily, with a cache of keys and values (Vaswani et al. 2017; the cache as in
//! every public implementation: what attention has read once is kept instead of computed again).

use burn::tensor::{Int, Tensor};

use super::batch::Batch;
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
    /// Keys and values of all positions.
    pub fn new(key: Tensor<4>, value: Tensor<4>) -> Self {
        Self(Some(Box::new((key, value))))
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
