//! What can go wrong on a link, by what the caller does about it.

use std::io;

use crate::{LinkKind, Tag};

/// Why a link could not do what it was asked. The caller decides what to do:
/// [`Full`](Self::Full) is back pressure, the frame errors concern one frame,
/// [`Down`](Self::Down) passes by itself, the others concern the link.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// No room to queue another frame. Nothing is lost: flush, wait for
    /// [`readiness`](crate::Link::readiness), offer the frame again.
    #[error("the link's transmit queue is full")]
    Full,

    /// The network interface is down. `receive` and `flush` say so once for each outage,
    /// `transmit` for each frame that it refuses. The link tries again by itself.
    #[error("network interface {name} is down (ip link set {name} up)")]
    Down {
        /// The interface.
        name: String,
    },

    /// The network interface was removed: this link will not work again.
    #[error("network interface {name} is gone")]
    Gone {
        /// The interface.
        name: String,
    },

    /// The frame is longer than the link carries.
    #[error("frame of {len} bytes on a link that carries {mtu}")]
    TooLong {
        /// Bytes of the frame, Ethernet header included.
        len: usize,
        /// The largest frame, Ethernet header included.
        mtu: usize,
    },

    /// The frame is shorter than an Ethernet header, or its head is.
    #[error("frame head of {len} bytes, an Ethernet header takes 14")]
    TooShort {
        /// Bytes of the frame's head.
        len: usize,
    },

    /// The partition tag is not of this kind of link, or out of its range.
    #[error("a frame tagged {tag} cannot go over a link of kind {kind}")]
    WrongTag {
        /// The tag of the frame.
        tag: Tag,
        /// What the link is.
        kind: LinkKind,
    },

    /// The kernel refused something for which this process lacks a right.
    #[error("not permitted to {doing}: {needs}")]
    Denied {
        /// What was tried.
        doing: &'static str,
        /// The capability or setting that would help.
        needs: &'static str,
        /// The kernel's words.
        source: io::Error,
    },

    /// There is no such network interface, or it is not usable.
    #[error("network interface {name:?}: {problem}")]
    Interface {
        /// The interface, as it was named.
        name: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A setting cannot be used as it is.
    #[error("{setting}: {problem}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    /// Any other failure of the operating system.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The kernel's words.
        source: io::Error,
    },
}

impl LinkError {
    /// Names what was tried when a system call failed.
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    /// Whether only the one frame is concerned, which the caller drops and counts.
    #[must_use]
    pub fn concerns_frame(&self) -> bool {
        matches!(
            self,
            Self::TooLong { .. } | Self::TooShort { .. } | Self::WrongTag { .. }
        )
    }
}
