//! The list of methods: one row each. To add a method, implement [`Method`] and add a row.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::ExplainError;
use super::method::Method;
use super::methods::{
    AttentionRollout, Deconvolution, DeepLift, DeepLiftShap, GradCam, GradientShap, GuidedBackpropagation,
    GuidedGradCam, InputXGradient, IntegratedGradients, Lrp, Occlusion, Saliency, SmoothGrad,
};

/// A method by name.
#[derive(Debug)]
pub struct MethodEntry {
    /// Its name.
    pub name: &'static str,
    /// What it says of an input, in one line.
    pub summary: &'static str,
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

fn made<M: Method + DeserializeOwned + 'static>(parameters: Value) -> Result<Box<dyn Method>, serde_json::Error> {
    let method: M = serde_json::from_value(parameters)?;
    Ok(Box::new(method))
}

static METHODS: [MethodEntry; 14] = [
    MethodEntry { name: "saliency", summary: "the gradient of the score, without its sign", make: made::<Saliency> },
    MethodEntry {
        name: "input_x_gradient",
        summary: "the gradient of the score times the input",
        make: made::<InputXGradient>,
    },
    MethodEntry {
        name: "integrated_gradients",
        summary: "gradients along the way from a baseline, which sum to the change of the score",
        make: made::<IntegratedGradients>,
    },
    MethodEntry {
        name: "gradient_shap",
        summary: "gradients at random places between baselines and the input",
        make: made::<GradientShap>,
    },
    MethodEntry {
        name: "deeplift",
        summary: "contributions to the change from a baseline, layer by layer",
        make: made::<DeepLift>,
    },
    MethodEntry {
        name: "deeplift_shap",
        summary: "the mean of deeplift over several baselines",
        make: made::<DeepLiftShap>,
    },
    MethodEntry {
        name: "grad_cam",
        summary: "places of a convolution's output that speak for the class",
        make: made::<GradCam>,
    },
    MethodEntry {
        name: "guided_grad_cam",
        summary: "grad_cam times guided_backpropagation",
        make: made::<GuidedGradCam>,
    },
    MethodEntry {
        name: "guided_backpropagation",
        summary: "the gradient, of which rectifiers pass what is positive where they were active",
        make: made::<GuidedBackpropagation>,
    },
    MethodEntry {
        name: "deconvolution",
        summary: "the gradient, of which rectifiers pass what is positive",
        make: made::<Deconvolution>,
    },
    MethodEntry {
        name: "occlusion",
        summary: "what the score loses when a window is covered",
        make: made::<Occlusion>,
    },
    MethodEntry {
        name: "lrp",
        summary: "the score, shared out layer by layer in proportion to what each input adds",
        make: made::<Lrp>,
    },
    MethodEntry { name: "smooth_grad", summary: "the mean gradient at inputs with noise", make: made::<SmoothGrad> },
    MethodEntry {
        name: "attention_rollout",
        summary: "how much of each token attention carries to the one that is read",
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
