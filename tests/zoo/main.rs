//! The zoo against public implementations (golden files), its loader against files, its training steps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod golden;
mod optimize;
mod support;
mod teaching;
mod training;
mod weights;
mod whisper;
