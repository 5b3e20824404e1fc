//! Imports: one transaction a file, remembered by the digest of its content, and taken back whole.

use super::insert::{Inserted, RunWriter};
use super::{Store, StoreError, now_text};
use crate::domain::{ImportItem, Refusal};
use rusqlite::{OptionalExtension as _, TransactionBehavior, named_params};

/// The file that is being imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportSource {
    /// Its path.
    pub path: String,
    /// Its format.
    pub format: String,
    /// SHA-256 (hex) of its content.
    pub content_sha256: String,
}

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportOutcome {
    /// Rows were taken.
    Done {
        /// The batch, for `import --undo`.
        batch: i64,
        /// New runs.
        taken: u64,
        /// Runs that were there.
        known: u64,
        /// Rows that were not taken.
        refused: Vec<Refusal>,
    },
    /// A row was refused and nothing may be refused, so nothing was taken.
    NothingTaken {
        /// The rows that were refused.
        refused: Vec<Refusal>,
    },
    /// The same content was imported before.
    Repeated {
        /// The batch of that time.
        batch: i64,
        /// When.
        imported_at: String,
    },
}

impl Store {
    /// Takes the runs of a file, which `read` hands to the function that it is given; with `strict` all of them or
    /// none.
    ///
    /// # Errors
    /// The first error of `read` or of SQLite; nothing is taken then.
    pub fn import_runs<E: From<StoreError>>(
        &mut self,
        source: &ImportSource,
        strict: bool,
        read: impl FnOnce(&mut dyn FnMut(ImportItem) -> Result<(), E>) -> Result<(), E>,
    ) -> Result<ImportOutcome, E> {
        let path = self.path.clone();
        let failed = |error| StoreError::sqlite(&path, error);
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let before: Option<(i64, String)> = transaction
            .query_row(
                "SELECT id, imported_at FROM import_batch WHERE content_sha256 = ?1",
                [&source.content_sha256],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(failed)?;
        if let Some((batch, imported_at)) = before {
            let there = transaction
                .query_row("SELECT 1 FROM run WHERE import_batch_id = ?1 LIMIT 1", [batch], |_| Ok(()))
                .optional()
                .map_err(failed)?;
            if there.is_some() {
                return Ok(ImportOutcome::Repeated { batch, imported_at });
            }
            // Nothing of it is left: its runs were deleted since, or had come from elsewhere.
            transaction.execute("DELETE FROM import_batch WHERE id = ?1", [batch]).map_err(failed)?;
        }
        transaction
            .execute(
                "INSERT INTO import_batch (imported_at, path, format, content_sha256, rows_taken, rows_refused)
                 VALUES (?1, ?2, ?3, ?4, 0, 0)",
                (now_text(), &source.path, &source.format, &source.content_sha256),
            )
            .map_err(failed)?;
        let batch = transaction.last_insert_rowid();
        let (mut taken, mut known, mut refused) = (0_u64, 0_u64, Vec::new());
        {
            let mut writer = RunWriter::new(&transaction);
            read(&mut |item| {
                match item {
                    ImportItem::Refused(refusal) => refused.push(refusal),
                    ImportItem::Run(record) => match writer.insert(&record, Some(batch)).map_err(failed)? {
                        Inserted::New(_) => taken += 1,
                        Inserted::Known(_) => known += 1,
                    },
                }
                Ok(())
            })?;
        }
        if strict && !refused.is_empty() {
            transaction.rollback().map_err(failed)?;
            return Ok(ImportOutcome::NothingTaken { refused });
        }
        let refusals = serde_json::to_string(&refused)
            .map_err(|error| failed(rusqlite::Error::ToSqlConversionFailure(error.into())))?;
        transaction
            .execute(
                "UPDATE import_batch SET rows_taken = :taken, rows_known = :known, rows_refused = :refused,
                     refusals = :refusals WHERE id = :batch",
                named_params! {
                    ":taken": taken.cast_signed(),
                    ":known": known.cast_signed(),
                    ":refused": i64::try_from(refused.len()).unwrap_or(i64::MAX),
                    ":refusals": refusals,
                    ":batch": batch,
                },
            )
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(ImportOutcome::Done { batch, taken, known, refused })
    }

    /// Takes an import back: removes its runs and forgets the file. Answers the number of runs, or `None` where there
    /// is no such batch.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is removed then.
    pub fn undo_import(&mut self, batch: i64) -> Result<Option<u64>, StoreError> {
        self.write(|transaction| {
            let there = transaction
                .query_row("SELECT 1 FROM import_batch WHERE id = ?1", [batch], |_| Ok(()))
                .optional()?
                .is_some();
            if !there {
                return Ok(None);
            }
            let removed = transaction.execute("DELETE FROM run WHERE import_batch_id = ?1", [batch])?;
            transaction.execute("DELETE FROM import_batch WHERE id = ?1", [batch])?;
            super::maintain::sweep(transaction)?;
            Ok(Some(removed as u64))
        })
    }
}
