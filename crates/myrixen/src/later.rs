//! What is to be done at some time.

use std::collections::BTreeMap;

use mxoe::time::Time;

/// Things that wait for their time. There may be thousands, which cost nothing while they wait.
#[derive(Debug)]
pub(crate) struct Later<T> {
    /// By their times, and those of one time in the order in which they were put in.
    waiting: BTreeMap<(Time, u64), T>,
    put_in: u64,
}

impl<T> Later<T> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            put_in: 0,
        }
    }

    /// Keeps something until then.
    pub(crate) fn put(&mut self, at: Time, what: T) {
        self.put_in += 1;
        self.waiting.insert((at, self.put_in), what);
    }

    /// Takes out what is due, in the order of their times.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<T> {
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.waiting.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_once_and_the_rest_waits() {
        let at = Time::from_nanos;
        let mut later = Later::new();
        for (time, what) in [(5, 'a'), (9, 'b'), (3, 'c'), (9, 'd')] {
            later.put(at(time), what);
        }
        assert_eq!(later.next(), Some(at(3)));
        assert_eq!(later.take_due(at(5)), ['c', 'a']);
        assert!(later.take_due(at(8)).is_empty());
        assert_eq!(later.next(), Some(at(9)));
        assert_eq!(later.take_due(at(9)), ['b', 'd']);
        later.put(at(4), 'e');
        later.clear();
        assert_eq!(later.next(), None);
    }
}
