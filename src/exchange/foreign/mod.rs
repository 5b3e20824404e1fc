//! Files of other tools, one file a format. What a file does not say stays empty; what identifies a run and cannot be
//! empty is taken from the user's [`ColumnMap`](super::ColumnMap), or the run is refused with the option that says it.
//! docs/importing.md says for each format what is taken.

mod bencher;
mod criterion;
pub(super) mod draft;
mod google_benchmark;
mod hyperfine;
mod json;
mod llama_bench;
mod mlperf;
mod optimum;
mod plain_csv;
mod pytorch;
#[cfg(test)]
mod tests;
mod timm;

pub use bencher::Bencher;
pub use criterion::Criterion;
pub use google_benchmark::GoogleBenchmark;
pub use hyperfine::Hyperfine;
pub use llama_bench::LlamaBench;
pub use mlperf::MlperfInference;
pub use optimum::OptimumBenchmark;
pub use plain_csv::PlainCsv;
pub use pytorch::PytorchBenchmark;
pub use timm::Timm;
