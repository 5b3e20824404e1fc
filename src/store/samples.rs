//! Runs for the tests of this layer: made up, small, and different in what a test says.

use std::path::Path;

use super::{Access, Store};
pub(super) use crate::domain::samples::run;
use crate::domain::{DeviceKind, Measurement, Platform, RunRecord, RunStatus};

/// A new database in a folder that goes when it is dropped.
pub(super) fn new_store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("test.sqlite"));
    (folder, store)
}

/// The database at `path`, which is made where there is none.
pub(super) fn open(path: &Path) -> Store {
    Store::open(path, Access::Create).unwrap().0
}

/// Another program at the same database, which it uses without a write-ahead log: while it writes, nobody reads.
pub(crate) struct Stranger(rusqlite::Connection);

impl Stranger {
    /// At a database that nobody has open.
    pub(crate) fn at(path: &Path) -> Self {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
        Self(connection)
    }

    pub(crate) fn does(&self, sql: &str) {
        self.0.execute_batch(sql).unwrap();
    }
}

/// The same run of another model.
pub(super) fn of_model(mut run: RunRecord, model: &str) -> RunRecord {
    model.clone_into(&mut run.model.name);
    model.clone_into(&mut run.configuration.model);
    run
}

/// The same run on a graphics processor.
pub(super) fn on_gpu(mut run: RunRecord) -> RunRecord {
    run.configuration.platform = Platform::Cuda;
    run.configuration.device.kind = DeviceKind::Gpu;
    run.configuration.device.name = "Graphics".into();
    run.configuration.engine = "burn-cuda".into();
    run
}

/// The same run, broken.
pub(super) fn broken(mut run: RunRecord, status: RunStatus) -> RunRecord {
    run.measurement = Measurement::without_numbers(status, "it broke".into(), None);
    run
}

/// The same run with other metrics.
pub(super) fn with(mut run: RunRecord, metrics: &[(&str, f64)]) -> RunRecord {
    for (name, value) in metrics {
        run.measurement.metrics.set(name, *value);
    }
    run
}
