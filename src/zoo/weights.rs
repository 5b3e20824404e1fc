//! Loading weights by the reference's names: one path for files and for the rule.
//!
//! The module lists what it needs, the source lists what it has, all differences are reported at once, and only
//! a source that fits is put into the module, tensor by tensor: beside the module no more than one tensor
//! is in memory (safetensors files are mapped, the rule computes on demand).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use burn::store::burn_pack::Tensor as PackTensor;
use burn::store::{
    ApplyError, BurnToPyTorchAdapter, FloatCastAdapter, ModuleAdapter, ModuleSnapshot, ModuleStore,
    PyTorchToBurnAdapter, PytorchStore, SafetensorsStore, bridge,
};
use burn::tensor::{DType, Device, Shape, TensorData};

use super::error::{Cause, Misshapen, Mistyped, WeightError, WeightMismatch};
use super::inventory::{Entry, inventory};
use super::network::Architecture;
use super::rule;
use crate::domain::model::{HostData, HostTensor};

/// Where weights come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WeightSource {
    /// A `.safetensors` file, or one that PyTorch wrote (`.pt`, `.pth`, `.bin`), in the reference's naming.
    File(PathBuf),
    /// Made by the rule of [`rule`] with this seed, so that every engine gets the same; seed 0 is that of the
    /// golden files.
    Seeded(u64),
}

/// How real checkpoints of an architecture differ from the reference's `state_dict`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checkpoint {
    /// A prefix that some files carry and others do not.
    pub prefix: Option<Prefix>,
    /// Parts of names that older files spell differently: (theirs, the reference's). Applied in order.
    pub renames: &'static [(&'static str, &'static str)],
    /// Tensors that files carry and no network has: ignored where the network does not know the name.
    pub ignored: &'static [Pattern],
}

/// A prefix of names that comes and goes between files.
#[derive(Clone, Copy, Debug)]
pub enum Prefix {
    /// The reference's names lack it: it is stripped.
    Stripped(&'static str),
    /// The reference's names begin with it: it is added where it lacks.
    Added(&'static str),
}

/// A way to recognise a name.
#[derive(Clone, Copy, Debug)]
pub enum Pattern {
    /// The whole name.
    Name(&'static str),
    /// The beginning of the name.
    Start(&'static str),
    /// The end of the name.
    End(&'static str),
}

impl Pattern {
    fn matches(self, name: &str) -> bool {
        match self {
            Self::Name(whole) => name == whole,
            Self::Start(start) => name.starts_with(start),
            Self::End(end) => name.ends_with(end),
        }
    }
}

impl Checkpoint {
    /// The reference's name of a name in a file. `is_known` says whether the network has a tensor of that name.
    fn reference_name(&self, file_name: &str, is_known: impl Fn(&str) -> bool) -> String {
        let mut name = file_name.to_owned();
        for (theirs, ours) in self.renames {
            name = name.replace(theirs, ours);
        }
        match self.prefix {
            Some(Prefix::Stripped(prefix)) => match name.strip_prefix(prefix) {
                Some(rest) => rest.to_owned(),
                None => name,
            },
            Some(Prefix::Added(prefix)) => {
                let prefixed = format!("{prefix}{name}");
                if is_known(&prefixed) { prefixed } else { name }
            }
            None => name,
        }
    }

    fn is_ignored(&self, name: &str) -> bool {
        self.ignored.iter().any(|pattern| pattern.matches(name))
    }
}

/// Replaces all weights of `module`, which lives on `device`.
///
/// # Errors
///
/// See [`WeightError`]. The module is untouched by all of them but `Apply` and `NotApplied`.
pub(super) fn load<A: Architecture>(module: &mut A, device: &Device, source: &WeightSource) -> Result<(), WeightError> {
    let entries = inventory(module, device);
    let supply = match source {
        WeightSource::File(path) => from_file(path, &A::checkpoint(), &entries)?,
        WeightSource::Seeded(seed) => by_rule(*seed, &entries),
    };
    let fitting = fit(supply, &entries)?;
    apply(module, device, &entries, fitting)
}

/// Copies every parameter and buffer of `module` to the host as f32, in the reference's naming and layout.
pub(super) fn read<A: Architecture>(module: &A) -> Result<Vec<HostTensor>, WeightError> {
    module
        .collect(None, Some(Box::new(BurnToPyTorchAdapter)), true)
        .into_iter()
        .map(|tensor| {
            let name = A::reference_name(&tensor.name);
            let shape = tensor.shape.iter().copied().collect();
            let failed = |source: Cause| WeightError::Read { name: name.clone(), source };
            let data = bridge::into_data(tensor).map_err(|source| failed(Box::new(source)))?;
            let values = data.try_into_vec_as::<f32>().map_err(|source| failed(Box::new(source)))?;
            Ok(HostTensor { name, shape, data: HostData::F32(values) })
        })
        .collect()
}

/// Tensors by name.
type Tensors = BTreeMap<String, PackTensor>;

/// What a source has, compared to what the network knows.
#[derive(Default)]
struct Supply {
    /// Tensors of the network, by reference names.
    tensors: Tensors,
    /// Tensors that nobody asked for, and second spellings of one name, as the file spells them.
    strangers: Vec<String>,
}

fn by_rule(seed: u64, entries: &[Entry]) -> Supply {
    let tensors = entries
        .iter()
        .map(|entry| {
            let (name, shape) = (entry.name.clone(), entry.shape.clone());
            let tensor =
                bridge::deferred(entry.name.clone(), DType::F32, Shape::from(entry.shape.clone()), None, move || {
                    let values = rule::parameter(&name, &shape, seed);
                    Ok(TensorData::new(values, shape.clone()))
                });
            (entry.name.clone(), tensor)
        })
        .collect();
    Supply { tensors, ..Supply::default() }
}

fn from_file(path: &Path, checkpoint: &Checkpoint, entries: &[Entry]) -> Result<Supply, WeightError> {
    let is_known = |name: &str| entries.iter().any(|entry| entry.name == name);
    let mut supply = Supply::default();
    for (file_name, tensor) in open(path)? {
        let name = checkpoint.reference_name(&file_name, is_known);
        if is_known(&name) && !supply.tensors.contains_key(&name) {
            supply.tensors.insert(name, tensor);
        } else if is_known(&name) || !checkpoint.is_ignored(&name) {
            supply.strangers.push(file_name);
        }
    }
    Ok(supply)
}

/// The format of a weight file by its ending: `safetensors` or `pytorch`; `None` for any other ending.
pub fn weight_format(path: &Path) -> Option<&'static str> {
    match path.extension()?.to_string_lossy().to_lowercase().as_str() {
        "safetensors" => Some("safetensors"),
        "pt" | "pth" | "bin" => Some("pytorch"),
        _ => None,
    }
}

/// The tensors of a file by the file's names, their data unread.
fn open(path: &Path) -> Result<Tensors, WeightError> {
    let unreadable = |source| WeightError::Unreadable { path: path.to_owned(), source };
    // Burn's errors name neither the file nor the cause of a missing one.
    let metadata = fs::File::open(path).and_then(|file| file.metadata()).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    let malformed = |source: Cause| WeightError::Malformed { path: path.to_owned(), source };
    match weight_format(path) {
        Some("safetensors") => {
            SafetensorsStore::from_file(path).get_all_tensors().cloned().map_err(|source| malformed(Box::new(source)))
        }
        Some(_) => {
            // By default Burn renumbers `mlp.0`, `mlp.3` to `mlp.0`, `mlp.1`; the reference's names have such gaps.
            PytorchStore::from_file(path)
                .map_indices_contiguous(false)
                .get_all_tensors()
                .cloned()
                .map_err(|source| malformed(Box::new(source)))
        }
        None => Err(WeightError::Extension { path: path.to_owned() }),
    }
}

/// The tensors by Burn's paths, once they are exactly those that the network needs.
fn fit(supply: Supply, entries: &[Entry]) -> Result<Vec<PackTensor>, WeightError> {
    let mut tensors = supply.tensors;
    let mut mismatch = WeightMismatch { unused: supply.strangers, ..WeightMismatch::default() };
    let mut fitting = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(mut tensor) = tensors.remove(&entry.name) else {
            mismatch.missing.push(entry.name.clone());
            continue;
        };
        let found: Vec<usize> = tensor.shape.iter().copied().collect();
        if found != entry.shape {
            mismatch.misshapen.push(Misshapen { name: entry.name.clone(), expected: entry.shape.clone(), found });
        } else if !tensor.dtype.is_float() {
            mismatch.mistyped.push(Mistyped { name: entry.name.clone(), found: format!("{:?}", tensor.dtype) });
        } else {
            tensor.name = entry.path.clone();
            fitting.push(tensor);
        }
    }
    if mismatch.is_empty() { Ok(fitting) } else { Err(WeightError::Mismatch(Box::new(mismatch))) }
}

/// Puts tensors that are known to fit into the module.
fn apply<A: Architecture>(
    module: &mut A,
    device: &Device,
    entries: &[Entry],
    tensors: Vec<PackTensor>,
) -> Result<(), WeightError> {
    let name_of = |path: &str| {
        entries.iter().find(|entry| entry.path == path).map_or_else(|| path.to_owned(), |entry| entry.name.clone())
    };
    let to_burn = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(device.settings().float_dtype.into()));
    let result = module.apply(tensors, None, Some(Box::new(to_burn)), true);
    if let Some(source) = result.errors.into_iter().next() {
        let path = match &source {
            ApplyError::ShapeMismatch { path, .. }
            | ApplyError::DTypeMismatch { path, .. }
            | ApplyError::AdapterError { path, .. }
            | ApplyError::LoadError { path, .. } => path,
        };
        return Err(WeightError::Apply { name: name_of(path), source: Box::new(source) });
    }
    let left = result.missing.into_iter().map(|(path, _)| path).chain(result.unused).next();
    match left {
        Some(path) => Err(WeightError::NotApplied { name: name_of(&path) }),
        None => Ok(()),
    }
}
