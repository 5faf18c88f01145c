//! Putting paths into an endpoint, and taking them out, while it works.

use mxoe::addr::Address;
use mxoe::engine::{Gone, PathId};
use mxoe::time::Time;
use myrixen_platform::BellKind;
use myrixen_platform::message::ChannelId;
use myrixen_platform::process::DirectHandles;
use myrixen_ring::Capacity;

use crate::core::Core;
use crate::error::{Error, Result};
use crate::path::{Incarnation, Path};
use crate::shared::Shared;

/// The ring of a loop-back. Whoever fills it also empties it, so that it need hold no more than stays in a processor's own caches.
const LOOP_BYTES: u32 = 256 * 1024;

impl Shared {
    /// Installs the path to the back end: the first time, or when the back end is back. Then everything
    /// that was in flight on it is sent again.
    pub(crate) fn set_switch_path(&self, mut path: Path) -> Result<()> {
        let at = usize::from(PathId::SWITCH.get());
        path.listen(&self.bells)
            .map_err(Error::system("could not watch a doorbell"))?;
        let mut guarded = self.visit();
        let now = self.now();
        let core = &mut guarded.core;
        let profile = path.profile(core.dialect);
        if core.looking {
            path.consumer.look_on();
        }
        match core.paths.get_mut(at) {
            Some(held) => {
                let former = std::mem::replace(held, path);
                self.bells.remove_bell(&former.waiter);
            }
            None => {
                let key = core.paths.insert(path);
                debug_assert_eq!(key, at, "the path to the back end comes first");
            }
        }
        core.engine.set_path(now, PathId::SWITCH, profile);
        core.events();
        core.transmit(now);
        self.leave(guarded);
        self.rouse();
        Ok(())
    }

    /// Whether a direct channel to this peer is wanted and not there.
    pub(crate) fn wants_direct(&self, peer: Address) -> bool {
        self.direct
            && peer != self.address
            && !self.visit().paths.iter().any(|(_, path)| {
                path.direct
                    .as_ref()
                    .is_some_and(|direct| direct.peer == peer)
            })
    }

    /// When something last came from whoever is connected with us at this address.
    pub(crate) fn heard_from(&self, peer: Address) -> Option<Time> {
        let guarded = self.visit();
        let partner = guarded.engine.find_partner(peer)?;
        guarded.engine.heard_from(partner)
    }

    /// Uses a direct channel for its peer from now on.
    ///
    /// # Errors
    /// When there are too many, or no descriptors to hear its bell by. Its rings say then that nothing more comes from us.
    pub(crate) fn add_direct(&self, channel: DirectHandles, max_frame: u32) -> Result<()> {
        let mut guarded = self.visit();
        let now = self.now();
        let core = &mut guarded.core;
        let entry = core.paths.vacant_entry();
        let at = entry.key();
        let Ok(id) = u16::try_from(at).map(PathId::new) else {
            channel.refuse();
            let text = format!("{at} direct channels are too many");
            return Err(Error::Invalid(text));
        };
        let mut path = Path::direct(id, channel, max_frame);
        if let Err(error) = path.listen(&self.bells) {
            path.close();
            return Err(Error::system("could not watch a doorbell")(error));
        }
        let profile = path.profile(core.dialect);
        let peer = path.direct.as_ref().map(|direct| direct.peer);
        if core.looking {
            path.consumer.look_on();
        }
        entry.insert(path);
        core.engine.set_path(now, id, profile);
        if let Some(peer) = peer {
            core.engine.route(now, peer, id);
        }
        core.transmit(now);
        self.leave(guarded);
        self.rouse();
        Ok(())
    }

    /// Has messages to ourselves take a path of their own from now on: the back end, which may be waiting for a processor, is not needed
    /// for them. Where it cannot be made, for want of descriptors, they go through the back end.
    pub(crate) fn loop_back(&self, core: &mut Core) {
        if core.paths.iter().any(|(_, path)| path.is_loop_back()) {
            return;
        }
        let entry = core.paths.vacant_entry();
        let (Ok(id), Ok(ring)) = (u16::try_from(entry.key()), Capacity::new(LOOP_BYTES)) else {
            return;
        };
        let id = PathId::new(id);
        let made = Path::loop_back(id, ring, self.fabric.board().max_frame);
        let listening = made.and_then(|mut path| path.listen(&self.bells).map(|()| path));
        let Ok(mut path) = listening else {
            return;
        };
        if core.looking {
            path.consumer.look_on();
        }
        let (now, profile) = (self.now(), path.profile(core.dialect));
        entry.insert(path);
        core.engine.set_path(now, id, profile);
        core.engine.route(now, self.address, id);
        // Whoever sleeps on the doorbells has not said so in this ring.
        self.rouse();
    }

    /// A direct channel is over: its peer is reached through the back end again. Returns to whom it was, and which.
    pub(crate) fn drop_direct(&self, id: PathId) -> Option<(Address, ChannelId)> {
        let mut guarded = self.visit();
        let now = self.now();
        let core = &mut guarded.core;
        let at = usize::from(id.get());
        core.take_rest(now, at);
        let path = core.paths.try_remove(at)?;
        self.bells.remove_bell(&path.waiter);
        core.engine.drop_path(now, id);
        core.events();
        core.transmit(now);
        self.leave(guarded);
        // Timers may be due earlier than whoever looks after it knows.
        self.rouse();
        path.direct.map(|direct| (direct.peer, direct.channel))
    }

    /// The direct channel to this peer: its path, and which it is.
    pub(crate) fn direct_to(&self, peer: Address) -> Option<(PathId, ChannelId)> {
        let guarded = self.visit();
        guarded.paths.iter().find_map(|(_, path)| {
            let direct = path.direct.as_ref()?;
            (direct.peer == peer).then_some((path.id, direct.channel))
        })
    }

    /// All direct channels, by their other ends.
    pub(crate) fn directs(&self) -> Vec<(Address, ChannelId)> {
        let guarded = self.visit();
        let directs = guarded
            .paths
            .iter()
            .filter_map(|(_, path)| path.direct.as_ref());
        directs
            .map(|direct| (direct.peer, direct.channel))
            .collect()
    }

    /// The path to the back end is dead until the back end is back.
    pub(crate) fn unplug(&self) {
        let mut guarded = self.visit();
        if let Some(path) = guarded
            .core
            .paths
            .get_mut(usize::from(PathId::SWITCH.get()))
        {
            path.dead = true;
            // So that news of its loss, which may be under way, is not heard when the back end is back.
            path.incarnation = Incarnation::next();
            self.bells.remove_bell(&path.waiter);
        }
    }

    /// Lets go of every queue pair that others share: of its pages and its doorbells. Gives the peers of the direct channels.
    ///
    /// # Errors
    /// When there are no descriptors to hold the place of the path to the back end.
    pub(crate) fn let_go(&self) -> Result<Vec<Address>> {
        let held = Path::nowhere()?;
        let directs: Vec<PathId> = {
            let guarded = self.visit();
            let paths = guarded.paths.iter();
            let directs = paths.filter(|(_, path)| path.direct.is_some());
            directs.map(|(_, path)| path.id).collect()
        };
        let peers = directs.into_iter().filter_map(|id| self.drop_direct(id));
        let peers = peers.map(|(peer, _)| peer).collect();
        let mut guarded = self.visit();
        let at = usize::from(PathId::SWITCH.get());
        if let Some(path) = guarded.core.paths.get_mut(at) {
            let former = std::mem::replace(path, held);
            self.bells.remove_bell(&former.waiter);
        }
        Ok(peers)
    }

    /// Whether the path of this number is still the one that was lost.
    pub(crate) fn is_lost(&self, id: PathId, lost: Incarnation) -> bool {
        let guarded = self.visit();
        let path = guarded.paths.get(usize::from(id.get()));
        path.is_some_and(|path| path.incarnation == lost && path.dead)
    }

    /// Whether the path to the back end works, as far as is known.
    pub(crate) fn is_plugged(&self) -> bool {
        let guarded = self.visit();
        let path = guarded.paths.get(usize::from(PathId::SWITCH.get()));
        path.is_some_and(|path| !path.dead)
    }

    /// The back end says that somebody is gone for good. Channels to a domain that is gone go too: their bells do not hang up, and
    /// its memory is kept as long as it is mapped.
    pub(crate) fn peer_gone(&self, who: Gone) {
        let mut guarded = self.visit();
        let now = self.now();
        // What it has sent comes first.
        for at in 0..guarded.core.paths.capacity() {
            guarded.core.take_rest(now, at);
        }
        guarded.core.engine.peer_gone(now, who);
        guarded.core.events();
        let of_domain = |path: &Path| match (who, &path.direct) {
            (Gone::Board(nic), Some(direct)) => {
                direct.peer.nic == nic && path.waiter.kind() == BellKind::EventChannel
            }
            _ => false,
        };
        let paths = guarded.paths.iter();
        let over: Vec<PathId> = paths
            .filter(|(_, path)| of_domain(path))
            .map(|(_, path)| path.id)
            .collect();
        self.leave(guarded);
        for id in over {
            self.drop_direct(id);
        }
        self.rouse();
    }
}
