//! The assignment problem: pairs of least total cost.
//!
//! No crate is used for it: those that are kept up want costs that are totally ordered, and floats are not.

/// Stands in for a cost that is infinite or no number: such a pair is made only where no other is left.
const PROHIBITIVE: f64 = 1e9;

/// Pairs every row with a column of its own (or every column with a row, where there are fewer columns), so that the
/// sum of `cost(row, column)` is least. Pairs `(row, column)`, by ascending row; empty where either side is.
///
/// Shortest augmenting paths (Jonker and Volgenant, "A shortest augmenting path algorithm for dense and sparse linear
/// assignment problems", 1987; the rectangular form is that of Crouse, "On implementing 2D rectangular assignment
/// algorithms", 2016): n steps of n * m for the shorter side n and the longer one m.
pub(super) fn assign(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    if rows > columns {
        let transposed = assign_rows(columns, rows, |column, row| cost(row, column));
        let mut pairs: Vec<(usize, usize)> = transposed.into_iter().map(|(column, row)| (row, column)).collect();
        pairs.sort_unstable();
        pairs
    } else {
        assign_rows(rows, columns, cost)
    }
}

/// [`assign`] for no more rows than columns.
fn assign_rows(rows: usize, columns: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<(usize, usize)> {
    let cost = |row, column| {
        let cost = cost(row, column);
        if cost.is_finite() { cost } else { PROHIBITIVE }
    };
    // The dual variables: a pair costs `cost - row_price - column_price`, which is never below zero, and zero for the
    // pairs that are made.
    let mut row_prices = vec![0.0; rows];
    let mut column_prices = vec![0.0; columns];
    let mut column_of: Vec<Option<usize>> = vec![None; rows];
    let mut row_of: Vec<Option<usize>> = vec![None; columns];
    for start in 0..rows {
        // Dijkstra's algorithm from this row to the nearest column that is free.
        let mut distances = vec![f64::INFINITY; columns];
        let mut previous_rows = vec![start; columns];
        let mut reached_columns = vec![false; columns];
        let mut reached_rows = vec![start];
        let mut row = start;
        let mut distance = 0.0;
        let mut sink = None;
        while sink.is_none() {
            let mut nearest = None;
            let mut least = f64::INFINITY;
            for column in (0..columns).filter(|&column| !reached_columns[column]) {
                let through = distance + cost(row, column) - row_prices[row] - column_prices[column];
                if through < distances[column] {
                    distances[column] = through;
                    previous_rows[column] = row;
                }
                // Among equals, a free column ends the search.
                if distances[column] < least || (distances[column] == least && row_of[column].is_none()) {
                    least = distances[column];
                    nearest = Some(column);
                }
            }
            // There is one: rows that are not more than the columns leave a free column, and costs are finite.
            let Some(column) = nearest else { break };
            distance = least;
            reached_columns[column] = true;
            match row_of[column] {
                Some(next) => {
                    reached_rows.push(next);
                    row = next;
                }
                None => sink = Some(column),
            }
        }
        for &reached in &reached_rows {
            let gone = column_of[reached].map_or(0.0, |column| distances[column]);
            row_prices[reached] += distance - gone;
        }
        for column in (0..columns).filter(|&column| reached_columns[column]) {
            column_prices[column] -= distance - distances[column];
        }
        // Every row on the way moves on to the column by which it was left.
        let mut next = sink;
        while let Some(column) = next {
            let row = previous_rows[column];
            row_of[column] = Some(row);
            next = column_of[row].replace(column);
        }
    }
    column_of.into_iter().enumerate().filter_map(|(row, column)| Some((row, column?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo::rule;

    fn total(pairs: &[(usize, usize)], cost: impl Fn(usize, usize) -> f64) -> f64 {
        pairs.iter().map(|&(row, column)| cost(row, column)).sum()
    }

    /// The least total of all ways to give the rows from `row` on a column each that `taken` leaves.
    fn brute_force(row: usize, rows: usize, taken: &mut [bool], cost: &dyn Fn(usize, usize) -> f64) -> f64 {
        if row == rows {
            return 0.0;
        }
        let mut least = f64::INFINITY;
        for column in 0..taken.len() {
            if !taken[column] {
                taken[column] = true;
                least = least.min(cost(row, column) + brute_force(row + 1, rows, taken, cost));
                taken[column] = false;
            }
        }
        least
    }

    #[track_caller]
    fn assert_valid(pairs: &[(usize, usize)], rows: usize, columns: usize) {
        assert_eq!(pairs.len(), rows.min(columns));
        assert!(pairs.windows(2).all(|pair| pair[0].0 < pair[1].0), "{pairs:?}");
        let mut found: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), pairs.len(), "{pairs:?}");
        assert!(pairs.iter().all(|&(row, column)| row < rows && column < columns));
    }

    #[test]
    fn totals_equal_brute_force() {
        for seed in 0..60 {
            for (rows, columns) in [(1, 1), (1, 5), (2, 2), (3, 6), (4, 4), (5, 7), (6, 6), (6, 3)] {
                let signed = rule::floats("cost", rows * columns, seed);
                // Every other time a few levels only, so that there are ties.
                let costs: Vec<f64> = signed
                    .iter()
                    .map(|&cost| if seed % 2 == 0 { f64::from(cost) } else { f64::from((2.0 * cost).round()) })
                    .collect();
                let cost = |row: usize, column: usize| costs[row * columns + column];
                let pairs = assign(rows, columns, cost);
                assert_valid(&pairs, rows, columns);
                let least = if rows <= columns {
                    brute_force(0, rows, &mut vec![false; columns], &cost)
                } else {
                    brute_force(0, columns, &mut vec![false; rows], &|column, row| cost(row, column))
                };
                assert!((total(&pairs, cost) - least).abs() < 1e-9, "seed {seed}, {rows} x {columns}");
            }
        }
    }

    // The least total of (row + 1) * (column + 1) on a square pairs the largest with the smallest.
    #[test]
    fn a_large_product_is_paired_in_reverse() {
        let size = 100;
        let pairs = assign(size, size, |row, column| ((row + 1) * (column + 1)) as f64);
        assert!(pairs.iter().all(|&(row, column)| row + column + 1 == size));
    }

    #[test]
    fn prohibited_pairs_are_the_last_resort() {
        let costs = [[f64::NAN, 5.0], [1.0, f64::INFINITY]];
        assert_eq!(assign(2, 2, |row, column| costs[row][column]), [(0, 1), (1, 0)]);
        assert_valid(&assign(3, 4, |_, _| f64::NAN), 3, 4);
    }

    #[test]
    fn nothing_is_paired_with_nothing() {
        assert!(assign(0, 3, |_, _| 0.0).is_empty());
        assert!(assign(3, 0, |_, _| 0.0).is_empty());
    }
}
