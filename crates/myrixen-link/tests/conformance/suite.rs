//! What every link must do, whatever moves its frames.

use mxoe::addr::NicAddr;
use myrixen_link::{Body, ETHERNET_HEADER, Interest, Link, LinkError, Outgoing, Tag};
use myrixen_shm::Pages;
use rustix::event::{PollFd, PollFlags, poll};

/// The shortest frame that arrives: shorter ones may be padded to this.
const SHORTEST: usize = 60;

/// Two links, each the other's far end.
pub(crate) struct Bench<L> {
    pub(crate) left: L,
    pub(crate) right: L,
    /// Frames that may be under way without loss; no bound for a link that says when it is full.
    pub(crate) window: usize,
    /// Tags that both carry.
    pub(crate) tags: Vec<Tag>,
    /// Tags that neither may carry.
    pub(crate) wrong_tags: Vec<Tag>,
    /// Whom frames are for.
    pub(crate) to: NicAddr,
}

/// A guest of both ends.
pub(crate) const GUEST: NicAddr = NicAddr::new([2, 0, 0, 0, 2, 1]);

impl<L: Link> Bench<L> {
    fn tag(&self) -> Tag {
        self.tags[0]
    }

    fn mtu(&self) -> usize {
        self.left.describe().mtu
    }

    /// A frame of `len` bytes whose contents depend on `number`.
    fn frame(&self, len: usize, number: usize) -> Vec<u8> {
        frame_to(self.to, len, number)
    }
}

/// All that there is to hold; `make` gives a fresh pair each time.
pub(crate) fn conforms<L: Link>(mut make: impl FnMut() -> Bench<L>) {
    describes_itself(&make());
    frames_of_every_length_arrive_unchanged(&mut make());
    every_kind_of_body_is_gathered(&mut make());
    a_burst_of_long_and_short_frames_keeps_its_order(&mut make());
    tags_are_kept_apart(&mut make());
    what_cannot_be_sent_is_refused_and_leaves_no_trace(&mut make());
    a_budget_is_kept(&mut make());
    full_is_back_pressure_not_loss(&mut make());
    a_sleeper_is_woken(&mut make());
    an_idle_link_wakes_nobody(&mut make());
    both_ends_talk_at_once(&mut make());
    guests_addresses_are_heard(&mut make());
}

/// A frame of `len` bytes for everybody whose contents depend on `number`.
pub(crate) fn frame(len: usize, number: usize) -> Vec<u8> {
    frame_to(NicAddr::BROADCAST, len, number)
}

/// A frame of `len` bytes whose contents depend on `number`.
pub(crate) fn frame_to(to: NicAddr, len: usize, number: usize) -> Vec<u8> {
    let mut bytes = to.octets().to_vec();
    bytes.extend([2, 0, 0, 0, 0, 1, 0x86, 0xdf]);
    let low = |n: usize| u8::try_from(n % 251).unwrap();
    bytes.extend((ETHERNET_HEADER..len).map(|at| low(at * 7 + number * 31)));
    bytes
}

/// Receives `wanted` frames, sleeping where nothing is to be had.
pub(crate) fn collect<L: Link>(link: &mut L, wanted: usize) -> Vec<(Vec<u8>, Tag)> {
    let mut frames = Vec::new();
    while frames.len() < wanted {
        if take(link, wanted - frames.len(), &mut frames) == 0 {
            wait(link);
        }
    }
    frames
}

fn take<L: Link>(link: &mut L, budget: usize, into: &mut Vec<(Vec<u8>, Tag)>) -> usize {
    link.receive(budget, &mut |incoming| {
        assert_eq!(incoming.bytes.len(), incoming.len);
        let mut bytes = vec![0; incoming.len];
        incoming.bytes.read(0, &mut bytes);
        into.push((bytes, incoming.tag));
    })
    .unwrap()
}

/// Sleeps until the link has something to do.
pub(crate) fn wait<L: Link>(link: &L) {
    let (fd, interest) = link.readiness();
    let flags = match interest {
        Interest::Read => PollFlags::IN,
        Interest::ReadWrite => PollFlags::IN | PollFlags::OUT,
    };
    poll(&mut [PollFd::new(&fd, flags)], None).unwrap();
}

/// Whether a sleeper would be woken at once.
pub(crate) fn is_ready<L: Link>(link: &L) -> bool {
    let (fd, _) = link.readiness();
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&now)).unwrap() > 0
}

/// Sends one frame, whatever it takes; nobody receives meanwhile.
fn send<L: Link>(link: &mut L, frame: &Outgoing<'_>) {
    link.transmit(frame).unwrap();
    link.flush().unwrap();
}

/// What arrived is what was sent, or that with padding.
pub(crate) fn assert_same(arrived: &[u8], sent: &[u8]) {
    let padded = sent.len().max(SHORTEST);
    assert!(
        arrived.len() == sent.len() || arrived.len() == padded,
        "length {}",
        arrived.len()
    );
    assert_eq!(&arrived[..sent.len()], sent);
}

fn describes_itself<L: Link>(bench: &Bench<L>) {
    for link in [&bench.left, &bench.right] {
        let info = link.describe();
        assert!(info.mtu >= 1514, "{info:?}");
        assert!(!info.name.is_empty());
        assert!(info.offloads.transmit_segments >= 1 && info.offloads.receive_segments >= 1);
        assert_eq!(info, link.describe());
        assert_eq!(link.counters().drops.total(), 0);
    }
}

fn frames_of_every_length_arrive_unchanged<L: Link>(bench: &mut Bench<L>) {
    let (tag, mtu) = (bench.tag(), bench.mtu());
    let lengths = (ETHERNET_HEADER..200)
        .chain((200..mtu).step_by(97))
        .chain([mtu - 1, mtu]);
    for len in lengths {
        let sent = bench.frame(len, len);
        send(&mut bench.left, &Outgoing::bytes(&sent, tag));
        let arrived = collect(&mut bench.right, 1);
        assert_same(&arrived[0].0, &sent);
        assert_eq!(arrived[0].1, tag);
    }
}

fn every_kind_of_body_is_gathered<L: Link>(bench: &mut Bench<L>) {
    let (tag, mtu) = (bench.tag(), bench.mtu());
    let pages = Pages::private(16384).unwrap();
    for (number, split) in [14, 15, 16, 44, 80].into_iter().enumerate() {
        let whole = bench.frame(mtu, number);
        let (head, rest) = whole.split_at(split);
        let offset = 33 + number;
        pages.write(offset, rest);
        let bodies = [
            Body::Bytes(rest),
            Body::Pages {
                pages: &pages,
                offset,
                len: rest.len(),
            },
        ];
        for body in bodies {
            send(&mut bench.left, &Outgoing { head, body, tag });
            assert_eq!(collect(&mut bench.right, 1)[0].0, whole);
        }
    }
}

fn a_burst_of_long_and_short_frames_keeps_its_order<L: Link>(bench: &mut Bench<L>) {
    let mtu = bench.mtu();
    let pages = Pages::private(16384).unwrap();
    for tag in bench.tags.clone() {
        let lengths = [mtu, 60, mtu, mtu, 100, 60, mtu, mtu - 1, 60];
        let lengths = &lengths[..lengths.len().min(bench.window)];
        let frames: Vec<_> = (0..)
            .zip(lengths)
            .map(|(n, &len)| bench.frame(len, n))
            .collect();
        for whole in &frames {
            let (head, rest) = whole.split_at(40);
            pages.write(7, rest);
            let body = Body::Pages {
                pages: &pages,
                offset: 7,
                len: rest.len(),
            };
            bench.left.transmit(&Outgoing { head, body, tag }).unwrap();
        }
        bench.left.flush().unwrap();
        let arrived = collect(&mut bench.right, frames.len());
        for ((bytes, of), sent) in arrived.iter().zip(&frames) {
            assert_eq!(*of, tag);
            assert_same(bytes, sent);
        }
    }
}

fn tags_are_kept_apart<L: Link>(bench: &mut Bench<L>) {
    let tags = bench.tags.clone();
    for round in 0..3 {
        for (number, &tag) in tags.iter().enumerate() {
            let sent = bench.frame(100 + round, number);
            bench.left.transmit(&Outgoing::bytes(&sent, tag)).unwrap();
        }
    }
    bench.left.flush().unwrap();
    let mut arrived = collect(&mut bench.right, 3 * tags.len());
    // Different partitions may overtake each other; within one the order stays.
    arrived.sort_by_key(|(_, tag)| tags.iter().position(|t| t == tag).unwrap());
    for (number, (bytes, tag)) in arrived.iter().enumerate() {
        let (of_tag, round) = (number / 3, number % 3);
        assert_eq!(*tag, tags[of_tag]);
        assert_same(bytes, &bench.frame(100 + round, of_tag));
    }
}

fn what_cannot_be_sent_is_refused_and_leaves_no_trace<L: Link>(bench: &mut Bench<L>) {
    let (tag, mtu) = (bench.tag(), bench.mtu());
    let long = bench.frame(mtu + 1, 0);
    let error = bench
        .left
        .transmit(&Outgoing::bytes(&long, tag))
        .unwrap_err();
    assert!(matches!(error, LinkError::TooLong { len, mtu: m } if len == m + 1 && m == mtu));
    assert!(error.concerns_frame());
    let short = Outgoing {
        head: &long[..13],
        body: Body::Bytes(&long[13..80]),
        tag,
    };
    let error = bench.left.transmit(&short).unwrap_err();
    assert!(matches!(error, LinkError::TooShort { len: 13 }));
    for wrong in bench.wrong_tags.clone() {
        let error = bench
            .left
            .transmit(&Outgoing::bytes(&long[..80], wrong))
            .unwrap_err();
        assert!(matches!(error, LinkError::WrongTag { tag, .. } if tag == wrong));
    }
    let sent = bench.frame(90, 1);
    send(&mut bench.left, &Outgoing::bytes(&sent, tag));
    assert_same(&collect(&mut bench.right, 1)[0].0, &sent);
    assert_eq!(bench.left.counters().transmitted.frames, 1);
}

fn a_budget_is_kept<L: Link>(bench: &mut Bench<L>) {
    let tag = bench.tag();
    for number in 0..10 {
        bench
            .left
            .transmit(&Outgoing::bytes(&bench.frame(64, number), tag))
            .unwrap();
    }
    bench.left.flush().unwrap();
    let mut arrived = Vec::new();
    while arrived.len() < 10 {
        let before = arrived.len();
        let count = take(&mut bench.right, 3, &mut arrived);
        assert!(count <= 3);
        assert_eq!(arrived.len() - before, count);
        if count == 0 {
            wait(&bench.right);
        }
    }
    for (number, (bytes, _)) in arrived.iter().enumerate() {
        assert_same(bytes, &bench.frame(64, number));
    }
}

/// Many more frames than fit anywhere: whoever is told "full" (or knows that the window is) flushes, lets the
/// other end receive, and offers the same frame again. Nothing is lost, nothing overtakes.
fn full_is_back_pressure_not_loss<L: Link>(bench: &mut Bench<L>) {
    const FRAMES: usize = 3000;
    let tag = bench.tag();
    let length = |number: usize| {
        if number.is_multiple_of(3) {
            1400
        } else {
            60 + number % 7
        }
    };
    let mut arrived = Vec::new();
    for number in 0..FRAMES {
        let sent = bench.frame(length(number), number);
        while let Err(error) = bench.left.transmit(&Outgoing::bytes(&sent, tag)) {
            assert!(matches!(error, LinkError::Full), "{error}");
            bench.left.flush().unwrap();
            take(&mut bench.right, usize::MAX, &mut arrived);
        }
        while (number + 1).saturating_sub(arrived.len()) >= bench.window {
            bench.left.flush().unwrap();
            if take(&mut bench.right, usize::MAX, &mut arrived) == 0 {
                wait(&bench.right);
            }
        }
    }
    bench.left.flush().unwrap();
    while arrived.len() < FRAMES {
        if take(&mut bench.right, usize::MAX, &mut arrived) == 0 {
            wait(&bench.right);
            bench.left.flush().unwrap();
        }
    }
    for (number, (bytes, _)) in arrived.iter().enumerate() {
        assert_same(bytes, &bench.frame(length(number), number));
    }
    let (sent, got) = (bench.left.counters(), bench.right.counters());
    assert_eq!(sent.transmitted.frames, FRAMES as u64);
    assert_eq!(got.received.frames, FRAMES as u64);
    assert!(
        sent.full > 0 || bench.window < FRAMES,
        "nothing was ever full: the test proves nothing"
    );
    assert!(
        sent.system_calls < FRAMES as u64,
        "bursts take {} calls",
        sent.system_calls
    );
}

fn a_sleeper_is_woken<L: Link>(bench: &mut Bench<L>) {
    let tag = bench.tag();
    let sent = bench.frame(77, 5);
    let Bench { left, right, .. } = bench;
    let mut ignored = Vec::new();
    take(right, 8, &mut ignored);
    std::thread::scope(|scope| {
        let sleeper = scope.spawn(|| collect(right, 1));
        send(left, &Outgoing::bytes(&sent, tag));
        assert_same(&sleeper.join().unwrap()[0].0, &sent);
    });
}

fn an_idle_link_wakes_nobody<L: Link>(bench: &mut Bench<L>) {
    let tag = bench.tag();
    let sent = bench.frame(64, 0);
    send(&mut bench.left, &Outgoing::bytes(&sent, tag));
    collect(&mut bench.right, 1);
    for link in [&mut bench.left, &mut bench.right] {
        // The first call may find a bell that rang for what has been received already.
        assert_eq!(take(link, 8, &mut Vec::new()), 0);
        assert_eq!(link.readiness().1, Interest::Read);
        assert!(!is_ready(link));
    }
}

fn both_ends_talk_at_once<L: Link>(bench: &mut Bench<L>) {
    let tag = bench.tag();
    for number in 0..50 {
        bench
            .left
            .transmit(&Outgoing::bytes(&bench.frame(300, number), tag))
            .unwrap();
        bench
            .right
            .transmit(&Outgoing::bytes(&bench.frame(300, 1000 + number), tag))
            .unwrap();
    }
    bench.left.flush().unwrap();
    bench.right.flush().unwrap();
    let (at_left, at_right) = (collect(&mut bench.left, 50), collect(&mut bench.right, 50));
    for number in 0..50 {
        assert_eq!(at_right[number].0, bench.frame(300, number));
        assert_eq!(at_left[number].0, bench.frame(300, 1000 + number));
    }
}

fn guests_addresses_are_heard<L: Link>(bench: &mut Bench<L>) {
    let tag = bench.tag();
    let guests: Vec<NicAddr> = (0..100).map(|n| NicAddr::new([2, 0, 0, 0, 1, n])).collect();
    bench.right.set_addresses(&guests).unwrap();
    // Some leave, and come again.
    bench.right.set_addresses(&guests[50..]).unwrap();
    bench.right.set_addresses(&guests).unwrap();
    for guest in &guests {
        let mut sent = bench.frame(100, 3);
        sent[..6].copy_from_slice(&guest.octets());
        send(&mut bench.left, &Outgoing::bytes(&sent, tag));
        assert_eq!(collect(&mut bench.right, 1)[0].0, sent);
    }
    bench.right.set_addresses(&[]).unwrap();
}
