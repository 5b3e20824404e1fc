//! The zoo against public implementations (golden files), its loader against files, its training steps, what it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod generation;
mod golden;
mod gradients;
mod optimize;
mod sizes;
mod support;
mod teaching;
mod training;
mod weights;
mod whisper;
