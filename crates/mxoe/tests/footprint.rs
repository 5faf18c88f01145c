//! What connections cost in memory. The only test of its process, so that what the process grows by is theirs.

use std::time::Duration;

use mxoe::addr::{Address, EndpointId, NicAddr};
use mxoe::engine::{Arrival, Config, Connect, Endpoint, Event, PathId, PathProfile};
use mxoe::frame::{Dialect, HEAD_BYTES};
use mxoe::time::Time;

const KEY: u32 = 7;
const CONNECTIONS: u64 = 10_000;
/// Bytes that a connection may take.
const LIMIT: u64 = 2048;

/// Anonymous memory of this process, in bytes.
fn own_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("RssAnon:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

fn address(number: u64) -> Address {
    let [.., high, low, endpoint] = number.to_be_bytes();
    let nic = NicAddr::new([2, 0, 0, 0, high, low]);
    Address::new(nic, EndpointId::new(endpoint))
}

fn endpoint(number: u64) -> Endpoint {
    let mut endpoint = Endpoint::new(Config::new(address(number), KEY, number));
    let profile = PathProfile {
        dialect: Dialect::DEFAULT,
        pull_window: 256 << 10,
        fetch: false,
        max_frame: Dialect::DEFAULT.max_frame(),
    };
    endpoint.set_path(Time::ZERO, PathId::SWITCH, profile);
    endpoint
}

/// Gives what one wants to send to the other.
fn carry(now: Time, from: &mut Endpoint, to: &mut Endpoint) {
    let nic = from.config().address.nic;
    while let Some(transmit) = from.poll_transmit(now, PathId::SWITCH) {
        let frame: &[u8] = &transmit.head;
        let arrival = Arrival {
            path: PathId::SWITCH,
            from: nic,
            head: &frame[..frame.len().min(HEAD_BYTES)],
            len: frame.len(),
            offer: None,
        };
        assert!(to.handle_frame(now, arrival).unwrap().is_none());
    }
}

#[test]
fn ten_thousand_connections_take_less_than_two_kibibytes_each() {
    let mut hub = endpoint(1 << 20);
    let before = own_memory();
    for number in 0..CONNECTIONS {
        let now = Time::ZERO + Duration::from_micros(number * 100);
        let mut partner = endpoint(number);
        let connect = Connect {
            to: address(number),
            key: KEY,
            deadline: Some(now + Duration::from_secs(10)),
            token: number,
        };
        hub.connect(now, connect).unwrap();
        carry(now, &mut hub, &mut partner);
        carry(now, &mut partner, &mut hub);
        let event = hub.poll_event();
        assert!(matches!(event, Some(Event::Connected { token, .. }) if token == number));
        assert!(hub.poll_event().is_none());
    }
    let each = own_memory().saturating_sub(before) / CONNECTIONS;
    assert!(each < LIMIT, "{each} bytes");
}
