//! What goes wrong: files that are no database of ours, disks and locks, processes that die in the middle.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{
    Expect as _, SCRIPTED_RUN, Sandbox, has_program, json_of, program, rows, said, skip, stderr_of, wait_for,
};

/// Runs that take long enough to be disturbed: some twelve iterations of real sleep each.
const SLOW: &str = r#"{"iterations_ms": [300], "sleep_ms": 60}"#;
const SHORT: [&str; 6] = ["--iterations", "10", "--min-time", "0", "--warmup", "0"];

/// Every command that opens a database.
const OPENING: [&[&str]; 8] = [
    &["init-db"],
    &["status"],
    &["query", "SELECT 1"],
    &["export"],
    &["check"],
    &["backup", "copy.sqlite"],
    &["delete", "--everything", "--yes"],
    &SCRIPTED_RUN,
];

/// Every command refuses the file with these words, and leaves it and its folder as they were.
#[track_caller]
fn all_refuse(sandbox: &Sandbox, error: &[&str], hint: &[&str]) {
    let bytes = std::fs::read(sandbox.db()).unwrap();
    let listing = sandbox.listing();
    for command in OPENING {
        sandbox.benchdb().args(command).refuses(error, hint);
        assert!(std::fs::read(sandbox.db()).unwrap() == bytes, "{command:?} changed the file");
        assert_eq!(sandbox.listing(), listing, "{command:?} left something behind");
    }
}

#[test]
fn refuses_a_file_that_is_not_sqlite() {
    for content in [&b"short"[..], &[0; 5000], b"SQLite format 3", "a text of some length. ".repeat(50).as_bytes()] {
        let sandbox = Sandbox::new();
        sandbox.write("benchdb.sqlite", content);
        all_refuse(&sandbox, &["`benchdb.sqlite` is not an SQLite database"], &["left untouched", "--db"]);
    }
}

#[test]
fn refuses_another_programs_database() {
    for journal in ["DELETE", "WAL"] {
        let sandbox = Sandbox::new();
        let connection = sandbox.connection();
        connection.pragma_update(None, "journal_mode", journal).unwrap();
        connection.execute_batch("CREATE TABLE run (id); INSERT INTO run VALUES (1);").unwrap();
        drop(connection);
        all_refuse(&sandbox, &["database of another program"], &["left untouched", "--db"]);
    }
}

/// A look at a stranger's file must not leave a log beside it, which only its owner could clear away.
#[test]
fn another_programs_folder_stays_as_it_was() {
    let sandbox = Sandbox::new();
    let connection = sandbox.connection();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.execute_batch("CREATE TABLE run (id)").unwrap();
    drop(connection);
    sandbox.benchdb().arg("status").ends_with(2);
    for sidecar in ["benchdb.sqlite-shm", "benchdb.sqlite-wal"] {
        assert!(!sandbox.path(sidecar).exists(), "{sidecar}");
    }
}

#[test]
fn refuses_a_newer_schema() {
    let sandbox = Sandbox::with_a_run();
    sandbox
        .connection()
        .execute(
            "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
             VALUES (99, 'future', '2030-01-01T00:00:00Z', '1')",
            [],
        )
        .unwrap();
    all_refuse(&sandbox, &["schema 99", "up to 2"], &["left untouched", "newer benchdb"]);
}

#[test]
fn refuses_a_truncated_file() {
    let sandbox = Sandbox::with_a_run();
    let connection = sandbox.connection();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(connection);
    let bytes = std::fs::read(sandbox.db()).unwrap();
    for length in [bytes.len() / 2, bytes.len() - 1, 4096] {
        sandbox.write("benchdb.sqlite", &bytes[..length]);
        all_refuse(&sandbox, &["`benchdb.sqlite` is truncated", &length.to_string()], &["backup", ".recover"]);
    }
}

#[test]
fn refuses_a_damaged_file() {
    let sandbox = Sandbox::with_a_run();
    let mut bytes = std::fs::read(sandbox.db()).unwrap();
    // The first page holds the schema.
    bytes[100..4096].fill(0x5A);
    sandbox.write("benchdb.sqlite", bytes);
    all_refuse(&sandbox, &["`benchdb.sqlite` is damaged"], &["backup"]);
}

#[test]
fn refuses_a_folder() {
    let sandbox = Sandbox::new();
    for command in OPENING {
        let output = sandbox.benchdb().args(["--db", "tmp"]).args(command).refuses(&["`tmp`"], &["--db"]);
        assert!(!stderr_of(&output).contains("no database"), "{}", said(&output));
    }
    sandbox.scripted().args(["--db", "no/such/folder/x.sqlite"]).refuses(&["no/such/folder/x.sqlite"], &["--db"]);
}

/// The program as it is run by a user for whom file modes count: a copy of it in a folder that everybody may enter, which
/// a home folder with cargo's target in it may not be.
struct Nobody {
    _folder: tempfile::TempDir,
    copy: PathBuf,
    is_root: bool,
}

impl Nobody {
    /// `None` where there is no way to become somebody else.
    fn new() -> Option<Self> {
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        if is_root && !has_program("setpriv") {
            skip("root may write everything, and there is no setpriv (util-linux) to become somebody else");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        set_mode(folder.path(), 0o755);
        let copy = folder.path().join("benchdb");
        std::fs::copy(program(), &copy).unwrap();
        Some(Self { _folder: folder, copy, is_root })
    }

    fn command(&self, sandbox: &Sandbox) -> Command {
        if !self.is_root {
            return sandbox.wrapped(&self.copy);
        }
        let mut command = sandbox.wrapped("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&self.copy);
        command
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_file_that_is_read_only_can_be_read_only() {
    let sandbox = Sandbox::with_a_run();
    let bytes = std::fs::read(sandbox.db()).unwrap();
    let Some(nobody) = Nobody::new() else { return };
    set_mode(&sandbox.db(), 0o444);
    for folder_mode in [0o777, 0o555] {
        set_mode(sandbox.folder(), folder_mode);
        nobody.command(&sandbox).args(SCRIPTED_RUN).refuses(&["`benchdb.sqlite` is read-only"], &["writable"]);
        for reading in [&["status"][..], &["query", "SELECT * FROM results"], &["export"], &["check"]] {
            nobody.command(&sandbox).args(reading).succeeds();
        }
        for writing in [&["delete", "--everything", "--yes"][..], &["import", "script.json"]] {
            let output = nobody.command(&sandbox).args(writing).outcome();
            assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        }
        assert!(std::fs::read(sandbox.db()).unwrap() == bytes);
    }
    set_mode(sandbox.folder(), 0o755);
}

#[test]
fn a_folder_that_is_read_only_gets_no_database() {
    let sandbox = Sandbox::new();
    let Some(nobody) = Nobody::new() else { return };
    set_mode(sandbox.folder(), 0o555);
    nobody.command(&sandbox).args(SCRIPTED_RUN).refuses(&["cannot create the database `benchdb.sqlite`"], &["--db"]);
    set_mode(sandbox.folder(), 0o755);
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let sandbox = Sandbox::with_a_run();
    let output = sandbox.benchdb().args(["query", "SELECT * FROM results", "--output", "/dev/full"]).ends_with(2);
    let stderr = stderr_of(&output);
    assert!(stderr.starts_with("error: cannot write `/dev/full`: No space left"), "{stderr}");
    for command in ["query 'SELECT * FROM results'", "export", "status", "completions bash", "models"] {
        let script = format!("exec \"$0\" {command} > /dev/full");
        let output = sandbox.wrapped("sh").args(["-c", &script]).arg(program()).ends_with(2);
        let stderr = stderr_of(&output);
        assert!(stderr.contains("error: ") && stderr.contains("No space left"), "{command}: {stderr}");
    }
    // A file that could not be finished is not left half-made.
    let Some(mut command) = with_small_files(&sandbox, 40_000) else { return };
    let big = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 9999";
    let output = command.args(["query", big, "--output", "big.json"]).ends_with(2);
    assert!(stderr_of(&output).contains("cannot write `big.json`"), "{}", said(&output));
    assert_eq!(sandbox.listing(), ["benchdb.sqlite"]);
}

/// The program, for which no file may grow beyond so many bytes, or `None` where that cannot be had.
fn with_small_files(sandbox: &Sandbox, bytes: u64) -> Option<Command> {
    if !has_program("prlimit") {
        skip("there is no prlimit (util-linux) to limit the size of files");
        return None;
    }
    let mut command = sandbox.wrapped("sh");
    command.args(["-c", "trap '' XFSZ; exec prlimit --fsize=\"$0\" \"$@\"", &bytes.to_string()]).arg(program());
    Some(command)
}

/// The one file in a folder whose name says that it holds an unsaved run.
fn unsaved(folder: &Path) -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("benchdb-unsaved-")))
        .collect();
    assert!(found.len() < 2, "{found:?}");
    found.pop()
}

#[test]
fn a_disk_that_fills_up_loses_no_run() {
    // The log of the database grows to some hundred kilobytes with every run, and may not grow beyond the limit. What
    // is being written when it gets there is nearly always a run; if not, nothing was measured in vain.
    let failed = [300_000, 330_000, 360_000, 390_000].into_iter().find_map(|limit| {
        let sandbox = Sandbox::with_a_run();
        let output = with_small_files(&sandbox, limit)?
            .args(SCRIPTED_RUN)
            .args(["--repeat", "20", "--iterations", "5000", "--label", "full"])
            .refuses(&["no space is left"], &[]);
        stderr_of(&output).contains("benchdb-unsaved-").then_some((sandbox, output))
    });
    let Some((sandbox, output)) = failed else {
        assert!(!has_program("prlimit"), "no run was saved at any limit");
        return;
    };
    assert!(stderr_of(&output).contains("could not be stored"), "{}", said(&output));
    assert!(stderr_of(&output).contains("hint: once the cause is gone: `benchdb import "), "{}", said(&output));
    let file = unsaved(sandbox.folder()).expect("the run that was measured last is beside the database");
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    assert!(stderr_of(&output).contains(&name), "{}", said(&output));
    let stored = sandbox.count("SELECT count(*) FROM results WHERE label = 'full' AND status = 'ok'");
    assert!((1..20).contains(&stored), "{stored}");
    let imported = rows(&sandbox.benchdb().args(["import", &name, "--format", "json"]).json());
    assert_eq!(imported[0]["taken"], 1);
    assert_eq!(sandbox.count("SELECT count(*) FROM results WHERE label = 'full' AND status = 'ok'"), stored + 1);
    sandbox.benchdb().arg("check").succeeds();
    sandbox.benchdb().args(["run", "--resume", "full"]).succeeds();
    let repetitions = "SELECT count(DISTINCT repetition) FROM run JOIN results ON run_id = run.id
        WHERE label = 'full' AND run.status = 'ok'";
    assert_eq!(sandbox.count(repetitions), 20);
}

/// A small file system of its own; gone with the value.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "benchdb-test"])
            .arg(&at)
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let gone = Command::new("umount").arg(&self.0).status();
        assert!(gone.is_ok_and(|status| status.success()) || std::thread::panicking());
    }
}

#[test]
fn a_run_that_does_not_fit_on_the_disk_is_saved_elsewhere() {
    let sandbox = Sandbox::new();
    let Some(disk) = SmallDisk::mount(sandbox.path("disk"), "4m") else {
        skip("no tmpfs can be mounted here; `a_disk_that_fills_up_loses_no_run` limits the size of files instead");
        return;
    };
    let database = disk.0.join("full.sqlite");
    let on_disk = || {
        let mut command = sandbox.benchdb();
        command.arg("--db").arg(&database);
        command
    };
    on_disk().args(SCRIPTED_RUN).succeeds();
    // Fill it, but for some 300 kB: room for the plan, not for a hundred thousand samples.
    let ballast = disk.0.join("ballast");
    let taken: u64 = std::fs::read_dir(&disk.0).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    std::fs::write(&ballast, vec![1; (4 << 20) - taken as usize - 300_000]).unwrap();
    let output = on_disk()
        .args(SCRIPTED_RUN)
        .args(["--iterations", "100000", "--max-time", "1h", "--label", "big"])
        .refuses(&["could not be stored", "no space is left", "benchdb-unsaved-"], &["benchdb import"]);
    let file = unsaved(&disk.0).or_else(|| unsaved(sandbox.folder())).or_else(|| unsaved(&sandbox.path("tmp")));
    let file = file.expect("the run is somewhere");
    assert!(stderr_of(&output).contains(&*file.file_name().unwrap().to_string_lossy()), "{}", said(&output));
    std::fs::remove_file(ballast).unwrap();
    let imported = rows(&on_disk().arg("import").arg(&file).args(["--format", "json"]).json());
    assert_eq!(imported[0]["taken"], 1);
    let count =
        |query: &str| rows(&on_disk().args(["query", "--format", "json", query]).json())[0]["n"].as_i64().unwrap();
    assert_eq!(count("SELECT iterations AS n FROM results WHERE label = 'big' AND status = 'ok'"), 100_000);
    on_disk().arg("check").succeeds();

    // With no room even for the plan, nothing is measured.
    std::fs::write(disk.0.join("ballast"), vec![1; 8 << 20]).unwrap_err();
    let output = on_disk().args(SCRIPTED_RUN).ends_with(2);
    let stderr = stderr_of(&output);
    assert!(stderr.contains("no space is left") && stderr.contains("hint: "), "{stderr}");
}

#[test]
fn a_locked_database_is_waited_for() {
    let sandbox = Sandbox::with_a_run();
    let connection = sandbox.connection();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut run = sandbox.scripted().stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(2));
    assert!(run.try_wait().unwrap().is_none(), "it waits for the lock");
    connection.execute_batch("COMMIT").unwrap();
    let output = run.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 2);
}

#[test]
fn readers_do_not_wait_for_writers() {
    let sandbox = Sandbox::with_a_run();
    let connection = sandbox.connection();
    connection.execute_batch("BEGIN IMMEDIATE; UPDATE campaign SET label = 'unfinished'").unwrap();
    assert_eq!(sandbox.count("SELECT count(*) FROM results WHERE label IS NULL"), 1);
    sandbox.benchdb().arg("status").succeeds();
}

#[test]
fn eight_processes_write_at_once() {
    let sandbox = Sandbox::new();
    let writers: Vec<Child> = (0..8)
        .map(|_| {
            let mut command = sandbox.scripted();
            command.args(["--repeat", "5"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for writer in writers {
        let output = writer.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(sandbox.count("SELECT count(*) FROM run WHERE status = 'ok'"), 40);
    assert_eq!(sandbox.count("SELECT count(*) FROM campaign"), 8);
    assert_eq!(sandbox.count("SELECT count(DISTINCT uuid) FROM run"), 40);
    assert_eq!(sandbox.count("SELECT count(*) FROM planned_run WHERE state = 'done'"), 40);
    assert_eq!(sandbox.count("SELECT count(*) FROM sample WHERE phase = 'iteration'"), 40 * 99);
    assert_eq!(sandbox.count("SELECT count(*) FROM configuration"), 1);
    sandbox.benchdb().arg("check").succeeds();
    assert_eq!(sandbox.listing(), ["benchdb.sqlite"]);
}

/// Process id, parent and start time of every process but zombies.
fn processes() -> Vec<(u32, u32, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap() {
        let name = entry.unwrap().file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 1..].split_whitespace().collect();
        if fields[0] != "Z" {
            found.push((id, fields[1].parse().unwrap(), fields[19].parse().unwrap()));
        }
    }
    found
}

fn send(signal: &str, process: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status().unwrap();
    assert!(sent.success(), "kill -{signal} {process}");
}

/// A run in the background, and what the database says of it meanwhile.
struct Background {
    child: Child,
    connection: rusqlite::Connection,
}

impl Background {
    /// Starts it in a folder that has a database.
    fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        sandbox.benchdb().arg("init-db").succeeds();
        let mut command = sandbox.scripted();
        let child = command.args(SHORT).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, connection: sandbox.connection() }
    }

    fn number(&self, query: &str) -> i64 {
        self.connection.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// Waits until so many runs are stored and the next one has its worker; answers the worker.
    #[track_caller]
    fn worker_after(&self, runs: i64) -> (u32, u64) {
        wait_for("a worker", || {
            let ready = self.number("SELECT count(*) FROM run WHERE status = 'ok'") >= runs
                && self.number("SELECT count(*) FROM planned_run WHERE state = 'running'") == 1;
            let parent = self.child.id();
            let worker = || processes().into_iter().find(|process| process.1 == parent).map(|found| (found.0, found.2));
            ready.then(worker).flatten()
        })
    }

    fn end(self) -> std::process::Output {
        drop(self.connection);
        self.child.wait_with_output().unwrap()
    }
}

#[track_caller]
fn every_planned_run_was_measured_once(sandbox: &Sandbox, runs: i64) {
    let measured = sandbox.sql(
        "SELECT configuration_id, repetition, count(*) AS times FROM run WHERE status = 'ok'
         GROUP BY configuration_id, repetition",
    );
    assert_eq!(measured.len() as i64, runs);
    assert!(measured.iter().all(|row| row["times"] == 1), "{measured:?}");
    assert_eq!(sandbox.count("SELECT count(*) FROM planned_run WHERE state = 'done'"), runs);
    assert_eq!(sandbox.count("SELECT count(*) FROM campaign"), 1);
    sandbox.benchdb().arg("check").succeeds();
}

#[test]
fn a_matrix_that_was_killed_is_resumed() {
    let sandbox = Sandbox::new();
    sandbox.script(SLOW);
    let mut run = Background::start(&sandbox, &["--repeat", "2", "--batch-sizes", "1,2,4"]);
    let worker = run.worker_after(2);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    let stored = run.number("SELECT count(*) FROM run WHERE status = 'ok'");
    assert!((2..6).contains(&stored), "earlier runs are there: {stored}");
    assert_eq!(run.number("SELECT count(*) FROM run WHERE status <> 'ok'"), 0);
    drop(run);
    wait_for("the end of the orphaned worker", || {
        (!processes().iter().any(|process| (process.0, process.2) == worker)).then_some(())
    });

    let output = sandbox.benchdb().args(["status", "--format", "json"]).succeeds();
    assert!(stderr_of(&output).contains("was interrupted") && stderr_of(&output).contains("--resume"));
    assert_eq!(json_of(&output)["failures"][0]["status"], "interrupted");
    assert_eq!(sandbox.count("SELECT count(*) FROM run WHERE status = 'interrupted'"), 1);
    let again = sandbox.benchdb().arg("status").succeeds();
    assert!(!stderr_of(&again).contains("was interrupted"), "it is marked once");

    sandbox.no_script();
    let output = sandbox.benchdb().args(["run", "--resume", "last", "--format", "json"]).succeeds();
    let results = rows(&json_of(&output));
    assert_eq!(results.iter().filter(|row| row["status"] == "ok").count(), 6, "{}", said(&output));
    every_planned_run_was_measured_once(&sandbox, 6);
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 7);
    sandbox.benchdb().args(["run", "--resume", "last"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 7, "nothing is measured again");
}

#[test]
fn the_next_run_marks_what_was_killed() {
    let sandbox = Sandbox::new();
    sandbox.script(SLOW);
    let mut run = Background::start(&sandbox, &["--label", "killed"]);
    run.worker_after(0);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    drop(run);
    sandbox.no_script();
    let output = sandbox.scripted().succeeds();
    assert!(stderr_of(&output).contains("was interrupted"), "{}", said(&output));
    let run = &sandbox.sql("SELECT * FROM run WHERE status = 'interrupted'")[0];
    assert_eq!(run["validity"], "not_measured");
    assert!(run["error"].as_str().unwrap().contains("ended in the middle"));
    sandbox.benchdb().args(["run", "--resume", "killed"]).succeeds();
    assert_eq!(sandbox.count("SELECT count(*) FROM results WHERE label = 'killed' AND status = 'ok'"), 1);
}

#[test]
fn a_campaign_that_is_being_measured_is_left_alone() {
    let sandbox = Sandbox::new();
    sandbox.script(SLOW);
    let run = Background::start(&sandbox, &[]);
    run.worker_after(0);
    let output = sandbox.benchdb().args(["status"]).succeeds();
    assert!(!stderr_of(&output).contains("interrupted"), "{}", said(&output));
    sandbox.benchdb().args(["run", "--resume", "last"]).refuses(&["is being measured by process"], &["wait"]);
    let output = run.end();
    assert!(output.status.success(), "{}", said(&output));
    every_planned_run_was_measured_once(&sandbox, 1);
}

#[test]
fn a_worker_that_was_killed_is_a_failed_run() {
    let sandbox = Sandbox::new();
    sandbox.script(SLOW);
    let run = Background::start(&sandbox, &["--batch-sizes", "1,2,4"]);
    let (worker, _) = run.worker_after(1);
    send("KILL", worker);
    let output = run.end();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let runs = sandbox.sql("SELECT results.batch_size, run.status, run.error FROM run JOIN results ON run_id = run.id");
    let statuses: Vec<&str> = runs.iter().map(|row| row["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["ok", "failed", "ok"], "{}", said(&output));
    assert!(runs[1]["error"].as_str().unwrap().contains("SIGKILL"), "{}", runs[1]);
    assert!(stderr_of(&output).contains("SIGKILL"), "{}", said(&output));
}

#[test]
fn a_worker_without_memory_is_a_status() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"fault": "allocate", "fault_at": 3, "fault_batch_size": 8}"#);
    let output = sandbox
        .wrapped("sh")
        .args(["-c", "ulimit -v 2000000; exec \"$0\" \"$@\""])
        .arg(program())
        .args(SCRIPTED_RUN)
        .args(["--batch-sizes", "8,1", "--format", "json"])
        .ends_with(1);
    let statuses: Vec<Value> = rows(&json_of(&output)).iter().map(|row| row["status"].clone()).collect();
    assert_eq!(statuses, ["out_of_memory", "ok"], "{}", said(&output));
    let run = &sandbox.sql("SELECT error, hint FROM run WHERE status = 'out_of_memory'")[0];
    assert!(run["error"].as_str().unwrap().contains("out of memory"), "{run}");
    assert!(run["hint"].as_str().unwrap().contains("--batch-sizes"), "{run}");
}

#[test]
fn what_an_engine_does_wrong_is_a_failed_run() {
    for (fault, words) in [
        (r#"{"fault": "abort", "fault_at": 5}"#, "SIGABRT"),
        (r#"{"fault": "panic", "fault_at": 5}"#, "the script says so"),
        (r#"{"fault": "error", "fault_at": 5}"#, "the script says so"),
        (r#"{"fault": "error"}"#, "the script says so"),
        (r#"{"iterations_ms": []}"#, "it lists no iterations"),
        ("no json", "cannot be used"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.script(fault);
        let output = sandbox.scripted().ends_with(1);
        let run = &sandbox.sql("SELECT status, validity, stop_reason, error FROM run")[0];
        assert_eq!(run["status"], "failed", "{fault}");
        assert_eq!(run["validity"], "not_measured", "{fault}");
        assert_eq!(run["stop_reason"], "error", "{fault}");
        assert!(run["error"].as_str().unwrap().contains(words), "{fault}: {run}");
        assert!(stderr_of(&output).contains(words), "{fault}: {}", said(&output));
    }
}

#[test]
fn an_error_in_the_middle_keeps_what_was_measured() {
    let sandbox = Sandbox::new();
    // The first call, 20 warm-up iterations of 10 ms, 9 samples, and then the error.
    sandbox.script(r#"{"iterations_ms": [10], "fault": "error", "fault_at": 30}"#);
    sandbox.scripted().ends_with(1);
    let row = &sandbox.sql("SELECT results.*, run.error FROM results JOIN run ON run.id = run_id")[0];
    assert_eq!(row["status"], "failed");
    assert_eq!(row["iterations"], 9);
    assert_eq!(row["success_rate"], 0.9);
    assert_eq!(sandbox.count("SELECT count(*) FROM sample WHERE phase = 'iteration'"), 9);
    assert_eq!(sandbox.count("SELECT count(*) FROM latest_results"), 0, "it is in no ranking");
}

#[test]
fn a_driver_that_chatters_does_no_harm() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"fault": "chatter", "fault_at": 5}"#);
    let output = sandbox.scripted().args(["--format", "json"]).succeeds();
    assert_eq!(rows(&json_of(&output))[0]["status"], "ok");
}

#[test]
fn ctrl_c_marks_the_run_and_leaves() {
    for signal in ["INT", "TERM"] {
        let sandbox = Sandbox::new();
        sandbox.script(SLOW);
        let run = Background::start(&sandbox, &["--batch-sizes", "1,2,4", "--label", "stopped"]);
        let worker = run.worker_after(1);
        send(signal, run.child.id());
        let output = run.end();
        assert_eq!(output.status.code(), Some(130), "{}", said(&output));
        assert!(stderr_of(&output).contains("--resume"), "{}", said(&output));
        let statuses = sandbox.sql("SELECT status, count(*) AS n FROM run GROUP BY status ORDER BY status");
        assert_eq!(statuses[0], serde_json::json!({"status": "interrupted", "n": 1}), "{}", said(&output));
        assert_eq!(sandbox.count("SELECT count(*) FROM planned_run WHERE state = 'running'"), 0);
        assert!(!processes().iter().any(|process| (process.0, process.2) == worker), "the worker is gone");
        sandbox.no_script();
        sandbox.benchdb().args(["run", "--resume", "stopped"]).succeeds();
        every_planned_run_was_measured_once(&sandbox, 3);
    }
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let sandbox = Sandbox::new();
    // One iteration outlasts every grace.
    sandbox.script(r#"{"iterations_ms": [300], "sleep_ms": 60000}"#);
    let run = Background::start(&sandbox, &[]);
    let worker = run.worker_after(0);
    send("INT", run.child.id());
    std::thread::sleep(Duration::from_millis(300));
    send("INT", run.child.id());
    let output = run.end();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    // It did not take the time to write: the next start marks the run.
    assert_eq!(sandbox.count("SELECT count(*) FROM run"), 0);
    let output = sandbox.benchdb().arg("status").succeeds();
    assert!(stderr_of(&output).contains("was interrupted"), "{}", said(&output));
    assert_eq!(sandbox.value("SELECT status FROM run"), "interrupted");
    wait_for("the end of the worker", || {
        (!processes().iter().any(|process| (process.0, process.2) == worker)).then_some(())
    });
}

#[test]
fn an_iteration_that_does_not_end_is_given_up() {
    let sandbox = Sandbox::new();
    sandbox.script(r#"{"iterations_ms": [300], "sleep_ms": 60000}"#);
    let run = Background::start(&sandbox, &[]);
    run.worker_after(0);
    send("INT", run.child.id());
    let output = run.end();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    assert_eq!(sandbox.value("SELECT status FROM run"), "interrupted");
}

#[test]
fn runs_of_other_hosts_are_not_touched() {
    let sandbox = Sandbox::new();
    sandbox.script(SLOW);
    let mut run = Background::start(&sandbox, &[]);
    run.worker_after(0);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    drop(run);
    sandbox.connection().execute("UPDATE planned_run SET lease_host = 'elsewhere'", []).unwrap();
    sandbox.benchdb().arg("status").succeeds();
    let states: HashMap<String, i64> = sandbox
        .sql("SELECT state, count(*) AS n FROM planned_run GROUP BY state")
        .iter()
        .map(|row| (row["state"].as_str().unwrap().to_owned(), row["n"].as_i64().unwrap()))
        .collect();
    assert_eq!(states, HashMap::from([("running".to_owned(), 1)]), "nobody here can tell whether it lives");
}
