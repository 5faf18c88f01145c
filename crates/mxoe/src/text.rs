//! Frames as text: a line each, or every field. Message payload is never shown, only how long it is.

use std::fmt::{self, Display, Formatter};

use crate::addr::{EndpointId, NicAddr};
use crate::frame::{
    Announcement, Connect, ConnectRole, ConnectStatus, Dialect, Frame, HostName, Medium,
    MessageHead, NackKind, Parsed, Pull, WireError, parse, route,
};
use crate::time::Time;

/// Describes a frame: `{}` writes one line, `{:#}` every field on a line of its own.
///
/// `bytes` are the frame's first bytes, from the destination MAC on, as far as they were recorded: at least
/// `HEAD_BYTES` of them, if it has as many. `len` is its length on the wire.
#[must_use]
pub fn describe(dialect: Dialect, bytes: &[u8], len: usize) -> Description<'_> {
    Description {
        dialect,
        bytes,
        len,
        at: None,
    }
}

/// A frame that can be written as text; made by [`describe`].
#[derive(Clone, Copy, Debug)]
pub struct Description<'a> {
    dialect: Dialect,
    bytes: &'a [u8],
    len: usize,
    at: Option<Time>,
}

impl Description<'_> {
    /// With the time at which it was seen, in seconds, before the rest.
    #[must_use]
    pub fn at(mut self, time: Time) -> Self {
        self.at = Some(time);
        self
    }
}

impl Display for Description<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(time) = self.at {
            write!(f, "{time} ")?;
        }
        match parse(self.dialect, self.bytes, self.len) {
            Ok(parsed) => self.whole(&parsed, f),
            Err(error) => self.broken(error, f),
        }
    }
}

impl Description<'_> {
    fn whole(&self, parsed: &Parsed, f: &mut Formatter<'_>) -> fmt::Result {
        let (to, from) = match route(self.bytes) {
            Ok(route) => (route.to, route.from),
            Err(_) => (None, None),
        };
        write_addresses(parsed.eth.source, from, parsed.eth.destination, to, f)?;
        let name = match parsed.frame {
            Frame::Truc(_) => "LIBACK",
            _ => parsed.frame.kind().name(),
        };
        write!(f, " {name}")?;
        let verbose = f.alternate();
        let mut fields = Fields { f, verbose };
        fields.full("frame bytes", &self.len)?;
        fields.full("peer index", &parsed.eth.peer_index)?;
        self.frame(parsed, &mut fields)?;
        fields.full("payload bytes", &parsed.payload.len())?;
        fields.full(
            "padding bytes",
            &self.len.saturating_sub(parsed.payload.end),
        )
    }

    fn frame(&self, parsed: &Parsed, fields: &mut Fields<'_, '_>) -> fmt::Result {
        match &parsed.frame {
            Frame::Raw | Frame::HostQuery(_) | Frame::HostReply(_) => self.board(parsed, fields),
            Frame::Truc(liback) => {
                fields.brief("ack", &liback.seq)?;
                fields.brief("acknum", &liback.acknum)?;
                fields.brief("session", &liback.session)
            }
            Frame::Connect(connect) => write_connect(connect, fields),
            Frame::Tiny(tiny) => {
                write_message(&tiny.head, fields)?;
                fields.brief("len", &tiny.length)
            }
            Frame::Small(small) => {
                write_message(&small.head, fields)?;
                fields.brief("len", &small.length)
            }
            Frame::Medium(medium) => self.medium(medium, fields),
            Frame::Rndv(rndv) => {
                write_message(&rndv.head, fields)?;
                fields.brief("len", &rndv.length)?;
                fields.brief("rdma", &format_args!("{}.{}", rndv.rdma.id, rndv.rdma.seq))?;
                fields.full("rdma offset", &rndv.rdma_offset)
            }
            Frame::Pull(pull) => write_pull(pull, fields),
            Frame::PullReply(reply) => {
                fields.brief("frame", &reply.frame_seqnum)?;
                fields.brief("offset", &reply.offset)?;
                fields.brief("len", &reply.length)?;
                fields.brief("handle", &Hex8(reply.handle.get()))?;
                fields.brief("magic", &Hex8(reply.magic.to_wire()))
            }
            Frame::Notify(notify) => {
                fields.brief("seq", &notify.seq)?;
                fields.brief("ack", &notify.piggyack)?;
                fields.brief("len", &notify.total_length)?;
                fields.brief(
                    "rdma",
                    &format_args!("{}.{}", notify.rdma.id, notify.rdma.seq),
                )?;
                fields.brief("session", &notify.session)
            }
            Frame::NackLib(nack) => {
                fields.brief("seq", &nack.seq)?;
                fields.brief("reason", &nack_reason(nack.nack))
            }
            Frame::NackMcp(nack) => {
                fields.brief("puller", &nack.puller)?;
                fields.brief("handle", &Hex8(nack.handle.get()))?;
                fields.brief("magic", &Hex8(nack.magic.to_wire()))?;
                fields.brief("reason", &nack_reason(nack.nack))
            }
        }
    }

    /// The packet types that are between boards, not endpoints.
    fn board(&self, parsed: &Parsed, fields: &mut Fields<'_, '_>) -> fmt::Result {
        match &parsed.frame {
            Frame::Raw => match Announcement::parse(self.bytes) {
                Some(Announcement { nic, serial }) => {
                    fields.brief("announces", &nic)?;
                    fields.brief("serial", &Hex8(serial))
                }
                None => fields.brief("len", &parsed.payload.len()),
            },
            Frame::HostQuery(query) => {
                fields.brief("index", &query.index)?;
                fields.brief("magic", &Hex8(query.magic))
            }
            Frame::HostReply(reply) => {
                fields.brief("index", &reply.index)?;
                fields.brief("magic", &Hex8(reply.magic))?;
                let name = self
                    .bytes
                    .get(parsed.payload.clone())
                    .map(HostName::from_payload);
                match name {
                    Some(Ok(name)) => fields.brief("name", &name),
                    Some(Err(error)) => fields.brief("name", &error),
                    None => fields.brief("name", &"not recorded"),
                }
            }
            _ => Ok(()),
        }
    }

    fn medium(&self, medium: &Medium, fields: &mut Fields<'_, '_>) -> fmt::Result {
        let range = medium.range(self.dialect);
        write_message(&medium.head, fields)?;
        let fragments = medium.fragments(self.dialect);
        fields.brief("fragment", &format_args!("{}/{fragments}", medium.fragment))?;
        fields.brief("bytes", &format_args!("{}..{}", range.start, range.end))?;
        fields.brief("len", &medium.length)
    }

    /// As much as can be said of a frame that does not parse.
    fn broken(&self, error: WireError, f: &mut Formatter<'_>) -> fmt::Result {
        match route(self.bytes) {
            Ok(route) => {
                write_addresses(route.source, route.from, route.destination, route.to, f)?;
                write!(
                    f,
                    " {} of {} bytes, broken: {error}",
                    route.kind.name(),
                    self.len
                )
            }
            Err(_) => write!(f, "frame of {} bytes, not for us: {error}", self.len),
        }
    }
}

/// Writes fields, all of them or only those that a line has room for.
struct Fields<'w, 'f> {
    f: &'w mut Formatter<'f>,
    verbose: bool,
}

impl Fields<'_, '_> {
    /// A field of the one line, too.
    fn brief(&mut self, name: &str, value: &dyn Display) -> fmt::Result {
        if self.verbose {
            return self.full(name, value);
        }
        write!(self.f, " {name} {value}")
    }

    /// A field of the long form only.
    fn full(&mut self, name: &str, value: &dyn Display) -> fmt::Result {
        if self.verbose {
            write!(self.f, "\n    {name:<16} {value}")?;
        }
        Ok(())
    }
}

/// A word whose bits matter more than its value.
struct Hex8(u32);

impl Display for Hex8 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

fn write_addresses(
    source: NicAddr,
    from: Option<EndpointId>,
    destination: NicAddr,
    to: Option<EndpointId>,
    f: &mut Formatter<'_>,
) -> fmt::Result {
    write!(f, "{source}")?;
    if let Some(from) = from {
        write!(f, "/{from}")?;
    }
    write!(f, " > {destination}")?;
    if let Some(to) = to {
        write!(f, "/{to}")?;
    }
    Ok(())
}

fn write_message(head: &MessageHead, fields: &mut Fields<'_, '_>) -> fmt::Result {
    fields.brief("seq", &head.seq)?;
    fields.brief("ack", &head.piggyack)?;
    fields.brief("match", &format_args!("{:016x}", head.match_info))?;
    fields.full("session", &head.session)?;
    fields.full("generation", &head.generation)?;
    fields.full("checksum", &format_args!("{:04x}", head.checksum))
}

fn write_connect(connect: &Connect, fields: &mut Fields<'_, '_>) -> fmt::Result {
    match connect.role {
        ConnectRole::Request { key } => {
            fields.brief("request", &connect.attempt)?;
            fields.brief("session", &connect.session)?;
            fields.brief("key", &Hex8(key))?;
        }
        ConnectRole::Reply { session, status } => {
            fields.brief("reply", &connect.attempt)?;
            fields.brief("session", &session)?;
            fields.brief("to session", &connect.session)?;
            match status {
                ConnectStatus::Success => fields.brief("status", &"success"),
                ConnectStatus::BadKey => fields.brief("status", &"bad key"),
                ConnectStatus::Other(number) => fields.brief("status", &number),
            }?;
        }
    }
    fields.brief("expects", &connect.recv_start)?;
    fields.full("seq", &connect.seq)?;
    fields.brief("index", &connect.index)?;
    match connect.features {
        Some(features) => fields.brief("features", &Hex8(features.bits())),
        None => Ok(()),
    }
}

fn write_pull(pull: &Pull, fields: &mut Fields<'_, '_>) -> fmt::Result {
    fields.brief("frame", &pull.frame_index)?;
    fields.brief("len", &pull.block_length)?;
    fields.brief("of", &pull.total_length)?;
    fields.full("first offset", &pull.first_frame_offset)?;
    fields.brief("rdma", &format_args!("{}.{}", pull.rdma.id, pull.rdma.seq))?;
    fields.full("rdma offset", &pull.rdma_offset)?;
    fields.brief("handle", &Hex8(pull.handle.get()))?;
    fields.brief("magic", &Hex8(pull.magic.to_wire()))?;
    fields.brief("session", &pull.session)
}

const fn nack_reason(nack: NackKind) -> &'static str {
    match nack {
        NackKind::BadEndpoint => "bad endpoint",
        NackKind::EndpointClosed => "endpoint closed",
        NackKind::BadSession => "bad session",
        NackKind::BadRdmaWindow => "bad RDMA window",
    }
}
