//! `benchdb man`: the manual pages, generated from the command line itself.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::CommandFactory as _;

use super::{Context, ExitStatus, write_to};

/// Options of `benchdb man`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Write one page a command into this folder instead of printing the main one
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Print the reference of all commands as Markdown (docs/cli.md)
    #[arg(long, conflicts_with = "folder")]
    markdown: bool,
}

/// Runs the command.
///
/// # Errors
/// A folder that cannot be written.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let command = crate::cli::Cli::command();
    if args.markdown {
        let reference = markdown(command);
        write_to(None, |out| Ok(out.write_all(reference.as_bytes())?))?;
        return Ok(ExitStatus::Ok);
    }
    match &args.folder {
        Some(folder) => {
            std::fs::create_dir_all(folder)
                .and_then(|()| clap_mangen::generate_to(command, folder))
                .with_context(|| format!("cannot write manual pages to `{}`", folder.display()))?;
            context.note(&format!("wrote manual pages to `{}`", folder.display()));
        }
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            write_to(None, |out| Ok(out.write_all(&page)?))?;
        }
    }
    Ok(ExitStatus::Ok)
}

/// The help of every command, in the order in which `--help` lists them.
fn markdown(command: clap::Command) -> String {
    const WIDTH: usize = 100;
    let mut command = command.term_width(WIDTH);
    command.build();
    let mut text = String::from(
        "# The command line\n\nMade by `benchdb man --markdown`; a test holds that it is current.\n\n\
         Exit codes: 0 all well; 1 a run failed, or nothing that was asked for could run, or a check found something; \
         2 the command could not be done; 130 Ctrl-C.\n",
    );
    sections(&mut command, "benchdb", &mut text);
    text
}

/// The help of a command, then that of each of its subcommands.
fn sections(command: &mut clap::Command, name: &str, text: &mut String) {
    let help = command.render_long_help().to_string();
    let help: Vec<&str> = help.lines().map(str::trim_end).collect();
    text.push_str(&format!("\n## `{name}`\n\n```text\n{}\n```\n", help.join("\n").trim_end()));
    for subcommand in command.get_subcommands_mut().filter(|subcommand| subcommand.get_name() != "help") {
        let name = format!("{name} {}", subcommand.get_name());
        sections(subcommand, &name, text);
    }
}
