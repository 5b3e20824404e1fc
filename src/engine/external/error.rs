//! What an external program may do wrong: one sentence each.

use std::path::PathBuf;
use std::time::Duration;

use super::messages::PROTOCOL;
use crate::domain::RunStatus;
use crate::engine::error::is_out_of_memory;
use crate::exchange::tensors::TensorFileError;

/// An error of a program that speaks the protocol. `asked` is the request that was not answered as it should be.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// It could not be started.
    #[error("cannot start the external program `{command}`")]
    Start {
        /// The command line.
        command: String,
        /// The folder that it was started in.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It ended, or closed its output.
    #[error("{program} {how} where an answer to `{asked}` was awaited{words}")]
    Ended {
        /// The program.
        program: String,
        /// The request.
        asked: &'static str,
        /// How it ended.
        how: String,
        /// What it said last, as it stands behind a sentence.
        words: String,
        /// Whether the kernel ended it for want of memory.
        killed_for_memory: bool,
    },
    /// It hangs.
    #[error("{program} did not answer `{asked}` within {limit:?} and was ended{words}")]
    TimedOut {
        /// The program.
        program: String,
        /// The request.
        asked: &'static str,
        /// How long it had.
        limit: Duration,
        /// What it said last.
        words: String,
    },
    /// It prints without end.
    #[error(
        "{program} flooded its standard output: more than {limit} bytes in one line, where an answer to `{asked}` was awaited"
    )]
    Flood {
        /// The program.
        program: String,
        /// The request.
        asked: &'static str,
        /// The longest line that is read.
        limit: usize,
    },
    /// It speaks without being asked.
    #[error("{program} printed to its standard output without being asked, before `{asked}`: `{line}`")]
    Unasked {
        /// The program.
        program: String,
        /// The request that came next.
        asked: &'static str,
        /// The beginning of the line.
        line: String,
    },
    /// It answers with something that is no answer.
    #[error("{program} gave no answer to `{asked}`: {reason}")]
    Garbage {
        /// The program.
        program: String,
        /// The request.
        asked: &'static str,
        /// What is wrong with the line.
        reason: String,
    },
    /// It speaks another version.
    #[error("{program} speaks version {found} of the protocol, this benchdb version {PROTOCOL}")]
    Version {
        /// The program.
        program: String,
        /// Its version.
        found: u64,
    },
    /// What it says cannot be.
    #[error("{program} answered `{asked}` with what cannot be true: {what}")]
    Lie {
        /// The program.
        program: String,
        /// The request.
        asked: &'static str,
        /// What is wrong.
        what: String,
    },
    /// It says itself that something went wrong.
    #[error("{program} failed at `{asked}`: {message}")]
    Failed {
        /// The program.
        program: String,
        /// The request.
        asked: &'static str,
        /// Its words.
        message: String,
    },
    /// It says that it cannot do this.
    #[error("{program} does not support {what}: {reason}")]
    Refused {
        /// The program.
        program: String,
        /// What was asked for.
        what: String,
        /// Why not.
        reason: String,
        /// The nearest thing that works.
        nearest: Option<String>,
    },
    /// Tensors for it, or of it, could not be written or read.
    #[error("cannot exchange tensors with {program}")]
    Tensors {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: TensorFileError,
    },
    /// A folder for its files could not be made.
    #[error("cannot make a folder for the tensors of {program}")]
    Folder {
        /// The program.
        program: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Somebody pressed Ctrl-C.
    #[error("it was stopped from outside")]
    Stopped,
}

impl ExternalError {
    /// The way out, in one line.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start { folder, .. } => {
                Some(format!("`--external` takes a command line; this one was started in `{}`", folder.display()))
            }
            Self::TimedOut { asked, limit, .. } => {
                Some(format!("`--external-timeout {asked}={}s` gives it longer", 4 * limit.as_secs().max(1)))
            }
            Self::Flood { .. } | Self::Unasked { .. } | Self::Garbage { .. } | Self::Version { .. } => {
                Some("docs/external.md has the protocol; whatever is no answer belongs on standard error".to_owned())
            }
            Self::Lie { .. } => Some("docs/external.md says what each number means and how it is checked".to_owned()),
            Self::Refused { nearest, .. } => {
                nearest.as_ref().map(|nearest| format!("the nearest thing that works is {nearest}"))
            }
            Self::Tensors { source, .. } => source.hint(),
            Self::Ended { .. } | Self::Failed { .. } if self.status() == RunStatus::OutOfMemory => {
                Some("take a smaller batch (`--batch-sizes`) or a smaller model".to_owned())
            }
            Self::Ended { .. } => {
                Some("run its command by hand: it waits for `{\"type\":\"hello\",\"protocol\":1}`".to_owned())
            }
            Self::Failed { .. } | Self::Folder { .. } | Self::Stopped => None,
        }
    }

    /// The status of a run that ends with this error.
    pub fn status(&self) -> RunStatus {
        match self {
            Self::Refused { .. } => RunStatus::Unsupported,
            Self::Stopped => RunStatus::Interrupted,
            Self::Ended { killed_for_memory: true, .. } => RunStatus::OutOfMemory,
            Self::Ended { words, .. } if is_out_of_memory(words) => RunStatus::OutOfMemory,
            Self::Failed { message, .. } if is_out_of_memory(message) => RunStatus::OutOfMemory,
            _ => RunStatus::Failed,
        }
    }

    /// Whether nothing that the program said before can be trusted any more.
    pub fn breaks_trust(&self) -> bool {
        !matches!(
            self,
            Self::Failed { .. } | Self::Refused { .. } | Self::Folder { .. } | Self::Stopped | Self::Start { .. }
        )
    }
}
