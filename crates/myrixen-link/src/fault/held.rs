//! Frames that wait: to be overtaken, or for their time to come.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Tag;

/// Most frames held in one direction: beyond it, frames pass unharmed, so that memory stays bounded.
const MOST: usize = 1024;

/// A copy of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) tag: Tag,
}

#[derive(Debug)]
struct Entry {
    frame: Frame,
    due: Duration,
    /// It also goes when this many more frames have passed.
    overtaken_by: Option<usize>,
}

/// Frames held in one direction.
#[derive(Debug, Default)]
pub(super) struct Held {
    entries: VecDeque<Entry>,
}

impl Held {
    /// Whether another one can be held.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() < MOST
    }

    /// Holds a frame until `due`, or until `overtaken_by` others have passed.
    pub(super) fn hold(&mut self, frame: Frame, due: Duration, overtaken_by: Option<usize>) {
        self.entries.push_back(Entry {
            frame,
            due,
            overtaken_by,
        });
    }

    /// A frame has passed.
    pub(super) fn passed(&mut self) {
        for entry in &mut self.entries {
            if let Some(left) = &mut entry.overtaken_by {
                *left = left.saturating_sub(1);
            }
        }
    }

    /// The first frame whose time has come; it stays.
    pub(super) fn peek_due(&self, now: Duration) -> Option<(usize, &Frame)> {
        let due = |entry: &Entry| entry.due <= now || entry.overtaken_by == Some(0);
        let place = self.entries.iter().position(due)?;
        Some((place, &self.entries[place].frame))
    }

    /// Takes the frame at a place that `peek_due` gave.
    pub(super) fn take(&mut self, place: usize) -> Option<Frame> {
        Some(self.entries.remove(place)?.frame)
    }

    /// When the next frame is due, if nothing passes before.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let due = |entry: &Entry| {
            if entry.overtaken_by == Some(0) {
                Duration::ZERO
            } else {
                entry.due
            }
        };
        self.entries.iter().map(due).min()
    }
}
