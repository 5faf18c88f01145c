//! The VXLAN header (RFC 7348, section 5).
#![cfg_attr(
    not(test),
    warn(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::panic
    )
)]

use crate::{DropReason, ETHERNET_HEADER, MXOE_ETHERTYPE};

/// Bytes of the header.
pub(super) const HEADER: usize = 8;
/// The "I" flag: the VNI is valid.
const FLAG_VNI: u8 = 0x08;
/// Largest VXLAN network identifier.
pub(super) const LARGEST_VNI: u32 = 0x00ff_ffff;
/// EtherTypes of VLAN tags.
const TAGS: [u16; 2] = [0x8100, 0x88a8];

/// The header for a network.
pub(super) fn emit(vni: u32) -> [u8; HEADER] {
    let [_, a, b, c] = vni.to_be_bytes();
    [FLAG_VNI, 0, 0, 0, a, b, c, 0]
}

/// A datagram's VNI and the frame in it, or why there is none. Reserved bits are ignored, as the RFC demands.
pub(super) fn parse(datagram: &[u8]) -> Result<(u32, &[u8]), DropReason> {
    let ([flags, _, _, _, a, b, c, _], frame) = datagram
        .split_first_chunk::<HEADER>()
        .ok_or(DropReason::ReceiveTooShort)?;
    if flags & FLAG_VNI == 0 {
        return Err(DropReason::NoVni);
    }
    let vni = u32::from_be_bytes([0, *a, *b, *c]);
    let ethernet = frame
        .first_chunk::<ETHERNET_HEADER>()
        .ok_or(DropReason::ReceiveTooShort)?;
    match u16::from_be_bytes([ethernet[12], ethernet[13]]) {
        MXOE_ETHERTYPE => Ok((vni, frame)),
        // Section 6.1: a tagged inner frame is to be discarded.
        ethertype if TAGS.contains(&ethertype) => Err(DropReason::ForeignTag),
        _ => Err(DropReason::ForeignEtherType),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn datagram(vni: u32, ethertype: u16) -> Vec<u8> {
        let mut bytes = emit(vni).to_vec();
        bytes.extend([0; 12]);
        bytes.extend(ethertype.to_be_bytes());
        bytes
    }

    #[test]
    fn the_layout_is_the_rfcs() {
        assert_eq!(emit(0x12_3456), [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0]);
    }

    #[test]
    fn each_fault_has_its_reason() {
        let good = datagram(7, MXOE_ETHERTYPE);
        assert_eq!(parse(&good[..21]), Err(DropReason::ReceiveTooShort));
        assert_eq!(parse(&good[..7]), Err(DropReason::ReceiveTooShort));
        assert_eq!(
            parse(&datagram(7, 0x0800)),
            Err(DropReason::ForeignEtherType)
        );
        assert_eq!(parse(&datagram(7, 0x8100)), Err(DropReason::ForeignTag));
        let mut flagless = good.clone();
        flagless[0] = !FLAG_VNI;
        assert_eq!(parse(&flagless), Err(DropReason::NoVni));
        let mut reserved = good;
        reserved[0] = 0xff;
        reserved[7] = 0xff;
        assert_eq!(
            parse(&reserved).map(|(vni, frame)| (vni, frame.len())),
            Ok((7, 14))
        );
    }

    proptest! {
        #[test]
        fn parse_undoes_emit(vni in 0..=LARGEST_VNI) {
            let bytes = datagram(vni, MXOE_ETHERTYPE);
            prop_assert_eq!(parse(&bytes), Ok((vni, &bytes[HEADER..])));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok((vni, frame)) = parse(&bytes) {
                prop_assert!(vni <= LARGEST_VNI);
                prop_assert_eq!(frame.len() + HEADER, bytes.len());
            }
        }
    }
}
