//! Half round trips of 8 bytes over a virtual cable, both ends spinning: by UDP, and by an Ethernet link with AF_PACKET and
//! with AF_XDP. As root, since AF_XDP takes that; best with two idle cores.
//!
//! `cargo run --release -p myrixen-link --example half_round_trip [ROUNDS]`

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use mxoe::addr::NicAddr;
use myrixen_link::ethernet::{Driver, EthernetConfig, EthernetLink};
use myrixen_link::{Link, Outgoing, Tag};
use myrixen_netlab::{Host, Lab};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Round trips of each way in each round.
const TRIPS: usize = 5000;
const GUESTS: [NicAddr; 2] = [
    NicAddr::new([2, 0, 0, 0, 0, 1]),
    NicAddr::new([2, 0, 0, 0, 0, 2]),
];

/// One end of a way: sends 8 bytes, and spins until 8 bytes are there.
trait Way: Send {
    fn send(&mut self) -> Result<()>;
    fn receive(&mut self) -> Result<()>;
}

struct Udp(UdpSocket);

impl Way for Udp {
    fn send(&mut self) -> Result<()> {
        self.0.send(&[7; 8])?;
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        let mut bytes = [0; 64];
        loop {
            match self.0.recv(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                other => return Ok(other.map(|_| ())?),
            }
        }
    }
}

struct Ethernet(EthernetLink, Vec<u8>);

impl Way for Ethernet {
    fn send(&mut self) -> Result<()> {
        self.0.transmit(&Outgoing::bytes(&self.1, Tag::None))?;
        Ok(self.0.flush()?)
    }

    fn receive(&mut self) -> Result<()> {
        while self.0.receive(16, &mut |_| ())? == 0 {
            std::hint::spin_loop();
        }
        Ok(())
    }
}

fn frame(from: usize) -> Vec<u8> {
    let mut frame = GUESTS[1 - from].octets().to_vec();
    frame.extend(GUESTS[from].octets());
    frame.extend([0x86, 0xdf]);
    frame.extend([7; 8]);
    frame
}

fn link(host: &Host, interface: &str, driver: Driver, me: usize) -> Result<Box<dyn Way>> {
    let config = EthernetConfig {
        driver,
        ..EthernetConfig::new(interface)
    };
    let mut link = host.run(|| EthernetLink::open(&config))??;
    link.set_addresses(&[GUESTS[me]])?;
    Ok(Box::new(Ethernet(link, frame(me))))
}

fn udp(host: &Host, mine: Ipv4Addr, theirs: Ipv4Addr) -> Result<Box<dyn Way>> {
    const PORT: u16 = 4000;
    let socket = host.run(|| UdpSocket::bind((mine, PORT)))??;
    socket.connect((theirs, PORT))?;
    socket.set_nonblocking(true)?;
    Ok(Box::new(Udp(socket)))
}

/// Half round trips, sorted.
fn play(ends: &mut [Box<dyn Way>; 2]) -> Result<Vec<Duration>> {
    let [here, there] = ends;
    thread::scope(|scope| {
        let echo = scope.spawn(move || -> Result<()> {
            for _ in 0..TRIPS {
                there.receive()?;
                there.send()?;
            }
            Ok(())
        });
        let mut times = Vec::with_capacity(TRIPS);
        for _ in 0..TRIPS {
            let start = Instant::now();
            here.send()?;
            here.receive()?;
            times.push(start.elapsed() / 2);
        }
        echo.join().map_err(|_| "the echo panicked")??;
        times.sort_unstable();
        Ok(times)
    })
}

/// What is at both ends of a cable of its own.
struct Cable {
    name: &'static str,
    ends: [Box<dyn Way>; 2],
}

fn cable(lab: &Lab, name: &'static str) -> Result<Cable> {
    let hosts = [lab.host("left")?, lab.host("right")?];
    let names = lab.cable([&hosts[0], &hosts[1]], 9000)?;
    let addresses = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
    for end in 0..2 {
        hosts[end].add_address(&names[end], IpAddr::V4(addresses[end]), 24)?;
    }
    let end = |me: usize| match name {
        "udp" => udp(&hosts[me], addresses[me], addresses[1 - me]),
        "link, AF_PACKET" => link(&hosts[me], &names[me], Driver::Packet, me),
        _ => link(&hosts[me], &names[me], Driver::Xdp, me),
    };
    let ends = [end(0)?, end(1)?];
    Ok(Cable { name, ends })
}

fn main() -> Result<()> {
    let rounds: usize = std::env::args().nth(1).map_or(Ok(10), |n| n.parse())?;
    let lab = Lab::enter_as_root()?;
    let names = ["udp", "link, AF_PACKET", "link, AF_XDP"];
    let mut cables = names
        .into_iter()
        .map(|name| cable(&lab, name))
        .collect::<Result<Vec<_>>>()?;
    let mut medians = vec![Vec::new(); cables.len()];
    // In turns, so that what else the machine does hits all alike.
    for _ in 0..rounds {
        for (cable, medians) in cables.iter_mut().zip(&mut medians) {
            let times = play(&mut cable.ends)?;
            medians.push(times[times.len() / 2]);
        }
    }
    println!(
        "half round trip of 8 bytes, median of each round: best and median of {rounds} rounds"
    );
    let mut reference = None;
    for (cable, medians) in cables.iter().zip(&mut medians) {
        medians.sort_unstable();
        let middle = medians[medians.len() / 2];
        let reference = *reference.get_or_insert(middle);
        println!(
            "{:20} {:8.2} us {:8.2} us   {:.2} of udp",
            cable.name,
            medians[0].as_secs_f64() * 1e6,
            middle.as_secs_f64() * 1e6,
            middle.as_secs_f64() / reference.as_secs_f64(),
        );
    }
    Ok(())
}
