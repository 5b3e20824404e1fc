//! The words in which the costs of explanations are stored, and in which people give parameters of methods.

use serde_json::{Map, Value};

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

/// The parameters of one method: `NAME` is for all methods, `METHOD.NAME` for one, and of a name that comes twice the last
/// one counts.
pub fn own_parameters(method: &str, parameters: &[(String, Value)]) -> Map<String, Value> {
    let mut own = Map::new();
    for (name, value) in parameters {
        match name.split_once('.') {
            Some((owner, name)) if owner == method => own.insert(name.to_owned(), value.clone()),
            Some(_) => None,
            None => own.insert(name.clone(), value.clone()),
        };
    }
    own
}

/// The first parameter that is for none of these methods.
pub fn foreign_parameter<'p>(methods: &[&str], parameters: &'p [(String, Value)]) -> Option<&'p str> {
    let foreign = |name: &&str| name.split_once('.').is_some_and(|(owner, _)| !methods.contains(&owner));
    parameters.iter().map(|(name, _)| name.as_str()).find(foreign)
}
