//! The only source of chance: a small generator whose numbers depend on its seed and nothing else.

use std::time::Duration;

/// Parts per million: a probability that needs no floating point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ppm(u32);

impl Ppm {
    /// Never.
    pub const NEVER: Self = Self(0);
    /// Always.
    pub const ALWAYS: Self = Self(1_000_000);

    /// From parts per million; more than a million is always.
    #[must_use]
    pub const fn new(parts: u32) -> Self {
        if parts > Self::ALWAYS.0 {
            Self::ALWAYS
        } else {
            Self(parts)
        }
    }

    /// From percent.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self::new(percent.saturating_mul(10_000))
    }

    /// The parts per million.
    #[must_use]
    pub const fn parts(self) -> u32 {
        self.0
    }
}

/// `SplitMix64` (Steele, Lea and Flood, 2014): every seed gives a full-period sequence of its own, and forks are
/// independent for our purpose.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator for this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for one part of a simulation, so that drawing more numbers in one part does
    /// not change the others.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `bound`; 0 for a bound of 0. The bias (below `bound` / 2^64) does not matter here.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// [`Rng::between`] for lengths.
    pub fn length(&mut self, low: u32, high: u32) -> u32 {
        u32::try_from(self.between(u64::from(low), u64::from(high))).unwrap_or(high)
    }

    /// An index into something of `len` entries.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// A time up to `most`.
    pub fn up_to(&mut self, most: Duration) -> Duration {
        let nanos = u64::try_from(most.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.below(nanos.saturating_add(1)))
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: Ppm) -> bool {
        // Nothing is drawn for what cannot or must happen: a fault that is off costs no time.
        match probability {
            Ppm::NEVER => false,
            Ppm::ALWAYS => true,
            Ppm(parts) => self.below(1_000_000) < u64::from(parts),
        }
    }

    /// One of these, each as often as its weight says. `None` only for no choices or zero weights.
    pub fn weighted<T: Copy>(&mut self, choices: &[(u32, T)]) -> Option<T> {
        let whole: u64 = choices.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let mut at = self.below(whole);
        for (weight, choice) in choices {
            match at.checked_sub(u64::from(*weight)) {
                None => return Some(*choice),
                Some(rest) => at = rest,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let draw = |seed| {
            let mut rng = Rng::new(seed);
            [rng.next_u64(), rng.fork().next_u64(), rng.below(10)]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn ranges_are_kept_and_reached() {
        let mut rng = Rng::new(1);
        let mut seen = [false; 4];
        for _ in 0..200 {
            let drawn = rng.between(3, 6);
            seen[usize::try_from(drawn - 3).expect("in range")] = true;
        }
        assert_eq!(seen, [true; 4]);
        assert_eq!(rng.below(0), 0);
        assert_eq!(rng.index(1), 0);
        assert_eq!(rng.between(u64::MAX, u64::MAX), u64::MAX);
    }

    #[test]
    fn chances_come_about_as_often_as_they_should() {
        let mut rng = Rng::new(2);
        let hits = (0..100_000)
            .filter(|_| rng.chance(Ppm::percent(10)))
            .count();
        assert!((9_000..11_000).contains(&hits), "{hits}");
        assert!(!rng.chance(Ppm::NEVER) && rng.chance(Ppm::ALWAYS));
    }

    #[test]
    fn weights_are_kept() {
        let mut rng = Rng::new(3);
        let mut drawn = |choices: &[(u32, char)]| rng.weighted(choices);
        assert_eq!(drawn(&[(0, 'a'), (5, 'b'), (0, 'c')]), Some('b'));
        assert_eq!(drawn(&[]), None);
        assert_eq!(drawn(&[(0, 'a')]), None);
    }
}
