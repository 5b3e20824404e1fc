//! Elementwise functions between the layers, by name, so that hooks know which one they are given.

use burn::tensor::Tensor;
use burn::tensor::activation::{
    gelu as exact_gelu, relu as plain_relu, sigmoid, silu as plain_silu, tanh as plain_tanh,
};

use super::{hooks, observe};

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x` times the normal distribution function of `x` (Hendrycks and Gimpel 2016).
    Gelu,
    /// [`Gelu`](Self::Gelu) by the tanh approximation.
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, the cheaper approximation of GELU (Hendrycks and Gimpel 2016, section 2).
    QuickGelu,
    /// `x * sigmoid(x)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The function itself, hooks or not.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => plain_relu(x),
            Self::Relu6 => x.clamp(0.0, 6.0),
            Self::Gelu => exact_gelu(x),
            Self::GeluTanh => tanh_approximation(x),
            Self::QuickGelu => x.clone() * sigmoid(x * 1.702),
            Self::Silu => plain_silu(x),
            Self::Tanh => plain_tanh(x),
        }
    }

    /// Its name, as networks call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::Relu6 => "relu6",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu_tanh",
            Self::QuickGelu => "quick_gelu",
            Self::Silu => "silu",
            Self::Tanh => "tanh",
        }
    }

    /// Whether it passes what is positive and stops what is negative.
    pub fn rectifies(self) -> bool {
        matches!(self, Self::Relu | Self::Relu6)
    }

    /// The derivative at every element.
    pub fn slope<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => x.greater_elem(0.0).float(),
            Self::Relu6 => x.clone().greater_elem(0.0).float() * x.lower_elem(6.0).float(),
            Self::Gelu | Self::GeluTanh | Self::QuickGelu | Self::Silu | Self::Tanh => {
                let x = x.inner().autodiff().require_grad();
                let gradients = self.apply(x.clone()).sum().backward();
                // A function of every element alone always has a gradient.
                x.grad(&gradients).unwrap_or_else(|| x.inner().zeros_like())
            }
        }
    }
}

/// The function, or what hooks make of it.
fn activate<const D: usize>(function: Activation, x: Tensor<D>) -> Tensor<D> {
    let Some(hooks) = hooks::current() else {
        return observe::function(function.name(), x, |x| function.apply(x));
    };
    let shape = x.dims();
    let flat = x.reshape([shape[0], shape[1..].iter().product()]);
    hooks.borrow_mut().activation(function, flat).reshape(shape)
}

/// [`Activation::Relu`].
pub fn relu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(Activation::Relu, x)
}

/// [`Activation::Relu6`].
pub fn relu6<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(Activation::Relu6, x)
}

/// [`Activation::Gelu`].
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(Activation::Gelu, x)
}

/// [`Activation::GeluTanh`].
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(Activation::GeluTanh, x)
}

/// [`Activation::QuickGelu`].
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(Activation::QuickGelu, x)
}

/// [`Activation::Silu`].
pub fn silu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(Activation::Silu, x)
}

/// [`Activation::Tanh`].
pub fn tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    activate(Activation::Tanh, x)
}

/// GELU by the tanh approximation (`gelu_new` of transformers; Hendrycks and Gimpel 2016):
/// `x/2 * (1 + tanh(z))` with `z = sqrt(2/pi) * (x + 0.044715 x^3)`.
///
/// Computed as `x * sigmoid(2z)`, which is the same and saves the power that Burn's own function takes.
fn tanh_approximation<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    const TWICE_SQRT_2_OVER_PI: f64 = 2.0 * std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
    let squared = x.clone() * x.clone();
    let slope = squared * (0.044_715 * TWICE_SQRT_2_OVER_PI) + TWICE_SQRT_2_OVER_PI;
    x.clone() * sigmoid(x * slope)
}

#[cfg(test)]
mod tests {
    use burn::tensor::activation::gelu_approximate;
    use burn::tensor::{Device, Distribution};

    use super::*;

    const ALL: [Activation; 7] = [
        Activation::Relu,
        Activation::Relu6,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Silu,
        Activation::Tanh,
    ];

    fn largest<const D: usize>(difference: Tensor<D>) -> f32 {
        difference.abs().max().into_scalar::<f32>()
    }

    fn random() -> Tensor<2> {
        Tensor::random([7, 33], Distribution::Normal(0.0, 4.0), &Device::flex())
    }

    #[test]
    fn gelu_equals_its_definition() {
        let x = random();
        assert!(largest(gelu_tanh(x.clone()) - gelu_approximate(x)) < 2e-6);
    }

    #[test]
    fn slopes_are_what_small_steps_find() {
        let x = random();
        let step = 1e-2;
        for function in ALL {
            let rise = function.apply(x.clone() + step) - function.apply(x.clone() - step);
            let error = (function.slope(x.clone()) - rise / (2.0 * step)).abs();
            // Next to a kink a step of this size sees both sides.
            let near = x.clone().abs().lower_elem(step).bool_or((x.clone() - 6.0).abs().lower_elem(step));
            assert!(largest(error.mask_fill(near, 0.0)) < 2e-3, "{function:?}");
        }
    }
}
