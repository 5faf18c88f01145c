//! A small keyed hash. Peers choose match values, so the table must not be predictable to them.

use std::hash::{BuildHasher, Hasher};

/// Makes hashers keyed by a secret seed. Equal seeds give equal hashes on every machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    start: u64,
    stir: u64,
}

impl Keyed {
    /// Keyed by `seed`, which peers must not know.
    pub(crate) fn new(seed: u64) -> Self {
        let mut state = seed;
        Self {
            start: splitmix(&mut state),
            // Odd, so that multiplying by it loses nothing.
            stir: splitmix(&mut state) | 1,
        }
    }
}

/// The next number of the SplitMix64 sequence: spreads a seed over as many words as are needed.
pub(crate) fn splitmix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl BuildHasher for Keyed {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding {
            state: self.start,
            stir: self.stir,
        }
    }
}

/// Folds each word in by a 64 x 64 -> 128 bit multiplication whose halves are combined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Folding {
    state: u64,
    stir: u64,
}

impl Folding {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the halves of the product are taken apart"
    )]
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.state ^ word) * u128::from(self.stir);
        let (low, high) = (product as u64, (product >> 64) as u64);
        self.state = (low ^ high).wrapping_add(self.stir);
    }
}

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        self.state ^ (self.state >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, word: u8) {
        self.fold(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.fold(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.fold(word.cast_unsigned() as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_spread_over_a_small_table() {
        let keyed = Keyed::new(7);
        let mut buckets = [0_u32; 64];
        for value in 0..6400_u64 {
            let place = usize::try_from(keyed.hash_one(value) & 63).unwrap();
            buckets[place] += 1;
        }
        assert!(
            buckets.iter().all(|&n| (40..=170).contains(&n)),
            "{buckets:?}"
        );
    }

    #[test]
    fn another_seed_gives_another_order() {
        assert_ne!(Keyed::new(1).hash_one(5_u64), Keyed::new(2).hash_one(5_u64));
        assert_eq!(Keyed::new(1).hash_one(5_u64), Keyed::new(1).hash_one(5_u64));
    }
}
