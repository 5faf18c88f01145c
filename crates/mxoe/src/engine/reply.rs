//! Answering PULLs (specification, section 7.4). Nothing is kept of a pull but the blocks asked for and not yet sent.

use super::Endpoint;
use super::arrive::Via;
use super::counters::Ignored;
use super::event::{Slice, Transmit};
use super::ids::{PathId, RegionId};
use super::partner::Flow;
use super::queue::{Links, Queue, Queued};
use super::transmit::Answer;
use crate::addr::{Address, PeerIndex};
use crate::frame::{Frame, Head, NackKind, NackMcp, Pull, PullHandle, PullMagic, PullReply, Rdma};
use crate::matching::arena::Key;
use crate::time::Time;

/// A block that was asked for, or what is left of it.
#[derive(Debug)]
pub(super) struct Job {
    links: Links,
    /// Replies go back the way the request came: the puller counts in that path's frames.
    pub(super) path: PathId,
    rdma: Rdma,
    region: RegionId,
    handle: PullHandle,
    magic: PullMagic,
    /// The next frame.
    frame: u32,
    /// P of the path, and what the next frame lacks of it at its front.
    payload: u32,
    skip: u32,
    /// Where the next frame's bytes are in the pull, and the pull's in the region.
    offset: u32,
    base: u32,
    /// Bytes left of the block.
    left: u32,
}

impl Queued for Job {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Endpoint {
    /// A block is asked for.
    pub(super) fn on_pull(&mut self, now: Time, via: Via, pull: &Pull) {
        if pull.to != self.config.address.endpoint {
            return self.counters.ignore(Ignored::OtherEndpoint);
        }
        if pull.session != self.config.session {
            self.counters.ignore(Ignored::BadSession);
            return self.reject_pull(via, pull, NackKind::BadSession, None);
        }
        let Some(key) = self.partner_at(via.path, Address::new(via.from, pull.from)) else {
            return self.counters.ignore(Ignored::UnknownPartner);
        };
        let user = self.regions.user(pull.rdma);
        let Some(outgoing) = user.filter(|user| self.outgoing[*user].partner == key) else {
            self.counters.ignore(Ignored::BadPull);
            return self.reject_pull(via, pull, NackKind::BadRdmaWindow, Some(key));
        };
        self.partners[key].heard = now;
        if let Some(patience) = self.patience.get_mut(&outgoing) {
            patience.got_on = now;
        }
        let message = &self.outgoing[outgoing];
        let (region, length) = (message.region, message.len);
        let Some(job) = self.job_for(via.path, pull, region, length) else {
            return self.counters.ignore(Ignored::BadPull);
        };
        if self.is_waiting(key, &job) {
            return self.counters.ignore(Ignored::Duplicate);
        }
        if self.partners[key].jobs.len() >= self.config.limits.pull_jobs.into() {
            return self.counters.ignore(Ignored::TooManyPulls);
        }
        let job = self.jobs.insert(job);
        self.partners[key].jobs.push(&mut self.jobs, job);
        self.wake_data(key, Flow::Replies);
    }

    /// What a PULL asks for, if it makes sense for a message of `length` bytes.
    fn job_for(&self, path: PathId, pull: &Pull, region: RegionId, length: u32) -> Option<Job> {
        let dialect = self.path(path)?.dialect;
        let payload = dialect.pull_payload();
        let skip = u32::from(pull.first_frame_offset);
        let base = u32::from(pull.rdma_offset);
        let asks_too_much = pull.frames(payload) > dialect.pull_block_frames()
            || base.checked_add(pull.total_length)? > length;
        if pull.block_length == 0 || skip >= payload || asks_too_much {
            return None;
        }
        let skew = u64::from(base.checked_rem(payload)?);
        let start = u64::from(pull.frame_index).checked_mul(payload.into())?;
        let start = start.checked_add(skip.into())?.checked_sub(skew)?;
        if start.checked_add(pull.block_length.into())? > pull.total_length.into() {
            return None;
        }
        Some(Job {
            links: Links::NONE,
            path,
            rdma: pull.rdma,
            region,
            handle: pull.handle,
            magic: pull.magic,
            frame: pull.frame_index,
            payload,
            skip,
            offset: u32::try_from(start).ok()?,
            base,
            left: pull.block_length,
        })
    }

    /// Whether the same block is waiting already: a puller that has lost patience is not to be sent everything twice.
    fn is_waiting(&self, key: Key, job: &Job) -> bool {
        let mut next = self.partners[key].jobs.first();
        while let Some(key) = next {
            let there = &self.jobs[key];
            let same_pull = there.handle == job.handle && there.magic == job.magic;
            // The first one may have been answered in part: what it has left is what counts.
            let end = |job: &Job| u64::from(job.offset).saturating_add(job.left.into());
            if same_pull && there.offset <= job.offset && end(job) <= end(there) {
                return true;
            }
            next = Queue::after(&self.jobs, key);
        }
        false
    }

    fn reject_pull(&mut self, via: Via, pull: &Pull, nack: NackKind, known: Option<Key>) {
        let peer_index = known.map_or(PeerIndex::UNKNOWN, |key| self.partners[key].peer_index);
        let frame = Frame::NackMcp(NackMcp {
            puller: pull.from,
            nack,
            handle: pull.handle,
            magic: pull.magic,
        });
        let to = via.from;
        self.answer(
            via.path,
            Answer {
                to,
                peer_index,
                frame,
            },
        );
    }

    /// The next piece for a partner, if that goes by this path.
    pub(super) fn next_reply(&mut self, id: PathId, key: Key) -> Option<Transmit> {
        loop {
            let first = self.partners[key].jobs.first()?;
            let job = &mut self.jobs[first];
            if job.path != id {
                return None;
            }
            // The message may have ended while its block waited.
            if job.left == 0 || self.regions.user(job.rdma).is_none() {
                self.partners[key].jobs.pop(&mut self.jobs);
                self.jobs.remove(first);
                continue;
            }
            let length = job.payload.saturating_sub(job.skip).min(job.left);
            let [seqnum, ..] = job.frame.to_le_bytes();
            let reply = PullReply {
                frame_seqnum: seqnum,
                length: u16::try_from(length).unwrap_or(u16::MAX),
                offset: job.offset,
                handle: job.handle,
                magic: job.magic,
            };
            let slice = Slice {
                region: job.region,
                offset: job.base.saturating_add(job.offset),
                len: length,
            };
            job.frame = job.frame.wrapping_add(1);
            job.skip = 0;
            job.offset = job.offset.saturating_add(length);
            job.left = job.left.saturating_sub(length);
            if job.left == 0 {
                self.partners[key].jobs.pop(&mut self.jobs);
                self.jobs.remove(first);
            }
            let eth = self.partners[key].eth(self.config.address.nic);
            let dialect = self.path(id)?.dialect;
            // Made where it is returned: a head that has just been written word by word is not to be moved, since that waits until it is in the cache.
            let mut next = Some(Transmit {
                to: eth.destination,
                head: Head::new(),
                payload: Some(slice),
                offer: None,
            });
            if let Some(transmit) = &mut next {
                Frame::PullReply(reply).emit(dialect, &eth, &mut transmit.head);
            }
            return next;
        }
    }

    /// Forgets what a lost partner has asked for.
    pub(super) fn drop_jobs(&mut self, key: Key) {
        while let Some(job) = self.partners[key].jobs.pop(&mut self.jobs) {
            self.jobs.remove(job);
        }
    }

    /// Forgets what was asked for by a path that is gone.
    pub(super) fn drop_jobs_of_path(&mut self, id: PathId) {
        let partners: Vec<Key> = self.partners.keys().collect();
        for key in partners {
            let mut next = self.partners[key].jobs.first();
            while let Some(job) = next {
                next = Queue::after(&self.jobs, job);
                if self.jobs[job].path == id {
                    self.partners[key].jobs.remove(&mut self.jobs, job);
                    self.jobs.remove(job);
                }
            }
        }
    }
}
