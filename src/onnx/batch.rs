//! Which extents of a file's inputs are the batch.

use super::file::{Dimension, ValueInfo};
use super::inputs::ShapeChoice;

/// What tells the batch from other extents: it is the extent whose name says so, or the one that is open in front of the
/// first input. An extent of another name in front of another input is taken for it, too, unless that name stands
/// elsewhere, or a shape that was asked for says something else.
pub(super) struct Batch<'g> {
    name: Option<&'g str>,
    /// Names that stand behind the front of an input.
    behind: Vec<&'g str>,
    /// Its extent in the shapes that were asked for.
    asked: Option<usize>,
}

impl<'g> Batch<'g> {
    /// The batch of these inputs.
    pub fn of(given: &[&'g ValueInfo], shapes: &[ShapeChoice]) -> Self {
        let extents = |info: &&'g ValueInfo| info.dimensions.as_deref().unwrap_or_default();
        let says_so = |name: &&str| name.to_lowercase().contains("batch") || *name == "N";
        let mut all = given.iter().flat_map(extents).filter_map(name_of);
        let in_front = || given.iter().filter_map(|info| extents(info).first());
        let name = all.find(says_so).or_else(|| in_front().find_map(name_of));
        let asked = name.and_then(|batch| {
            given.iter().find_map(|info| {
                let at = extents(info).iter().position(|extent| name_of(extent) == Some(batch))?;
                ShapeChoice::of(shapes, &info.name, given.len())?.extents.get(at).copied()
            })
        });
        Self {
            name,
            behind: given.iter().flat_map(|info| extents(info).iter().skip(1)).filter_map(name_of).collect(),
            asked,
        }
    }

    /// Which extents of one input are the batch's; `shape` is what was asked for it.
    pub fn places(&self, dimensions: &[Dimension], shape: Option<&ShapeChoice>) -> Vec<bool> {
        let mut places: Vec<bool> =
            dimensions.iter().map(|extent| self.name.is_some() && name_of(extent) == self.name).collect();
        let asked = shape.and_then(|shape| shape.extents.first());
        let in_front = match dimensions.first() {
            Some(Dimension::Named(name)) => {
                let other = asked.is_some_and(|asked| self.asked.is_some_and(|batch| batch != *asked));
                !other && !self.behind.contains(&name.as_str())
            }
            Some(Dimension::Unknown) => true,
            Some(Dimension::Fixed(_)) | None => false,
        };
        if in_front && !places.contains(&true) {
            places[0] = true;
        }
        places
    }
}

fn name_of(extent: &Dimension) -> Option<&str> {
    match extent {
        Dimension::Named(name) => Some(name),
        Dimension::Fixed(_) | Dimension::Unknown => None,
    }
}
