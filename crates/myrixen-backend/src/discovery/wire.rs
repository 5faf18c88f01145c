//! Discovery's frames: bytes to [`Heard`], and [`Say`] to bytes.

use mxoe::addr::{NicAddr, PeerIndex};
use mxoe::frame::{
    Announcement, Dialect, EthHead, Frame, Head, HostName, HostQuery, Kind, parse, route,
};

use super::{Heard, Say};

/// The longest discovery frame that is looked at, in bytes: as the reference drops longer ones
/// (specification, 4.4).
pub const MAX_FRAME: usize = 1024;

/// Whether frames of this kind belong to discovery.
#[must_use]
pub fn is_discovery(kind: Kind) -> bool {
    matches!(kind, Kind::Raw | Kind::HostQuery | Kind::HostReply)
}

/// Understands a discovery frame; `None` when it is none, or one of another mapper.
#[must_use]
pub fn hear(frame: &[u8]) -> Option<Heard> {
    // The three kinds are the same in both dialects.
    let parsed = parse(Dialect::DEFAULT, frame, frame.len()).ok()?;
    let (from, to) = (parsed.eth.source, parsed.eth.destination);
    match parsed.frame {
        Frame::Raw => {
            let Announcement { nic, serial } = Announcement::parse(frame)?;
            Some(Heard::Announcement { nic, serial })
        }
        Frame::HostQuery(query) => Some(Heard::Query {
            from,
            to,
            magic: query.magic,
        }),
        Frame::HostReply(reply) => {
            let name = HostName::from_payload(frame.get(parsed.payload)?).ok()?;
            let name = name.as_str().to_owned();
            (!name.is_empty()).then_some(Heard::Answer {
                from,
                to,
                magic: reply.magic,
                name,
            })
        }
        _ => None,
    }
}

/// The frame that says it.
#[must_use]
pub fn say(what: &Say) -> Vec<u8> {
    let mut head = Head::new();
    match what {
        Say::Announcement { nic, serial } => {
            Announcement {
                nic: *nic,
                serial: *serial,
            }
            .emit(&mut head);
            head.to_vec()
        }
        Say::Query {
            from,
            to,
            index,
            magic,
        } => {
            let query = HostQuery {
                index: PeerIndex::new(*index),
                magic: *magic,
            };
            Frame::HostQuery(query).emit(Dialect::DEFAULT, &eth(*from, *to), &mut head);
            head.to_vec()
        }
        Say::Answer {
            from,
            to,
            index,
            magic,
            name,
        } => {
            // Board names are short and plain; see `boards::is_board_name`.
            let Ok(name) = name.parse::<HostName>() else {
                return Vec::new();
            };
            let reply = name.reply(PeerIndex::new(*index), *magic);
            Frame::HostReply(reply).emit(Dialect::DEFAULT, &eth(*from, *to), &mut head);
            let mut frame = head.to_vec();
            frame.extend(name.as_payload());
            frame
        }
    }
}

/// The head of a frame between two boards. The index is undefined in these kinds (specification, 3.1).
fn eth(source: NicAddr, destination: NicAddr) -> EthHead {
    EthHead {
        destination,
        source,
        peer_index: PeerIndex::new(0),
    }
}

/// Whether a frame, by its first bytes, is for discovery and whole.
#[must_use]
pub fn concerns(head: &[u8], len: usize) -> bool {
    len <= MAX_FRAME && route(head).is_ok_and(|r| is_discovery(r.kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NicAddr = NicAddr::new([2, 0, 0, 0, 0, 10]);
    const B: NicAddr = NicAddr::new([2, 0, 0, 0, 0, 11]);

    #[test]
    fn what_is_said_is_heard() {
        let said = say(&Say::Announcement { nic: A, serial: 7 });
        assert_eq!(hear(&said), Some(Heard::Announcement { nic: A, serial: 7 }));
        let said = say(&Say::Query {
            from: A,
            to: B,
            index: 3,
            magic: 9,
        });
        assert_eq!(
            hear(&said),
            Some(Heard::Query {
                from: A,
                to: B,
                magic: 9
            })
        );
        let name = "ga:0".to_owned();
        let said = say(&Say::Answer {
            from: A,
            to: B,
            index: 3,
            magic: 9,
            name: name.clone(),
        });
        assert_eq!(
            hear(&said),
            Some(Heard::Answer {
                from: A,
                to: B,
                magic: 9,
                name
            })
        );
    }

    #[test]
    fn frames_of_the_reference_peer_are_understood() {
        // The example frames of the specification, appendix A.
        let reply = [
            2, 0, 0, 0, 0, 11, 2, 0, 0, 0, 0, 10, 0x86, 0xdf, 0, 0, 4, 5, 0, 4, 0, 0, 0, 0, 0x13,
            5, 0x20, 8, 0, 0, 0, 0, b'g', b'a', b':', b'0', 0,
        ];
        let name = "ga:0".to_owned();
        assert_eq!(
            hear(&reply),
            Some(Heard::Answer {
                from: A,
                to: B,
                magic: 0x1305_2008,
                name
            })
        );
        let raw = [
            &[0xff; 6][..],
            &[2, 0, 0, 0, 0, 10, 0x86, 0xdf, 0, 0, 1],
            &[0; 15],
            &[0, 0, 2, 0, 0, 0, 0, 10, 0x2c, 0x50, 0x5d, 0xac],
            &[0; 20],
        ]
        .concat();
        assert_eq!(
            hear(&raw),
            Some(Heard::Announcement {
                nic: A,
                serial: 0x2c50_5dac
            })
        );
    }

    #[test]
    fn other_frames_are_none_of_discoverys() {
        assert_eq!(hear(&[0; 60]), None);
        assert_eq!(hear(&[]), None);
        let said = say(&Say::Announcement { nic: A, serial: 7 });
        assert!(concerns(&said, said.len()));
        assert!(!concerns(&said, MAX_FRAME + 1));
    }
}
