//! The words in which the costs of explanations are stored.

/// How often the time of a plain forward pass over the same batch an explanation takes.
pub const COST_IN_INFERENCES: &str = "cost_in_inferences";

/// What the process grew by while it explained, by sample, in MB.
pub const MEMORY_PER_EXPLANATION: &str = "memory_per_explanation_mb";

/// The median time of a plain forward pass over the same batch, in ms.
pub const INFERENCE_MS: &str = "inference_ms";

/// Forward passes of one sample.
pub const FORWARD_PASSES: &str = "forward_passes";

/// Backward passes of one sample.
pub const BACKWARD_PASSES: &str = "backward_passes";

/// The label of the version of an explanation with the speed features that are always on, beside which an ablation
/// measures the others.
pub const COMPLETE: &str = "complete";

/// The most rows of one pass of the network.
pub const INNER_BATCH_ROWS: &str = "inner_batch_rows";
