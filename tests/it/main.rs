//! Black-box tests: they run the program as its users do, each in a folder of its own. One file a subject; nearly all
//! measure with the scripted engine, which does no work and whose clock moves as a script says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests may panic and speak")]

mod made;
mod support;

mod analyze;
mod baseline;
mod codecs;
mod compare_to;
mod database;
mod docs;
mod exchange;
mod faults;
mod history;
mod infer;
mod layers;
mod maintain;
mod predict;
mod prediction;
mod query;
mod recommend;
mod regress;
mod run;
mod search;
mod timm;
mod verdict_formats;
