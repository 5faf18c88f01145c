//! Time as the back end counts it.

use std::time::Instant;

use mxoe::time::Time;

/// Gives [`Time`]s: nanoseconds since the clock was made.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that stands at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.0.elapsed()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
