//! What can move a number without changing the work.

use serde::{Deserialize, Serialize};

use super::configuration::sha256_hex;

/// The surroundings of a run. What could not be read is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Host name.
    pub host: Option<String>,
    /// Operating system and its version.
    pub os: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Instruction set: `x86_64`, `aarch64`.
    pub architecture: Option<String>,
    /// The host processor's name.
    pub cpu_name: Option<String>,
    /// Logical processors of the host.
    pub cpu_logical: Option<u32>,
    /// Memory of the host in bytes.
    pub host_memory_bytes: Option<u64>,
    /// Frequency governor of the host's processor.
    pub cpu_governor: Option<String>,
    /// The device driver's version.
    pub driver_version: Option<String>,
    /// The engine's version.
    pub engine_version: Option<String>,
    /// The framework below the engine, with its version.
    pub framework_version: Option<String>,
    /// The version of benchdb that measured.
    pub tool_version: Option<String>,
    /// How benchdb was built: profile and features.
    pub tool_build: Option<String>,
    /// HEAD of the repository in the current directory.
    pub git_commit: Option<String>,
    /// Whether that repository had uncommitted changes.
    pub git_dirty: Option<bool>,
}

impl Environment {
    /// SHA-256 (hex) of the canonical JSON form.
    pub fn fingerprint(&self) -> String {
        // A struct of plain fields always serialises; its fields keep their order.
        sha256_hex(&serde_json::to_vec(self).unwrap_or_default())
    }
}
