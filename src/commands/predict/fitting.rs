//! Where a forecaster comes from: fitted here and now on the database, a prior kept in it, or a file from elsewhere.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::{CommandError, Context, unreadable};
use crate::domain::Example;
use crate::domain::text::counted;
use crate::predict::{DeviceTable, FitOptions, Forecaster};
use crate::store::fitted::FittedModelRecord;
use crate::store::list::Selection;
use crate::store::{Access, Store};

/// What fitted models in the database forecast.
const TARGET: &str = "seconds_per_sample";

/// Which forecaster is meant.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Learning")]
pub struct LearnArgs {
    /// Forecast with the model of this name that `--fit` kept in the database
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "prior", conflicts_with = "model_file")]
    pub prior: Option<String>,
    /// Forecast with a model that `--export` wrote
    #[arg(long, value_name = "FILE")]
    pub model_file: Option<PathBuf>,
    /// More devices: a CSV with the columns of data/devices.csv; `name` and `kind` are needed
    #[arg(long, value_name = "FILE")]
    pub devices: Option<PathBuf>,
    /// Seed of the fit
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}

impl LearnArgs {
    /// The table of devices: ours, the user's rows, and the probes in the database of devices of which neither has one.
    ///
    /// # Errors
    /// A file that is no such table; what the database refuses.
    pub fn device_table(&self, context: &Context) -> anyhow::Result<DeviceTable> {
        let mut table = DeviceTable::built_in();
        if let Some(path) = &self.devices {
            table.extend(&std::fs::read_to_string(path).with_context(|| unreadable(path))?)?;
        }
        if context.db().is_file() {
            table.add_probes(&context.open(Access::Read)?.newest_device_probes()?);
        }
        Ok(table)
    }

    /// How a forecaster is fitted on the database.
    pub fn fit_options(&self, context: &Context) -> FitOptions {
        let mut options = FitOptions {
            source: context.db().display().to_string(),
            fitted_at: format!("{:.3}", jiff::Timestamp::now()),
            ..FitOptions::default()
        };
        options.time.seed = self.seed;
        options
    }

    /// The forecaster that is meant; fitted on the database where no other is named.
    ///
    /// # Errors
    /// A file or a name that holds none; too little to learn from.
    pub fn forecaster(&self, context: &Context) -> anyhow::Result<Forecaster> {
        let table = self.device_table(context)?;
        let mut forecaster = match (&self.model_file, &self.prior) {
            (Some(path), _) => read(path)?,
            (None, Some(name)) => {
                let store = context.open(Access::Read)?;
                let Some(record) = store.find_fitted_model(name, TARGET)? else {
                    let names: Vec<String> =
                        store.list_fitted_models()?.into_iter().map(|known| format!("`{}`", known.name)).collect();
                    let others =
                        if names.is_empty() { String::new() } else { format!("it holds {}; ", names.join(", ")) };
                    return Err(CommandError::new(
                        format!("the database holds no fitted model `{name}`"),
                        format!("{others}`benchdb predict --fit {name}` fits one"),
                    )
                    .into());
                };
                Forecaster::from_json(&record.content)?
            }
            (None, None) => {
                let store = context.open(Access::Read)?;
                let examples = examples(&store)?;
                let every: Vec<&Example> = examples.iter().collect();
                Forecaster::fit(&every, &table, &self.fit_options(context))?
            }
        };
        // A model from elsewhere does not know the user's devices, nor what was measured on them.
        forecaster.add_devices(&table);
        if (self.model_file.is_some() || self.prior.is_some()) && context.db().is_file() {
            let own = examples(&context.open(Access::Read)?)?;
            let anchors = forecaster.anchor_by(&own.iter().collect::<Vec<_>>());
            if anchors > 0 {
                context.note(&format!(
                    "{} of devices that the model does not know anchor it",
                    counted(anchors, "own measurement", "own measurements")
                ));
            }
        }
        Ok(forecaster)
    }
}

fn read(path: &Path) -> anyhow::Result<Forecaster> {
    let text = std::fs::read_to_string(path).with_context(|| unreadable(path))?;
    Forecaster::from_json(&text).with_context(|| {
        CommandError::new(
            format!("`{}` holds no fitted model that this benchdb knows", path.display()),
            "`benchdb predict --export FILE` writes one",
        )
    })
}

/// What can be learned from: all valid runs on real devices.
///
/// # Errors
/// What the database refuses.
pub fn examples(store: &Store) -> anyhow::Result<Vec<Example>> {
    let mut examples = store.list_examples(&Selection::default())?;
    // Software that pretends to be a card says nothing about cards.
    examples.retain(|example| !example.subject.device.software);
    Ok(examples)
}

/// Keeps a forecaster in the database, under a name.
///
/// # Errors
/// What the database refuses.
pub fn keep(name: &str, forecaster: &Forecaster, store: &mut Store) -> anyhow::Result<()> {
    let provenance = &forecaster.provenance;
    store.insert_fitted_model(&FittedModelRecord {
        name: name.to_owned(),
        target: TARGET.to_owned(),
        fitted_at: provenance.fitted_at.clone(),
        seed: i64::try_from(provenance.seed).unwrap_or(i64::MAX),
        row_count: i64::try_from(provenance.rows).unwrap_or(i64::MAX),
        provenance: serde_json::to_string(provenance)?,
        evaluation: Some(forecaster.evaluation_json()?),
        content: forecaster.to_json()?,
        tool_version: provenance.tool_version.clone(),
    })?;
    Ok(())
}
