//! The back end inside the program: for one program alone, for tests, and for hosts without a hypervisor
//! that drive their network card themselves.

use std::sync::Arc;
use std::time::Duration;

use mxoe::frame::Dialect;
use myrixen_backend::ids::UplinkId;
use myrixen_backend::secret::{Secret, random_bytes};
use myrixen_backend::{Backend, BackendConfig, HostConfig, Limits, PartitionConfig, UplinkConfig};
use myrixen_link::{Link, Tag};
use myrixen_platform::message::GuestLimits;
use myrixen_platform::process::{self, AttachError, Connector};
use myrixen_platform::{Meeting, Policy};

use crate::error::{Error, Result};
use crate::fabric::{Builder, Fabric};
use crate::home::Place;
use crate::inline::Inline;

/// Describes a back end to be run inside this program.
pub struct Embedded {
    host: String,
    dialect: Dialect,
    poll: Duration,
    inline: bool,
    uplink: Option<(String, Box<dyn Link>, Tag)>,
}

impl Default for Embedded {
    /// No uplink; native frames of up to 9000 bytes; workers poll for 20 microseconds.
    fn default() -> Self {
        Self {
            host: "embedded".into(),
            dialect: Dialect::DEFAULT,
            poll: Duration::from_micros(20),
            inline: false,
            uplink: None,
        }
    }
}

impl Embedded {
    /// The name of this host: boards without a name of their own are called `name:0`.
    #[must_use]
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.host = name.into();
        self
    }

    /// The layout and size of frames. On an uplink all hosts must use the same.
    #[must_use]
    pub fn dialect(mut self, dialect: Dialect) -> Self {
        self.dialect = dialect;
        self
    }

    /// How long the back end looks on after the last frame before it sleeps.
    #[must_use]
    pub fn poll(mut self, time: Duration) -> Self {
        self.poll = time;
        self
    }

    /// Has the program's own threads drive the back end (default: a thread of its own does): whoever waits for a message looks at the network
    /// himself, and nobody has to be woken in between. That is the lowest latency. While no thread comes in for some milliseconds, one of the
    /// library's does it instead.
    #[must_use]
    pub fn inline(mut self, inline: bool) -> Self {
        self.inline = inline;
        self
    }

    /// The way to other hosts. Of an Ethernet, [`EthernetConfig`](myrixen_link::ethernet::EthernetConfig) says whether AF_XDP is to be
    /// used.
    #[must_use]
    pub fn uplink(mut self, name: impl Into<String>, link: Box<dyn Link>, tag: Tag) -> Self {
        self.uplink = Some((name.into(), link, tag));
        self
    }

    /// Starts it. It runs until the last fabric that joined through it is gone, and this handle.
    ///
    /// # Errors
    /// [`Error::Embedded`].
    pub fn start(self) -> Result<Inside> {
        let (meeting, connector) =
            process::embedded().map_err(Error::system("could not make a meeting place"))?;
        let random = |error| Error::Embedded(Box::new(error));
        let (uplinks, way_out) = match self.uplink {
            Some((name, link, tag)) => (
                vec![UplinkConfig { name, link }],
                Some((UplinkId::new(0), tag)),
            ),
            None => (Vec::new(), None),
        };
        let mut id = [0; 16];
        random_bytes(&mut id).map_err(random)?;
        let config = BackendConfig {
            host: HostConfig {
                name: self.host,
                id: id.to_vec(),
                secret: Secret::random().map_err(random)?,
                await_return: Duration::ZERO,
            },
            partitions: vec![PartitionConfig {
                name: "default".into(),
                dialect: self.dialect,
                uplink: way_out,
            }],
            uplinks,
            boards: Vec::new(),
            policy: Policy::open(GuestLimits {
                ports: 256,
                directs: 1024,
                ring_bytes: 1 << 22,
            }),
            limits: Limits::default(),
            workers: 1,
            poll: self.poll,
            operator: None,
        };
        let failed = |error| Error::Embedded(Box::new(error));
        let meetings: Vec<Box<dyn Meeting>> = vec![Box::new(meeting)];
        let (backend, driver) = if self.inline {
            let (backend, workers) = Backend::start_inline(config, meetings).map_err(failed)?;
            let worker = workers.into_iter().next();
            let worker = worker.ok_or_else(|| Error::Invalid("no worker".to_owned()))?;
            let driver = Inline::start(worker, backend.clock())
                .map_err(Error::system("could not start the keeper"))?;
            (backend, Some(driver))
        } else {
            (Backend::start(config, meetings).map_err(failed)?, None)
        };
        Ok(Inside {
            running: Arc::new(Running {
                connector: Arc::new(connector),
                driver,
                _backend: backend,
            }),
        })
    }
}

/// A back end that runs inside this program. Every fabric that joins through it is a guest of its own.
#[derive(Clone)]
pub struct Inside {
    running: Arc<Running>,
}

struct Running {
    connector: Arc<Connector>,
    driver: Option<Arc<Inline>>,
    /// Stops when it is dropped.
    _backend: Backend,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver {
            driver.stop();
        }
    }
}

impl Inside {
    /// Joins as a new guest.
    ///
    /// # Errors
    /// [`Error::Attach`].
    pub fn join(&self) -> Result<Fabric> {
        self.join_as(Fabric::builder())
    }

    /// Joins as the guest that `builder` describes; its socket is not looked at.
    ///
    /// # Errors
    /// [`Error::Attach`].
    pub fn join_as(&self, builder: Builder) -> Result<Fabric> {
        let place = Place::Inside(Arc::clone(&self.running.connector));
        let driver = self.running.driver.clone();
        let fabric = builder.join(place, driver.map(|driver| driver as Arc<_>))?;
        Ok(fabric.holding(Arc::clone(&self.running) as Arc<_>))
    }
}

impl Fabric {
    /// A fabric for this program alone: the back end runs inside it, without an uplink.
    ///
    /// # Errors
    /// [`Error::Embedded`].
    pub fn embedded() -> Result<Self> {
        Embedded::default().start()?.join()
    }

    /// Joins the fabric of this machine if a back end runs, else one inside this program.
    ///
    /// # Errors
    /// As [`Fabric::connect`] when there is a back end, and [`Fabric::embedded`] when there is none.
    pub fn connect_or_embed() -> Result<Self> {
        match Self::connect() {
            Err(Error::Attach(AttachError::NoSocket { .. } | AttachError::NotRunning { .. })) => {
                Self::embedded()
            }
            other => other,
        }
    }
}
