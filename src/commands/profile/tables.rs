//! A profile and a comparison as tables.

use super::super::OutputArgs;
use crate::analysis::profile::{AGREEMENT, Agreement, Bound, Change, FEWEST_PAIRS, Peaks, Speed};
use crate::domain::profile::{CpuSamples, PartKind, Profile, ProfiledPart, have_parts, split_path};
use crate::domain::run::OperatorTime;
use crate::domain::text::counted;
use crate::domain::{Cell, Measurement, RunRecord, Table};
use crate::report::profile::OTHER;
use crate::report::{Format, significant};

/// A profile that is shown.
pub(super) struct Shown<'p> {
    /// `None` where the database did not take it.
    pub run_id: Option<i64>,
    pub record: &'p RunRecord,
    pub profile: &'p Profile,
    pub peaks: Peaks,
}

/// Nanoseconds of one iteration in ms.
fn each(nanoseconds: u64, iterations: usize) -> f64 {
    nanoseconds as f64 / 1e6 / iterations.max(1) as f64
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

/// A number for people, or exact.
fn number(value: Option<f64>, people: bool) -> Cell {
    if people { value.map(significant).into() } else { value.into() }
}

/// The summary and the operators: for people the `top` that took most themselves and the others in one row. In CSV, which
/// is one table, the operators alone.
pub(super) fn of(shown: &Shown<'_>, top: usize, printed: &OutputArgs) -> Vec<Table> {
    let people = printed.is_for_people();
    let operators = operators(shown, Some(top).filter(|_| people), people);
    if printed.format() == Format::Csv { vec![operators] } else { vec![summary(shown, people), operators] }
}

/// Whether the operators add up to an iteration, in one sentence.
pub(super) fn verdict(agreement: &Agreement) -> String {
    let Agreement { plain_ms, sum_ms, difference, outside, interval, .. } = *agreement;
    let direction = if difference < 0.0 { "less" } else { "more" };
    let told = format!(
        "the operators add up to {} ms, {} {direction} than the {} ms of an iteration without their timing",
        significant(sum_ms),
        percent(difference.abs()),
        significant(plain_ms)
    );
    if agreement.holds() {
        return format!("{told}: they agree within {}", percent(AGREEMENT));
    }
    let cause = match interval {
        _ if difference < 0.0 && outside > AGREEMENT => {
            format!("{} of an iteration with their timing lies outside of them, in `{OTHER}`", percent(outside))
        }
        None => {
            format!("fewer than {FEWEST_PAIRS} pairs do not tell what timing costs from what else this machine did")
        }
        Some((low, high)) if difference < 0.0 || (low <= 1.0 && high >= 1.0) => {
            format!("but pairs differ from {low:.2} to {high:.2} times, so something else disturbed them; repeat it")
        }
        Some(_) => "waiting for each operator costs that, so times are those of operators one by one".to_owned(),
    };
    format!("{told}, which is beyond {}: {cause}", percent(AGREEMENT))
}

/// What was profiled, and what the profile cost.
fn summary(shown: &Shown<'_>, people: bool) -> Table {
    let Shown { run_id, record, profile, peaks } = shown;
    let configuration = &record.configuration;
    let agreement = Agreement::of(profile);
    let of = |value: fn(&Agreement) -> f64| agreement.as_ref().map(value);
    let interval = agreement.and_then(|agreement| agreement.interval);
    if !people {
        let mut table = Table::new(
            "profile",
            &[
                "run_id",
                "run_uuid",
                "model",
                "mode",
                "platform",
                "device",
                "engine",
                "precision",
                "batch_size",
                "input_shape",
                "threads",
                "pairs",
                "latency_p50_ms",
                "operator_sum_ms",
                "difference",
                "agrees",
                "timed_iteration_ms",
                "outside_operators",
                "overhead_ratio",
                "overhead_ratio_low",
                "overhead_ratio_high",
                "waits_per_iteration",
                "idle_wait_us",
                "peak_gflop_per_second",
                "copy_bandwidth_gb_per_second",
            ],
        );
        table.push([
            (*run_id).into(),
            record.uuid.clone().into(),
            configuration.model.clone().into(),
            configuration.mode.to_string().into(),
            configuration.platform.to_string().into(),
            configuration.device.name.clone().into(),
            configuration.engine.clone().into(),
            configuration.precision.to_string().into(),
            configuration.batch_size.into(),
            configuration.input_shape.clone().into(),
            configuration.threads.into(),
            (profile.pairs.len() as u64).into(),
            of(|agreement| agreement.plain_ms).into(),
            of(|agreement| agreement.sum_ms).into(),
            of(|agreement| agreement.difference).into(),
            agreement.map(|agreement| if agreement.holds() { "yes" } else { "no" }).into(),
            of(|agreement| agreement.timed_ms).into(),
            of(|agreement| agreement.outside).into(),
            of(|agreement| agreement.ratio).into(),
            interval.map(|(low, _)| low).into(),
            interval.map(|(_, high)| high).into(),
            profile.waits.into(),
            profile.idle_wait_nanoseconds.map(|nanoseconds| nanoseconds as f64 / 1e3).into(),
            peaks.gflop_per_second.into(),
            peaks.gb_per_second.into(),
        ]);
        return table;
    }
    let title = format!(
        "Profile of {}: {} by {} on {}, {}, batch {}",
        configuration.model,
        configuration.mode,
        configuration.engine,
        configuration.device.name,
        configuration.precision,
        configuration.batch_size
    );
    let mut table = Table::new(&title, &["what", "value"]);
    let mut say = |what: &str, value: String| table.push([what.into(), value.into()]);
    say("run", run_id.map_or_else(|| "not stored".to_owned(), |id| id.to_string()));
    if let Some(agreement) = agreement {
        let Agreement { plain_ms, sum_ms, difference, timed_ms, ratio, outside, .. } = agreement;
        say("an iteration without timing of operators, median", format!("{} ms", significant(plain_ms)));
        say("the sum of operators", format!("{} ms ({:+.1} %)", significant(sum_ms), 100.0 * difference));
        say("an iteration with their timing", format!("{} ms", significant(timed_ms)));
        say("of that, outside of operators", percent(outside));
        let pairs = profile.pairs.len();
        let cost = match interval {
            Some((low, high)) => {
                format!("{ratio:.3} times as long (95 % interval {low:.3} to {high:.3}, {pairs} pairs)")
            }
            None => format!("{ratio:.3} times as long ({pairs} of the {FEWEST_PAIRS} pairs that an interval needs)"),
        };
        say("with timing an iteration takes", cost);
    }
    if let Some(idle) = profile.idle_wait_nanoseconds {
        let idle = idle as f64 / 1e3;
        let waits = profile.waits;
        say(
            "waits for the device",
            format!("{waits} an iteration; one for an idle device takes {} us", significant(idle)),
        );
    }
    if let Some(cpu) = &profile.cpu {
        say("stacks of the processor", stacks(cpu));
    }
    if let Some(peak) = peaks.gflop_per_second {
        say("peak of the device", format!("{} GFLOP/s", significant(peak)));
    }
    if let Some(bandwidth) = peaks.gb_per_second {
        say("its memory, reading and writing", format!("{} GB/s", significant(bandwidth)));
    }
    table
}

/// How many stacks there are, and how many a second of the processor's time gave beside how many were asked for.
fn stacks(cpu: &CpuSamples) -> String {
    match cpu.seen_hertz() {
        Some(hertz) => format!("{}, {hertz:.0} for each second of its time ({} asked for)", cpu.seen(), cpu.hertz),
        None => format!("{}; {} for each second of its time were asked for", cpu.seen(), cpu.hertz),
    }
}

/// That the processor was looked at much less often than was asked for, in one sentence.
pub(super) fn fewer_stacks(profile: &Profile) -> Option<String> {
    let cpu = profile.cpu.as_ref().filter(|cpu| cpu.fell_short())?;
    Some(format!(
        "the processor gave {}: the system's timer comes no more often, or looks were lost, and a higher `--sampling-rate` \
         sees no more",
        stacks(cpu).replacen(',', " stacks,", 1)
    ))
}

/// Whether the row of a part is that of what lies between its parts: that of a phase always, that of a module only for people,
/// where it took any time. Programs find modules by their paths, with the total of their parts.
fn is_other(path: &str, has_parts: bool, took_any: bool, people: bool) -> bool {
    has_parts && (path.is_empty() || (people && took_any))
}

/// The name of a part in a table.
fn named(path: &str, is_other: bool) -> Cell {
    match path {
        "" if is_other => OTHER.into(),
        path if is_other => format!("{path} {OTHER}").into(),
        path => path.into(),
    }
}

/// Every part by its own time, the longest first; with `top` the others are one row at the end.
pub(super) fn operators(shown: &Shown<'_>, top: Option<usize>, people: bool) -> Table {
    parts_by_time(&shown.profile.parts, shown.profile.pairs.len(), shown.peaks, top, people)
}

/// The operators of a run that is stored, for people: the `top` that took most themselves and the others in one row. What
/// they multiplied and moved is not stored.
pub(in super::super) fn stored_operators(measurement: &Measurement, top: usize) -> Table {
    let times = &measurement.operator_times;
    let places = times.iter().map(|time| split_path(&time.path));
    let kind = |path: &str, has_parts: bool| match has_parts {
        _ if path.is_empty() => PartKind::Phase,
        true => PartKind::Module,
        false => PartKind::Operator,
    };
    let part = |(((phase, path), has_parts), time): (((&str, &str), bool), &OperatorTime)| ProfiledPart {
        phase: phase.to_owned(),
        path: path.to_owned(),
        kind: kind(path, has_parts),
        calls: time.calls,
        total_nanoseconds: time.total_nanoseconds,
        own_nanoseconds: time.own_nanoseconds,
        multiply_adds: 0,
        bytes: 0,
    };
    let parts: Vec<ProfiledPart> = places.clone().zip(have_parts(places)).zip(times).map(part).collect();
    let iterations = usize::try_from(measurement.iterations).unwrap_or(usize::MAX);
    let mut table = parts_by_time(&parts, iterations, Peaks::default(), Some(top), true);
    table.drop_empty(&["phase", "GFLOP/s", "GB/s"]);
    table
}

/// The parts and whether each has parts of its own, those first that took most themselves.
fn by_time(all: &[ProfiledPart]) -> Vec<(&ProfiledPart, bool)> {
    let mut parts: Vec<(&ProfiledPart, bool)> =
        all.iter().zip(have_parts(all.iter().map(ProfiledPart::place))).collect();
    // What took no time itself, such as a list of blocks, by that of its parts.
    parts.sort_by_key(|(part, _)| std::cmp::Reverse((part.own_nanoseconds, part.total_nanoseconds)));
    parts
}

/// What it means that one of the first `top` operators is above its roof, in one sentence.
pub(super) fn beyond_roof(profile: &Profile, peaks: Peaks, top: usize) -> Option<String> {
    let parts = by_time(&profile.parts).into_iter().take(top);
    // What would be shown as 100.0 % is not above it.
    let above = |speed: &Speed| speed.share_of_roof.is_some_and(|share| share >= 1.0005);
    let speeds: Vec<Speed> = parts.map(|(part, _)| Speed::of(part, peaks)).filter(above).collect();
    let is_there = |bound: Bound| speeds.iter().any(|speed| speed.bound == Some(bound));
    let why: Vec<&str> = [
        (Bound::Memory, "operands lay in caches, and the roof is that of the memory"),
        (Bound::Compute, "the peak was measured too low, as while other work ran; a quiet machine measures it anew"),
    ]
    .into_iter()
    .filter(|(bound, _)| is_there(*bound))
    .map(|(_, why)| why)
    .collect();
    (!why.is_empty()).then(|| format!("more than 100 % of a roof: {}", why.join("; or ")))
}

fn parts_by_time(all: &[ProfiledPart], pairs: usize, peaks: Peaks, top: Option<usize>, people: bool) -> Table {
    let sum: u64 = all.iter().map(|part| part.own_nanoseconds).sum();
    let share = |own: u64| if sum == 0 { 0.0 } else { own as f64 / sum as f64 };
    let columns = if people {
        ["phase", "operator", "calls", "total ms", "own ms", "share", "GFLOP/s", "GB/s", "bound", "of roof"]
    } else {
        [
            "phase",
            "operator",
            "calls",
            "total_ms",
            "own_ms",
            "share",
            "gflop_per_second",
            "gb_per_second",
            "bound",
            "share_of_roof",
        ]
    };
    let mut table = Table::new(if people { "Operators, in one iteration" } else { "operators" }, &columns);
    let parts = by_time(all);
    let kept = top.unwrap_or(parts.len()).min(parts.len());
    let (shown, others) = parts.split_at(kept);
    let ratio = |share: Option<f64>| -> Cell { if people { share.map(percent).into() } else { share.into() } };
    for (part, has_parts) in shown {
        let speed = Speed::of(part, peaks);
        let is_other = is_other(&part.path, *has_parts, part.own_nanoseconds > 0, people);
        // What lies between parts has none.
        let total = if is_other { part.own_nanoseconds } else { part.total_nanoseconds };
        table.push([
            part.phase.clone().into(),
            named(&part.path, is_other),
            calls(Some(part.calls as f64 / pairs.max(1) as f64)),
            number(Some(each(total, pairs)), people),
            number(Some(each(part.own_nanoseconds, pairs)), people),
            ratio(Some(share(part.own_nanoseconds))),
            number(speed.gflop_per_second, people),
            number(speed.gb_per_second, people),
            speed.bound.map(|bound| bound.label()).into(),
            ratio(speed.share_of_roof),
        ]);
    }
    let rest: u64 = others.iter().map(|(part, _)| part.own_nanoseconds).sum();
    if people && rest > 0 {
        let nothing = || Cell::Null;
        let count = others.iter().filter(|(part, _)| part.own_nanoseconds > 0).count();
        table.push([
            nothing(),
            counted(count, "other", "others").into(),
            nothing(),
            nothing(),
            number(Some(each(rest, pairs)), people),
            ratio(Some(share(rest))),
            nothing(),
            nothing(),
            nothing(),
            nothing(),
        ]);
    }
    if people && all.iter().all(|part| part.kind != PartKind::Operator || Speed::of(part, peaks).bound.is_none()) {
        table.drop_columns(&["bound", "of roof"]);
    }
    table
}

/// Calls in one iteration, which are whole unless the work differs from one iteration to the next. What nobody calls as a
/// whole has none.
fn calls(value: Option<f64>) -> Cell {
    match value.filter(|value| *value > 0.0) {
        Some(value) if value.fract() == 0.0 => Cell::Integer(value as i64),
        value => value.into(),
    }
}

/// What became of every part, the largest change first; for people the `top` of them, and the others in one row.
pub(super) fn changes(all: &[Change], top: usize, people: bool) -> Table {
    let columns = if people {
        ["phase", "operator", "calls before", "calls after", "ms before", "ms after", "change ms", "change"]
    } else {
        ["phase", "operator", "calls_before", "calls_after", "own_ms_before", "own_ms_after", "change_ms", "change"]
    };
    let mut table = Table::new(if people { "Own time in one iteration" } else { "changes" }, &columns);
    let kept = if people { top.min(all.len()) } else { all.len() };
    let (shown, others) = all.split_at(kept);
    let have_parts = have_parts(all.iter().map(|change| (change.phase.as_str(), change.path.as_str())));
    for (change, has_parts) in shown.iter().zip(have_parts) {
        let ms = |calls: Option<f64>, nanoseconds: f64| calls.map(|_| nanoseconds / 1e6);
        let what = [
            change.phase.clone().into(),
            named(&change.path, is_other(&change.path, has_parts, change.before + change.after > 0.0, people)),
            calls(change.calls_before),
            calls(change.calls_after),
        ];
        let times = [ms(change.calls_before, change.before), ms(change.calls_after, change.after)];
        table.push(what.into_iter().chain(change_cells(times, people)));
    }
    let moved = others.iter().filter(|change| change.before + change.after > 0.0).count();
    if moved > 0 {
        let sum = |of: fn(&Change) -> f64| Some(others.iter().map(of).sum::<f64>() / 1e6);
        let what = [Cell::Null, format!("{moved} others").into(), Cell::Null, Cell::Null];
        table.push(
            what.into_iter().chain(change_cells([sum(|change| change.before), sum(|change| change.after)], people)),
        );
    }
    table
}

/// Both times, the difference and what share of the first that is; `None` for a time of what was not there.
fn change_cells([before, after]: [Option<f64>; 2], people: bool) -> [Cell; 4] {
    let (from, to) = (before.unwrap_or_default(), after.unwrap_or_default());
    let share = (from > 0.0).then(|| to / from - 1.0);
    [
        number(before, people),
        number(after, people),
        if people { format!("{:+.4}", to - from).into() } else { (to - from).into() },
        match share {
            Some(share) if people => format!("{:+.1} %", 100.0 * share).into(),
            share => share.into(),
        },
    ]
}

#[cfg(test)]
mod tests;
