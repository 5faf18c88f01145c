//! When a program that does nothing but look lets others have its processor.

use std::time::Duration;

/// How often who looks again and again gives way.
///
/// What it looks for may have to be brought by a thread that waits for this very processor: the back end's, on a host with few. The kernel
/// would keep it waiting for a time slice, which is some thousand looks. To give way where nobody waits takes a system call, for nothing. So it is
/// done often where somebody has used it, and ever more seldom where nobody has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Courtesy {
    /// Looks in vain since something was found, or since the last time.
    vain: u32,
    /// So many are enough.
    patience: u32,
}

/// Looks in vain, of a microsecond each, after which it gives way where others want the processor, and where nobody does.
const LEAST: u32 = 2;
const MOST: u32 = 64;

/// Who has the processor back sooner was alone: another thread's turn takes two switches and what it does.
const ALONE: Duration = Duration::from_nanos(1500);

impl Courtesy {
    pub(crate) const fn new() -> Self {
        Self {
            vain: 0,
            patience: MOST / 4,
        }
    }

    /// Something was found, or the program has done something else.
    #[inline]
    pub(crate) fn found(&mut self) {
        self.vain = 0;
    }

    /// A look was in vain. True when it is time to give way.
    #[inline]
    pub(crate) fn looked_in_vain(&mut self) -> bool {
        self.vain += 1;
        self.vain >= self.patience
    }

    /// It has given way, and has the processor back after so long.
    pub(crate) fn gave_way(&mut self, away: Duration) {
        self.vain = 0;
        self.patience = if away < ALONE {
            (self.patience * 2).min(MOST)
        } else {
            LEAST
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks until it is to give way.
    fn looks(courtesy: &mut Courtesy) -> u32 {
        let needed = (1..=MOST).find(|_| courtesy.looked_in_vain());
        needed.expect("in the end it gives way")
    }

    #[test]
    fn it_gives_way_at_once_where_that_was_of_use_and_seldom_where_it_was_not() {
        let mut courtesy = Courtesy::new();
        looks(&mut courtesy);
        courtesy.gave_way(Duration::from_micros(5));
        assert_eq!(looks(&mut courtesy), LEAST);
        for _ in 0..10 {
            courtesy.gave_way(Duration::from_nanos(300));
        }
        assert_eq!(looks(&mut courtesy), MOST);
    }

    #[test]
    fn who_finds_something_in_between_does_not() {
        let mut courtesy = Courtesy::new();
        for _ in 0..1000 {
            assert!(!courtesy.looked_in_vain());
            courtesy.found();
        }
    }
}
