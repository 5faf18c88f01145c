//! A device as the guest sees it: found in xenstore, brought to Connected, and talked to on its control ring.
//!
//! [`Front`] is driven: [`poll`](Front::poll) whenever its wait set or its timer says so. The decisions are a pure state machine
//! (`machine`), the messages are `talk`, and what touches the system is behind [`Store`] and [`Rings`].

mod machine;
mod store;
mod talk;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use myrixen_ring::{Support, Terms};

use crate::meeting::{PortEnd, SetupError};
use crate::message::{
    Brought, Hello, Notice, Refusal, Reply, Request, Serial, Ticket, VERSION, Welcome, Wish,
};
use crate::waitset::{Interest, WaitSet};
use crate::xen::bus::{self, BusState, control_terms};
use machine::{BackEnd, Machine, Seen, Step};
pub use store::GrantedRings;
pub use talk::FrontLoss;
use talk::{Said, Talk};

/// How long a back end that is there may take to map a control ring before another one is offered: it may have missed this one.
const OFFERING: Duration = Duration::from_secs(30);
/// How long the back end may take to answer Hello before everything is begun anew.
const GREETING: Duration = Duration::from_secs(5);
/// How long to wait after a failure of the system, and after a refusal.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks at one go: each of our own writes is an event, so there are some.
const LOOKS: usize = 64;
/// Steps at one look. Each is answered by a key that changes, so more only means that somebody plays with the keys.
const STEPS: usize = 8;

/// What the front end needs of xenstore. Paths that do not begin with `/` are of our own domain.
pub trait Store: Send {
    /// The value of a key, `None` when there is none.
    ///
    /// # Errors
    /// When the store fails, or does not let us read it.
    fn read(&mut self, path: &str) -> io::Result<Option<String>>;

    /// Writes keys below a folder, all or none.
    ///
    /// # Errors
    /// When the store fails, or does not let us write.
    fn write(&mut self, folder: &str, keys: &[(&str, String)]) -> io::Result<()>;

    /// Hears of changes at and below a path from now on. One that is watched already stays so.
    ///
    /// # Errors
    /// When the store fails, or the quota of watches is used up.
    fn watch(&mut self, path: &str) -> io::Result<()>;

    /// Hears no more of it.
    fn unwatch(&mut self, path: &str);

    /// Whether anything watched has changed since the last call. Does not block.
    ///
    /// # Errors
    /// When the store fails.
    fn changed(&mut self) -> io::Result<bool>;

    /// Readable when [`changed`](Self::changed) has something to say; `None` when it must be asked.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}

/// Makes control rings in memory that another domain may map.
pub trait Rings: Send {
    /// A queue pair for domain `to`, of which we are the front end, and what names it.
    ///
    /// # Errors
    /// [`SetupError`]: the limits of grants, event channels, descriptors.
    fn offer(&mut self, to: u16, terms: &Terms) -> Result<(Brought, PortEnd), SetupError>;
}

/// Where a device's front end stands.
#[derive(Debug)]
#[non_exhaustive]
pub enum FrontEvent {
    /// The back end has taken us in.
    Connected(Box<Connected>),
    /// It does not take us. We ask again later.
    Refused(Refusal),
    /// The control ring is gone; requests that are not answered will not be. Ports and channels may live on.
    Lost(FrontLoss),
    /// The answer to a request.
    Reply(Serial, Reply),
    /// Something happened.
    Notice(Notice),
}

/// What a back end that has taken us in says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// What we are.
    pub welcome: Welcome,
    /// What queue pairs to it are made with.
    pub support: Support,
    /// To whom their pages are granted.
    pub back: u16,
}

/// Why a device cannot be brought forward at this moment; it is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrontError {
    /// Xenstore.
    #[error("xenstore: {what} {path}")]
    Store {
        /// What was tried.
        what: &'static str,
        /// Where.
        path: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No control ring.
    #[error("no control ring for domain {to}")]
    Ring {
        /// The back end's domain.
        to: u16,
        /// Why not.
        #[source]
        source: SetupError,
    },
    /// A key holds what it cannot hold.
    #[error("xenstore: {path} holds {value:?}")]
    Key {
        /// The key.
        path: String,
        /// What is in it.
        value: String,
    },
    /// The wait set.
    #[error("the control ring cannot be watched")]
    Watch(#[source] io::Error),
}

impl FrontError {
    /// Whether xenstore does not let us: so it says of keys that are not there.
    fn is_forbidden(&self) -> bool {
        let Self::Store { source, .. } = self else {
            return false;
        };
        source.kind() == io::ErrorKind::PermissionDenied
    }
}

/// One device, seen from the guest.
#[derive(Debug)]
pub struct Front<S, R> {
    store: S,
    rings: R,
    /// `device/myrixen/N`.
    folder: String,
    machine: Machine,
    talk: Option<Talk>,
    /// The back end that is watched, and spoken to.
    back: Option<BackEnd>,
    watching: bool,
    events: VecDeque<FrontEvent>,
    /// The keys are to be looked at.
    look: bool,
    retry_at: Option<Instant>,
    set: Option<(WaitSet, u64)>,
    ticket: Option<Ticket>,
    next_serial: u64,
}

impl<S: Store, R: Rings> Front<S, R> {
    /// The front end of this domain's device number `device`.
    pub fn new(store: S, rings: R, device: u32) -> Self {
        Self {
            store,
            rings,
            folder: format!("device/myrixen/{device}"),
            machine: Machine::new(),
            talk: None,
            back: None,
            watching: false,
            events: VecDeque::new(),
            look: true,
            retry_at: None,
            set: None,
            ticket: None,
            next_serial: 1,
        }
    }

    /// Keeps the device in a wait set under `token`, whatever it consists of over time.
    ///
    /// # Errors
    /// As [`WaitSet::add`].
    pub fn watch(&mut self, set: &WaitSet, token: u64) -> io::Result<()> {
        if let Some(fd) = self.store.fd() {
            set.add(fd, token, Interest::Read)?;
        }
        if let Some(talk) = &self.talk {
            set.add_bell(talk.waiter(), token)?;
        }
        self.set = Some((set.clone(), token));
        Ok(())
    }

    /// When [`poll`](Self::poll) is due although the wait set is silent.
    pub fn next_timeout(&self) -> Option<Instant> {
        if self.talk.as_ref().is_some_and(Talk::is_broken) {
            return Some(Instant::now());
        }
        let talk = self.talk.as_ref().and_then(Talk::deadline);
        [talk, self.retry_at].into_iter().flatten().min()
    }

    /// Asks the back end something; `None` when it is not connected.
    pub fn ask(&mut self, request: &Request) -> Option<Serial> {
        let talk = self.talk.as_mut().filter(|talk| talk.is_welcomed())?;
        let serial = Serial::new(self.next_serial);
        self.next_serial += 1;
        talk.ask(serial, request);
        Some(serial)
    }

    /// Leaves in good order: the control ring is given up, which [`FrontEvent::Lost`] says, until the back end begins anew. Does
    /// nothing when it is not connected.
    ///
    /// # Errors
    /// [`FrontError::Store`]: the back end does not know.
    pub fn leave(&mut self) -> Result<(), FrontError> {
        if !self.machine.leave() {
            return Ok(());
        }
        self.drop_ring(FrontLoss::LetGo);
        self.write_state(BusState::Closed)
    }

    /// Goes on; gives what happened, until `None`. Does not block but for the store's answers.
    ///
    /// # Errors
    /// [`FrontError`], for the log: it is tried again after a pause.
    pub fn poll(&mut self, now: Instant) -> Result<Option<FrontEvent>, FrontError> {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.machine.held = false;
            self.look = true;
        }
        if let Err(error) = self.follow_keys(now) {
            return Err(self.fail(now, error));
        }
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        self.hear(now)
    }

    /// Looks at the keys as long as they change. Events that came with the store's answers do not show at its descriptor, so
    /// it is asked again after every look.
    fn follow_keys(&mut self, now: Instant) -> Result<(), FrontError> {
        for _ in 0..LOOKS {
            let changed = self
                .store
                .changed()
                .map_err(store("could not be heard of", &self.folder))?;
            self.look |= changed;
            let waits = self.retry_at.is_some() && !self.machine.held;
            if !self.look || waits {
                return Ok(());
            }
            self.look = false;
            self.settle(now)?;
        }
        // Somebody plays with the keys: not for ever, and not now.
        self.look = true;
        self.retry_at = Some(now + PAUSE);
        Ok(())
    }

    /// After a failure nothing of what we had is certain.
    fn fail(&mut self, now: Instant, error: FrontError) -> FrontError {
        self.drop_ring(FrontLoss::LetGo);
        self.machine.unknown();
        self.retry_at = Some(now + PAUSE);
        error
    }

    fn hear(&mut self, now: Instant) -> Result<Option<FrontEvent>, FrontError> {
        let Some(talk) = &mut self.talk else {
            return Ok(None);
        };
        let back = self.back.as_ref().map_or(0, |back| back.domain);
        let said = match talk.hear(now) {
            Ok(None) => return Ok(None),
            Ok(Some(said)) => said,
            Err(loss) => {
                self.drop_ring(loss);
                self.machine.unknown();
                // Settled at once: the back end waits for our 1.
                self.look = true;
                return self.poll(now);
            }
        };
        Ok(Some(match said {
            Said::Welcome(welcome, support) => {
                self.ticket.clone_from(&welcome.ticket);
                FrontEvent::Connected(Box::new(Connected {
                    welcome: *welcome,
                    support,
                    back,
                }))
            }
            Said::Refused(refusal) => {
                self.drop_ring(FrontLoss::LetGo);
                self.machine.unknown();
                self.machine.held = true;
                self.retry_at = Some(now + PAUSE);
                self.look = true;
                FrontEvent::Refused(refusal)
            }
            Said::Reply(serial, reply) => FrontEvent::Reply(serial, reply),
            Said::Notice(notice) => FrontEvent::Notice(notice),
        }))
    }

    /// Follows the keys until there is nothing to do.
    fn settle(&mut self, now: Instant) -> Result<(), FrontError> {
        for _ in 0..STEPS {
            let seen = self.see()?;
            let step = self.machine.look(seen.as_ref());
            match step {
                Step::Rest => return Ok(()),
                Step::Forget => self.drop_ring(FrontLoss::LetGo),
                Step::Renew => {
                    self.drop_ring(FrontLoss::LetGo);
                    self.write_state(BusState::Initialising)?;
                }
                Step::Offer => self.offer(now)?,
                Step::Connect => {
                    self.write_state(BusState::Connected)?;
                    let hello = self.hello();
                    if let Some(talk) = &mut self.talk {
                        talk.greet(&hello, now + GREETING);
                    }
                }
                Step::Close => {
                    self.drop_ring(FrontLoss::LetGo);
                    match self.write_state(BusState::Closed) {
                        // The device has been removed meanwhile.
                        Err(error) if error.is_forbidden() => {}
                        other => other?,
                    }
                }
            }
        }
        Ok(())
    }

    /// What the store says of the device; `None`: there is none (yet).
    fn see(&mut self) -> Result<Option<Seen>, FrontError> {
        if !self.watching {
            let watched = self.store.watch(&self.folder);
            watched.map_err(store("could not watch", &self.folder))?;
            self.watching = true;
        }
        let (path, domain) = (self.own("backend")?, self.own("backend-id")?);
        let (Some(path), Some(domain)) = (path, domain) else {
            self.follow(None)?;
            return Ok(None);
        };
        let back = BackEnd {
            path,
            domain: number(&format!("{}/backend-id", self.folder), &domain)?,
        };
        self.follow(Some(&back))?;
        let me = self.read("domid")?.unwrap_or_default();
        let own = self.own("state")?;
        let Some(theirs) = self.theirs(&back, "state")? else {
            // Not complete yet, or being taken away: a key that we write now might outlive the device.
            return Ok(None);
        };
        let online = self.theirs(&back, "online")?;
        let state = |text: &str| BusState::parse(text.trim().as_bytes());
        Ok(Some(Seen {
            me: number("domid", &me)?,
            own: own.as_deref().and_then(state),
            theirs: state(&theirs),
            // Absent until the toolstack has written everything.
            online: online.as_deref().map(str::trim) != Some("0"),
            back,
        }))
    }

    /// Watches the back end's keys, and no other's.
    fn follow(&mut self, back: Option<&BackEnd>) -> Result<(), FrontError> {
        if self.back.as_ref() == back {
            return Ok(());
        }
        if let Some(old) = self.back.take() {
            self.store.unwatch(&old.path);
        }
        if let Some(new) = back {
            let watched = self.store.watch(&new.path);
            watched.map_err(store("could not watch", &new.path))?;
        }
        self.back = back.cloned();
        Ok(())
    }

    /// A key of the back end's. What is not there cannot be read either: the folder around it is the driver domain's.
    fn theirs(&mut self, back: &BackEnd, key: &str) -> Result<Option<String>, FrontError> {
        let path = format!("{}/{key}", back.path);
        match self.store.read(&path) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(None),
            other => other.map_err(store("could not read", &path)),
        }
    }

    fn own(&mut self, key: &str) -> Result<Option<String>, FrontError> {
        self.read(&format!("{}/{key}", self.folder))
    }

    fn read(&mut self, path: &str) -> Result<Option<String>, FrontError> {
        self.store.read(path).map_err(store("could not read", path))
    }

    fn write_state(&mut self, state: BusState) -> Result<(), FrontError> {
        let written = self
            .store
            .write(&self.folder, &[("state", state.text().to_owned())]);
        written.map_err(store("could not write state below", &self.folder))
    }

    /// Makes a control ring and tells the back end where it is.
    fn offer(&mut self, now: Instant) -> Result<(), FrontError> {
        let to = self.back.as_ref().map_or(0, |back| back.domain);
        let no_ring = |source| FrontError::Ring { to, source };
        let terms = control_terms().map_err(|error| no_ring(error.into()))?;
        let (brought, end) = self.rings.offer(to, &terms).map_err(no_ring)?;
        let talk = Talk::new(end, now + OFFERING);
        if let Some((set, token)) = &self.set {
            set.add_bell(talk.waiter(), *token)
                .map_err(FrontError::Watch)?;
        }
        self.talk = Some(talk);
        let keys = [
            ("ring-ref", brought.page.to_string()),
            ("event-channel", brought.event.to_string()),
            ("version", bus::VERSION.to_owned()),
            ("state", BusState::Initialised.text().to_owned()),
        ];
        let written = self.store.write(&self.folder, &keys);
        written.map_err(store(
            "could not publish the control ring below",
            &self.folder,
        ))
    }

    fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            features: 0,
            ring: Support::OURS,
            // Who a domain is, the driver domain says (the back end's keys).
            wish: Wish::default(),
            ticket: self.ticket.clone(),
            memory: None,
        }
    }

    fn drop_ring(&mut self, loss: FrontLoss) {
        let Some(talk) = self.talk.take() else {
            return;
        };
        if let Some((set, _)) = &self.set {
            set.remove_bell(talk.waiter());
        }
        if talk.is_welcomed() {
            self.events.push_back(FrontEvent::Lost(loss));
        }
    }
}

fn store<'a>(what: &'static str, path: &'a str) -> impl FnOnce(io::Error) -> FrontError + use<'a> {
    move |source| FrontError::Store {
        what,
        path: path.to_owned(),
        source,
    }
}

/// A domain id.
fn number(path: &str, value: &str) -> Result<u16, FrontError> {
    value.trim().parse().map_err(|_| FrontError::Key {
        path: path.to_owned(),
        value: value.to_owned(),
    })
}

impl<S, R> Drop for Front<S, R> {
    fn drop(&mut self) {
        if let (Some((set, _)), Some(talk)) = (&self.set, &self.talk) {
            set.remove_bell(talk.waiter());
        }
    }
}
