//! Direct channels that are to be opened, and how often they are asked for.

use std::time::Duration;

use mxoe::addr::Address;
use mxoe::time::Time;

/// How long after a channel was lost it is asked for again, at first and at last: its far end may have to find its back end again, or be restored.
const REOPEN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// A direct channel that is to be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// The endpoint that wants it.
    pub(crate) slot: usize,
    pub(crate) to: Address,
    /// Of one that was lost.
    lost: Option<Lost>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lost {
    /// After so long it is asked for again if it cannot be had now.
    pause: Duration,
    /// When its far end had last been heard, as it was last asked for.
    heard: Option<Time>,
}

/// What to do about one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Ask for this.
    Ask(Wanted),
    /// Look again after so long.
    Wait(Duration, Wanted),
    Forget,
}

impl Wanted {
    /// One that there was none of before.
    pub(crate) fn first(slot: usize, to: Address) -> Self {
        let lost = None;
        Self { slot, to, lost }
    }

    /// One that is lost, and when to ask for it.
    pub(crate) fn again(slot: usize, to: Address) -> (Duration, Self) {
        let (pause, heard) = (REOPEN.0, None);
        let lost = Some(Lost { pause, heard });
        (pause, Self { slot, to, lost })
    }

    /// Its time has come; `heard` says when something last came from its far end, if that is connected. Who has gone is not asked for again, and who is silent
    /// seldom: he may have closed in good order, which nobody is told of. Once he says something, by the back end, he is asked for.
    pub(crate) fn verdict(self, heard: impl FnOnce() -> Option<Time>) -> Verdict {
        let Some(lost) = self.lost else {
            return Verdict::Ask(self);
        };
        let heard = heard();
        if heard.is_none() {
            return Verdict::Forget;
        }
        if lost.pause >= REOPEN.1 && lost.heard == heard {
            return Verdict::Wait(lost.pause, self);
        }
        let lost = Some(Lost { heard, ..lost });
        Verdict::Ask(Self { lost, ..self })
    }

    /// It could not be had: when to ask again, if at all.
    pub(crate) fn refused(self) -> Option<(Duration, Self)> {
        let lost = self.lost?;
        let pause = (lost.pause * 2).min(REOPEN.1);
        let again = Some(Lost { pause, ..lost });
        let this = Self {
            lost: again,
            ..self
        };
        Some((lost.pause, this))
    }
}

#[cfg(test)]
mod tests {
    use mxoe::addr::{EndpointId, NicAddr};

    use super::*;

    fn somebody() -> Address {
        Address::new(NicAddr::new([2, 0, 0, 0, 0, 1]), EndpointId::new(3))
    }

    #[test]
    fn who_is_silent_is_asked_for_a_few_times() {
        let heard = Some(Time::from_nanos(7));
        let (mut pause, mut wanted) = Wanted::again(0, somebody());
        let (mut asked, mut after) = (0, Duration::ZERO);
        for _ in 0..1000 {
            after += pause;
            match wanted.verdict(|| heard) {
                Verdict::Ask(asking) => {
                    asked += 1;
                    (pause, wanted) = asking.refused().unwrap();
                }
                Verdict::Wait(longer, same) => (pause, wanted) = (longer, same),
                Verdict::Forget => panic!("he is connected"),
            }
        }
        assert_eq!(asked, 7, "in {after:?}");
        // He says something.
        let heard = Some(Time::from_nanos(8));
        let Verdict::Ask(asking) = wanted.verdict(|| heard) else {
            panic!("he is there again");
        };
        let (pause, wanted) = asking.refused().unwrap();
        assert_eq!(pause, REOPEN.1);
        assert!(matches!(wanted.verdict(|| heard), Verdict::Wait(..)));
    }

    #[test]
    fn who_is_not_connected_is_not_asked_for_again() {
        let (_, wanted) = Wanted::again(0, somebody());
        assert_eq!(wanted.verdict(|| None), Verdict::Forget);
    }

    #[test]
    fn a_channel_that_was_never_there_is_asked_for_once() {
        let wanted = Wanted::first(0, somebody());
        assert_eq!(wanted.verdict(|| None), Verdict::Ask(wanted));
        assert_eq!(wanted.refused(), None);
    }
}
