//! The command line: global options, the list of subcommands, and what becomes of an error.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{
    Context, ExitStatus, GlobalArgs, accept, analyze, backup, baseline, check, completions, delete, exec, explain,
    export, hardware, hint_of, import, infer, init_db, man, merge, models, optimize, predict, profile, query,
    recommend, regress, report, run, serve, status, visualize,
};
use crate::domain::text::one_line;

/// Measure neural networks on the hardware you have, keep every run in one SQLite file, ask it anything.
#[derive(Debug, Parser)]
#[command(name = "benchdb", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// One variant a subcommand.
#[derive(Debug, Subcommand)]
enum Command {
    /// Create or migrate the database
    InitDb(init_db::Args),
    /// Show what the database holds: counts, coverage, newest runs, failures
    Status(status::Args),
    /// List the networks that can be measured
    Models(models::Args),
    /// List devices, engines and precisions here, and what is missing for the others
    Hardware(hardware::Args),
    /// Measure and record
    Run(Box<run::Args>),
    /// Measure any command line as a whole process
    Exec(Box<exec::Args>),
    /// Run one forward pass on tensors from a file
    Infer(infer::Args),
    /// Show what an answer rests on: attributions as heat maps, arrays and tables
    Explain(Box<explain::Args>),
    /// Make smaller or faster versions of a model to compare: pruned, int8, trained, distilled
    Optimize(Box<optimize::Args>),
    /// Compare what was measured: medians, speed-ups, scaling, rankings; or judge it against a file
    Analyze(Box<analyze::Args>),
    /// Find the best hardware, engine, precision and batch size for a model
    Recommend(Box<recommend::Args>),
    /// Show where the time of a model goes: operators, flame graphs, and what changed between two profiles
    Profile(Box<profile::Args>),
    /// Forecast what was not measured, with intervals and how far they reach
    Predict(Box<predict::Args>),
    /// Judge what was measured against a baseline, other runs or its history
    Regress(Box<regress::Args>),
    /// Draw charts of what was measured
    Visualize(Box<visualize::Args>),
    /// Write everything that the record says: one page, Markdown for a pull request, or JSON
    Report(Box<report::Args>),
    /// Name sets of runs to compare with
    Baseline(baseline::Args),
    /// Accept a change: the history of its series starts anew
    Accept(accept::Args),
    /// Ask the database in SQL, or by a named query
    Query(query::Args),
    /// Write runs to a JSON or CSV file
    Export(export::Args),
    /// Take runs from files
    Import(import::Args),
    /// Take all runs of another database
    Merge(merge::Args),
    /// Remove runs, after showing them
    Delete(delete::Args),
    /// Copy the database while it is in use
    Backup(backup::Args),
    /// Look for damage
    Check(check::Args),
    /// Show the record as live pages, on this machine or to whoever has the token
    Serve(Box<serve::Args>),
    /// Print a completion script for a shell
    Completions(completions::Args),
    /// Print the manual page, or write one a command into a folder
    Man(man::Args),
}

impl Cli {
    /// Runs the command; prints its error and hint.
    pub fn main(self) -> ExitCode {
        let context = Context::new(self.global);
        let outcome = match self.command {
            Command::InitDb(args) => init_db::execute(&args, &context),
            Command::Status(args) => status::execute(&args, &context),
            Command::Models(args) => models::execute(&args, &context),
            Command::Hardware(args) => hardware::execute(&args, &context),
            Command::Run(args) => run::execute(&args, &context),
            Command::Exec(args) => exec::execute(&args, &context),
            Command::Infer(args) => infer::execute(&args, &context),
            Command::Explain(args) => explain::execute(&args, &context),
            Command::Optimize(args) => optimize::execute(&args, &context),
            Command::Analyze(args) => analyze::execute(&args, &context),
            Command::Recommend(args) => recommend::execute(&args, &context),
            Command::Profile(args) => profile::execute(&args, &context),
            Command::Predict(args) => predict::execute(&args, &context),
            Command::Regress(args) => regress::execute(&args, &context),
            Command::Visualize(args) => visualize::execute(&args, &context),
            Command::Report(args) => report::execute(&args, &context),
            Command::Baseline(args) => baseline::execute(&args, &context),
            Command::Accept(args) => accept::execute(&args, &context),
            Command::Query(args) => query::execute(&args, &context),
            Command::Export(args) => export::execute(&args, &context),
            Command::Import(args) => import::execute(&args, &context),
            Command::Merge(args) => merge::execute(&args, &context),
            Command::Delete(args) => delete::execute(&args, &context),
            Command::Backup(args) => backup::execute(&args, &context),
            Command::Check(args) => check::execute(&args, &context),
            Command::Serve(args) => serve::execute(&args, &context),
            Command::Completions(args) => completions::execute(&args, &context),
            Command::Man(args) => man::execute(&args, &context),
        };
        match outcome {
            Ok(status) => status.into(),
            Err(error) if is_broken_pipe(&error) => ExitStatus::Ok.into(),
            Err(error) => {
                context.complain(&one_line(error.as_ref()), hint_of(&error).as_deref());
                ExitStatus::Error.into()
            }
        }
    }
}

/// Whoever reads our output has gone away: `benchdb query ... | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
