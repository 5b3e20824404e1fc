//! An attribution as a map of one number for every place, with the range in which it is shown.

/// The share of the places at which the colours end: one in a hundred may be cut off, or one pixel that is ten times as
/// strong as all others would pale these. The same is customary for gradients (Smilkov et al., "SmoothGrad", 2017).
pub const SHOWN_SHARE: f64 = 0.99;

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
        let bound = bound(&values);
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

    /// Whether any place is beyond the [bound](Self::bound).
    pub fn is_clipped(&self) -> bool {
        self.values.iter().any(|value| value.abs() > self.bound)
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

/// The 99th percentile of the magnitudes, by rank; places with nothing, and with no number, do not count: of a map that
/// is nearly empty everything is shown.
fn bound(values: &[f32]) -> f32 {
    let mut magnitudes: Vec<f32> =
        values.iter().map(|value| value.abs()).filter(|value| value.is_finite() && *value > 0.0).collect();
    magnitudes.sort_by(f32::total_cmp);
    let rank = (magnitudes.len() as f64 * SHOWN_SHARE).ceil() as usize;
    rank.checked_sub(1).and_then(|place| magnitudes.get(place)).copied().unwrap_or(0.0)
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
        let mut values = vec![-1.0; 199];
        values.push(100.0);
        assert_eq!(bound(&values), 1.0);
        // Of so few places each counts.
        assert_eq!(bound(&[1.0, 2.0, 100.0]), 100.0);
        // Nearly all is zero: what is not must not be cut off.
        let mut values = vec![0.0; 9_990];
        values.extend([1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(bound(&values), 5.0);
        assert_eq!([bound(&[]), bound(&[0.0; 4]), bound(&[f32::NAN, 2.0, f32::INFINITY])], [0.0, 0.0, 2.0]);
    }

    #[test]
    fn what_is_cut_off_is_known() {
        let ramp: Vec<f32> = (0..200).map(|value| value as f32).collect();
        let map = HeatMap::new(&[1, 200], &ramp).unwrap();
        assert!(map.is_clipped() && map.share(199, 0) == 1.0, "{}", map.bound());
        assert!(!HeatMap::new(&[2, 2], &[1.0, -2.0, 0.0, f32::NAN]).unwrap().is_clipped());
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
