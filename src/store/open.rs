//! Opening: which file it is, whether it is ours, and what schema it has.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{Store, StoreError};
use crate::domain::text::folder_of;

mod embedded {
    refinery::embed_migrations!("migrations");
}

/// The newest schema that this program knows: the number of the last migration.
pub const SCHEMA_VERSION: i64 = 2;

/// Other forms of migrations that were in use on the first day: version and checksum; see [`take_other_forms`].
const OTHER_FORMS: [(i32, &str); 2] = [(1, "9368712062849445597"), (2, "5015035397063736088")];

/// `PRAGMA application_id` of our files: "BDb1" in ASCII.
const APPLICATION_ID: i32 = 0x4244_6231;

/// How long a writer waits for another one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a command is going to do with the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read only; the file must be there.
    Read,
    /// Read and write; the file must be there.
    Write,
    /// Read and write; the file is made where there is none.
    Create,
}

/// What opening did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    /// The file was there, with the newest schema.
    Existing,
    /// The file was made.
    Created,
    /// The file had an older schema, which was migrated.
    Migrated {
        /// Its schema before.
        from: i64,
    },
}

/// What the first bytes of a file, and SQLite's own counters, say of it.
enum Identity {
    Absent,
    Empty,
    Ours { schema: i64 },
}

impl Store {
    /// Opens `path`; creates or migrates it where `access` allows.
    ///
    /// # Errors
    /// A file that is missing, damaged, truncated, of another program or of a newer schema is refused and left
    /// as it was.
    pub fn open(path: &Path, access: Access) -> Result<(Self, Opened), StoreError> {
        Self::open_within(path, access, BUSY_TIMEOUT)
    }

    /// As [`Store::open`], for whoever waits no longer than this for another process: now, and with every statement.
    ///
    /// # Errors
    /// As [`Store::open`]; [`StoreError::Locked`] when the time is over.
    pub fn open_within(path: &Path, access: Access, patience: Duration) -> Result<(Self, Opened), StoreError> {
        let opened = match identify(path, patience)? {
            Identity::Absent | Identity::Empty if access != Access::Create => {
                return Err(StoreError::Missing { path: path.into() });
            }
            Identity::Absent => create(path)?,
            Identity::Empty => fill(path)?,
            Identity::Ours { schema } if schema < SCHEMA_VERSION && access == Access::Read => {
                return Err(StoreError::OlderSchema { path: path.into(), found: schema, known: SCHEMA_VERSION });
            }
            Identity::Ours { schema } if schema < SCHEMA_VERSION => migrate_existing(path, schema)?,
            Identity::Ours { .. } => Opened::Existing,
        };
        let connection = connect(path, access, patience)?;
        Ok((Self { connection, path: path.to_path_buf(), deadline: None }, opened))
    }

    /// Opens for reading what this process has open already. [`Store::open`] looks at the file itself, and whoever closes a
    /// file ends all locks that the process has on it (fcntl(2)): others would then take the write-ahead log away from
    /// under the connections that there are, which would never see another change. Here SQLite alone touches it.
    ///
    /// # Errors
    /// What is not ours, or has another schema, and what SQLite refuses.
    pub fn open_again(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        let connection = connect(path, Access::Read, patience)?;
        let failed = |source| StoreError::sqlite(path, source);
        let application: i32 =
            connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(failed)?;
        if application != APPLICATION_ID {
            return Err(StoreError::Foreign { path: path.into() });
        }
        match schema_of(&connection, path)? {
            SCHEMA_VERSION => Ok(Self { connection, path: path.to_path_buf(), deadline: None }),
            found => Err(StoreError::OlderSchema { path: path.into(), found, known: SCHEMA_VERSION }),
        }
    }
}

fn identify(path: &Path, patience: Duration) -> Result<Identity, StoreError> {
    let unreadable = |source| StoreError::Read { path: path.into(), source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Identity::Absent),
        Err(error) => return Err(unreadable(error)),
    };
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(StoreError::NotSqlite { path: path.into() });
    }
    if metadata.len() == 0 {
        return Ok(Identity::Empty);
    }
    let mut header = [0_u8; 100];
    if file.read_exact(&mut header).is_err() || !header.starts_with(b"SQLite format 3\0") {
        return Err(StoreError::NotSqlite { path: path.into() });
    }
    refuse_truncated(path, &header, metadata.len())?;

    // Read from the header, not by SQLite: a connection would leave files beside another program's database.
    if header[68..72] != APPLICATION_ID.to_be_bytes() {
        return Err(StoreError::Foreign { path: path.into() });
    }
    let connection = connect_read_only(path, patience)?;
    Ok(Identity::Ours { schema: schema_of(&connection, path)? })
}

/// The schema of one of our databases, which is not newer than this program.
fn schema_of(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let schema: i64 = connection
        .query_row("SELECT ifnull(max(version), 0) FROM refinery_schema_history", [], |row| row.get(0))
        .map_err(|source| StoreError::sqlite(path, source))?;
    if schema > SCHEMA_VERSION {
        return Err(StoreError::NewerSchema { path: path.into(), found: schema, known: SCHEMA_VERSION });
    }
    Ok(schema)
}

/// The header states the size in pages (file format, section 1.3.7); it holds where the two counters agree and
/// no write-ahead log carries further pages.
fn refuse_truncated(path: &Path, header: &[u8; 100], actual: u64) -> Result<(), StoreError> {
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let expected = u64::from(number(28)) * page_size;
    let counters_agree = number(24) == number(92);
    if counters_agree && actual < expected && !sidecar(path, "-wal").exists() {
        return Err(StoreError::Truncated { path: path.into(), expected, actual });
    }
    Ok(())
}

fn sidecar(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes the new database beside its place and moves it there when it is whole, so that nobody ever sees half a
/// schema and two processes that start at once end up with one file.
fn create(path: &Path) -> Result<Opened, StoreError> {
    let (_workshop, draft) = draft(path)?;
    let draft =
        tempfile::TempPath::try_from_path(draft).map_err(|source| StoreError::Create { path: path.into(), source })?;
    match draft.persist_noclobber(path) {
        Ok(()) => Ok(Opened::Created),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(Opened::Existing),
        Err(error) => Err(StoreError::Create { path: path.into(), source: error.error }),
    }
}

/// Puts a new database in the place of an empty file. Whoever comes at the same time waits for the lock on the empty
/// file, and then finds that it is not empty any more.
fn fill(path: &Path) -> Result<Opened, StoreError> {
    let failed = |source| StoreError::Create { path: path.into(), source };
    let empty = File::open(path).map_err(failed)?;
    empty.lock().map_err(failed)?;
    // A link stays a link.
    let target = std::fs::canonicalize(path).map_err(failed)?;
    if std::fs::metadata(&target).map_err(failed)?.len() > 0 {
        return Ok(Opened::Existing);
    }
    let (_workshop, draft) = draft(&target)?;
    std::fs::rename(&draft, &target).map(|()| Opened::Created).map_err(failed)
}

/// A new, whole database in a temporary folder beside `path`; the folder goes when it is dropped.
fn draft(path: &Path) -> Result<(tempfile::TempDir, PathBuf), StoreError> {
    let folder = tempfile::Builder::new()
        .prefix(".benchdb-new-")
        .tempdir_in(folder_of(path))
        .map_err(|source| StoreError::Create { path: path.into(), source })?;
    let draft = folder.path().join("new.sqlite");
    let failed = |source| StoreError::sqlite(path, source);
    let mut connection = Connection::open(&draft).map_err(failed)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    migrate(&mut connection, path)?;
    connection.close().map_err(|(_, source)| failed(source))?;
    Ok((folder, draft))
}

fn migrate_existing(path: &Path, from: i64) -> Result<Opened, StoreError> {
    let mut connection = Connection::open(path).map_err(|source| StoreError::sqlite(path, source))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|source| StoreError::sqlite(path, source))?;
    match migrate(&mut connection, path) {
        Ok(()) => Ok(Opened::Migrated { from }),
        // Another process may have been faster.
        Err(error) => match identify(path, BUSY_TIMEOUT)? {
            Identity::Ours { schema } if schema == SCHEMA_VERSION => Ok(Opened::Existing),
            _ => Err(error),
        },
    }
}

/// Runs what is missing. Foreign keys are off meanwhile (a table that is rebuilt would cascade and delete its
/// children) and checked afterwards.
fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::sqlite(path, source);
    connection.pragma_update(None, "foreign_keys", false).map_err(failed)?;
    let runner = embedded::migrations::runner();
    take_other_forms(connection, &runner).map_err(failed)?;
    runner.run(connection).map_err(|source| StoreError::Migrate {
        path: path.into(),
        to: SCHEMA_VERSION,
        source: Box::new(source),
    })?;
    let broken: i64 =
        connection.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).map_err(failed)?;
    if broken > 0 {
        return Err(StoreError::DanglingRows { path: path.into(), count: broken });
    }
    Ok(())
}

/// The first two migrations had other forms for some hours. They lead to the same schema: V1 differed in the table `run`
/// alone (an index, and a validity that nothing reported and V2 does not know), which V2 builds anew. So a database of
/// such a form is taken for one of the form that stands; refinery would refuse it for its checksum.
fn take_other_forms(connection: &Connection, runner: &refinery::Runner) -> rusqlite::Result<()> {
    if !connection.table_exists(None, "refinery_schema_history")? {
        return Ok(());
    }
    for migration in runner.get_migrations() {
        for (version, other) in OTHER_FORMS.iter().filter(|(version, _)| *version == migration.version()) {
            let taken = connection.execute(
                "UPDATE refinery_schema_history SET checksum = ?1 WHERE version = ?2 AND checksum = ?3",
                (migration.checksum().to_string(), version, other),
            )?;
            if taken > 0 && *version == 1 {
                connection
                    .execute("UPDATE run SET validity = 'not_measured' WHERE validity = 'failed_iterations'", ())?;
            }
        }
    }
    Ok(())
}

fn connect(path: &Path, access: Access, patience: Duration) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::sqlite(path, source);
    let connection = if access == Access::Read {
        connect_read_only(path, patience)?
    } else {
        let connection =
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
                .map_err(failed)?;
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        // In WAL mode FULL makes each commit durable, at the price of one fsync.
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        connection
    };
    connection.busy_timeout(patience).map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    connection.pragma_update(None, "cache_size", -65_536).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens for reading; in a directory that cannot be written, where WAL has no place for its index, as immutable.
fn connect_read_only(path: &Path, patience: Duration) -> Result<Connection, StoreError> {
    let failed = |source| StoreError::sqlite(path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(patience).map_err(failed)?;
    let readable = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
    match readable {
        Ok(()) => Ok(connection),
        Err(error)
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::CannotOpen)
                || error.sqlite_error_code() == Some(rusqlite::ErrorCode::ReadOnly) =>
        {
            // An immutable database has no log: what stands in one would silently not be there.
            if std::fs::metadata(sidecar(path, "-wal")).is_ok_and(|log| log.len() > 0) {
                return Err(StoreError::UnreadableLog { path: path.into() });
            }
            let uri = immutable_uri(path);
            Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_URI).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

/// `file:` URI of a path with SQLite's `immutable` flag; `%`, `?` and `#` are escaped.
fn immutable_uri(path: &Path) -> String {
    let text = path.to_string_lossy();
    let escaped = text.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    format!("file:{escaped}?immutable=1")
}

#[cfg(test)]
mod tests {
    use super::super::samples::Stranger;
    use super::*;

    #[test]
    fn the_schema_version_is_that_of_the_last_migration() {
        let newest = embedded::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max();
        assert_eq!(newest.map(i64::from), Some(SCHEMA_VERSION));
    }

    /// A copy of a kept database.
    fn kept(name: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("kept.sqlite");
        let name = format!("{}/fixtures/databases/{name}.sqlite", env!("CARGO_MANIFEST_DIR"));
        std::fs::copy(&name, &copy).unwrap_or_else(|error| panic!("{name}: {error}"));
        (folder, copy)
    }

    /// Copies of the databases of every schema, oldest first.
    fn kept_databases() -> Vec<(tempfile::TempDir, PathBuf)> {
        (1..=SCHEMA_VERSION).map(|schema| kept(&format!("schema-{schema}"))).collect()
    }

    fn checksums(path: &Path) -> Vec<(i64, String)> {
        Connection::open(path)
            .unwrap()
            .prepare("SELECT version, checksum FROM refinery_schema_history ORDER BY version")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }

    #[test]
    fn databases_of_every_schema_are_migrated_and_right() {
        for ((_folder, path), schema) in kept_databases().iter().zip(1..) {
            let (store, opened) = Store::open(path, Access::Write).unwrap();
            assert_eq!(opened == Opened::Existing, schema == SCHEMA_VERSION);
            assert_eq!(store.check().unwrap(), []);
            let summary = store.summary().unwrap();
            assert_eq!((summary.runs, summary.ok, summary.not_ok, summary.unsupported), (8, 5, 2, 1));
        }
    }

    /// refinery refuses a database whose migrations are not those of the program, and says so to users only.
    #[test]
    fn no_migration_that_landed_was_edited() {
        let embedded: Vec<(i64, String)> = embedded::migrations::runner()
            .get_migrations()
            .iter()
            .map(|migration| (i64::from(migration.version()), migration.checksum().to_string()))
            .collect();
        // Every database that is kept, and not only the newest: that one is made anew with a new schema.
        for ((_folder, path), schema) in kept_databases().iter().zip(1..) {
            assert_eq!(checksums(path), embedded[..schema], "schema-{schema}.sqlite");
        }
    }

    fn schema(path: &Path) -> Vec<String> {
        let connection = Connection::open(path).unwrap();
        let mut statement =
            connection.prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn databases_of_the_other_forms_become_what_the_standing_ones_are() {
        for (number, form) in OTHER_FORMS {
            let (_folder, other) = kept(&format!("schema-{number}-other"));
            assert_eq!(checksums(&other).last(), Some(&(i64::from(number), form.to_owned())));
            let (_other_folder, standing) = kept(&format!("schema-{number}"));
            for path in [&other, &standing] {
                let (store, _) = Store::open(path, Access::Write).unwrap();
                assert_eq!(store.check().unwrap(), []);
            }
            // A program with a third migration would begin like this.
            migrate(&mut Connection::open(&other).unwrap(), &other).unwrap();
            assert_eq!(schema(&other), schema(&standing), "from here on they are the same");
            assert_eq!(checksums(&other), checksums(&standing));
        }
    }

    #[test]
    fn a_validity_that_went_becomes_one_that_does_not_count_either() {
        let (_folder, path) = kept("schema-1-other");
        let old = Connection::open(&path).unwrap();
        old.execute("UPDATE run SET validity = 'failed_iterations' WHERE id = 1", []).unwrap();
        old.close().unwrap();
        let (store, _) = Store::open(&path, Access::Write).unwrap();
        let validity = "SELECT validity FROM run WHERE id = 1";
        let validity: String = store.connection.query_row(validity, [], |row| row.get(0)).unwrap();
        assert_eq!(validity, "not_measured");
        assert_eq!(store.check().unwrap(), []);
    }

    #[test]
    fn who_has_no_time_is_told_that_the_database_is_locked() {
        let (_folder, path) = kept(&format!("schema-{SCHEMA_VERSION}"));
        let other = Stranger::at(&path);
        other.does("BEGIN EXCLUSIVE");
        let error = Store::open_within(&path, Access::Read, Duration::ZERO).unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
        other.does("ROLLBACK");
        let (store, _) = Store::open_within(&path, Access::Read, Duration::ZERO).unwrap();
        other.does("BEGIN EXCLUSIVE");
        let error = store.data_version().unwrap_err();
        assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    }

    #[test]
    fn what_is_opened_again_is_looked_at_again() {
        let (_folder, path) = kept(&format!("schema-{SCHEMA_VERSION}"));
        let open = || Store::open_again(&path, Duration::ZERO);
        assert_eq!(open().unwrap().summary().unwrap().runs, 8);
        let other = Stranger::at(&path);
        let newest = format!("UPDATE refinery_schema_history SET version = 99 WHERE version = {SCHEMA_VERSION}");
        other.does(&newest);
        assert!(matches!(open(), Err(StoreError::NewerSchema { found: 99, .. })));
        other.does("DELETE FROM refinery_schema_history WHERE version = 99");
        assert!(matches!(open(), Err(StoreError::OlderSchema { .. })));
        other.does("PRAGMA application_id = 7");
        assert!(matches!(open(), Err(StoreError::Foreign { .. })));
    }

    #[test]
    fn special_characters_do_not_end_the_path() {
        assert_eq!(immutable_uri(Path::new("/a?b#c%")), "file:/a%3fb%23c%25?immutable=1");
    }
}
