//! A real back end, guests that keep the rules, and one that keeps none.
//!
//! The back end's worker is driven turn by turn, so what each guest gets is counted in bytes per turn, and the
//! speed of the machine does not matter.

use std::time::Duration;

use anyhow::{Context, bail};
use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::frame::Dialect;
use mxoe::time::Time;
use myrixen_backend::secret::Secret;
use myrixen_backend::{Backend, BackendConfig, HostConfig, Limits, PartitionConfig, Worker};
use myrixen_control::{Reply, Request, Status};
use myrixen_platform::message::{GuestLimits, Name, Welcome};
use myrixen_platform::process::{Attachment, Connector, HelloOptions, PortHandles, embedded};
use myrixen_platform::{Meeting, Policy};
use myrixen_ring::Capacity;

mod rogue;
mod talker;

pub use rogue::{Manner, Rogue};
pub use talker::Talker;

/// Bytes of each ring of a port.
const RING: u32 = 1 << 18;
/// How long a request to the control side may take: it has a thread of its own, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How far the clock goes on in one turn.
const TURN: Duration = Duration::from_micros(20);

/// A back end whose one worker is driven by the test.
#[derive(Debug)]
pub struct Host {
    backend: Backend,
    worker: Worker,
    connector: Connector,
    now: Time,
}

/// A guest that is attached and has one port open.
#[derive(Debug)]
pub struct Guest {
    /// Its way to the control side.
    pub attachment: Attachment,
    /// Its rings.
    pub port: PortHandles,
    /// Where it is.
    pub address: Address,
}

impl Host {
    /// A back end with these partitions, where anybody may attach as anything.
    ///
    /// # Errors
    ///
    /// When the system lacks descriptors, memory or threads.
    pub fn new(partitions: &[&str]) -> anyhow::Result<Self> {
        Self::with_meetings(partitions, Vec::new())
    }

    /// The same with more places where guests may arrive.
    ///
    /// # Errors
    ///
    /// As for [`Host::new`].
    pub fn with_meetings(
        partitions: &[&str],
        mut meetings: Vec<Box<dyn Meeting>>,
    ) -> anyhow::Result<Self> {
        let (meeting, connector) = embedded().context("cannot make a meeting place")?;
        meetings.push(Box::new(meeting));
        let partition = |name: &&str| PartitionConfig {
            name: (*name).to_owned(),
            dialect: Dialect::DEFAULT,
            uplink: None,
        };
        let config = BackendConfig {
            host: HostConfig {
                name: "sim".to_owned(),
                id: b"a simulated host".to_vec(),
                await_return: Duration::ZERO,
                secret: Secret::random().context("no random bytes")?,
            },
            partitions: partitions.iter().map(partition).collect(),
            uplinks: Vec::new(),
            boards: Vec::new(),
            policy: Policy::open(GuestLimits {
                ports: 256,
                directs: 64,
                ring_bytes: 1 << 22,
            }),
            limits: Limits::default(),
            workers: 1,
            poll: Duration::ZERO,
            operator: None,
        };
        let (backend, workers) = Backend::start_inline(config, meetings)?;
        let Some(worker) = workers.into_iter().next() else {
            bail!("a back end without a worker")
        };
        Ok(Self {
            backend,
            worker,
            connector,
            now: Time::ZERO,
        })
    }

    /// Attaches a guest with a board of this name and opens a port.
    ///
    /// # Errors
    ///
    /// When the back end refuses.
    pub fn guest(&mut self, board: &str, partition: &str, endpoint: u8) -> anyhow::Result<Guest> {
        let mut options = HelloOptions {
            timeout: PATIENCE,
            ..HelloOptions::default()
        };
        options.wish.board = Some(Name::new(board)?);
        options.wish.partition = Some(Name::new(partition)?);
        let (attachment, welcome) = self.connector.connect(options)?.wait()?;
        let rings = [Capacity::new(RING)?; 2];
        let port = attachment.open_port(Some(endpoint), rings, PATIENCE)?;
        // The worker is told of the port, and takes it over at its next turn.
        self.turn();
        let address = Address::new(nic(&welcome), EndpointId::new(port.endpoint));
        Ok(Guest {
            attachment,
            port,
            address,
        })
    }

    /// The worker takes a turn.
    pub fn turn(&mut self) {
        self.now += TURN;
        self.worker.turn(self.now);
    }

    /// What the back end says of itself.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn status(&self) -> anyhow::Result<Status> {
        match self.backend.ask(Request::Status) {
            Some(Reply::Status(status)) => Ok(status),
            other => bail!("the back end answers {other:?}"),
        }
    }

    /// What the back end counts, as Prometheus text.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub fn metrics(&self) -> anyhow::Result<String> {
        match self.backend.ask(Request::Metrics) {
            Some(Reply::Metrics(text)) => Ok(text),
            other => bail!("the back end answers {other:?}"),
        }
    }

    /// Takes turns until the back end's status is as wanted.
    ///
    /// # Errors
    ///
    /// When it does not become so.
    pub fn turn_until(&mut self, wanted: impl Fn(&Status) -> bool) -> anyhow::Result<Status> {
        // Worker and control side tell each other by mailboxes: each question gives the other thread its turn.
        for _ in 0..100_000 {
            self.turn();
            let status = self.status()?;
            if wanted(&status) {
                return Ok(status);
            }
        }
        bail!("the back end remains at {:?}", self.status()?)
    }
}

fn nic(welcome: &Welcome) -> NicAddr {
    NicAddr::new(welcome.mac.bytes())
}
