//! Numbers of threads: unlike the system's, none is ever used again.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sync::whole;

/// Of a thread that has none, or has none any more.
pub(crate) const NONE: u64 = 0;

/// Of no thread, not even of one that has none.
pub(crate) const NOBODY: u64 = u64::MAX;

/// These bits are 0 in all numbers of threads.
pub(crate) const FREE: u64 = 3;

/// The numbers of threads that have not ended.
static ALIVE: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// Ends with its thread.
struct Life(u64);

impl Drop for Life {
    fn drop(&mut self) {
        // What is dropped after this has no number.
        own::set(NONE);
        whole(ALIVE.lock()).remove(&self.0);
    }
}

#[cfg(not(loom))]
mod own {
    use std::cell::Cell;

    use super::Life;
    pub(crate) use super::word::number;
    pub(super) use super::word::set;

    thread_local! {
        static LIFE: Cell<Option<Life>> = const { Cell::new(None) };
    }

    /// Ends `life` with this thread, which has no number where that is about to be.
    pub(super) fn begin(life: Life) {
        let number = life.0;
        if LIFE.try_with(|own| own.set(Some(life))).is_ok() {
            set(number);
        }
    }
}

/// This thread's number, apart from its life, so that looking at it is no more than a load. In a shared library `thread_local!` makes a call of it
/// (`__tls_get_addr`), eight times for each message of a C program. So its place is one beside the thread's pointer, which the loader knows from the
/// start (the *initial exec* model of ELF's thread-local storage); the C library keeps room there for what is loaded later.
#[cfg(all(
    not(loom),
    not(miri),
    target_arch = "x86_64",
    target_os = "linux",
    target_env = "gnu"
))]
mod word {
    use std::arch::{asm, global_asm};

    global_asm!(
        ".pushsection .tbss.myrixen_bias_thread, \"awT\", @nobits",
        ".globl myrixen_bias_thread",
        ".hidden myrixen_bias_thread",
        ".type myrixen_bias_thread, @tls_object",
        ".size myrixen_bias_thread, 8",
        ".balign 8",
        "myrixen_bias_thread: .zero 8",
        ".popsection",
    );

    #[inline]
    pub(crate) fn number() -> u64 {
        let number;
        // SAFETY: loads the word above, which is this thread's alone and 0, that is `NONE`, from its start.
        unsafe {
            asm!(
                "mov {number}, qword ptr [rip + myrixen_bias_thread@GOTTPOFF]",
                "mov {number}, qword ptr fs:[{number}]",
                number = out(reg) number,
                options(nostack, preserves_flags, readonly),
            );
        }
        number
    }

    pub(crate) fn set(number: u64) {
        // SAFETY: stores into the same word, which nothing refers to.
        unsafe {
            asm!(
                "mov {at}, qword ptr [rip + myrixen_bias_thread@GOTTPOFF]",
                "mov qword ptr fs:[{at}], {number}",
                at = out(reg) _,
                number = in(reg) number,
                options(nostack, preserves_flags),
            );
        }
    }
}

#[cfg(all(
    not(loom),
    not(all(
        not(miri),
        target_arch = "x86_64",
        target_os = "linux",
        target_env = "gnu"
    ))
))]
mod word {
    use std::cell::Cell;

    use super::NONE;

    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(NONE) };
    }

    #[inline]
    pub(crate) fn number() -> u64 {
        NUMBER.get()
    }

    pub(crate) fn set(number: u64) {
        NUMBER.set(number);
    }
}

/// Loom's threads are one to the system.
#[cfg(loom)]
mod own {
    use std::cell::Cell;

    use super::{Life, NONE};

    loom::thread_local! {
        static NUMBER: Cell<u64> = Cell::new(NONE);
    }

    pub(crate) fn number() -> u64 {
        NUMBER.with(Cell::get)
    }

    pub(super) fn set(number: u64) {
        NUMBER.with(|own| own.set(number));
    }

    pub(super) fn begin(life: Life) {
        set(life.0);
        std::mem::forget(life);
    }
}

/// This thread's number, if it has one.
pub(crate) use own::number;

/// The calling thread's number, which no other thread has, had or will have; it gets one if it has none. 0 in a thread that is about to end.
#[inline]
#[must_use]
pub fn thread_number() -> u64 {
    match number() {
        NONE => take_number(),
        own => own,
    }
}

/// Gives the thread a number, if it can have one.
#[cold]
fn take_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1 + FREE);
    let new = NEXT.fetch_add(1 + FREE, Ordering::Relaxed);
    whole(ALIVE.lock()).insert(new);
    own::begin(Life(new));
    number()
}

/// Whether this thread may still do something.
pub(crate) fn is_alive(number: u64) -> bool {
    whole(ALIVE.lock()).contains(&number)
}
