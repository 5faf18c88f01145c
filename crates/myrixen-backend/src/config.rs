//! What a back end is told when it starts.

use std::os::unix::net::UnixListener;
use std::time::Duration;

use mxoe::frame::Dialect;
use myrixen_link::{Link, Tag};
use thiserror::Error;

use crate::boards::{FixedBoard, is_board_name};
use crate::ids::UplinkId;
use crate::quota::Quota;
use crate::secret::Secret;

/// Everything a back end is told.
pub struct BackendConfig {
    /// Who this host is.
    pub host: HostConfig,
    /// The partitions; the first one is for guests that name none, where the policy allows it.
    pub partitions: Vec<PartitionConfig>,
    /// The uplinks.
    pub uplinks: Vec<UplinkConfig>,
    /// Boards with addresses that the operator chose.
    pub boards: Vec<FixedBoard>,
    /// Who may attach as what.
    pub policy: myrixen_platform::Policy,
    /// What all guests together, and each of them, may have.
    pub limits: Limits,
    /// How many workers there are, at least one.
    pub workers: usize,
    /// How long a worker looks on after the last frame before it sleeps.
    pub poll: Duration,
    /// Where operators ask, if they may.
    pub operator: Option<UnixListener>,
}

/// Who this host is.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// Its name: boards without a name of their own are called `name:0`.
    pub name: String,
    /// Tells it from every other host of its network; addresses are derived from it.
    pub id: Vec<u8>,
    /// The key of its tickets.
    pub secret: Secret,
    /// Guests of an earlier back end may come back: for this long after the start, nothing is said of endpoints
    /// that are not open, since a nack would end messages that only have to wait. Zero when there was none.
    pub await_return: Duration,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionConfig {
    /// Its name.
    pub name: String,
    /// What its members speak, here and on other hosts.
    pub dialect: Dialect,
    /// How it leaves the host: the uplink, and how the partition is marked there.
    pub uplink: Option<(UplinkId, Tag)>,
}

/// An uplink.
pub struct UplinkConfig {
    /// Its name in replies and logs.
    pub name: String,
    /// What moves its frames.
    pub link: Box<dyn Link>,
}

/// What all guests together, and the wire, can make the back end keep; what one guest may have is said by the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Ports open at once, of all guests.
    pub ports: usize,
    /// Boards of other hosts that are remembered, at most 65,535.
    pub peers: usize,
    /// What one guest may send by the back end, if not all there is.
    pub quota: Option<Quota>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ports: 8192,
            peers: 4096,
            quota: None,
        }
    }
}

/// Why a back end cannot start with this configuration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There must be one.
    #[error("no partition is configured")]
    NoPartition,
    /// No worker, or more than a worker's number can say.
    #[error("{0} workers: 1 to 256 are possible")]
    Workers(usize),
    /// Two partitions of one name.
    #[error("two partitions are called {0:?}")]
    SamePartition(String),
    /// An uplink that is not there.
    #[error("partition {partition:?} names uplink number {uplink}, which does not exist")]
    NoUplink {
        /// The partition.
        partition: String,
        /// The uplink's number.
        uplink: u16,
    },
    /// Two partitions that nobody could tell apart.
    #[error("partitions {first:?} and {second:?} are both {tag} on uplink {uplink:?}")]
    SameTag {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// How they are marked.
        tag: Tag,
        /// The uplink.
        uplink: String,
    },
    /// Frames of the partition do not fit the uplink.
    #[error(
        "frames of partition {partition:?} have up to {frame} bytes, uplink {uplink:?} takes {mtu}"
    )]
    FrameTooLong {
        /// The partition.
        partition: String,
        /// Its largest frame.
        frame: u32,
        /// The uplink.
        uplink: String,
        /// The largest it takes.
        mtu: usize,
    },
    /// A configured board that cannot be.
    #[error("board {name:?}: {problem}")]
    Board {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
}

impl BackendConfig {
    /// Checks what can be checked before anything is started.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.partitions.is_empty() {
            return Err(ConfigError::NoPartition);
        }
        if !(1..=256).contains(&self.workers) {
            return Err(ConfigError::Workers(self.workers));
        }
        for (place, partition) in self.partitions.iter().enumerate() {
            self.check_partition(place, partition)?;
        }
        self.check_boards()
    }

    fn check_partition(
        &self,
        place: usize,
        partition: &PartitionConfig,
    ) -> Result<(), ConfigError> {
        let name = || partition.name.clone();
        let earlier = &self.partitions[..place];
        if earlier.iter().any(|p| p.name == partition.name) {
            return Err(ConfigError::SamePartition(name()));
        }
        let Some((uplink, tag)) = partition.uplink else {
            return Ok(());
        };
        let Some(config) = self.uplinks.get(usize::from(uplink.get())) else {
            return Err(ConfigError::NoUplink {
                partition: name(),
                uplink: uplink.get(),
            });
        };
        if let Some(first) = earlier.iter().find(|p| p.uplink == Some((uplink, tag))) {
            let (first, uplink) = (first.name.clone(), config.name.clone());
            return Err(ConfigError::SameTag {
                first,
                second: name(),
                tag,
                uplink,
            });
        }
        let (mtu, frame) = (config.link.describe().mtu, partition.dialect.max_frame());
        if frame as usize > mtu {
            let uplink = config.name.clone();
            return Err(ConfigError::FrameTooLong {
                partition: name(),
                frame,
                uplink,
                mtu,
            });
        }
        Ok(())
    }

    fn check_boards(&self) -> Result<(), ConfigError> {
        for (place, board) in self.boards.iter().enumerate() {
            let wrong = |problem| ConfigError::Board {
                name: board.name.clone(),
                problem,
            };
            if !is_board_name(&board.name) {
                return Err(wrong("the name is not of the form name:0"));
            }
            if usize::from(board.partition.get()) >= self.partitions.len() {
                return Err(wrong("its partition does not exist"));
            }
            if board.nic.is_multicast() || board.nic == mxoe::addr::NicAddr::ZERO {
                return Err(wrong("its address is none that a board can have"));
            }
            if self.boards[..place].iter().any(|b| b.nic == board.nic) {
                return Err(wrong("its address is that of another board"));
            }
            let same = |b: &FixedBoard| b.name == board.name && b.partition == board.partition;
            if self.boards[..place].iter().any(same) {
                return Err(wrong("it is there twice"));
            }
        }
        Ok(())
    }
}
