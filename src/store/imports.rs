//! Imports: one transaction a file, remembered by the digest of its content, and taken back whole.

use super::bulk::Written;
use super::insert::Inserted;
use super::{Store, StoreError, now_text};
use crate::domain::{ImportItem, Refusal};
use rusqlite::{OptionalExtension as _, Transaction, named_params};

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
        read: impl FnOnce(&mut dyn FnMut(&ImportItem) -> Result<(), E>) -> Result<(), E>,
    ) -> Result<ImportOutcome, E> {
        self.write_bulk(|writer, failed| {
            if let Some(repeated) = imported_before(writer.transaction(), source).map_err(failed)? {
                return Ok(Written { answer: repeated, new: 0, keep: false });
            }
            let batch = insert_batch(writer.transaction(), source).map_err(failed)?;
            let (mut taken, mut known, mut refused) = (0_u64, 0_u64, Vec::new());
            read(&mut |item| {
                match item {
                    ImportItem::Refused(refusal) => refused.push(refusal.clone()),
                    ImportItem::Run(record) => match writer.insert(record, Some(batch)).map_err(failed)? {
                        Inserted::New(_) => taken += 1,
                        Inserted::Known(_) => known += 1,
                    },
                }
                Ok(())
            })?;
            if strict && !refused.is_empty() {
                return Ok(Written { answer: ImportOutcome::NothingTaken { refused }, new: 0, keep: false });
            }
            count_rows(writer.transaction(), batch, taken, known, &refused).map_err(failed)?;
            let answer = ImportOutcome::Done { batch, taken, known, refused };
            Ok(Written { answer, new: taken, keep: true })
        })
    }

    /// Takes an import back: removes its runs and forgets the file. Answers the number of runs, or `None` where there
    /// is no such batch.
    ///
    /// # Errors
    /// What SQLite refuses; nothing is removed then.
    pub fn undo_import(&mut self, batch: i64) -> Result<Option<u64>, StoreError> {
        let removed = self.write(|transaction| {
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
        })?;
        self.settle(removed.unwrap_or_default());
        Ok(removed)
    }
}

/// The batch of the same content, unless nothing of it is left: its runs were deleted since, or had come from elsewhere.
/// Such a batch is forgotten.
fn imported_before(transaction: &Transaction<'_>, source: &ImportSource) -> rusqlite::Result<Option<ImportOutcome>> {
    let before: Option<(i64, String)> = transaction
        .query_row(
            "SELECT id, imported_at FROM import_batch WHERE content_sha256 = ?1",
            [&source.content_sha256],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((batch, imported_at)) = before else {
        return Ok(None);
    };
    let there = transaction
        .query_row("SELECT 1 FROM run WHERE import_batch_id = ?1 LIMIT 1", [batch], |_| Ok(()))
        .optional()?;
    if there.is_some() {
        return Ok(Some(ImportOutcome::Repeated { batch, imported_at }));
    }
    transaction.execute("DELETE FROM import_batch WHERE id = ?1", [batch])?;
    Ok(None)
}

fn insert_batch(transaction: &Transaction<'_>, source: &ImportSource) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO import_batch (imported_at, path, format, content_sha256, rows_taken, rows_refused)
         VALUES (?1, ?2, ?3, ?4, 0, 0)",
        (now_text(), &source.path, &source.format, &source.content_sha256),
    )?;
    Ok(transaction.last_insert_rowid())
}

fn count_rows(
    transaction: &Transaction<'_>,
    batch: i64,
    taken: u64,
    known: u64,
    refused: &[Refusal],
) -> rusqlite::Result<()> {
    let refusals =
        serde_json::to_string(refused).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
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
        .map(drop)
}
