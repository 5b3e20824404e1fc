//! Which models a plan measures, by forgiving names.

use std::path::PathBuf;

use crate::domain::{Category, names};
use crate::engine::EngineError;
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
    /// A forgiving name.
    pub name: String,
    /// Its weight file; that of the request without, or seeded weights.
    pub weights: Option<PathBuf>,
}

impl NamedModel {
    /// The model as it is.
    pub fn plain(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// A model that is going to be planned.
pub(super) struct Chosen {
    pub entry: &'static ModelEntry,
    pub variant: String,
    pub weights: Option<PathBuf>,
}

impl Chosen {
    fn plain(entry: &'static ModelEntry) -> Self {
        Self { entry, variant: String::new(), weights: None }
    }
}

pub(super) fn resolve_models(choice: &ModelChoice) -> Result<Vec<Chosen>, EngineError> {
    match choice {
        ModelChoice::All => Ok(zoo::models().iter().map(Chosen::plain).collect()),
        ModelChoice::Category(category) => {
            let of_category = zoo::models().iter().filter(|entry| entry.category == *category);
            let models: Vec<_> = of_category.map(Chosen::plain).collect();
            if models.is_empty() {
                return Err(EngineError::UnknownModel {
                    name: format!("of category {category}"),
                    hint: "`benchdb models` lists all".into(),
                });
            }
            Ok(models)
        }
        ModelChoice::Named(wanted) => {
            let mut models: Vec<Chosen> = Vec::new();
            for NamedModel { variant, name, weights } in wanted {
                let model = Chosen { entry: find_model(name)?, variant: variant.clone(), weights: weights.clone() };
                let same = |known: &Chosen| {
                    known.entry.name == model.entry.name
                        && known.variant == model.variant
                        && known.weights == model.weights
                };
                if !models.iter().any(same) {
                    models.push(model);
                }
            }
            Ok(models)
        }
    }
}

/// The model that a forgiving name means: case and separators do not matter, aliases and unambiguous beginnings do.
///
/// # Errors
/// [`EngineError::UnknownModel`] with what may have been meant.
pub fn find_model(name: &str) -> Result<&'static ModelEntry, EngineError> {
    let wanted = names::folded(name);
    let known_as = |entry: &ModelEntry, fits: &dyn Fn(&str) -> bool| {
        std::iter::once(&entry.name).chain(entry.aliases).any(|known| fits(&names::folded(known)))
    };
    if let Some(entry) = zoo::models().iter().find(|entry| known_as(entry, &|known| known == wanted)) {
        return Ok(entry);
    }
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
                None => "`benchdb models` lists all".to_owned(),
            }))
        }
        several => Err(unknown(format!(
            "it could be {}",
            several.iter().map(|entry| format!("`{}`", entry.name)).collect::<Vec<_>>().join(" or ")
        ))),
    }
}
