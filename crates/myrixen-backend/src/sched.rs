//! Deficit round robin: whose frames are moved next, fairly by bytes.
//!
//! Guests take turns, each with a quantum of bytes on top of what it did not use while it still had frames
//! (M. Shreedhar and G. Varghese, 1995). Within its turn a guest's ports take turns, so a guest with many
//! endpoints has no more than one with a single endpoint.

/// Bytes that a guest may send in one turn. At least the largest frame, so that each turn of a guest with
/// frames moves one; small enough that a turn is short (some microseconds at memory speed).
pub(crate) const QUANTUM: usize = 16 * 1024;

/// The account of one guest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Deficit(usize);

impl Deficit {
    /// The guest's turn begins.
    pub(crate) fn begin(&mut self, quantum: usize) {
        // A guest that always has frames never has a quantum left over: the bound is for quanta
        // smaller than a frame.
        self.0 = self
            .0
            .saturating_add(quantum)
            .min(quantum.saturating_mul(8));
    }

    /// Takes a frame's bytes from the account; false when it has too little, and the turn ends.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        match self.0.checked_sub(bytes) {
            Some(left) => {
                self.0 = left;
                true
            }
            None => false,
        }
    }

    /// Whether nothing is left.
    pub(crate) fn is_clear(&self) -> bool {
        self.0 == 0
    }

    /// The guest had nothing more to send: what is left is not saved up.
    pub(crate) fn clear(&mut self) {
        self.0 = 0;
    }
}

/// Whose turn it is among a changing number of members: goes around, and can stay where it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rotation(usize);

impl Rotation {
    /// The member whose turn it is, of `members`; `None` when there are none.
    pub(crate) fn current(&mut self, members: usize) -> Option<usize> {
        if members == 0 {
            return None;
        }
        if self.0 >= members {
            self.0 = 0;
        }
        Some(self.0)
    }

    /// On to the next.
    pub(crate) fn advance(&mut self) {
        self.0 = self.0.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_frames_get_the_same_bytes() {
        let sizes = [9000_usize, 64, 1500];
        let mut accounts = [Deficit::default(); 3];
        let mut sent = [0_usize; 3];
        for _ in 0..1000 {
            for (n, account) in accounts.iter_mut().enumerate() {
                account.begin(QUANTUM);
                while account.take(sizes[n]) {
                    sent[n] += sizes[n];
                }
            }
        }
        let (least, most) = (*sent.iter().min().unwrap(), *sent.iter().max().unwrap());
        assert!(most - least <= QUANTUM, "{sent:?}");
    }

    #[test]
    fn nothing_is_saved_up_while_idle() {
        let mut account = Deficit::default();
        for _ in 0..1000 {
            account.begin(QUANTUM);
            account.clear();
        }
        account.begin(QUANTUM);
        assert!(!account.take(QUANTUM + 1));
    }

    #[test]
    fn a_rotation_survives_members_that_leave() {
        let mut rotation = Rotation::default();
        assert_eq!(rotation.current(0), None);
        let mut seen = Vec::new();
        for members in [3, 3, 3, 3, 1, 1, 2] {
            seen.push(rotation.current(members).unwrap());
            rotation.advance();
        }
        assert_eq!(seen, [0, 1, 2, 0, 0, 0, 1]);
    }
}
