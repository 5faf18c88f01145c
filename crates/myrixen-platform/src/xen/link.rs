//! The back end's end of a domain's device: `docs/xen.md`, "States".

use std::collections::{HashMap, VecDeque};
use std::io;

use myrixen_ring::{Layout, Support, Terms};

use super::bus::{BackDevice, BusState, Seen, control_terms};
use super::pair::Taken;
use super::{DomId, XenError, XenStore};
use crate::handover::{Handover, HandoverError, Item};
use crate::meeting::{
    DirectEnds, GuestLink, Heard, Identity, LinkState, MAX_QUEUED, MAX_UNANSWERED, PeerFault,
    PortEnd, SetupError,
};
use crate::message::{
    Brought, Hello, Lent, MemoryProbe, Notice, Refusal, Reply, Request, Serial, Welcome,
};
use crate::process::control::{self, Control};
use crate::waitset::{Interest, WaitSet};

/// A device of a domain, seen from the back end. It lives as long as the device: front ends come and go on it.
#[derive(Debug)]
pub struct XenLink {
    device: BackDevice,
    domain: DomId,
    identity: Identity,
    state: LinkState,
    support: Support,
    /// The control ring, while there is a front end.
    control: Option<Control>,
    outbox: VecDeque<Vec<u8>>,
    /// Requests that are not answered, and what they brought.
    unanswered: HashMap<u64, Option<Brought>>,
    notices: u64,
    watch: Option<(WaitSet, u64)>,
    /// The keys are to be looked at.
    stale: bool,
    /// The domain is about to be saved or moved; and whether that has been said.
    hold: bool,
    told_hold: bool,
    /// The front end is to begin anew, and has not seen it yet.
    renewing: bool,
}

impl XenLink {
    /// Takes a device. `None`: it is gone already.
    ///
    /// # Errors
    /// When xenstore cannot be reached, or refuses.
    pub fn open(domain: DomId, device: u32) -> Result<Option<Self>, XenError> {
        let opened = BackDevice::open(XenStore::open()?, domain, device)?;
        Ok(opened.map(|(device, identity)| Self {
            device,
            domain,
            identity: Identity::Domain(identity),
            state: LinkState::Initialising,
            support: Support::OURS,
            control: None,
            outbox: VecDeque::new(),
            unanswered: HashMap::new(),
            notices: 0,
            watch: None,
            stale: true,
            hold: false,
            told_hold: false,
            renewing: false,
        }))
    }

    /// Does what the front end's state asks for. `true`: the device is to go.
    fn follow(&mut self) -> Result<bool, PeerFault> {
        let state = match self.device.look().map_err(store)? {
            Seen::Gone => return Ok(true),
            Seen::Front { state, hold } => {
                if self.hold && !hold {
                    self.let_go(BusState::InitWait)?;
                    self.renewing = true;
                }
                self.hold = hold;
                state
            }
        };
        match state {
            Some(BusState::Initialised | BusState::Connected) if self.control.is_some() => {}
            // Of an earlier back end: it sees ours, and begins anew.
            Some(BusState::Connected) => {}
            Some(BusState::Initialised) => match self.connect() {
                // Perhaps that of a front end that died meanwhile. The next one writes its state again.
                Err(PeerFault::Setup(error)) => self.device.set_error(&error.to_string()),
                other => other?,
            },
            Some(BusState::Initialising | BusState::InitWait) => {
                self.let_go(BusState::InitWait)?;
            }
            Some(BusState::Closing | BusState::Closed) if self.renewing => return Ok(false),
            Some(BusState::Closing | BusState::Closed) => self.let_go(BusState::Closed)?,
            // Nothing that a front end of ours writes.
            None => {}
        }
        self.renewing = false;
        Ok(false)
    }

    /// The front end has told its control ring.
    fn connect(&mut self) -> Result<(), PeerFault> {
        let Some((page, event)) = self.device.ring().map_err(store)? else {
            let missing = HandoverError::Unexpected {
                have: 0,
                what: "ring-ref and event-channel",
            };
            return Err(missing.into());
        };
        let terms = control_terms().map_err(setup)?;
        let taken = Taken::take(self.domain, Brought { page, event }, &terms).map_err(setup)?;
        let PortEnd {
            pair,
            ringer,
            waiter,
        } = taken.into_end().map_err(setup)?;
        if let Some((set, token)) = &self.watch {
            set.add_bell(&waiter, *token)?;
        }
        self.control = Some(Control::new(pair, ringer, waiter));
        self.state = LinkState::Initialising;
        self.device.set_state(BusState::Connected).map_err(store)
    }

    /// There is no front end, or not the one there was: its control ring goes, its ports stay.
    fn let_go(&mut self, state: BusState) -> Result<(), PeerFault> {
        self.drop_control();
        self.device.set_state(state).map_err(store)
    }

    fn drop_control(&mut self) {
        if let (Some(control), Some((set, _))) = (&self.control, &self.watch) {
            set.remove_bell(control.waiter());
        }
        self.control = None;
        self.outbox.clear();
        self.unanswered.clear();
        self.state = LinkState::Initialising;
    }

    /// The next thing said, by keys or on the control ring.
    fn hear_guest(&mut self) -> Result<Option<Heard>, PeerFault> {
        self.stale |= self.device.changed().map_err(store)?;
        if std::mem::take(&mut self.stale) && self.follow()? {
            self.drop_control();
            self.state = LinkState::Closed;
        }
        if self.state == LinkState::Closed {
            return Ok(Some(Heard::Left));
        }
        if self.told_hold != self.hold {
            self.told_hold = self.hold;
            return Ok(Some(Heard::Hold(self.hold)));
        }
        let heard = self.hear_message()?;
        // Events that come with the answer to a question do not show at the descriptor: whoever has asked looks again.
        self.stale = self.device.changed().map_err(store)?;
        if heard.is_none() && self.stale {
            return Ok(Some(Heard::Again));
        }
        Ok(heard)
    }

    fn hear_message(&mut self) -> Result<Option<Heard>, PeerFault> {
        self.flush()?;
        let Some(control) = &mut self.control else {
            return Ok(None);
        };
        let Some(bytes) = control.take()? else {
            if control.hung_up() {
                self.let_go(BusState::InitWait)?;
                // The next front end may have told its ring already.
                self.stale = true;
                return self.hear();
            }
            return Ok(None);
        };
        match self.state {
            LinkState::Initialising => {
                let (hello, _) = Hello::parse(&bytes)?;
                self.state = LinkState::InitWait;
                // A guest of another major version is refused by the back end.
                self.support = Support::OURS.agree(hello.ring).unwrap_or(Support::OURS);
                Ok(Some(Heard::Hello(Box::new(hello))))
            }
            LinkState::Initialised | LinkState::Connected => self.hear_request(&bytes),
            // Not welcomed: nothing is listened to.
            _ => Ok(None),
        }
    }

    fn hear_request(&mut self, bytes: &[u8]) -> Result<Option<Heard>, PeerFault> {
        let (serial, request, handed) = Request::parse(bytes)?;
        self.state = LinkState::Connected;
        if handed != 0 {
            return Err(HandoverError::Unexpected {
                have: usize::from(handed),
                what: "nothing",
            }
            .into());
        }
        if self.unanswered.len() >= MAX_UNANSWERED {
            return Err(PeerFault::TooManyRequests {
                limit: MAX_UNANSWERED,
            });
        }
        let brought = match request {
            Request::OpenPort { brought, .. } | Request::OpenDirect { brought, .. } => brought,
            _ => None,
        };
        if self.unanswered.insert(serial.get(), brought).is_some() {
            return Err(PeerFault::SerialInUse(serial.get()));
        }
        Ok(Some(Heard::Request(serial, request)))
    }

    /// Says something, or keeps it until there is room. Without a front end nobody is there to hear it.
    fn send(&mut self, bytes: Vec<u8>) -> Result<(), PeerFault> {
        if self.control.is_none() {
            return Ok(());
        }
        self.outbox.push_back(bytes);
        self.flush()?;
        let (queued, limit) = (self.outbox.len(), MAX_QUEUED);
        if queued > limit {
            return Err(PeerFault::NotReading { queued, limit });
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), PeerFault> {
        let Some(control) = &mut self.control else {
            return Ok(());
        };
        while let Some(bytes) = self.outbox.front() {
            if !control.give(bytes)? {
                break;
            }
            self.outbox.pop_front();
        }
        Ok(())
    }

    /// What an unanswered request brought.
    fn brought(&self, request: Serial) -> Result<Brought, SetupError> {
        let brought = self.unanswered.get(&request.get()).copied().flatten();
        brought.ok_or_else(|| SetupError::Grants("the request brings no pages".into()))
    }
}

/// A fault and its causes in one line, for the device's `error`.
fn tell(fault: &PeerFault) -> String {
    let mut text = fault.to_string();
    let mut cause = std::error::Error::source(fault);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

fn store(error: XenError) -> PeerFault {
    PeerFault::System(io::Error::other(error))
}

fn setup(error: impl Into<SetupError>) -> PeerFault {
    PeerFault::Setup(Box::new(error.into()))
}

impl Drop for XenLink {
    /// What the guest had of the link is taken back first, then the keys say so.
    fn drop(&mut self) {
        self.drop_control();
        if let Some((set, _)) = &self.watch {
            set.remove(self.device.fd());
        }
        self.device.remove();
    }
}

impl GuestLink for XenLink {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn state(&self) -> LinkState {
        self.state
    }

    fn support(&self) -> Support {
        self.support
    }

    fn memory(&self) -> Option<MemoryProbe> {
        None
    }

    fn watch(&mut self, set: &WaitSet, token: u64) -> io::Result<()> {
        set.add(self.device.fd(), token, Interest::Read)?;
        self.watch = Some((set.clone(), token));
        match &self.control {
            Some(control) => set.add_bell(control.waiter(), token),
            None => Ok(()),
        }
    }

    fn hear(&mut self) -> Result<Option<Heard>, PeerFault> {
        let heard = self.hear_guest();
        if let Err(fault) = &heard {
            self.device.set_error(&tell(fault));
        }
        heard
    }

    fn welcome(&mut self, welcome: &Welcome) -> Result<(), PeerFault> {
        assert_eq!(
            self.state,
            LinkState::InitWait,
            "a front end is welcomed once, after its Hello"
        );
        let terms = control::terms(self.support).map_err(setup)?;
        self.state = LinkState::Initialised;
        self.send(welcome.emit(&terms, 0))
    }

    fn refuse(&mut self, refusal: &Refusal) {
        self.device.set_error(&refusal.to_string());
        // Whether the guest hears it is the guest's business.
        let _ = self.send(refusal.emit());
        self.state = LinkState::Closing;
    }

    fn reply(&mut self, to: Serial, reply: &Reply, _with: Handover) -> Result<(), PeerFault> {
        // A request of a front end that has gone since is answered to nobody.
        match self.unanswered.remove(&to.get()) {
            Some(_) => self.send(reply.emit(to, 0)),
            None => Ok(()),
        }
    }

    fn notify(&mut self, notice: &Notice, with: Handover) -> Result<(), PeerFault> {
        self.notices = self.notices.wrapping_add(1);
        let serial = Serial::new(self.notices);
        let mut notice = notice.clone();
        if let Notice::DirectOffered { lent, .. } = &mut notice {
            *lent = with.lent();
        }
        self.send(notice.emit(serial, 0))
    }

    fn make_port(
        &mut self,
        request: Serial,
        terms: &Terms,
    ) -> Result<(PortEnd, Handover), SetupError> {
        let taken = Taken::take(self.domain, self.brought(request)?, terms)?;
        Ok((taken.into_end()?, Handover::none()))
    }

    fn make_direct(
        &mut self,
        request: Serial,
        back: &mut dyn GuestLink,
        layout: Layout,
    ) -> Result<DirectEnds, SetupError> {
        if back.grantee().is_none() {
            return Err(SetupError::NoDirectPath);
        }
        let lent = Lent {
            domain: self.domain.get(),
            brought: self.brought(request)?,
        };
        let support = self.support.agree(back.support())?;
        Ok(DirectEnds {
            front: Handover::none(),
            back: Handover {
                items: vec![Item::Lent(lent)],
            },
            terms: Terms { layout, support },
        })
    }

    fn grantee(&self) -> Option<u16> {
        // Without a front end nobody would take what was granted.
        (self.state == LinkState::Connected).then_some(self.domain.get())
    }

    fn is_held(&self) -> bool {
        self.hold
    }

    fn keeps_ports(&self) -> bool {
        true
    }

    fn share_pool(&self) -> io::Result<Option<Handover>> {
        Ok(None)
    }
}
