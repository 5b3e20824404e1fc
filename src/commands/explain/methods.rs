//! The attribution methods of `explain`, on a network of the zoo: the only file here that knows them.

use serde_json::{Map, Value};

use super::super::CommandError;
use super::seam::{Answer, Explained, Explainer, Failure, Job, Request};
use crate::engine::{Learning, network_on_host};
use crate::explain::{ExplainError, Method, Subject, Target, all_methods, explain, registry};
use crate::zoo::{ModelEntry, Network, WeightSource};

/// The parameter of methods that compare with something.
const BASELINE: &str = "baseline";

/// A network with its weights.
pub(super) struct Methods {
    network: Box<dyn Network>,
}

impl Methods {
    /// A model of the zoo on the host's processor.
    ///
    /// # Errors
    /// Weights that do not fit, no engine for the processor.
    pub(super) fn load(entry: &ModelEntry, weights: &WeightSource) -> anyhow::Result<Self> {
        Ok(Self { network: network_on_host(entry, weights, Learning::No)? })
    }
}

impl Explainer for Methods {
    fn method_names(&self) -> Vec<&'static str> {
        all_methods().iter().map(|entry| entry.name).collect()
    }

    fn engine(&self) -> &str {
        // That of `network_on_host`.
        if cfg!(feature = "flex") { "burn-flex fp32" } else { "burn-ndarray fp32" }
    }

    fn job<'e>(
        &'e self,
        name: &str,
        parameters: &Map<String, Value>,
        given_baselines: bool,
    ) -> anyhow::Result<Box<dyn Job + 'e>> {
        let entry = registry::find(name)?;
        let defaults = entry.default_method()?.parameters();
        let mut parameters = parameters.clone();
        if given_baselines && defaults.get(BASELINE).is_some() {
            parameters.entry(BASELINE).or_insert_with(|| "given".into());
        }
        let method = entry.build(&parameters).map_err(|error| {
            let known = defaults.as_object().into_iter().flatten();
            let known: Vec<String> = known.map(|(name, value)| format!("{name}={value}")).collect();
            let hint = match known.is_empty() {
                true => format!("{name} has no parameters"),
                false => format!("its parameters and their defaults: {}", known.join(", ")),
            };
            CommandError::new(error.to_string(), hint)
        })?;
        Ok(Box::new(OneMethod { method, network: self.network.as_ref() }))
    }
}

/// A method and the network that it explains.
struct OneMethod<'e> {
    method: Box<dyn Method>,
    network: &'e dyn Network,
}

impl OneMethod<'_> {
    fn answer(&self, request: &Request<'_>) -> Result<Answer, ExplainError> {
        let mut subject = Subject::new(self.network, request.inputs)?.with_inner_batch(request.inner_batch);
        if !request.targets.is_empty() {
            let targets: Vec<Target> = request
                .targets
                .iter()
                .map(|target| Target { class: target.class, position: target.position })
                .collect();
            subject = subject.with_targets(&targets)?;
        }
        if let Some(baselines) = request.baselines {
            subject = subject.with_baselines(baselines)?;
        }
        let attribution = explain(self.method.as_ref(), &subject)?;
        let explained = |target: &Target| Explained { class: target.class, position: target.position };
        Ok(Answer {
            attribution: attribution.to_host()?,
            targets: attribution.targets.iter().map(explained).collect(),
            passes: attribution.passes_per_sample(),
        })
    }
}

impl Job for OneMethod<'_> {
    fn name(&self) -> &'static str {
        self.method.name()
    }

    fn parameters(&self) -> Value {
        self.method.parameters()
    }

    fn explain(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        self.answer(request).map_err(|error| match error {
            ExplainError::Unsupported { reason, .. } => Failure::Unsupported(reason),
            error => Failure::Error(error.into()),
        })
    }
}
