//! The comparison builder: two sides, each a selection, held against each other.

use std::collections::BTreeMap;

use super::ask::{Pairs, is_judging, is_selecting};
use super::runs::{ALERT_FIELD, Choices, option_field, text_field};
use super::site::{Made, Pages, Problem, check_baseline, quiet, select};
use crate::analysis::compare::speed_up;
use crate::analysis::facts::{Facts, facts_of, metrics_of_facts, tell_devices_apart};
use crate::commands::verdicts::{Against, JudgeArgs, judge_runs};
use crate::domain::document::{Gives, Statement, TableBlock};
use crate::domain::text::{counted, quoted};
use crate::domain::{Identity, Part, Table, VerdictReport};
use crate::report::html::{Field, Form, LivePart, LiveTable};
use crate::report::significant;
use crate::report::verdicts::{summary, verdict_table};
use crate::store::again::{Question, statement};
use crate::store::list::Selection;
use crate::store::{Store, StoreError};

/// Runs of a side that a page compares; the command line has no such limit.
const MOST_RUNS: usize = 5_000;

/// Rows of each table.
const ROWS: usize = 200;

/// What both sides have in common.
const COMMON: [&str; 4] = ["model", "mode", "batch-sizes", "host"];

/// What a side is made of.
const SIDE: [&str; 11] = [
    "hardware",
    "device",
    "engine",
    "precision",
    "variant",
    "framework",
    "label",
    "git-commit",
    "baseline",
    "since",
    "until",
];

/// The option of a side that is no option of a selection.
const BASELINE: &str = "baseline";

/// Which part of a configuration an option is about.
const ABOUT: [(&str, &[Part]); 6] = [
    // Another device is reached in another way, with other threads.
    ("hardware", &[Part::Platform, Part::Device, Part::Threads]),
    ("device", &[Part::Platform, Part::Device, Part::Threads]),
    ("engine", &[Part::Engine, Part::Parameters]),
    ("precision", &[Part::Precision]),
    ("variant", &[Part::Variant]),
    ("batch-sizes", &[Part::BatchSize]),
];

pub(super) fn page(pages: &Pages, asked: &Pairs) -> Made {
    let (before, now) = (asked.after("a."), asked.after("b."));
    let common = asked.only(|name| !name.starts_with("a.") && !name.starts_with("b."));
    common.only(|name| !is_judging(name)).knows(&[])?;
    for side in [&before, &now] {
        side.knows(&[BASELINE])?;
    }
    let choices = pages.pool.with(|store| store.list_choices())?;
    let mut parts = vec![LivePart::Form(form(asked, &choices))];
    if before.is_empty() && now.is_empty() {
        parts.push(LivePart::Note(
            "Choose what side A is and what side B is: two engines, two precisions, two commits, two labels, two \
             baselines. What both have in common narrows the comparison down."
                .to_owned(),
        ));
        return Ok(parts);
    }
    let judging = judging(&common, &before, &now)?;
    parts.extend(pages.pool.with(|store| compared(store, pages, &common, (&before, &now), &judging))?);
    Ok(parts)
}

/// How the sides are judged: matched on all but what they differ in by what was asked for.
fn judging(common: &Pairs, before: &Pairs, now: &Pairs) -> Result<JudgeArgs, Problem> {
    let mut judging = common.judging()?;
    judging.all_runs = true;
    if judging.match_on.is_empty() && judging.ignore.is_empty() {
        let differs = |option: &str| before.text(option) != now.text(option);
        let about = ABOUT.iter().filter(|(option, _)| differs(option)).flat_map(|(_, parts)| parts.iter().copied());
        for part in about {
            if !judging.ignore.contains(&part) {
                judging.ignore.push(part);
            }
        }
    }
    Ok(judging)
}

fn side(store: &Store, common: &Pairs, own: &Pairs) -> Result<Selection, Problem> {
    let asked = own.only(is_selecting).or(&common.only(is_selecting));
    let mut selection = select(store, &asked)?;
    if let Some(baseline) = own.one(BASELINE)? {
        check_baseline(store, baseline)?;
        selection.baseline = Some(baseline.to_owned());
    }
    Ok(selection)
}

fn compared(
    store: &Store,
    pages: &Pages,
    common: &Pairs,
    (before, now): (&Pairs, &Pairs),
    judging: &JudgeArgs,
) -> Made {
    let (baseline, candidate) = (side(store, common, before)?, side(store, common, now)?);
    for (selection, name) in [(&baseline, "A"), (&candidate, "B")] {
        if store.find_runs(selection, MOST_RUNS + 1)?.len() > MOST_RUNS {
            return Ok(vec![LivePart::Alert(format!(
                "Side {name} has more than {MOST_RUNS} runs, too many for a page: choose a model, a label or a time. \
                 `benchdb analyze` and `benchdb regress` compare any number."
            ))]);
        }
    }
    let against =
        Against::Runs { selection: Box::new(baseline.clone()), text: ["side A:", &before.options()].concat() };
    let report = judge_runs(store, &candidate, &against, judging, &quiet(store))?.report;
    let statement = statement(Question::JudgedRuns, &[&baseline, &candidate]);
    let behind = Some(Statement { sql: statement, gives: Gives::Runs });
    let mut side_by_side = beside(&facts(store, &baseline)?, &facts(store, &candidate)?, &report.matched_on);
    side_by_side.notes.push(format!(
        "Side A:{}. Side B:{}. Medians of valid runs; of several configurations that match, the fastest stands for its side.",
        before.options(),
        now.options()
    ));
    // Only what is shown is made ready for people; the worst comes first.
    let mut shown: VerdictReport = report;
    let (all, notes) = (shown.verdicts.len(), summary(&shown));
    shown.verdicts.truncate(ROWS);
    let mut verdicts = TableBlock::whole(verdict_table(&shown, true, None));
    (verdicts.rows, verdicts.notes) = (all, notes);
    verdicts.notes.push("Before is side A, now is side B.".to_owned());
    verdicts.statement = behind;
    let mut parts = Vec::new();
    for (block, id) in [(side_by_side, "sides"), (verdicts, "verdicts")] {
        parts.push(LivePart::Table(LiveTable { block, id, ..LiveTable::default() }));
    }
    let options = |own: &Pairs| own.only(is_selecting).or(&common.only(is_selecting)).options();
    let mut again = match against_option(before) {
        Some(other) => {
            let ignored: Vec<String> = judging.ignore.iter().map(Part::to_string).collect();
            let ignored = if ignored.is_empty() { String::new() } else { [" --ignore ", &ignored.join(",")].concat() };
            let judged = common.only(|name| is_judging(name) && !["ignore", "all-runs"].contains(&name)).options();
            vec![
                [&pages.program(), " regress --all-runs --no-record", &options(now), &other, &ignored, &judged]
                    .concat(),
            ]
        }
        None => Vec::new(),
    };
    again.push([&pages.program(), " analyze", &options(before)].concat());
    again.push([&pages.program(), " analyze", &options(now)].concat());
    parts.push(LivePart::Again(again));
    Ok(parts)
}

/// The option of `regress` that means side A, where one option does.
fn against_option(side: &Pairs) -> Option<String> {
    let names = side.names();
    let [name] = names.as_slice() else { return None };
    let value = side.one(name).ok()??;
    let kind = match name.as_str() {
        BASELINE => return Some([" --baseline ", &quoted(value)].concat()),
        "label" => "label",
        "git-commit" => "commit",
        "framework" => "framework",
        _ => return None,
    };
    Some([" --against ", &quoted(&[kind, ":", value].concat())].concat())
}

fn facts(store: &Store, selection: &Selection) -> Result<Vec<Facts>, StoreError> {
    let mut facts: Vec<Facts> = Vec::new();
    store.for_each_series(selection, &metrics_of_facts(), |series| {
        facts.extend(facts_of(&series));
        Ok::<_, StoreError>(())
    })?;
    tell_devices_apart(&mut facts);
    Ok(facts)
}

/// Both sides, by what they have in common.
fn beside(before: &[Facts], now: &[Facts], matched_on: &[Part]) -> TableBlock {
    type Key = (Identity, String);
    let fastest = |facts: &[Facts]| -> BTreeMap<Key, usize> {
        let mut fastest: BTreeMap<Key, usize> = BTreeMap::new();
        for (index, fact) in facts.iter().enumerate() {
            let cost = |index: usize| facts[index].cost().unwrap_or(f64::INFINITY);
            let known = fastest.entry((fact.identity.only(matched_on), fact.identity.work())).or_insert(index);
            if cost(index) < cost(*known) {
                *known = index;
            }
        }
        fastest
    };
    let (left, right) = (fastest(before), fastest(now));
    let mut keys: Vec<&Key> = left.keys().chain(right.keys()).collect();
    // What can be compared comes first.
    let is_alone = |key: &Key| !(left.contains_key(key) && right.contains_key(key));
    keys.sort_by(|one, other| (is_alone(one), one).cmp(&(is_alone(other), other)));
    keys.dedup();
    let names: Vec<String> = matched_on.iter().map(Part::to_string).collect();
    let mut columns: Vec<&str> = names.iter().map(String::as_str).collect();
    columns.extend(["A runs", "B runs", "B over A", "A ms", "B ms", "A samples/s", "B samples/s", "A MB", "B MB"]);
    let mut table = Table::new("Side by side", &columns);
    let by_rate = !matched_on.contains(&Part::BatchSize);
    for key in keys.iter().take(ROWS) {
        let (a, b) = (left.get(key).map(|at| &before[*at]), right.get(key).map(|at| &now[*at]));
        let number = |fact: Option<&Facts>, value: fn(&Facts) -> Option<f64>| fact.and_then(value).map(significant);
        let ratio = a.zip(b).and_then(|(a, b)| speed_up(a, b, by_rate));
        let mut row: Vec<_> = matched_on.iter().map(|part| key.0.cell(*part)).collect();
        row.extend([
            a.map(|fact| fact.runs as u64).into(),
            b.map(|fact| fact.runs as u64).into(),
            ratio.map(|ratio| format!("{} x", significant(ratio))).into(),
            number(a, Facts::latency_ms).into(),
            number(b, Facts::latency_ms).into(),
            number(a, Facts::throughput).into(),
            number(b, Facts::throughput).into(),
            number(a, Facts::memory_mb).into(),
            number(b, Facts::memory_mb).into(),
        ]);
        table.push(row);
    }
    // What the rows that are shown have in common is not what all have.
    let shared = |part: &Part| keys.windows(2).all(|two| two[0].0.get(*part) == two[1].0.get(*part));
    let folded = names.iter().zip(matched_on).filter(|(_, part)| shared(part)).map(|(name, _)| name.as_str());
    table.fold_shared(&folded.collect::<Vec<_>>());
    table.drop_empty(&["A ms", "B ms", "A samples/s", "B samples/s", "B over A", "A MB", "B MB"]);
    let mut block = TableBlock { rows: keys.len(), table, ..TableBlock::default() };
    let both = left.keys().filter(|key| right.contains_key(*key)).count();
    block.notes.push(format!(
        "{} on both sides. B over A: how many times faster side B is.",
        counted(both, "configuration is", "configurations are")
    ));
    block
}

fn form(asked: &Pairs, choices: &Choices) -> Form {
    let fields = |prefix: &str, options: &[&str]| -> Vec<Field> {
        options.iter().map(|option| option_field(asked, choices, &[prefix, option].concat(), option)).collect()
    };
    let mut common = fields("", &COMMON);
    let texts =
        [("metrics", "metrics", "latency,memory"), ALERT_FIELD, ("ignore", "parts that may differ", "engine,threads")];
    common.extend(texts.map(|text| text_field(asked, text)));
    Form {
        action: "/compare".to_owned(),
        button: "Compare",
        label: "Comparison",
        groups: vec![
            ("Side A: before".to_owned(), fields("a.", &SIDE)),
            ("Side B: now".to_owned(), fields("b.", &SIDE)),
            ("Both".to_owned(), common),
        ],
    }
}
