//! Frames as they are on an Ethernet: padded, and with a tag where they have one.

use mxoe::frame::HEAD_BYTES;

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
const TAG: usize = 4;
/// Bytes of the two addresses, which a tag follows.
const ADDRESSES: usize = 12;

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

/// Bytes of a frame on the wire: padded, with its tag.
pub(super) fn wire_len(frame: &Outgoing<'_>, vlan: Option<u16>) -> usize {
    frame.len().max(SHORTEST) + if vlan.is_some() { TAG } else { 0 }
}

/// The most bytes on the wire of frames of up to `mtu` bytes.
pub(super) fn longest_on_wire(mtu: usize) -> usize {
    mtu.max(SHORTEST) + TAG
}

/// Writes a frame to `out`, with its tag, padded with zeroes.
pub(super) fn write_frame(frame: &Outgoing<'_>, vlan: Option<u16>, out: &mut [u8]) {
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

/// Room for the head of any frame, with a tag.
pub(super) type TaggedHead = [u8; HEAD_BYTES + TAG];

/// Writes a frame's head to `out`, with its tag; gives how long that is. `None` if the head is longer than any.
pub(super) fn write_head(head: &[u8], vlan: Option<u16>, out: &mut TaggedHead) -> Option<usize> {
    let alone = Outgoing::bytes(head, Tag::None);
    let len = head.len() + if vlan.is_some() { TAG } else { 0 };
    write_frame(&alone, vlan, out.get_mut(..len)?);
    Some(len)
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

/// Takes the tag out of a frame as it was on the wire: gives its partition and the frame without it.
pub(super) fn untag(bytes: &mut [u8], mtu: usize) -> Result<(Tag, &[u8]), DropReason> {
    let vlan = match bytes {
        [
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            0x81,
            0x00,
            high,
            low,
            _,
            _,
            ..,
        ] => {
            let control = u16::from_be_bytes([*high, *low]);
            // The addresses move, the longer part stays.
            bytes.copy_within(..ADDRESSES, TAG);
            Some((TPID_8021Q, control))
        }
        _ => None,
    };
    let frame = bytes
        .get(if vlan.is_some() { TAG } else { 0 }..)
        .unwrap_or_default();
    if frame.len() < ETHERNET_HEADER {
        return Err(DropReason::ReceiveTooShort);
    }
    if frame.len() > mtu.max(SHORTEST) {
        return Err(DropReason::ReceiveTooLong);
    }
    Ok((partition(vlan)?, frame))
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
    fn taking_a_tag_out_undoes_putting_it_in() {
        let head: Vec<u8> = (0..80).collect();
        for tag in [Tag::None, Tag::Vlan(1), Tag::Vlan(4094)] {
            let frame = Outgoing::bytes(&head, tag);
            let vlan = check(&frame, 80).unwrap();
            let mut wire = vec![0xee; wire_len(&frame, vlan)];
            write_frame(&frame, vlan, &mut wire);
            assert_eq!(untag(&mut wire, 80).unwrap(), (tag, head.as_slice()));
            let mut wire = vec![0xee; wire_len(&frame, vlan)];
            write_frame(&frame, vlan, &mut wire);
            assert_eq!(untag(&mut wire, 79), Err(DropReason::ReceiveTooLong));
        }
    }

    #[test]
    fn what_is_too_short_for_a_header_or_a_tag_is_not_taken() {
        let mut bytes = [0x81; 20];
        bytes[12..14].copy_from_slice(&[0x81, 0x00]);
        let taken = |len: usize| {
            let mut bytes = bytes;
            untag(&mut bytes[..len], 60).map(|(_, frame)| frame.len())
        };
        assert_eq!(taken(13), Err(DropReason::ReceiveTooShort));
        // Without room for what a tag is followed by it is no tag.
        assert_eq!(taken(17), Ok(17));
        assert_eq!(taken(18), Ok(14));
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
