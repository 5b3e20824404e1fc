//! `benchdb serve`: the record as live pages, for whoever sits at this machine, or has the token.

mod ask;
mod compare;
mod configurations;
mod gallery;
mod overview;
mod pool;
mod report;
mod runs;
mod site;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use self::site::Pages;
use super::options::duration;
use super::{CommandError, Context, ExitStatus, path_text};
use crate::report::html::SERVED_POLICY;
use crate::serve::{HostName, Server, Settings, Token};
use crate::store::{Access, Store};

/// The environment's variable that holds the token.
const TOKEN_VARIABLE: &str = "BENCHDB_TOKEN";

/// Options of `benchdb serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  benchdb serve                                   http://127.0.0.1:8080/, for this machine alone
  benchdb serve --port 0                          any port that is free; the address is printed
  BENCHDB_TOKEN=$(openssl rand -hex 16) benchdb serve --listen 0.0.0.0 --allow-host bench.example")]
pub struct Args {
    /// The port; 0 for any that is free
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// The address to listen on; one that others can reach needs a token
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    listen: IpAddr,
    /// What whoever asks has to know, 16 characters or more; other users of this machine can see it in the list of
    /// processes, unlike the variable
    #[arg(long, value_name = "TOKEN", env = TOKEN_VARIABLE, hide_env_values = true)]
    token: Option<String>,
    /// Names that the server goes by, beside its address: NAME or NAME:PORT
    #[arg(long = "allow-host", value_name = "NAME", value_delimiter = ',')]
    allow_hosts: Vec<HostName>,
    /// How long a client may take to send a request
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    patience: Duration,
}

/// Runs the command: until Ctrl-C or SIGTERM.
///
/// # Errors
/// A database that cannot be read, an address that cannot be listened on, an address for others without a token.
pub fn execute(args: &Args, context: &Context) -> anyhow::Result<ExitStatus> {
    // Nothing is migrated: whoever only shows a record does not change it.
    let (store, _) = Store::open(context.db(), Access::Read)?;
    drop(store);
    let token =
        args.token.as_deref().filter(|text| !text.is_empty()).map(Token::new).transpose().map_err(|reason| {
            CommandError::new(format!("the token cannot be used: {reason}"), "`openssl rand -hex 16` makes a good one")
        })?;
    if !args.listen.is_loopback() && token.is_none() {
        return Err(CommandError::new(
            format!("{} can be reached by others, and there is no token", args.listen),
            format!("set {TOKEN_VARIABLE} (`openssl rand -hex 16` makes a good one), or leave `--listen` out"),
        )
        .into());
    }
    let has_token = token.is_some();
    let server = Server::bind(Settings {
        listen: args.listen,
        port: args.port,
        token,
        names: args.allow_hosts.clone(),
        patience: args.patience.max(Duration::from_millis(100)),
        policy: SERVED_POLICY,
    })?;
    let address = server.own_address();
    let pages = Pages::new(context.db().to_path_buf());
    pages.warm_up();
    context.write(None, |out| Ok(writeln!(out, "http://{address}/")?))?;
    context.note(&format!("serving `{}`, which is only read; Ctrl-C ends it", path_text(context.db())));
    if args.listen.is_unspecified() {
        context.note("any address of this machine leads there, too");
    }
    if has_token {
        context.note("in a browser, open the address once with `?token=TOKEN` behind it");
    }
    if !args.listen.is_loopback() {
        context.note("nothing is encrypted: beyond a network that you trust, put a proxy with TLS before it");
    }
    server.run(Arc::new(pages))?;
    Ok(ExitStatus::Ok)
}
