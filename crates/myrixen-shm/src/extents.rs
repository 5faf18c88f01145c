//! Which parts of a range are free: best fit, lowest first, neighbours joined.

use std::collections::{BTreeMap, BTreeSet};

/// The free parts of `0..len`, in units of the caller's choice.
#[derive(Debug)]
pub(crate) struct Extents {
    by_start: BTreeMap<usize, usize>,
    by_len: BTreeSet<(usize, usize)>,
}

impl Extents {
    pub(crate) fn new(len: usize) -> Self {
        let mut extents = Self {
            by_start: BTreeMap::new(),
            by_len: BTreeSet::new(),
        };
        extents.insert(0, len);
        extents
    }

    /// Takes `len` units out of the smallest part that holds them, the lowest of these, so that what is in use stays together at the bottom.
    pub(crate) fn take(&mut self, len: usize) -> Option<usize> {
        let (have, start) = *self.by_len.range((len, 0)..).next()?;
        self.remove(start, have);
        self.insert(start + len, have - len);
        Some(start)
    }

    /// Gives `len` units at `start` back. They must have been taken.
    pub(crate) fn give(&mut self, start: usize, len: usize) {
        let (mut start, mut len) = (start, len);
        if let Some((&before, &size)) = self.by_start.range(..start).next_back() {
            assert!(before + size <= start, "units {start}.. freed twice");
            if before + size == start {
                self.remove(before, size);
                start = before;
                len += size;
            }
        }
        if let Some((&after, &size)) = self.by_start.range(start..).next() {
            assert!(start + len <= after, "units {start}.. freed twice");
            if start + len == after {
                self.remove(after, size);
                len += size;
            }
        }
        self.insert(start, len);
    }

    /// Units that are free, in all.
    pub(crate) fn free(&self) -> usize {
        self.by_start.values().sum()
    }

    fn insert(&mut self, start: usize, len: usize) {
        if len > 0 {
            self.by_start.insert(start, len);
            self.by_len.insert((len, start));
        }
    }

    fn remove(&mut self, start: usize, len: usize) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_smallest_part_that_fits_is_taken() {
        let mut extents = Extents::new(100);
        let parts: Vec<_> = (0..4).map(|_| extents.take(10).expect("room")).collect();
        assert_eq!(parts, [0, 10, 20, 30]);
        extents.give(10, 10);
        assert_eq!(
            extents.take(10),
            Some(10),
            "a hole of 10, not the 60 at the end"
        );
        assert_eq!(extents.take(61), None);
        assert_eq!(extents.take(60), Some(40));
        assert_eq!(extents.take(1), None);
    }

    proptest! {
        #[test]
        fn nothing_is_handed_out_twice_and_everything_comes_back(steps in prop::collection::vec((1usize..40, any::<bool>()), 1..200)) {
            let mut extents = Extents::new(256);
            let mut held: Vec<(usize, usize)> = Vec::new();
            for (number, free) in steps {
                if free && !held.is_empty() {
                    let (start, len) = held.swap_remove(number % held.len());
                    extents.give(start, len);
                } else if let Some(start) = extents.take(number) {
                    prop_assert!(start + number <= 256);
                    for &(other, len) in &held {
                        prop_assert!(start + number <= other || other + len <= start);
                    }
                    held.push((start, number));
                }
                prop_assert_eq!(extents.free() + held.iter().map(|(_, len)| len).sum::<usize>(), 256);
            }
            for (start, len) in held {
                extents.give(start, len);
            }
            prop_assert_eq!(extents.take(256), Some(0), "neighbours are joined again");
        }
    }
}
