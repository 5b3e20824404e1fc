//! A network with the samples whose outputs are explained: what every method asks, whatever the network reads.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::baseline::Baseline;
use super::error::ExplainError;
use super::target::{Reader, Target};
use crate::domain::model::{HostData, HostTensor};
use crate::zoo::hooks::{Hooks, NoHooks, Words, watched};
use crate::zoo::{Batch, Network, Output};

/// Hooks that a method keeps a hand on while a network runs with them.
pub type SharedHooks = Rc<RefCell<dyn Hooks>>;

/// The inputs that can be explained; where there are several, the first one is.
const INPUTS: [&str; 4] = ["image", "mel", "ids", "decoder_ids"];

/// Rows of one pass where nobody says how many.
pub const DEFAULT_INNER_BATCH: usize = 16;

/// How often a network ran, counted in samples: a pass over a batch of eight counts eight times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passes {
    /// Forward.
    pub forward: u64,
    /// Backward.
    pub backward: u64,
}

/// What stands behind the features of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Image,
    Mel,
    /// The vectors of the words of this input.
    Words(&'static str),
}

/// A network, a batch of samples and their targets. The input that is explained is a matrix `[samples, features]`, its
/// features those of `shape`: pixels, a spectrogram, or the vectors of words.
///
/// The network is best one that was built on a plain device: only the input gets gradients then. One whose parameters are
/// tracked gives the same answers and computes gradients that nobody reads.
pub struct Subject<'n> {
    network: &'n dyn Network,
    prepared: Prepared,
    passes: Cell<Passes>,
}

/// A [`Subject`] without its network: everything is on the device, so that whoever owns the network can ask about the same
/// samples again and again. Cloning copies handles alone.
#[derive(Clone)]
pub struct Prepared {
    batch: Batch,
    source: Source,
    input: Tensor<2>,
    shape: Vec<usize>,
    baselines: Option<Tensor<2>>,
    targets: Option<Vec<Target>>,
    reader: OnceCell<Reader>,
    inner_batch: usize,
    /// Forward passes after which the network runs no more; see [`Prepared::with_row_limit`].
    row_limit: Option<u64>,
    device: Device,
}

impl Prepared {
    /// The same samples with at most this many rows in a pass; at least 1.
    #[must_use]
    pub fn with_inner_batch(mut self, rows: usize) -> Self {
        self.inner_batch = rows.max(1);
        self
    }

    /// The same samples, whose explanation ends with [`ExplainError::Enough`] before the first pass after `rows` rows: a
    /// beginning of the real work, to time it.
    #[must_use]
    pub fn with_row_limit(mut self, rows: u64) -> Self {
        self.row_limit = Some(rows);
        self
    }

    /// The samples in front of a network, which must be the one that they were prepared for.
    pub fn of(self, network: &dyn Network) -> Subject<'_> {
        Subject { network, prepared: self, passes: Cell::default() }
    }
}

impl<'n> Subject<'n> {
    /// The first of a network's inputs `image`, `mel`, `ids` and `decoder_ids`, its targets the classes that the network
    /// itself answers.
    ///
    /// # Errors
    ///
    /// Values that are no numbers, inputs that no network knows.
    pub fn new(network: &'n dyn Network, inputs: &[HostTensor]) -> Result<Self, ExplainError> {
        let first = INPUTS.into_iter().find(|name| inputs.iter().any(|tensor| tensor.name == *name));
        Self::of_input(network, inputs, first.unwrap_or_default())
    }

    /// As [`new`](Self::new), of the input of this name.
    ///
    /// # Errors
    ///
    /// See [`new`](Self::new); no such input.
    pub fn of_input(network: &'n dyn Network, inputs: &[HostTensor], name: &str) -> Result<Self, ExplainError> {
        let refused = |reason: &str| ExplainError::Input { name: name.to_owned(), reason: reason.to_owned() };
        let broken = |tensor: &&HostTensor| match &tensor.data {
            HostData::F32(values) => values.iter().any(|value| !value.is_finite()),
            HostData::I64(_) => false,
        };
        if let Some(tensor) = inputs.iter().find(broken) {
            let reason = "it holds values that are not finite".to_owned();
            return Err(ExplainError::Input { name: tensor.name.clone(), reason });
        }
        let device = network.device().without_autodiff();
        let batch = Batch::from_host(inputs, &device)?;
        let words = |input: &'static str, ids: Option<&Tensor<2, Int>>| {
            let (table, ids) = (network.word_table(input)?, ids?);
            let [samples, sequence] = ids.dims();
            let [_, width] = table.dims();
            let vectors = table.select(0, ids.clone().reshape([samples * sequence]));
            Some((Source::Words(input), vectors.reshape([samples, sequence * width]), vec![sequence, width]))
        };
        let found = match name {
            "image" => batch.image.clone().map(|image| {
                let [samples, channels, height, width] = image.dims();
                let rows = image.reshape([samples, channels * height * width]);
                (Source::Image, rows, vec![channels, height, width])
            }),
            "mel" => batch.mel.clone().map(|mel| {
                let [samples, bins, frames] = mel.dims();
                (Source::Mel, mel.reshape([samples, bins * frames]), vec![bins, frames])
            }),
            "ids" => words("ids", batch.ids.as_ref()),
            "decoder_ids" => words("decoder_ids", batch.decoder_ids.as_ref()),
            _ => None,
        };
        let (source, input, shape) = found.ok_or_else(|| refused("the network has no such input"))?;
        let prepared = Prepared {
            batch,
            source,
            input,
            shape,
            baselines: None,
            targets: None,
            reader: OnceCell::new(),
            inner_batch: DEFAULT_INNER_BATCH,
            row_limit: None,
            device,
        };
        Ok(prepared.of(network))
    }

    /// The samples by themselves, their targets resolved as far as they are by now.
    pub fn prepared(&self) -> Prepared {
        self.prepared.clone()
    }

    /// Explains these outputs: one target for all samples, or one for each. They are checked when the network runs.
    ///
    /// # Errors
    ///
    /// Another number of targets.
    pub fn with_targets(mut self, targets: &[Target]) -> Result<Self, ExplainError> {
        let samples = self.samples();
        self.prepared.targets = Some(match targets {
            [one] => vec![*one; samples],
            many if many.len() == samples => many.to_vec(),
            many => return Err(ExplainError::TargetCount { expected: samples, found: many.len() }),
        });
        self.prepared.reader = OnceCell::new();
        Ok(self)
    }

    /// The most rows of one pass: samples, and what a method makes of them (steps, windows, draws). At least 1.
    #[must_use]
    pub fn with_inner_batch(mut self, rows: usize) -> Self {
        self.prepared.inner_batch = rows.max(1);
        self
    }

    /// Baselines for [`Baseline::Given`], of the shape of the explained input, batch first (of words: their vectors).
    ///
    /// # Errors
    ///
    /// Another shape, integers, values that are not finite.
    pub fn with_baselines(mut self, baselines: &HostTensor) -> Result<Self, ExplainError> {
        let refused = |reason: String| Err(ExplainError::Baseline { reason });
        let HostData::F32(values) = &baselines.data else {
            return refused("they hold integers".to_owned());
        };
        let features = self.features();
        let fits = baselines.shape.get(1..) == Some(&self.prepared.shape[..]) && baselines.shape[0] > 0;
        if !fits || values.len() != baselines.shape[0] * features {
            return refused(format!(
                "their shape is {:?}, one of the samples is {:?}",
                baselines.shape, self.prepared.shape
            ));
        }
        if values.iter().any(|value| !value.is_finite()) {
            return refused("they hold values that are not finite".to_owned());
        }
        let data = TensorData::new(values.clone(), [baselines.shape[0], features]);
        self.prepared.baselines = Some(Tensor::from_data(data, &self.prepared.device));
        Ok(self)
    }

    /// The network.
    pub fn network(&self) -> &dyn Network {
        self.network
    }

    /// Where everything is computed; without gradients.
    pub fn device(&self) -> &Device {
        &self.prepared.device
    }

    /// The input, `[samples, features]`.
    pub fn input(&self) -> Tensor<2> {
        self.prepared.input.clone()
    }

    /// The number of samples.
    pub fn samples(&self) -> usize {
        self.prepared.input.dims()[0]
    }

    /// The numbers that one sample's input consists of.
    pub fn features(&self) -> usize {
        self.prepared.input.dims()[1]
    }

    /// The shape of one sample's input: `[channels, height, width]`, `[bins, frames]`, or `[tokens, width]`.
    pub fn shape(&self) -> &[usize] {
        &self.prepared.shape
    }

    /// Whether the input is a text, explained by its words' vectors.
    pub fn is_text(&self) -> bool {
        matches!(self.prepared.source, Source::Words(_))
    }

    /// The most rows of one pass.
    pub fn inner_batch(&self) -> usize {
        self.prepared.inner_batch
    }

    /// Whether the network reads more than what is explained.
    pub(super) fn has_other_inputs(&self) -> bool {
        let Batch { image, ids, decoder_ids, mel } = &self.prepared.batch;
        [image.is_some(), ids.is_some(), decoder_ids.is_some(), mel.is_some()].into_iter().filter(|&has| has).count()
            > 1
    }

    /// The token ids `[samples, tokens]` of a text.
    pub(super) fn ids(&self) -> Option<Tensor<2, Int>> {
        match self.prepared.source {
            Source::Words("ids") => self.prepared.batch.ids.clone(),
            Source::Words(_) => self.prepared.batch.decoder_ids.clone(),
            Source::Image | Source::Mel => None,
        }
    }

    /// The baselines, `[count, features]`.
    ///
    /// # Errors
    ///
    /// See [`Baseline`].
    pub fn baselines(&self, baseline: Baseline) -> Result<Tensor<2>, ExplainError> {
        baseline.rows(self.features(), self.prepared.baselines.as_ref(), &self.prepared.device)
    }

    /// How often the network ran so far.
    pub fn passes(&self) -> Passes {
        self.passes.get()
    }

    fn count(&self, forward: u64, backward: u64) {
        let Passes { forward: before, backward: back } = self.passes.get();
        self.passes.set(Passes { forward: before + forward, backward: back + backward });
    }

    /// Counts forward work that the network did beside its passes, in samples.
    pub(super) fn count_forward(&self, samples: usize) {
        self.count(samples as u64, 0);
    }

    /// What is explained of every sample; found by a forward pass where it was not given.
    ///
    /// # Errors
    ///
    /// Targets that the network does not have; a network that cannot run.
    pub fn targets(&self) -> Result<Vec<Target>, ExplainError> {
        Ok(self.resolved()?.targets().to_vec())
    }

    /// The token whose output is read in every sample, of `tokens`; `None` for pairs of images and texts.
    pub(super) fn tokens_read(&self, tokens: usize) -> Result<Option<Vec<usize>>, ExplainError> {
        Ok(self.resolved()?.tokens_read(tokens))
    }

    fn resolved(&self) -> Result<&Reader, ExplainError> {
        if let Some(reader) = self.prepared.reader.get() {
            return Ok(reader);
        }
        let outputs = self.run(no_hooks(), self.input(), &self.every_sample())?;
        let reader = Reader::from_values(&outputs, self.prepared.targets.as_deref())?;
        Ok(self.prepared.reader.get_or_init(|| reader))
    }

    /// The samples, one after another.
    pub(super) fn every_sample(&self) -> Vec<usize> {
        (0..self.samples()).collect()
    }

    /// One forward pass over rows `[rows, features]`; row `i` stands for sample `samples[i]`, whose other inputs it has.
    ///
    /// # Errors
    ///
    /// Inputs that the network cannot read, or no weights.
    pub fn run(&self, hooks: SharedHooks, rows: Tensor<2>, samples: &[usize]) -> Result<Vec<Output>, ExplainError> {
        let count = samples.len();
        if self.prepared.row_limit.is_some_and(|limit| self.passes().forward >= limit) {
            return Err(ExplainError::Enough);
        }
        let mut batch = self.other_inputs(samples);
        let mut words = None;
        match (self.prepared.source, &self.prepared.shape[..]) {
            (Source::Image, &[channels, height, width]) => {
                batch.image = Some(rows.reshape([count, channels, height, width]));
            }
            (Source::Mel, &[bins, frames]) => batch.mel = Some(rows.reshape([count, bins, frames])),
            (Source::Words(input), &[tokens, width]) => {
                words = Some(Words { input, vectors: rows.reshape([count, tokens, width]) });
            }
            // The constructor makes no other pair.
            (_, shape) => {
                let reason = format!("its shape is {shape:?}");
                return Err(ExplainError::Input { name: "input".to_owned(), reason });
            }
        }
        self.count(count as u64, 0);
        Ok(watched(hooks, words, || self.network.forward(&batch))?)
    }

    /// The batch of these samples, the explained input included.
    fn other_inputs(&self, samples: &[usize]) -> Batch {
        if samples.iter().copied().eq(0..self.samples()) {
            return self.prepared.batch.clone();
        }
        let index = self.index(samples);
        let Batch { image, ids, decoder_ids, mel } = &self.prepared.batch;
        // What is explained is put in its place afterwards; of words the ids still tell the length.
        Batch {
            image: image
                .clone()
                .filter(|_| self.prepared.source != Source::Image)
                .map(|image| image.select(0, index.clone())),
            ids: ids.clone().map(|ids| ids.select(0, index.clone())),
            decoder_ids: decoder_ids.clone().map(|ids| ids.select(0, index.clone())),
            mel: mel.clone().filter(|_| self.prepared.source != Source::Mel).map(|mel| mel.select(0, index)),
        }
    }

    /// Places, for `select`.
    pub(super) fn index(&self, places: &[usize]) -> Tensor<1, Int> {
        let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
        let count = places.len();
        Tensor::from_data(TensorData::new(places, [count]), &self.prepared.device)
    }

    /// The input of these samples, `[samples, features]`.
    pub(super) fn input_of(&self, samples: &[usize]) -> Tensor<2> {
        if samples.iter().copied().eq(0..self.samples()) {
            return self.input();
        }
        self.input().select(0, self.index(samples))
    }

    /// The scores `[rows, 1]` in the outputs of rows that stand for these samples.
    ///
    /// # Errors
    ///
    /// Targets that the network does not have.
    pub fn read(&self, outputs: &[Output], samples: &[usize]) -> Result<Tensor<2>, ExplainError> {
        if self.prepared.reader.get().is_none()
            && let Some(targets) = &self.prepared.targets
            && let Some(reader) = Reader::from_shapes(outputs, targets)?
        {
            return self.prepared.reader.get_or_init(|| reader).scores(outputs, samples, &self.prepared.device);
        }
        self.resolved()?.scores(outputs, samples, &self.prepared.device)
    }

    /// The scores `[rows, 1]` of rows that stand for these samples.
    ///
    /// # Errors
    ///
    /// See [`run`](Self::run) and [`read`](Self::read).
    pub fn scores(&self, rows: Tensor<2>, samples: &[usize]) -> Result<Tensor<2>, ExplainError> {
        let outputs = self.run(no_hooks(), rows, samples)?;
        Ok(self.read(&outputs, samples)?.inner())
    }

    /// What goes back from the scores to rows `[rows, features]` that stand for these samples: their gradients, or what
    /// hooks make of these.
    ///
    /// # Errors
    ///
    /// See [`run`](Self::run) and [`read`](Self::read); `method` is named where nothing comes back.
    pub fn gradients(
        &self,
        method: &'static str,
        hooks: SharedHooks,
        rows: Tensor<2>,
        samples: &[usize],
    ) -> Result<Tensor<2>, ExplainError> {
        let leaf = rows.autodiff().require_grad();
        let outputs = self.run(hooks, leaf.clone(), samples)?;
        let scores = self.read(&outputs, samples)?;
        self.back(method, &scores, samples.len(), &leaf)
    }

    /// One backward pass from scores of `rows` rows to a leaf.
    pub(super) fn back<const D: usize>(
        &self,
        method: &'static str,
        scores: &Tensor<2>,
        rows: usize,
        leaf: &Tensor<D>,
    ) -> Result<Tensor<D>, ExplainError> {
        let unreached =
            || ExplainError::Unsupported { method, reason: "no gradient comes back from its output".to_owned() };
        if !scores.is_tracked() {
            return Err(unreached());
        }
        self.count(0, rows as u64);
        let mut gradients = scores.clone().sum().backward();
        leaf.grad_remove(&mut gradients).ok_or_else(unreached)
    }
}

/// Hooks that change nothing.
pub fn no_hooks() -> SharedHooks {
    Rc::new(RefCell::new(NoHooks))
}
