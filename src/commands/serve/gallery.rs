//! What takes longer than a page may, charts and reports: kept until the database changes, made anew in the background.
//! Nobody waits for the charts of a whole record; whoever comes too early sees those of the record as it was before, or is
//! told to come back.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::text::panic_text;

/// Selections of which something is kept.
const KEPT: usize = 16;

/// Why nothing was made.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something that passes by itself: the next one who looks tries again.
    Passing,
    /// Something that would be the same again, for this reason.
    Lasting(String),
}

/// What there is.
#[derive(Debug)]
pub(super) enum Look<T> {
    /// What was made of the record as it is.
    Ready(Arc<T>),
    /// What was made of the record as it was; a newer one is being made.
    Older(Arc<T>),
    /// It is being made.
    NotYet,
    /// It could not be made, for this reason.
    Failed(String),
}

#[derive(Debug)]
struct Entry<T> {
    key: String,
    /// What was made last, and of which state of the database.
    made: Option<(u64, Result<Arc<T>, String>)>,
    is_making: bool,
}

/// The entries, and what wakes those who wait for one of them.
type Shelf<T> = (Mutex<Vec<Entry<T>>>, Condvar);

/// All that is kept; what was asked for last is the last.
#[derive(Debug)]
pub(super) struct Gallery<T> {
    shelf: Arc<Shelf<T>>,
    makers: usize,
}

impl<T> Clone for Gallery<T> {
    /// The same gallery: what is put into one is in the other.
    fn clone(&self) -> Self {
        Self { shelf: Arc::clone(&self.shelf), makers: self.makers }
    }
}

impl<T: Send + Sync + 'static> Gallery<T> {
    /// An empty one, in which so many selections are made at the same time.
    pub(super) fn new(makers: usize) -> Self {
        Self { shelf: Arc::new((Mutex::new(Vec::new()), Condvar::new())), makers }
    }

    /// What is kept under a key, of this state of the database; `make` makes it where it is not there, in a thread of its
    /// own, as soon as a maker is free. Waits for it no longer than `patience`.
    pub(super) fn look(
        &self,
        key: &str,
        change: u64,
        patience: Duration,
        make: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Look<T> {
        let deadline = Instant::now() + patience;
        let mut make = Some(make);
        let (shelf, made) = &*self.shelf;
        let mut entries = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let makers = entries.iter().filter(|entry| entry.is_making).count();
            let entry = brought_forward(&mut entries, key);
            match &entry.made {
                // One of a newer state than was asked for is better still.
                Some((of, Ok(newest))) if *of >= change => return Look::Ready(Arc::clone(newest)),
                Some((of, Err(reason))) if *of >= change => return Look::Failed(reason.clone()),
                _ => {}
            }
            // Looked at anew whenever a maker has ended: all may have been busy, or this one with an older state.
            if !entry.is_making
                && makers < self.makers
                && let Some(make) = make.take()
            {
                entry.is_making = self.start(key.to_owned(), change, make);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return match &entry.made {
                    Some((_, Ok(older))) => Look::Older(Arc::clone(older)),
                    _ => Look::NotYet,
                };
            }
            entries = made.wait_timeout(entries, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether a thread could be had for it.
    fn start(&self, key: String, change: u64, make: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> bool {
        let gallery = self.clone();
        let work = move || {
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(make))
                .unwrap_or_else(|panic| Err(Failure::Lasting(panic_text(panic.as_ref()))));
            gallery.put(&key, change, result.map(Arc::new));
        };
        std::thread::Builder::new().name("benchdb-maker".to_owned()).spawn(work).is_ok()
    }

    fn put(&self, key: &str, change: u64, result: Result<Arc<T>, Failure>) {
        let (shelf, made) = &*self.shelf;
        let mut entries = shelf.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.iter_mut().find(|entry| entry.key == key) {
            entry.is_making = false;
            match result {
                Ok(newest) => entry.made = Some((change, Ok(newest))),
                Err(Failure::Lasting(reason)) => entry.made = Some((change, Err(reason))),
                Err(Failure::Passing) => {}
            }
        }
        made.notify_all();
    }
}

/// The entry of a key, made where there is none, as the last; of those that nobody looks at the oldest go.
fn brought_forward<'e, T>(entries: &'e mut Vec<Entry<T>>, key: &str) -> &'e mut Entry<T> {
    let entry = match entries.iter().position(|entry| entry.key == key) {
        Some(place) => entries.remove(place),
        None => Entry { key: key.to_owned(), made: None, is_making: false },
    };
    // What is being made is not thrown away: its maker would find no place for it.
    while entries.len() >= KEPT {
        let Some(oldest) = entries.iter().position(|entry| !entry.is_making) else { break };
        entries.remove(oldest);
    }
    entries.push(entry);
    let last = entries.len() - 1;
    &mut entries[last]
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn gallery() -> Gallery<()> {
        Gallery::new(2)
    }

    fn nothing() -> Result<(), Failure> {
        Ok(())
    }

    #[test]
    fn what_is_kept_is_made_once_for_each_state_of_the_database() {
        let gallery = gallery();
        assert!(matches!(gallery.look("", 1, LONG, nothing), Look::Ready(_)));
        assert!(matches!(gallery.look("", 1, Duration::ZERO, || panic!("made twice")), Look::Ready(_)));
        assert!(matches!(gallery.look("", 2, LONG, nothing), Look::Ready(_)));
    }

    #[test]
    fn whoever_comes_too_early_sees_what_there_was() {
        let gallery = gallery();
        let (go, make) = slow();
        assert!(matches!(gallery.look("", 1, Duration::ZERO, make), Look::NotYet));
        go.send(()).unwrap();
        assert!(matches!(gallery.look("", 1, LONG, nothing), Look::Ready(_)));
        let (go, make) = slow();
        assert!(matches!(gallery.look("", 2, Duration::ZERO, make), Look::Older(_)));
        drop(go);
        assert!(matches!(gallery.look("", 2, LONG, nothing), Look::Ready(_)));
    }

    /// Something that is being made until somebody says so.
    fn slow() -> (Sender<()>, impl FnOnce() -> Result<(), Failure> + Send + 'static) {
        let (go, wait) = std::sync::mpsc::channel();
        let make = move || {
            let _ = wait.recv();
            nothing()
        };
        (go, make)
    }

    /// Waits until somebody has looked at this key after all others.
    fn looked_at(gallery: &Gallery<()>, key: &str) {
        while gallery.shelf.0.lock().unwrap().last().is_none_or(|entry| entry.key != key) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_third_selection_is_made_when_a_maker_is_free() {
        let gallery = gallery();
        let (first, make) = slow();
        assert!(matches!(gallery.look("a", 1, Duration::ZERO, make), Look::NotYet));
        let (second, make) = slow();
        assert!(matches!(gallery.look("b", 1, Duration::ZERO, make), Look::NotYet));
        let other = gallery.clone();
        let third = std::thread::spawn(move || other.look("c", 1, LONG, nothing));
        looked_at(&gallery, "c");
        first.send(()).unwrap();
        assert!(matches!(third.join().unwrap(), Look::Ready(_)));
        second.send(()).unwrap();
        assert!(matches!(gallery.look("b", 1, LONG, || panic!("made twice")), Look::Ready(_)));
    }

    #[test]
    fn what_belongs_to_a_state_that_came_during_the_making_is_made_after_it() {
        let gallery = gallery();
        let (go, make) = slow();
        assert!(matches!(gallery.look("", 1, Duration::ZERO, make), Look::NotYet));
        assert!(matches!(gallery.look("other", 1, LONG, nothing), Look::Ready(_)));
        let waiting = gallery.clone();
        let newer = std::thread::spawn(move || waiting.look("", 2, LONG, nothing));
        looked_at(&gallery, "");
        go.send(()).unwrap();
        assert!(matches!(newer.join().unwrap(), Look::Ready(_)));
        // Who asked before the change is content with what came after it.
        assert!(matches!(gallery.look("", 1, Duration::ZERO, || panic!("made again")), Look::Ready(_)));
    }

    #[test]
    fn a_maker_that_breaks_gives_a_reason() {
        let gallery = gallery();
        let look = gallery.look("", 1, LONG, || panic!("no paper"));
        assert!(matches!(&look, Look::Failed(reason) if reason == "no paper"), "{look:?}");
        let look = gallery.look("", 2, LONG, || Err(Failure::Lasting("no ink".to_owned())));
        assert!(matches!(&look, Look::Failed(reason) if reason == "no ink"), "{look:?}");
    }

    #[test]
    fn what_passes_is_tried_again() {
        let gallery = gallery();
        assert!(matches!(gallery.look("", 1, LONG, nothing), Look::Ready(_)));
        let (tell, told) = std::sync::mpsc::channel();
        let passing = move || {
            tell.send(()).unwrap();
            Err(Failure::Passing)
        };
        assert!(matches!(gallery.look("", 2, Duration::ZERO, passing), Look::Older(_)));
        told.recv().unwrap();
        assert!(matches!(gallery.look("", 2, LONG, nothing), Look::Ready(_)));
    }

    #[test]
    fn the_selections_of_long_ago_are_forgotten() {
        let gallery = gallery();
        for number in 0..40 {
            assert!(matches!(gallery.look(&number.to_string(), 1, LONG, nothing), Look::Ready(_)));
        }
        assert!(gallery.shelf.0.lock().unwrap().len() <= KEPT);
    }
}
