//! What is measured: everything that changes the work, and nothing that does not.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::hardware::{Device, Platform};
use super::label::display_as_label;

/// The arithmetic that an engine really does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Precision {
    /// IEEE single precision.
    Fp32,
    /// 19-bit products of single-precision numbers (NVIDIA).
    Tf32,
    /// IEEE half precision.
    Fp16,
    /// bfloat16.
    Bf16,
    /// Automatic mixed precision.
    Amp,
    /// 8-bit integer weights and activations.
    Int8,
    /// 8-bit integer weights, products in floating point.
    Int8w,
}

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Mode {
    /// A forward pass.
    Inference,
    /// A whole step: forward, loss, backward, optimizer.
    Training,
    /// One attribution method.
    Explanation,
}

display_as_label!(Precision, Mode);

/// Everything that changes the work of a run. No part is ever missing: an empty text or `{}` instead.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Configuration {
    /// The model's canonical name.
    pub model: String,
    /// A user's label for a version of the model; empty by default.
    #[serde(default)]
    pub variant: String,
    /// How the device was reached.
    pub platform: Platform,
    /// The silicon.
    pub device: Device,
    /// The software that executed.
    pub engine: String,
    /// The arithmetic.
    pub precision: Precision,
    /// What was timed.
    pub mode: Mode,
    /// Samples in one iteration.
    pub batch_size: u32,
    /// The shape of one sample: `3x224x224`; several inputs as `image=3x224x224,ids=77`; empty where unknown.
    #[serde(default)]
    pub input_shape: String,
    /// Threads the engine may use on the host; 0 where it was not said.
    #[serde(default)]
    pub threads: u32,
    /// All else that changes the work, by name in alphabetical order.
    #[serde(default)]
    pub parameters: BTreeMap<String, Value>,
}

impl Configuration {
    /// The identity of a configuration: SHA-256 (hex) of its canonical form, which is JSON with keys in
    /// alphabetical order, no white space, and the device without its memory size.
    pub fn fingerprint(&self) -> String {
        let device = &self.device;
        let canonical = serde_json::json!({
            "batch_size": self.batch_size,
            "device": {
                "compute_units": device.compute_units,
                "kind": device.kind,
                "name": device.name,
                "software": device.software,
                "vendor": device.vendor,
            },
            "engine": self.engine,
            "input_shape": self.input_shape,
            "mode": self.mode,
            "model": self.model,
            "parameters": self.parameters,
            "platform": self.platform,
            "precision": self.precision,
            "threads": self.threads,
            "variant": self.variant,
        });
        sha256_hex(canonical.to_string().as_bytes())
    }

    /// The parameters as the database and the views show them: canonical JSON.
    pub fn parameters_json(&self) -> String {
        Value::from_iter(self.parameters.clone()).to_string()
    }

    /// The attribution method of an explanation, or an empty text.
    pub fn method(&self) -> &str {
        self.parameters.get("method").and_then(Value::as_str).unwrap_or_default()
    }
}

/// SHA-256 of `bytes` in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `bytes` in lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DeviceKind;

    fn configuration() -> Configuration {
        Configuration {
            model: "resnet18".into(),
            variant: String::new(),
            platform: Platform::Cpu,
            device: Device {
                kind: DeviceKind::Cpu,
                vendor: "GenuineIntel".into(),
                name: "Xeon".into(),
                compute_units: Some(2),
                memory_bytes: Some(1),
                software: false,
            },
            engine: "burn-flex".into(),
            precision: Precision::Fp32,
            mode: Mode::Inference,
            batch_size: 1,
            input_shape: "3x224x224".into(),
            threads: 2,
            parameters: BTreeMap::new(),
        }
    }

    #[test]
    fn memory_size_is_not_part_of_the_identity() {
        let mut other = configuration();
        other.device.memory_bytes = Some(2);
        assert_eq!(configuration().fingerprint(), other.fingerprint());
    }

    #[test]
    fn whatever_changes_the_work_changes_the_fingerprint() {
        let base = configuration().fingerprint();
        let mut other = configuration();
        other.threads = 1;
        assert_ne!(base, other.fingerprint());
        let mut other = configuration();
        other.parameters.insert("optimizer".into(), "adam".into());
        assert_ne!(base, other.fingerprint());
    }

    #[test]
    fn the_fingerprint_is_the_same_in_every_release() {
        assert_eq!(configuration().fingerprint(), "16fbd454a7f0e704b39510b2c26e6259979834fe752efe2eacd4905aa81c537a");
    }
}
