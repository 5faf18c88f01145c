//! Two endpoints of a back end of their own, connected both ways.

use std::time::Duration;

use myrixen::{Endpoint, EndpointOptions, Fabric, Peer};

/// For what is to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// For what is not.
pub(crate) const SOON: Option<Duration> = Some(Duration::from_millis(20));

/// See the module.
pub(crate) struct Pair {
    /// The back end runs inside it.
    _fabric: Fabric,
    pub(crate) a: Endpoint,
    pub(crate) b: Endpoint,
    pub(crate) to_b: Peer,
    pub(crate) to_a: Peer,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let fabric = Fabric::embedded().expect("an embedded back end");
        let open = || fabric.open(EndpointOptions::default()).expect("opened");
        let (a, b) = (open(), open());
        let to_b = a.connect(b.address(), 0, PATIENCE).expect("connected");
        let to_a = b.connect(a.address(), 0, PATIENCE).expect("connected");
        Self {
            _fabric: fabric,
            a,
            b,
            to_b,
            to_a,
        }
    }
}
