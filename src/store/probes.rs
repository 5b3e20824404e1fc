//! What devices can do at most, as `benchdb hardware --probe` measured it. Every probe stays, with its date; the newest of a
//! device, engine and precision counts.

use rusqlite::named_params;

use super::insert::RunWriter;
use super::list::{Columns, Reader};
use super::{Store, StoreError, now_text};
use crate::domain::DeviceProbe;
use crate::domain::label::Labelled as _;

impl Store {
    /// Keeps a probe beside older ones; its time is that of storing where it is empty.
    ///
    /// # Errors
    /// What SQLite refuses: a rate that is not positive, a lock.
    pub fn insert_device_probe(&mut self, probe: &DeviceProbe) -> Result<(), StoreError> {
        let mut probe = probe.clone();
        if probe.probed_at.is_empty() {
            probe.probed_at = now_text();
        }
        self.write(|transaction| insert_probe(&mut RunWriter::new(transaction)?, &probe).map(drop))
    }

    /// Every probe, the oldest first.
    ///
    /// # Errors
    /// What SQLite refuses, and texts in the database that no benchdb wrote.
    pub fn list_device_probes(&self) -> Result<Vec<DeviceProbe>, StoreError> {
        let failed = |source| self.fail(source);
        let mut statement = self.connection.prepare(include_str!("sql/select_probes.sql")).map_err(failed)?;
        let columns = Columns::of(&statement);
        let mut rows = statement.query([]).map_err(failed)?;
        let mut probes = Vec::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let reader = Reader { row, columns: &columns, store: self };
            probes.push(DeviceProbe {
                device: reader.device()?,
                engine: reader.get("engine")?,
                precision: reader.required_enum("precision")?,
                probed_at: reader.get("probed_at")?,
                peak_gflop_per_second: reader.get("peak_gflop_per_second")?,
                copy_bandwidth_gb_per_second: reader.get("copy_bandwidth_gb_per_second")?,
                tool_version: reader.get("tool_version")?,
            });
        }
        Ok(probes)
    }

    /// The newest probe of each device, engine and precision, by the device's name.
    ///
    /// # Errors
    /// As [`Self::list_device_probes`].
    pub fn newest_device_probes(&self) -> Result<Vec<DeviceProbe>, StoreError> {
        let mut newest: Vec<DeviceProbe> = Vec::new();
        for probe in self.list_device_probes()? {
            newest.retain(|older| {
                older.device != probe.device || older.engine != probe.engine || older.precision != probe.precision
            });
            newest.push(probe);
        }
        newest.sort_by(|one, other| {
            let key = |probe: &DeviceProbe| {
                (probe.device.name.clone(), probe.device.compute_units, probe.engine.clone(), probe.precision)
            };
            key(one).cmp(&key(other))
        });
        Ok(newest)
    }
}

/// Writes a probe; answers whether it was not there yet.
pub(super) fn insert_probe(writer: &mut RunWriter<'_>, probe: &DeviceProbe) -> rusqlite::Result<bool> {
    let device_id = writer.device(&probe.device)?;
    let written =
        writer.transaction().prepare_cached(include_str!("sql/insert_probe.sql"))?.execute(named_params! {
            ":device_id": device_id,
            ":engine": probe.engine,
            ":probed_at": probe.probed_at,
            ":precision": probe.precision.label(),
            ":peak": probe.peak_gflop_per_second,
            ":bandwidth": probe.copy_bandwidth_gb_per_second,
            ":tool_version": probe.tool_version,
        })?;
    Ok(written > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Precision;
    use crate::store::samples::{new_store, run};

    fn probe(engine: &str, precision: Precision, probed_at: &str, peak: f64) -> DeviceProbe {
        DeviceProbe {
            device: run(1).configuration.device,
            engine: engine.into(),
            precision,
            probed_at: probed_at.into(),
            peak_gflop_per_second: Some(peak),
            copy_bandwidth_gb_per_second: None,
            tool_version: Some("0.1.0".into()),
        }
    }

    #[test]
    fn the_newest_of_each_engine_and_precision_counts_and_the_others_stay() {
        let (_folder, mut store) = new_store();
        let old = probe("burn-flex", Precision::Fp32, "2026-11-20T08:00:00.000Z", 100.0);
        let new = probe("burn-flex", Precision::Fp32, "2026-11-21T08:00:00.000Z", 90.0);
        let half = probe("burn-flex", Precision::Bf16, "2026-11-19T08:00:00.000Z", 50.0);
        let other = probe("burn-ndarray", Precision::Fp32, "2026-11-18T08:00:00.000Z", 40.0);
        for probe in [&new, &old, &half, &other] {
            store.insert_device_probe(probe).unwrap();
        }
        assert_eq!(store.list_device_probes().unwrap().len(), 4);
        let mut newest = store.newest_device_probes().unwrap();
        assert_eq!(newest.len(), 3);
        newest.retain(|probe| probe.engine == "burn-flex" && probe.precision == Precision::Fp32);
        assert_eq!(newest, [new]);
    }

    #[test]
    fn a_probe_has_a_time_and_a_possible_rate() {
        let (_folder, mut store) = new_store();
        store.insert_device_probe(&probe("burn-flex", Precision::Fp32, "", 1.0)).unwrap();
        assert!(store.list_device_probes().unwrap()[0].probed_at.ends_with('Z'));
        assert!(store.insert_device_probe(&probe("burn-flex", Precision::Fp32, "", 0.0)).is_err());
    }

    #[test]
    fn a_merge_takes_probes_once_and_a_deletion_leaves_them() {
        let (_folder, mut store) = new_store();
        let (_elsewhere, mut other) = new_store();
        other.insert_device_probe(&probe("burn-flex", Precision::Fp32, "2026-11-20T08:00:00.000Z", 100.0)).unwrap();
        assert_eq!(store.merge(&other, |_| ()).unwrap().probes, 1);
        assert_eq!(store.merge(&other, |_| ()).unwrap().probes, 0);
        assert_eq!(store.list_device_probes().unwrap(), other.list_device_probes().unwrap());
        store.insert_run(&run(1)).unwrap();
        let ids = store.list_runs(&Default::default(), crate::store::list::Detail::Whole).unwrap();
        store.delete_runs(&ids.iter().map(|(id, _)| *id).collect::<Vec<_>>()).unwrap();
        assert_eq!(store.list_device_probes().unwrap().len(), 1);
    }
}
