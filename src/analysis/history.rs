//! Histories: steps and drifts in the sequence of a series' runs.

use std::collections::BTreeMap;

use super::metrics::{Cost, MetricChoice, iterations_needed};
use crate::domain::time::time_text;
use crate::domain::{Difference, Evidence, Identity, Judgement, Metric, Series, SeriesRun, SeriesSet, Side, Verdict};
use crate::stats::{ChangePointOptions, find_changes, median};

/// Where series start anew, because a person accepted a change there: run ids by configuration. It holds for all metrics:
/// the runs before are of another program.
pub type Restarts = BTreeMap<i64, Vec<i64>>;

/// One lasting change of a series.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangePoint {
    /// The configuration.
    pub identity: Identity,
    /// The metric.
    pub metric: String,
    /// `step`, or `drift` for a steady change over all points.
    pub is_drift: bool,
    /// The first run of the new level; of a drift the newest run.
    pub run_id: Option<i64>,
    /// When that run started.
    pub started_at: Option<String>,
    /// The commit of the run before, and of the first one after.
    pub commits: (Option<String>, Option<String>),
    /// The level before, in the metric's unit.
    pub before: f64,
    /// The level after.
    pub after: f64,
    /// The change on the cost scale; positive is worse.
    pub effect: f64,
    /// Whether the effect is absolute.
    pub absolute: bool,
    /// The test's p value.
    pub p_value: f64,
    /// The points that were looked at.
    pub points: usize,
    /// What else changed with it.
    pub differences: Vec<Difference>,
}

/// What the histories of a set say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histories {
    /// One judgement a series and metric.
    pub judgements: Vec<Judgement>,
    /// All changes, the largest first.
    pub changes: Vec<ChangePoint>,
}

/// Looks for changes in every series. `alert` is the share that is too much; smaller changes are listed all the same.
pub fn histories(
    set: &SeriesSet,
    choices: &[MetricChoice],
    alert: f64,
    restarts: &Restarts,
    options: &ChangePointOptions,
) -> Histories {
    let mut histories = Histories::default();
    for series in &set.series {
        for choice in choices {
            let measured = |metric: &&&'static Metric| {
                set.metric(&metric.name).is_some_and(|column| series.measured(column).next().is_some())
            };
            let Some(metric) = choice.candidates.iter().find(measured) else { continue };
            let history = History::new(set, series, metric, restarts);
            let changes = history.changes(options);
            histories.judgements.push(history.judgement(&changes, alert, options));
            histories.changes.extend(changes);
        }
    }
    histories.changes.sort_by(|left, right| right.effect.abs().total_cmp(&left.effect.abs()));
    histories.judgements.sort_by(|left, right| {
        let size = |judgement: &Judgement| -judgement.effect.unwrap_or(0.0);
        left.verdict.cmp(&right.verdict).then(size(left).total_cmp(&size(right)))
    });
    histories
}

/// One metric of one series in time.
struct History<'h> {
    set: &'h SeriesSet,
    series: &'h Series,
    metric: &'static Metric,
    /// The points on the cost scale, and in the metric's unit.
    points: Vec<(&'h SeriesRun, f64, f64)>,
    restarted: bool,
}

impl<'h> History<'h> {
    fn new(set: &'h SeriesSet, series: &'h Series, metric: &'static Metric, restarts: &Restarts) -> Self {
        let cost = Cost::of(metric);
        let column = set.metric(&metric.name).unwrap_or_default();
        let needed = iterations_needed(&metric.name);
        let mut points: Vec<(&SeriesRun, f64, f64)> = series
            .measured(column)
            .filter(|(run, _)| run.iterations >= needed)
            .filter_map(|(run, value)| Some((run, cost.scale(value)?, value)))
            .collect();
        let accepted = series.configuration_id.and_then(|id| restarts.get(&id));
        let position = |run: &i64| points.iter().position(|(point, _, _)| point.run_id == Some(*run));
        let start = accepted.and_then(|runs| runs.iter().filter_map(position).max());
        if let Some(start) = start {
            points.drain(..start);
        }
        Self { set, series, metric, points, restarted: start.is_some() }
    }

    fn level(&self, from: usize, to: usize) -> f64 {
        median(&self.points[from..to].iter().map(|(_, _, value)| *value).collect::<Vec<_>>()).unwrap_or(f64::NAN)
    }

    fn changes(&self, options: &ChangePointOptions) -> Vec<ChangePoint> {
        let costs: Vec<f64> = self.points.iter().map(|(_, cost, _)| *cost).collect();
        let found = find_changes(&costs, options);
        let bounds: Vec<usize> =
            std::iter::once(0).chain(found.steps.iter().map(|step| step.index)).chain([costs.len()]).collect();
        let mut changes: Vec<ChangePoint> = found
            .steps
            .iter()
            .zip(bounds.windows(3))
            .map(|(step, bounds)| ChangePoint {
                before: self.level(bounds[0], bounds[1]),
                after: self.level(bounds[1], bounds[2]),
                effect: step.after - step.before,
                p_value: step.p_value,
                ..self.change(step.index - 1, step.index, false)
            })
            .collect();
        if let Some(drift) = found.drift {
            let last = costs.len() - 1;
            changes.push(ChangePoint {
                before: self.points[0].2,
                after: self.points[last].2,
                effect: drift.total,
                p_value: drift.p_value,
                ..self.change(0, last, true)
            });
        }
        let floor = self.metric.floor;
        changes.retain(|change| (change.after - change.before).abs() > floor);
        changes
    }

    fn change(&self, before: usize, after: usize, is_drift: bool) -> ChangePoint {
        let environment = |index: usize| self.set.environments.get(self.points[index].0.environment);
        let commit = |index: usize| environment(index).and_then(|environment| environment.git_commit.clone());
        let run = self.points[after].0;
        ChangePoint {
            identity: self.series.identity.clone(),
            metric: self.metric.name.clone(),
            is_drift,
            run_id: run.run_id,
            started_at: run.started_at_ms.map(time_text),
            commits: (commit(before), commit(after)),
            before: f64::NAN,
            after: f64::NAN,
            effect: 0.0,
            absolute: Cost::of(self.metric).is_absolute(),
            p_value: 1.0,
            points: self.points.len(),
            differences: environment(before)
                .zip(environment(after))
                .map(|(one, other)| super::differences::differences_between(one, other))
                .unwrap_or_default(),
        }
    }

    /// Regressed, if the newest level is worse by the alert or more than a level before it, and nobody accepted that.
    fn judgement(&self, changes: &[ChangePoint], alert: f64, options: &ChangePointOptions) -> Judgement {
        let cost = Cost::of(self.metric);
        let threshold = if cost.is_absolute() { self.metric.floor } else { alert.ln_1p() };
        let steps: Vec<&ChangePoint> = changes.iter().filter(|change| !change.is_drift).collect();
        // What has gone wrong since each level and has not come back: the sum of the steps from there on.
        let since = |index: usize| steps[index..].iter().map(|step| step.effect).sum::<f64>();
        let worst = (0..steps.len()).max_by(|left, right| since(*left).total_cmp(&since(*right)));
        let newest = steps.last();
        let drift = changes.iter().find(|change| change.is_drift);
        let past = |effect: f64| effect.abs() >= threshold - 1e-12;
        let enough = self.points.len() >= 2 * options.min_segment;
        let (verdict, cause, effect) = match (worst, newest, drift) {
            (Some(index), ..) if since(index) > 0.0 && past(since(index)) => {
                (Verdict::Regressed, Some(steps[index]), since(index))
            }
            (_, _, Some(drift)) if drift.effect > 0.0 && past(drift.effect) => {
                (Verdict::Regressed, Some(drift), drift.effect)
            }
            (_, Some(newest), _) if newest.effect < 0.0 && past(newest.effect) => {
                (Verdict::Improved, Some(*newest), newest.effect)
            }
            (_, _, Some(drift)) if past(drift.effect) => (Verdict::Improved, Some(drift), drift.effect),
            (_, newest, drift) if enough => {
                let cause = newest.copied().or(drift);
                (Verdict::Unchanged, cause, cause.map_or(0.0, |change| change.effect))
            }
            _ => (Verdict::Inconclusive, None, 0.0),
        };
        let mut notes = Vec::new();
        if let Some(cause) = cause {
            let commits = match &cause.commits {
                (Some(before), Some(after)) if before != after => {
                    format!(", between commits {} and {}", shortened(before), shortened(after))
                }
                _ => String::new(),
            };
            let what = if cause.is_drift { "drift up to" } else { "step at" };
            let run = cause.run_id.map_or_else(String::new, |run| format!(" run {run}"));
            let time = cause.started_at.as_deref().map(|time| format!(" ({time})")).unwrap_or_default();
            notes.push(format!("{what}{run}{time}{commits}"));
        }
        if self.restarted {
            notes.push("earlier runs were left out: a change was accepted".to_owned());
        }
        let first_after = cause.filter(|cause| !cause.is_drift).and_then(|cause| {
            self.points.iter().position(|(run, _, _)| run.run_id == cause.run_id && run.run_id.is_some())
        });
        let all = self.points.len();
        let (baseline, candidate) = match first_after {
            Some(first) => (Some((0, first)), (first, all)),
            None => (None, (0, all)),
        };
        let side =
            |(from, to): (usize, usize)| Side { runs: to - from, median: (to > from).then(|| self.level(from, to)) };
        let more = (2 * options.min_segment).saturating_sub(all) as u64;
        Judgement {
            identity: self.series.identity.clone(),
            configuration_id: self.series.configuration_id,
            first_candidate_run: cause.and_then(|cause| cause.run_id),
            metric: self.metric.name.clone(),
            verdict,
            evidence: enough.then_some(Evidence::ChangePoints),
            baseline: baseline.map(side).unwrap_or_default(),
            candidate: side(candidate),
            effect: cause.map(|_| effect),
            absolute: cost.is_absolute(),
            effect_low: None,
            effect_high: None,
            p_value: cause.map(|cause| cause.p_value),
            q_value: None,
            smallest_effect: None,
            more_runs: (verdict == Verdict::Inconclusive).then_some(more.max(1)),
            below_floor: false,
            broken: false,
            notes,
            differences: cause.map(|cause| cause.differences.clone()).unwrap_or_default(),
            recent: crate::domain::verdict::newest(self.points.iter().map(|(_, _, value)| *value)),
        }
    }
}

fn shortened(commit: &str) -> String {
    commit.chars().take(10).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::metrics::metrics_of;
    use crate::domain::{Environment, RunGroup, RunStatus, Validity};

    /// A series whose runs have these medians, the environment of each its commit.
    fn set(latencies: &[f64]) -> SeriesSet {
        let mut set = SeriesSet::new(metrics_of(&[MetricChoice::latency()]));
        let width = set.metrics.len();
        let mut series = Series::new(Some(7), Identity::default());
        for (index, latency) in latencies.iter().enumerate() {
            set.environments.push(Environment { git_commit: Some(format!("c{index:02}")), ..Environment::default() });
            let mut values = vec![f64::NAN; width];
            values[0] = *latency;
            let run = SeriesRun {
                run_id: Some(index as i64),
                uuid: None,
                group: RunGroup::Alone,
                started_at_ms: Some(index as i64 * 86_400_000),
                environment: index,
                iterations: 50,
                validity: Validity::Valid,
                status: RunStatus::Ok,
            };
            series.push(run, values);
        }
        set.series.push(series);
        set
    }

    fn judged(latencies: &[f64], restarts: &Restarts) -> (Judgement, Vec<ChangePoint>) {
        let choices = [MetricChoice::latency()];
        let mut found = histories(&set(latencies), &choices, 0.1, restarts, &ChangePointOptions::default());
        (found.judgements.remove(0), found.changes)
    }

    /// Noise of about 1 %, the same each time.
    fn level(height: f64, points: usize) -> Vec<f64> {
        (0..points).map(|index| height * (1.0 + 0.01 * ((index * 7919 % 13) as f64 / 6.0 - 1.0))).collect()
    }

    #[test]
    fn a_step_is_found_between_its_commits() {
        let (judgement, changes) = judged(&[level(100.0, 12), level(120.0, 12)].concat(), &Restarts::new());
        assert_eq!(judgement.verdict, Verdict::Regressed);
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].run_id, Some(12));
        assert_eq!(changes[0].commits, (Some("c11".into()), Some("c12".into())));
        assert!((changes[0].effect - 1.2_f64.ln()).abs() < 0.01);
        assert!(judgement.notes[0].contains("between commits c11 and c12"), "{:?}", judgement.notes);
        assert_eq!((judgement.baseline.runs, judgement.candidate.runs), (12, 12));
    }

    #[test]
    fn a_step_that_came_back_is_no_regression() {
        let there_and_back = [level(100.0, 12), level(120.0, 12), level(100.0, 12)].concat();
        let (judgement, changes) = judged(&there_and_back, &Restarts::new());
        assert_eq!(changes.len(), 2);
        assert_eq!(judgement.verdict, Verdict::Improved);
    }

    #[test]
    fn many_small_steps_add_up() {
        let stairs = [level(100.0, 15), level(108.0, 15), level(116.0, 15)].concat();
        assert_eq!(judged(&stairs, &Restarts::new()).0.verdict, Verdict::Regressed);
        assert_eq!(
            judged(&[level(100.0, 15), level(106.0, 15)].concat(), &Restarts::new()).0.verdict,
            Verdict::Unchanged
        );
    }

    #[test]
    fn an_accepted_change_is_history() {
        let restarts = Restarts::from([(7, vec![3, 12])]);
        let (judgement, changes) = judged(&[level(100.0, 12), level(120.0, 12)].concat(), &restarts);
        assert_eq!((judgement.verdict, changes.len()), (Verdict::Unchanged, 0));
        assert!(judgement.notes[0].contains("accepted"));
    }

    #[test]
    fn flat_noise_is_unchanged_and_few_runs_tell_nothing() {
        assert_eq!(judged(&level(100.0, 40), &Restarts::new()).0.verdict, Verdict::Unchanged);
        let (judgement, _) = judged(&level(100.0, 6), &Restarts::new());
        assert_eq!((judgement.verdict, judgement.more_runs), (Verdict::Inconclusive, Some(4)));
    }
}
