//! What Burn's engines repeat and time: forward passes, training steps, generated tokens.

use burn::tensor::{DType, Device as BurnDevice, Tensor};

use super::super::{DeviceMemory, EngineError, GenerationShape, Workload};
use crate::domain::{HostTensor, Precision};
use crate::zoo::{Batch, Generation, Network, Output, Targets, Trainer};

/// The arithmetic that an element type means.
pub(super) fn precision_of(dtype: DType) -> Option<Precision> {
    match dtype {
        DType::F32 => Some(Precision::Fp32),
        DType::F16 => Some(Precision::Fp16),
        DType::BF16 => Some(Precision::Bf16),
        _ => None,
    }
}

/// What a network computed in: its results' type, unless its weights are kept as integers.
fn real_precision(network: &dyn Network, result: DType) -> Option<Precision> {
    if network.has_integer_weights() { Some(Precision::Int8w) } else { precision_of(result) }
}

/// Waits until the device has done all that it was given.
pub(super) fn wait(device: &BurnDevice) -> Result<(), EngineError> {
    device.sync().map_err(|error| EngineError::Device { message: error.to_string() })
}

pub(super) fn memory_of(device: &BurnDevice) -> Option<DeviceMemory> {
    let usage = device.memory_pool_usage()?;
    Some(DeviceMemory { allocated: usage.bytes_in_use, reserved: usage.bytes_reserved })
}

/// Copies the outputs of one forward pass to the host.
pub(super) fn forward_on_host(network: &dyn Network, inputs: &[HostTensor]) -> Result<Vec<HostTensor>, EngineError> {
    let outputs = network.forward(&Batch::from_host(inputs, &network.device())?)?;
    Ok(outputs.iter().map(Output::to_host).collect::<Result<_, _>>()?)
}

/// Forward passes.
pub(super) struct InferenceWorkload {
    pub network: Box<dyn Network>,
    pub batch: Batch,
    pub device: BurnDevice,
    pub in_flight: u32,
    pub batch_size: u32,
    /// Kept until the device is done: what nobody holds, a lazy backend need not compute.
    pub outputs: Vec<Output>,
    pub precision: Option<Precision>,
}

impl Workload for InferenceWorkload {
    fn iterate(&mut self, _: &mut dyn FnMut()) -> Result<(), EngineError> {
        for _ in 0..self.in_flight {
            self.outputs.extend(self.network.forward(&self.batch)?);
        }
        wait(&self.device)
    }

    fn between(&mut self) {
        if self.precision.is_none() {
            self.precision =
                self.outputs.first().and_then(|output| real_precision(self.network.as_ref(), output.dtype()));
        }
        self.outputs.clear();
    }

    fn samples_per_iteration(&self) -> u64 {
        u64::from(self.batch_size) * u64::from(self.in_flight)
    }

    fn result_precision(&self) -> Option<Precision> {
        self.precision
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        memory_of(&self.device)
    }

    fn verify(&mut self) -> Result<(), EngineError> {
        for output in self.network.forward(&self.batch)? {
            output.first_sample().to_host()?;
        }
        Ok(())
    }

    fn outputs(&mut self, inputs: &[HostTensor]) -> Result<Option<Vec<HostTensor>>, EngineError> {
        forward_on_host(self.network.as_ref(), inputs).map(Some)
    }
}

/// Texts, written token by token.
pub(super) struct GenerationWorkload {
    pub network: Box<dyn Network>,
    pub batch: Batch,
    pub device: BurnDevice,
    pub batch_size: u32,
    pub shape: GenerationShape,
    /// The logits of the last token, kept until the device is done.
    pub logits: Option<Tensor<2>>,
    pub precision: Option<Precision>,
}

impl Workload for GenerationWorkload {
    fn iterate(&mut self, mark: &mut dyn FnMut()) -> Result<(), EngineError> {
        let mut generation = Generation::start(self.network.writer()?, &self.batch)?;
        wait(&self.device)?;
        mark();
        // Whoever reads along waits for every token, so the device does.
        for _ in 1..self.shape.new_tokens {
            generation.step()?;
            wait(&self.device)?;
        }
        self.logits = Some(generation.logits());
        Ok(())
    }

    fn between(&mut self) {
        let logits = self.logits.take();
        if self.precision.is_none() {
            self.precision = logits.and_then(|logits| real_precision(self.network.as_ref(), logits.dtype()));
        }
    }

    fn phases(&self) -> &'static [&'static str] {
        &["prefill", "decode"]
    }

    fn samples_per_iteration(&self) -> u64 {
        u64::from(self.batch_size)
    }

    fn generation(&self) -> Option<GenerationShape> {
        Some(self.shape)
    }

    fn result_precision(&self) -> Option<Precision> {
        self.precision
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        memory_of(&self.device)
    }

    fn verify(&mut self) -> Result<(), EngineError> {
        let mut generation = Generation::start(self.network.writer()?, &self.batch)?;
        if self.shape.new_tokens > 1 {
            generation.step()?;
        }
        let first = generation.logits().narrow(0, 0, 1);
        first.try_to_vec_as::<f32>().map(drop).map_err(|error| EngineError::Device { message: error.to_string() })
    }

    fn outputs(&mut self, inputs: &[HostTensor]) -> Result<Option<Vec<HostTensor>>, EngineError> {
        forward_on_host(self.network.as_ref(), inputs).map(Some)
    }
}

/// Training steps.
pub(super) struct TrainingWorkload {
    pub trainer: Box<dyn Trainer>,
    pub batch: Batch,
    pub targets: Targets,
    /// Of the first step, before anything was learnt.
    pub first_loss: Option<f32>,
    pub device: BurnDevice,
    pub in_flight: u32,
    pub batch_size: u32,
}

impl TrainingWorkload {
    fn step(
        &mut self,
        mut between_phases: impl FnMut(&BurnDevice) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.trainer.forward(&self.batch)?;
        between_phases(&self.device)?;
        self.trainer.loss(&self.batch, &self.targets)?;
        between_phases(&self.device)?;
        self.trainer.backward()?;
        between_phases(&self.device)?;
        Ok(self.trainer.step()?)
    }
}

impl Workload for TrainingWorkload {
    fn iterate(&mut self, mark: &mut dyn FnMut()) -> Result<(), EngineError> {
        if self.in_flight > 1 {
            for _ in 0..self.in_flight {
                self.step(|_| Ok(()))?;
            }
        } else {
            self.step(|device| {
                wait(device)?;
                mark();
                Ok(())
            })?;
        }
        wait(&self.device)
    }

    fn between(&mut self) {
        if self.first_loss.is_none() {
            self.first_loss = self.trainer.last_loss();
        }
    }

    fn phases(&self) -> &'static [&'static str] {
        if self.in_flight > 1 { &[] } else { &["forward", "loss", "backward", "optimizer_step"] }
    }

    fn samples_per_iteration(&self) -> u64 {
        u64::from(self.batch_size) * u64::from(self.in_flight)
    }

    fn result_precision(&self) -> Option<Precision> {
        self.trainer.last_loss_dtype().and_then(precision_of)
    }

    fn device_memory(&self) -> Option<DeviceMemory> {
        memory_of(&self.device)
    }

    fn verify(&mut self) -> Result<(), EngineError> {
        match self.trainer.last_loss() {
            Some(_) => Ok(()),
            None => Err(EngineError::Device { message: "the loss of the last step cannot be read".to_owned() }),
        }
    }

    fn losses(&mut self) -> Option<(f32, f32)> {
        self.first_loss.zip(self.trainer.last_loss())
    }
}
