//! Time as the back end counts it.

use mxoe::time::Time;

/// Gives [`Time`]s: nanoseconds since the clock was made. Its clones give the same.
#[derive(Clone, Debug, Default)]
pub struct Clock(myrixen_platform::Clock);

impl Clock {
    /// A clock that stands at zero now.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Time {
        Time::ZERO + self.0.now()
    }

    /// A time that is at most a tick of the kernel earlier, where reading the clock is dear.
    #[inline]
    #[must_use]
    pub fn recent(&self) -> Time {
        Time::from_nanos(self.0.recent_nanos())
    }
}
