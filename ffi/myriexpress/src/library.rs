//! The library as a whole: from `mx_init` to `mx_finalize`, and its boards.

use std::sync::{Arc, PoisonError, RwLock};

use myrixen::{Error, Fabric, NicAddr};

use crate::codes::ReturnCode;
use crate::edge::{Answer, Fault, call};
use crate::endpoint;
use crate::errors::say;
use crate::settings::{Settings, Wish};
use crate::types::{ANY, mx_return_t};

/// The level of the interface, in the high byte of what programs were compiled with.
const MAJOR: i32 = 3;

static LIBRARY: RwLock<Option<Arc<Library>>> = RwLock::new(None);

/// What is there between init and finalize.
pub(crate) struct Library {
    pub(crate) settings: Settings,
    /// At least one.
    pub(crate) boards: Vec<Fabric>,
}

impl Library {
    /// The library, if it is initialized.
    pub(crate) fn get() -> Result<Arc<Self>, Fault> {
        let held = LIBRARY.read().unwrap_or_else(PoisonError::into_inner);
        held.clone().ok_or(ReturnCode::NotInitialized.into())
    }

    fn start() -> Result<Self, Fault> {
        let settings = Settings::from_env()?;
        let boards = match settings.boards.as_slice() {
            [] => every_own(),
            wishes => wishes.iter().map(wished).collect(),
        };
        let boards = boards.map_err(|error: Error| not_attached(&error))?;
        if settings.verbose {
            for (number, fabric) in boards.iter().enumerate() {
                let board = fabric.board();
                let (name, nic, partition) = (board.name, board.nic, board.partition);
                say(format_args!(
                    "MX: board {number} is {name}, {nic}, in partition {partition}"
                ));
            }
        }
        Ok(Self { settings, boards })
    }

    /// A board by its number; [`ANY`] is the first.
    pub(crate) fn board(&self, number: u32) -> Result<&Fabric, Fault> {
        let place = if number == ANY { 0 } else { number as usize };
        self.boards
            .get(place)
            .ok_or_else(|| Fault::new(ReturnCode::BoardUnknown, number))
    }

    /// The number of the board with this address.
    pub(crate) fn number_of(&self, nic: NicAddr) -> Option<u32> {
        let place = self
            .boards
            .iter()
            .position(|board| board.board().nic == nic)?;
        u32::try_from(place).ok()
    }
}

/// All boards that this guest has: in a Xen domain one for each device, elsewhere one.
fn every_own() -> Result<Vec<Fabric>, Error> {
    use myrixen::AttachError;
    let first = Fabric::connect()?;
    let own = first.board().nic;
    // Who does not know the question has one.
    let others = first.own_boards().unwrap_or_default();
    let mut boards = vec![first];
    for other in others.iter().filter(|board| board.nic != own) {
        match Fabric::builder().own_board(other.nic).connect() {
            Ok(board) if board.board().nic == other.nic => boards.push(board),
            // It has just gone, or is not for this user.
            Ok(_) | Err(Error::Attach(AttachError::Refused { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(boards)
}

/// The board that the environment asks for.
fn wished(wish: &Wish) -> Result<Fabric, Error> {
    let mut builder = Fabric::builder();
    if let Some(name) = &wish.name {
        builder = builder.board_name(name);
    }
    if let Some(partition) = &wish.partition {
        builder = builder.partition(partition);
    }
    builder.connect()
}

/// Why the back end has not let us in, as MX says it.
fn not_attached(error: &Error) -> Fault {
    use myrixen::AttachError;
    use myrixen::RefusalReason as Reason;
    let code = match error {
        Error::Attach(AttachError::Permission { .. }) => ReturnCode::NoPerm,
        Error::Attach(AttachError::Refused { refusal, .. }) => match refusal.reason {
            Reason::NotPermitted | Reason::NameTaken => ReturnCode::NoPerm,
            Reason::NoSuchPartition => ReturnCode::BoardUnknown,
            Reason::Version => ReturnCode::BadKernelVersion,
            Reason::Limit => ReturnCode::NoResources,
            _ => ReturnCode::NoDev,
        },
        Error::Attach(_) => ReturnCode::NoDriver,
        Error::Invalid(_) => ReturnCode::BadParamVal,
        _ => ReturnCode::NoDev,
    };
    Fault::new(code, error)
}

/// Initializes the library for a program that was compiled with this level of the interface (`mx_init()` in C).
#[unsafe(no_mangle)]
pub extern "C" fn mx__init_api(api: i32) -> mx_return_t {
    call("mx_init", || {
        if api >> 8 != MAJOR {
            return Err(Fault::new(ReturnCode::BadLibVersion, format!("{api:#x}")));
        }
        let mut held = LIBRARY.write().unwrap_or_else(PoisonError::into_inner);
        if held.is_some() {
            return Err(ReturnCode::AlreadyInitialized.into());
        }
        *held = Some(Arc::new(Library::start()?));
        Ok(())
    })
}

/// Ends the library. Endpoints have to be closed before.
#[unsafe(no_mangle)]
pub extern "C" fn mx_finalize() -> mx_return_t {
    call("mx_finalize", finalize)
}

fn finalize() -> Answer {
    let mut held = LIBRARY.write().unwrap_or_else(PoisonError::into_inner);
    if held.is_none() {
        return Err(ReturnCode::NotInitialized.into());
    }
    if endpoint::any_open() {
        return Err(Fault::new(ReturnCode::Busy, "endpoints are open"));
    }
    *held = None;
    Ok(())
}
