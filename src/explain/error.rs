//! Why there is no explanation.

use thiserror::Error;

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
            Self::Parameters { .. } | Self::Input { .. } | Self::Baseline { .. } | Self::Read { .. } => None,
        }
    }
}
