//! The dialect of a recording is guessed from what a sender of that dialect would send.

use mxoe::addr::{EndpointId, NicAddr, PeerIndex, SeqNo, SessionId};
use mxoe::frame::{
    Dialect, EthHead, Frame, Head, Medium, MessageHead, Mtu, Pull, PullHandle, PullMagic,
    PullReply, Rdma, Tiny,
};
use proptest::prelude::*;

const ETH: EthHead = EthHead {
    destination: NicAddr::new([2, 0, 0, 0, 0, 1]),
    source: NicAddr::new([2, 0, 0, 0, 0, 2]),
    peer_index: PeerIndex::UNKNOWN,
};

const HEAD: MessageHead = MessageHead {
    to: EndpointId::new(1),
    from: EndpointId::new(2),
    generation: 0,
    checksum: 0,
    seq: SeqNo::FIRST,
    piggyack: SeqNo::FIRST,
    match_info: 0,
    session: SessionId::new(0x1234_5678),
};

const HANDLE: PullHandle = PullHandle::new(0x0040_0023);

fn emit(dialect: Dialect, frame: Frame, payload: u32) -> (Head, usize) {
    let mut head = Head::new();
    frame.emit(dialect, &ETH, &mut head);
    (head, (head.len() + payload as usize).max(60))
}

/// A message's fragments.
fn medium(dialect: Dialect, length: u32) -> Vec<(Head, usize)> {
    let first = Medium {
        head: HEAD,
        length,
        fragment: 0,
    };
    let fragments = u8::try_from(first.fragments(dialect)).unwrap();
    (0..fragments)
        .map(|fragment| {
            let medium = Medium { fragment, ..first };
            let range = medium.range(dialect);
            emit(dialect, Frame::Medium(medium), range.end - range.start)
        })
        .collect()
}

/// The PULLs of a transfer.
fn pulls(dialect: Dialect, length: u32) -> Vec<(Head, usize)> {
    let starts = (0..length).step_by(dialect.pull_block_bytes() as usize);
    starts
        .map(|start| {
            let pull = Pull {
                to: HEAD.from,
                from: HEAD.to,
                session: HEAD.session,
                total_length: length,
                rdma: Rdma { id: 0, seq: 0x17 },
                rdma_offset: 0,
                handle: HANDLE,
                magic: PullMagic::for_endpoint(HEAD.to),
                first_frame_offset: 0,
                block_length: dialect.pull_block_bytes().min(length - start),
                frame_index: start / dialect.pull_payload(),
            };
            emit(dialect, Frame::Pull(pull), 0)
        })
        .collect()
}

/// The replies of a transfer.
fn replies(dialect: Dialect, length: u32) -> Vec<(Head, usize)> {
    let starts = (0..length).step_by(dialect.pull_payload() as usize);
    (0..=u8::MAX)
        .cycle()
        .zip(starts)
        .map(|(frame_seqnum, offset)| {
            let piece = dialect.pull_payload().min(length - offset);
            let reply = PullReply {
                frame_seqnum,
                length: u16::try_from(piece).unwrap(),
                offset,
                handle: HANDLE,
                magic: PullMagic::for_endpoint(HEAD.to),
            };
            emit(dialect, Frame::PullReply(reply), piece)
        })
        .collect()
}

fn guess(frames: &[(Head, usize)]) -> Option<Dialect> {
    Dialect::guess(frames.iter().map(|(head, len)| (head.as_bytes(), *len)))
}

fn natives() -> impl Strategy<Value = Dialect> {
    (Mtu::MIN.get()..).prop_map(|mtu| Dialect::Native {
        mtu: Mtu::new(mtu).unwrap(),
    })
}

fn dialects() -> impl Strategy<Value = Dialect> {
    prop_oneof![1 => Just(Dialect::Compat), 3 => natives()]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pulls_of_several_blocks_tell_the_dialect(dialect in dialects(), more in 1..9_000_000u32) {
        let length = dialect.pull_block_bytes() + more;
        prop_assert_eq!(guess(&pulls(dialect, length)), Some(dialect));
    }

    #[test]
    fn a_whole_transfer_tells_the_dialect(dialect in dialects(), more in 1..900_000u32) {
        let length = dialect.pull_payload() + more;
        let mut frames = pulls(dialect, length);
        frames.extend(replies(dialect, length));
        prop_assert_eq!(guess(&frames), Some(dialect));
    }

    #[test]
    fn fragments_tell_the_fragment_size(dialect in dialects(), part in 2..=32u32) {
        let length = dialect.fragment_payload() + dialect.max_medium() / part;
        let guess = guess(&medium(dialect, length.min(dialect.max_medium()))).unwrap();
        prop_assert_eq!(guess == Dialect::Compat, dialect == Dialect::Compat);
        prop_assert_eq!(guess.fragment_payload(), dialect.fragment_payload());
    }

    #[test]
    fn small_messages_tell_nothing(dialect in dialects(), length in 0..=Tiny::MAX) {
        let frame = emit(dialect, Frame::Tiny(Tiny { head: HEAD, length }), length.into());
        prop_assert_eq!(guess(&[frame]), None);
    }
}
