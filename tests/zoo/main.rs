//! The zoo against public implementations (golden files), its loader against files, its training steps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod golden;
mod gradients;
mod sizes;
mod support;
mod training;
mod weights;
