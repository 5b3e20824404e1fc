//! Notes when which part of a network runs. What the notes mean is found out afterwards: see [`digest`](super::digest).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use burn::tensor::Device as BurnDevice;

use crate::zoo::Observer;
use crate::zoo::observe::{Part, Side, Work};

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum What {
    /// The next phase of the iteration begins, and the one before ends.
    Phase,
    /// A part begins.
    Begin(Part),
    /// The part that began last ends.
    End(Option<Work>),
    /// The backward pass is at one side of an operator.
    Backward(usize, Side),
    /// The iteration is over.
    Finish,
}

/// What happened, and when.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Note {
    /// Nanoseconds since the recorder was made.
    pub at: u64,
    pub what: What,
}

/// Notes of one iteration, and how often the device was waited for.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub notes: Vec<Note>,
    pub waits: u64,
}

/// Waits for the device at every boundary and notes the time.
#[derive(Debug)]
pub(super) struct Recorder {
    device: BurnDevice,
    start: Instant,
    notes: Mutex<Notes>,
}

impl Recorder {
    pub fn new(device: &BurnDevice) -> Self {
        Self { device: device.clone(), start: Instant::now(), notes: Mutex::default() }
    }

    fn now(&self) -> u64 {
        // 2^64 ns are 584 years.
        self.start.elapsed().as_nanos() as u64
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self) {
        // A device that failed shows at the end of the iteration.
        let _ = self.device.sync();
    }

    /// The next phase begins. The device must have done what belongs to the one before.
    pub fn phase(&self) {
        let at = self.now();
        self.notes().notes.push(Note { at, what: What::Phase });
    }

    /// The iteration is over, and the device has done it. Answers the notes, and forgets them.
    pub fn finish(&self) -> Notes {
        let at = self.now();
        let mut notes = self.notes();
        notes.notes.push(Note { at, what: What::Finish });
        let capacity = notes.notes.len();
        // The next iteration has as many; it should not have to make room while it is timed.
        std::mem::replace(&mut *notes, Notes { notes: Vec::with_capacity(capacity), waits: 0 })
    }

    /// Forgets what an iteration that failed left.
    pub fn forget(&self) {
        *self.notes() = Notes::default();
    }
}

impl Observer for Recorder {
    fn begin(&self, part: Part) {
        self.wait();
        let mut notes = self.notes();
        notes.waits += 1;
        let at = self.now();
        notes.notes.push(Note { at, what: What::Begin(part) });
    }

    fn end(&self, work: Option<Work>) {
        self.wait();
        let at = self.now();
        let mut notes = self.notes();
        notes.waits += 1;
        notes.notes.push(Note { at, what: What::End(work) });
    }

    fn backward(&self, operator: usize, side: Side, wait: &dyn Fn()) {
        wait();
        let at = self.now();
        let mut notes = self.notes();
        notes.waits += 1;
        notes.notes.push(Note { at, what: What::Backward(operator, side) });
    }
}
