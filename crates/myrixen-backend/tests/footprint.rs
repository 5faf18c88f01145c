//! What guests cost in memory. The only test of its process, so that what the process grows by is theirs.

#[path = "backend/host.rs"]
#[allow(dead_code, reason = "most of it is for the other tests")]
mod host;

use host::{Host, config, sized};

const GUESTS: usize = 64;
/// Bytes that a guest may take besides its rings, which are shared memory.
const LIMIT: u64 = 64 << 10;

/// Anonymous memory of this process, in bytes.
fn own_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

#[test]
fn sixty_four_guests_that_have_talked_take_less_than_sixty_four_kibibytes_each() {
    let mut host = Host::new(config());
    let before = own_memory();
    let guests: Vec<_> = (0..GUESTS).map(|n| host.attach(&format!("g{n}"))).collect();
    let open = |guest: &host::Guest| [0, 1].map(|endpoint| guest.open_sized(endpoint, 1 << 20));
    let mut ports: Vec<_> = guests.iter().flat_map(open).collect();
    for turn in 1..ports.len() {
        let to = ports[turn - 1].address();
        let from = &mut ports[turn];
        let frame = sized(from.address(), to, 4096);
        while from.try_send(&frame) {}
    }
    host.settle();
    // The guests' own ends of everything are in it as well.
    let each = own_memory().saturating_sub(before) / GUESTS as u64;
    assert!(each < LIMIT, "{each} bytes");
}
