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
}
