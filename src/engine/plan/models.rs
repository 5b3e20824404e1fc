//! Which models a plan measures, by forgiving names, and what the files say that bring models of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::PlanRequest;
use super::programs::Programs;
use crate::domain::{Category, InputSpec, names};
use crate::engine::{EngineError, Form};
use crate::onnx::{Described, GraphError, OnnxFile, is_onnx};
use crate::zoo::{self, ModelEntry};

/// Which models are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelChoice {
    /// These.
    Named(Vec<NamedModel>),
    /// All of a category.
    Category(Category),
    /// All.
    All,
}

/// A model that was named, with what belongs to it alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedModel {
    /// The user's label for this version of it; empty for the model as it is.
    pub variant: String,
    /// A forgiving name; empty for an ONNX file that names its model itself, by its stem.
    pub name: String,
    /// Its weight file, or the ONNX file that it comes in; that of the request without, or seeded weights.
    pub weights: Option<PathBuf>,
}

impl NamedModel {
    /// The model as it is.
    pub fn plain(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Whether it comes as an ONNX file.
    pub fn is_onnx(&self) -> bool {
        self.weights.as_deref().is_some_and(is_onnx)
    }
}

/// A model that is going to be planned.
pub(super) struct Chosen {
    /// Its name in the record.
    pub name: String,
    /// What the zoo knows of it; `None` for a model that the zoo does not have.
    pub entry: Option<&'static ModelEntry>,
    pub variant: String,
    pub weights: Option<PathBuf>,
    /// What the ONNX file says that it comes in, or why that file cannot be measured.
    pub file: Option<Result<Described, Arc<GraphError>>>,
}

impl Chosen {
    fn of_zoo(entry: &'static ModelEntry) -> Self {
        Self { name: entry.name.to_owned(), entry: Some(entry), variant: String::new(), weights: None, file: None }
    }

    /// The form that it comes in.
    pub fn form(&self) -> Form {
        if self.file.is_some() { Form::Onnx } else { Form::Zoo }
    }

    /// What its file says, where that is whole.
    pub fn described(&self) -> Option<&Described> {
        self.file.as_ref()?.as_ref().ok()
    }

    /// Its inputs, in the order in which they are read.
    pub fn inputs(&self) -> Vec<InputSpec> {
        match (&self.file, self.entry) {
            (Some(Ok(described)), _) => described.inputs.clone(),
            (Some(Err(_)), _) | (None, None) => Vec::new(),
            (None, Some(entry)) => entry.inputs(),
        }
    }

    /// What a person calls it: `resnet50`, `resnet50 (file.onnx)`.
    pub fn title(&self) -> String {
        match (&self.file, self.weights.as_deref().and_then(Path::file_name)) {
            (Some(_), Some(file)) => format!("{} ({})", self.name, file.to_string_lossy()),
            _ => self.name.clone(),
        }
    }
}

/// The models of a request, each file read once.
///
/// # Errors
/// A name that means nothing or more than one thing; a shape for an input that no file has. What is wrong with a file is
/// told by its runs.
pub(super) fn resolve_models(request: &PlanRequest, programs: &Programs) -> Result<Vec<Chosen>, EngineError> {
    let models = match &request.models {
        ModelChoice::All => zoo::models().iter().map(Chosen::of_zoo).collect(),
        ModelChoice::Category(category) => {
            let of_category = zoo::models().iter().filter(|entry| entry.category == *category);
            let models: Vec<_> = of_category.map(Chosen::of_zoo).collect();
            if models.is_empty() {
                return Err(EngineError::UnknownModel {
                    name: format!("of category {category}"),
                    hint: "`benchdb models` lists all".into(),
                });
            }
            models
        }
        ModelChoice::Named(wanted) => {
            let mut models: Vec<Chosen> = Vec::new();
            for named in wanted {
                let model = chosen(named, request, programs)?;
                let same = |known: &Chosen| {
                    known.name == model.name && known.variant == model.variant && known.weights == model.weights
                };
                if !models.iter().any(same) {
                    models.push(model);
                }
            }
            models
        }
    };
    let reads = |name: &str| {
        models.iter().filter_map(Chosen::described).any(|described| {
            let own = described.graph.inputs.iter().map(|input| &input.name);
            own.chain(described.inputs.iter().map(|input| &input.name)).any(|known| known == name)
        })
    };
    for shape in &request.shapes {
        // A file that is broken has no inputs, and says so itself.
        let broken = models.iter().any(|model| matches!(model.file, Some(Err(_))));
        if let Some(input) = shape.input.as_ref().filter(|input| !broken && !reads(input)) {
            let files = models.iter().filter_map(Chosen::described);
            let known = files.flat_map(|file| file.graph.inputs.iter().map(|input| format!("`{}`", input.name)));
            return Err(GraphError::NoSuchInput { input: input.clone(), known: known.collect() }.into());
        }
    }
    Ok(models)
}

/// The model of a name or a file.
fn chosen(named: &NamedModel, request: &PlanRequest, programs: &Programs) -> Result<Chosen, EngineError> {
    let NamedModel { variant, name, weights } = named;
    let weights = weights.as_ref().or(request.weights.as_ref()).cloned();
    let file = weights.clone().filter(|path| is_onnx(path));
    let (name, entry) = match &file {
        None => {
            // A program of others may have models that the zoo does not have.
            let entry = match find_model(name) {
                Err(_) if programs.may_have(name) => None,
                found => Some(found?),
            };
            (entry.map_or(name.clone(), |entry| entry.name.to_owned()), entry)
        }
        Some(path) => {
            // A stem may look like a name by chance: it has to be the whole of one.
            let stem = || path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let own = if name.is_empty() { stem() } else { name.clone() };
            let entry = if name.is_empty() { zoo::find(&own) } else { known_model(&own) };
            (entry.map_or(own, |entry| entry.name.to_owned()), entry)
        }
    };
    let file = file.map(|path| {
        let described = describe(&path, &name, entry, request);
        described.and_then(|described| alike(&path, described, entry, variant)).map_err(Arc::new)
    });
    Ok(Chosen { name, entry, variant: variant.clone(), weights, file })
}

/// Reads an ONNX file as the model `name`.
pub(super) fn describe(
    path: &Path,
    name: &str,
    entry: Option<&ModelEntry>,
    request: &PlanRequest,
) -> Result<Described, GraphError> {
    let like = entry.map(ModelEntry::inputs);
    OnnxFile::read(path)?.describe(name, &request.shapes, like.as_deref())
}

/// Refuses a file that is said to be a model of the zoo and has less than half or more than twice of its parameters;
/// a variant may.
fn alike(
    path: &Path,
    described: Described,
    entry: Option<&ModelEntry>,
    variant: &str,
) -> Result<Described, GraphError> {
    let expected = entry.filter(|_| variant.is_empty()).map(|entry| entry.cost(&entry.inputs()).parameter_count);
    match (described.record.parameter_count, expected) {
        (Some(found), Some(expected)) if found > 2 * expected || expected > 2 * found => {
            Err(GraphError::OtherModel { path: path.to_owned(), model: described.record.name, found, expected })
        }
        _ => Ok(described),
    }
}

/// The model of the zoo that has exactly this name, or this alias; case and separators do not matter.
fn known_model(name: &str) -> Option<&'static ModelEntry> {
    let wanted = names::folded(name);
    zoo::models().iter().find(|entry| known_as(entry, &|known| known == wanted))
}

fn known_as(entry: &ModelEntry, fits: &dyn Fn(&str) -> bool) -> bool {
    std::iter::once(&entry.name).chain(entry.aliases).any(|known| fits(&names::folded(known)))
}

/// The model that a forgiving name means: case and separators do not matter, aliases and unambiguous beginnings do.
///
/// # Errors
/// [`EngineError::UnknownModel`] with what may have been meant.
pub fn find_model(name: &str) -> Result<&'static ModelEntry, EngineError> {
    if let Some(entry) = known_model(name) {
        return Ok(entry);
    }
    let wanted = names::folded(name);
    let candidates: Vec<&ModelEntry> = zoo::models()
        .iter()
        .filter(|entry| !wanted.is_empty() && known_as(entry, &|known| known.starts_with(&wanted)))
        .collect();
    let unknown = |hint| EngineError::UnknownModel { name: name.to_owned(), hint };
    match candidates.as_slice() {
        [single] => Ok(single),
        [] => {
            let all = zoo::models().iter().flat_map(|entry| std::iter::once(&entry.name).chain(entry.aliases).copied());
            let near = names::nearest(name, all).and_then(|near| find_model(near).ok());
            Err(unknown(match near {
                Some(near) => format!("did you mean `{}`?", near.name),
                None => "`benchdb models` lists all; a network of your own is `--model FILE.onnx`".to_owned(),
            }))
        }
        several => Err(unknown(format!(
            "it could be {}",
            several.iter().map(|entry| format!("`{}`", entry.name)).collect::<Vec<_>>().join(" or ")
        ))),
    }
}
