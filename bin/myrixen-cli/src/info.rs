//! `myrixen info`: what there is, as an operator sees it and as a guest sees it.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use myrixen::Fabric;
use myrixen_control::{Client, ClientError, Reply, Request, Snapshot};

use crate::cli::InfoArgs;
use crate::output;
use crate::perf;
use crate::report::table::plain_table;

/// Prints what the daemon says if it lets us ask, and otherwise what any guest may know.
pub(crate) fn run(args: &InfoArgs) -> anyhow::Result<()> {
    let unreachable = match snapshot(&args.control.control) {
        Ok(snapshot) if args.json => {
            return output::print(&format!("{}\n", serde_json::to_string_pretty(&snapshot)?));
        }
        Ok(snapshot) => {
            return output::print(&describe(&snapshot));
        }
        Err(error) => error,
    };
    if args.json
        || !matches!(
            unreachable.downcast_ref(),
            Some(ClientError::Unreachable { .. })
        )
    {
        return Err(unreachable);
    }
    let fabric = perf::join(&args.attach)
        .with_context(|| format!("the daemon cannot be asked either: {unreachable:#}"))?;
    let seen = describe_fabric(&fabric)?;
    output::print(&format!("{seen}\n(as a guest sees it; {unreachable:#})\n"))
}

/// Everything the daemon says about itself.
pub(crate) fn snapshot(control: &Path) -> anyhow::Result<Snapshot> {
    match Client::connect(control)?.ask(&Request::Counters)? {
        Reply::Counters(snapshot) => Ok(*snapshot),
        Reply::Refused(why) => bail!("the daemon refused to tell: {why}"),
        other => bail!("the daemon answered something else: {other:?}"),
    }
}

/// What it says, as tables.
pub(crate) fn describe(snapshot: &Snapshot) -> String {
    let status = &snapshot.status;
    let mut text = format!(
        "Host {}: myrixend {}, process {}, up {}{}\n{} of {} guests, {} endpoints, {} direct channels\n",
        status.host,
        status.version,
        status.pid,
        duration(status.uptime),
        if status.draining { ", draining" } else { "" },
        status.guests,
        status.max_guests,
        status.ports,
        status.direct
    );
    describe_network(&mut text, snapshot);
    describe_guests(&mut text, snapshot);
    describe_peers(&mut text, snapshot);
    text
}

fn describe_network(text: &mut String, snapshot: &Snapshot) {
    let status = &snapshot.status;
    section(
        text,
        "Partitions",
        &["partition", "dialect", "largest frame", "uplink", "boards"],
        {
            status.partitions.iter().map(|p| {
                let uplink = p.uplink.clone().unwrap_or_else(|| "-".to_owned());
                [
                    p.name.clone(),
                    p.dialect.clone(),
                    p.mtu.to_string(),
                    uplink,
                    p.boards.to_string(),
                ]
            })
        },
    );
    section(
        text,
        "Uplinks",
        &["uplink", "kind", "largest frame", "partitions"],
        {
            snapshot.uplinks.iter().map(|u| {
                let partitions: Vec<String> = u
                    .partitions
                    .iter()
                    .map(|p| format!("{} ({})", p.partition, p.tag))
                    .collect();
                [
                    u.name.clone(),
                    u.kind.clone(),
                    u.mtu.to_string(),
                    partitions.join(", "),
                ]
            })
        },
    );
}

fn describe_guests(text: &mut String, snapshot: &Snapshot) {
    section(
        text,
        "Boards of this host",
        &["board", "MAC", "partition", "owner", "endpoints"],
        {
            snapshot.boards.iter().map(|b| {
                let endpoints: Vec<String> = b.endpoints.iter().map(u8::to_string).collect();
                let mac = b.mac.to_string();
                [
                    b.name.clone(),
                    mac,
                    b.partition.clone(),
                    b.owner.clone(),
                    endpoints.join(" "),
                ]
            })
        },
    );
    section(
        text,
        "Guests",
        &[
            "guest",
            "process",
            "board",
            "endpoints",
            "direct",
            "attached",
        ],
        {
            snapshot.guests.iter().map(|g| {
                let counts = [g.ports.to_string(), g.direct.to_string()];
                let [ports, direct] = counts;
                [
                    g.id.to_string(),
                    g.pid.to_string(),
                    g.board.clone(),
                    ports,
                    direct,
                    duration(g.age),
                ]
            })
        },
    );
}

fn describe_peers(text: &mut String, snapshot: &Snapshot) {
    section(
        text,
        "Peers",
        &["board", "MAC", "partition", "uplink", "last heard"],
        {
            snapshot.peers.iter().map(|p| {
                let name = p.name.clone().unwrap_or_else(|| "(no name yet)".to_owned());
                let heard = format!("{} ago", duration(p.silent));
                [
                    name,
                    p.mac.to_string(),
                    p.partition.clone(),
                    p.uplink.clone(),
                    heard,
                ]
            })
        },
    );
}

fn describe_fabric(fabric: &Fabric) -> anyhow::Result<String> {
    let own = fabric.board();
    let mut text = format!(
        "Board {} ({}), partition {}, dialect {}, frames of up to {} bytes, up to {} endpoints\n",
        own.name, own.nic, own.partition, own.dialect, own.max_frame, own.max_endpoints
    );
    let boards = fabric.boards()?;
    section(&mut text, "Boards", &["board", "MAC", "where"], {
        boards.iter().map(|board| {
            let place = if board.local {
                "this host"
            } else {
                "the network"
            };
            [perf::name(board), board.nic.to_string(), place.to_owned()]
        })
    });
    Ok(text)
}

/// A table with a title; a sentence if there are no rows.
fn section<const N: usize>(
    text: &mut String,
    title: &str,
    header: &[&str; N],
    rows: impl Iterator<Item = [String; N]>,
) {
    let mut table = plain_table();
    table.set_header(header);
    let mut empty = true;
    for row in rows {
        table.add_row(row);
        empty = false;
    }
    // Writing to a string cannot fail.
    let _ = if empty {
        write!(text, "\n{title}: none\n")
    } else {
        write!(text, "\n{title}\n{table}\n")
    };
}

/// Seconds in the largest units that say enough: `42 s`, `3 h 05 min`, `12 d 4 h`.
fn duration(seconds: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bounded before"
    )]
    let seconds = seconds.clamp(0.0, 1e12) as u64;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes} min {:02} s", seconds % 60),
        3600..86_400 => format!("{hours} h {:02} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use myrixen_control::{Board, Guest, Partition, Peer, Status};

    #[test]
    fn everything_an_operator_asks_for_is_shown() {
        let mac = |text: &str| text.parse().unwrap();
        let snapshot = Snapshot {
            status: Status {
                host: "node7".to_owned(),
                guests: 1,
                max_guests: 64,
                partitions: vec![Partition {
                    name: "blue".to_owned(),
                    ..Partition::default()
                }],
                ..Status::default()
            },
            boards: vec![Board {
                mac: mac("02:00:00:00:00:01"),
                name: "node7:0".to_owned(),
                partition: "blue".to_owned(),
                owner: "user 1000".to_owned(),
                guests: vec![5],
                endpoints: vec![0, 3],
            }],
            guests: vec![Guest {
                id: 5,
                pid: 4711,
                owner: "user 1000".to_owned(),
                mac: mac("02:00:00:00:00:01"),
                board: "node7:0".to_owned(),
                partition: "blue".to_owned(),
                age: 3700.0,
                ports: 2,
                direct: 1,
                counters: Default::default(),
            }],
            peers: vec![Peer {
                mac: mac("02:00:00:00:00:09"),
                name: None,
                index: 1,
                partition: "blue".to_owned(),
                uplink: "eth".to_owned(),
                silent: 12.0,
            }],
            ..Snapshot::default()
        };
        let text = describe(&snapshot);
        for shown in [
            "node7",
            "1 of 64 guests",
            "0 3",
            "4711",
            "1 h 01 min",
            "(no name yet)",
            "12 s ago",
        ] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
        assert!(text.contains("Uplinks: none"), "{text}");
    }

    #[test]
    fn times_are_told_in_units_that_fit() {
        assert_eq!(duration(42.9), "42 s");
        assert_eq!(duration(185.0), "3 min 05 s");
        assert_eq!(duration(4.0 * 3600.0), "4 h 00 min");
        assert_eq!(duration(1_051_200.0), "12 d 4 h");
        assert_eq!(duration(-1.0), "0 s");
    }
}
