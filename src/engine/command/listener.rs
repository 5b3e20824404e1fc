//! What a command prints, searched line by line as it comes: however much that is, little of it is kept.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use regex::bytes::Regex;

use super::ExecutionError;
use crate::domain::ParsedMetric;

/// A line longer than this is searched in pieces, in bytes.
const LONGEST_LINE: u64 = 64 * 1024;

/// How much of the end is kept for an error, in bytes.
const MOST_WORDS: usize = 4096;

/// The patterns of a command, compiled.
#[derive(Clone, Debug)]
pub(super) struct Patterns(Arc<[(Regex, ParsedMetric)]>);

impl Patterns {
    /// Compiles them.
    ///
    /// # Errors
    /// A pattern that is no regular expression, or has no group.
    pub fn new(metrics: &[ParsedMetric]) -> Result<Self, ExecutionError> {
        let compiled = metrics.iter().map(|metric| {
            let unusable = |reason: String| ExecutionError::Pattern { pattern: metric.pattern.clone(), reason };
            let regex = Regex::new(&metric.pattern).map_err(|error| {
                // The last line of its message says what is wrong; those before draw where.
                unusable(error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned())
            })?;
            match regex.captures_len() {
                0 | 1 => Err(unusable("it has no group `(...)` that holds the number".to_owned())),
                _ => Ok((regex, metric.clone())),
            }
        });
        Ok(Self(compiled.collect::<Result<_, _>>()?))
    }

    /// The number of each pattern: its last match on standard output, else on standard error.
    ///
    /// # Errors
    /// One without a match, or whose group holds no number.
    pub fn numbers(&self, listeners: &[Option<&Listener>], execution: usize) -> Result<Vec<f64>, ExecutionError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let found: Vec<Vec<Option<String>>> = listeners.iter().flatten().map(|listener| listener.found()).collect();
        let one = |(at, (regex, metric)): (usize, &(Regex, ParsedMetric))| {
            let missing = |reason| ExecutionError::NotFound { execution, name: metric.name.clone(), reason };
            let text = found
                .iter()
                .find_map(|found| found.get(at).cloned().flatten())
                .ok_or_else(|| missing(format!("nothing matches `{regex}`")))?;
            let number = text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
            number.ok_or_else(|| missing(format!("the group of `{regex}` holds `{text}`, no number")))
        };
        self.0.iter().enumerate().map(one).collect()
    }
}

#[derive(Debug, Default)]
struct Heard {
    /// The last match of each pattern.
    found: Vec<Option<String>>,
    end: Vec<u8>,
}

/// A thread that reads one pipe until it closes.
pub(super) struct Listener {
    heard: Arc<Mutex<Heard>>,
    thread: JoinHandle<()>,
}

impl Listener {
    /// Reads `pipe`; `print` gets every piece that comes.
    pub fn start(pipe: impl Read + Send + 'static, patterns: Patterns, print: Option<fn(String)>) -> Self {
        let heard = Arc::new(Mutex::new(Heard { found: vec![None; patterns.0.len()], end: Vec::new() }));
        let thread = {
            let heard = Arc::clone(&heard);
            std::thread::spawn(move || listen(pipe, &patterns, print, &heard))
        };
        Self { heard, thread }
    }

    /// Waits until everything is read, but no longer than `patience`: somebody else may hold the pipe.
    pub fn wait(&self, patience: Duration) {
        let asked = Instant::now();
        while !self.thread.is_finished() && asked.elapsed() < patience {
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    fn found(&self) -> Vec<Option<String>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).found.clone()
    }

    /// The end of what was printed.
    pub fn last_words(&self) -> String {
        String::from_utf8_lossy(&self.heard.lock().unwrap_or_else(PoisonError::into_inner).end).into_owned()
    }
}

fn listen(pipe: impl Read, patterns: &Patterns, print: Option<fn(String)>, heard: &Mutex<Heard>) {
    let mut reader = BufReader::with_capacity(64 * 1024, pipe);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if let Some(print) = print {
            print(String::from_utf8_lossy(&line).into_owned());
        }
        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, (regex, _)) in patterns.0.iter().enumerate() {
            let group = regex.captures_iter(&line).last().and_then(|captures| captures.get(1));
            if let Some(group) = group {
                heard.found[at] = Some(String::from_utf8_lossy(group.as_bytes()).into_owned());
            }
        }
        heard.end.extend_from_slice(&line[line.len().saturating_sub(MOST_WORDS)..]);
        if heard.end.len() > 2 * MOST_WORDS {
            let old = heard.end.len() - MOST_WORDS;
            heard.end.drain(..old);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn metric(pattern: &str) -> ParsedMetric {
        ParsedMetric { pattern: pattern.to_owned(), name: "x".to_owned(), unit: String::new() }
    }

    fn numbers(patterns: &[&str], outputs: [&str; 2]) -> Result<Vec<f64>, String> {
        let patterns = Patterns::new(&patterns.iter().map(|pattern| metric(pattern)).collect::<Vec<_>>()).unwrap();
        let listeners = outputs
            .map(|output| Listener::start(std::io::Cursor::new(output.as_bytes().to_vec()), patterns.clone(), None));
        listeners.iter().for_each(|listener| listener.wait(PATIENCE));
        let listeners = listeners.each_ref().map(Some);
        patterns.numbers(&listeners, 1).map_err(|error| error.to_string())
    }

    #[test]
    fn the_last_match_counts_and_standard_output_comes_first() {
        let found = numbers(&["loss=([-0-9.e]+)", "n: (\\d+)"], ["loss=3 loss=2\nloss=1e-1\n", "loss=9\nn: 7\n"]);
        assert_eq!(found, Ok(vec![0.1, 7.0]));
    }

    #[test]
    fn what_is_missing_or_no_number_is_said() {
        assert!(numbers(&["loss=(.*)"], ["x", "y"]).unwrap_err().contains("nothing matches"));
        assert!(numbers(&["loss=(.*)"], ["loss=nan\n", ""]).unwrap_err().contains("no number"));
    }

    #[test]
    fn patterns_need_a_group() {
        assert!(Patterns::new(&[metric("loss")]).is_err());
        assert!(Patterns::new(&[metric("(")]).is_err());
    }

    #[test]
    fn a_flood_is_searched_and_not_kept() {
        let flood = [vec![b'x'; 3_000_000], b"n=5".to_vec(), vec![b'\n'; 100_000]].concat();
        let patterns = Patterns::new(&[metric("n=(\\d)")]).unwrap();
        let listener = Listener::start(std::io::Cursor::new(flood), patterns.clone(), None);
        listener.wait(PATIENCE);
        assert_eq!(patterns.numbers(&[Some(&listener)], 1).unwrap(), [5.0]);
        assert!(listener.last_words().len() <= 2 * MOST_WORDS);
    }
}
