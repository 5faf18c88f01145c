//! The connection to the back end, which may go away and come back.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use myrixen_platform::SharedPool;
use myrixen_platform::message::{Ticket, Wish};
#[cfg(feature = "embedded")]
use myrixen_platform::process::Connector;
use myrixen_platform::process::{Attachment, Handshake, HelloOptions, RequestError};
use myrixen_shm::Pool;

use crate::error::{Error, Result};

/// Where the back end is.
pub(crate) enum Place {
    /// Behind a socket.
    Socket(std::path::PathBuf),
    /// In this program.
    #[cfg(feature = "embedded")]
    Inside(Arc<Connector>),
}

/// What we say when we (re)attach.
pub(crate) struct Door {
    pub(crate) place: Place,
    pub(crate) wish: Wish,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) offer_memory: bool,
}

impl Door {
    /// Says Hello. The answer comes later.
    pub(crate) fn knock(&self, pool: &Pool) -> Result<Handshake> {
        let pool = SharedPool::new(pool)
            .map_err(Error::system("could not share the pool with the back end"))?;
        let hello = HelloOptions {
            wish: self.wish.clone(),
            ticket: self.ticket.clone(),
            offer_memory: self.offer_memory,
            pool: Some(pool),
            ..HelloOptions::default()
        };
        match &self.place {
            Place::Socket(path) => Ok(Handshake::start(path, hello)?),
            #[cfg(feature = "embedded")]
            Place::Inside(connector) => connector
                .connect(hello)
                .map_err(Error::system("could not reach the embedded back end")),
        }
    }
}

/// The attachment of the moment, for every thread of the program.
pub(crate) struct Home {
    attachment: Mutex<Option<Arc<Attachment>>>,
    changed: Condvar,
}

impl Home {
    pub(crate) fn new(attachment: Arc<Attachment>) -> Self {
        Self {
            attachment: Mutex::new(Some(attachment)),
            changed: Condvar::new(),
        }
    }

    /// The back end is away (`None`) or back.
    pub(crate) fn set(&self, attachment: Option<Arc<Attachment>>) {
        *self
            .attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = attachment;
        self.changed.notify_all();
    }

    /// The attachment, if the back end is there.
    pub(crate) fn get(&self) -> Option<Arc<Attachment>> {
        self.attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks the back end something, and again when it comes back from a restart in between.
    pub(crate) fn ask<T>(
        &self,
        what: &'static str,
        patience: Duration,
        ask: impl Fn(&Attachment, Duration) -> Result<T, RequestError>,
    ) -> Result<T> {
        let until = Instant::now() + patience;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let away = Error::BackEndAway {
                what,
                waited: patience,
            };
            if left.is_zero() {
                return Err(away);
            }
            let Some(attachment) = self.wait(left) else {
                return Err(away);
            };
            match ask(&attachment, left) {
                Ok(answer) => return Ok(answer),
                Err(RequestError::Lost) => self.wait_for_loss(&attachment, left),
                Err(RequestError::Failed(failure)) => {
                    return Err(Error::Refused {
                        what,
                        kind: failure.reason,
                        reason: failure.to_string(),
                    });
                }
                Err(source) => return Err(Error::Request { what, source }),
            }
        }
    }

    /// Waits for the back end to be there.
    fn wait(&self, patience: Duration) -> Option<Arc<Attachment>> {
        let held = self
            .attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (held, _) = self
            .changed
            .wait_timeout_while(held, patience, |held| held.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        held.clone()
    }

    /// Waits until the fabric's thread has seen as well that this attachment is lost.
    fn wait_for_loss(&self, lost: &Arc<Attachment>, patience: Duration) {
        let held = self
            .attachment
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let _ = self.changed.wait_timeout_while(held, patience, |held| {
            held.as_ref().is_some_and(|held| Arc::ptr_eq(held, lost))
        });
    }
}
