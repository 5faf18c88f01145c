//! How the program's threads tell the fabric's thread what to look at.

use std::sync::{Mutex, PoisonError};

use myrixen_platform::Waker;

use crate::core::Note;

/// What has been put in since the fabric's thread last looked.
#[derive(Default)]
pub(crate) struct Mail {
    pub(crate) notes: Vec<(usize, Note)>,
    /// Endpoints whose tasks went to sleep: to be taken over at once.
    pub(crate) adopt: Vec<usize>,
    /// Endpoints that are new, or that their programs have taken back or left.
    pub(crate) look: Vec<usize>,
    /// Endpoints that are closed: their numbers may be others' since.
    pub(crate) closed: Vec<usize>,
    pub(crate) stop: bool,
}

/// See the module.
pub(crate) struct Mailbox {
    mail: Mutex<Mail>,
    waker: Waker,
}

impl Mailbox {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            mail: Mutex::default(),
            waker,
        }
    }

    /// Wakes the fabric's thread.
    pub(crate) fn poke(&self) {
        self.waker.wake();
    }

    /// Puts something in, and wakes the fabric's thread.
    pub(crate) fn put(&self, put: impl FnOnce(&mut Mail)) {
        put(&mut self.mail.lock().unwrap_or_else(PoisonError::into_inner));
        self.poke();
    }

    /// Takes everything out.
    pub(crate) fn take(&self) -> Mail {
        std::mem::take(&mut *self.mail.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
