//! Attribution methods: how much every part of an input adds to a network's answer. The reference is Captum.
//!
//! This layer owns the [`Method`]s and what they share: a [`Subject`] (a network with the samples and outputs that are
//! explained), [`ruled`](mod@ruled) (the one operation behind all rules that change the backward pass), baselines, rows of
//! inner batches. It sees networks through [`zoo::hooks`](crate::zoo::hooks), and must not know clocks, files or
//! databases.
//!
//! ```no_run
//! use benchdb::explain::{Subject, Target, explain, registry};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let device = burn::tensor::Device::flex();
//! let entry = benchdb::zoo::find("cifar_cnn").ok_or("no such model")?;
//! let network = entry.build_loaded(&benchdb::zoo::WeightSource::Seeded(0), &device)?;
//! let inputs = benchdb::zoo::host_inputs(&entry.inputs(), 2, 0);
//! let subject = Subject::new(network.as_ref(), &inputs)?.with_targets(&[Target::class(3)])?;
//! let method = registry::find("integrated_gradients")?.default_method()?;
//! let attribution = explain(method.as_ref(), &subject)?.to_host()?; // [2, 3, 32, 32]
//! # Ok(())
//! # }
//! ```

pub mod baseline;
pub mod compatibility;
pub mod error;
pub mod layers;
pub mod method;
pub mod methods;
mod noise;
pub mod optimize;
pub mod parallel;
pub mod quadrature;
pub mod registry;
mod rows;
pub mod ruled;
pub mod subject;
pub mod target;
pub mod tuner;

pub use baseline::Baseline;
pub use compatibility::{Fit, fits};
pub use error::ExplainError;
pub use layers::convolutions;
pub use method::{Attribution, Method, Relevance, explain};
pub use optimize::{OptimizationStep, optimize_for_inference};
pub use parallel::{Crew, Work, guarded};
pub use registry::{MethodEntry, methods as all_methods};
pub use subject::{DEFAULT_INNER_BATCH, Passes, Prepared, SharedHooks, Subject, no_hooks};
pub use target::Target;
pub use tuner::{InnerBatch, Tuned};
