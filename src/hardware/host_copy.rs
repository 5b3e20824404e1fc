//! How fast the host's memory is copied: by all threads at once, each its own part, as the copy of McCalpin's STREAM (1995,
//! "Memory Bandwidth and Machine Balance in Current High Performance Computers").

/// A copy that can be repeated.
#[derive(Debug)]
pub struct HostCopy {
    source: Vec<u64>,
    target: Vec<u64>,
    /// Numbers of each thread.
    part: usize,
}

impl HostCopy {
    /// Memory for copies of `bytes` (in whole numbers of eight) by `threads`. Each thread fills its part: where memory
    /// belongs to processors, it lies with those that touch it first.
    pub fn new(bytes: usize, threads: usize) -> Self {
        let count = (bytes / 8).max(1);
        let part = count.div_ceil(threads.max(1));
        let (mut source, target) = (vec![0_u64; count], vec![0; count]);
        std::thread::scope(|scope| {
            for (number, piece) in (1..).zip(source.chunks_mut(part)) {
                scope.spawn(move || piece.fill(number));
            }
        });
        Self { source, target, part }
    }

    /// Copies all of it once.
    pub fn run(&mut self) {
        let pairs = self.target.chunks_mut(self.part).zip(self.source.chunks(self.part));
        std::thread::scope(|scope| {
            for (target, source) in pairs {
                scope.spawn(move || target.copy_from_slice(source));
            }
        });
        std::hint::black_box(&self.target);
    }

    /// Whether everything arrived.
    pub fn is_whole(&self) -> bool {
        self.target == self.source && !self.source.contains(&0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_arrives_however_many_copy() {
        for (bytes, threads) in [(8, 1), (8_000, 3), (80_008, 7), (24, 16), (0, 0)] {
            let mut copy = HostCopy::new(bytes, threads);
            assert!(!copy.is_whole(), "nothing was copied yet");
            copy.run();
            assert!(copy.is_whole(), "{bytes} bytes by {threads}");
            assert_eq!(copy.source.len(), (bytes / 8).max(1));
        }
    }
}
