//! How large rings may be in granted memory.

use myrixen_platform::message::{FailReason, Failure};
use myrixen_platform::xen::{MOST_PAGES, MOST_POOL_PAGES, PAGE};
use myrixen_ring::{Capacity, Layout};

/// Queue pairs that the grant table is to have room for.
const SHARES: usize = 64;

/// What the grant table allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Entries of the grant table that may be used: the rest is for other devices, and a table that was full once stays so.
    usable: usize,
    /// Pages of a queue pair, unless the largest frame needs more.
    pages: usize,
}

impl Budget {
    /// Of a grant table with so many entries.
    #[must_use]
    pub fn of_table(entries: u32) -> Self {
        let usable = usize::try_from(entries).unwrap_or(usize::MAX) / 8 * 7;
        Self {
            usable,
            pages: (usable / SHARES).min(MOST_PAGES),
        }
    }

    /// Bytes of a pool that a program wants to be of that many: whole pages, within an eighth of what is used of the table.
    #[must_use]
    pub fn pool(&self, bytes: u32) -> u32 {
        let wanted = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(PAGE);
        let most = (self.usable / 8).min(MOST_POOL_PAGES);
        let pages = wanted.clamp(1, most.max(1));
        u32::try_from(pages * PAGE).unwrap_or(u32::MAX)
    }

    /// Entries that all programs together may use.
    #[must_use]
    pub fn usable(&self) -> u32 {
        u32::try_from(self.usable).unwrap_or(u32::MAX)
    }

    /// The largest ring that a program may ask for: the other one then has what the largest frame needs.
    #[must_use]
    pub fn largest_ring(&self, frame: u32) -> u32 {
        let least = least_ring(frame);
        let mut ring = Capacity::MAX.bytes();
        while ring > least && pages(ring) + pages(least) + 1 > self.pages {
            ring /= 2;
        }
        ring
    }

    /// The layout nearest to what is asked for that fits: the larger ring is halved, never below what holds a frame of `frame` bytes.
    ///
    /// # Errors
    /// [`Failure`]: no rings of these sizes, or no room for such frames.
    pub fn fit(&self, forward: u32, backward: u32, frame: u32) -> Result<Layout, Failure> {
        let least = least_ring(frame);
        let mut rings = [forward, backward];
        while pages(rings[0]) + pages(rings[1]) + 1 > self.pages {
            // What comes in bursts comes from the back end: its ring is cut last.
            let larger = usize::from(rings[1] > rings[0]);
            if rings[larger] <= least {
                break;
            }
            rings[larger] /= 2;
        }
        let invalid = |error| Failure::new(FailReason::Invalid, error);
        let [forward, backward] = rings;
        let layout = Layout::new(
            Capacity::new(forward).map_err(invalid)?,
            Capacity::new(backward).map_err(invalid)?,
        );
        let need = layout.total().div_ceil(PAGE);
        if need > MOST_PAGES {
            let text = format_args!(
                "frames of {frame} bytes need rings of {need} granted pages, {MOST_PAGES} are possible"
            );
            return Err(Failure::new(FailReason::Limit, text));
        }
        Ok(layout)
    }
}

fn pages(ring: u32) -> usize {
    usize::try_from(ring).unwrap_or(usize::MAX).div_ceil(PAGE)
}

/// The smallest ring that holds such a frame: a record takes at most half of it.
fn least_ring(frame: u32) -> u32 {
    let least = frame.saturating_add(8).saturating_mul(2);
    least
        .checked_next_power_of_two()
        .unwrap_or(Capacity::MAX.bytes())
        .clamp(Capacity::MIN.bytes(), Capacity::MAX.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rings(layout: Layout) -> [u32; 2] {
        layout.capacities().map(Capacity::bytes)
    }

    #[test]
    fn a_queue_pair_gets_a_64th_of_what_is_used_of_the_default_table() {
        let budget = Budget::of_table(32768);
        assert_eq!(budget.usable(), 28672);
        assert_eq!(budget.largest_ring(9000), 1 << 20);
        let most = budget.fit(1 << 20, 1 << 20, 9000).unwrap();
        assert_eq!(
            rings(most),
            [1 << 19, 1 << 20],
            "the ring to the guest is cut last"
        );
        let small = budget.fit(1 << 15, 1 << 16, 9000).unwrap();
        assert_eq!(rings(small), [1 << 15, 1 << 16], "what fits is left alone");
    }

    #[test]
    fn frames_fit_however_small_the_table_is() {
        let budget = Budget::of_table(512);
        assert_eq!(budget.largest_ring(9000), 1 << 15);
        let layout = budget.fit(1 << 20, 1 << 20, 9000).unwrap();
        assert_eq!(rings(layout), [1 << 15, 1 << 15]);
        assert!(layout.capacities()[0].largest_frame() >= 9000);
    }

    #[test]
    fn a_pool_gets_an_eighth_at_most() {
        let budget = Budget::of_table(32768);
        assert_eq!(budget.pool(1), 4096);
        assert_eq!(budget.pool(8 << 20), 8 << 20);
        assert_eq!(budget.pool(u32::MAX), 28672 / 8 * 4096);
        assert_eq!(Budget::of_table(u32::MAX).pool(u32::MAX), 64 << 20);
    }

    #[test]
    fn no_table_gives_more_than_the_references_of_a_first_page() {
        let budget = Budget::of_table(1 << 20);
        assert_eq!(budget.largest_ring(9000), 1 << 20);
        let layout = budget.fit(1 << 26, 1 << 26, 9000).unwrap();
        assert!(layout.total() <= MOST_PAGES * PAGE);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let budget = Budget::of_table(32768);
        let odd = budget.fit(5000, 1 << 16, 9000).unwrap_err();
        assert_eq!(odd.reason, FailReason::Invalid);
        let huge = budget.fit(1 << 26, 1 << 26, u32::MAX).unwrap_err();
        assert_eq!(huge.reason, FailReason::Limit);
    }
}
