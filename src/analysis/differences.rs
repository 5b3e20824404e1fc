//! What differs between the environments of two sides: the first suspects of a change.

use std::collections::BTreeMap;

use crate::domain::{Difference, Environment};

/// What two environments do not have in common.
pub(super) fn differences_between(before: &Environment, after: &Environment) -> Vec<Difference> {
    differences_of(&facts_of_all(std::iter::once(before)), &facts_of_all(std::iter::once(after)))
}

/// What environments say, by name.
pub(super) type EnvironmentFacts = BTreeMap<&'static str, Vec<String>>;

/// What all of these say together.
pub(super) fn facts_of_all<'e>(environments: impl Iterator<Item = &'e Environment>) -> EnvironmentFacts {
    let mut facts = EnvironmentFacts::new();
    for (name, fact) in environments.flat_map(facts_of) {
        let known = facts.entry(name).or_default();
        if let Some(fact) = fact.filter(|fact| !known.contains(fact)) {
            known.push(fact);
        }
    }
    facts
}

/// The last three of a list, and how many others there are.
fn few(facts: &[String]) -> String {
    let others = facts.len().saturating_sub(3);
    let shown = facts[others..].join(", ");
    if others > 0 { format!("{shown} and {others} others") } else { shown }
}

/// What both sides tell, and tell differently.
pub(super) fn differences_of(before: &EnvironmentFacts, after: &EnvironmentFacts) -> Vec<Difference> {
    before
        .iter()
        .filter_map(|(what, was)| {
            let is = after.get(what)?;
            // What the baseline has seen as well explains nothing.
            let differs = !was.is_empty() && is.iter().any(|fact| !was.contains(fact));
            differs.then(|| Difference { what: (*what).to_owned(), baseline: few(was), candidate: few(is) })
        })
        .collect()
}

/// What an environment says, by name.
fn facts_of(environment: &Environment) -> [(&'static str, Option<String>); 12] {
    let commit = environment.git_commit.as_ref().map(|commit| {
        let short: String = commit.chars().take(10).collect();
        if environment.git_dirty == Some(true) { [&short, " (changed)"].concat() } else { short }
    });
    [
        ("host", environment.host.clone()),
        ("os", environment.os.clone()),
        ("kernel", environment.kernel.clone()),
        ("cpu_name", environment.cpu_name.clone()),
        ("cpu_governor", environment.cpu_governor.clone()),
        ("driver_version", environment.driver_version.clone()),
        ("engine_version", environment.engine_version.clone()),
        ("framework_version", environment.framework_version.clone()),
        ("tool_version", environment.tool_version.clone()),
        ("tool_build", environment.tool_build.clone()),
        ("git_commit", commit),
        ("host_memory_bytes", environment.host_memory_bytes.map(|bytes| bytes.to_string())),
    ]
}
