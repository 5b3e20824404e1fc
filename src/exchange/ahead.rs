//! Reading a file on a thread of its own, some runs ahead of whoever stores them.

use std::io::BufRead;
use std::sync::mpsc::{channel, sync_channel};

use super::{ColumnMap, ExchangeError, Head, importer_for};
use crate::domain::ImportItem;

/// Runs that travel together.
const BATCH: usize = 256;
/// Batches that the reader may be ahead.
const BATCHES_AHEAD: usize = 8;

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
enum ReadingError {
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    #[error("nobody takes the runs any more")]
    NobodyTakes,
}

/// Hands every run of a file, and every row that is none, to `sink`, in order, while a thread reads on. Answers what the
/// importer passed over or took for granted, for people.
///
/// What was taken goes back to the thread that made it, to be freed there: memory that one thread allocates and another
/// frees makes both wait for the allocator's lock (a sixth of the time of a large import).
///
/// # Errors
/// A format that is not known, a file that cannot be read as a whole, or the sink's own error.
pub fn read_ahead<E: From<ExchangeError>>(
    head: &Head<'_>,
    content: &mut (dyn BufRead + Send),
    map: &ColumnMap,
    sink: &mut dyn FnMut(&ImportItem) -> Result<(), E>,
) -> Result<Vec<String>, E> {
    std::thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Vec<ImportItem>>(BATCHES_AHEAD);
        let (give_back, taken) = channel::<Vec<ImportItem>>();
        let reader = scope.spawn(move || {
            let importer = importer_for::<ReadingError>(head, map)?;
            let mut batch = Vec::with_capacity(BATCH);
            let mut content = content;
            let notes = importer.read(head.path, &mut content, &mut |item| {
                batch.push(item);
                if batch.len() == BATCH {
                    let mut empty = taken.try_recv().unwrap_or_else(|_| Vec::with_capacity(BATCH));
                    empty.clear();
                    let full = std::mem::replace(&mut batch, empty);
                    sender.send(full).map_err(|_| ReadingError::NobodyTakes)?;
                }
                Ok(())
            })?;
            sender.send(batch).map_err(|_| ReadingError::NobodyTakes)?;
            Ok(notes)
        });
        // An error drops the receiver, and with it ends the reader.
        for batch in receiver {
            batch.iter().try_for_each(&mut *sink)?;
            // After its last batch the reader takes nothing back.
            let _ = give_back.send(batch);
        }
        match reader.join() {
            Ok(Ok(notes)) => Ok(notes),
            Ok(Err(ReadingError::Exchange(error))) => Err(error.into()),
            // Only an error of the sink makes it go away, and that has been answered.
            Ok(Err(ReadingError::NobodyTakes)) => Ok(Vec::new()),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
