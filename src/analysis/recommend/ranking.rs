//! The order of candidates: measured ones by their numbers; a forecast comes before a measured one only where its whole
//! interval does.

use super::{Candidate, Objective};

/// A number as a cost: less is better. A rate is negative.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// The number.
    pub value: f64,
    /// The better end of its interval; the number itself without one.
    pub best: f64,
    /// The worse end.
    pub worst: f64,
}

/// The cost of a candidate by an objective; `None` where it has no number.
pub fn cost(candidate: &Candidate, objective: Objective) -> Option<Cost> {
    let estimate = candidate.estimate(objective)?;
    let (low, high) = estimate.interval.unwrap_or((estimate.value, estimate.value));
    Some(if objective.larger_is_better() {
        Cost { value: -estimate.value, best: -high, worst: -low }
    } else {
        Cost { value: estimate.value, best: low, worst: high }
    })
}

/// Candidates with a number, the best first. A forecast stands behind every measured one whose interval its own overlaps:
/// what was measured is never outranked by what may be.
pub fn best_first(candidates: &[Candidate], among: Vec<usize>, objective: Objective) -> Vec<usize> {
    let cost_of = |index: usize| {
        cost(&candidates[index], objective).unwrap_or(Cost { value: f64::NAN, best: f64::NAN, worst: f64::NAN })
    };
    let (forecasts, mut ranked): (Vec<usize>, Vec<usize>) =
        among.into_iter().partition(|&index| candidates[index].is_predicted());
    let by = |key: fn(&Cost) -> f64| {
        move |left: &usize, right: &usize| key(&cost_of(*left)).total_cmp(&key(&cost_of(*right)))
    };
    ranked.sort_by(by(|cost| cost.value));
    let mut placed: Vec<(usize, usize)> = forecasts
        .into_iter()
        .map(|index| {
            let worst = cost_of(index).worst;
            let overlapped = ranked.iter().rposition(|&measured| cost_of(measured).best <= worst);
            (overlapped.map_or(0, |place| place + 1), index)
        })
        .collect();
    placed.sort_by(|(place, one), (other_place, other)| {
        place.cmp(other_place).then_with(|| by(|cost| cost.value)(one, other))
    });
    // From the back, so that places in front stay what they are.
    for (place, index) in placed.into_iter().rev() {
        ranked.insert(place, index);
    }
    ranked
}
