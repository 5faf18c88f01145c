//! Borrowed buffers for the length of one call.
//!
//! A blocking receive is given a `&mut [u8]`, and whoever drives the endpoint meanwhile (perhaps another thread)
//! has to copy into it. The handle it copies through stops working when the call returns.

use std::cell::RefCell;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::copy::copy;
use crate::{Access, Pages};

/// The call that lent the buffer has returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the buffer is no longer lent")]
pub struct Revoked;

/// A handle to a buffer that was lent by [`lend()`] or [`lend_ref`]. It may outlive the loan; then every copy is refused.
#[derive(Clone, Debug)]
pub struct Lent {
    loan: Arc<Mutex<Option<Loan>>>,
    len: usize,
    access: Access,
}

/// A loan that has not ended.
#[derive(Debug)]
struct Loan {
    base: NonNull<u8>,
}

// SAFETY: the pointer is only used under the mutex while the loan lasts, during which the lender's borrow is suspended
// in favour of the handles; bytes belong to no thread.
unsafe impl Send for Loan {}

impl Lent {
    /// Bytes in the buffer.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the buffer holds no byte.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether copies into the buffer are allowed: it was lent by [`lend()`].
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Copies `bytes` into the buffer at `offset`.
    ///
    /// # Errors
    ///
    /// [`Revoked`] after the loan has ended.
    ///
    /// # Panics
    ///
    /// When the range does not lie within the buffer or the buffer was lent for reading.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), Revoked> {
        self.with_io_mut(offset, bytes.len(), |to, len| {
            // SAFETY: `with_io_mut` gives `len` bytes that nobody else uses until it returns; `bytes` is another slice.
            unsafe { copy(bytes.as_ptr(), to, len) };
        })
    }

    /// Copies `into.len()` bytes at `offset` out of the buffer. Errors and panics as in [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// [`Revoked`] after the loan has ended.
    #[inline]
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), Revoked> {
        self.with_io(offset, into.len(), |from, len| {
            // SAFETY: `with_io` gives `len` readable bytes until it returns; `into` is another slice.
            unsafe { copy(from, into.as_mut_ptr(), len) };
        })
    }

    /// Copies `len` bytes at `pages_offset` of `pages` into the buffer at `offset`. Panics as [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// [`Revoked`] after the loan has ended.
    #[inline]
    pub fn fill_from(
        &self,
        offset: usize,
        pages: &Pages,
        pages_offset: usize,
        len: usize,
    ) -> Result<(), Revoked> {
        let (from, len) = pages.as_io_ptr(pages_offset, len);
        self.with_io_mut(offset, len, |to, len| {
            // SAFETY: `as_io_ptr` checked the source and `with_io_mut` the destination; no mapping overlaps a borrowed slice.
            unsafe { copy(from, to, len) };
        })
    }

    /// Copies `len` bytes at `offset` of the buffer to `pages` at `pages_offset`. Panics as [`write`](Self::write).
    ///
    /// # Errors
    ///
    /// [`Revoked`] after the loan has ended.
    #[inline]
    pub fn copy_to(
        &self,
        offset: usize,
        pages: &Pages,
        pages_offset: usize,
        len: usize,
    ) -> Result<(), Revoked> {
        let (to, len) = pages.as_io_mut_ptr(pages_offset, len);
        self.with_io(offset, len, |from, len| {
            // SAFETY: `as_io_mut_ptr` checked the destination and `with_io` the source; no mapping overlaps a borrowed slice.
            unsafe { copy(from, to, len) };
        })
    }

    /// Shows `len` bytes at `offset` of the buffer. Panics when they do not lie within it. `show` must not use the handle
    /// again (it would wait for itself).
    ///
    /// # Errors
    ///
    /// [`Revoked`] after the loan has ended.
    #[inline]
    pub fn with<R>(
        &self,
        offset: usize,
        len: usize,
        show: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Revoked> {
        self.checked(offset, len, |base| {
            // SAFETY: `checked` gives `len` initialised bytes whose loan lasts until this closure returns; whoever writes
            // to them through a handle needs the lock that is held here, and the lender's own borrow is suspended.
            show(unsafe { std::slice::from_raw_parts(base, len) })
        })
    }

    /// As [`with`](Self::with), for writing. Panics also when the buffer was lent for reading.
    ///
    /// # Errors
    ///
    /// [`Revoked`] after the loan has ended.
    #[inline]
    pub fn with_mut<R>(
        &self,
        offset: usize,
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> R,
    ) -> Result<R, Revoked> {
        self.with_io_mut(offset, len, |base, len| {
            // SAFETY: as in `with`; the buffer was lent by an exclusive borrow, and the lock makes this its only user.
            fill(unsafe { std::slice::from_raw_parts_mut(base, len) })
        })
    }

    /// Calls `io` with a range of the buffer as a pointer for a system call that reads from it. The pointer is good
    /// until `io` returns; the loan does not end before, and `io` must not use the handle again
    /// (it would wait for itself). Panics when the range does not lie within the buffer.
    ///
    /// # Errors
    ///
    /// [`Revoked`] after the loan has ended.
    #[inline]
    pub fn with_io<R>(
        &self,
        offset: usize,
        len: usize,
        io: impl FnOnce(*const u8, usize) -> R,
    ) -> Result<R, Revoked> {
        self.checked(offset, len, |base| io(base.cast_const(), len))
    }

    /// As [`with_io`](Self::with_io), for a system call that writes to the buffer. Panics also when it was lent for reading.
    ///
    /// # Errors
    ///
    /// [`Revoked`] after the loan has ended.
    #[inline]
    pub fn with_io_mut<R>(
        &self,
        offset: usize,
        len: usize,
        io: impl FnOnce(*mut u8, usize) -> R,
    ) -> Result<R, Revoked> {
        assert_eq!(
            self.access,
            Access::ReadWrite,
            "the buffer was lent for reading"
        );
        self.checked(offset, len, |base| io(base, len))
    }

    #[inline]
    fn checked<R>(
        &self,
        offset: usize,
        len: usize,
        io: impl FnOnce(*mut u8) -> R,
    ) -> Result<R, Revoked> {
        assert!(
            offset <= self.len && len <= self.len - offset,
            "{len} bytes at {offset} of {}",
            self.len
        );
        let loan = lock(&self.loan);
        let base = loan.as_ref().ok_or(Revoked)?.base;
        // SAFETY: within the buffer, as just checked; the lock keeps the loan from ending.
        let place = unsafe { base.as_ptr().add(offset) };
        Ok(io(place))
    }
}

fn lock(loan: &Mutex<Option<Loan>>) -> MutexGuard<'_, Option<Loan>> {
    // A panic during a copy leaves some bytes copied: as harmless as a copy that was not made.
    loan.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Lends `buf` for the length of the call of `body`. Copies through the handle may come from any thread; they see one another's bytes in
/// the order in which they were made. When `lend` returns (or unwinds), no copy is in progress and none will ever be made.
pub fn lend<R>(buf: &mut [u8], body: impl FnOnce(&Lent) -> R) -> R {
    let len = buf.len();
    let base = NonNull::from(buf).cast();
    with_loan(base, len, Access::ReadWrite, body)
}

/// As [`lend()`], for reading only.
pub fn lend_ref<R>(buf: &[u8], body: impl FnOnce(&Lent) -> R) -> R {
    with_loan(NonNull::from(buf).cast(), buf.len(), Access::ReadOnly, body)
}

fn with_loan<R>(base: NonNull<u8>, len: usize, access: Access, body: impl FnOnce(&Lent) -> R) -> R {
    let loan = cached();
    *lock(&loan) = Some(Loan { base });
    let scope = Scope {
        lent: Lent { loan, len, access },
    };
    body(&scope.lent)
}

/// Ends the loan, also when the body panics.
struct Scope {
    lent: Lent,
}

impl Drop for Scope {
    fn drop(&mut self) {
        // Waits for a copy in progress: it holds the lock.
        *lock(&self.lent.loan) = None;
        keep(&self.lent.loan);
    }
}

thread_local! {
    /// Ended loans for the next call, so that a warm receive allocates nothing.
    static SPARE: RefCell<Vec<Arc<Mutex<Option<Loan>>>>> = const { RefCell::new(Vec::new()) };
}

/// Loans kept for reuse by a thread; more are in use at once only when calls nest.
const SPARE_LOANS: usize = 8;

fn cached() -> Arc<Mutex<Option<Loan>>> {
    SPARE
        .try_with(|spare| spare.borrow_mut().pop())
        .ok()
        .flatten()
        .unwrap_or_default()
}

fn keep(loan: &Arc<Mutex<Option<Loan>>>) {
    // A handle that somebody has kept must stay revoked: then the loan is not used again.
    // The count cannot grow from 1 behind our back: the one handle is ours.
    if Arc::strong_count(loan) == 1 {
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_LOANS {
                spare.push(Arc::clone(loan));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn bytes_cross_both_ways_while_the_loan_lasts() {
        let mut buf = [0; 100];
        let pages = Pages::private(4096).expect("memory");
        pages.write(50, b"from the ring");
        lend(&mut buf, |lent| {
            lent.write(0, b"abc").expect("lent");
            lent.fill_from(10, &pages, 50, 13).expect("lent");
            lent.copy_to(0, &pages, 200, 3).expect("lent");
            let mut back = [0; 2];
            lent.read(1, &mut back).expect("lent");
            assert_eq!(&back, b"bc");
        });
        assert_eq!(&buf[..3], b"abc");
        assert_eq!(&buf[10..23], b"from the ring");
        let mut out = [0; 3];
        pages.read(200, &mut out);
        assert_eq!(&out, b"abc");
    }

    #[test]
    fn a_kept_handle_is_refused_and_never_serves_a_later_loan() {
        let mut first = [1; 8];
        let kept = lend(&mut first, Clone::clone);
        assert_eq!(kept.write(0, b"x"), Err(Revoked));
        let mut second = [2; 8];
        lend(&mut second, |lent| {
            assert_eq!(kept.write(0, b"x"), Err(Revoked));
            lent.write(1, b"y").expect("lent");
        });
        assert_eq!((first, second), ([1; 8], [2, b'y', 2, 2, 2, 2, 2, 2]));
    }

    #[test]
    fn a_loan_that_unwinds_is_over() {
        let mut buf = [0; 8];
        let (give, take) = mpsc::channel();
        let unwound = catch_unwind(AssertUnwindSafe(|| {
            lend(&mut buf, |lent| {
                give.send(lent.clone()).expect("kept");
                panic!("on purpose");
            })
        }));
        assert!(unwound.is_err());
        assert_eq!(take.recv().expect("sent").write(0, b"x"), Err(Revoked));
    }

    #[test]
    fn what_was_lent_for_reading_cannot_be_written() {
        let refused = lend_ref(b"constant", |lent| {
            catch_unwind(AssertUnwindSafe(|| lent.write(0, b"x"))).is_err()
        });
        assert!(refused);
    }

    #[test]
    fn the_end_waits_for_a_copy_in_progress() {
        let mut buf = [0u8; 64];
        let (entered, has_entered) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let helper = lend(&mut buf, |lent| {
            let lent = lent.clone();
            let helper = thread::spawn(move || {
                lent.with_io_mut(0, 64, |to, len| {
                    entered.send(()).expect("the lender waits");
                    may_go_on.recv().expect("told to go on");
                    // SAFETY: the range is lent until this closure returns.
                    unsafe { to.write_bytes(7, len) };
                })
            });
            has_entered.recv().expect("the copy has begun");
            go_on.send(()).expect("the copy waits");
            helper
        });
        // The loan is over; had its end not waited, some of these could still be 0.
        assert_eq!(buf, [7; 64]);
        assert_eq!(helper.join().expect("no panic"), Ok(()));
    }

    #[test]
    fn warm_loans_reuse_their_memory() {
        let mut buf = [0; 8];
        let first = lend(&mut buf, |lent| Arc::as_ptr(&lent.loan));
        let second = lend(&mut buf, |lent| Arc::as_ptr(&lent.loan));
        assert_eq!(first, second);
    }
}
