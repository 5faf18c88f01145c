//! Frames as they are on an Ethernet: padded, and with a tag where they have one.

use crate::{DropReason, ETHERNET_HEADER, LinkError, LinkKind, Outgoing, Tag};

/// The shortest frame that may be sent, without its frame check sequence.
pub(super) const SHORTEST: usize = 60;
/// The tag protocol identifier of 802.1Q.
const TPID_8021Q: u16 = 0x8100;
/// Bits of the tag's control information that hold the VLAN.
const VLAN_MASK: u16 = 0x0fff;
/// VLAN numbers that may be used: 0 says "no VLAN", 4095 is reserved.
const VLANS: std::ops::RangeInclusive<u16> = 1..=4094;

/// Bytes of a tag.
pub(super) const TAG: usize = 4;

/// Checks a frame and gives its VLAN.
pub(super) fn check(frame: &Outgoing<'_>, mtu: usize) -> Result<Option<u16>, LinkError> {
    if frame.head.len() < ETHERNET_HEADER {
        return Err(LinkError::TooShort {
            len: frame.head.len(),
        });
    }
    if frame.len() > mtu {
        return Err(LinkError::TooLong {
            len: frame.len(),
            mtu,
        });
    }
    match frame.tag {
        Tag::None => Ok(None),
        Tag::Vlan(id) if VLANS.contains(&id) => Ok(Some(id)),
        tag => Err(LinkError::WrongTag {
            tag,
            kind: LinkKind::Ethernet,
        }),
    }
}

/// Writes a frame to `out`, with its tag, padded with zeroes.
pub(super) fn write_frame(frame: &Outgoing<'_>, vlan: Option<u16>, out: &mut [u8]) {
    const ADDRESSES: usize = 12;
    let Some(vlan) = vlan else {
        frame.write_to(out);
        out[frame.len()..].fill(0);
        return;
    };
    let (addresses, rest) = out.split_at_mut(ADDRESSES);
    let (tag, rest) = rest.split_at_mut(TAG);
    addresses.copy_from_slice(&frame.head[..ADDRESSES]);
    tag[..2].copy_from_slice(&TPID_8021Q.to_be_bytes());
    tag[2..].copy_from_slice(&vlan.to_be_bytes());
    let behind = Outgoing {
        head: &frame.head[ADDRESSES..],
        body: frame.body,
        tag: Tag::None,
    };
    behind.write_to(rest);
    rest[behind.len()..].fill(0);
}

/// The partition of a frame that arrived, or why there is none.
pub(super) fn partition(vlan: Option<(u16, u16)>) -> Result<Tag, DropReason> {
    match vlan {
        None => Ok(Tag::None),
        // A tag for priority only: the frame belongs to no VLAN.
        Some((TPID_8021Q, control)) if control & VLAN_MASK == 0 => Ok(Tag::None),
        Some((TPID_8021Q, control)) => Ok(Tag::Vlan(control & VLAN_MASK)),
        Some(_) => Err(DropReason::ForeignTag),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Body;

    #[test]
    fn a_tag_goes_behind_the_addresses_and_padding_behind_the_frame() {
        let head: Vec<u8> = (0..20).collect();
        let frame = Outgoing {
            head: &head,
            body: Body::Bytes(&[7; 10]),
            tag: Tag::Vlan(0x123),
        };
        let mut out = [0xee; 64];
        write_frame(&frame, Some(0x123), &mut out);
        assert_eq!(out[..12], head[..12]);
        assert_eq!(out[12..16], [0x81, 0x00, 0x01, 0x23]);
        assert_eq!(out[16..24], head[12..]);
        assert_eq!(out[24..34], [7; 10]);
        assert_eq!(out[34..], [0; 30]);
    }

    #[test]
    fn only_real_vlans_are_taken() {
        let head = [0; 14];
        let frame = |tag| Outgoing {
            head: &head,
            body: Body::Empty,
            tag,
        };
        assert_eq!(check(&frame(Tag::None), 60).unwrap(), None);
        assert_eq!(check(&frame(Tag::Vlan(4094)), 60).unwrap(), Some(4094));
        for tag in [
            Tag::Vlan(0),
            Tag::Vlan(4095),
            Tag::Vlan(u16::MAX),
            Tag::Vni(1),
        ] {
            let error = check(&frame(tag), 60).unwrap_err();
            assert!(matches!(error, LinkError::WrongTag { .. }), "{error}");
        }
    }

    #[test]
    fn a_priority_tag_is_no_partition_and_a_service_tag_is_foreign() {
        assert_eq!(partition(Some((TPID_8021Q, 0x6000))), Ok(Tag::None));
        assert_eq!(partition(Some((TPID_8021Q, 0xe064))), Ok(Tag::Vlan(100)));
        assert_eq!(partition(Some((0x88a8, 100))), Err(DropReason::ForeignTag));
    }
}
