//! HEAD of the repository around a directory, as `git` itself tells it.

use std::path::Path;
use std::process::{Command, Stdio};

/// A commit and whether the work tree differs from it.
pub(super) struct Head {
    pub(super) hash: String,
    pub(super) dirty: bool,
}

/// `None` where there is no repository, no commit or no `git`.
pub(super) fn head(directory: &Path) -> Option<Head> {
    let hash = git(directory, &["rev-parse", "--verify", "HEAD"])?;
    // Untracked files do not count: a database and reports lie beside the code.
    let changes = git(directory, &["status", "--porcelain", "--untracked-files=no"])?;
    Some(Head { hash, dirty: !changes.is_empty() })
}

fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        // Looking must not rewrite the user's index.
        .arg("--no-optional-locks")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
