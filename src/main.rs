//! Parses, runs, prints an error with its hint, and leaves with the exit code of docs/cli.md.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    // A worker is this program started again by its parent; it has no command line of its own.
    match benchdb::engine::worker::serve_if_asked() {
        Ok(false) => {}
        Ok(true) => return ExitCode::SUCCESS,
        // The parent is gone; nobody reads a message.
        Err(_) => return ExitCode::FAILURE,
    }
    benchdb::cli::Cli::parse().main()
}
