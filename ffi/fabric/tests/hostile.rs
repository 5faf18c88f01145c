//! A peer that speaks MX over Ethernet as it should, and says whatever it likes in the service messages of the provider (`src/service/mod.rs`): it gets
//! an answer for each request and nothing else, is counted, costs nothing that stays, and others are served meanwhile.

mod common;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{PATIENCE, Running, Site, compile, have_libfabric};
use myrixen::{
    Address, Completes, Endpoint, EndpointId, EndpointOptions, Fabric, Launch, NicAddr, Peer, Space,
};
use myrixen_netlab::test;

/// Kinds of service messages, in the upper two bits of the match information.
const REQUEST: u64 = 1 << 62;
const REPLY: u64 = 2 << 62;
const BULK: u64 = 3 << 62;
const NUMBER: u64 = u64::MAX >> 2;

/// What a request asks for.
const READ: u8 = 0;
const WRITE: u8 = 1;
const WRITE_BULK: u8 = 2;
const ATOMIC: u8 = 3;
const FETCH: u8 = 4;
const COMPARE: u8 = 5;

/// A memory that is lent.
#[derive(Clone, Copy)]
struct Lent {
    base: u64,
    key: u64,
}

const WINDOW: u64 = 1 << 20;

/// The bytes of a request.
fn request(action: u8, lent: Lent, offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = vec![action, 0, 0, 0, 0, 0, 0, 0];
    for word in [lent.key, lent.base.wrapping_add(offset), len, 0] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// The same with operands behind it, for elements of a type and an operation on them.
fn operation(action: u8, lent: Lent, kind: [u8; 2], len: u64, operands: usize) -> Vec<u8> {
    let mut bytes = request(action, lent, 512, len);
    bytes[2..4].copy_from_slice(&kind);
    bytes.resize(bytes.len() + operands, 0x5a);
    bytes
}

/// Random numbers that are the same each time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // SplitMix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// What has come back.
#[derive(Default)]
struct Answers {
    /// Replies that say that it was done.
    good: AtomicU64,
    /// Replies with an error.
    bad: AtomicU64,
    /// The number of the operation of the last one.
    last: AtomicU64,
}

/// What is on a service message.
fn service(to: &Peer, bits: u64, data: Option<u64>) -> Launch {
    Launch {
        to: to.id(),
        space: Space::Service,
        bits,
        data,
        completes: Completes::WhenDelivered,
        context: 0,
        label: 0,
    }
}

/// The hostile peer.
struct Rogue {
    endpoint: Endpoint,
    target: Peer,
    answers: Arc<Answers>,
    random: Random,
    /// The number of the next operation.
    number: u64,
    /// Messages that the other side can have no use for.
    unasked: u64,
    /// Messages since the last that was waited for.
    ahead: u64,
    /// A memory of the target's that may be read.
    home: Lent,
}

/// Messages that a rogue sends before it waits for the answers, where it floods nobody on purpose: what the target keeps of those under way stays the same.
const AHEAD: u64 = 500;

fn endpoint(site: &Site<'_>, options: EndpointOptions) -> Endpoint {
    let fabric = Fabric::builder().socket(site.folder.path().join("guests"));
    let fabric = fabric.connect().expect("a back end");
    fabric.open(options).expect("an endpoint")
}

impl Rogue {
    fn new(site: &Site<'_>, name: &[u8], home: Lent) -> Self {
        Self::with(site, name, home, EndpointOptions::default())
    }

    fn with(site: &Site<'_>, name: &[u8], home: Lent, options: EndpointOptions) -> Self {
        let endpoint = endpoint(site, options);
        let nic = NicAddr::new(*name[6..].first_chunk().expect("an address"));
        let key = u32::from_be_bytes(*name[12..].first_chunk().expect("a key"));
        let to = Address::new(nic, EndpointId::new(name[5]));
        let target = endpoint.connect(to, key, PATIENCE).expect("connected");
        let answers = Arc::new(Answers::default());
        let heard = Arc::clone(&answers);
        endpoint.serve(move |_, message, _| {
            assert_eq!(message.message.bits & !NUMBER, REPLY, "only answers come");
            let which = match message.message.data {
                Some(0) => &heard.good,
                _ => &heard.bad,
            };
            which.fetch_add(1, Ordering::SeqCst);
            let number = message.message.bits & NUMBER;
            heard.last.store(number, Ordering::SeqCst);
        });
        Self {
            endpoint,
            target,
            answers,
            random: Random(7),
            number: 1,
            unasked: 0,
            ahead: 0,
            home,
        }
    }

    /// Sends a service message, whatever it is.
    fn send(&mut self, bits: u64, bytes: &[u8], data: Option<u64>) {
        self.unasked += u64::from(bits & !NUMBER != REQUEST);
        self.launch(bits, bytes, data);
        self.ahead += 1;
        if self.ahead >= AHEAD {
            self.settle();
        }
    }

    fn cover(&self, bits: u64, data: Option<u64>) -> Launch {
        service(&self.target, bits, data)
    }

    fn launch(&self, bits: u64, bytes: &[u8], data: Option<u64>) {
        self.endpoint
            .launch(bytes.to_vec(), &self.cover(bits, data))
            .expect("connected");
        self.endpoint.reap(64, |_| {});
    }

    fn ask(&mut self, bytes: &[u8]) -> u64 {
        let number = self.number;
        self.number += 1;
        self.send(REQUEST | number, bytes, None);
        number
    }

    /// Waits until all that was sent has been dealt with and answered: a read comes behind it.
    fn settle(&mut self) {
        self.ahead = 0;
        let number = self.ask(&request(READ, self.home, 0, 8));
        let until = Instant::now() + PATIENCE;
        while self.answers.last.load(Ordering::SeqCst) != number {
            assert!(Instant::now() < until, "no answer");
            self.endpoint
                .reap_wait(64, Some(Duration::from_millis(1)), |_| {});
        }
    }

    /// Announces more than anybody may, and sends nothing of it.
    fn announce(&mut self, lent: Lent) {
        let before = self.answers.bad.load(Ordering::SeqCst);
        for _ in 0..6000 {
            let number = self.number;
            self.number += 1;
            self.launch(REQUEST | number, &request(WRITE_BULK, lent, 0, 8192), None);
        }
        self.settle();
        let refused = self.answers.bad.load(Ordering::SeqCst) - before;
        assert_eq!(refused, 6000 - 4096, "as many as may be announced");
    }

    /// Answers that say that it was done, those that say that it was not, and messages that the other side can have no use for.
    fn counts(&self) -> [u64; 3] {
        let [good, bad] = [&self.answers.good, &self.answers.bad];
        [
            good.load(Ordering::SeqCst),
            bad.load(Ordering::SeqCst),
            self.unasked,
        ]
    }

    /// What somebody may have thought of.
    fn think(&mut self, shared: Lent, shown: Lent) {
        let unknown = Lent {
            key: !shared.key,
            ..shared
        };
        let mut all: Vec<Vec<u8>> = vec![vec![], vec![0; 39], vec![0; 40], vec![0xff; 40]];
        for action in 0..=7 {
            for (lent, offset, len) in [
                (unknown, 0, 8),
                (shared, WINDOW, 1),
                (shared, WINDOW - 7, 8),
                (shared, 0u64.wrapping_sub(1), 8),
                (shared, 0u64.wrapping_sub(shared.base), 8),
                (shared, u64::MAX - shared.base, 8),
                (shared, 8, u64::MAX),
                (shared, 8, u64::MAX - shared.base - 7),
                (shared, 0, 0),
                (shared, 0, WINDOW),
                (shared, 0, WINDOW + 1),
                (shown, 0, 8),
                (shown, 0, WINDOW),
            ] {
                if action == READ && lent.key == shared.key && len == WINDOW {
                    // Nothing is wrong with it.
                    continue;
                }
                if action == WRITE_BULK {
                    continue;
                }
                all.push(request(action, lent, offset, len));
            }
        }
        // Too few bytes to write, and too many.
        for given in [0, 7, 9, 1000] {
            let mut bytes = request(WRITE, shared, 0, 8);
            bytes.resize(bytes.len() + given, 1);
            all.push(bytes);
        }
        // Every kind of element and of operation, with operands that fit and that do not.
        for datatype in (0..16).chain([127, 255]) {
            for op in (0..22).chain([127, 255]) {
                for action in [ATOMIC, FETCH, COMPARE] {
                    for operands in [0, 8, 16, 24] {
                        all.push(operation(action, shared, [datatype, op], 16, operands));
                    }
                }
            }
        }
        // Atomically, all there is.
        for action in [ATOMIC, FETCH, COMPARE] {
            for op in 0..20 {
                all.push(operation(action, shared, [7, op], WINDOW, 8));
            }
        }
        for bytes in &all {
            self.ask(bytes);
        }
        // A request that is long, and comes by rendezvous; flags that are none.
        self.ask(&vec![0; 100_000]);
        let mut odd = request(READ, shared, 0, 8);
        for flag in [2, 255] {
            odd[1] = flag;
            self.ask(&odd);
        }
        // What is announced and does not come as announced.
        for (announced, given) in [(50_000, 10), (50_000, 60_000), (2_000, 0)] {
            let number = self.ask(&request(WRITE_BULK, shared, 4096, announced));
            // It is asked for: this one is not counted.
            self.launch(BULK | number, &vec![3; given], None);
        }
        // What nobody has asked for.
        for len in [0, 1, 128, 129, 5_000, 40_000, 200_000] {
            for bits in [REPLY, BULK, 0] {
                self.send(bits | NUMBER, &vec![9; len], Some(0));
                self.send(bits | NUMBER, &vec![9; len], None);
            }
        }
    }

    /// What nobody has thought of.
    fn guess(&mut self, shared: Lent) {
        for _ in 0..3000 {
            let bits = self.random.next() | 1 << 61;
            let data = self.random.next();
            let data = data.is_multiple_of(2).then_some(data);
            let len = match self.random.below(20) {
                0 => self.random.below(60_000),
                1..5 => self.random.below(2000),
                _ => self.random.below(80),
            };
            let mut bytes = self.random.bytes(len);
            if self.random.below(2) == 0 && bytes.len() >= 40 {
                // Nearly a request.
                let action = u8::try_from(self.random.below(6)).expect("few");
                // One that announces a bulk would wait for it.
                let action = if action == WRITE_BULK { READ } else { action };
                let (offset, len) = (self.random.below(2000), self.random.below(64));
                let good = request(action, shared, offset, len);
                bytes[..4].copy_from_slice(&good[..4]);
                bytes[8..32].copy_from_slice(&good[8..32]);
                bytes[2] = u8::try_from(self.random.below(14)).expect("few");
                bytes[3] = u8::try_from(self.random.below(22)).expect("few");
                bytes[1] = u8::try_from(self.random.below(2)).expect("few");
            } else if let Some(action) = bytes.first_mut().filter(|action| **action == WRITE_BULK) {
                *action = READ;
            }
            self.send(bits, &bytes, data);
        }
    }
}

fn put(folder: &Path, name: &str, bytes: &[u8]) {
    let new = folder.join(format!("{name}.new"));
    std::fs::write(&new, bytes).expect("a file");
    std::fs::rename(new, folder.join(name)).expect("a file");
}

fn get(folder: &Path, name: &str, mut meanwhile: impl FnMut()) -> Vec<u8> {
    let until = Instant::now() + PATIENCE;
    loop {
        if let Ok(bytes) = std::fs::read(folder.join(name)) {
            return bytes;
        }
        assert!(Instant::now() < until, "{name} has not come");
        meanwhile();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(*bytes[at..].first_chunk().expect("a word"))
}

fn start(site: &Site<'_>, program: &Path, folder: &Path, role: &str, direct: &str) -> Running {
    let mut guest = site.guest(program);
    guest.arg(folder).arg(role);
    guest.env("FI_MYRIXEN_DIRECT", direct);
    guest.env("FI_LOG_LEVEL", "info");
    guest.env("FI_LOG_PROV", "myrixen");
    site.run(guest, role)
}

/// Asks the target how many bytes it uses, by what its allocator says.
struct Accountant<'a> {
    folder: &'a Path,
    asked: usize,
}

impl Accountant<'_> {
    fn used(&mut self) -> u64 {
        let at = self.asked;
        self.asked += 1;
        put(self.folder, &format!("report{at}"), b"");
        word(&get(self.folder, &format!("use{at}"), || {}), 0)
    }
}

/// One that reads and reads, and never looks at the answers nor acknowledges them. Nor does it send again what gets lost.
fn deafen(site: &Site<'_>, name: &[u8], lent: Lent) -> Rogue {
    let options = EndpointOptions::default().taken_over(false);
    let rogue = Rogue::with(site, name, lent, options.ring_bytes(4 << 20));
    for number in 0..8000 {
        let launch = rogue.cover(REQUEST | number, None);
        rogue
            .endpoint
            .launch(request(READ, lent, 0, 1000), &launch)
            .expect("connected");
    }
    rogue
}

/// More than an endpoint keeps of what it has sent at once and nobody has acknowledged: 16 MiB, and what it knows of each of these messages. The rest is kept for
/// those who have asked for it.
const KEPT: u64 = 24 << 20;

/// Rounds of everything.
const ROUNDS: usize = 8;

/// Bytes that allocations of the target may differ by after the first two rounds, since queues grow to what was once in them: half of what one for each
/// message would be, the smallest there is.
const SLACK: u64 = 800_000;

/// The target is on the first host, those who use its memory are on the second, which may be the same.
fn besiege([near, far]: [&Site<'_>; 2], direct: &str) {
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("besieged", work.path());
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let target = start(near, &program, folder, "target", direct);
    let told = get(folder, "told", || {});
    let lent = |at: usize| Lent {
        base: word(&told, 16 + 16 * at),
        key: word(&told, 24 + 16 * at),
    };
    let (shared, shown) = (lent(1), lent(2));
    let peer = start(far, &program, folder, "peer", direct);
    get(folder, "begun", || {});
    put(folder, "look", b"");
    let mut rogue = Rogue::new(far, &told[..16], shared);
    let mut uses = Vec::new();
    let mut accountant = Accountant { folder, asked: 0 };
    for _ in 0..ROUNDS {
        rogue.think(shared, shown);
        rogue.guess(shared);
        rogue.settle();
        uses.push(accountant.used());
    }
    let most = uses[2..].iter().max().expect("some");
    assert!(*most < uses[1] + SLACK, "memory grows: {uses:?}");
    // More announced than anybody may announce, and none of it sent. That the other peer's long writes succeed is what is looked for.
    rogue.announce(shared);
    uses.push(accountant.used());
    // More asked for than is kept of what was sent: the other peer gets its answers all the same.
    let mut deaf = Vec::new();
    while accountant.used() < uses[ROUNDS] + KEPT {
        assert!(deaf.len() < 100, "so much is never kept");
        deaf.push(deafen(far, &told[..16], shared));
    }
    put(folder, "full", b"");
    get(folder, "done", || rogue.endpoint.progress());
    let peer = peer.succeed();
    assert!(peer.contains("all as it should be"), "{peer}");
    drop(deaf);
    // With a peer goes what it had begun: one after the other may announce as much, more than all together could. What was used for one is used
    // again, though the next may come before it is free.
    let mut counts = rogue.counts();
    drop(rogue);
    for _ in 1..7 {
        let mut rogue = Rogue::new(far, &told[..16], shared);
        rogue.announce(shared);
        uses.push(accountant.used());
        let more = rogue.counts();
        counts = [0, 1, 2].map(|at| counts[at] + more[at]);
    }
    let one = uses[ROUNDS] - uses[ROUNDS - 1];
    assert!(
        uses[ROUNDS + 6] < uses[ROUNDS + 3] + one,
        "memory grows: {uses:?}"
    );
    put(folder, "stop", b"");
    let text = target.succeed();
    let [good, bad, unasked] = counts;
    let wanted = format!("{bad} refused, {unasked} messages that nothing waited for");
    assert!(text.contains(&wanted), "{wanted}: {text}");
    assert!(
        bad > 10_000 && good > 1000 && unasked > 1000,
        "{wanted}, {good}"
    );
}

#[test]
fn a_besieged_endpoint_serves_others_and_counts() {
    if have_libfabric() {
        let site = Site::alone();
        for direct in ["1", "0"] {
            besiege([&site, &site], direct);
        }
    }
}

#[test]
fn so_it_does_when_they_are_on_another_host() {
    if !have_libfabric() {
        return;
    }
    test(|lab| {
        let hosts = [
            lab.host("a").expect("a host"),
            lab.host("b").expect("a host"),
        ];
        let [near, far] = Site::cabled(lab, &hosts, 9000);
        besiege([&near, &far], "1");
    });
}

/// What the one that answers wrongly says to each request in turn, as in `besieged.c`: status, length, pattern.
const LIES: &[(Option<u64>, usize, u8)] = &[
    (Some(0), 10, 0),
    (None, 0, 0),
    (Some(0), 65, 0),
    (Some(0), 64, 0),
    (Some(0), 4, 0),
    (Some(0), 3, 0),
    (Some(99_999), 0, 0),
    (Some(libc::EACCES as u64), 20, 0),
    (Some(0), 64, 5),
    (Some(libc::EACCES as u64), 0, 0),
    (Some(0), 1 << 20, 6),
];

/// The bytes that `fill` of `fab.h` makes.
fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 31 + usize::from(seed) * 7 + at / 251).to_le_bytes()[0])
        .collect()
}

#[test]
fn answers_that_are_not_what_was_asked_for_are_errors() {
    if !have_libfabric() {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile("besieged", work.path());
    let site = Site::alone();
    let folder = tempfile::tempdir().expect("a folder");
    let liar = endpoint(&site, EndpointOptions::default());
    let asked = Mutex::new(0);
    liar.serve(move |liar, message, _| {
        let message = &message.message;
        if message.bits & !NUMBER != REQUEST {
            return;
        }
        let number = message.bits & NUMBER;
        let mut at = asked.lock().expect("not poisoned");
        let (status, len, seed) = LIES[*at];
        *at += 1;
        let say = |bits: u64, bytes: Vec<u8>| {
            liar.launch(bytes, &service(&message.peer(), bits, status))
                .expect("connected");
        };
        say(REPLY | (number ^ 1 << 40), pattern(len, 77));
        say(BULK | number, pattern(len, 77));
        say(REPLY | number, pattern(len, seed));
        say(REPLY | number, pattern(len, 78));
    });
    let address = liar.address();
    let mut name = b"MyXi\x01".to_vec();
    name.push(address.endpoint.get());
    name.extend_from_slice(&address.nic.octets());
    name.extend_from_slice(&0u32.to_be_bytes());
    put(folder.path(), "liar", &name);
    let origin = start(&site, &program, folder.path(), "origin", "1");
    let text = origin.succeed();
    assert!(text.contains("all as it should be"), "{text}");
    // Three that nobody has asked for with each, and a fourth where no answer is waited for; but the last of all may come when the endpoint is closed.
    let counted = [3 * LIES.len(), 3 * LIES.len() + 1]
        .map(|unasked| format!("0 refused, {unasked} messages that nothing waited for"));
    assert!(
        counted.iter().any(|line| text.contains(line)),
        "{counted:?}: {text}"
    );
}
