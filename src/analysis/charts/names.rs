//! What configurations are called on a chart: what tells them apart is their name, what they share goes into the subtitle.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::domain::text::{printable, shortened_apart};
use crate::domain::{Identity, Part};

/// The longest name that is written out, and where two would be one by it.
const LONGEST: usize = 64;
const LONGEST_APART: usize = 128;

/// What stays of the end of a longer one: versions of a thing often differ there.
const TAIL: usize = 20;

/// The parts in the order in which people name them.
const ORDER: [Part; 11] = [
    Part::Model,
    Part::Variant,
    Part::Mode,
    Part::Device,
    Part::Engine,
    Part::Precision,
    Part::BatchSize,
    Part::Parameters,
    Part::InputShape,
    Part::Threads,
    Part::Platform,
];

/// Parts that are not said where they follow from those before them: a platform from its devices.
const IMPLIED: [Part; 3] = [Part::InputShape, Part::Threads, Part::Platform];

/// The parameter that names the test set: where variants alone were tried on one, it follows from them.
const DATA: &str = "data";

/// Names, and what all have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Names {
    /// One a configuration, in their order.
    pub(super) names: Vec<String>,
    /// What all have in common.
    pub(super) common: String,
}

/// Names for configurations. What is in `unsaid` is said elsewhere: by an axis, by the title of a panel.
pub(super) fn names(identities: &[&Identity], unsaid: &[Part]) -> Names {
    let mut words: Vec<Vec<String>> = vec![Vec::new(); identities.len()];
    let mut common = Vec::new();
    // Which names are the same so far: a part that tells none of them apart adds nothing.
    let mut groups = vec![0; identities.len()];
    let mut known = 1;
    let said = ORDER.into_iter().filter(|part| !unsaid.contains(part));
    for Column { part, implied, texts } in said.flat_map(|part| columns(identities, part)) {
        let distinct: BTreeSet<&String> = texts.iter().collect();
        if distinct.len() < 2 {
            common.extend(texts.first().filter(|text| !text.is_empty()).cloned());
            continue;
        }
        let mut refined: HashMap<(usize, &str), usize> = HashMap::new();
        let next: Vec<usize> = groups
            .iter()
            .zip(&texts)
            .map(|(group, text)| {
                let next = refined.len();
                *refined.entry((*group, text.as_str())).or_insert(next)
            })
            .collect();
        if refined.len() > known || !implied {
            known = refined.len();
            groups = next;
            let texts = if part == Part::Device { short_devices(texts) } else { texts };
            for (name, text) in words.iter_mut().zip(texts) {
                name.extend(Some(text).filter(|text| !text.is_empty()));
            }
        }
    }
    let mut names: Vec<String> = words.into_iter().map(|words| words.join(", ")).collect();
    // One that differs by what it does not have is called by what all have: a model without a variant.
    for (name, identity) in names.iter_mut().zip(identities).filter(|(name, _)| name.is_empty()) {
        let model = identity.get(Part::Model);
        name.push_str(if model.is_empty() || unsaid.contains(&Part::Model) { "all" } else { model });
    }
    Names { names: shortened(&names), common: shortened_to(&common.join(", "), 160) }
}

/// The texts of a part, one a configuration.
struct Column {
    part: Part,
    /// Whether it is not said where it follows from the columns before.
    implied: bool,
    texts: Vec<String>,
}

/// The columns of a part: one, and of the parameters one a parameter.
fn columns(identities: &[&Identity], part: Part) -> Vec<Column> {
    if part != Part::Parameters {
        let texts = identities.iter().map(|identity| word(part, identity.get(part))).collect();
        return vec![Column { part, implied: IMPLIED.contains(&part), texts }];
    }
    let all: Vec<Map<String, Value>> =
        identities.iter().map(|identity| serde_json::from_str(identity.get(part)).unwrap_or_default()).collect();
    let keys: BTreeSet<&String> = all.iter().flat_map(Map::keys).collect();
    let of = |one: &Map<String, Value>, key: &str| one.get(key).map_or_else(String::new, |value| setting(key, value));
    // Two models may have been tried on two sets: that follows from nothing.
    let one_model = identities.windows(2).all(|pair| pair[0].get(Part::Model) == pair[1].get(Part::Model));
    let column = |key: &String| Column {
        part,
        implied: key == DATA && one_model,
        texts: all.iter().map(|one| of(one, key)).collect(),
    };
    keys.into_iter().map(column).collect()
}

/// The test set of a configuration; nothing where none is named.
pub(super) fn test_set(identity: &Identity) -> String {
    let parameters: Map<String, Value> = serde_json::from_str(identity.get(Part::Parameters)).unwrap_or_default();
    parameters.get(DATA).and_then(Value::as_str).map(clean).unwrap_or_default()
}

/// The same configuration without its test set, which is said elsewhere.
pub(super) fn without_test_set(identity: &Identity) -> Identity {
    let mut parameters: Map<String, Value> = serde_json::from_str(identity.get(Part::Parameters)).unwrap_or_default();
    let mut rest = identity.clone();
    if parameters.remove(DATA).is_some() {
        rest.set(Part::Parameters, Value::Object(parameters).to_string());
    }
    rest
}

fn word(part: Part, text: &str) -> String {
    match (part, text) {
        (_, "") | (Part::Threads, "0") => String::new(),
        (Part::Threads, "1") => "1 thread".to_owned(),
        (Part::Threads, threads) => format!("{threads} threads"),
        (Part::BatchSize, size) => format!("batch {size}"),
        (Part::Device, device) => device_word(device),
        (_, text) => clean(text),
    }
}

/// A device's name without the marks that its maker puts on it.
fn device_word(name: &str) -> String {
    let plain = ["(R)", "(TM)", "(tm)", "(r)"].iter().fold(name.to_owned(), |name, mark| name.replace(mark, ""));
    clean(&plain)
}

/// Words that say nothing beside a device's own name: makers and kinds.
const BESIDE: [&str; 7] = ["NVIDIA", "GeForce", "Intel", "AMD", "Core", "CPU", "Processor"];

/// The names of devices as short as people say them (`RTX 4090`), where that tells them apart as well.
fn short_devices(names: Vec<String>) -> Vec<String> {
    let short = |name: &String| {
        let words: Vec<&str> = name.split(' ').filter(|word| !BESIDE.contains(word)).collect();
        if words.is_empty() { name.clone() } else { words.join(" ") }
    };
    let shorter: Vec<String> = names.iter().map(short).collect();
    let distinct = |names: &[String]| names.iter().collect::<BTreeSet<_>>().len();
    if distinct(&shorter) == distinct(&names) { shorter } else { names }
}

/// A parameter of the work in words: `adam`, `compiled`, `steps=50`.
fn setting(key: &str, value: &Value) -> String {
    let text = match value {
        Value::Bool(true) => key.to_owned(),
        Value::Null => String::new(),
        // What these are goes without saying.
        Value::String(text) if matches!(key, "method" | "optimizer" | "memory_layout") => text.clone(),
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    };
    clean(&text)
}

/// One line without control characters.
fn clean(text: &str) -> String {
    printable(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Names that have room on a sheet: the middle of a long one is left out. Different ones stay different: they are longer
/// then, or get a number.
pub(super) fn shortened(names: &[String]) -> Vec<String> {
    let cut: Vec<String> = names.iter().map(|name| shortened_to(name, LONGEST)).collect();
    let mut origins: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (short, name) in cut.iter().zip(names) {
        origins.entry(short).or_default().insert(name);
    }
    shortened_apart(names, |name, end| {
        let short = shortened_to(name, LONGEST);
        match origins.get(short.as_str()) {
            Some(several) if several.len() > 1 => shortened_to(name, LONGEST_APART - end.chars().count()),
            _ => short,
        }
    })
}

fn shortened_to(name: &str, longest: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= longest {
        return name.to_owned();
    }
    let head: String = letters[..longest - TAIL - 1].iter().collect();
    let tail: String = letters[letters.len() - TAIL..].iter().collect();
    [&head, "\u{2026}", &tail].concat()
}

/// The models of configurations, each with its place by first appearance.
pub(super) fn places_of_models<'i>(identities: impl Iterator<Item = &'i Identity>) -> BTreeMap<&'i str, usize> {
    let mut places = BTreeMap::new();
    for identity in identities {
        let next = places.len();
        places.entry(identity.get(Part::Model)).or_insert(next);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Iterations;
    use super::super::super::samples::{Sample, facts_of};
    use super::*;

    fn named(samples: Vec<Sample>, unsaid: &[Part]) -> Names {
        let samples = samples.into_iter().map(|sample| sample.latencies(&[1.0])).collect();
        let facts = facts_of(samples, &Iterations::new());
        names(&facts.iter().map(|fact| &fact.identity).collect::<Vec<_>>(), unsaid)
    }

    #[test]
    fn what_differs_is_the_name_and_the_rest_is_said_once() {
        let found = named(
            vec![Sample::new("m"), Sample::new("m").with(Part::BatchSize, "8"), Sample::new("other")],
            &[Part::Mode],
        );
        assert_eq!(found.names, ["m, batch 1", "m, batch 8", "other, batch 1"]);
        assert_eq!(found.common, "Xeon, burn-flex, fp32, 3x8x8, 2 threads, cpu");
    }

    #[test]
    fn a_platform_follows_from_its_devices_and_is_not_said() {
        let gpu = || Sample::new("m").with(Part::Device, "RTX(R) 4090").with(Part::Platform, "cuda");
        let found = named(vec![Sample::new("m"), gpu().with(Part::Precision, "amp")], &[]);
        assert_eq!(found.names, ["Xeon, fp32", "RTX 4090, amp"]);
    }

    #[test]
    fn devices_are_called_as_people_call_them_unless_two_would_be_one() {
        let on = |name: &str| Sample::new("m").with(Part::Device, name);
        let cards = || vec![on("NVIDIA GeForce RTX 4090"), on("Intel(R) Core(TM) i7-12700H"), on("CPU")];
        assert_eq!(named(cards(), &[]).names, ["RTX 4090", "i7-12700H", "CPU"]);
        let twins = vec![on("Intel Xeon Processor"), on("Xeon")];
        assert_eq!(named(twins, &[]).names, ["Intel Xeon Processor", "Xeon"]);
        assert!(named(vec![on("NVIDIA GeForce RTX 4090")], &[]).common.contains("NVIDIA GeForce RTX 4090"));
    }

    #[test]
    fn parameters_are_said_one_by_one() {
        let with = |json: &str| Sample::new("m").with(Part::Parameters, json);
        let found = named(
            vec![with(r#"{"optimizer":"adam","steps":5}"#), with(r#"{"optimizer":"sgd","compiled":true,"steps":5}"#)],
            &[],
        );
        assert_eq!(found.names, ["adam", "compiled, sgd"]);
        assert!(found.common.contains("steps=5"), "{}", found.common);
    }

    #[test]
    fn a_test_set_that_follows_from_the_variants_is_not_said() {
        let tried =
            |variant: &str| Sample::new("m").with(Part::Variant, variant).with(Part::Parameters, r#"{"data":"t@1"}"#);
        assert_eq!(named(vec![Sample::new("m"), tried("narrow"), tried("wide")], &[]).names, ["m", "narrow", "wide"]);
        let found = named(vec![Sample::new("m"), Sample::new("m").with(Part::Parameters, r#"{"data":"t@1"}"#)], &[]);
        assert_eq!(found.names, ["m", "data=t@1"]);
    }

    #[test]
    fn two_models_that_were_tried_on_two_sets_say_so() {
        let on = |model: &str, set: &str| {
            Sample::new(model).with(Part::Parameters, &format!(r#"{{"data":"{set}","steps":2}}"#))
        };
        let samples = vec![on("a", "easy@1"), on("b", "hard@2")];
        assert_eq!(named(samples, &[]).names, ["a, data=easy@1", "b, data=hard@2"]);
        let facts = facts_of(vec![on("a", "easy@1").latencies(&[1.0])], &Iterations::new());
        assert_eq!(test_set(&facts[0].identity), "easy@1");
        assert_eq!(without_test_set(&facts[0].identity).get(Part::Parameters), r#"{"steps":2}"#);
    }

    #[test]
    fn long_names_that_differ_in_the_middle_stay_different() {
        let name = |layout: &str, length: usize| {
            format!("convnext_base, NVIDIA GeForce RTX 4090, {}{layout}, nchw, 3x224x224", "x".repeat(length))
        };
        let names = vec![name("batch 256, compiled", 20), name("batch 512, compiled", 20), "short".to_owned()];
        assert_eq!(shortened(&names), names, "they are longer than others may be");
        let names = vec![
            name("batch 256, compiled", 90),
            name("batch 512, compiled", 90),
            "short".to_owned(),
            name("batch 256, compiled", 90),
        ];
        let found = shortened(&names);
        assert!(found[0].ends_with("3x224x224 (1)") && found[1].ends_with("3x224x224 (2)"), "{found:?}");
        assert_eq!((&found[0], found[2].as_str()), (&found[3], "short"));
        assert!(found.iter().all(|name| name.chars().count() <= LONGEST_APART));
    }

    #[test]
    fn one_configuration_is_called_by_its_model() {
        let found = named(vec![Sample::new("m")], &[]);
        assert_eq!(found.names, ["m"]);
    }

    #[test]
    fn a_hostile_name_becomes_one_short_line() {
        let long = format!("{}\n\u{1b}[31m{}end", "a".repeat(300), "b".repeat(300));
        let found = named(vec![Sample::new(&long), Sample::new("<script>")], &[]);
        assert_eq!(found.names[0].chars().count(), LONGEST);
        assert!(found.names[0].starts_with("aaa") && found.names[0].ends_with("bend"), "{}", found.names[0]);
        assert!(!found.names[0].chars().any(char::is_control));
        assert_eq!(found.names[1], "<script>");
    }
}
