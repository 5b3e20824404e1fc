//! Why there is no explanation.

use serde_json::Value;
use thiserror::Error;

use super::registry;
use crate::zoo::ZooError;

/// What stands between a network and its explanation.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// The method does not fit the network.
    #[error("{method} does not fit this network: {reason}")]
    Unsupported {
        /// The method's name.
        method: &'static str,
        /// What the network has, or lacks.
        reason: String,
    },
    /// No method of this name.
    #[error("unknown attribution method `{name}`")]
    UnknownMethod {
        /// The name that was given.
        name: String,
        /// All names.
        known: Vec<&'static str>,
    },
    /// A parameter that the method does not have, or a value that it cannot take.
    #[error("the parameters of {method} cannot be used: {reason}")]
    Parameters {
        /// The method's name.
        method: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A parameter of a method that nobody asked for.
    #[error("the parameter `{name}` is for a method that is not asked for")]
    ForeignParameter {
        /// As it was given: `METHOD.NAME`.
        name: String,
        /// The methods that are asked for.
        methods: Vec<&'static str>,
    },
    /// The network has no such layer to look at.
    #[error("the network has no convolution `{name}`")]
    Layer {
        /// The name that was given.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A class that the network does not tell apart.
    #[error("there is no class {class}: the network tells {classes} apart")]
    Class {
        /// The class that was asked for.
        class: usize,
        /// How many there are.
        classes: usize,
    },
    /// A place in the output that does not exist.
    #[error("there is no position {position}: the output has {positions}")]
    Position {
        /// The position that was asked for.
        position: usize,
        /// How many there are.
        positions: usize,
    },
    /// As many targets are needed as there are samples.
    #[error("{found} targets are given for {expected} samples")]
    TargetCount {
        /// Samples.
        expected: usize,
        /// Targets.
        found: usize,
    },
    /// The input that is to be explained cannot be.
    #[error("the input `{name}` cannot be explained: {reason}")]
    Input {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// Baselines of another shape, or none where some are asked for.
    #[error("the baselines do not fit: {reason}")]
    Baseline {
        /// What is wrong.
        reason: String,
    },
    /// The explanation holds values that are no numbers.
    #[error("{method} answers numbers that are not finite")]
    NotFinite {
        /// The method's name.
        method: &'static str,
    },
    /// As many rows were run as were asked for, to time them; see
    /// [`Prepared::with_row_limit`](super::Prepared::with_row_limit).
    #[error("the explanation ended before it was done, as it was told to")]
    Enough,
    /// The engine panicked.
    #[error("the engine stopped in the middle: {message}")]
    Stopped {
        /// What it said.
        message: String,
    },
    /// Threads of its own cannot be had.
    #[error("no threads for {workers} parallel workers could be started")]
    Threads {
        /// How many workers there were to be.
        workers: usize,
        /// Why not.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
    /// Not even one row fits into the memory that may be taken.
    #[error("one row of {method} alone takes about {} MB, and {} MB are allowed", needed / 1_000_000, limit / 1_000_000)]
    Memory {
        /// The method's name.
        method: &'static str,
        /// What a process that explains one row takes, in bytes.
        needed: u64,
        /// What it may take.
        limit: u64,
    },
    /// The network could not run.
    #[error(transparent)]
    Network(#[from] ZooError),
    /// The device did not hand a result over.
    #[error("cannot read the explanation from the device")]
    Read {
        /// What Burn says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl ExplainError {
    /// The way out, where there is one.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unsupported { .. } => Some("`benchdb models --methods` lists what fits which model".to_owned()),
            Self::UnknownMethod { known, .. } => Some(format!("the methods are {}", known.join(", "))),
            Self::ForeignParameter { methods, .. } => Some(format!("the methods are {}", methods.join(", "))),
            Self::Layer { known, .. } if known.is_empty() => Some("the network has no convolutions".to_owned()),
            Self::Layer { known, .. } => Some(format!("its convolutions are {}", known.join(", "))),
            Self::Class { classes, .. } => Some(format!("classes count from 0 to {}", classes.saturating_sub(1))),
            Self::Position { positions, .. } => {
                Some(format!("positions count from 0 to {}", positions.saturating_sub(1)))
            }
            Self::TargetCount { .. } => Some("give one target for all samples or one for each".to_owned()),
            Self::NotFinite { .. } => Some("a half precision may overflow: `--precision fp32`".to_owned()),
            Self::Network(error) => error.hint(),
            Self::Parameters { method, .. } => Some(parameters_hint(method)),
            Self::Input { .. } => {
                Some("the input must be what the model reads: `benchdb models` shows names and shapes".to_owned())
            }
            Self::Baseline { .. } => {
                Some("baselines are one tensor of finite floats, in the shape of a batch of the input".to_owned())
            }
            Self::Stopped { .. } => Some(
                "fewer rows at a time (`inner_batch`) or another engine may do it: `burn-flex` runs anywhere"
                    .to_owned(),
            ),
            Self::Threads { .. } => Some("ask for fewer workers".to_owned()),
            Self::Memory { .. } => Some("allow more memory, or take a smaller model or input".to_owned()),
            Self::Enough | Self::Read { .. } => None,
        }
    }
}

/// The parameters that a method has, with their defaults.
fn parameters_hint(method: &str) -> String {
    let defaults = registry::find(method).and_then(|entry| entry.default_method()).map(|method| method.parameters());
    let own: Vec<String> = match &defaults {
        Ok(Value::Object(own)) => own.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        _ => Vec::new(),
    };
    match own.is_empty() {
        true => format!("{method} has no parameters"),
        false => format!("its parameters and their defaults: {}", own.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_mended_says_how() {
        let hint = |error: ExplainError| error.hint().unwrap();
        let of = |method| ExplainError::Parameters { method, reason: String::new() };
        assert!(hint(of("integrated_gradients")).contains("steps=50"));
        assert_eq!(hint(of("input_x_gradient")), "input_x_gradient has no parameters");
        assert!(hint(ExplainError::Input { name: "image".into(), reason: String::new() }).contains("benchdb models"));
        assert!(hint(ExplainError::Baseline { reason: String::new() }).contains("shape of a batch"));
        let memory = ExplainError::Memory { method: "lrp", needed: 3_500_000_000, limit: 2_000_000_000 };
        assert_eq!(memory.to_string(), "one row of lrp alone takes about 3500 MB, and 2000 MB are allowed");
    }
}
