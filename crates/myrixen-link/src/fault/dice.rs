//! Chance from a seed.

/// A source of numbers that a seed determines (SplitMix64: Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when the bound is.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.next()) * bound as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// True with a probability of 0 (never) to 1 (always).
    pub(super) fn happens(&mut self, rate: f64) -> bool {
        // 53 bits: what a double holds.
        let number = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        number < rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_numbers() {
        let numbers = |seed| {
            let mut dice = Dice::new(seed);
            [(); 3].map(|()| dice.next())
        };
        assert_eq!(
            numbers(0),
            [
                0xe220_a839_7b1d_cdaf,
                0x6e78_9e6a_a1b9_65f4,
                0x06c4_5d18_8009_454f
            ]
        );
        assert_ne!(numbers(1), numbers(2));
    }

    #[test]
    fn rates_are_kept() {
        let mut dice = Dice::new(7);
        assert!((0..1000).all(|_| !dice.happens(0.0)));
        assert!((0..1000).all(|_| dice.happens(1.0)));
        let hits = (0..10_000).filter(|_| dice.happens(0.1)).count();
        assert!((900..1100).contains(&hits), "{hits}");
        assert!((0..1000).all(|_| dice.below(3) < 3));
        assert_eq!(dice.below(0), 0);
    }
}
