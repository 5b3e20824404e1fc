//! What all child processes have in common: their last words, how they ended, and that a whole group of them is ended
//! at once.

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitStatus;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The most that is kept of what a process prints to its standard error, in bytes.
const MOST_WORDS: usize = 64 * 1024;

/// How many of its last lines an error quotes, and how many characters of each.
const LINES: usize = 3;
const CHARACTERS: usize = 300;

/// What work in another process has to obey, and who hears of it.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    /// Ends it.
    pub stop: Arc<AtomicBool>,
    /// Hears the process id of the leader of every group that is started.
    pub announce: fn(u32),
    /// Gets what is to be shown.
    pub print: fn(String),
}

/// What a worker needs around it.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Variables to set.
    pub variables: Vec<(&'static str, OsString)>,
    /// A folder that lives for as long as the worker.
    pub folder: Option<tempfile::TempDir>,
}

impl Guard {
    /// For a program that is asked a short question by this process itself.
    pub fn of(stop: &Arc<AtomicBool>) -> Self {
        Self { stop: Arc::clone(stop), announce: |_| {}, print: |_| {} }
    }
}

/// The end of what a process prints, heard by a thread of its own.
#[derive(Debug)]
pub(super) struct LastWords {
    kept: Arc<Mutex<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl LastWords {
    /// Listens until the pipe closes.
    pub fn of(pipe: Option<impl Read + Send + 'static>) -> Self {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let thread = pipe.map(|pipe| {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || listen(pipe, &kept))
        });
        Self { kept, thread }
    }

    /// What was said until now; of a process that has ended, all of it, if nobody else holds the pipe for longer than
    /// `patience`.
    pub fn text(&self, patience: Duration) -> String {
        let asked = Instant::now();
        while self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) && asked.elapsed() < patience {
            std::thread::sleep(Duration::from_millis(1));
        }
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).into_owned()
    }
}

fn listen(mut pipe: impl Read, kept: &Mutex<Vec<u8>>) {
    let mut chunk = [0; 4096];
    while let Ok(count) = pipe.read(&mut chunk) {
        if count == 0 {
            return;
        }
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&chunk[..count]);
        if kept.len() > 2 * MOST_WORDS {
            let old = kept.len() - MOST_WORDS;
            kept.drain(..old);
        }
    }
}

/// What last words tell, to stand behind an error: `; it said: ...` with the last `lines` lines, or nothing.
pub(super) fn telling(words: &str, lines: usize) -> String {
    let mut last: Vec<String> = words
        .lines()
        .rev()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("note:"))
        .take(lines)
        .map(|line| line.chars().take(CHARACTERS).collect())
        .collect();
    last.reverse();
    if last.is_empty() { String::new() } else { format!("; it said: {}", last.join(" | ")) }
}

/// The same with as many lines as an error of a foreign program needs.
pub(super) fn last_lines(words: &str) -> String {
    telling(words, LINES)
}

/// The signal that ended a process.
#[cfg(unix)]
pub(super) fn signal_of(status: ExitStatus) -> Option<i32> {
    std::os::unix::process::ExitStatusExt::signal(&status)
}

#[cfg(not(unix))]
pub(super) fn signal_of(_: ExitStatus) -> Option<i32> {
    None
}

/// How a process ended: `ended with exit code 3`, `was ended by signal 11 (SIGSEGV)`.
pub(super) fn describe_exit(status: ExitStatus) -> String {
    match signal_of(status) {
        Some(signal) => {
            let name = match signal {
                4 => " (SIGILL)",
                6 => " (SIGABRT)",
                7 => " (SIGBUS)",
                9 => " (SIGKILL)",
                11 => " (SIGSEGV)",
                15 => " (SIGTERM)",
                _ => "",
            };
            format!("was ended by signal {signal}{name}")
        }
        None => match status.code() {
            Some(code) => format!("ended with exit code {code}"),
            None => "ended".to_owned(),
        },
    }
}

/// Starts the command as the leader of a process group of its own.
pub(super) fn own_group(command: &mut std::process::Command) {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(not(unix))]
    let _ = command;
}

/// Ends every process of a group at once, by the process id of its leader.
#[cfg(unix)]
pub(super) fn end_group(leader: u32) {
    // Not 0 and not 1: these would mean our own group, and everybody.
    if let Ok(leader @ 2..) = i32::try_from(leader) {
        // A group that has ended already is as good.
        let _ = signal_child::signal(-leader, signal_child::signal::Signal::SIGKILL);
    }
}

/// Process groups are of Unix; elsewhere the leader alone is ended, by whoever holds it.
#[cfg(not(unix))]
pub(super) fn end_group(_: u32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_the_last_lines_that_say_something() {
        assert_eq!(telling("a\n\nb\nnote: c\n", 1), "; it said: b");
        assert_eq!(last_lines("1\n2\n3\n4\n"), "; it said: 2 | 3 | 4");
        assert_eq!(last_lines(" \n"), "");
    }

    #[test]
    fn the_end_of_a_flood_is_kept() {
        let flood = [vec![b'x'; 10 * MOST_WORDS], b"the end".to_vec()].concat();
        let words = LastWords::of(Some(std::io::Cursor::new(flood))).text(Duration::from_secs(10));
        assert!(words.len() <= 2 * MOST_WORDS && words.ends_with("the end"));
    }

    #[cfg(unix)]
    #[test]
    fn a_group_ends_with_those_that_its_leader_started() {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "sleep 100 & echo started; wait"]).stdout(std::process::Stdio::piped());
        own_group(&mut command);
        let mut child = command.spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        let mut byte = [0];
        out.read_exact(&mut byte).unwrap();
        end_group(child.id());
        assert_eq!(signal_of(child.wait().unwrap()), Some(9));
        // The pipe closes when the last one that held it is gone.
        out.read_to_end(&mut Vec::new()).unwrap();
    }
}
