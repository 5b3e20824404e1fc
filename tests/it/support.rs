//! A folder for each test, the program in it, and ways to look at what it left there.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing here takes this long; whoever waits longer waits for nothing.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program.
pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_benchdb"))
}

/// The root of the package.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// An empty folder in which the program runs, with a database of its own; it goes when the test ends.
pub struct Sandbox {
    folder: Arc<tempfile::TempDir>,
}

impl Sandbox {
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("benchdb-it-").tempdir().unwrap();
        std::fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder: Arc::new(folder) }
    }

    /// Keeps the folder for as long as this lives: a program that goes on may outlive the sandbox.
    pub fn keep(&self) -> Arc<tempfile::TempDir> {
        Arc::clone(&self.folder)
    }

    /// A folder with one valid inference run of the scripted engine.
    pub fn with_a_run() -> Self {
        let sandbox = Self::new();
        sandbox.scripted().succeeds();
        sandbox
    }

    /// A folder whose runs ended in every way that a script can bring about.
    pub fn with_broken_runs() -> Self {
        let sandbox = Self::new();
        sandbox.scripted().args(["--precision", "fp32,int8", "--label", "mixed"]).succeeds();
        sandbox.scripted().arg("--training-mode").succeeds();
        sandbox.scripted().args(["--iterations", "5", "--min-time", "0"]).succeeds();
        sandbox.script(r#"{"fault": "error", "fault_at": 30, "fault_batch_size": 2}"#);
        sandbox.scripted().args(["--batch-sizes", "1,2"]).ends_with(1);
        sandbox.script(r#"{"fault": "abort"}"#);
        sandbox.scripted().ends_with(1);
        sandbox.no_script();
        sandbox
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Whether the tests run as root, who may write everywhere.
    pub fn owner_is_root(&self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        std::fs::metadata(self.folder()).unwrap().uid() == 0
    }

    pub fn db(&self) -> PathBuf {
        self.path("benchdb.sqlite")
    }

    /// The program, in this folder, with an environment that does not depend on who runs the tests.
    pub fn benchdb(&self) -> Command {
        self.wrapped(program())
    }

    /// Another program that ends up starting `benchdb`, in the same surroundings.
    pub fn wrapped(&self, other: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(other);
        command.current_dir(self.folder.path()).env("NO_COLOR", "1").env("TMPDIR", self.path("tmp"));
        // Vulkan drivers complain where there is none.
        command.env("XDG_RUNTIME_DIR", self.path("tmp"));
        for variable in
            ["BENCHDB_PATH", "BENCHDB_SCRIPT", "BENCHDB_CACHE", "GIT_DIR", "GIT_WORK_TREE", "RUST_BACKTRACE"]
        {
            command.env_remove(variable);
        }
        let script = self.path("script.json");
        if script.exists() {
            command.env("BENCHDB_SCRIPT", script);
        }
        command
    }

    /// `benchdb run` with the scripted engine.
    pub fn scripted(&self) -> Command {
        let mut command = self.benchdb();
        command.args(SCRIPTED_RUN);
        command
    }

    /// `benchdb run` with a real engine on the processor, over soon: a few iterations.
    pub fn quick(&self, model: &str) -> Command {
        let mut command = self.benchdb();
        command.args(QUICK_RUN).args(["--model", model]);
        command
    }

    /// A weight file of `cifar_cnn`, made from seed 0 by a method of `benchdb optimize`.
    pub fn optimized(&self, method: &str, arguments: &[&str], to: &str) {
        let mut command = self.benchdb();
        command.args(["optimize", method, "--model", "cifar_cnn", "--to", to]).args(arguments).succeeds();
    }

    /// A metric of the run's own, where it has it.
    pub fn extra_metric(&self, run_id: &Value, name: &str) -> Option<f64> {
        let query = format!("SELECT value FROM extra_metric WHERE run_id = {run_id} AND name = '{name}'");
        self.sql(&query).first().map(|row| number(row, "value"))
    }

    /// What the scripted engine does from now on.
    pub fn script(&self, json: &str) {
        self.write("script.json", json);
    }

    /// The scripted engine goes back to its default.
    pub fn no_script(&self) {
        std::fs::remove_file(self.path("script.json")).unwrap();
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The rows that `benchdb query` answers.
    pub fn sql(&self, query: &str) -> Vec<Value> {
        rows(&self.benchdb().args(["query", "--format", "json", "--max-rows", "0", query]).json())
    }

    /// The first column of the only row.
    pub fn value(&self, query: &str) -> Value {
        let rows = self.sql(query);
        assert_eq!(rows.len(), 1, "{query}");
        let row = rows[0].as_object().unwrap();
        assert_eq!(row.len(), 1, "{query}");
        row.values().next().unwrap().clone()
    }

    pub fn count(&self, query: &str) -> i64 {
        self.value(query).as_i64().unwrap()
    }

    /// The database without the program in between.
    pub fn connection(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.db()).unwrap();
        connection.busy_timeout(PATIENCE).unwrap();
        connection
    }

    /// Names of everything in the folder, but for the script, the folder for temporary files, and the two files that
    /// SQLite keeps beside a database that somebody has read.
    pub fn listing(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .filter(|name| name != "tmp" && name != "script.json" && !name.ends_with("-shm") && !name.ends_with("-wal"))
            .collect();
        names.sort();
        names
    }

    /// All runs as `benchdb export` writes them in JSON.
    pub fn export(&self) -> Vec<u8> {
        self.benchdb().args(["export", "--format", "json"]).succeeds().stdout
    }
}

/// Options that make a run of the scripted engine.
pub const SCRIPTED_RUN: [&str; 7] = ["run", "--engine", "scripted", "--hardware", "cpu", "--model", "cifar_cnn"];

/// Options that make a short run of a real engine.
pub const QUICK_RUN: [&str; 9] =
    ["run", "--hardware", "cpu", "--iterations", "3", "--min-time", "0.05", "--max-time", "10"];

/// A test set of the fixtures, as an argument.
pub fn test_set(name: &str) -> String {
    root().join("fixtures/data").join(name).to_str().unwrap().to_owned()
}

/// A number of a row.
#[track_caller]
pub fn number(row: &Value, column: &str) -> f64 {
    row[column].as_f64().unwrap_or_else(|| panic!("`{column}` is no number in {row}"))
}

/// Whether two numbers are the same but for rounding.
#[track_caller]
pub fn same(left: f64, right: f64) {
    assert!((left - right).abs() <= 1e-9 * right.abs().max(1.0), "{left} is not {right}");
}

/// What tests expect of a program that they run.
pub trait Expect {
    /// Runs it; whatever happens, nothing panics.
    fn outcome(&mut self) -> Output;

    /// Runs it; it ends with this exit code.
    #[track_caller]
    fn ends_with(&mut self, code: i32) -> Output {
        let output = self.outcome();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        output
    }

    #[track_caller]
    fn succeeds(&mut self) -> Output {
        self.ends_with(0)
    }

    /// Runs it; it succeeds and answers JSON of our schema.
    #[track_caller]
    fn json(&mut self) -> Value {
        json_of(&self.succeeds())
    }

    /// Runs it; it refuses with exit code 2, one sentence that contains all of `error`, and a hint that contains all of
    /// `hint`.
    #[track_caller]
    fn refuses(&mut self, error: &[&str], hint: &[&str]) -> Output {
        let output = self.ends_with(2);
        let stderr = stderr_of(&output);
        let line_of = |mark: &str| {
            let lines: Vec<&str> = stderr.lines().filter_map(|line| line.strip_prefix(mark)).collect();
            assert_eq!(lines.len(), 1, "one `{mark}` line: {}", said(&output));
            lines[0].to_owned()
        };
        assert!(output.stdout.is_empty(), "{}", said(&output));
        for (mark, words) in [("error: ", error), ("hint: ", hint)] {
            let line = line_of(mark);
            for word in words {
                assert!(line.contains(word), "`{word}` in `{mark}`: {}", said(&output));
            }
        }
        output
    }
}

impl Expect for Command {
    fn outcome(&mut self) -> Output {
        let output = assert_cmd::Command::from_std(std::mem::replace(self, Self::new("false")))
            .timeout(3 * PATIENCE)
            .output()
            .unwrap();
        assert!(!stderr_of(&output).contains("panicked at"), "{}", said(&output));
        output
    }
}

pub fn stderr_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub fn stdout_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Everything a program said, for messages.
pub fn said(output: &Output) -> String {
    format!("{}\nstdout: {}\nstderr: {}", output.status, stdout_of(output), stderr_of(output))
}

#[track_caller]
pub fn json_of(output: &Output) -> Value {
    let value: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(output)));
    assert_eq!(value["schema"], "benchdb/1");
    value
}

#[track_caller]
pub fn rows(document: &Value) -> Vec<Value> {
    document["rows"].as_array().unwrap_or_else(|| panic!("no rows in {document}")).clone()
}

/// The rows of a plan, with or without something left out.
#[track_caller]
pub fn planned(document: &Value) -> Vec<Value> {
    document.get("plan").or_else(|| document.get("rows")).unwrap().as_array().unwrap().clone()
}

/// Waits until `done` answers something; patient, but not for ever.
#[track_caller]
pub fn wait_for<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = done() {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a process is there, and no corpse.
pub fn lives(process_id: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process_id.trim())).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

/// Says that a test cannot be done here, and why.
pub fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
}

/// Whether a program is on this machine.
pub fn has_program(name: &str) -> bool {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).any(|folder| folder.join(name).is_file())
}

/// A .npy of version 1.0, written by hand: `<f4`, `<i8`, ... in C order.
pub fn npy(descr: &str, shape: &[usize], bytes: &[u8]) -> Vec<u8> {
    let shape: String = shape.iter().map(|extent| format!("{extent}, ")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap();
    [&b"\x93NUMPY\x01\x00"[..], &length.to_le_bytes(), header.as_bytes(), bytes].concat()
}

pub fn floats_npy(shape: &[usize], values: &[f32]) -> Vec<u8> {
    npy("<f4", shape, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

/// Shape as NumPy writes it, and values, of a .npy of floats.
pub fn read_npy(bytes: &[u8]) -> (String, Vec<f32>) {
    assert!(bytes.starts_with(b"\x93NUMPY"));
    let (start, length) = match bytes[6] {
        1 => (10, usize::from(u16::from_le_bytes([bytes[8], bytes[9]]))),
        _ => (12, u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize),
    };
    let header = std::str::from_utf8(&bytes[start..start + length]).unwrap();
    assert!(header.contains("'<f4'") && header.contains("False"), "{header}");
    let shape = header[header.find('(').unwrap()..=header.find(')').unwrap()].replace(' ', "").replace(",)", ")");
    let values = bytes[start + length..]
        .chunks_exact(4)
        .map(|chunk| f32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]))
        .collect();
    (shape, values)
}
