//! An attribution as a map of one number for every place, with the range in which it is shown.

/// The share of the sum of all magnitudes that the largest values may hold and yet be cut off: with one pixel that is
/// ten times as strong as all others, these would otherwise all look alike. Captum's `outlier_perc` of 2 is the same.
pub const CLIPPED_SHARE: f64 = 0.02;

/// One number for every place of a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatMap {
    width: usize,
    height: usize,
    /// Row by row.
    values: Vec<f32>,
    bound: f32,
}

impl HeatMap {
    /// The attribution of one sample of this shape: `[channels, height, width]`, whose channels are added up, as in
    /// Captum's `visualize_image_attr`; or `[height, width]`. `None` where it has another number of dimensions, no
    /// element, or another number of values than its shape says.
    pub fn new(shape: &[usize], values: &[f32]) -> Option<Self> {
        let (channels, height, width) = match *shape {
            [channels, height, width] => (channels, height, width),
            [height, width] => (1, height, width),
            _ => return None,
        };
        let places = height * width;
        if places == 0 || channels == 0 || values.len() != channels * places {
            return None;
        }
        let sum = |place| values.iter().skip(place).step_by(places).map(|value| f64::from(*value)).sum::<f64>() as f32;
        let values: Vec<f32> = (0..places).map(sum).collect();
        let bound = bound(&values, CLIPPED_SHARE);
        Some(Self { width, height, values, bound })
    }

    /// A spectrogram's map `[bins, frames]` has its lowest frequency first, and a picture its highest row.
    #[must_use]
    pub fn upside_down(mut self) -> Self {
        let rows: Vec<Vec<f32>> = self.values.chunks_exact(self.width).rev().map(<[f32]>::to_vec).collect();
        self.values = rows.concat();
        self
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Whether some places speak against what is explained: these maps diverge about zero.
    pub fn is_signed(&self) -> bool {
        self.values.iter().any(|value| *value < 0.0)
    }

    /// The magnitude at which the colours end; what is beyond it is shown as if it were there. 0 where there is nothing
    /// to show.
    pub fn bound(&self) -> f32 {
        self.bound
    }

    /// The value at a place, as a share of the [bound](Self::bound): -1 to 1; NaN where the attribution is none.
    pub fn share(&self, x: usize, y: usize) -> f32 {
        self.scaled(self.values[y * self.width + x])
    }

    fn scaled(&self, value: f32) -> f32 {
        if self.bound > 0.0 { (value / self.bound).clamp(-1.0, 1.0) } else { value * 0.0 }
    }

    /// As [`share`](Self::share), between the places: bilinear, the centres of the corner places held to the edges.
    /// `x` and `y` go from 0 to 1 over the whole map.
    pub fn share_between(&self, x: f64, y: f64) -> f32 {
        let axis = |at: f64, length: usize| {
            let at = (at * length as f64 - 0.5).clamp(0.0, (length - 1) as f64);
            let low = at.floor();
            (low as usize, (low as usize + 1).min(length - 1), (at - low) as f32)
        };
        let (left, right, across) = axis(x, self.width);
        let (top, bottom, down) = axis(y, self.height);
        let row = |y: usize| {
            let [left, right] = [left, right].map(|x| self.values[y * self.width + x]);
            left + (right - left) * across
        };
        self.scaled(row(top) + (row(bottom) - row(top)) * down)
    }
}

/// The smallest magnitude such that those above it hold at most `clipped` of the sum of all; values that are no numbers
/// do not count.
fn bound(values: &[f32], clipped: f64) -> f32 {
    let mut magnitudes: Vec<f32> = values.iter().map(|value| value.abs()).filter(|value| value.is_finite()).collect();
    magnitudes.sort_by(f32::total_cmp);
    let kept = magnitudes.iter().map(|value| f64::from(*value)).sum::<f64>() * (1.0 - clipped);
    let mut sum = 0.0;
    for magnitude in &magnitudes {
        sum += f64::from(*magnitude);
        if sum >= kept {
            return *magnitude;
        }
    }
    // Rounding.
    magnitudes.last().copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_added_up() {
        let map = HeatMap::new(&[3, 1, 2], &[1.0, 2.0, 10.0, -20.0, 100.0, 200.0]).unwrap();
        assert_eq!(map.values, [111.0, 182.0]);
        assert!(!map.is_signed());
        assert_eq!(HeatMap::new(&[2, 3], &[1.0; 6]).unwrap().width(), 3);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        assert_eq!(HeatMap::new(&[7], &[0.0; 7]), None);
        assert_eq!(HeatMap::new(&[1, 2, 2], &[0.0; 5]), None);
        assert_eq!(HeatMap::new(&[0, 2, 2], &[]), None);
        assert_eq!(HeatMap::new(&[1, 0, 2], &[]), None);
    }

    #[test]
    fn one_wild_value_does_not_pale_the_others() {
        let mut values = vec![1.0; 99];
        values.push(2.5);
        // The largest holds 2.5 of 101.5, which is more than two per cent: it is kept.
        assert_eq!(bound(&values, 0.02), 2.5);
        // Of 10 000 values one is a hundred times as strong, and holds one per cent.
        let mut values = vec![-1.0; 9_999];
        values.push(100.0);
        assert_eq!(bound(&values, 0.02), 1.0);
        // Nearly all is zero: what is not must not be cut off.
        let mut values = vec![0.0; 9_990];
        values.extend([1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(bound(&values, 0.02), 5.0);
        assert_eq!((bound(&[], 0.02), bound(&[0.0; 4], 0.02), bound(&[f32::NAN, 2.0], 0.02)), (0.0, 0.0, 2.0));
    }

    #[test]
    fn shares_go_from_minus_one_to_one() {
        let map = HeatMap::new(&[1, 1, 3], &[-4.0, 2.0, f32::NAN]).unwrap();
        assert_eq!((map.bound(), map.share(0, 0), map.share(1, 0)), (4.0, -1.0, 0.5));
        assert!(map.share(2, 0).is_nan() && map.is_signed());
        let nothing = HeatMap::new(&[2, 2], &[0.0; 4]).unwrap();
        assert_eq!((nothing.bound(), nothing.share(1, 1)), (0.0, 0.0));
    }

    #[test]
    fn between_places_it_is_linear_and_flat_at_the_edges() {
        let map = HeatMap::new(&[2, 2], &[0.0, 1.0, 2.0, 3.0]).unwrap();
        let at = |x: f64, y: f64| map.share_between(x, y) * 3.0;
        assert_eq!([at(0.25, 0.25), at(0.75, 0.25), at(0.25, 0.75), at(0.75, 0.75)], [0.0, 1.0, 2.0, 3.0]);
        assert!((at(0.5, 0.5) - 1.5).abs() < 1e-6 && (at(0.5, 0.25) - 0.5).abs() < 1e-6);
        assert_eq!([at(0.0, 0.0), at(1.0, 1.0)], [0.0, 3.0]);
    }

    #[test]
    fn a_spectrogram_stands_on_its_lowest_frequency() {
        let map = HeatMap::new(&[2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap().upside_down();
        assert_eq!(map.values, [3.0, 4.0, 1.0, 2.0]);
    }
}
