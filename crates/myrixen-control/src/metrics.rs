//! A snapshot as Prometheus text (exposition format 0.0.4), written by hand: it is a dozen families.

use std::fmt::{self, Write};

use crate::counters::{DropCounts, DropReason};
use crate::status::{Guest, Port, Snapshot, Uplink};

/// Escapes a label's value: backslash, quote and newline.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// The text under construction.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn put(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.0.write_fmt(line);
    }

    /// A family of one value without labels.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl fmt::Display) {
        self.family(name, kind, help);
        self.put(format_args!("{name} {value}\n"));
    }
}

/// The snapshot as Prometheus text.
///
/// Drop reasons that have not happened are written as 0 for the uplinks and the guests' sum, so that
/// a rate can be formed from the first drop on; for each port only those that happened, since a host
/// may have thousands of ports.
pub fn prometheus(snapshot: &Snapshot) -> String {
    let mut text = Text(String::with_capacity(4096));
    whole(&mut text, snapshot);
    workers(&mut text, snapshot);
    guests(&mut text, &snapshot.guests);
    ports(&mut text, &snapshot.ports);
    uplinks(&mut text, &snapshot.uplinks);
    text.0
}

fn whole(text: &mut Text, snapshot: &Snapshot) {
    let status = &snapshot.status;
    text.family(
        "myrixen_info",
        "gauge",
        "The daemon's version and host name.",
    );
    let (version, host) = (Escaped(&status.version), Escaped(&status.host));
    text.put(format_args!(
        "myrixen_info{{version=\"{version}\",host=\"{host}\"}} 1\n"
    ));
    text.single(
        "myrixen_uptime_seconds",
        "gauge",
        "Since the daemon started.",
        status.uptime,
    );
    text.single(
        "myrixen_draining",
        "gauge",
        "1 while stopping.",
        u8::from(status.draining),
    );
    text.single(
        "myrixen_boards",
        "gauge",
        "Boards of this host.",
        status.boards,
    );
    text.single("myrixen_guests", "gauge", "Attached guests.", status.guests);
    text.single(
        "myrixen_guests_max",
        "gauge",
        "Guests that may attach.",
        status.max_guests,
    );
    text.single("myrixen_ports", "gauge", "Open endpoints.", status.ports);
    text.single(
        "myrixen_direct_channels",
        "gauge",
        "Direct channels.",
        status.direct,
    );
    text.single(
        "myrixen_peers",
        "gauge",
        "Boards of other hosts.",
        snapshot.peers.len(),
    );
    text.family(
        "myrixen_refused_total",
        "counter",
        "Guests refused, by reason.",
    );
    for (reason, n) in &status.refused {
        text.put(format_args!(
            "myrixen_refused_total{{reason=\"{}\"}} {n}\n",
            Escaped(reason)
        ));
    }
    text.family(
        "myrixen_faults_total",
        "counter",
        "Guests detached for what they did, by fault.",
    );
    for (fault, n) in &status.faults {
        text.put(format_args!(
            "myrixen_faults_total{{fault=\"{}\"}} {n}\n",
            Escaped(fault)
        ));
    }
}

fn workers(text: &mut Text, snapshot: &Snapshot) {
    type Pick = fn(&crate::status::WorkerStatus) -> u64;
    let families: [(&str, &str, Pick); 4] = [
        (
            "myrixen_worker_turns_total",
            "Rounds over all ports and uplinks.",
            |w| w.turns,
        ),
        (
            "myrixen_worker_busy_turns_total",
            "Rounds that moved something.",
            |w| w.busy_turns,
        ),
        (
            "myrixen_worker_sleeps_total",
            "Times the worker slept.",
            |w| w.sleeps,
        ),
        ("myrixen_worker_bells_total", "Doorbells rung.", |w| w.bells),
    ];
    for (name, help, pick) in families {
        text.family(name, "counter", help);
        for (number, worker) in snapshot.status.workers.iter().enumerate() {
            text.put(format_args!(
                "{name}{{worker=\"{number}\"}} {}\n",
                pick(worker)
            ));
        }
    }
    let name = "myrixen_worker_drops_total";
    text.family(
        name,
        "counter",
        "Frames between workers dropped, by reason.",
    );
    for (number, worker) in snapshot.status.workers.iter().enumerate() {
        drops(
            text,
            name,
            &format!("worker=\"{number}\""),
            &worker.drops,
            false,
        );
    }
}

fn guests(text: &mut Text, guests: &[Guest]) {
    text.family(
        "myrixen_requests_total",
        "counter",
        "Requests of a guest, by result.",
    );
    for guest in guests {
        let (id, board) = (guest.id, Escaped(&guest.board));
        let labels = format_args!("guest=\"{id}\",board=\"{board}\"").to_string();
        let refused = guest.counters.refusals;
        let done = guest.counters.requests.saturating_sub(refused);
        text.put(format_args!(
            "myrixen_requests_total{{{labels},result=\"done\"}} {done}\n"
        ));
        text.put(format_args!(
            "myrixen_requests_total{{{labels},result=\"refused\"}} {refused}\n"
        ));
    }
    text.family(
        "myrixen_guest_drops_total",
        "counter",
        "Frames of a guest dropped, by reason.",
    );
    for guest in guests {
        let labels = format!("guest=\"{}\",board=\"{}\"", guest.id, Escaped(&guest.board));
        drops(
            text,
            "myrixen_guest_drops_total",
            &labels,
            &guest.counters.ports.drops,
            true,
        );
    }
}

fn ports(text: &mut Text, ports: &[Port]) {
    type Pick = fn(&Port) -> u64;
    let families: [(&str, &str, Pick, Pick); 2] = [
        (
            "myrixen_port_frames_total",
            "Frames from and to an endpoint.",
            |p| p.counters.sent_frames,
            |p| p.counters.received_frames,
        ),
        (
            "myrixen_port_bytes_total",
            "Bytes from and to an endpoint.",
            |p| p.counters.sent_bytes,
            |p| p.counters.received_bytes,
        ),
    ];
    let labels = |p: &Port| {
        format!(
            "guest=\"{}\",board=\"{}\",endpoint=\"{}\"",
            p.guest,
            Escaped(&p.board),
            p.endpoint
        )
    };
    for (name, help, sent, received) in families {
        text.family(name, "counter", help);
        for port in ports {
            let labels = labels(port);
            text.put(format_args!(
                "{name}{{{labels},direction=\"sent\"}} {}\n",
                sent(port)
            ));
            text.put(format_args!(
                "{name}{{{labels},direction=\"received\"}} {}\n",
                received(port)
            ));
        }
    }
    text.family(
        "myrixen_port_nacks_total",
        "counter",
        "Nacks to an endpoint.",
    );
    for port in ports {
        let n = port.counters.nacks;
        text.put(format_args!(
            "myrixen_port_nacks_total{{{}}} {n}\n",
            labels(port)
        ));
    }
    text.family(
        "myrixen_port_drops_total",
        "counter",
        "Frames of an endpoint dropped, by reason.",
    );
    for port in ports {
        drops(
            text,
            "myrixen_port_drops_total",
            &labels(port),
            &port.counters.drops,
            false,
        );
    }
}

fn uplinks(text: &mut Text, uplinks: &[Uplink]) {
    type Pick = fn(&Uplink) -> u64;
    let families: [(&str, &str, Pick); 6] = [
        ("myrixen_uplink_sent_frames_total", "Frames sent.", |u| {
            u.counters.sent_frames
        }),
        ("myrixen_uplink_sent_bytes_total", "Bytes sent.", |u| {
            u.counters.sent_bytes
        }),
        (
            "myrixen_uplink_received_frames_total",
            "Frames received.",
            |u| u.counters.received_frames,
        ),
        (
            "myrixen_uplink_received_bytes_total",
            "Bytes received.",
            |u| u.counters.received_bytes,
        ),
        (
            "myrixen_uplink_nacks_total",
            "Nacks sent to the wire.",
            |u| u.counters.nacks,
        ),
        (
            "myrixen_uplink_waits_total",
            "Times a guest waited for room.",
            |u| u.counters.waits,
        ),
    ];
    for (name, help, pick) in families {
        text.family(name, "counter", help);
        for uplink in uplinks {
            text.put(format_args!(
                "{name}{{uplink=\"{}\"}} {}\n",
                Escaped(&uplink.name),
                pick(uplink)
            ));
        }
    }
    text.family(
        "myrixen_uplink_drops_total",
        "counter",
        "Frames from the wire dropped, by reason.",
    );
    for uplink in uplinks {
        let labels = format!("uplink=\"{}\"", Escaped(&uplink.name));
        drops(
            text,
            "myrixen_uplink_drops_total",
            &labels,
            &uplink.counters.drops,
            true,
        );
    }
    text.family(
        "myrixen_link_total",
        "counter",
        "What the link itself counts.",
    );
    for uplink in uplinks {
        for (what, n) in &uplink.link {
            let (name, what) = (Escaped(&uplink.name), Escaped(what));
            text.put(format_args!(
                "myrixen_link_total{{uplink=\"{name}\",what=\"{what}\"}} {n}\n"
            ));
        }
    }
}

fn drops(text: &mut Text, name: &str, labels: &str, drops: &DropCounts, zeros: bool) {
    for &reason in DropReason::ALL {
        let n = drops.get(reason);
        if n > 0 || zeros {
            text.put(format_args!("{name}{{{labels},reason=\"{reason}\"}} {n}\n"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{PortCounters, UplinkCounters};
    use mxoe::addr::NicAddr;

    fn snapshot() -> Snapshot {
        let mut counters = PortCounters {
            sent_frames: 3,
            ..PortCounters::default()
        };
        counters.drops.count(DropReason::RingFull);
        Snapshot {
            ports: vec![Port {
                guest: 7,
                mac: NicAddr::new([2, 0, 0, 0, 0, 10]),
                board: "a\"b:0".into(),
                endpoint: 4,
                worker: 0,
                counters,
            }],
            uplinks: vec![Uplink {
                name: "wire".into(),
                counters: UplinkCounters {
                    sent_frames: 5,
                    ..UplinkCounters::default()
                },
                ..Uplink::default()
            }],
            ..Snapshot::default()
        }
    }

    #[test]
    fn each_family_is_announced_once_before_its_values() {
        let text = prometheus(&snapshot());
        let mut announced = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap().to_owned();
                assert!(!announced.contains(&name), "{name} twice");
                announced.push(name);
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                assert_eq!(announced.last().map(String::as_str), Some(name), "{line}");
                line.rsplit(' ')
                    .next()
                    .unwrap()
                    .parse::<f64>()
                    .expect("a number at the end");
            }
        }
    }

    #[test]
    fn labels_are_escaped_and_drops_have_reasons() {
        let text = prometheus(&snapshot());
        let port = r#"guest="7",board="a\"b:0",endpoint="4""#;
        assert!(text.contains(&format!(
            "myrixen_port_drops_total{{{port},reason=\"ring_full\"}} 1\n"
        )));
        assert!(!text.contains(&format!(
            "myrixen_port_drops_total{{{port},reason=\"malformed\"}}"
        )));
        assert!(
            text.contains("myrixen_uplink_drops_total{uplink=\"wire\",reason=\"malformed\"} 0\n")
        );
        assert!(text.contains("myrixen_uplink_sent_frames_total{uplink=\"wire\"} 5\n"));
    }
}
