//! Imports go down only, and SQLite and Burn stay in their layers: the rules of ARCHITECTURE.md, held on the sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::support::root;

/// What each layer may import; what is not listed here is no layer. Everything may import itself and `domain`.
const ALLOWED: [(&str, &[&str]); 16] = [
    ("main", &["cli", "engine"]),
    ("lib", &[]),
    ("cli", &["commands"]),
    (
        "commands",
        &[
            "report", "exchange", "store", "predict", "analysis", "engine", "dataset", "hardware", "stats", "optimize",
            "zoo", "measure", "onnx", "explain", "cache", "heatmap", "serve",
        ],
    ),
    // Tensors go to programs of others, and come back, as NumPy writes them.
    // What a cache hit costs is measured, too.
    ("engine", &["explain", "cache", "zoo", "onnx", "dataset", "exchange", "measure", "hardware", "stats"]),
    // NumPy's files are read in one place.
    ("dataset", &["exchange"]),
    ("explain", &["zoo"]),
    // Attributions lie on disk as NumPy writes them.
    ("cache", &["exchange"]),
    ("optimize", &["zoo"]),
    ("predict", &["stats"]),
    ("analysis", &["stats"]),
    ("measure", &["stats"]),
    ("zoo", &[]),
    // Files are read there, and nothing is run.
    ("onnx", &[]),
    ("exchange", &["stats"]),
    ("report", &[]),
];

/// Layers that know nothing but `domain`.
const BOTTOM: [&str; 6] = ["store", "hardware", "stats", "heatmap", "serve", "domain"];

/// Commands that print what is generated from the whole command line have to see it.
const GENERATED: [&str; 2] = ["commands/completions.rs", "commands/man.rs"];

/// Crates that one layer keeps to itself.
const OWNED: [(&str, &[&str]); 10] = [
    ("rusqlite", &["store"]),
    ("refinery", &["store"]),
    ("burn", &["engine", "zoo", "explain"]),
    ("linfa", &["predict"]),
    ("tract_onnx", &["engine"]),
    ("ort", &["engine"]),
    ("openvino", &["engine"]),
    ("axum", &["serve"]),
    ("tokio", &["serve"]),
    ("maud", &["report"]),
];

struct Source {
    /// Below src, with `/`.
    path: String,
    layer: String,
    code: String,
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    files
        .iter()
        .map(|file| {
            let path = file.strip_prefix(&src).unwrap().to_string_lossy().replace('\\', "/");
            let layer = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
            Source { path, layer, code: without_comments(&std::fs::read_to_string(file).unwrap()) }
        })
        .collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// Line comments may name whatever they like.
fn without_comments(text: &str) -> String {
    text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line }).collect::<Vec<_>>().join("\n")
}

/// The modules that follow `prefix` (`crate::`): one, or all of a group in braces.
fn modules_after(code: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(prefix) {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || "_$".contains(before)) {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            found.extend(first_level(group).iter().map(|item| first_word(item)));
        } else {
            found.insert(first_word(rest));
        }
    }
    found.remove("");
    found
}

/// The items of a group, up to its closing brace, without what stands in inner braces.
fn first_level(group: &str) -> Vec<String> {
    let (mut depth, mut items) = (0, vec![String::new()]);
    for character in group.chars() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ if depth == 0 => items.last_mut().unwrap().push(character),
            _ => {}
        }
    }
    items
}

fn first_word(text: &str) -> String {
    text.trim_start().chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect()
}

#[test]
fn groups_and_single_imports_are_both_read() {
    let code =
        "use crate::{store::{A, B}, domain::C};\nuse crate::engine::D; $crate::label!(); let x = crate::zoo::y();";
    let found: Vec<String> = modules_after(code, "crate::").into_iter().collect();
    assert_eq!(found, ["domain", "engine", "store", "zoo"]);
}

#[test]
fn every_module_belongs_to_a_layer() {
    for source in sources() {
        let known = ALLOWED.iter().any(|(layer, _)| *layer == source.layer) || BOTTOM.contains(&&*source.layer);
        assert!(
            known,
            "src/{} is in no layer that is listed here; give it a row, with what it may import",
            source.path
        );
    }
}

#[test]
fn imports_go_down_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let allowed = ALLOWED.iter().find(|(layer, _)| *layer == source.layer).map_or(&[][..], |(_, allowed)| allowed);
        // The binary sees the library from outside.
        let prefix = if source.layer == "main" { "benchdb::" } else { "crate::" };
        for module in modules_after(&source.code, prefix) {
            let own = module == source.layer;
            let generated = module == "cli" && GENERATED.contains(&&*source.path);
            if !own && !generated && module != "domain" && !allowed.contains(&&*module) {
                wrong.push(format!("src/{} imports {module}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "imports that go up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn connections_stay_in_store_and_tensors_in_the_engines() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (library, layers) in OWNED {
            let named = !modules_after(&source.code, &format!("{library}::")).is_empty();
            if named && !layers.contains(&&*source.layer) {
                wrong.push(format!("src/{} uses {library}", source.path));
            }
        }
    }
    assert!(wrong.is_empty(), "crates outside their layer:\n{}", wrong.join("\n"));
}

#[test]
fn nothing_is_imported_by_a_star() {
    let starred: Vec<String> = sources()
        .into_iter()
        .filter(|source| {
            source.code.lines().any(|line| {
                let line = line.trim();
                let usual = ["use super::*;", "use proptest::prelude::*;"];
                line.starts_with("use ") && line.ends_with("::*;") && !usual.contains(&line)
            })
        })
        .map(|source| source.path)
        .collect();
    assert!(starred.is_empty(), "{starred:?}");
}
