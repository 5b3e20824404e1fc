//! Charts of pairs that do the same work: training beside inference, other precisions beside fp32.

use std::collections::BTreeMap;

use super::super::facts::Facts;
use super::super::scaling::{TrainingInference, training_vs_inference};
use super::names::names;
use super::values::{Bars, whose};
use super::{ChartName, MOST, Record, note_of_limit, rests_on};
use crate::domain::chart::{Axis, Content, Panel, RowSeries, RowShape, Rows, Sheet, Value};
use crate::domain::text::{counted, significant};
use crate::domain::{Identity, Part};

/// The pairs that are shown, in the order of their names, and how many there are. Short steps go first where there are too
/// many.
fn training_pairs(record: &Record) -> (Vec<TrainingInference>, usize) {
    let mut pairs = training_vs_inference(&record.facts);
    pairs.retain(|pair| {
        let software = record.facts[pair.training].software;
        (record.include_software || !software) && (pair.time_ratio.is_some() || pair.memory_ratio.is_some())
    });
    let time = |pair: &TrainingInference| record.facts[pair.training].latency_ms().unwrap_or(f64::INFINITY);
    pairs.sort_by(|left, right| time(left).total_cmp(&time(right)));
    let of = pairs.len();
    pairs.truncate(MOST);
    pairs.sort_by(|left, right| left.identity.cmp(&right.identity));
    (pairs, of)
}

pub(super) fn trained(record: &Record) -> Vec<&Facts> {
    let pairs = training_pairs(record).0;
    pairs.iter().flat_map(|pair| [&record.facts[pair.inference], &record.facts[pair.training]]).collect()
}

/// Time and memory of a training step beside those of inference over the same batch.
pub fn training_inference(record: &Record) -> Sheet {
    let name = ChartName::TrainingInference;
    let (pairs, of) = training_pairs(record);
    if pairs.is_empty() {
        let why = "no model was measured both in training and in inference with the same device, engine, precision and \
                   batch size";
        let hidden = record.is_hidden(|all| !training_pairs(all).0.is_empty());
        return name.nothing(record.why(hidden, "training beside inference", why));
    }
    let mut bars = Bars::default();
    // Of a training step, which says its optimizer.
    let steps: Vec<&Identity> = pairs.iter().map(|pair| &record.facts[pair.training].identity).collect();
    let named = names(&steps, &[Part::Mode]);
    let mut panel = |title: &str, unit: &str, value: &dyn Fn(&Facts, &Facts, &mut Bars) -> Option<Value>| {
        let mut side = |name: &str, of: &dyn Fn(&TrainingInference) -> (usize, usize, String)| RowSeries {
            name: name.to_owned(),
            values: pairs
                .iter()
                .map(|pair| {
                    let (index, other, said) = of(pair);
                    let mut value = value(&record.facts[index], &record.facts[other], &mut bars)?;
                    value.detail = format!("{}{said}", value.detail);
                    Some(value)
                })
                .collect(),
        };
        let is_time = unit == "ms";
        let ratio = |pair: &TrainingInference| {
            let ratio = if is_time { pair.time_ratio } else { pair.memory_ratio };
            ratio.map_or_else(String::new, |ratio| format!("; {} times the inference", significant(ratio)))
        };
        let series = vec![
            side("inference", &|pair| (pair.inference, pair.training, String::new())),
            side("training", &|pair| (pair.training, pair.inference, ratio(pair))),
        ];
        Panel {
            title: title.to_owned(),
            content: Content::Rows(Rows {
                axis: Axis::new(title, unit),
                names: named.names.clone(),
                series,
                shape: RowShape::Bars,
            }),
        }
    };
    let mut panels = vec![panel("time of a batch", "ms", &|fact, _, bars| bars.latency(fact))];
    if pairs.iter().any(|pair| pair.memory_ratio.is_some()) {
        // The same memory on both sides of a pair; a pair that has none is no pair here.
        panels.push(panel("peak memory", "MB", &|fact, other, bars| {
            let metric = fact.memory_of_both(other)?;
            let value = bars.of(fact, metric)?;
            Some(Value { detail: format!("{}; {}", whose(metric), value.detail), ..value })
        }));
    }
    if let [only] = &mut panels[..] {
        only.title.clear();
    }
    let mut chart = name.chart(&[&named.common, &bars.text()], panels);
    chart.columns = chart.panels.len();
    chart.notes.extend(note_of_limit(pairs.len(), of, "with the shortest steps", "pairs"));
    let is_training = |fact: &Facts| fact.identity.get(Part::Mode) == "training";
    let alone = record.shown().into_iter().filter(|fact| is_training(fact)).count().saturating_sub(of);
    if alone > 0 {
        let configurations = counted(alone, "training configuration", "training configurations");
        chart.notes.push(format!(
            "Left out: {configurations} whose inference was not measured with the same device, engine, precision, batch \
             size and shape."
        ));
    }
    chart.notes.extend(record.left_out(is_training));
    let columns = ["latency_p50_ms", "latency_mean_ms", "memory_device_peak_mb", "memory_host_peak_mb"];
    chart.behind = rests_on(&columns, &trained(record));
    Sheet::Chart(chart)
}

/// One work with the precisions in which it was done.
struct Work<'r> {
    identity: Identity,
    fp32: &'r Facts,
    others: BTreeMap<String, &'r Facts>,
}

/// The works that are shown, in the order of their names, and how many there are.
fn works(record: &Record) -> (Vec<Work<'_>>, usize) {
    let others: Vec<Part> = Part::all().iter().copied().filter(|part| *part != Part::Precision).collect();
    let mut groups: BTreeMap<Identity, BTreeMap<String, &Facts>> = BTreeMap::new();
    for fact in record.shown() {
        let precision = fact.identity.get(Part::Precision).to_owned();
        groups.entry(fact.identity.only(&others)).or_default().insert(precision, fact);
    }
    let mut works: Vec<Work<'_>> = groups
        .into_iter()
        .filter_map(|(identity, mut others)| {
            let fp32 = others.remove("fp32")?;
            (!others.is_empty()).then_some(Work { identity, fp32, others })
        })
        .collect();
    let of = works.len();
    works.sort_by_key(|work| std::cmp::Reverse(work.others.len()));
    works.truncate(MOST);
    works.sort_by(|left, right| left.identity.cmp(&right.identity));
    (works, of)
}

pub(super) fn precise(record: &Record) -> Vec<&Facts> {
    works(record).0.into_iter().flat_map(|work| std::iter::once(work.fp32).chain(work.others.into_values())).collect()
}

/// What other precisions make of speed, memory, energy and fidelity, against fp32 of the same work.
pub fn precision(record: &Record) -> Sheet {
    let name = ChartName::Precision;
    let (works, of) = works(record);
    if works.is_empty() {
        let why = "no model was measured in fp32 and in another precision with the same device, engine and batch size; \
                   `benchdb run --precision fp32,int8w` does";
        let hidden = record.is_hidden(|all| !self::works(all).0.is_empty());
        return name.nothing(record.why(hidden, "another precision beside fp32", why));
    }
    let mut bars = Bars::default();
    let named = names(&works.iter().map(|work| &work.identity).collect::<Vec<_>>(), &[]);
    let mut kinds: Vec<&String> = works.iter().flat_map(|work| work.others.keys()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut panel = |title: &str, axis: Axis, value: &dyn Fn(&Facts, &Facts, &mut Bars) -> Option<Value>| {
        let series: Vec<RowSeries> = kinds
            .iter()
            .map(|kind| RowSeries {
                name: (*kind).clone(),
                values: works
                    .iter()
                    .map(|work| work.others.get(*kind).and_then(|other| value(work.fp32, other, &mut bars)))
                    .collect(),
            })
            .collect();
        let any = series.iter().any(|series| series.values.iter().any(Option::is_some));
        any.then(|| Panel {
            title: title.to_owned(),
            content: Content::Rows(Rows { axis, names: named.names.clone(), series, shape: RowShape::Dots }),
        })
    };
    let times = |what: &str| Axis::new(what, "times fp32");
    let panels: Vec<Panel> = [
        panel("speed: more is better", times("speed"), &speed),
        panel("peak memory: less is better", times("peak memory"), &|fp32, other, bars| {
            let metric = fp32.memory_of_both(other)?;
            let (mut sides, unit) = (Bars::default(), format!("MB {}", whose(metric)));
            ratio([sides.of(other, metric)?, sides.of(fp32, metric)?], &unit, &sides, bars)
        }),
        panel("energy of a sample: less is better", times("energy"), &|fp32, other, bars| {
            let (mut sides, metric) = (Bars::default(), "energy_per_sample_j");
            ratio([sides.of(other, metric)?, sides.of(fp32, metric)?], "J", &sides, bars)
        }),
        panel(
            "error of the outputs against fp32: less is better",
            Axis::new("relative error", ""),
            &|_, other, bars| bars.of(other, "fidelity_relative_error").filter(|error| error.value > 0.0),
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if panels.is_empty() {
        return name.nothing("no selected pair of precisions has a number that both sides were measured by");
    }
    let against = format!("{} against fp32", kinds.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", "));
    let mut chart = name.chart(&[&named.common, &against, &bars.text()], panels);
    chart.columns = chart.panels.len().min(2);
    chart.notes.extend(note_of_limit(works.len(), of, "with the most precisions", "works"));
    chart.notes.extend(record.left_out(|fact| fact.identity.get(Part::Precision) != "fp32"));
    let columns = [
        "latency_p50_ms",
        "throughput_samples_per_second",
        "memory_device_peak_mb",
        "memory_host_peak_mb",
        "energy_per_sample_j",
        "fidelity_relative_error",
    ];
    chart.behind = rests_on(&columns, &precise(record));
    Sheet::Chart(chart)
}

/// How many times faster: by latencies where both have one, by rates otherwise.
fn speed(fp32: &Facts, other: &Facts, bars: &mut Bars) -> Option<Value> {
    // The bars of the sides are not on the sheet, those of their ratio are.
    let mut sides = Bars::default();
    match (sides.latency(fp32), sides.latency(other)) {
        (Some(before), Some(after)) => ratio([before, after], "ms in fp32", &sides, bars),
        _ => {
            let mut sides = Bars::default();
            ratio([sides.throughput(other)?, sides.throughput(fp32)?], "samples/s", &sides, bars)
        }
    }
}

/// The first over the second of two values, which `sides` made.
fn ratio([value, reference]: [Value; 2], unit: &str, sides: &Bars, bars: &mut Bars) -> Option<Value> {
    let detail = format!("{} {unit} to {}", significant(value.value), significant(reference.value));
    bars.ratio(&value, &reference, sides, &detail)
}
