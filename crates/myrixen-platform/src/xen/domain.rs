//! What Xen numbers: domains, grants, event channels.

use std::fmt;

/// A domain: a virtual machine. 0 is the control domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DomId(u16);

/// A grant of one page, valid in the domain it was made for. The number has a meaning beside the granting domain's id only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GrantRef(u32);

/// An end of an event channel. The number has a meaning in the domain whose end it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(u32);

macro_rules! number {
    ($name:ident, $inner:ty) => {
        impl $name {
            /// Of the number that Xen, or the peer, calls it by.
            #[must_use]
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(DomId, u16);
number!(GrantRef, u32);
number!(Port, u32);
