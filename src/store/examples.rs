//! What forecasts are learned from: one example a configuration and engine version, medians over its valid runs.

use rusqlite::Row;

use super::list::{Columns, Reader, Selection, SelectionParameters};
use super::{Store, StoreError};
use crate::domain::{Example, Subject};

/// The measured columns, in the order of [`Runs::values`].
const MEASURED: [&str; 7] = [
    "throughput_samples_per_second",
    "latency_p50_ms",
    "latency_mean_ms",
    "memory_host_peak_mb",
    "memory_device_peak_mb",
    "sample_multiply_adds",
    "sample_activations",
];

/// The runs of one example.
struct Runs {
    configuration: i64,
    subject: Subject,
    count: usize,
    /// What was measured, by the columns of [`MEASURED`].
    values: [Vec<f64>; MEASURED.len()],
}

impl Runs {
    fn finish(mut self) -> Example {
        let [throughput, p50, mean, host, device, multiply_adds, activations] =
            self.values.each_mut().map(|values| median(values));
        // The model's own cost is that of one shape; a run that says its own is right.
        self.subject.multiply_adds = multiply_adds.or(self.subject.multiply_adds);
        self.subject.activation_count = activations.or(self.subject.activation_count);
        Example {
            subject: self.subject,
            throughput,
            latency_ms: p50.or(mean),
            host_memory_mb: host,
            device_memory_mb: device,
            runs: self.count,
        }
    }
}

/// The middle value, or the mean of the two in the middle; sorts. `None` for no value.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = *values.get(values.len() / 2)?;
    let lower = values[(values.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

impl Store {
    /// The valid runs of a selection as examples: one a configuration and engine version, in the order of configurations.
    ///
    /// # Errors
    /// What SQLite refuses, and texts in the database that no benchdb wrote.
    pub fn list_examples(&self, selection: &Selection) -> Result<Vec<Example>, StoreError> {
        let failed = |source| self.fail(source);
        let mut statement = self
            .connection
            .prepare_cached(concat!(
                include_str!("sql/select_examples.sql"),
                selection!(),
                "ORDER BY configuration.id, environment.engine_version, run.id"
            ))
            .map_err(failed)?;
        let columns = Columns::of(&statement);
        let at = |name: &str| statement.column_index(name).map_err(failed);
        let configuration_at = at("configuration_id")?;
        let version_at = at("engine_version")?;
        let mut measured_at = [0; MEASURED.len()];
        for (place, name) in measured_at.iter_mut().zip(MEASURED) {
            *place = at(name)?;
        }
        let parameters = SelectionParameters::new(selection);
        let mut rows = statement.query(parameters.bind().as_slice()).map_err(failed)?;
        let mut examples = Vec::new();
        let mut current: Option<Runs> = None;
        while let Some(row) = rows.next().map_err(failed)? {
            let configuration: i64 = row.get(configuration_at).map_err(failed)?;
            let same_version = |runs: &Runs| -> rusqlite::Result<bool> {
                let version = row.get_ref(version_at)?.as_str_or_null()?;
                Ok(runs.configuration == configuration && runs.subject.engine_version.as_deref() == version)
            };
            let runs = match current.take() {
                Some(runs) if same_version(&runs).map_err(failed)? => runs,
                other => {
                    examples.extend(other.map(Runs::finish));
                    let subject = self.subject_of(row, &columns)?;
                    Runs { configuration, subject, count: 0, values: Default::default() }
                }
            };
            current = Some(add(runs, row, &measured_at).map_err(failed)?);
        }
        examples.extend(current.map(Runs::finish));
        Ok(examples)
    }

    fn subject_of(&self, row: &Row<'_>, columns: &Columns) -> Result<Subject, StoreError> {
        let reader = Reader { row, columns, store: self };
        let model = reader.model()?;
        let configuration = reader.configuration()?;
        let engine_version = reader.get("engine_version")?;
        let number = |count: Option<u64>| count.map(|count| count as f64);
        Ok(Subject {
            model: model.name,
            variant: configuration.variant,
            family: model.family,
            category: model.category,
            parameter_count: number(model.parameter_count),
            multiply_adds: number(model.multiply_adds),
            activation_count: number(model.activation_count),
            platform: configuration.platform,
            device: configuration.device,
            engine: configuration.engine,
            engine_version,
            precision: configuration.precision,
            mode: configuration.mode,
            batch_size: configuration.batch_size,
            input_shape: configuration.input_shape,
            threads: configuration.threads,
            parameters: configuration.parameters,
        })
    }
}

fn add(mut runs: Runs, row: &Row<'_>, measured_at: &[usize]) -> rusqlite::Result<Runs> {
    runs.count += 1;
    for (values, place) in runs.values.iter_mut().zip(measured_at) {
        values.extend(row.get::<_, Option<f64>>(*place)?);
    }
    Ok(runs)
}

#[cfg(test)]
mod tests {
    use crate::domain::RunStatus;
    use crate::domain::metric::Better;
    use crate::domain::run::ExtraMetric;
    use crate::store::list::Selection;
    use crate::store::samples::{broken, new_store, of_model, run, with};

    #[test]
    fn an_example_is_the_median_of_valid_runs_of_one_version() {
        let (_folder, mut store) = new_store();
        let rated = |id, rate| with(run(id), &[("throughput_samples_per_second", rate)]);
        let mut newer = rated(4, 900.0);
        newer.environment.engine_version = Some("9".into());
        let mut profile = rated(7, 5000.0);
        profile.configuration.parameters.insert("profile".into(), "operators".into());
        newer.measurement.extra_metrics.push(ExtraMetric {
            name: "multiply_adds_per_sample".into(),
            unit: "1".into(),
            better: Better::None,
            value: 123.0,
        });
        let runs = [
            rated(1, 100.0),
            rated(2, 300.0),
            rated(3, 200.0),
            newer,
            broken(rated(5, 1.0), RunStatus::Failed),
            of_model(rated(6, 7.0), "gpt2"),
            profile,
        ];
        store.insert_runs(runs.iter()).unwrap();
        let examples = store.list_examples(&Selection::default()).unwrap();
        let said: Vec<_> =
            examples.iter().map(|one| (one.subject.model.as_str(), one.throughput.unwrap(), one.runs)).collect();
        assert_eq!(said.len(), 3);
        assert!(said.contains(&("resnet18", 200.0, 3)), "{said:?}");
        assert!(said.contains(&("resnet18", 900.0, 1)) && said.contains(&("gpt2", 7.0, 1)), "{said:?}");
        let newer = examples.iter().find(|one| one.throughput == Some(900.0)).unwrap();
        assert_eq!(newer.subject.multiply_adds, Some(123.0));
        let one = Selection { models: vec!["gpt2".into()], ..Selection::default() };
        assert_eq!(store.list_examples(&one).unwrap().len(), 1);
    }
}
