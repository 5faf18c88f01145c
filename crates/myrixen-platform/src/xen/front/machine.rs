//! What the front end does when the keys of its device change: decisions only.

use crate::xen::bus::BusState;

/// Where the back end is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BackEnd {
    /// Its folder in xenstore.
    pub(super) path: String,
    /// Its domain.
    pub(super) domain: u16,
}

/// A device as xenstore shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Our own domain's id: another one after a migration.
    pub(super) me: u16,
    pub(super) back: BackEnd,
    /// Our own state key.
    pub(super) own: Option<BusState>,
    /// The back end's.
    pub(super) theirs: Option<BusState>,
    /// The device is not about to be taken away.
    pub(super) online: bool,
}

impl Seen {
    fn leaving(&self) -> bool {
        !self.online || matches!(self.theirs, Some(BusState::Closing | BusState::Closed))
    }
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing, until a key changes.
    Rest,
    /// The device is gone: give up the control ring.
    Forget,
    /// Give up the control ring and write 1.
    Renew,
    /// Make a control ring, publish it and write 3.
    Offer,
    /// Write 4 and say Hello.
    Connect,
    /// Give up the control ring and write 6.
    Close,
}

/// How far we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no device, or we do not know what its keys mean to us: another life wrote them.
    Absent,
    /// We wrote 1 and wait for the back end's 2.
    Waiting,
    /// We wrote 3 and wait for its 4.
    Offered,
    /// We wrote 4.
    Connected,
    /// We wrote 6.
    Closed,
}

impl Phase {
    /// What our state key holds, unless somebody else has written to it.
    fn written(self) -> Option<BusState> {
        match self {
            Self::Absent => None,
            Self::Waiting => Some(BusState::Initialising),
            Self::Offered => Some(BusState::Initialised),
            Self::Connected => Some(BusState::Connected),
            Self::Closed => Some(BusState::Closed),
        }
    }
}

/// The front end's side of `docs/xen.md`, "States".
#[derive(Debug)]
pub(super) struct Machine {
    phase: Phase,
    /// Of whom and to whom the phase speaks.
    anchor: Option<(u16, BackEnd)>,
    /// No offer for now: the back end has refused the last one.
    pub(super) held: bool,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Absent,
            anchor: None,
            held: false,
        }
    }

    /// The next step; to be called again after each but [`Step::Rest`] with what the store shows then.
    pub(super) fn look(&mut self, seen: Option<&Seen>) -> Step {
        let Some(seen) = seen else {
            let had = self.phase != Phase::Absent;
            self.unknown();
            return if had { Step::Forget } else { Step::Rest };
        };
        let anchor = Some((seen.me, seen.back.clone()));
        // A migration, a device made anew, or an earlier life of ours: what we had is worth nothing any more.
        let foreign = self.anchor != anchor
            || self.phase == Phase::Absent
            || self.phase.written() != seen.own;
        if seen.leaving() {
            if foreign || self.phase != Phase::Closed {
                return self.go(Phase::Closed, anchor, Step::Close);
            }
            return Step::Rest;
        }
        if foreign {
            return self.go(Phase::Waiting, anchor, Step::Renew);
        }
        match (self.phase, seen.theirs) {
            (Phase::Waiting, Some(BusState::InitWait)) if !self.held => {
                self.go(Phase::Offered, anchor, Step::Offer)
            }
            (Phase::Offered, Some(BusState::Connected)) => {
                self.go(Phase::Connected, anchor, Step::Connect)
            }
            // A back end that came back, or is not there at all.
            (Phase::Connected, theirs) if theirs != Some(BusState::Connected) => {
                self.go(Phase::Waiting, anchor, Step::Renew)
            }
            (Phase::Closed, Some(BusState::InitWait)) => {
                self.go(Phase::Waiting, anchor, Step::Renew)
            }
            _ => Step::Rest,
        }
    }

    /// We leave in good order: `true` if there is something to leave. The back end's 6 keeps us away, its next 2 has us begin anew.
    pub(super) fn leave(&mut self) -> bool {
        let connected = self.phase == Phase::Connected;
        if connected {
            self.phase = Phase::Closed;
        }
        connected
    }

    /// The control ring cannot be used any more: what [`look`](Self::look) says next is to begin anew.
    pub(super) fn unknown(&mut self) {
        self.phase = Phase::Absent;
        self.anchor = None;
    }

    fn go(&mut self, to: Phase, anchor: Option<(u16, BackEnd)>, step: Step) -> Step {
        self.phase = to;
        self.anchor = anchor;
        step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INITIALISING: Option<BusState> = Some(BusState::Initialising);
    const INIT_WAIT: Option<BusState> = Some(BusState::InitWait);
    const INITIALISED: Option<BusState> = Some(BusState::Initialised);
    const CONNECTED: Option<BusState> = Some(BusState::Connected);
    const CLOSING: Option<BusState> = Some(BusState::Closing);
    const CLOSED: Option<BusState> = Some(BusState::Closed);

    fn seen(own: Option<BusState>, theirs: Option<BusState>) -> Seen {
        Seen {
            me: 3,
            back: BackEnd {
                path: "/local/domain/0/backend/myrixen/3/0".into(),
                domain: 0,
            },
            own,
            theirs,
            online: true,
        }
    }

    /// A machine that has come to Connected.
    fn connected() -> Machine {
        let mut machine = Machine::new();
        for (own, theirs, step) in [
            (INITIALISING, None, Step::Renew),
            (INITIALISING, None, Step::Rest),
            (INITIALISING, INITIALISING, Step::Rest),
            (INITIALISING, INIT_WAIT, Step::Offer),
            (INITIALISED, INIT_WAIT, Step::Rest),
            (INITIALISED, CONNECTED, Step::Connect),
            (CONNECTED, CONNECTED, Step::Rest),
        ] {
            assert_eq!(machine.look(Some(&seen(own, theirs))), step);
        }
        machine
    }

    #[test]
    fn a_new_device_is_connected_step_by_step() {
        connected();
    }

    #[test]
    fn states_of_an_earlier_life_are_written_over_and_the_back_end_is_waited_for() {
        for own in [INITIALISED, CONNECTED, CLOSING, CLOSED, None] {
            let mut machine = Machine::new();
            assert_eq!(machine.look(Some(&seen(own, CONNECTED))), Step::Renew);
            let waits = machine.look(Some(&seen(INITIALISING, CONNECTED)));
            assert_eq!(waits, Step::Rest, "the old ring is still the back end's");
            let heard = machine.look(Some(&seen(INITIALISING, INIT_WAIT)));
            assert_eq!(heard, Step::Offer);
        }
    }

    #[test]
    fn a_back_end_that_came_back_is_offered_a_new_ring() {
        for theirs in [INIT_WAIT, INITIALISING, None] {
            let mut machine = connected();
            assert_eq!(machine.look(Some(&seen(CONNECTED, theirs))), Step::Renew);
            let step = machine.look(Some(&seen(INITIALISING, INIT_WAIT)));
            assert_eq!(step, Step::Offer);
        }
    }

    #[test]
    fn a_device_on_its_way_out_is_closed_once_and_may_come_back() {
        for theirs in [CLOSING, CLOSED] {
            let mut machine = connected();
            assert_eq!(machine.look(Some(&seen(CONNECTED, theirs))), Step::Close);
            assert_eq!(machine.look(Some(&seen(CLOSED, theirs))), Step::Rest);
            assert_eq!(machine.look(Some(&seen(CLOSED, INIT_WAIT))), Step::Renew);
        }
        let mut machine = connected();
        let mut offline = seen(CONNECTED, CONNECTED);
        offline.online = false;
        assert_eq!(machine.look(Some(&offline)), Step::Close);
        offline.own = CLOSED;
        assert_eq!(machine.look(Some(&offline)), Step::Rest);
        assert_eq!(machine.look(None), Step::Forget);
        assert_eq!(machine.look(None), Step::Rest);
    }

    #[test]
    fn who_left_stays_away_until_the_back_end_begins_anew() {
        let mut machine = connected();
        assert!(machine.leave());
        assert_eq!(machine.look(Some(&seen(CLOSED, CONNECTED))), Step::Rest);
        assert_eq!(machine.look(Some(&seen(CLOSED, CLOSED))), Step::Rest);
        assert_eq!(machine.look(Some(&seen(CLOSED, INIT_WAIT))), Step::Renew);
        assert!(!machine.leave(), "not connected");
    }

    #[test]
    fn after_a_migration_everything_is_made_anew() {
        let mut machine = connected();
        let mut moved = seen(CONNECTED, CONNECTED);
        moved.me = 9;
        assert_eq!(machine.look(Some(&moved)), Step::Renew);
        // The toolstack wrote the device's keys again, for the same domain id.
        let mut machine = connected();
        let fresh = seen(INITIALISING, INIT_WAIT);
        assert_eq!(machine.look(Some(&fresh)), Step::Renew);
        assert_eq!(machine.look(Some(&fresh)), Step::Offer);
    }

    #[test]
    fn nothing_is_offered_while_it_is_held_back() {
        let mut machine = Machine::new();
        machine.held = true;
        let waiting = seen(INITIALISING, INIT_WAIT);
        assert_eq!(machine.look(Some(&waiting)), Step::Renew);
        assert_eq!(machine.look(Some(&waiting)), Step::Rest);
        machine.held = false;
        assert_eq!(machine.look(Some(&waiting)), Step::Offer);
    }

    /// Whatever the keys hold, the machine comes to rest: each step it asks for is carried out and looked at.
    #[test]
    fn every_pair_of_states_comes_to_rest() {
        let all = [
            None,
            INITIALISING,
            INIT_WAIT,
            INITIALISED,
            CONNECTED,
            CLOSING,
            CLOSED,
        ];
        for own in all {
            for theirs in all {
                let (mut machine, mut now) = (Machine::new(), seen(own, theirs));
                let rested = (0..8).any(|_| {
                    match machine.look(Some(&now)) {
                        Step::Rest | Step::Forget => return true,
                        Step::Renew => now.own = INITIALISING,
                        Step::Offer => now.own = INITIALISED,
                        Step::Connect => now.own = CONNECTED,
                        Step::Close => now.own = CLOSED,
                    }
                    false
                });
                assert!(rested, "{own:?} {theirs:?}");
            }
        }
    }
}
