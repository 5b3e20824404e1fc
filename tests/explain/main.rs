//! Attribution methods against Captum (golden files), against their axioms, and on networks of every kind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

mod answers;
mod axioms;
mod golden;
#[cfg(feature = "flex")]
mod kernels;
mod networks;
mod support;
