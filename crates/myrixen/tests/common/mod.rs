//! A back end of one partition, for tests that bring their own meeting place.

use std::time::Duration;

use mxoe::frame::Dialect;
use myrixen_backend::secret::Secret;
use myrixen_backend::{Backend, BackendConfig, HostConfig, Limits, PartitionConfig};
use myrixen_platform::message::GuestLimits;
use myrixen_platform::{Meeting, Policy};

/// What tests differ in.
pub(crate) struct Host<'a> {
    pub(crate) name: &'a str,
    pub(crate) secret: Secret,
    /// As [`HostConfig::await_return`].
    pub(crate) await_return: Duration,
    /// As [`BackendConfig::poll`].
    pub(crate) poll: Duration,
}

/// Starts it, without an uplink, open to everybody.
pub(crate) fn start(host: Host<'_>, meeting: impl Meeting + 'static) -> Backend {
    let config = BackendConfig {
        host: HostConfig {
            name: host.name.into(),
            id: b"a host".to_vec(),
            secret: host.secret,
            await_return: host.await_return,
        },
        partitions: vec![PartitionConfig {
            name: "default".into(),
            dialect: Dialect::DEFAULT,
            uplink: None,
        }],
        uplinks: Vec::new(),
        boards: Vec::new(),
        policy: Policy::open(GuestLimits {
            ports: 16,
            directs: 16,
            ring_bytes: 1 << 20,
        }),
        limits: Limits::default(),
        workers: 1,
        poll: host.poll,
        operator: None,
    };
    Backend::start(config, vec![Box::new(meeting)]).expect("a back end")
}
