//! Where the libraries of ONNX Runtime and OpenVINO are: where a variable says, in the Python environment at hand, or where the
//! system keeps its libraries. Looked for by the parent, once; a worker is told.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Folders of Python packages, those of an active environment first.
pub(super) fn python_packages() -> &'static [PathBuf] {
    static FOUND: OnceLock<Vec<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut folders = Vec::new();
        for variable in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            if let Some(root) = std::env::var_os(variable).filter(|root| !root.is_empty()) {
                folders.extend(packages_below(Path::new(&root)));
            }
        }
        folders.extend(packages_of_python());
        folders.dedup();
        folders
    })
}

/// `lib/python3.x/site-packages` of an environment; `Lib/site-packages` on Windows.
fn packages_below(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(root.join("lib"))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3"))
        .map(|entry| entry.path().join("site-packages"))
        .collect();
    found.sort();
    found.push(root.join("Lib").join("site-packages"));
    found.retain(|folder| folder.is_dir());
    found
}

/// The folders that the `python3` of the path looks into.
fn packages_of_python() -> Vec<PathBuf> {
    const QUESTION: &str = "import site, sysconfig\n\
        places = [sysconfig.get_path('platlib'), sysconfig.get_path('purelib'), site.getusersitepackages()]\n\
        print('\\n'.join(place for place in places if place))";
    let program = if cfg!(windows) { "python" } else { "python3" };
    let output = Command::new(program)
        // Neither the current folder nor somebody's start-up files have a say.
        .args(["-I", "-S", "-c", QUESTION])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let Ok(output) = output else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().map(PathBuf::from).filter(|folder| folder.is_dir()).collect()
}

/// The library in a folder whose name is this one, or this one with a version behind it; the newest of several.
pub(super) fn library_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let plain = folder.join(name);
    if plain.is_file() {
        return Some(plain);
    }
    let version = |path: &PathBuf| -> Vec<u64> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.split('.').filter_map(|word| word.parse().ok()).collect()
    };
    let versioned = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(|path| {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // `libx.so.1.2` on Linux, `libx.1.2.dylib` on macOS.
        let stem = name.split('.').next().unwrap_or(name);
        let ending = name.rsplit('.').next().unwrap_or_default();
        let of_linux = file.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
        let of_macos = ending == "dylib" && file.starts_with(&format!("{stem}.")) && file.ends_with(".dylib");
        path.is_file() && (of_linux || of_macos)
    });
    versioned.max_by_key(version)
}

/// Folders in which the system looks for libraries, as far as they are named.
pub(super) fn system_folders() -> Vec<PathBuf> {
    let variable = if cfg!(target_os = "macos") {
        "DYLD_LIBRARY_PATH"
    } else if cfg!(windows) {
        "PATH"
    } else {
        "LD_LIBRARY_PATH"
    };
    let named = std::env::var_os(variable).unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&named).filter(|folder| folder.is_dir()).collect();
    let usual = [
        "/usr/local/lib",
        "/usr/lib64",
        "/usr/lib/x86_64-linux-gnu",
        "/usr/lib/aarch64-linux-gnu",
        "/usr/lib",
        "/opt/homebrew/lib",
    ];
    folders.extend(usual.map(PathBuf::from).into_iter().filter(|folder| folder.is_dir()));
    folders
}

/// The file name of a library on this system.
pub(super) fn file_name(name: &str) -> String {
    format!("{}{name}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_is_taken_where_no_plain_name_is() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["libx.so.9.1", "libx.so.10.0", "libxy.so", "libx.so.txt/"] {
            let path = folder.path().join(name);
            if name.ends_with('/') { std::fs::create_dir(path).unwrap() } else { std::fs::write(path, "").unwrap() }
        }
        assert_eq!(library_in(folder.path(), "libx.so"), Some(folder.path().join("libx.so.10.0")));
        std::fs::write(folder.path().join("libx.so"), "").unwrap();
        assert_eq!(library_in(folder.path(), "libx.so"), Some(folder.path().join("libx.so")));
        assert_eq!(library_in(folder.path(), "libz.so"), None);
    }

    #[test]
    fn an_environment_has_its_packages_below() {
        let folder = tempfile::tempdir().unwrap();
        let packages = folder.path().join("lib/python3.11/site-packages");
        std::fs::create_dir_all(&packages).unwrap();
        assert_eq!(packages_below(folder.path()), [packages]);
        assert!(packages_below(Path::new("/does/not/exist")).is_empty());
    }
}
