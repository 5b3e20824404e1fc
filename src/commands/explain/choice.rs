//! Methods, parameters and baselines, as people name them.

use std::path::Path;

use serde_json::Value;

use super::super::CommandError;
use super::seam::{Explainer, Job};
use crate::domain::HostTensor;
use crate::domain::explanation::{foreign_parameter, own_parameters};
use crate::exchange::tensors::read_tensors;

/// The parameter of methods that compare with something.
pub(super) const BASELINE: &str = "baseline";

/// Every method that fits.
pub(super) const ALL: &str = "all";

/// The baselines of a file; `None` for zeros, which is what methods take without a word.
pub(super) fn read_baselines(baseline: &Path) -> anyhow::Result<Option<HostTensor>> {
    if baseline == Path::new("zeros") {
        return Ok(None);
    }
    let mut tensors = read_tensors(baseline, "baseline")?;
    match (tensors.pop(), tensors.is_empty()) {
        (Some(single), true) => Ok(Some(single)),
        _ => {
            let message = format!("`{}` does not hold one tensor", baseline.display());
            Err(CommandError::new(message, "baselines are one tensor: numpy.save writes it").into())
        }
    }
}

/// The methods that were asked for, each once, with their parameters.
pub(super) fn chosen<'e>(
    names: &[String],
    parameters: &[(String, Value)],
    given_baselines: bool,
    explainer: &'e dyn Explainer,
) -> anyhow::Result<Vec<Box<dyn Job + 'e>>> {
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        let names = if name == ALL { explainer.method_names() } else { vec![name.as_str()] };
        for name in names {
            if !wanted.contains(&name) {
                wanted.push(name);
            }
        }
    }
    if let Some(name) = foreign_parameter(&wanted, parameters) {
        let message = format!("`--set {name}` is for a method that is not asked for");
        return Err(CommandError::new(message, format!("the methods are {}", wanted.join(", "))).into());
    }
    let only = wanted.len() == 1;
    if given_baselines && only && !explainer.compares(wanted[0]) {
        let message = format!("`--baseline` is for methods that compare with something, and {} does not", wanted[0]);
        return Err(CommandError::new(message, "leave it out").into());
    }
    if given_baselines && parameters.iter().any(|(name, _)| name.rsplit('.').next() == Some(BASELINE)) {
        let message = "`--baseline` and `--set baseline` say two things";
        return Err(CommandError::new(message, "leave one of them out").into());
    }
    wanted
        .into_iter()
        .map(|method| {
            let own = own_parameters(method, parameters);
            explainer.job(method, &own, given_baselines).map_err(|error| {
                let plain = parameters.iter().any(|(name, _)| !name.contains('.'));
                if only || !plain {
                    return error;
                }
                error.context(CommandError::new(
                    format!("a parameter without a method is for all of them, and {method} does not take it"),
                    format!("say whose it is: `--set {method}.NAME=VALUE`"),
                ))
            })
        })
        .collect()
}
