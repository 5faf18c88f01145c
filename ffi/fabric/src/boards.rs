//! The boards that this process is attached as: from the first question for them until libfabric forgets us.

use std::sync::{Mutex, MutexGuard, PoisonError};

use myrixen::{Fabric, OwnBoard};

use crate::host::{self, Level};
use crate::settings::{Settings, Wish};

/// An attachment to the back end.
#[derive(Clone)]
pub(crate) struct Board {
    pub(crate) fabric: Fabric,
    pub(crate) own: OwnBoard,
}

struct Attached {
    /// Whose they are: a child that was forked has to attach for itself.
    process: u32,
    boards: Vec<Board>,
}

static ATTACHED: Mutex<Option<Attached>> = Mutex::new(None);

fn attached() -> MutexGuard<'static, Option<Attached>> {
    ATTACHED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All boards; attaches if that has not happened yet. None where there is no back end: the log says why.
pub(crate) fn all() -> Vec<Board> {
    let process = std::process::id();
    let mut attached = attached();
    if let Some(held) = attached.take_if(|held| held.process != process) {
        // The parent's: its threads are not here, so nothing of it may be ended.
        std::mem::forget(held);
    }
    if let Some(held) = attached.as_ref() {
        return held.boards.clone();
    }
    let settings = Settings::read();
    let boards: Vec<Board> = settings
        .boards
        .iter()
        .filter_map(|wish| attach(&settings, wish))
        .collect();
    if !boards.is_empty() {
        let boards = boards.clone();
        *attached = Some(Attached { process, boards });
    }
    boards
}

fn attach(settings: &Settings, wish: &Wish) -> Option<Board> {
    let mut builder = Fabric::builder().read_in_place(settings.read_in_place);
    if let Some(socket) = &settings.socket {
        builder = builder.socket(socket);
    }
    if let Some(name) = &wish.name {
        builder = builder.board_name(name);
    }
    if let Some(partition) = &wish.partition {
        builder = builder.partition(partition);
    }
    match builder.connect() {
        Ok(fabric) => {
            let own = fabric.board();
            Some(Board { fabric, own })
        }
        Err(error) => {
            // Programs ask every provider: that there is no back end is nothing unusual.
            host::log(Level::Info, &format!("not available: {}", chain(&error)));
            None
        }
    }
}

/// An error with all that it comes from.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Lets go of the boards. Those that an application has not closed its objects of stay attached until it does.
pub(crate) fn leave() {
    let held = attached().take();
    if let Some(held) = held
        && held.process == std::process::id()
    {
        for board in held.boards {
            board.fabric.leave();
        }
    }
}
