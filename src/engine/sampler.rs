//! Stacks of calls of this whole process, seen at regular steps of its processor time.

use crate::domain::profile::CpuStack;

/// Looks at all threads for as long as it lives.
#[cfg(unix)]
pub(super) struct Sampler {
    guard: pprof::ProfilerGuard<'static>,
}

/// There is none.
#[cfg(not(unix))]
pub(super) enum Sampler {}

#[cfg(unix)]
impl Sampler {
    /// Libraries whose own unwinding is not safe to be looked at in the middle; pprof leaves out stacks that end there.
    const NOT_LOOKED_INTO: [&'static str; 4] = ["libc", "libgcc", "pthread", "vdso"];

    /// Begins to look, so many times for each second of processor time.
    ///
    /// # Errors
    /// Why it cannot, in words.
    pub fn start(hertz: u32) -> Result<Self, String> {
        let frequency = i32::try_from(hertz).unwrap_or(i32::MAX);
        let builder = pprof::ProfilerGuardBuilder::default().frequency(frequency);
        #[cfg(any(
            target_arch = "x86_64",
            target_arch = "aarch64",
            target_arch = "riscv64",
            target_arch = "loongarch64"
        ))]
        let builder = builder.blocklist(&Self::NOT_LOOKED_INTO);
        match builder.build() {
            Ok(guard) => Ok(Self { guard }),
            Err(error) => Err(format!("the processor's work cannot be sampled: {error}")),
        }
    }

    /// What was seen, below `about`.
    ///
    /// # Errors
    /// Why nothing can be told, in words.
    pub fn finish(self, about: &str) -> Result<Vec<CpuStack>, String> {
        let report = self.guard.report().build();
        drop(self.guard);
        let report = report.map_err(|error| format!("what was sampled cannot be read: {error}"))?;
        let mut stacks: Vec<CpuStack> = report
            .data
            .iter()
            .filter_map(|(stack, count)| {
                let inner = stack.frames.iter().rev().flat_map(|symbols| symbols.iter().rev());
                let functions = inner.map(|symbol| plain(&symbol.name()));
                let frames = [about.to_owned(), stack.thread_name_or_id()].into_iter().chain(functions).collect();
                let count = u64::try_from(*count).ok().filter(|&count| count > 0)?;
                Some(CpuStack { frames, count })
            })
            .collect();
        // A map has no order, files have.
        stacks.sort();
        Ok(stacks)
    }
}

#[cfg(not(unix))]
impl Sampler {
    /// # Errors
    /// Always.
    pub fn start(_: u32) -> Result<Self, String> {
        Err("the processor's work is sampled on Unix alone: there is no `samples.svg`".to_owned())
    }

    /// # Errors
    /// Never: there is no sampler.
    pub fn finish(self, _: &str) -> Result<Vec<CpuStack>, String> {
        match self {}
    }
}

/// A function's name without the hash that the compiler appends.
#[cfg(unix)]
fn plain(name: &str) -> String {
    let is_hash =
        |text: &str| text.len() == 17 && text.starts_with('h') && text[1..].chars().all(|c| c.is_ascii_hexdigit());
    match name.rsplit_once("::") {
        Some((path, last)) if is_hash(last) => path.to_owned(),
        _ => name.to_owned(),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn hashes_go_and_names_stay() {
        assert_eq!(plain("burn_flex::ops::matmul::h0123456789abcdef"), "burn_flex::ops::matmul");
        for name in ["main", "a::hello", "a::h0123456789abcdeg"] {
            assert_eq!(plain(name), name);
        }
    }
}
