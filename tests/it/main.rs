//! Black-box tests: they run the program as its users do, each in a folder of its own. One file a subject; nearly all
//! measure with the scripted engine, which does no work and whose clock moves as a script says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests may panic and speak")]

mod support;

mod codecs;
mod database;
mod docs;
mod exchange;
mod faults;
mod infer;
mod layers;
mod maintain;
mod prediction;
mod query;
mod run;
