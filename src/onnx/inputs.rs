//! What a file reads, once every extent but that of the batch is known.

use std::collections::HashMap;
use std::path::Path;

use super::batch::Batch;
use super::error::GraphError;
use super::file::{Dimension, GraphMessage, ValueInfo, element_name, element_type};
use crate::domain::{ElementType, Extent, GraphInput, InputKind, InputSpec};

/// A shape that somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeChoice {
    /// The input; the only one of a file without.
    pub input: Option<String>,
    /// All of its extents, that of the batch included.
    pub extents: Vec<usize>,
}

impl ShapeChoice {
    /// Whether it is for the input of this name, one of so many.
    pub fn means(&self, name: &str, inputs: usize) -> bool {
        self.input.as_ref().map_or(inputs == 1, |wanted| wanted == name)
    }

    /// The shape that was asked for an input, one of so many; the last one counts.
    pub(super) fn of<'s>(choices: &'s [Self], name: &str, inputs: usize) -> Option<&'s Self> {
        choices.iter().rev().find(|choice| choice.means(name, inputs))
    }
}

/// A file's inputs beside what is made for them.
#[derive(Debug)]
pub(super) struct Inputs {
    pub of_file: Vec<GraphInput>,
    /// In the same order; a model of the zoo has its own names here.
    pub made: Vec<InputSpec>,
    pub fixed_batch: Option<usize>,
}

/// The inputs of a graph. Its tensors may be listed among them in files of old versions.
pub(super) fn given(graph: &GraphMessage) -> Vec<&ValueInfo> {
    graph.inputs.iter().filter(|input| graph.tensors.iter().all(|tensor| tensor.name != input.name)).collect()
}

/// Closes all shapes. Extents that the file leaves open come from `shapes`, then from `like`, the inputs of the zoo's
/// model `model` that the file is said to be. `tables` has the rows of the embedding that an integer input looks up.
pub(super) fn resolve(
    path: &Path,
    graph: &GraphMessage,
    shapes: &[ShapeChoice],
    like: Option<(&str, &[InputSpec])>,
    tables: &HashMap<String, usize>,
) -> Result<Inputs, GraphError> {
    let given = given(graph);
    let matches = match like {
        Some((model, specs)) => matching(path, model, &given, specs)?,
        None => vec![None; given.len()],
    };
    let batch = Batch::of(&given, shapes);
    let mut open = Vec::new();
    for (info, like) in given.iter().zip(&matches) {
        let shape = ShapeChoice::of(shapes, &info.name, given.len());
        let dimensions = dimensions(info, shape);
        check(path, info, &dimensions, shape)?;
        let at_batch = batch.places(&dimensions, shape);
        open.push((info, dimensions, at_batch, shape, like));
    }
    // What was asked for goes before what the zoo's model has, in whichever input the name stands.
    let mut names: HashMap<String, usize> = HashMap::new();
    for (_, dimensions, at_batch, shape, _) in &open {
        for (name, at) in named(dimensions, at_batch) {
            let Some(asked) = shape.map(|shape| shape.extents[at]) else { continue };
            let known = *names.entry(name.to_owned()).or_insert(asked);
            if known != asked {
                let extents = [known, asked];
                return Err(GraphError::OneNameTwoExtents { path: path.to_owned(), name: name.to_owned(), extents });
            }
        }
    }
    for (_, dimensions, at_batch, _, like) in &open {
        for (name, at) in named(dimensions, at_batch) {
            if let Some(extent) = extent_of(**like, at_batch, at) {
                names.entry(name.to_owned()).or_insert(extent);
            }
        }
    }
    let mut of_file = Vec::new();
    let mut made = Vec::new();
    for (info, dimensions, at_batch, shape, like) in open {
        let element = element_type(info.element).ok_or_else(|| GraphError::InputType {
            path: path.to_owned(),
            input: info.name.clone(),
            kind: element_name(info.element),
        })?;
        let extents: Option<Vec<Extent>> = dimensions
            .iter()
            .enumerate()
            .map(|(at, dimension)| match dimension {
                _ if at_batch[at] => Some(Extent::Batch),
                Dimension::Fixed(extent) => usize::try_from(*extent).ok().map(Extent::Fixed),
                Dimension::Named(name) if names.contains_key(name) => names.get(name).copied().map(Extent::Fixed),
                _ => {
                    shape.map(|shape| shape.extents[at]).or_else(|| extent_of(*like, &at_batch, at)).map(Extent::Fixed)
                }
            })
            .collect();
        let Some(extents) = extents.filter(|extents| info.dimensions.is_some() || !extents.is_empty()) else {
            return Err(GraphError::OpenShape {
                path: path.to_owned(),
                input: info.name.clone(),
                shape: shape_text(info),
                example: example(info, &dimensions, &at_batch),
            });
        };
        let input = GraphInput { name: info.name.clone(), element, extents };
        made.push(InputSpec {
            name: like.map_or(&input.name, |spec| &spec.name).clone(),
            kind: kind(&input, *like, matches.iter().any(Option::is_some), tables),
            shape: input.sample_shape(),
        });
        of_file.push(input);
    }
    let fixed_batch = fixed_batch(&mut of_file, graph);
    for (input, spec) in of_file.iter().zip(&mut made) {
        spec.shape = input.sample_shape();
    }
    Ok(Inputs { of_file, made, fixed_batch })
}

/// The zoo's input that each of the file's stands for: by name, else the next one of the same kind and rank.
fn matching<'s>(
    path: &Path,
    model: &str,
    given: &[&ValueInfo],
    specs: &'s [InputSpec],
) -> Result<Vec<Option<&'s InputSpec>>, GraphError> {
    let mut matches: Vec<Option<&InputSpec>> =
        given.iter().map(|info| specs.iter().find(|spec| spec.name == info.name)).collect();
    for spec in specs {
        if matches.iter().flatten().any(|taken| taken.name == spec.name) {
            continue;
        }
        let fits = |info: &ValueInfo| {
            let float = element_type(info.element).is_some_and(ElementType::is_float);
            let rank = info.dimensions.as_ref().is_none_or(|dimensions| dimensions.len() == spec.shape.len() + 1);
            rank && float == (spec.kind == InputKind::Float)
        };
        let place = given.iter().zip(&matches).position(|(info, taken)| taken.is_none() && fits(info));
        let Some(place) = place else {
            return Err(GraphError::OtherInputs {
                path: path.to_owned(),
                model: model.to_owned(),
                difference: format!("it has no input like {spec}"),
            });
        };
        matches[place] = Some(spec);
    }
    Ok(matches)
}

/// The extents of an input that have a name and are not the batch's, with their places.
fn named<'d>(dimensions: &'d [Dimension], at_batch: &[bool]) -> impl Iterator<Item = (&'d str, usize)> {
    let places = dimensions.iter().zip(at_batch).enumerate();
    places.filter_map(|(at, (dimension, at_batch))| match dimension {
        Dimension::Named(name) if !at_batch => Some((name.as_str(), at)),
        _ => None,
    })
}

/// The extents of an input as the file has them; as many unknown ones as were asked for where it says nothing.
fn dimensions(info: &ValueInfo, shape: Option<&ShapeChoice>) -> Vec<Dimension> {
    match (&info.dimensions, shape) {
        (Some(dimensions), _) => dimensions.clone(),
        (None, Some(shape)) => vec![Dimension::Unknown; shape.extents.len()],
        (None, None) => Vec::new(),
    }
}

/// The extent of the zoo's input that stands at this place of the file's.
fn extent_of(like: Option<&InputSpec>, at_batch: &[bool], at: usize) -> Option<usize> {
    let before = at_batch[..at].iter().filter(|batch| !**batch).count();
    like.filter(|spec| spec.shape.len() + 1 == at_batch.len() && at_batch.contains(&true))
        .and_then(|spec| spec.shape.get(before).copied())
}

fn check(
    path: &Path,
    info: &ValueInfo,
    dimensions: &[Dimension],
    shape: Option<&ShapeChoice>,
) -> Result<(), GraphError> {
    let Some(shape) = shape else { return Ok(()) };
    let fits = |(dimension, &asked): (&Dimension, &usize)| match dimension {
        Dimension::Fixed(extent) => usize::try_from(*extent) == Ok(asked),
        _ => asked > 0,
    };
    if shape.extents.len() == dimensions.len() && dimensions.iter().zip(&shape.extents).all(fits) {
        return Ok(());
    }
    Err(GraphError::WrongShape {
        path: path.to_owned(),
        input: info.name.clone(),
        asked: crate::domain::model::shape_text(&shape.extents),
        shape: shape_text(info),
    })
}

/// A shape as the file has it: `batch x 3 x height x width`.
fn shape_text(info: &ValueInfo) -> String {
    let Some(dimensions) = &info.dimensions else { return "of unknown rank".to_owned() };
    let text = |dimension: &Dimension| match dimension {
        Dimension::Fixed(extent) => extent.to_string(),
        Dimension::Named(name) => name.clone(),
        Dimension::Unknown => "?".to_owned(),
    };
    let texts: Vec<String> = dimensions.iter().map(text).collect();
    if texts.is_empty() { "a single number".to_owned() } else { texts.join(" x ") }
}

/// The option that would close a shape.
fn example(info: &ValueInfo, dimensions: &[Dimension], at_batch: &[bool]) -> String {
    let extent = |(at, dimension): (usize, &Dimension)| match dimension {
        Dimension::Fixed(extent) => extent.to_string(),
        _ if at_batch[at] => "1".to_owned(),
        // What people read as an example; images and texts are usually this long.
        _ if dimensions.len() == 4 => "224".to_owned(),
        _ => "128".to_owned(),
    };
    let extents: Vec<String> = dimensions.iter().enumerate().map(extent).collect();
    let extents = if extents.is_empty() { "1,3,224,224".to_owned() } else { extents.join(",") };
    format!("--shape {}={extents}", info.name)
}

/// How an input is made.
fn kind(
    input: &GraphInput,
    like: Option<&InputSpec>,
    is_of_the_zoo: bool,
    tables: &HashMap<String, usize>,
) -> InputKind {
    if let Some(spec) = like {
        return spec.kind;
    }
    match input.element {
        element if element.is_float() => InputKind::Float,
        ElementType::Bool => InputKind::Constant(1),
        // A mask that hides nothing.
        _ if input.name.to_lowercase().contains("mask") => InputKind::Constant(1),
        // What the zoo's network takes for granted: the first kind of segment.
        _ if is_of_the_zoo => InputKind::Constant(0),
        element => InputKind::Tokens {
            vocabulary: match (tables.get(&input.name), element) {
                (Some(&rows), _) => rows.max(1),
                (None, ElementType::U8) => 256,
                (None, ElementType::I8) => 128,
                (None, _) => 2,
            },
        },
    }
}

/// The batch of a file that does not leave it open: the first extent, where all inputs and outputs share it; 1 elsewhere.
fn fixed_batch(inputs: &mut [GraphInput], graph: &GraphMessage) -> Option<usize> {
    if inputs.iter().any(|input| input.extents.contains(&Extent::Batch)) {
        return None;
    }
    let firsts: Vec<Option<usize>> = inputs
        .iter()
        .map(|input| match input.extents.first() {
            Some(Extent::Fixed(extent)) => Some(*extent),
            _ => None,
        })
        .collect();
    let shared = firsts.first().copied().flatten().filter(|first| firsts.iter().all(|other| *other == Some(*first)));
    let of_output = |output: &ValueInfo| match output.dimensions.as_deref().and_then(<[Dimension]>::first) {
        Some(Dimension::Fixed(extent)) => usize::try_from(*extent).ok(),
        _ => None,
    };
    match shared {
        Some(batch) if graph.outputs.iter().all(|output| of_output(output) == Some(batch)) => {
            for input in inputs {
                input.extents[0] = Extent::Batch;
            }
            Some(batch)
        }
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOAT: i64 = 1;
    const INT64: i64 = 7;

    /// `batch x 3 x ?`, a number or a name each.
    fn value(name: &str, element: i64, shape: &str) -> ValueInfo {
        let dimension = |word: &str| match word.parse() {
            Ok(extent) => Dimension::Fixed(extent),
            Err(_) if word == "?" => Dimension::Unknown,
            Err(_) => Dimension::Named(word.to_owned()),
        };
        let dimensions = Some(shape.split_whitespace().map(dimension).collect());
        ValueInfo { name: name.to_owned(), element, dimensions }
    }

    fn resolved(
        inputs: &[(&str, i64, &str)],
        output: &str,
        shapes: &[(&str, &[usize])],
        like: Option<(&str, &[InputSpec])>,
    ) -> Result<Inputs, GraphError> {
        let inputs = inputs.iter().map(|(name, element, shape)| value(name, *element, shape)).collect();
        let graph = GraphMessage { inputs, outputs: vec![value("y", FLOAT, output)], ..GraphMessage::default() };
        let choice = |(name, extents): &(&str, &[usize])| ShapeChoice {
            input: Some((*name).to_owned()),
            extents: extents.to_vec(),
        };
        let shapes: Vec<ShapeChoice> = shapes.iter().map(choice).collect();
        resolve(Path::new("x.onnx"), &graph, &shapes, like, &HashMap::from([("ids".to_owned(), 30)]))
    }

    fn shapes(inputs: &Inputs, batch: usize) -> Vec<Vec<usize>> {
        inputs.of_file.iter().map(|input| input.shape(batch)).collect()
    }

    #[test]
    fn the_batch_is_what_is_open_in_front_or_says_so() {
        let found = resolved(&[("x", FLOAT, "N 3 8 8")], "N 5", &[], None).unwrap();
        assert_eq!((shapes(&found, 4), found.fixed_batch), (vec![vec![4, 3, 8, 8]], None));
        let unnamed = resolved(&[("x", FLOAT, "? 3 8 8")], "? 5", &[], None).unwrap();
        assert_eq!(shapes(&unnamed, 2), [[2, 3, 8, 8]]);
        let second = resolved(&[("x", FLOAT, "7 batch 5")], "7 batch 5", &[], None).unwrap();
        assert_eq!((shapes(&second, 2), &second.made[0].shape), (vec![vec![7, 2, 5]], &vec![7, 5]));
        // Height and width are open here, the batch is not.
        let open = resolved(&[("x", FLOAT, "1 3 height width")], "1 5", &[], None).unwrap_err();
        assert!(open.to_string().ends_with("open: 1 x 3 x height x width"), "{open}");
        let closed = resolved(&[("x", FLOAT, "1 3 height width")], "1 5", &[("x", &[1, 3, 6, 9])], None).unwrap();
        assert_eq!((shapes(&closed, 1), closed.fixed_batch), (vec![vec![1, 3, 6, 9]], Some(1)));
    }

    #[test]
    fn a_fixed_batch_is_shared_by_all_that_goes_in_and_out() {
        let four = resolved(&[("x", FLOAT, "4 3 8 8")], "4 5", &[], None).unwrap();
        assert_eq!((four.fixed_batch, &four.made[0].shape), (Some(4), &vec![3, 8, 8]));
        let whole = resolved(&[("x", FLOAT, "3 8 8")], "5", &[], None).unwrap();
        assert_eq!((whole.fixed_batch, &whole.made[0].shape), (Some(1), &vec![3, 8, 8]));
    }

    #[test]
    fn one_name_is_one_extent_in_all_inputs() {
        let inputs = [("ids", INT64, "batch length"), ("attention_mask", INT64, "batch length")];
        let found = resolved(&inputs, "batch 4", &[("ids", &[1, 9])], None).unwrap();
        assert_eq!(shapes(&found, 2), [[2, 9], [2, 9]]);
        let kinds: Vec<InputKind> = found.made.iter().map(|spec| spec.kind).collect();
        assert_eq!(kinds, [InputKind::Tokens { vocabulary: 30 }, InputKind::Constant(1)]);
    }

    #[test]
    fn a_model_of_the_zoo_lends_its_extents_and_names() {
        let ids = InputSpec { name: "ids".to_owned(), kind: InputKind::Tokens { vocabulary: 100 }, shape: vec![128] };
        let like = Some(("bert", std::slice::from_ref(&ids)));
        let inputs = [("input_ids", INT64, "b s"), ("attention_mask", INT64, "b s"), ("token_type_ids", INT64, "b s")];
        let found = resolved(&inputs, "b s 8", &[], like).unwrap();
        assert_eq!(shapes(&found, 1), [[1, 128], [1, 128], [1, 128]]);
        let made: Vec<(&str, InputKind)> = found.made.iter().map(|spec| (spec.name.as_str(), spec.kind)).collect();
        assert_eq!(
            made,
            [("ids", ids.kind), ("attention_mask", InputKind::Constant(1)), ("token_type_ids", InputKind::Constant(0))]
        );
        let other = resolved(&[("x", FLOAT, "b 3 8 8")], "b 5", &[], like).unwrap_err();
        assert!(matches!(other, GraphError::OtherInputs { .. }), "{other}");
    }

    #[test]
    fn shapes_that_do_not_fit_are_refused() {
        for asked in [&[1, 3, 8][..], &[1, 4, 8, 8], &[1, 3, 8, 8, 8]] {
            let refused = resolved(&[("x", FLOAT, "N 3 8 8")], "N 5", &[("x", asked)], None).unwrap_err();
            assert!(matches!(refused, GraphError::WrongShape { .. }), "{refused}");
        }
        let texts = resolved(&[("x", 8, "N")], "N", &[], None).unwrap_err();
        assert_eq!(texts.to_string(), "`x.onnx` has the input `x` of texts, which cannot be made");
    }
}
