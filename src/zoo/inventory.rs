//! What a module holds: every parameter and buffer with its name and shape in the reference's layout.
//!
//! Burn's own collector reads every tensor, and so would fill a module with random numbers only to learn its
//! shapes. This visitor asks the lazy parameters instead; Burn's PyTorch adapter still decides names and layout.

use burn::module::{ModuleVisitor, Param, ParamId};
use burn::store::bridge;
use burn::store::burn_pack::Error as PackError;
use burn::store::{BurnToPyTorchAdapter, ModuleAdapter, ModuleContext};
use burn::tensor::{DType, Device, Tensor};

use super::network::{Architecture, ParameterKind};

/// One tensor of a module.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Which parameter it is, in this module.
    pub id: ParamId,
    /// Burn's path: `layer1.0.bn1.gamma`.
    pub path: String,
    /// The reference's name: `layer1.0.bn1.weight`.
    pub name: String,
    /// The shape in the reference's layout.
    pub shape: Vec<usize>,
    /// Whether a training step moves it.
    pub kind: ParameterKind,
    /// What it takes at its element type (the device's default where it is not initialised yet).
    pub bytes: u64,
}

impl Entry {
    /// The number of elements; one for a scalar.
    pub fn elements(&self) -> u64 {
        self.shape.iter().map(|&extent| extent as u64).product()
    }
}

/// Lists the tensors of `module` in the order of its fields. Initialises nothing.
pub(super) fn inventory<A: Architecture>(module: &A, device: &Device) -> Vec<Entry> {
    let mut visitor = Visitor {
        path: Vec::new(),
        containers: Vec::new(),
        entries: Vec::new(),
        default_dtype: device.settings().float_dtype.into(),
        reference_name: A::reference_name,
        is_scalar: A::is_scalar,
        kind: kind::<A>,
    };
    module.visit(&mut visitor);
    visitor.entries
}

struct Visitor {
    path: Vec<String>,
    containers: Vec<String>,
    entries: Vec<Entry>,
    default_dtype: DType,
    reference_name: fn(&str) -> String,
    is_scalar: fn(&str) -> bool,
    kind: fn(&str) -> ParameterKind,
}

fn kind<A: Architecture>(name: &str) -> ParameterKind {
    if A::is_buffer(name) {
        ParameterKind::Buffer
    } else if A::is_frozen(name) {
        ParameterKind::Frozen
    } else {
        ParameterKind::Trainable
    }
}

/// The variant of an enum is part of Burn's path, but of no reference's.
fn is_variant(container_type: &str) -> bool {
    container_type.starts_with("Enum:")
}

impl ModuleVisitor for Visitor {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.containers.push(container_type.to_owned());
        if !is_variant(container_type) {
            self.path.push(name.to_owned());
        }
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.containers.pop();
        if !is_variant(container_type) {
            self.path.pop();
        }
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let dtype = if param.is_initialized() { param.val().dtype() } else { self.default_dtype };
        let shape = param.lazy_shape();
        let bytes = bridge::data_len(dtype, &shape) as u64;
        let probe = bridge::deferred(path.clone(), DType::F32, shape, None, || {
            Err(PackError::ValidationError("a probe has no data".to_owned()))
        });
        let adapted = BurnToPyTorchAdapter.adapt(probe, ModuleContext::new(&self.containers));
        let name = (self.reference_name)(&adapted.name);
        let scalar = (self.is_scalar)(&name);
        let shape = if scalar { Vec::new() } else { adapted.shape.iter().copied().collect() };
        let kind = (self.kind)(&name);
        self.entries.push(Entry { id: param.id, path, name, shape, kind, bytes });
    }
}
