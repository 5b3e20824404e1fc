//! Makes a network that was built to learn into one that is explained as fast as its engine can.

use burn::tensor::{DType, Device};

use crate::zoo::Network;

/// One thing that may make explanations faster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptimizationStep {
    /// What it is.
    pub what: &'static str,
    /// Whether it holds for the network now.
    pub done: bool,
    /// Why, or why not.
    pub reason: String,
}

/// The network with all that helps its engine to explain it, and what that is. The attributions stay the same.
///
/// The one thing that changes a network is that its parameters become constants: a method asks for the gradient of the
/// input alone, and engines compute those of all tracked parameters beside it. What else helps is decided where a device
/// is opened, or by the engine itself; the answer says which of it is in force.
pub fn optimize_for_inference(network: Box<dyn Network>) -> (Box<dyn Network>, Vec<OptimizationStep>) {
    let tracked = network.device().is_autodiff();
    let network = network.without_gradients();
    let device = network.device();
    let step = |what, done, reason: &str| OptimizationStep { what, done, reason: reason.to_owned() };
    let kernels = compiles_kernels(&device);
    let steps = vec![
        step(
            "parameters without gradients",
            true,
            if tracked {
                "the parameters were tracked, and are constants now"
            } else {
                "the parameters were constants"
            },
        ),
        match kernels {
            true => step("fused kernels", true, "the engine joins elementwise operations into one kernel"),
            false => {
                step("fused kernels", false, "the engine runs ready kernels on the processor; it has none to fuse")
            }
        },
        match kernels {
            true => {
                step("tuned kernels", true, "the engine times its kernels for each shape once, in the first passes")
            }
            false => step("tuned kernels", false, "the engine has one kernel for each operation"),
        },
        half_precision(&device),
    ];
    (network, steps)
}

/// Whether the engine compiles kernels for the device as it goes: all of Burn's engines but those of the processor.
fn compiles_kernels(device: &Device) -> bool {
    // Those know no card, and have no pool of memory.
    device.memory_pool_usage().is_some()
}

fn half_precision(device: &Device) -> OptimizationStep {
    let what = "half precision";
    let float = DType::from(device.settings().float_dtype);
    let (done, reason) = match float {
        DType::F16 | DType::BF16 => (true, "the device was opened in it"),
        _ if !compiles_kernels(device) => {
            (false, "the processor computes it no faster (fp16: less than half as fast, as measured on burn-flex)")
        }
        _ if device.supports_dtype(DType::F16) => (
            false,
            "Burn takes a device's float type once, before the first tensor: `--precision fp16` opens it so; compare both",
        ),
        _ => (false, "the device does not compute in it"),
    };
    OptimizationStep { what, done, reason: reason.to_owned() }
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use super::*;
    use crate::domain::HostData;
    use crate::explain::{Subject, Target, explain, registry};
    use crate::zoo::{WeightSource, find, host_inputs};

    fn answers(network: &dyn Network, method: &str) -> Vec<f32> {
        let inputs = host_inputs(&find("cifar_cnn").unwrap().inputs(), 2, 0);
        let subject = Subject::new(network, &inputs).unwrap().with_targets(&[Target::class(3)]).unwrap();
        let method = registry::find(method).unwrap().default_method().unwrap();
        match explain(method.as_ref(), &subject).unwrap().to_host().unwrap().data {
            HostData::F32(values) => values,
            HostData::I64(_) => panic!("integers"),
        }
    }

    #[test]
    fn tracked_parameters_cost_time_and_change_nothing() {
        let entry = find("cifar_cnn").unwrap();
        let build = || entry.build_loaded(&WeightSource::Seeded(0), &Device::flex().autodiff()).unwrap();
        let (optimized, steps) = optimize_for_inference(build());
        assert!(!optimized.device().is_autodiff());
        assert!(steps[0].done && steps[0].reason.contains("are constants now"), "{steps:?}");
        assert!(steps[1..].iter().all(|step| !step.done), "{steps:?}");
        let plain = build();
        for method in registry::methods().iter().map(|entry| entry.name).filter(|name| *name != "attention_rollout") {
            let (found, expected) = (answers(optimized.as_ref(), method), answers(plain.as_ref(), method));
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let near = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() <= 1e-5 * largest);
            assert!(near && largest > 0.0, "{method}");
        }
        let again = optimize_for_inference(optimized).1;
        assert_eq!(again[0].reason, "the parameters were constants");
    }
}
