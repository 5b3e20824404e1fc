//! A conversation with an external program: one line there, one line back, each within its time.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use super::error::ExternalError;
use super::messages::{Answer, Request};
use crate::domain::ExternalProgram;
use crate::engine::process::{Guard, LastWords, describe_exit, end_group, last_lines, own_group, signal_of};
use crate::hardware::procfs;

/// How often a waiting caller looks at its stop flag.
const LOOK: Duration = Duration::from_millis(20);

/// The longest line that is read, in bytes: a thousand steps of six phases are a tenth of it.
const LONGEST_LINE: usize = 1 << 20;

/// Lines that wait unread; a program that prints more stands still.
const MOST_LINES: usize = 4;

/// How long a program whose output closed may take to end.
const END: Duration = Duration::from_secs(2);

/// How long its last words may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Characters of a line that an error quotes.
const QUOTED: usize = 120;

/// One line of a program, and when it was whole.
enum Line {
    Whole(Instant, Vec<u8>),
    TooLong,
}

/// A running program. When this goes, so does every process of its group.
pub(super) struct Talk {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<Line>,
    words: LastWords,
    guard: Guard,
    kills_before: Option<u64>,
}

impl Talk {
    /// Starts the program with this many threads (0: as many as it likes). `name` stands in messages.
    pub fn start(program: &ExternalProgram, name: String, threads: u32, guard: Guard) -> Result<Self, ExternalError> {
        let failed =
            |source| ExternalError::Start { command: program.command.clone(), folder: program.folder.clone(), source };
        let Some((first, rest)) = program.words.split_first() else {
            return Err(failed(std::io::ErrorKind::NotFound.into()));
        };
        let mut command = Command::new(first);
        command
            .args(rest)
            .current_dir(&program.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if threads > 0 {
            // The pools of OpenMP, OpenBLAS, MKL, Accelerate and numexpr; each library reads its own.
            for variable in [
                "OMP_NUM_THREADS",
                "OPENBLAS_NUM_THREADS",
                "MKL_NUM_THREADS",
                "VECLIB_MAXIMUM_THREADS",
                "NUMEXPR_NUM_THREADS",
                "RAYON_NUM_THREADS",
            ] {
                command.env(variable, threads.to_string());
            }
        }
        own_group(&mut command);
        let kills_before = procfs::out_of_memory_kills();
        let mut child = command.spawn().map_err(failed)?;
        (guard.announce)(child.id());
        let (line_to, lines) = sync_channel(MOST_LINES);
        if let Some(stdout) = child.stdout.take() {
            std::thread::spawn(move || listen(stdout, &line_to));
        }
        let words = LastWords::of(child.stderr.take());
        let stdin = child.stdin.take();
        Ok(Self { name, child, stdin, lines, words, guard, kills_before })
    }

    /// Gives it the name that it has by its own word.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
    }

    /// Its name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The largest resident memory of a process of its group so far, in bytes.
    pub fn peak_memory(&self) -> Option<u64> {
        procfs::group_peak_resident_bytes(self.child.id())
    }

    /// Asks, and waits for the answer; tells how long that took.
    pub fn ask(&mut self, request: &Request<'_>, limit: Duration) -> Result<(Answer, Duration), ExternalError> {
        let asked = request.name();
        match self.lines.try_recv() {
            Ok(Line::Whole(_, line)) => {
                return Err(ExternalError::Unasked { program: self.name.clone(), asked, line: quoted(&line) });
            }
            Ok(Line::TooLong) => return Err(self.flooded(asked)),
            // Whether it is gone shows below, after what it said last.
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
        let sent = Instant::now();
        self.send(request);
        loop {
            match self.lines.recv_timeout(LOOK.min(limit)) {
                Ok(Line::Whole(at, line)) => return Ok((self.understood(asked, &line)?, at.duration_since(sent))),
                Ok(Line::TooLong) => return Err(self.flooded(asked)),
                Err(RecvTimeoutError::Disconnected) => return Err(self.obituary(asked)),
                Err(RecvTimeoutError::Timeout) => self.look(asked, sent, limit)?,
            }
        }
    }

    /// Says good-bye and waits for its end.
    ///
    /// # Errors
    /// It says something else, does not end, or not with exit code 0.
    pub fn bye(mut self, limit: Duration) -> Result<(), ExternalError> {
        let asked = Request::Bye.name();
        let sent = Instant::now();
        self.send(&Request::Bye);
        self.stdin = None;
        let mut closed = false;
        loop {
            let heard = if closed {
                std::thread::sleep(LOOK / 10);
                Err(RecvTimeoutError::Timeout)
            } else {
                self.lines.recv_timeout(LOOK)
            };
            match heard {
                Ok(Line::Whole(_, line)) => drop(self.understood(asked, &line)?),
                Ok(Line::TooLong) => return Err(self.flooded(asked)),
                Err(RecvTimeoutError::Disconnected) => closed = true,
                Err(RecvTimeoutError::Timeout) => {
                    if let Ok(Some(status)) = self.child.try_wait() {
                        return if status.success() { Ok(()) } else { Err(self.ended(asked, Some(status))) };
                    }
                    self.look(asked, sent, limit)?;
                }
            }
        }
    }

    /// What it says cannot be true.
    pub fn lie(&self, asked: &'static str, what: impl Into<String>) -> ExternalError {
        ExternalError::Lie { program: self.name.clone(), asked, what: what.into() }
    }

    fn send(&mut self, request: &Request<'_>) {
        let Ok(mut line) = serde_json::to_vec(request) else { return };
        line.push(b'\n');
        if let Some(stdin) = &mut self.stdin {
            // A program that is gone shows by its silence.
            let _ = stdin.write_all(&line).and_then(|()| stdin.flush());
        }
    }

    /// Ends the conversation where somebody wants it, or the time is over.
    fn look(&mut self, asked: &'static str, sent: Instant, limit: Duration) -> Result<(), ExternalError> {
        if self.guard.stop.load(Ordering::Relaxed) {
            end_group(self.child.id());
            return Err(ExternalError::Stopped);
        }
        if sent.elapsed() <= limit {
            return Ok(());
        }
        let words = last_lines(&self.words.text(Duration::ZERO));
        end_group(self.child.id());
        Err(ExternalError::TimedOut { program: self.name.clone(), asked, limit, words })
    }

    fn understood(&self, asked: &'static str, line: &[u8]) -> Result<Answer, ExternalError> {
        let program = || self.name.clone();
        let garbage = |reason| ExternalError::Garbage { program: program(), asked, reason };
        match serde_json::from_slice::<Answer>(line) {
            Ok(Answer::Error { message }) => Err(ExternalError::Failed { program: program(), asked, message }),
            Ok(Answer::Unsupported { reason, nearest }) => {
                Err(ExternalError::Refused { program: program(), what: "this".to_owned(), reason, nearest })
            }
            Ok(answer) if answer.name() == asked => Ok(answer),
            Ok(answer) => Err(garbage(format!("it answered `{}`", answer.name()))),
            Err(error) => {
                let what = if serde_json::from_slice::<serde_json::Value>(line).is_ok() {
                    "is not as docs/external.md has it"
                } else {
                    "is no JSON"
                };
                Err(garbage(format!("`{}` {what} ({error})", quoted(line))))
            }
        }
    }

    fn flooded(&mut self, asked: &'static str) -> ExternalError {
        end_group(self.child.id());
        ExternalError::Flood { program: self.name.clone(), asked, limit: LONGEST_LINE }
    }

    /// Why it closed its output.
    fn obituary(&mut self, asked: &'static str) -> ExternalError {
        self.stdin = None;
        let closed = Instant::now();
        let mut status = None;
        while status.is_none() && closed.elapsed() < END {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(1)),
                Ok(found) => status = found,
                Err(_) => break,
            }
        }
        self.ended(asked, status)
    }

    fn ended(&self, asked: &'static str, status: Option<ExitStatus>) -> ExternalError {
        let killed = status.is_some_and(|status| signal_of(status) == Some(9));
        let more_kills = match (self.kills_before, procfs::out_of_memory_kills()) {
            (Some(before), Some(after)) => after > before,
            _ => false,
        };
        ExternalError::Ended {
            program: self.name.clone(),
            asked,
            how: status.map_or_else(|| "closed its output".to_owned(), describe_exit),
            words: last_lines(&self.words.text(LAST_WORDS)),
            killed_for_memory: killed && more_kills,
        }
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // The group first: the leader's number is its own for as long as nobody has waited for it.
        end_group(self.child.id());
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The beginning of a line.
fn quoted(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn listen(stdout: impl Read, lines: &SyncSender<Line>) {
    let mut reader = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = (&mut reader).take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line);
        let heard = match read {
            Ok(0) | Err(_) => return,
            Ok(_) if line.len() > LONGEST_LINE => Line::TooLong,
            // White space between two lines says nothing.
            Ok(_) if line.iter().all(u8::is_ascii_whitespace) => continue,
            Ok(_) => Line::Whole(Instant::now(), line),
        };
        let over = matches!(heard, Line::TooLong);
        if lines.send(heard).is_err() || over {
            return;
        }
    }
}
