//! The object-safe face of a network, and its one implementation for every architecture.

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};

use super::batch::{Batch, Output};
use super::channels::Shapes;
use super::error::{WeightError, ZooError};
use super::generation::Writer;
use super::inventory::{Entry, inventory};
use super::quantize;
use super::targets::Targets;
use super::trainer::{BurnTrainer, Trainer};
use super::weights::{self, Checkpoint, WeightSource};
use crate::domain::TrainingOptimizer;
use crate::domain::model::HostTensor;

/// A network on a device, whatever its architecture.
pub trait Network: Send {
    /// One forward pass. On a plain device batch normalisation uses its running statistics; a network that was
    /// built on `device.autodiff()` is meant for [`into_trainer`](Self::into_trainer), and would use and update
    /// them with the batch's own.
    ///
    /// The outputs are still on the device, and may still be computed when this returns.
    ///
    /// # Errors
    ///
    /// Missing or misshapen inputs, or no weights loaded yet.
    fn forward(&self, batch: &Batch) -> Result<Vec<Output>, ZooError>;

    /// Every parameter and buffer, by reference names and in the reference's layout, in the order of the module.
    fn parameters(&self) -> Vec<ParameterInfo>;

    /// The number of parameters, frozen ones included, buffers not; shared ones count once.
    fn parameter_count(&self) -> u64;

    /// What the parameters and buffers take at their element type, in bytes.
    fn size_bytes(&self) -> u64;

    /// Replaces all weights. They are cast to the float type of the device.
    ///
    /// # Errors
    ///
    /// An unreadable source, or one that differs from the network in any name, shape or element type.
    fn load(&mut self, source: &WeightSource) -> Result<(), WeightError>;

    /// The same network, the weights of its linear layers and convolutions kept as 8-bit integers; products stay in
    /// floating point. See [`quantize`].
    ///
    /// # Errors
    ///
    /// No weights yet, or convolutions on a device that cannot convolve with integers.
    fn with_integer_weights(self: Box<Self>) -> Result<Box<dyn Network>, ZooError>;

    /// Whether any weight is kept as integers.
    fn has_integer_weights(&self) -> bool;

    /// The shapes of those tensors of a source that the network knows by name, whether they fit or not; nothing is
    /// loaded. [`ModelEntry::build_like`](super::ModelEntry::build_like) takes them.
    ///
    /// # Errors
    ///
    /// An unreadable source.
    fn shapes_in(&self, source: &WeightSource) -> Result<Shapes, WeightError>;

    /// Copies every parameter and buffer to the host, by reference names and in the reference's layout.
    ///
    /// # Errors
    ///
    /// The device did not hand a tensor over.
    fn weights(&self) -> Result<Vec<HostTensor>, WeightError>;

    /// How the network writes tokens one after another.
    ///
    /// # Errors
    ///
    /// A network that does not write, or that has no weights yet.
    fn writer(&self) -> Result<&dyn Writer, ZooError>;

    /// The vectors of all words of an input (`ids`, `decoder_ids`), `[vocabulary, width]`; `None` for inputs that are no
    /// words.
    fn word_table(&self, input: &str) -> Option<Tensor<2>>;

    /// The reference's name of a parameter.
    fn name_of(&self, parameter: ParamId) -> Option<String>;

    /// The parameter of this reference name.
    fn parameter_id(&self, name: &str) -> Option<ParamId>;

    /// The device that the network was built on; its batches must be on the same.
    fn device(&self) -> Device;

    /// A second network over the same weights, for another thread: the tensors are shared, not copied.
    fn replica(&self) -> Box<dyn Network>;

    /// The same network on the same device without gradients: its parameters are constants from then on. One that has
    /// none anyway stays as it is.
    fn without_gradients(self: Box<Self>) -> Box<dyn Network>;

    /// Turns the network into one that learns; it must have been built on `device.autodiff()`.
    fn into_trainer(self: Box<Self>, optimizer: TrainingOptimizer) -> Box<dyn Trainer>;
}

/// One tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterInfo {
    /// The reference's name: `layer1.0.bn1.weight`.
    pub name: String,
    /// The shape in the reference's layout.
    pub shape: Vec<usize>,
    /// The number of elements.
    pub elements: u64,
    /// Whether a training step moves it.
    pub kind: ParameterKind,
}

/// What becomes of a tensor in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterKind {
    /// Moved by the optimizer.
    Trainable,
    /// A parameter that training leaves as it is: no gradient is computed for it.
    Frozen,
    /// Carried along: running statistics, and the scale and shift of a normalisation that never learns.
    Buffer,
}

/// What an architecture adds to a Burn module. Everything else ([`Network`], [`Trainer`], loading) follows.
pub trait Architecture: Module + 'static {
    /// What the body computes, from which the outputs and the loss both follow.
    type Features: Send;

    /// The body's forward pass.
    ///
    /// # Errors
    ///
    /// Missing or misshapen inputs.
    fn features(&self, batch: &Batch) -> Result<Self::Features, ZooError>;

    /// The outputs by the names of the golden files.
    fn outputs(&self, features: Self::Features) -> Vec<Output>;

    /// The loss of a training step, a single element.
    ///
    /// # Errors
    ///
    /// Targets of another task or batch.
    fn loss(&self, features: Self::Features, batch: &Batch, targets: &Targets) -> Result<Tensor<1>, ZooError>;

    /// How it writes tokens one after another; `None` for networks that do not.
    fn writer(&self) -> Option<&dyn Writer> {
        None
    }

    /// The vectors of all words of an input, `[vocabulary, width]`; `None` for inputs that are no words.
    fn word_table(&self, _input: &str) -> Option<Tensor<2>> {
        None
    }

    /// Whether a tensor of this reference name is a buffer, which no training step moves.
    fn is_buffer(name: &str) -> bool {
        name.ends_with("running_mean") || name.ends_with("running_var")
    }

    /// Whether a tensor of this reference name is a parameter that no training step moves: its gradient was switched off
    /// when the module was made, or the forward pass keeps it away.
    fn is_frozen(_name: &str) -> bool {
        false
    }

    /// Whether a tensor of this reference name is a scalar. Burn's tensors have at least one dimension, so the module
    /// holds it in one of a single element.
    fn is_scalar(_name: &str) -> bool {
        false
    }

    /// The reference's name of a path, after Burn's PyTorch adapter (`weight` and `bias` of normalisations).
    fn reference_name(path: &str) -> String;

    /// How real checkpoints of this architecture differ from the reference's names.
    fn checkpoint() -> Checkpoint;
}

/// Boxes a module as a [`Network`] without weights.
pub fn boxed<A: Architecture>(module: A, device: &Device) -> Box<dyn Network> {
    Box::new(BurnNetwork { module, device: device.clone(), loaded: false, integer_weights: 0 })
}

/// A Burn module, its device, and whether it has weights worth running.
pub(super) struct BurnNetwork<A> {
    pub(super) module: A,
    pub(super) device: Device,
    pub(super) loaded: bool,
    /// How many tensors are kept as integers.
    pub(super) integer_weights: usize,
}

impl<A: Architecture> BurnNetwork<A> {
    fn entries(&self) -> Vec<Entry> {
        inventory::<A>(&self.module, &self.device)
    }
}

impl<A: Architecture> Network for BurnNetwork<A> {
    fn forward(&self, batch: &Batch) -> Result<Vec<Output>, ZooError> {
        if !self.loaded {
            return Err(ZooError::NoWeights);
        }
        Ok(self.module.outputs(self.module.features(batch)?))
    }

    fn parameters(&self) -> Vec<ParameterInfo> {
        self.entries()
            .into_iter()
            .map(|entry| ParameterInfo {
                elements: entry.elements(),
                name: entry.name,
                shape: entry.shape,
                kind: entry.kind,
            })
            .collect()
    }

    fn parameter_count(&self) -> u64 {
        self.entries().iter().filter(|entry| entry.kind != ParameterKind::Buffer).map(Entry::elements).sum()
    }

    fn size_bytes(&self) -> u64 {
        self.entries().iter().map(|entry| entry.bytes).sum()
    }

    fn load(&mut self, source: &WeightSource) -> Result<(), WeightError> {
        // A load that fails half-way leaves a mixture that must not run.
        self.loaded = false;
        self.integer_weights = 0;
        weights::load(&mut self.module, &self.device, source)?;
        self.loaded = true;
        Ok(())
    }

    fn with_integer_weights(self: Box<Self>) -> Result<Box<dyn Network>, ZooError> {
        if !self.loaded {
            return Err(ZooError::NoWeights);
        }
        let (module, integer_weights) = quantize::to_integers(self.module, &self.device)?;
        Ok(Box::new(Self { module, integer_weights, ..*self }))
    }

    fn has_integer_weights(&self) -> bool {
        self.integer_weights > 0
    }

    fn shapes_in(&self, source: &WeightSource) -> Result<Shapes, WeightError> {
        weights::shapes(&self.module, &self.device, source)
    }

    fn weights(&self) -> Result<Vec<HostTensor>, WeightError> {
        weights::read(&self.module)
    }

    fn writer(&self) -> Result<&dyn Writer, ZooError> {
        match self.module.writer() {
            Some(_) if !self.loaded => Err(ZooError::NoWeights),
            Some(writer) => Ok(writer),
            None => Err(ZooError::NoWriter),
        }
    }

    fn word_table(&self, input: &str) -> Option<Tensor<2>> {
        self.module.word_table(input)
    }

    fn name_of(&self, parameter: ParamId) -> Option<String> {
        self.entries().into_iter().find(|entry| entry.id == parameter).map(|entry| entry.name)
    }

    fn parameter_id(&self, name: &str) -> Option<ParamId> {
        self.entries().into_iter().find(|entry| entry.name == name).map(|entry| entry.id)
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn replica(&self) -> Box<dyn Network> {
        let Self { module, device, loaded, integer_weights } = self;
        Box::new(Self {
            module: module.clone(),
            device: device.clone(),
            loaded: *loaded,
            integer_weights: *integer_weights,
        })
    }

    fn without_gradients(self: Box<Self>) -> Box<dyn Network> {
        if !self.device.is_autodiff() {
            return self;
        }
        Box::new(Self { module: self.module.valid(), device: self.device.clone().without_autodiff(), ..*self })
    }

    fn into_trainer(self: Box<Self>, optimizer: TrainingOptimizer) -> Box<dyn Trainer> {
        Box::new(BurnTrainer::new(*self, optimizer))
    }
}
