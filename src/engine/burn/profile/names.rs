//! The paths of modules and operators in a model, from the names of their parameters.

use std::collections::HashMap;

use burn::module::ParamId;

use crate::zoo::Network;
use crate::zoo::observe::{Operator, Part};

/// The layer that each parameter belongs to.
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<ParamId, String>);

impl Names {
    /// Those of a network.
    pub fn of(network: &dyn Network) -> Self {
        let parameters = network.parameters().into_iter();
        Self(parameters.filter_map(|info| Some((network.parameter_id(&info.name)?, layer_of(&info.name)))).collect())
    }

    /// The path of a part that runs within another, whose path is `outer`; empty where it cannot be told from the whole
    /// network.
    pub fn path(&self, part: &Part, outer: &str) -> String {
        match part {
            Part::Module(parameters) => {
                let mut layers = parameters.iter().filter_map(|parameter| self.0.get(parameter));
                let Some(first) = layers.next() else { return String::new() };
                let shared = layers.fold(first.as_str(), |shared, layer| common_path(shared, layer));
                // A module with a single layer goes by its own place, not by that layer's.
                let is_layer = self.0.values().any(|layer| layer == shared);
                let (parent, _) = shared.rsplit_once('.').unwrap_or_default();
                if is_layer { parent.to_owned() } else { shared.to_owned() }
            }
            Part::Operator { operator: Operator::Layer(weight), .. } => match self.0.get(weight) {
                Some(layer) => layer.clone(),
                None => within(outer, "layer"),
            },
            Part::Operator { operator: Operator::Function(name), .. } => within(outer, &format!("{name}()")),
        }
    }
}

fn within(outer: &str, name: &str) -> String {
    if outer.is_empty() { name.to_owned() } else { format!("{outer}.{name}") }
}

/// The layer of a parameter: `layer1.0.conv1` of `layer1.0.conv1.weight`, `self_attention.in_proj` of
/// `self_attention.in_proj_weight`.
fn layer_of(parameter: &str) -> String {
    let Some((module, own)) = parameter.rsplit_once('.') else { return parameter.to_owned() };
    match own.strip_suffix("_weight").or_else(|| own.strip_suffix("_bias")) {
        Some(layer) => format!("{module}.{layer}"),
        None => module.to_owned(),
    }
}

/// The longest path that both lie in, or are.
pub(super) fn common_path<'p>(one: &'p str, other: &str) -> &'p str {
    let mut end = 0;
    let mut rest = other.split('.');
    for name in one.split('.') {
        if rest.next() != Some(name) {
            break;
        }
        // Behind the name, and the point before it.
        end += name.len() + usize::from(end > 0);
    }
    &one[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layer_is_its_parameters_name_without_the_last_word() {
        for (parameter, layer) in [
            ("layer1.0.conv1.weight", "layer1.0.conv1"),
            ("layer1.0.bn1.running_var", "layer1.0.bn1"),
            ("encoder.0.self_attention.in_proj_weight", "encoder.0.self_attention.in_proj"),
            ("logit_scale", "logit_scale"),
        ] {
            assert_eq!(layer_of(parameter), layer);
        }
    }

    #[test]
    fn what_two_paths_share_ends_between_names() {
        for (one, other, shared) in [
            ("layer1.0.conv1", "layer1.0.conv2", "layer1.0"),
            ("layer1.0", "layer10.0", ""),
            ("a.b", "a.b", "a.b"),
            ("a.b", "a.b.c", "a.b"),
            ("a", "b", ""),
            ("", "a", ""),
        ] {
            assert_eq!(common_path(one, other), shared, "{one} {other}");
        }
    }
}
