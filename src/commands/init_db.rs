//! `benchdb init-db`: create or migrate the database, and say what was done.

use super::{Context, ExitStatus};
use crate::store::{Access, Opened, SCHEMA_VERSION, Store};

/// Options of `benchdb init-db`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// What [`Store::open`] refuses.
pub fn execute(_: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    let (_, opened) = Store::open(context.db(), Access::Create)?;
    let path = context.db().display();
    context.note(&match opened {
        Opened::Created => format!("created `{path}` with schema {SCHEMA_VERSION}"),
        Opened::Migrated { from } => format!("migrated `{path}` from schema {from} to {SCHEMA_VERSION}"),
        Opened::Existing => format!("`{path}` is there already, with schema {SCHEMA_VERSION}"),
    });
    Ok(ExitStatus::Ok)
}
