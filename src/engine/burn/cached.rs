//! A batch whose explanations are read from a cache on disk once they were computed: the work of a cache hit.

use crate::cache::{AttributionCache, CacheKey, CachedAttribution, DEFAULT_LIMIT, InputDigest, Work};
use crate::domain::{Configuration, HostTensor};
use crate::engine::EngineError;
use crate::explain::{Attribution, Method};

/// The samples of a batch, and a cache of their own, which goes with it.
pub(super) struct CachedBatch {
    cache: AttributionCache,
    _folder: tempfile::TempDir,
    /// The inputs of each sample.
    samples: Vec<Vec<HostTensor>>,
    configuration: Configuration,
    method: String,
    parameters: serde_json::Value,
}

impl CachedBatch {
    /// An empty cache in the system's folder for temporary files.
    ///
    /// # Errors
    /// [`EngineError::Cache`]: a folder that cannot be made.
    pub fn new(configuration: &Configuration, method: &dyn Method, inputs: &[HostTensor]) -> Result<Self, EngineError> {
        let folder = tempfile::tempdir().map_err(|source| EngineError::CacheFolder { source })?;
        let of = |sample: usize| inputs.iter().map(|tensor| tensor.samples(sample, sample + 1)).collect();
        Ok(Self {
            cache: AttributionCache::open(folder.path(), DEFAULT_LIMIT)?,
            _folder: folder,
            samples: (0..configuration.batch_size as usize).map(of).collect(),
            configuration: configuration.clone(),
            method: method.name().to_owned(),
            parameters: method.parameters(),
        })
    }

    /// The identity of a sample's explanation; its input is read anew each time, as whoever asks for one has to.
    fn key(&self, sample: &[HostTensor]) -> CacheKey {
        let target = self.configuration.parameters.get("target").cloned().unwrap_or_default();
        let work = Work {
            model: &self.configuration.model,
            // The cache is this run's own, and so are the weights.
            weights: "",
            engine: &self.configuration.engine,
            version: env!("CARGO_PKG_VERSION"),
            method: &self.method,
            parameters: &self.parameters,
            target: &target,
            baselines: "",
        };
        CacheKey::new(&InputDigest::of(sample), &work)
    }

    /// Reads the explanations of all samples; answers whether they were all there.
    pub fn is_served(&self) -> bool {
        self.samples.iter().all(|sample| self.cache.get(&self.key(sample)).is_some())
    }

    /// Keeps the explanations of all samples.
    ///
    /// # Errors
    /// A device that does not hand them over, a cache that cannot be written.
    pub fn keep(&self, attribution: &Attribution) -> Result<(), EngineError> {
        let values = attribution.to_host()?;
        for (place, sample) in self.samples.iter().enumerate() {
            let own = CachedAttribution {
                values: values.samples(place, place + 1),
                facts: serde_json::json!({ "passes": attribution.passes_per_sample() }),
            };
            self.cache.put(&self.key(sample), &own)?;
        }
        Ok(())
    }
}
