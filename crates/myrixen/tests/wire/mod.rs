//! Two back ends joined by a real Ethernet link, an endpoint at each, and what they tell each other.

pub(crate) mod bridge;
pub(crate) mod stream;

use std::time::Duration;

use mxoe::frame::Dialect;
use myrixen::link::Tag;
use myrixen::link::ethernet::{Driver, EthernetConfig, EthernetLink};
use myrixen::link::fault::{FaultConfig, FaultLink, Faults};
use myrixen::{Embedded, Endpoint, EndpointOptions, Fabric, Peer};
use myrixen_netlab::{Host, Lab};

const KEY: u32 = 0x10_55;
const PATIENCE: Duration = Duration::from_secs(60);

/// Frames lost, doubled and overtaken, each at `rate`, on their way out.
pub(crate) fn faults(rate: f64, seed: u64) -> FaultConfig {
    FaultConfig {
        seed,
        transmit: Faults {
            drop: rate,
            duplicate: rate,
            reorder: rate,
            // What nothing comes to overtake need not wait for long.
            delay_by: Duration::from_millis(1),
            ..Faults::default()
        },
        receive: Faults::default(),
    }
}

/// One end: a back end of its own, a guest of it, and the guest's endpoint, connected to the other side's.
pub(crate) struct Side {
    pub(crate) endpoint: Endpoint,
    pub(crate) other: Peer,
    _fabric: Fabric,
}

/// What a side is made of.
struct Opened {
    endpoint: Endpoint,
    fabric: Fabric,
}

fn open(
    (host, interface): (&Host, &str),
    driver: Driver,
    dialect: Dialect,
    faults: &FaultConfig,
) -> Opened {
    let config = EthernetConfig {
        driver,
        ..EthernetConfig::new(interface)
    };
    let link = host
        .run(|| EthernetLink::open(&config))
        .expect("on the host")
        .expect("a link");
    let link = FaultLink::new(link, faults).expect("a link with faults");
    let inside = Embedded::default()
        .host(host.name())
        .dialect(dialect)
        .uplink(interface, Box::new(link), Tag::None)
        .start()
        .expect("a back end");
    let fabric = inside.join().expect("a guest");
    let endpoint = fabric
        .open(EndpointOptions::default().key(KEY))
        .expect("an endpoint");
    Opened { endpoint, fabric }
}

/// Opens both sides and connects them, each to the other.
fn join(
    ends: [(&Host, &str); 2],
    driver: Driver,
    dialect: Dialect,
    faults: &FaultConfig,
) -> [Side; 2] {
    // The two directions must not suffer alike.
    let seeds = [faults.seed.wrapping_mul(2), faults.seed.wrapping_mul(2) + 1];
    let opened = [0, 1].map(|end: usize| {
        let faults = FaultConfig {
            seed: seeds[end],
            ..faults.clone()
        };
        open(ends[end], driver, dialect, &faults)
    });
    let addresses = [&opened[0], &opened[1]].map(|side| side.endpoint.address());
    let mut others = addresses.into_iter().rev();
    opened.map(|Opened { endpoint, fabric }| {
        let other = others.next().expect("two of them");
        let other = endpoint
            .connect(other, KEY, PATIENCE)
            .expect("connected in spite of losses");
        Side {
            endpoint,
            other,
            _fabric: fabric,
        }
    })
}

/// Two hosts joined by a cable for packets of `mtu` bytes.
pub(crate) fn cabled(lab: &Lab, mtu: u32, dialect: Dialect, faults: &FaultConfig) -> [Side; 2] {
    cable(lab, mtu, |ends| join(ends, Driver::Auto, dialect, faults))
}

/// Two hosts joined by a cable for long packets, with AF_XDP at both ends.
pub(crate) fn cabled_by_xdp(lab: &Lab, faults: &FaultConfig) -> [Side; 2] {
    cable(lab, 9000, |ends| {
        join(ends, Driver::Xdp, Dialect::DEFAULT, faults)
    })
}

fn cable(lab: &Lab, mtu: u32, join: impl FnOnce([(&Host, &str); 2]) -> [Side; 2]) -> [Side; 2] {
    let hosts = [lab.host("left"), lab.host("right")].map(|host| host.expect("a host"));
    let names = lab.cable([&hosts[0], &hosts[1]], mtu).expect("a cable");
    join([(&hosts[0], &*names[0]), (&hosts[1], &*names[1])])
}

/// How often either side sent something once more.
pub(crate) fn repairs(sides: &[Side; 2]) -> u64 {
    sides
        .iter()
        .map(|side| side.endpoint.counters())
        .map(|counters| counters.resends + counters.pull_repeats)
        .sum()
}
