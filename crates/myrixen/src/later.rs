//! What is to be done at some time.

use mxoe::time::Time;

/// Things that wait for their time. There are few of them.
#[derive(Debug)]
pub(crate) struct Later<T> {
    waiting: Vec<(Time, T)>,
}

impl<T> Later<T> {
    pub(crate) fn new() -> Self {
        Self {
            waiting: Vec::new(),
        }
    }

    /// Keeps something until then.
    pub(crate) fn put(&mut self, at: Time, what: T) {
        self.waiting.push((at, what));
    }

    /// Takes out what is due, in the order in which it was put in.
    pub(crate) fn take_due(&mut self, now: Time) -> Vec<T> {
        let is_due = |(at, _): &mut (Time, T)| *at <= now;
        let due = self.waiting.extract_if(.., is_due);
        due.map(|(_, what)| what).collect()
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    /// When the next is due.
    pub(crate) fn next(&self) -> Option<Time> {
        self.waiting.iter().map(|(at, _)| *at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_comes_out_once_and_the_rest_waits() {
        let at = Time::from_nanos;
        let mut later = Later::new();
        for (time, what) in [(5, 'a'), (9, 'b'), (3, 'c')] {
            later.put(at(time), what);
        }
        assert_eq!(later.next(), Some(at(3)));
        assert_eq!(later.take_due(at(5)), ['a', 'c']);
        assert!(later.take_due(at(8)).is_empty());
        assert_eq!(later.next(), Some(at(9)));
        later.clear();
        assert_eq!(later.next(), None);
    }
}
