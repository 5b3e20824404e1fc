//! Training steps, phase by phase, so that whoever measures can time each of them.

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer, SgdConfig, momentum::MomentumConfig};
use burn::tensor::{DType, Device, Tensor};

use super::batch::Batch;
use super::error::ZooError;
use super::network::{Architecture, BurnNetwork, Network};
use super::targets::Targets;
use crate::domain::TrainingOptimizer;

/// A network that learns. The phases of a step are called in order: `forward`, `loss`, `backward`, `step`;
/// each may return while the device still works.
pub trait Trainer: Send {
    /// The forward pass, with batch statistics in batch normalisations; the graph is kept for `backward`.
    ///
    /// # Errors
    ///
    /// No weights, a device without gradients, inputs that do not fit.
    fn forward(&mut self, batch: &Batch) -> Result<(), ZooError>;

    /// The loss of the last forward pass. Masked language models multiply with their embeddings here, and only
    /// at the masked positions.
    ///
    /// # Errors
    ///
    /// Called before `forward`, or targets that do not fit.
    fn loss(&mut self, batch: &Batch, targets: &Targets) -> Result<(), ZooError>;

    /// The gradients of the last loss.
    ///
    /// # Errors
    ///
    /// Called before `loss`.
    fn backward(&mut self) -> Result<(), ZooError>;

    /// Moves the parameters along the last gradients.
    ///
    /// # Errors
    ///
    /// Called before `backward`.
    fn step(&mut self) -> Result<(), ZooError>;

    /// Steps are this long from now on, instead of [`learning_rate`]; above 0.
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// The loss of the last `loss` phase; waits for the device. `None` before the first one, or where the
    /// device fails to hand it over.
    fn last_loss(&mut self) -> Option<f32>;

    /// The element type of the last loss: what the step really computed in.
    fn last_loss_dtype(&self) -> Option<DType>;

    /// The network with what it learned so far, on the same device without gradients.
    ///
    /// # Errors
    ///
    /// No network is left, because an optimizer step ended in a panic.
    fn into_network(self: Box<Self>) -> Result<Box<dyn Network>, ZooError>;
}

/// The constant learning rate: 1e-3 for Adam (Kingma and Ba 2015: betas 0.9 and 0.999, epsilon 1e-8), 1e-2 for SGD
/// (momentum 0.9 without dampening), as in PyTorch. No weight decay, no clipping, no schedule.
pub fn learning_rate(optimizer: TrainingOptimizer) -> f64 {
    match optimizer {
        TrainingOptimizer::Adam => 1e-3,
        TrainingOptimizer::Sgd => 1e-2,
    }
}

// Burn's defaults differ from PyTorch's (epsilon 1e-5, dampening 0.1), so all of them are given.
fn build(optimizer: TrainingOptimizer) -> ModuleOptimizer {
    match optimizer {
        TrainingOptimizer::Adam => AdamConfig::new().with_beta_1(0.9).with_beta_2(0.999).with_epsilon(1e-8).init(),
        TrainingOptimizer::Sgd => {
            SgdConfig::new().with_momentum(Some(MomentumConfig::new().with_momentum(0.9).with_dampening(0.0))).init()
        }
    }
}

/// The one trainer, for every architecture.
pub(super) struct BurnTrainer<A: Architecture> {
    /// Burn's optimizer takes the module by value; it is `None` only while that runs.
    module: Option<A>,
    device: Device,
    loaded: bool,
    optimizer: ModuleOptimizer,
    learning_rate: f64,
    features: Option<A::Features>,
    loss: Option<Tensor<1>>,
    gradients: Option<GradientsParams>,
    last_loss: Option<Tensor<1>>,
}

impl<A: Architecture> BurnTrainer<A> {
    pub(super) fn new(network: BurnNetwork<A>, optimizer: TrainingOptimizer) -> Self {
        Self {
            module: Some(network.module),
            device: network.device,
            loaded: network.loaded,
            optimizer: build(optimizer),
            learning_rate: learning_rate(optimizer),
            features: None,
            loss: None,
            gradients: None,
            last_loss: None,
        }
    }

    fn module(&self) -> Result<&A, ZooError> {
        self.module.as_ref().ok_or(ZooError::NoWeights)
    }
}

fn out_of_order(phase: &'static str, needed: &'static str) -> ZooError {
    ZooError::PhaseOrder { phase, needed }
}

impl<A: Architecture> Trainer for BurnTrainer<A> {
    fn forward(&mut self, batch: &Batch) -> Result<(), ZooError> {
        if !self.loaded {
            return Err(ZooError::NoWeights);
        }
        if !self.device.is_autodiff() {
            return Err(ZooError::NoGradients);
        }
        // What an aborted step left behind must neither be used nor take memory.
        self.loss = None;
        self.gradients = None;
        self.features = None;
        self.features = Some(self.module()?.features(batch)?);
        Ok(())
    }

    fn loss(&mut self, batch: &Batch, targets: &Targets) -> Result<(), ZooError> {
        let features = self.features.take().ok_or(out_of_order("loss", "forward"))?;
        let loss = self.module()?.loss(features, batch, targets)?;
        self.last_loss = Some(loss.clone().inner());
        self.loss = Some(loss);
        Ok(())
    }

    fn backward(&mut self) -> Result<(), ZooError> {
        let loss = self.loss.take().ok_or(out_of_order("backward", "loss"))?;
        let gradients = loss.backward();
        self.gradients = Some(GradientsParams::from_grads(gradients, self.module()?));
        Ok(())
    }

    fn step(&mut self) -> Result<(), ZooError> {
        let gradients = self.gradients.take().ok_or(out_of_order("step", "backward"))?;
        let module = self.module.take().ok_or(ZooError::NoWeights)?;
        self.module = Some(self.optimizer.step(self.learning_rate, module, gradients));
        Ok(())
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.learning_rate = learning_rate;
    }

    fn last_loss(&mut self) -> Option<f32> {
        let values = self.last_loss.as_ref()?.try_to_vec_as::<f32>().ok()?;
        values.first().copied()
    }

    fn last_loss_dtype(&self) -> Option<DType> {
        self.last_loss.as_ref().map(Tensor::dtype)
    }

    fn into_network(self: Box<Self>) -> Result<Box<dyn Network>, ZooError> {
        let module = self.module.ok_or(ZooError::NoWeights)?;
        Ok(Box::new(BurnNetwork {
            module: module.valid(),
            device: self.device.without_autodiff(),
            loaded: self.loaded,
            integer_weights: 0,
        }))
    }
}
