//! A number as the sum of known terms, each stretched by a factor that is fitted: times at peak rates, bytes by arithmetic.

/// Rows of its own that weigh as much as what a group leans on.
const LEANING: f64 = 8.0;

/// No term vanishes altogether.
const LEAST: f64 = 0.01;

/// The stretches under which the terms of each row add up to its number: non-negative least squares on relative errors,
/// reweighted so that twice too much and twice too little count alike. The unknowns are in units of `lean`, which eight
/// rows outweigh.
pub fn stretches<const N: usize>(rows: &[([f64; N], f64)], lean: [f64; N]) -> [f64; N] {
    let scaled: Vec<[f64; N]> =
        rows.iter().map(|(terms, number)| std::array::from_fn(|term| terms[term] * lean[term] / number)).collect();
    let mut answer = [1.0; N];
    for _ in 0..6 {
        let mut gram = [[0.0; N]; N];
        let mut right = [0.0; N];
        for terms in &scaled {
            let guess: f64 = terms.iter().zip(&answer).map(|(term, stretch)| term * stretch).sum();
            let error = (guess.max(1e-6).ln()).abs();
            let weight = 1.0 / (guess.clamp(0.05, 20.0) * error.max(0.1));
            for one in 0..N {
                right[one] += weight * terms[one];
                for other in 0..N {
                    gram[one][other] += weight * terms[one] * terms[other];
                }
            }
        }
        for term in 0..N {
            gram[term][term] += LEANING;
            right[term] += LEANING;
        }
        for _ in 0..100 {
            for term in 0..N {
                let others: f64 = (0..N).filter(|at| *at != term).map(|at| gram[term][at] * answer[at]).sum();
                answer[term] = ((right[term] - others) / gram[term][term]).max(LEAST);
            }
        }
    }
    std::array::from_fn(|term| answer[term] * lean[term])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_outweigh_what_is_leaned_on_and_no_row_leaves_it() {
        let rows: Vec<([f64; 2], f64)> = (1..200)
            .map(|row| ([f64::from(row), f64::from(row * 37 % 101)], f64::from(row * 3 + row * 37 % 101 * 5)))
            .collect();
        let [one, other] = stretches(&rows, [2.0, 4.0]);
        for ([first, second], number) in &rows {
            let sum = one * first + other * second;
            assert!((sum / number).ln().abs() < 0.1, "{one} {other}");
        }
        assert_eq!(stretches(&[], [2.0, 3.0]), [2.0, 3.0]);
    }
}
