//! Paths that come, go and are chosen.

use std::time::Duration;

use super::Endpoint;
use super::config::PathProfile;
use super::event::{Gone, Status};
use super::ids::PathId;
use super::partner::{Flow, packed};
use super::timing::after;
use super::transmit::Path;
use crate::addr::Address;
use crate::matching::arena::Key;
use crate::time::Time;

/// How late the news that somebody is gone may be, measured from when its successor has come to be known here: they take two
/// ways within this process.
const NEWS_MAY_TAKE: Duration = Duration::from_secs(10);

impl Endpoint {
    /// Adds a path, or replaces one because what it led through came back: what was in flight on it is due at once.
    pub fn set_path(&mut self, now: Time, path: PathId, profile: PathProfile) {
        self.date(now);
        let place = path.place();
        if self.paths.len() <= place {
            self.paths.resize_with(place.saturating_add(1), || None);
        }
        let mut fresh = Path::new(profile);
        if let Some(slot) = self.paths.get_mut(place) {
            fresh.peer = slot.as_ref().and_then(|former| former.peer);
            *slot = Some(fresh);
        }
        self.drop_jobs_of_path(path);
        let partners: Vec<Key> = self.partners.keys().collect();
        for key in partners {
            if self.partners[key].path == path {
                self.take_up(now, key, path);
            } else {
                self.requeue_replies(key);
            }
        }
        self.restart_pulls(now, path);
    }

    /// A path is gone. Partners that were routed over it are reached by `SWITCH` again; what was in flight is due at once.
    pub fn drop_path(&mut self, now: Time, path: PathId) {
        self.date(now);
        let Some(place) = self.paths.get_mut(path.place()) else {
            return;
        };
        if place.take().is_none() {
            return;
        }
        self.routes.retain(|_, route| *route != path);
        self.drop_jobs_of_path(path);
        let partners: Vec<Key> = self.partners.keys().collect();
        for key in partners {
            if self.partners[key].path == path {
                self.take_up(now, key, PathId::SWITCH);
            } else {
                self.requeue_replies(key);
            }
        }
        self.restart_pulls(now, path);
    }

    /// Frames to this address take `path` from now on. Sequence numbers keep the order.
    ///
    /// A path other than `SWITCH` belongs to the address it was first chosen for: frames that come by it from
    /// others are dropped.
    pub fn route(&mut self, _now: Time, to: Address, path: PathId) {
        let wanted = packed(to);
        if path == PathId::SWITCH {
            self.routes.remove(&wanted);
        } else {
            self.routes.insert(wanted, path);
            if let Some(path) = self.path_mut(path) {
                path.peer.get_or_insert(to);
            }
        }
        let known = self.by_address.get(&wanted).copied();
        if let Some(key) = known
            && self.partners[key].path != path
        {
            self.move_to(key, path);
            self.arm(key);
        }
    }

    /// Queues what a partner has on another path. What is in flight stays so.
    fn move_to(&mut self, key: Key, path: PathId) {
        let partner = &mut self.partners[key];
        partner.path = path;
        partner.in_control = false;
        partner.messages.queued = false;
        self.wake_control(key);
        self.wake_data(key, Flow::Messages);
    }

    /// The same, where what was in flight is lost.
    fn take_up(&mut self, now: Time, key: Key, path: PathId) {
        self.move_to(key, path);
        self.requeue_replies(key);
        self.connect_again(key);
        self.resend_all(now, key);
        self.arm(key);
    }

    /// Queues what a partner has asked for. It goes by the path it was asked for on, which may be one that the partner was moved
    /// from, and that is gone now with its queue.
    fn requeue_replies(&mut self, key: Key) {
        self.partners[key].replies.queued = false;
        self.wake_data(key, Flow::Replies);
    }

    /// The back end says that an endpoint, or a board with all its endpoints, is gone for good: what is pending to it
    /// fails with [`Status::PartnerGone`].
    ///
    /// The news may be late: somebody else may have opened the same endpoint since, and be our partner now. So a partner
    /// that has been there for a short time only is asked, and counts as gone when it does not answer within seconds.
    pub fn peer_gone(&mut self, now: Time, who: Gone) {
        self.date(now);
        match who {
            Gone::Endpoint(address) => {
                if let Some(&key) = self.by_address.get(&packed(address)) {
                    self.partner_gone(now, key);
                }
            }
            Gone::Board(nic) => {
                let partners: Vec<Key> = self.partners.keys().collect();
                for key in partners {
                    if self.partners[key].address.nic == nic {
                        self.partner_gone(now, key);
                    }
                }
            }
        }
    }

    fn partner_gone(&mut self, now: Time, key: Key) {
        if self.partners[key].session().is_none() {
            // Requests to connect may be to whoever comes next. They have deadlines.
            return;
        }
        if after(self.partners[key].met, NEWS_MAY_TAKE) > now {
            return self.doubt(now, key);
        }
        self.fail_connects(key, Status::PartnerGone);
        self.lose(now, key, Status::PartnerGone);
    }
}
