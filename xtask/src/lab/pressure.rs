//! How much others on this machine are in the way: an emulated machine that has to wait for a core measures the wait.

use std::time::Instant;

/// Where Linux counts for how long anybody waited for a core.
const FILE: &str = "/proc/pressure/cpu";

/// Looks again and again.
#[derive(Debug)]
pub(crate) struct Pressure {
    last: Option<(Instant, u64)>,
}

impl Pressure {
    /// Begins to look.
    pub(crate) fn begin() -> Self {
        Self { last: look() }
    }

    /// The share of the time since the last look in which anybody waited for a core, in thousandths. `None`: this kernel does not count it.
    pub(crate) fn since(&mut self) -> Option<u64> {
        let before = std::mem::replace(&mut self.last, look());
        let ((begun, from), (ended, to)) = before.zip(self.last)?;
        let passed = u64::try_from(ended.duration_since(begun).as_micros()).ok()?;
        Some((to.saturating_sub(from) * 1000 / passed.max(1)).min(1000))
    }
}

fn look() -> Option<(Instant, u64)> {
    let text = std::fs::read_to_string(FILE).ok()?;
    Some((Instant::now(), total(&text)?))
}

/// Microseconds in `some avg10=0.00 avg60=0.00 avg300=0.00 total=12345`.
fn total(text: &str) -> Option<u64> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    some.rsplit_once("total=")?.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_found() {
        let text = "some avg10=0.12 avg60=4.00 avg300=9.99 total=7654321\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        assert_eq!(total(text), Some(7_654_321));
        assert_eq!(total(""), None);
    }
}
