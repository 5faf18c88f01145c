//! What messages carry: bytes that say which message they belong to and where in it.

use std::sync::OnceLock;

use crate::rng::Rng;

/// The longest message of a simulation.
pub const LONGEST: u32 = 1 << 20;

/// Patterns begin at one of so many places; a message that is placed with an offset that is wrong by less than
/// the buffer's length shows.
const PLACES: usize = 1 << 16;

/// Random bytes from which every message is cut.
fn pool() -> &'static [u8] {
    static POOL: OnceLock<Vec<u8>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut rng = Rng::new(0x6d79_7269_7865_6e00);
        let words = (LONGEST as usize + PLACES).div_ceil(8);
        (0..words)
            .flat_map(|_| rng.next_u64().to_le_bytes())
            .collect()
    })
}

/// The bytes of message `id` (any number) of this length, at most [`LONGEST`].
///
/// Different messages of some length differ, but for short ones and one in 65536.
#[must_use]
pub fn of_message(id: u64, len: u32) -> &'static [u8] {
    let start = usize::try_from(Rng::new(id).below(PLACES as u64)).unwrap_or(0);
    let end = start + len.min(LONGEST) as usize;
    pool().get(start..end).unwrap_or_default()
}

/// What a message with this match information and length brings beside its bytes: one in three does. Whoever receives one can tell what it has to be.
#[must_use]
pub fn beside(match_info: u64, len: u32) -> Option<u64> {
    let mut rng = Rng::new(match_info ^ u64::from(len).rotate_left(40));
    (rng.below(3) == 0).then(|| rng.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_differ_and_repeat() {
        assert_eq!(of_message(1, 100), of_message(1, 100));
        assert_ne!(of_message(1, 100), of_message(2, 100));
        assert_eq!(of_message(3, LONGEST).len(), LONGEST as usize);
        assert_eq!(of_message(3, 0).len(), 0);
    }

    #[test]
    fn some_messages_bring_data_and_always_the_same() {
        let data: Vec<_> = (0..300).map(|info| beside(info, 8)).collect();
        let some = data.iter().filter(|data| data.is_some()).count();
        assert!((50..150).contains(&some), "{some}");
        assert_eq!(data[7], beside(7, 8));
    }
}
