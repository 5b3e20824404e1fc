//! Random numbers that are the same on every engine: drawn on the host.

use std::f64::consts::TAU;

use burn::tensor::{Device, Tensor, TensorData};

/// Draws of one method.
pub(super) struct Noise(fastrand::Rng);

impl Noise {
    pub fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.0.f64()
    }

    /// Uniform in 0..count.
    pub fn choice(&mut self, count: usize) -> usize {
        self.0.usize(0..count.max(1))
    }

    /// `[rows, features]`, normal with mean 0 and this standard deviation (Box and Muller 1958).
    pub fn normal(&mut self, rows: usize, features: usize, standard_deviation: f64, device: &Device) -> Tensor<2> {
        let count = rows * features;
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            let radius = standard_deviation * (-2.0 * (1.0 - self.0.f64()).ln()).sqrt();
            let (sine, cosine) = (TAU * self.0.f64()).sin_cos();
            values.push((radius * cosine) as f32);
            values.push((radius * sine) as f32);
        }
        values.truncate(count);
        Tensor::from_data(TensorData::new(values, [rows, features]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_draws_have_their_moments_and_their_seed() {
        let device = Device::flex();
        let draw = |seed| -> Vec<f32> { Noise::new(seed).normal(3, 33_333, 2.0, &device).try_to_vec_as().unwrap() };
        let values = draw(1);
        let count = values.len() as f64;
        let moment = |power: i32| values.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>() / count;
        // Five standard errors: 2 / sqrt(n), and 4 sqrt(2 / n).
        assert!(moment(1).abs() < 10.0 / count.sqrt());
        assert!((moment(2) - 4.0).abs() < 5.0 * 4.0 * (2.0 / count).sqrt());
        assert_eq!(values, draw(1));
        assert_ne!(values, draw(2));
    }
}
