//! Boards whose guests are being saved, restored or moved. Nothing that a guest shares survives that: it lets go of all its ports, goes, and
//! comes back as somebody else with the same board. Partners are told nothing of all this, and what they send is dropped until the
//! ports are there again, so that to them it looks like a slow network.

use std::time::Duration;

use mxoe::addr::NicAddr;
use mxoe::time::Time;
use myrixen_platform::Handover;
use myrixen_platform::message::{Mac, Notice};

use super::{Control, RETURN};
use crate::ids::{GuestId, PartitionId};
use crate::worker::Command;

/// How long a board is kept whose guest is gone. Partners give up much earlier, unless they were told to be patient.
const KEPT: Duration = Duration::from_secs(300);

/// A board that is held: what is sent to endpoints of it that are not open is dropped and not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeldBoard {
    partition: PartitionId,
    /// Its guest goes, and is expected back.
    leaving: bool,
    /// When that ends; `None`: not as long as the guest is there.
    until: Option<Time>,
}

impl Control {
    /// A guest is about to be saved, or is not after all.
    pub(super) fn hold(&mut self, now: Time, id: GuestId, hold: bool) {
        let Some(guest) = self.guests.get(&id) else {
            return;
        };
        let Some(seat) = &guest.seat else {
            // It has nothing that would have to be held.
            return;
        };
        let (partition, nic) = (seat.partition, seat.nic);
        if hold {
            tracing::info!(guest = %guest.link.identity(), board = seat.board, "is to let go");
            let held = HeldBoard {
                partition,
                leaving: true,
                until: None,
            };
            // Before it hears of it: what it closes from now on is only away.
            self.hold_board(nic, held);
            self.notify(id, &Notice::LetGo, Handover::none());
        } else {
            self.return_held(now, nic);
        }
    }

    /// Whether the guest of a board is expected back when it has gone.
    pub(super) fn is_leaving(&self, nic: NicAddr) -> bool {
        self.held.get(&nic).is_some_and(|held| held.leaving)
    }

    /// A guest of a board is gone, perhaps its last. True if nobody is to be told.
    pub(super) fn keep_held(&mut self, now: Time, nic: NicAddr, was_last: bool) -> bool {
        match self.held.get_mut(&nic) {
            // It has come back before we noticed that it had gone.
            Some(_) if !was_last => true,
            Some(held) if held.leaving => {
                held.until = Some(now + KEPT);
                // It may be announced from elsewhere now.
                self.discovery.remove_board(nic);
                true
            }
            _ => {
                self.held.remove(&nic);
                false
            }
        }
    }

    /// A domain has come: perhaps from another host, in the middle of conversations. It has a while to open its ports.
    pub(super) fn hold_arrived(&mut self, now: Time, partition: PartitionId, nic: NicAddr) {
        let held = HeldBoard {
            partition,
            leaving: false,
            until: Some(now + RETURN),
        };
        self.hold_board(nic, held);
    }

    fn hold_board(&mut self, nic: NicAddr, held: HeldBoard) {
        self.held.insert(nic, held);
        self.tell_all(|| Command::HoldBoard(held.partition, nic, true));
    }

    /// A board is announced on the wire. If it was held here and its guest is gone, it has moved there.
    pub(super) fn end_moved(&mut self, partition: PartitionId, nic: NicAddr) {
        let here = |held: &HeldBoard| held.partition == partition && self.boards.get(nic).is_none();
        if self.held.get(&nic).is_some_and(here) {
            tracing::info!(%nic, "the board has moved to another host");
            self.held.remove(&nic);
            self.board_went(partition, nic);
        }
    }

    /// Somebody has a held board again: it has a while to open its ports.
    pub(super) fn return_held(&mut self, now: Time, nic: NicAddr) {
        if let Some(held) = self.held.get_mut(&nic) {
            held.until = Some(now + RETURN);
            held.leaving = false;
        }
    }

    /// Lets boards go that were held long enough.
    pub(super) fn end_held(&mut self, now: Time) {
        let over = |held: &HeldBoard| held.until.is_some_and(|until| until <= now);
        let ended: Vec<(NicAddr, PartitionId)> = self
            .held
            .iter()
            .filter(|(_, held)| over(held))
            .map(|(nic, held)| (*nic, held.partition))
            .collect();
        for (nic, partition) in ended {
            self.held.remove(&nic);
            self.tell_all(|| Command::HoldBoard(partition, nic, false));
            if self.boards.get(nic).is_none() {
                self.board_went(partition, nic);
                let gone = Notice::BoardGone(Mac::new(nic.octets()));
                self.notify_all(partition, None, &gone);
            }
        }
    }

    pub(super) fn next_held(&self) -> Option<Time> {
        self.held.values().filter_map(|held| held.until).min()
    }
}
