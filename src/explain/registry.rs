//! The list of methods: one row each. To add a method, implement [`Method`] and add a row.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ExplainError;
use super::method::Method;
use super::methods::{
    AttentionRollout, Deconvolution, DeepLift, DeepLiftShap, GradCam, GradientShap, GuidedBackpropagation,
    GuidedGradCam, InputXGradient, IntegratedGradients, Lrp, Occlusion, Saliency, SmoothGrad,
};
use crate::domain::explanation::{foreign_parameter, own_parameters};

/// A method by name.
#[derive(Debug)]
pub struct MethodEntry {
    /// Its name.
    pub name: &'static str,
    /// What it says of an input, in one line.
    pub summary: &'static str,
    /// Whether it makes several rows of one sample: steps, draws, windows.
    pub has_inner_samples: bool,
    make: fn(Value) -> Result<Box<dyn Method>, serde_json::Error>,
}

impl MethodEntry {
    /// The method with these parameters; those that are left out have their defaults.
    ///
    /// # Errors
    ///
    /// Parameters that the method does not have, or values of another type.
    pub fn build(&self, parameters: &Map<String, Value>) -> Result<Box<dyn Method>, ExplainError> {
        (self.make)(Value::Object(parameters.clone()))
            .map_err(|error| ExplainError::Parameters { method: self.name, reason: error.to_string() })
    }

    /// The method with its defaults.
    ///
    /// # Errors
    ///
    /// None for the methods of this list.
    pub fn default_method(&self) -> Result<Box<dyn Method>, ExplainError> {
        self.build(&Map::new())
    }
}

/// A method with those of its parameters that are not its defaults.
pub type Selected = (&'static MethodEntry, Map<String, Value>);

/// All methods.
pub fn methods() -> &'static [MethodEntry] {
    &METHODS
}

/// The method of this name.
///
/// # Errors
///
/// No such method.
pub fn find(name: &str) -> Result<&'static MethodEntry, ExplainError> {
    METHODS.iter().find(|entry| entry.name == name).ok_or_else(|| ExplainError::UnknownMethod {
        name: name.to_owned(),
        known: METHODS.iter().map(|entry| entry.name).collect(),
    })
}

/// The methods of these names, all where there is none, each once and with its own parameters: `NAME` belongs to all of
/// them, `METHOD.NAME` to one.
///
/// # Errors
///
/// No such method; parameters of methods that are not among them, or that they do not have.
pub fn select(names: &[String], parameters: &[(String, Value)]) -> Result<Vec<Selected>, ExplainError> {
    let mut entries: Vec<&'static MethodEntry> = Vec::new();
    for name in names {
        let entry = find(name)?;
        if !entries.iter().any(|known| known.name == entry.name) {
            entries.push(entry);
        }
    }
    if names.is_empty() {
        entries.extend(&METHODS);
    }
    let methods: Vec<&'static str> = entries.iter().map(|entry| entry.name).collect();
    if let Some(name) = foreign_parameter(&methods, parameters) {
        return Err(ExplainError::ForeignParameter { name: name.to_owned(), methods });
    }
    let of = |entry: &'static MethodEntry| {
        let own = own_parameters(entry.name, parameters);
        entry.build(&own)?;
        Ok((entry, own))
    };
    entries.iter().map(|entry| of(entry)).collect()
}

fn made<M: Method + DeserializeOwned + 'static>(parameters: Value) -> Result<Box<dyn Method>, serde_json::Error> {
    let method: M = serde_json::from_value(parameters)?;
    Ok(Box::new(method))
}

static METHODS: [MethodEntry; 14] = [
    MethodEntry {
        name: "saliency",
        summary: "the gradient of the score, without its sign",
        has_inner_samples: false,
        make: made::<Saliency>,
    },
    MethodEntry {
        name: "input_x_gradient",
        summary: "the gradient of the score times the input",
        has_inner_samples: false,
        make: made::<InputXGradient>,
    },
    MethodEntry {
        name: "integrated_gradients",
        summary: "gradients along the way from a baseline, which sum to the change of the score",
        has_inner_samples: true,
        make: made::<IntegratedGradients>,
    },
    MethodEntry {
        name: "gradient_shap",
        summary: "gradients at random places between baselines and the input",
        has_inner_samples: true,
        make: made::<GradientShap>,
    },
    MethodEntry {
        name: "deeplift",
        summary: "contributions to the change from a baseline, layer by layer",
        has_inner_samples: false,
        make: made::<DeepLift>,
    },
    MethodEntry {
        name: "deeplift_shap",
        summary: "the mean of deeplift over several baselines",
        has_inner_samples: true,
        make: made::<DeepLiftShap>,
    },
    MethodEntry {
        name: "grad_cam",
        summary: "places of a convolution's output that speak for the class",
        has_inner_samples: false,
        make: made::<GradCam>,
    },
    MethodEntry {
        name: "guided_grad_cam",
        summary: "grad_cam times guided_backpropagation",
        has_inner_samples: false,
        make: made::<GuidedGradCam>,
    },
    MethodEntry {
        name: "guided_backpropagation",
        summary: "the gradient, of which rectifiers pass what is positive where they were active",
        has_inner_samples: false,
        make: made::<GuidedBackpropagation>,
    },
    MethodEntry {
        name: "deconvolution",
        summary: "the gradient, of which rectifiers pass what is positive",
        has_inner_samples: false,
        make: made::<Deconvolution>,
    },
    MethodEntry {
        name: "occlusion",
        summary: "what the score loses when a window is covered",
        has_inner_samples: true,
        make: made::<Occlusion>,
    },
    MethodEntry {
        name: "lrp",
        summary: "the score, shared out layer by layer in proportion to what each input adds",
        has_inner_samples: false,
        make: made::<Lrp>,
    },
    MethodEntry {
        name: "smooth_grad",
        summary: "the mean gradient at inputs with noise",
        has_inner_samples: true,
        make: made::<SmoothGrad>,
    },
    MethodEntry {
        name: "attention_rollout",
        summary: "how much of each token attention carries to the one that is read",
        has_inner_samples: false,
        make: made::<AttentionRollout>,
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_makes_the_method_of_its_name_and_its_parameters_make_it_again() {
        for entry in methods() {
            let method = entry.default_method().unwrap();
            assert_eq!(method.name(), entry.name);
            let Value::Object(parameters) = method.parameters() else { panic!("{}", entry.name) };
            assert_eq!(entry.build(&parameters).unwrap().parameters(), Value::Object(parameters));
        }
    }

    #[test]
    fn parameters_belong_to_all_methods_or_to_one() {
        let names = ["saliency", "integrated_gradients", "saliency"].map(str::to_owned);
        let steps = |name: &str| [(name.to_owned(), Value::from(7))];
        let chosen = select(&names, &steps("integrated_gradients.steps")).unwrap();
        let found: Vec<_> = chosen.iter().map(|(entry, own)| (entry.name, own.get("steps"))).collect();
        assert_eq!(found, [("saliency", None), ("integrated_gradients", Some(&Value::from(7)))]);
        assert_eq!(select(&names[1..2], &steps("steps")).unwrap()[0].1["steps"], 7);
        assert!(matches!(select(&names, &steps("steps")), Err(ExplainError::Parameters { method: "saliency", .. })));
        assert!(matches!(select(&names, &steps("lrp.rule")), Err(ExplainError::ForeignParameter { .. })));
        assert_eq!(select(&[], &[]).unwrap().len(), METHODS.len());
    }

    #[test]
    fn strange_names_and_parameters_are_refused() {
        let error = find("gradcam").err().unwrap();
        assert!(error.hint().unwrap().contains("grad_cam"));
        let strange = Map::from_iter([("step".to_owned(), Value::from(3))]);
        let error = find("integrated_gradients").unwrap().build(&strange).err().unwrap();
        assert!(error.to_string().contains("step"), "{error}");
        let wrong = Map::from_iter([("steps".to_owned(), Value::from("many"))]);
        assert!(find("integrated_gradients").unwrap().build(&wrong).is_err());
    }
}
