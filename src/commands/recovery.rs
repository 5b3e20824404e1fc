//! Cleaning up after processes that died in the middle of a run.

use std::time::Duration;

use super::Context;
use crate::domain::{Environment, RunRecord};
use crate::engine::record;
use crate::engine::runner::interrupted;
use crate::hardware::procfs;
use crate::store::campaigns::{Lease, OpenRun};
use crate::store::{Store, StoreError};

/// A lease that nobody renewed for this long is lost; it is renewed every ten seconds.
const LEASE_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// The lease of this process.
pub(super) fn own_lease() -> Lease {
    let process_id = std::process::id();
    Lease { host: host(), process_id, process_start: procfs::process_start(process_id).unwrap_or_default() }
}

fn host() -> String {
    sysinfo::System::host_name().unwrap_or_else(|| "unknown".to_owned())
}

/// Marks every run interrupted whose process, on this host, is gone; gives its place in the plan back.
pub(super) fn mark_interrupted(store: &mut Store, context: &Context) -> Result<(), StoreError> {
    let abandoned: Vec<OpenRun> = store
        .list_leased_runs()?
        .into_iter()
        .filter(|open| open.lease.as_ref().is_some_and(|lease| is_gone(lease, open.heartbeat_at.as_deref())))
        .collect();
    if abandoned.is_empty() {
        return Ok(());
    }
    for open in abandoned {
        let Some(lease) = &open.lease else { continue };
        let record = record_of(&open);
        if store.release_interrupted(open.id, lease, &record)? {
            context.note(&format!(
                "a run of campaign {} ({}, process {}) was interrupted; `benchdb run --resume {}` goes on",
                open.campaign.uuid, open.plan.configuration.model, lease.process_id, open.campaign.uuid
            ));
        }
    }
    Ok(())
}

fn record_of(open: &OpenRun) -> RunRecord {
    // What else the surroundings were nobody knows any more.
    let environment =
        Environment { host: open.lease.as_ref().map(|lease| lease.host.clone()), ..Environment::default() };
    RunRecord {
        campaign: Some(open.campaign.clone()),
        // When it started nobody knows any more.
        started_at: None,
        ..record(&open.plan, &environment, interrupted("the process that measured it ended in the middle"))
    }
}

/// On this host the process table tells; elsewhere, or where there is none, the silence of whoever held the lease does.
fn is_gone(lease: &Lease, heartbeat_at: Option<&str>) -> bool {
    if lease.host == host() && lease.process_start != 0 {
        return procfs::process_start(lease.process_id) != Some(lease.process_start);
    }
    let last = heartbeat_at.and_then(|time| time.parse::<jiff::Timestamp>().ok());
    last.is_none_or(|last| jiff::Timestamp::now().duration_since(last).unsigned_abs() > LEASE_TIMEOUT)
}
