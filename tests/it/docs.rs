//! What the documentation shows is what the program does.

use std::path::PathBuf;
use std::process::Command;

use crate::support::{Sandbox, skip};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_command_reference_is_current() {
    let sandbox = Sandbox::new();
    let output = sandbox.benchdb().args(["man", "--markdown"]).output().unwrap();
    let current = String::from_utf8(output.stdout).unwrap();
    let path = root().join("docs/cli.md");
    if std::env::var_os("BENCHDB_UPDATE_DOCS").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == current, "docs/cli.md is not current: `benchdb man --markdown > docs/cli.md`");
}

#[test]
fn every_link_of_the_readme_leads_somewhere() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let targets = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    for target in targets.filter(|target| !target.contains("://")) {
        assert!(root().join(target).exists(), "{target} is not there");
    }
}

#[test]
fn the_readme_shows_real_output_only() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    assert!(!readme.contains("@@"), "an example of the README is not filled in");
}

#[test]
fn the_example_measures_and_reads_back() {
    let sandbox = Sandbox::new();
    // Examples are built beside the program by `cargo test`.
    let program = PathBuf::from(env!("CARGO_BIN_EXE_benchdb")).with_file_name("examples").join("measure");
    if !program.exists() {
        return skip("examples are built by `cargo test`, not by `cargo test --test it`");
    }
    let output = Command::new(&program).arg("measured.sqlite").current_dir(sandbox.folder()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(text.lines().filter(|line| line.contains("ok: median Some(")).count(), 2, "{text}");
}
