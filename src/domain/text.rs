//! Texts for people, and the little that paths need.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

/// An error and its causes on one line; a cause whose words were said already is not said again.
pub fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A text without control characters, which would talk to the terminal, and without those that turn the order of what
/// follows them, beyond the text itself; line breaks stay.
pub fn printable(text: &str) -> String {
    let is_unwelcome = |character: char| {
        character.is_control() && character != '\n'
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|character| if is_unwelcome(character) { ' ' } else { character }).collect()
}

/// A count with its word: `1 run`, `3 runs`.
pub fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Texts made shorter, in which what was different stays different: where two would become one, each gets a number at its
/// end. `shorten` is given a text and the end for which there has to be room behind it.
pub fn shortened_apart(texts: &[String], shorten: impl Fn(&str, &str) -> String) -> Vec<String> {
    let plain: Vec<String> = texts.iter().map(|text| shorten(text, "")).collect();
    let mut origins: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (short, text) in plain.iter().zip(texts) {
        origins.entry(short).or_default().insert(text);
    }
    let mut taken: HashSet<String> = plain.iter().filter(|short| origins[short.as_str()].len() == 1).cloned().collect();
    let mut numbered: HashMap<&str, String> = HashMap::new();
    let mut one = |short: &String, text: &str| {
        if origins[short.as_str()].len() == 1 {
            return short.clone();
        }
        let candidates = (1..).map(|number| {
            let end = format!(" ({number})");
            shorten(text, &end) + &end
        });
        candidates.into_iter().find(|candidate| taken.insert(candidate.clone())).unwrap_or_default()
    };
    let pairs = plain.iter().zip(texts);
    pairs.map(|(short, text)| numbered.entry(text).or_insert_with(|| one(short, text)).clone()).collect()
}

/// A text that begins with a capital letter, but for the name of a column, which stays as it is.
pub fn capitalised(text: &str) -> String {
    if text.split_whitespace().next().is_some_and(|first| first.contains('_')) {
        return text.to_owned();
    }
    let mut characters = text.chars();
    characters.next().into_iter().flat_map(char::to_uppercase).chain(characters).collect()
}

/// A note as a sentence of its own: with a capital letter and an end. Nothing is no sentence.
pub fn sentence(note: &str) -> String {
    let end = if note.is_empty() || note.ends_with(['.', '?', '!']) { "" } else { "." };
    [&capitalised(note), end].concat()
}

/// A number with four significant digits, never in scientific notation where a person would not use it: `0.05123`,
/// `12.35`, `1235`.
pub fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let magnitude = value.abs().log10().floor();
    if !(-6.0..12.0).contains(&magnitude) {
        return format!("{value:.3e}");
    }
    let decimals = (3.0 - magnitude).clamp(0.0, 9.0) as usize;
    format!("{value:.decimals$}")
}

/// What somebody who panicked said, on one line.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked without a word")
        .replace('\n', " ")
}

/// A text as a POSIX shell takes it for one word.
pub fn quoted(text: &str) -> String {
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "-_./:=,@%+".contains(character);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    ["'", &text.replace('\'', "'\\''"), "'"].concat()
}

/// The folder that a path lies in; the current one for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_do_not_reach_the_terminal() {
        assert_eq!(printable("\u{1b}[31mred\u{7}"), " [31mred ");
    }

    #[test]
    fn texts_that_were_different_stay_different() {
        let first = |text: &str, end: &str| text.chars().take(8 - end.len()).collect::<String>();
        let texts = ["resnet50-a", "vit", "resnet50-b", "resnet50-a", "resn (1)"].map(str::to_owned);
        assert_eq!(shortened_apart(&texts, first), ["resn (2)", "vit", "resn (3)", "resn (2)", "resn (1)"]);
    }

    #[test]
    fn a_word_stays_one_in_a_shell() {
        for (text, word) in [
            ("results/a-1_b.json", "results/a-1_b.json"),
            ("", "''"),
            ("two words", "'two words'"),
            ("it's $HOME", "'it'\\''s $HOME'"),
            ("naïve", "'naïve'"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }

    #[test]
    fn no_text_turns_what_stands_behind_it() {
        assert_eq!(printable("a\u{202e}b\u{2066}c\nd"), "a b c\nd");
        // Words of scripts that run the other way stay, and so do their marks.
        assert_eq!(printable("\u{5e9}\u{5dc}\u{200f}1"), "\u{5e9}\u{5dc}\u{200f}1");
    }

    #[test]
    fn a_note_becomes_a_sentence() {
        for (note, text) in [
            ("two runs are pooled", "Two runs are pooled."),
            ("\u{e9}t\u{e9}!", "\u{c9}t\u{e9}!"),
            ("latency_p50_ms has no value", "latency_p50_ms has no value."),
            ("`--limit 0` shows all.", "`--limit 0` shows all."),
            ("", ""),
        ] {
            assert_eq!(sentence(note), text);
        }
    }

    #[test]
    fn a_bare_name_lies_in_the_current_folder() {
        assert_eq!(folder_of(Path::new("x.sqlite")), Path::new("."));
        assert_eq!(folder_of(Path::new("a/x.sqlite")), Path::new("a"));
    }

    #[test]
    fn four_digits_are_enough_for_people() {
        for (value, text) in [
            (0.0, "0"),
            (0.051_234, "0.05123"),
            (12.345_6, "12.35"),
            (123_456.7, "123457"),
            (-1.5, "-1.500"),
            (1e-9, "1.000e-9"),
        ] {
            assert_eq!(significant(value), text);
        }
    }
}
