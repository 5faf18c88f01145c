//! Numbers of this back end's own making. None of them crosses to a guest.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])+ $name:ident($inner:ty)) => {
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// The one with this number.
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

id! {
    /// A partition: its place in the configuration.
    PartitionId(u16)
}
id! {
    /// An uplink: its place in the configuration.
    UplinkId(u16)
}
id! {
    /// A worker, counted from 0.
    WorkerId(u16)
}
id! {
    /// A guest: one attachment. Never used again while the back end runs.
    GuestId(u64)
}
id! {
    /// A port: one opening of an endpoint. Never used again while the back end runs.
    PortId(u64)
}
