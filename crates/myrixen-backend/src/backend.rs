//! A back end as a whole: starting it, asking it, and stopping it.

use std::collections::HashMap;
use std::io;
use std::ops::Deref;
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use mxoe::time::Time;
use myrixen_control::{Reply, Request};
use myrixen_link::{LinkCounters, Tag};
use myrixen_platform::{Meeting, Policy, WaitSet};
use thiserror::Error;

use crate::boards::Boards;
use crate::clock::Clock;
use crate::config::{BackendConfig, ConfigError, PartitionConfig, UplinkConfig};
use crate::control::{Control, Order, Parts, UplinkHandle, WorkerHandle};
use crate::ids::{PartitionId, UplinkId, WorkerId};
use crate::mailbox::{Outbox, mailbox};
use crate::meter::{UplinkMeter, WorkerMeter};
use crate::secret::random_bytes;
use crate::switch::{MeshEnd, Partition, Report, Switch, Uplink, Uplinks, WayOut, mesh};
use crate::worker::{Command, Worker};

/// Reports of workers that may wait for the control side. Discovery frames are among them, so the wire can
/// fill it; those that come on top are dropped and counted, what a worker has to say of ports waits there.
pub(crate) const REPORTS: usize = 1024;

/// Commands that may wait for a worker. What makes them is bounded by the guests' limits: a worker that
/// does not run is the only way to fill it.
const COMMANDS: usize = 1 << 20;

/// Why a back end did not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration cannot be.
    #[error("the configuration cannot be used")]
    Config(#[from] ConfigError),
    /// The system has no memory, descriptors or threads for it.
    #[error("cannot {doing}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A running back end. Dropping it stops it.
///
/// ```
/// use std::time::Duration;
/// use mxoe::frame::Dialect;
/// use myrixen_backend::secret::Secret;
/// use myrixen_backend::{Backend, BackendConfig, HostConfig, Limits, PartitionConfig};
/// use myrixen_control::{Reply, Request};
/// use myrixen_platform::Policy;
/// use myrixen_platform::message::GuestLimits;
///
/// let (meeting, _connector) = myrixen_platform::process::embedded()?;
/// let backend = Backend::start(
///     BackendConfig {
///         host: HostConfig {
///             name: "node7".into(),
///             id: b"a machine id".to_vec(),
///             secret: Secret::random()?,
///             await_return: Duration::ZERO,
///         },
///         partitions: vec![PartitionConfig {
///             name: "default".into(),
///             dialect: Dialect::DEFAULT,
///             uplink: None,
///         }],
///         uplinks: vec![],
///         boards: vec![],
///         policy: Policy::open(GuestLimits { ports: 256, directs: 1024, ring_bytes: 1 << 22 }),
///         limits: Limits::default(),
///         workers: 1,
///         poll: Duration::from_micros(20),
///         operator: None,
///     },
///     vec![Box::new(meeting)],
/// )?;
/// let Some(Reply::Status(status)) = backend.ask(Request::Status) else { panic!("no status") };
/// assert_eq!((status.host.as_str(), status.guests), ("node7", 0));
/// backend.stop();
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Backend {
    handle: Handle,
    threads: Vec<JoinHandle<()>>,
    clock: Clock,
}

/// A way to talk to a running back end from any thread.
#[derive(Clone)]
pub struct Handle {
    orders: Outbox<Order>,
    finished: Arc<(Mutex<bool>, Condvar)>,
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    /// Asks as an operator would; `None` when the back end has stopped.
    #[must_use]
    pub fn ask(&self, request: Request) -> Option<Reply> {
        let (answer, reply) = channel();
        self.orders.send(Order::Ask(request, answer)).ok()?;
        reply.recv().ok()
    }

    /// Replaces the rules about who may attach as what. Guests that are attached stay.
    pub fn set_policy(&self, policy: Policy) {
        let _ = self.orders.send(Order::Policy(Box::new(policy)));
    }

    /// Tells all guests that the back end is about to stop, takes no more, and stops when all have left, after
    /// `grace` at the latest. Does not wait: see [`Backend::join`].
    pub fn drain(&self, grace: Duration) {
        let _ = self.orders.send(Order::Drain(grace));
    }

    /// Has it stop at once, without waiting for it. Guests notice that their back end is gone, and look for the
    /// next one.
    pub fn halt(&self) {
        let _ = self.orders.send(Order::Stop);
    }

    /// Waits until the control side has stopped; the workers then do so too.
    pub fn wait_finished(&self) {
        let (finished, changed) = &*self.finished;
        let mut is_finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_finished {
            is_finished = changed
                .wait(is_finished)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn set_finished(&self) {
        let (finished, changed) = &*self.finished;
        *finished.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }
}

/// Says that the control side has stopped, however it did.
struct Finished(Handle);

impl Drop for Finished {
    fn drop(&mut self) {
        self.0.set_finished();
    }
}

impl Deref for Backend {
    type Target = Handle;

    fn deref(&self) -> &Handle {
        &self.handle
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("threads", &self.threads.len())
            .finish_non_exhaustive()
    }
}

impl Backend {
    /// Starts a back end with threads of its own: one for control, one for each worker.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start(
        config: BackendConfig,
        meetings: Vec<Box<dyn Meeting>>,
    ) -> Result<Self, StartError> {
        let poll = config.poll;
        let (mut backend, workers) = Self::start_inline(config, meetings)?;
        for (number, worker) in workers.into_iter().enumerate() {
            let clock = backend.clock.clone();
            let serve = move || {
                if let Err(error) = worker.run(&clock, poll) {
                    tracing::error!(worker = number, %error, "a worker stopped");
                }
            };
            backend.spawn(format!("myrixen-{number}"), serve)?;
        }
        Ok(backend)
    }

    /// Starts a back end whose workers the caller drives: see [`Worker::turn`]. Only the control side, which does
    /// nothing while nobody attaches or asks, has a thread.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running then.
    pub fn start_inline(
        config: BackendConfig,
        meetings: Vec<Box<dyn Meeting>>,
    ) -> Result<(Self, Vec<Worker>), StartError> {
        config.check()?;
        let clock = Clock::new();
        let (control, orders, workers) = build(config, meetings, clock.clone())?;
        let handle = Handle {
            orders,
            finished: Arc::default(),
        };
        let mut backend = Self {
            handle: handle.clone(),
            threads: Vec::new(),
            clock,
        };
        let finished = Finished(handle);
        let serve = move || {
            if let Err(error) = control.run() {
                tracing::error!(%error, "the control side stopped");
            }
            drop(finished);
        };
        backend.spawn("myrixen-control".into(), serve)?;
        Ok((backend, workers))
    }

    fn spawn(
        &mut self,
        name: String,
        serve: impl FnOnce() + Send + 'static,
    ) -> Result<(), StartError> {
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(serve)
            .map_err(|source| StartError::System {
                doing: "start a thread",
                source,
            })?;
        self.threads.push(thread);
        Ok(())
    }

    /// The clock that all times of this back end come from.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// A way to talk to it that can be cloned and sent to other threads.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Whether the back end has stopped.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until the back end has stopped.
    pub fn join(mut self) {
        self.join_all();
    }

    /// Stops at once. Guests notice that their back end is gone, and look for the next one.
    pub fn stop(self) {
        drop(self);
    }

    fn join_all(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the back end panicked");
            }
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.halt();
        self.join_all();
    }
}

/// The parts of a back end, joined by mailboxes and not yet running.
fn build(
    config: BackendConfig,
    meetings: Vec<Box<dyn Meeting>>,
    clock: Clock,
) -> Result<(Control, Outbox<Order>, Vec<Worker>), StartError> {
    let system = |doing| move |source| StartError::System { doing, source };
    let nacks_from = clock.now() + config.host.await_return;
    let count = config.workers;
    let wait = WaitSet::new().map_err(system("make a wait set"))?;
    let (orders, order_inbox) = mailbox(1024, wait.waker());
    let (reports, report_inbox) = mailbox(REPORTS, wait.waker());
    let ways = ways(&config.partitions, count);
    let (uplink_handles, mut uplinks) = split_uplinks(config.uplinks, &config.partitions, count);
    let meshes = mesh(count).map_err(system("join the workers"))?;
    let mut workers = Vec::new();
    let mut handles = Vec::new();
    for (number, ends) in (0..).map(WorkerId::new).zip(meshes) {
        let mine = uplinks
            .iter_mut()
            .map(|(owner, uplink)| uplink.take_if(|_| *owner == number));
        let mine: Uplinks = mine.collect();
        let (worker, handle) = worker(number, &ways, ends, mine, reports.clone(), nacks_from)
            .map_err(system("make a worker"))?;
        workers.push(worker);
        handles.push(handle);
    }
    let mut seed = [0; 4];
    random_bytes(&mut seed).map_err(system("get random bytes"))?;
    let names = config.partitions.iter().map(|p| p.name.clone()).collect();
    let parts = Parts {
        boards: Boards::new(&config.host.id, names, config.boards),
        host: config.host,
        partitions: config.partitions,
        ways,
        policy: config.policy,
        limits: config.limits,
        workers: handles,
        uplinks: uplink_handles,
        meetings,
        operator: config.operator,
        wait,
        orders: order_inbox,
        reports: report_inbox,
        clock,
        seed: u32::from_le_bytes(seed),
    };
    let control = Control::new(parts).map_err(system("watch for guests"))?;
    Ok((control, orders, workers))
}

fn worker(
    number: WorkerId,
    ways: &[Partition],
    ends: Vec<Option<MeshEnd>>,
    uplinks: Uplinks,
    reports: Outbox<Report>,
    nacks_from: Time,
) -> io::Result<(Worker, WorkerHandle)> {
    let wait = WaitSet::new()?;
    let (commands, inbox) = mailbox::<Command>(COMMANDS, wait.waker());
    let meter = Arc::new(WorkerMeter::default());
    let switch = Switch::new(number, ways.to_vec(), ends, reports, Arc::clone(&meter));
    let mut worker = Worker::new(switch, uplinks, inbox, wait, Arc::clone(&meter))?;
    worker.nacks_from(nacks_from);
    Ok((worker, WorkerHandle { commands, meter }))
}

/// The worker that owns an uplink: they are dealt out in turn.
fn owner(uplink: UplinkId, workers: usize) -> WorkerId {
    WorkerId::new(uplink.get() % u16::try_from(workers).unwrap_or(1).max(1))
}

fn ways(partitions: &[PartitionConfig], workers: usize) -> Vec<Partition> {
    let way = |partition: &PartitionConfig| Partition {
        dialect: partition.dialect,
        way_out: partition.uplink.map(|(uplink, tag)| WayOut {
            uplink,
            worker: owner(uplink, workers),
            tag,
        }),
    };
    partitions.iter().map(way).collect()
}

/// The uplinks as the control side and as their workers see them.
fn split_uplinks(
    uplinks: Vec<UplinkConfig>,
    partitions: &[PartitionConfig],
    workers: usize,
) -> (Vec<UplinkHandle>, Vec<(WorkerId, Option<Uplink>)>) {
    let mut handles = Vec::new();
    let mut owned = Vec::new();
    for (id, config) in (0..).map(UplinkId::new).zip(uplinks) {
        let tags: HashMap<Tag, PartitionId> = (0..)
            .map(PartitionId::new)
            .zip(partitions)
            .filter_map(|(p, partition)| {
                let (_, tag) = partition.uplink.filter(|(uplink, _)| *uplink == id)?;
                Some((tag, p))
            })
            .collect();
        let worker = owner(id, workers);
        let meter = Arc::new(UplinkMeter::default());
        let counters = Arc::new(Mutex::new(LinkCounters::default()));
        handles.push(UplinkHandle {
            name: config.name,
            info: config.link.describe(),
            worker,
            meter: Arc::clone(&meter),
            counters: Arc::clone(&counters),
        });
        owned.push((
            worker,
            Some(Uplink::new(id, config.link, tags, meter, counters)),
        ));
    }
    (handles, owned)
}
