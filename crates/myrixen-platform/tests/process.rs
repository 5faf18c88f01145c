//! The process platform, by path, by abstract name and embedded, against the conformance suite.

mod conformance;

use conformance::Fixture;
use myrixen_platform::Meeting;
use myrixen_platform::process::{Connector, Handshake, HelloOptions, Listener, embedded};

/// Guests find the back end by a socket file.
struct ByPath {
    dir: tempfile::TempDir,
}

impl Fixture for ByPath {
    fn new() -> (Self, Box<dyn Meeting>) {
        let dir = tempfile::tempdir().unwrap();
        let listener = Listener::bind(dir.path().join("socket"), 0o600).unwrap();
        (Self { dir }, Box::new(listener))
    }

    fn hello(&self, options: HelloOptions) -> Handshake {
        Handshake::start(self.dir.path().join("socket"), options).unwrap()
    }
}

/// Guests find the back end in their own process.
struct Embedded {
    connector: Connector,
}

impl Fixture for Embedded {
    fn new() -> (Self, Box<dyn Meeting>) {
        let (meeting, connector) = embedded().unwrap();
        (Self { connector }, Box::new(meeting))
    }

    fn hello(&self, options: HelloOptions) -> Handshake {
        self.connector.connect(options).unwrap()
    }
}

mod by_path {
    use super::{ByPath, conformance};
    crate::suite!(ByPath);
}

mod embedded_back_end {
    use super::{Embedded, conformance};
    crate::suite!(Embedded);
}
