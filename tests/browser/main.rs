//! Pages in a real browser: Debian's Chromium without a window, driven over its DevTools protocol. Where there is none the
//! tests say so and pass, unless `BENCHDB_TESTS_NEED_CHROMIUM` is 1.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "tests may panic and speak")]

mod charts;
mod chromium;
#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../it/made.rs"]
mod made;
mod report;
mod serve;
#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../it/served.rs"]
mod served;
#[allow(dead_code, reason = "the other tests use the rest")]
#[path = "../it/support.rs"]
mod support;
