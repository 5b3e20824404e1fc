//! Parallel workers on the host's processor: samples are split over networks of their own, each on its share of the
//! threads.
//!
//! Small networks leave threads idle between their many short operations. Workers need no such meetings: each explains
//! samples of its own from beginning to end. The weights are shared, activations are not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::error::ExplainError;
use super::method::{Attribution, Method, explain};
use super::subject::{Prepared, Subject};
use super::target::Target;
use crate::domain::model::HostTensor;
use crate::domain::text::panic_text;
use crate::zoo::Network;

/// What the stacks of threads of our own take at most: that of a program's first thread. Graphs are walked recursively.
const STACK_BYTES: usize = 8 << 20;

/// Samples, and what is explained of them.
#[derive(Clone, Copy, Debug)]
pub struct Work<'a> {
    /// What the network reads; the first dimension of each is the batch.
    pub inputs: &'a [HostTensor],
    /// One for every sample, or one for all, or none for the network's own answers.
    pub targets: &'a [Target],
    /// Of the shape of a batch of inputs, for methods that compare with those that are given.
    pub baselines: Option<&'a HostTensor>,
    /// The most rows of one pass.
    pub inner_batch: usize,
}

/// A network, and the threads that explain with it.
struct Worker {
    network: Box<dyn Network>,
    /// `None`: those of whoever asks.
    pool: Option<ThreadPool>,
}

/// One network or several of the same weights, which explain side by side.
pub struct Crew {
    /// At least one.
    first: Worker,
    others: Vec<Worker>,
    /// All threads together, for work that cannot be split.
    whole: Option<ThreadPool>,
}

impl Crew {
    /// One worker on the threads of whoever asks.
    pub fn alone(network: Box<dyn Network>) -> Self {
        Self { first: Worker { network, pool: None }, others: Vec::new(), whole: None }
    }

    /// `workers` workers that share `threads` threads, each with at least one. For the host's processor: what runs on a
    /// GPU waits in one queue anyway.
    ///
    /// The products of burn-ndarray have threads of their own, which only `MATMUL_NUM_THREADS` limits.
    ///
    /// # Errors
    ///
    /// Threads that the system does not give.
    pub fn new(network: Box<dyn Network>, workers: usize, threads: usize) -> Result<Self, ExplainError> {
        let workers = workers.max(1);
        let pool = |threads: usize| {
            let builder = ThreadPoolBuilder::new().num_threads(threads.max(1)).stack_size(STACK_BYTES);
            builder.build().map(Some).map_err(|source| ExplainError::Threads { workers, source })
        };
        let mut crew = Self { first: Worker { network, pool: None }, others: Vec::new(), whole: pool(threads)? };
        if workers > 1 {
            crew.first.pool = pool(threads / workers)?;
            for _ in 1..workers {
                crew.others.push(Worker { network: crew.first.network.replica(), pool: pool(threads / workers)? });
            }
        }
        Ok(crew)
    }

    /// The network.
    pub fn network(&self) -> &dyn Network {
        self.first.network.as_ref()
    }

    /// How many there are.
    pub fn workers(&self) -> usize {
        1 + self.others.len()
    }

    /// Work as one part for each worker, as even as can be, on the device; fewer parts where there are fewer samples.
    ///
    /// # Errors
    ///
    /// See [`Subject::new`], [`Subject::with_targets`] and [`Subject::with_baselines`].
    pub fn prepare(&self, work: &Work<'_>) -> Result<Vec<Prepared>, ExplainError> {
        let samples = work.inputs.iter().filter_map(|tensor| tensor.shape.first()).copied().min().unwrap_or(0);
        if work.targets.len() > 1 && work.targets.len() != samples {
            return Err(ExplainError::TargetCount { expected: samples, found: work.targets.len() });
        }
        let parts = self.workers().min(samples).max(1);
        (0..parts)
            .map(|part| {
                let [begin, end] = [part, part + 1].map(|place| place * samples / parts);
                let own: Vec<HostTensor>;
                let inputs = if parts == 1 {
                    work.inputs
                } else {
                    own = work.inputs.iter().map(|tensor| tensor.samples(begin, end)).collect();
                    &own
                };
                let targets = if work.targets.len() > 1 { &work.targets[begin..end] } else { work.targets };
                let mut subject = Subject::new(self.network(), inputs)?.with_inner_batch(work.inner_batch);
                if !targets.is_empty() {
                    subject = subject.with_targets(targets)?;
                }
                if let Some(baselines) = work.baselines {
                    subject = subject.with_baselines(baselines)?;
                }
                Ok(subject.prepared())
            })
            .collect()
    }

    /// Explains prepared parts side by side; one alone gets all threads. The answer is in the order of the samples, and
    /// the same as that of one worker but for rounding (batches of another size).
    ///
    /// # Errors
    ///
    /// Those of [`explain`]; [`ExplainError::Stopped`] where an engine panicked. Of several parts that fail the first one
    /// is told.
    pub fn explain(&mut self, method: &dyn Method, parts: &[Prepared]) -> Result<Attribution, ExplainError> {
        Ok(Attribution::joined(self.side_by_side(parts, |subject| explain(method, subject))?))
    }

    /// The targets of prepared parts, found where they were not given, so that [`explain`](Self::explain) need not.
    ///
    /// # Errors
    ///
    /// See [`Subject::targets`].
    pub fn resolve(&mut self, parts: &[Prepared]) -> Result<Vec<Prepared>, ExplainError> {
        self.side_by_side(parts, |subject| subject.targets().map(|_| subject.prepared()))
    }

    /// The beginning of an explanation: about `rows` rows of each part. Answers how many were run; waits for nothing.
    ///
    /// # Errors
    ///
    /// See [`explain`](Self::explain).
    pub fn begin(&mut self, method: &dyn Method, parts: &[Prepared], rows: u64) -> Result<u64, ExplainError> {
        let parts: Vec<Prepared> = parts.iter().map(|part| part.clone().with_row_limit(rows)).collect();
        let run = self.side_by_side(&parts, |subject| match explain(method, subject) {
            Ok(_) | Err(ExplainError::Enough) => Ok(subject.passes().forward),
            Err(error) => Err(error),
        })?;
        Ok(run.into_iter().sum())
    }

    fn side_by_side<T: Send>(
        &mut self,
        parts: &[Prepared],
        work: impl Fn(&Subject<'_>) -> Result<T, ExplainError> + Sync,
    ) -> Result<Vec<T>, ExplainError> {
        let work = &work;
        let [first, others @ ..] = parts else { return Ok(Vec::new()) };
        if others.is_empty() {
            let (network, prepared) = (&mut self.first.network, first.clone());
            let only = move || guarded(move || work(&prepared.of(network.as_ref())));
            return Ok(vec![match &self.whole {
                Some(pool) => pool.install(only),
                None => only(),
            }?]);
        }
        std::thread::scope(|scope| {
            // Each part moves to its worker: a network and what is prepared for it belong to one thread at a time.
            let started: Vec<_> = self
                .others
                .iter_mut()
                .zip(others.iter().cloned())
                .map(|(worker, prepared)| scope.spawn(move || worker.run(prepared, work)))
                .collect();
            let mut done = vec![self.first.run(first.clone(), work)];
            for thread in started {
                let joined = thread.join();
                done.push(joined.unwrap_or_else(|panic| Err(ExplainError::Stopped { message: panic_text(&*panic) })));
            }
            done.into_iter().collect()
        })
    }
}

impl Worker {
    fn run<T: Send>(
        &mut self,
        prepared: Prepared,
        work: impl Fn(&Subject<'_>) -> Result<T, ExplainError> + Send + Sync,
    ) -> Result<T, ExplainError> {
        let network = &mut self.network;
        let only = move || guarded(move || work(&prepared.of(network.as_ref())));
        match &self.pool {
            Some(pool) => pool.install(only),
            None => only(),
        }
    }
}

/// Does what an engine may panic in.
///
/// # Errors
///
/// Those of the work; [`ExplainError::Stopped`] with what the panic said.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, ExplainError>) -> Result<T, ExplainError> {
    // What a network or a subject holds is not changed by explaining.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(ExplainError::Stopped { message: panic_text(&*panic) }))
}

#[cfg(test)]
#[cfg(feature = "flex")]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::domain::HostData;
    use crate::explain::{Passes, registry};
    use crate::zoo::{WeightSource, find, host_inputs};

    fn crew(workers: usize) -> Crew {
        let network = find("cifar_cnn").unwrap().build_loaded(&WeightSource::Seeded(0), &Device::flex()).unwrap();
        Crew::new(network, workers, 2).unwrap()
    }

    fn explained(crew: &mut Crew, method: &str, targets: &[Target]) -> (Vec<f32>, Vec<Target>, Passes) {
        let inputs = host_inputs(&find("cifar_cnn").unwrap().inputs(), 5, 0);
        let parts = crew.prepare(&Work { inputs: &inputs, targets, baselines: None, inner_batch: 7 }).unwrap();
        assert_eq!(parts.len(), crew.workers().min(5));
        let method = registry::find(method).unwrap().default_method().unwrap();
        let found = crew.explain(method.as_ref(), &parts).unwrap();
        let values = found.to_host().unwrap();
        assert_eq!(values.shape, [5, 3, 32, 32]);
        let HostData::F32(values) = values.data else { panic!("integers") };
        (values, found.targets, found.passes)
    }

    #[test]
    fn workers_answer_what_one_answers() {
        let each: Vec<Target> = (0..5).map(Target::class).collect();
        for (method, targets) in [
            ("smooth_grad", &[][..]),
            ("deeplift", &each),
            ("occlusion", &each[..1]),
            ("guided_backpropagation", &each),
        ] {
            let (expected, expected_targets, expected_passes) = explained(&mut crew(1), method, targets);
            let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            for workers in [2, 3, 8] {
                let (found, targets, passes) = explained(&mut crew(workers), method, targets);
                assert_eq!((&targets, passes.backward), (&expected_targets, expected_passes.backward), "{method}");
                for (found, expected) in found.iter().zip(&expected) {
                    assert!((found - expected).abs() < 1e-4 * largest, "{method}, {workers}: {found}, {expected}");
                }
            }
        }
    }

    #[test]
    fn what_goes_wrong_in_a_worker_is_told_and_nothing_is_lost() {
        let mut crew = crew(2);
        let inputs = host_inputs(&find("cifar_cnn").unwrap().inputs(), 4, 0);
        let work = |targets| Work { inputs: &inputs, targets, baselines: None, inner_batch: 2 };
        let saliency = registry::find("saliency").unwrap().default_method().unwrap();
        let classes = [3, 3, 3, 10].map(Target::class);
        let parts = crew.prepare(&work(&classes)).unwrap();
        let error = crew.explain(saliency.as_ref(), &parts).unwrap_err();
        assert_eq!(error.to_string(), "there is no class 10: the network tells 10 apart");
        assert!(matches!(crew.prepare(&work(&classes[..3])), Err(ExplainError::TargetCount { expected: 4, found: 3 })));
        let panics = crew.side_by_side(&parts, |_| -> Result<(), ExplainError> { panic!("no such kernel") });
        assert_eq!(panics.unwrap_err().to_string(), "the engine stopped in the middle: no such kernel");
        let parts = crew.prepare(&work(&classes[..1])).unwrap();
        assert_eq!(crew.explain(saliency.as_ref(), &parts).unwrap().targets, [Target::class(3); 4]);
    }

    #[test]
    fn a_beginning_is_as_long_as_it_may_be() {
        let mut crew = crew(2);
        let inputs = host_inputs(&find("cifar_cnn").unwrap().inputs(), 2, 0);
        let work = Work { inputs: &inputs, targets: &[Target::class(1)], baselines: None, inner_batch: 4 };
        let parts = crew.prepare(&work).unwrap();
        let method = registry::find("integrated_gradients").unwrap().default_method().unwrap();
        // Of 50 rows for each of two workers, whole passes of 4.
        assert_eq!(crew.begin(method.as_ref(), &parts, 6).unwrap(), 16);
        assert_eq!(crew.begin(method.as_ref(), &parts, 1000).unwrap(), 100);
    }
}
