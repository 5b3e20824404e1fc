//! The named queries: the statements of `queries/`, each of which opens with the question that it answers.

/// A statement with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamedQuery {
    /// Its name: the file's, without `.sql`.
    pub name: &'static str,
    /// The statement, its question in the first lines.
    pub sql: &'static str,
}

macro_rules! named_queries {
    ($($name:literal),+ $(,)?) => {
        /// All of them, in alphabetical order.
        pub const NAMED_QUERIES: &[NamedQuery] = &[
            $(NamedQuery { name: $name, sql: include_str!(concat!("../../queries/", $name, ".sql")) }),+
        ];
    };
}

named_queries![
    "batch_scaling",
    "coverage",
    "coverage_gaps",
    "energy_per_sample",
    "environments",
    "failures",
    "history",
    "leaderboard",
    "newest",
    "precision_effect",
    "slowest_startup",
    "speedup_matrix",
    "training_phases",
];

impl NamedQuery {
    /// The question in the comment that opens the file.
    pub fn question(&self) -> String {
        self.sql.lines().map_while(|line| line.strip_prefix("--")).map(str::trim).collect::<Vec<_>>().join(" ")
    }
}

/// The named query of that name; `-` and `_` are the same.
pub fn find_named(name: &str) -> Option<&'static NamedQuery> {
    let wanted = crate::domain::names::folded(name);
    NAMED_QUERIES.iter().find(|query| crate::domain::names::folded(query.name) == wanted)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_file_of_the_folder_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/queries");
        let files: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .collect();
        let listed = NAMED_QUERIES.iter().map(|query| query.name.to_owned()).collect();
        assert_eq!(files, listed);
    }

    #[test]
    fn every_query_opens_with_its_question() {
        for query in NAMED_QUERIES {
            assert!(query.question().contains('?'), "{} asks nothing", query.name);
        }
    }
}
