//! Programs of others that a run starts: one that speaks the protocol of docs/external.md, and any command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long a program of others may take over each of its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerTimes {
    /// To start and to say what it can do.
    pub hello: Duration,
    /// To build the model, compilation included.
    pub prepare: Duration,
    /// For one batch of steps.
    pub steps: Duration,
    /// To compute the outputs that are compared with the reference.
    pub outputs: Duration,
    /// To end.
    pub bye: Duration,
}

impl Default for AnswerTimes {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(120),
            prepare: Duration::from_secs(600),
            steps: Duration::from_secs(600),
            outputs: Duration::from_secs(300),
            bye: Duration::from_secs(10),
        }
    }
}

/// A program that speaks the protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExternalProgram {
    /// As it was given: `python3 adapters/pytorch.py`.
    pub command: String,
    /// Its words: the program and its arguments.
    pub words: Vec<String>,
    /// The folder that it is started in.
    pub folder: PathBuf,
    /// How long it may take.
    pub times: AnswerTimes,
    /// What the user passes on to it.
    #[serde(default)]
    pub options: BTreeMap<String, Value>,
    /// Its version, by its own word; empty until it was asked.
    #[serde(default)]
    pub version: String,
    /// The framework below it with its version, by its own word; empty until it was asked.
    #[serde(default)]
    pub framework: String,
}

impl ExternalProgram {
    /// A name for messages: the file that the command runs, without folder and ending (`pytorch` for
    /// `python3 adapters/pytorch.py --x`): the first word that names a script, else the program.
    pub fn short_name(&self) -> String {
        let script = self.words.iter().skip(1).find(|word| !word.starts_with('-') && word.contains('.'));
        let file = script.or(self.words.first()).map(String::as_str).unwrap_or_default();
        let stem = PathBuf::from(file).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        stem.filter(|stem| !stem.is_empty()).unwrap_or_else(|| "external".to_owned())
    }
}

/// A metric that is read from what a command prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParsedMetric {
    /// A regular expression; its first group is the number.
    pub pattern: String,
    /// The metric's name.
    pub name: String,
    /// Its unit; empty where none was given.
    pub unit: String,
}

/// A command line that is measured as a whole process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeCommand {
    /// The program and its arguments; with a shell, the one text that it gets.
    pub words: Vec<String>,
    /// The folder that it is started in.
    pub folder: PathBuf,
    /// The shell that runs it; without one it is started as it is.
    #[serde(default)]
    pub shell: Option<String>,
    /// How long one execution may take.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// Whether exit codes other than 0 are no failure.
    #[serde(default)]
    pub ignore_failure: bool,
    /// Whether what it prints is passed on to standard error.
    #[serde(default)]
    pub show_output: bool,
    /// What is read from its output.
    #[serde(default)]
    pub parse: Vec<ParsedMetric>,
}

/// The words of a command line, as a shell without expansions takes them: apart by white space; `'...'` and `"..."` hold
/// white space together; a backslash takes what follows as it is, but not inside of `'...'`.
///
/// # Errors
/// A quotation that does not end, or no word at all; in one line.
pub fn split_words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' | '"' => {
                let open = word.get_or_insert_default();
                loop {
                    match characters.next() {
                        None => return Err(format!("a {character} has no partner")),
                        Some(next) if next == character => break,
                        Some('\\') if character == '"' => match characters.next() {
                            Some(next @ ('"' | '\\')) => open.push(next),
                            Some(next) => open.extend(['\\', next]),
                            None => return Err("a \" has no partner".to_owned()),
                        },
                        Some(next) => open.push(next),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(characters.next()),
            space if space.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    if words.first().is_none_or(String::is_empty) { Err("it names no program".to_owned()) } else { Ok(words) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        let words = |line| split_words(line).unwrap();
        assert_eq!(words("python3  adapter.py --x"), ["python3", "adapter.py", "--x"]);
        assert_eq!(words(r#"'a b' "c \"d\" \n" e\ f ''"#), ["a b", "c \"d\" \\n", "e f", ""]);
        assert_eq!(words("a'b'\"c\""), ["abc"]);
        assert!(split_words("'a").is_err() && split_words("  ").is_err() && split_words("''").is_err());
    }

    #[test]
    fn a_program_is_called_by_its_script() {
        let named = |command: &str| {
            ExternalProgram {
                command: command.to_owned(),
                words: split_words(command).unwrap(),
                folder: PathBuf::new(),
                times: AnswerTimes::default(),
                options: BTreeMap::new(),
                version: String::new(),
                framework: String::new(),
            }
            .short_name()
        };
        assert_eq!(named("python3 -u adapters/pytorch.py --threads 2"), "pytorch");
        assert_eq!(named("/opt/bin/my-engine --fast"), "my-engine");
    }
}
