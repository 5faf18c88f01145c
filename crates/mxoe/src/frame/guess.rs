//! Which dialect a recording is in: nothing on the wire says so, but few frames fit both.

use super::{Dialect, Frame, Medium, Mtu, Pull, PullReply, parse};

impl Dialect {
    /// Guesses the dialect of recorded frames, each given as its first bytes (at least `HEAD_BYTES` of them, if it
    /// has as many) and its length on the wire. `None` when nothing tells; then any dialect will do to read them.
    ///
    /// What tells:
    ///
    /// - MEDIUM: compat's 16-bit message length, read as native's 32-bit one, is far beyond any MEDIUM message, and the
    ///   other way round it does not fit the fragment. The first of several fragments tells the native fragment size.
    /// - PULL: read in the wrong layout, the frame index or the region is absurd. A block that does not end its
    ///   pull tells the native pull payload.
    /// - PULL_REPLY, when nothing else does: a pull of several frames has full ones, of 4096 bytes in compat.
    ///
    /// The MTU of the native dialect follows from the pull payload when that has been seen and agrees with the
    /// fragment size; else it is the least that gives the fragment size, 9000 for fragments of 8192 bytes.
    pub fn guess<'a>(frames: impl IntoIterator<Item = (&'a [u8], usize)>) -> Option<Self> {
        let mut evidence = Evidence::default();
        for (head, len) in frames {
            evidence.add(head, len);
        }
        evidence.conclude()
    }
}

/// A native dialect of whatever size, to read frames whose layout does not depend on it.
const ANY: Dialect = Dialect::DEFAULT;

#[derive(Default)]
struct Evidence {
    compat: u32,
    native: u32,
    /// The native fragment size.
    fragment: Option<u32>,
    /// The native pull payload as PULLs tell it.
    pull_payload: Option<u32>,
    /// The longest PULL_REPLY payload.
    longest_reply: u32,
    /// Whether some pull takes several frames.
    several_replies: bool,
}

impl Evidence {
    fn add(&mut self, head: &[u8], len: usize) {
        match parse(Dialect::Compat, head, len).map(|parsed| parsed.frame) {
            Ok(Frame::Medium(_)) => self.compat = self.compat.saturating_add(1),
            Ok(Frame::Pull(pull)) => self.add_pull(&pull, head, len),
            Ok(Frame::PullReply(PullReply { length, offset, .. })) => {
                self.longest_reply = self.longest_reply.max(length.into());
                self.several_replies |= offset > 0;
            }
            Ok(_) => {}
            Err(_) => self.add_native_medium(head, len),
        }
    }

    /// A frame that compat cannot read.
    fn add_native_medium(&mut self, head: &[u8], len: usize) {
        let Some(first) = native_fragment(head, len) else {
            return;
        };
        self.native = self.native.saturating_add(1);
        if first.is_some() {
            self.fragment = first;
        }
    }

    fn add_pull(&mut self, compat: &Pull, head: &[u8], len: usize) {
        let native = match parse(ANY, head, len).map(|parsed| parsed.frame) {
            Ok(Frame::Pull(native)) if plausible(&native) => Some(native),
            _ => None,
        };
        match (plausible(compat), native) {
            (true, None) => self.compat = self.compat.saturating_add(1),
            (false, Some(native)) => {
                self.native = self.native.saturating_add(1);
                let frames = ANY.pull_block_frames();
                let first = native.frame_index == 0 && native.first_frame_offset == 0;
                if first && native.block_length < native.total_length {
                    self.pull_payload = native.block_length.checked_div(frames);
                }
            }
            _ => {}
        }
    }

    fn conclude(mut self) -> Option<Dialect> {
        let compat_payload = Dialect::Compat.pull_payload();
        let full = self.several_replies.then_some(self.longest_reply);
        // A native dialect may have compat's pull payload by chance, so replies count only where nothing else does.
        if self.compat == self.native {
            if full == Some(compat_payload) {
                return Some(Dialect::Compat);
            }
            if full.is_some() || self.longest_reply > compat_payload {
                self.native = self.native.saturating_add(1);
            }
        }
        self.pull_payload = self.pull_payload.or(full);
        if self.compat == 0 && self.native == 0 {
            return None;
        }
        if self.compat >= self.native {
            return Some(Dialect::Compat);
        }
        let by_pull = self
            .pull_payload
            .and_then(|payload| native(payload.saturating_add(32)));
        let by_fragment = self.fragment.and_then(|payload| match payload {
            8192 => Some(Dialect::DEFAULT),
            _ => native(payload.saturating_add(48)),
        });
        let agree = |dialect: &Dialect| {
            self.fragment
                .is_none_or(|payload| dialect.fragment_payload() == payload)
        };
        by_pull.filter(agree).or(by_fragment).or(Some(ANY))
    }
}

/// Whether the numbers of a PULL go together, whatever the frame size.
fn plausible(pull: &Pull) -> bool {
    pull.block_length > 0
        && pull.block_length <= pull.total_length
        // Frames before the block carried a byte each, at the least.
        && pull.frame_index < pull.total_length
}

/// Reads a MEDIUM in native layout without knowing the fragment size. `None` if it is not one; else the fragment size,
/// when this fragment tells it.
fn native_fragment(head: &[u8], len: usize) -> Option<Option<u32>> {
    // A fragment that fits its message in one of these is a MEDIUM; the sizes between differ only in F.
    let length = |payload: u16| native(u32::from(payload).saturating_add(48));
    let have = u16::from_be_bytes(*head.get(40..42)?.first_chunk()?);
    let candidates = [length(have), Some(ANY), native(4144), native(1500)];
    let medium = candidates.into_iter().flatten().find_map(|dialect| {
        match parse(dialect, head, len).ok()?.frame {
            Frame::Medium(medium) => Some((medium, dialect)),
            _ => None,
        }
    });
    let (
        Medium {
            length, fragment, ..
        },
        _,
    ) = medium?;
    let several = fragment == 0 && length > u32::from(have);
    Some(several.then_some(u32::from(have)))
}

/// The native dialect of this MTU, if there is one.
fn native(mtu: u32) -> Option<Dialect> {
    let mtu = Mtu::new(u16::try_from(mtu).ok()?)?;
    Some(Dialect::Native { mtu })
}
