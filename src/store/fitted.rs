//! Fitted prediction models: kept by name and target, with their provenance.

use rusqlite::{OptionalExtension as _, Row, Transaction, named_params};

use super::{Store, StoreError, now_text};

/// A fitted model as it is stored. Texts are JSON, which this layer does not look into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FittedModelRecord {
    /// Its name.
    pub name: String,
    /// What it forecasts.
    pub target: String,
    /// When it was fitted, ISO-8601 UTC; the time of storing where it is empty.
    pub fitted_at: String,
    /// The seed.
    pub seed: i64,
    /// Examples that it was fitted on.
    pub row_count: i64,
    /// Where they come from.
    pub provenance: String,
    /// How well it did, where that was tested.
    pub evaluation: Option<String>,
    /// The model.
    pub content: String,
    /// The version of benchdb that fitted it.
    pub tool_version: String,
}

impl FittedModelRecord {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            name: row.get("name")?,
            target: row.get("target")?,
            fitted_at: row.get("fitted_at")?,
            seed: row.get("seed")?,
            row_count: row.get("row_count")?,
            provenance: row.get("provenance")?,
            evaluation: row.get("evaluation")?,
            content: row.get("content")?,
            tool_version: row.get("tool_version")?,
        })
    }
}

impl Store {
    /// Keeps a fitted model; an older one of the same name and target is replaced.
    ///
    /// # Errors
    /// What SQLite refuses: a text that is no JSON, a lock.
    pub fn insert_fitted_model(&mut self, record: &FittedModelRecord) -> Result<(), StoreError> {
        let fitted_at = if record.fitted_at.is_empty() { now_text() } else { record.fitted_at.clone() };
        let record = FittedModelRecord { fitted_at, ..record.clone() };
        self.write(|transaction| insert(transaction, &record))
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn list_fitted_models(&self) -> Result<Vec<FittedModelRecord>, StoreError> {
        let read = || {
            let mut statement = self.connection.prepare("SELECT * FROM fitted_model ORDER BY name, target")?;
            statement.query_map([], FittedModelRecord::from_row)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|source| self.fail(source))
    }

    /// The fitted model of a name and target.
    ///
    /// # Errors
    /// What SQLite refuses.
    pub fn find_fitted_model(&self, name: &str, target: &str) -> Result<Option<FittedModelRecord>, StoreError> {
        self.connection
            .query_row(
                "SELECT * FROM fitted_model WHERE name = ?1 AND target = ?2",
                (name, target),
                FittedModelRecord::from_row,
            )
            .optional()
            .map_err(|source| self.fail(source))
    }
}

fn insert(transaction: &Transaction<'_>, record: &FittedModelRecord) -> rusqlite::Result<()> {
    transaction
        .execute(
            include_str!("sql/insert_fitted_model.sql"),
            named_params! {
                ":name": record.name,
                ":target": record.target,
                ":fitted_at": record.fitted_at,
                ":seed": record.seed,
                ":row_count": record.row_count,
                ":provenance": record.provenance,
                ":evaluation": record.evaluation,
                ":content": record.content,
                ":tool_version": record.tool_version,
            },
        )
        .map(drop)
}

/// Stores the models whose names are free; answers how many.
pub(super) fn insert_new(transaction: &Transaction<'_>, models: &[FittedModelRecord]) -> rusqlite::Result<usize> {
    let mut taken = 0;
    for model in models {
        let known = "SELECT 1 FROM fitted_model WHERE name = ?1 AND target = ?2";
        if !transaction.prepare_cached(known)?.exists((&model.name, &model.target))? {
            insert(transaction, model)?;
            taken += 1;
        }
    }
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::samples::new_store;

    #[test]
    fn a_newer_model_takes_the_place_of_the_older() {
        let (_folder, mut store) = new_store();
        let mut record = FittedModelRecord {
            name: "prior".into(),
            target: "seconds_per_sample".into(),
            fitted_at: "2026-11-21T08:00:00.000Z".into(),
            seed: 1,
            row_count: 10,
            provenance: r#"{"source":"timm"}"#.into(),
            evaluation: None,
            content: "{}".into(),
            tool_version: "0.1.0".into(),
        };
        store.insert_fitted_model(&record).unwrap();
        record.row_count = 20;
        store.insert_fitted_model(&record).unwrap();
        assert_eq!(store.find_fitted_model("prior", "seconds_per_sample").unwrap(), Some(record.clone()));
        assert_eq!(store.find_fitted_model("prior", "memory").unwrap(), None);
        record.content = "not JSON".into();
        assert!(store.insert_fitted_model(&record).is_err());
    }
}
