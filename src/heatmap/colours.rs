//! Colours in which equal steps of a value look like equal steps.

use image::Rgb;

/// How values become colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Palette {
    /// From 0 to 1: magma, of even perceptual steps (van der Walt and Smith, 2015), from cream (nothing) to purple
    /// (much), so that more is darker in both palettes. Its darkest part is left out: it would look like shadows.
    Sequential,
    /// From -1 to 1: blue (against), white (nothing), red (for). Both arms are straight lines in CIELAB with the same
    /// lightness and the same colourfulness at the same distance from zero.
    Diverging,
}

/// What stands for a value that is no number; in neither palette.
pub(super) const MISSING: Rgb<u8> = Rgb([255, 0, 255]);

/// How far the sequential palette goes from magma's light end to its dark one.
const PURPLE: f64 = 0.82;

/// Lightness of zero in the diverging palette.
const WHITE: f64 = 97.0;

/// CIELAB of its ends: lightness 38, chroma 56, hues 28 and 285 degrees. No stronger pair of one lightness and chroma at
/// these hues is inside sRGB all along the way.
const POSITIVE: [f64; 3] = [38.0, 49.45, 26.29];
const NEGATIVE: [f64; 3] = [38.0, 14.49, -54.09];

impl Palette {
    /// The palette of a map.
    pub fn of(signed: bool) -> Self {
        if signed { Self::Diverging } else { Self::Sequential }
    }

    /// The colour of a share: 0 to 1, or -1 to 1 where the palette diverges; what is outside is taken as the end.
    /// Magenta where it is no number.
    pub fn colour(self, share: f32) -> Rgb<u8> {
        if share.is_nan() {
            return MISSING;
        }
        let share = f64::from(share);
        match self {
            Self::Sequential => Rgb(colorous::MAGMA.eval_continuous(1.0 - PURPLE * share.clamp(0.0, 1.0)).into_array()),
            Self::Diverging => {
                let [lightness, a, b] = if share < 0.0 { NEGATIVE } else { POSITIVE };
                let strength = share.abs().min(1.0);
                srgb([WHITE + (lightness - WHITE) * strength, a * strength, b * strength])
            }
        }
    }
}

/// CIELAB (D65) in sRGB, by CIE 15 and IEC 61966-2-1.
fn srgb([lightness, a, b]: [f64; 3]) -> Rgb<u8> {
    const DELTA: f64 = 6.0 / 29.0;
    let inverse = |t: f64| if t > DELTA { t.powi(3) } else { 3.0 * DELTA * DELTA * (t - 4.0 / 29.0) };
    let middle = (lightness + 16.0) / 116.0;
    let x = 0.950_47 * inverse(middle + a / 500.0);
    let y = inverse(middle);
    let z = 1.088_83 * inverse(middle - b / 200.0);
    let linear = [
        3.240_454_2 * x - 1.537_138_5 * y - 0.498_531_4 * z,
        -0.969_266_0 * x + 1.876_010_8 * y + 0.041_556_0 * z,
        0.055_643_4 * x - 0.204_025_9 * y + 1.057_225_2 * z,
    ];
    Rgb(linear.map(|value| {
        let encoded = if value <= 0.003_130_8 { 12.92 * value } else { 1.055 * value.powf(1.0 / 2.4) - 0.055 };
        (encoded.clamp(0.0, 1.0) * 255.0).round() as u8
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// sRGB in CIELAB: the other way round, by the same standards.
    fn lab(Rgb(colour): Rgb<u8>) -> [f64; 3] {
        let [red, green, blue] = colour.map(|value| {
            let value = f64::from(value) / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        let x = (0.412_456_4 * red + 0.357_576_1 * green + 0.180_437_5 * blue) / 0.950_47;
        let y = 0.212_672_9 * red + 0.715_152_2 * green + 0.072_175_0 * blue;
        let z = (0.019_333_9 * red + 0.119_192_0 * green + 0.950_304_1 * blue) / 1.088_83;
        let f = |t: f64| if t > 216.0 / 24389.0 { t.cbrt() } else { (24389.0 / 27.0 * t + 16.0) / 116.0 };
        let [x, y, z] = [x, y, z].map(f);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    /// Distances (CIE76) between neighbours of evenly spaced shares, far enough apart for the rounding to 8 bits to be
    /// small.
    fn steps(palette: Palette, from: f32, to: f32) -> Vec<f64> {
        let colours: Vec<[f64; 3]> =
            (0..=8).map(|step| lab(palette.colour(from + (to - from) * step as f32 / 8.0))).collect();
        let distance = |pair: &[[f64; 3]]| {
            pair[0].iter().zip(pair[1]).map(|(one, other)| (one - other).powi(2)).sum::<f64>().sqrt()
        };
        colours.windows(2).map(distance).collect()
    }

    fn evenness(steps: &[f64]) -> f64 {
        let most = steps.iter().copied().fold(0.0, f64::max);
        most / steps.iter().copied().fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn equal_steps_of_the_diverging_palette_look_equal_on_both_sides() {
        let all = [steps(Palette::Diverging, -1.0, 0.0), steps(Palette::Diverging, 0.0, 1.0)].concat();
        assert!(evenness(&all) < 1.2, "{all:?}");
        for share in [0.1, 0.5, 1.0] {
            let [with, against] = [share, -share].map(|share| lab(Palette::Diverging.colour(share)));
            assert!((with[0] - against[0]).abs() < 1.0, "{share}: as light as each other");
        }
        let [lightness, a, b] = lab(Palette::Diverging.colour(0.0));
        assert!((lightness - WHITE).abs() < 0.5 && a.abs() < 0.5 && b.abs() < 0.5);
        assert_eq!(Palette::Diverging.colour(-0.0), Palette::Diverging.colour(0.0));
    }

    #[test]
    fn the_ends_of_the_diverging_palette_are_red_and_blue() {
        // Inside sRGB: nothing is cut off on the way back.
        for (share, expected) in [(1.0, POSITIVE), (-1.0, NEGATIVE)] {
            let found = lab(Palette::Diverging.colour(share));
            assert!(found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1.0), "{found:?}");
        }
        assert_eq!(Palette::Diverging.colour(7.0), Palette::Diverging.colour(1.0));
    }

    #[test]
    fn the_sequential_palette_only_gets_darker() {
        let lightness: Vec<f64> = (0..=16).map(|step| lab(Palette::Sequential.colour(step as f32 / 16.0))[0]).collect();
        assert!(lightness.is_sorted_by(|one, next| one > next), "{lightness:?}");
        // Magma is even in CAM02-UCS, and nearly so in CIELAB.
        let lightness_steps: Vec<f64> = lightness.windows(2).map(|pair| pair[0] - pair[1]).collect();
        assert!(evenness(&lightness_steps) < 1.6, "{lightness_steps:?}");
        assert_eq!(Palette::Sequential.colour(-3.0), Palette::Sequential.colour(0.0));
    }

    #[test]
    fn what_is_no_number_has_a_colour_of_its_own() {
        for palette in [Palette::Sequential, Palette::Diverging] {
            assert_eq!(palette.colour(f32::NAN), MISSING);
            assert!((-100..=100).all(|share| palette.colour(share as f32 / 100.0) != MISSING));
        }
    }
}
