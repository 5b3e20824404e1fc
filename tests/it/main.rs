//! Black-box tests: they run the program as its users do, each in a folder of its own. One file a subject; most
//! measure with the scripted engine, which does no work and whose clock moves as a script says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests may panic and speak")]

mod made;
mod served;
mod support;

mod analyze;
mod baseline;
mod codecs;
mod compare_to;
mod database;
mod datasets;
mod docs;
mod exchange;
mod exec;
mod explain;
mod explanations;
mod external;
mod faults;
mod generation;
mod history;
mod infer;
mod layers;
mod maintain;
#[cfg(feature = "tract")]
mod onnx;
#[cfg(feature = "tract")]
mod onnx_refusals;
mod optimize;
mod plan;
mod precision;
mod predict;
mod prediction;
mod probe;
mod profile;
mod query;
mod recommend;
mod regress;
mod report;
mod report_for_people;
mod run;
mod search;
mod serve;
mod serve_access;
mod telemetry;
mod timm;
mod variants;
mod verdict_formats;
mod visualize;

#[cfg(not(feature = "tract"))]
#[test]
fn onnx_files_are_tested_in_builds_with_tract() {
    support::skip("this build has no tract, so no ONNX file was run: cargo test --features tract");
}
