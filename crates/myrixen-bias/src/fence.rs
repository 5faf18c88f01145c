//! The two fences of which one costs nothing: of two threads that each store, fence and then load what the other has stored, at least one sees the other's
//! store if one of the fences is [`heavy`]. In loom's models both are fences of the usual kind.

/// Keeps the compiler from loading what follows before it has stored what precedes. The processor is kept from it by [`heavy`] in another thread.
#[inline]
pub(crate) fn light() {
    #[cfg(not(loom))]
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
    #[cfg(loom)]
    loom::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// A fence in every thread of the process. Takes from a quarter of a microsecond to about ten.
#[cold]
pub(crate) fn heavy() {
    #[cfg(not(loom))]
    kernel::everywhere();
    #[cfg(loom)]
    loom::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

/// Whether there is such a fence.
pub(crate) fn available() -> bool {
    #[cfg(not(loom))]
    return kernel::available();
    #[cfg(loom)]
    true
}

#[cfg(not(loom))]
mod kernel {
    use std::sync::OnceLock;
    use std::time::Duration;

    use rustix::thread::{MembarrierCommand, membarrier};

    /// Far longer than a processor keeps a store to itself.
    const A_WHILE: Duration = Duration::from_millis(1);

    /// The kernel wants to know beforehand who will ask.
    pub(super) fn available() -> bool {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        *REGISTERED.get_or_init(|| membarrier(MembarrierCommand::RegisterPrivateExpedited).is_ok())
    }

    pub(super) fn everywhere() {
        if membarrier(MembarrierCommand::PrivateExpedited).is_err() {
            // A filter of system calls has come over the process since it registered.
            std::thread::sleep(A_WHILE);
        }
    }
}
