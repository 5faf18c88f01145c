//! `myrixen counters`: what the daemon has counted, once or again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::bail;
use myrixen_control::{Client, DropCounts, PortCounters, Reply, Request, Snapshot};

use crate::cli::CountersArgs;
use crate::info;
use crate::output;
use crate::report::table::{align_figures, plain_table};

/// Prints the counters as the arguments say.
pub(crate) fn run(args: &CountersArgs) -> anyhow::Result<()> {
    if args.prometheus {
        return match Client::connect(&args.control.control)?.ask(&Request::Metrics)? {
            Reply::Metrics(text) => output::print(&text),
            Reply::Refused(why) => bail!("the daemon refused to tell: {why}"),
            other => bail!("the daemon answered something else: {other:?}"),
        };
    }
    let Some(pause) = args.watch else {
        return output::print(&now(&info::snapshot(&args.control.control)?));
    };
    watch(args, pause)
}

/// The counters of this moment, as a table.
pub(crate) fn now(snapshot: &Snapshot) -> String {
    describe(&flatten(snapshot), None)
}

/// Prints the counters again and again until interrupted. A daemon that is started again is asked again.
fn watch(args: &CountersArgs, pause: Duration) -> anyhow::Result<()> {
    let mut before = flatten(&info::snapshot(&args.control.control)?);
    output::print(&describe(&before, None))?;
    loop {
        std::thread::sleep(pause);
        match info::snapshot(&args.control.control) {
            Ok(snapshot) => {
                let now = flatten(&snapshot);
                // Home and clear on a terminal would fight with scrolling back: a blank line divides.
                output::print(&format!("\n{}", describe(&now, Some((&before, pause)))))?;
                before = now;
            }
            Err(error) => eprintln!("{error:#}"),
        }
    }
}

/// One line of counters: whose they are, what is counted.
type Name = (String, String);
type Counters = BTreeMap<Name, u64>;

/// All counters that are worth a line: those that every port and uplink has, and of the rest those above 0.
fn flatten(snapshot: &Snapshot) -> Counters {
    let mut all = Counters::new();
    for port in &snapshot.ports {
        let who = format!("endpoint {}:{}", port.board, port.endpoint);
        let PortCounters {
            sent_frames,
            sent_bytes,
            received_frames,
            received_bytes,
            nacks,
            drops,
        } = &port.counters;
        traffic(
            &mut all,
            &who,
            [*sent_frames, *sent_bytes, *received_frames, *received_bytes],
        );
        rare(&mut all, &who, "nacks", *nacks);
        dropped(&mut all, &who, drops);
    }
    for uplink in &snapshot.uplinks {
        let who = format!("uplink {}", uplink.name);
        let c = &uplink.counters;
        traffic(
            &mut all,
            &who,
            [
                c.sent_frames,
                c.sent_bytes,
                c.received_frames,
                c.received_bytes,
            ],
        );
        rare(&mut all, &who, "nacks", c.nacks);
        rare(&mut all, &who, "waits for room", c.waits);
        dropped(&mut all, &who, &c.drops);
        for (name, &count) in &uplink.link {
            rare(&mut all, &who, &format!("link: {name}"), count);
        }
    }
    for (reason, &count) in &snapshot.status.refused {
        rare(
            &mut all,
            "daemon",
            &format!("guests refused: {reason}"),
            count,
        );
    }
    for (fault, &count) in &snapshot.status.faults {
        rare(
            &mut all,
            "daemon",
            &format!("guests detached: {fault}"),
            count,
        );
    }
    all
}

fn traffic(all: &mut Counters, who: &str, counts: [u64; 4]) {
    let names = [
        "frames sent",
        "bytes sent",
        "frames received",
        "bytes received",
    ];
    for (name, count) in names.into_iter().zip(counts) {
        all.insert((who.to_owned(), name.to_owned()), count);
    }
}

fn rare(all: &mut Counters, who: &str, name: &str, count: u64) {
    if count > 0 {
        all.insert((who.to_owned(), name.to_owned()), count);
    }
}

fn dropped(all: &mut Counters, who: &str, drops: &DropCounts) {
    for (reason, count) in drops.iter() {
        rare(all, who, &format!("dropped: {}", reason.meaning()), count);
    }
}

/// The counters as a table, with their growth a second if there is something to compare with.
fn describe(now: &Counters, before: Option<(&Counters, Duration)>) -> String {
    if now.is_empty() {
        return "Nothing is counted yet: there is no endpoint and no uplink.\n".to_owned();
    }
    let mut table = plain_table();
    let mut header = vec!["of", "counter", "count"];
    header.extend(before.map(|_| "a second"));
    table.set_header(header);
    for (name, &count) in now {
        let (who, what) = name.clone();
        let mut row = vec![who, what, count.to_string()];
        if let Some((before, pause)) = before {
            let grown = count.saturating_sub(before.get(name).copied().unwrap_or(0));
            #[allow(
                clippy::cast_precision_loss,
                reason = "shown without digits after the point"
            )]
            row.push(format!("{:.0}", grown as f64 / pause.as_secs_f64()));
        }
        table.add_row(row);
    }
    align_figures(&mut table, 2);
    format!("{table}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use myrixen_control::{DropReason, Port, Uplink};

    fn snapshot(sent: u64) -> Snapshot {
        let mut counters = PortCounters {
            sent_frames: sent,
            ..PortCounters::default()
        };
        counters.drops.count(DropReason::RingFull);
        Snapshot {
            ports: vec![Port {
                guest: 1,
                mac: "02:00:00:00:00:01".parse().unwrap(),
                board: "a:0".to_owned(),
                endpoint: 3,
                worker: 0,
                counters,
            }],
            uplinks: vec![Uplink {
                name: "eth".to_owned(),
                ..Uplink::default()
            }],
            ..Snapshot::default()
        }
    }

    #[test]
    fn traffic_always_has_a_line_and_drops_have_one_when_they_happened() {
        let text = describe(&flatten(&snapshot(1234)), None);
        assert!(
            text.contains("endpoint a:0:3") && text.contains("1234"),
            "{text}"
        );
        assert!(text.contains(DropReason::RingFull.meaning()), "{text}");
        assert!(!text.contains(DropReason::Malformed.meaning()), "{text}");
        assert_eq!(text.matches("uplink eth").count(), 4, "{text}");
    }

    #[test]
    fn watching_shows_growth_a_second() {
        let (before, now) = (flatten(&snapshot(1000)), flatten(&snapshot(1500)));
        let text = describe(&now, Some((&before, Duration::from_secs(2))));
        let line = text.lines().find(|line| line.contains("1500")).unwrap();
        assert!(line.trim_end().ends_with("250"), "{line}");
    }

    #[test]
    fn a_daemon_that_has_nothing_says_so() {
        assert!(describe(&Counters::new(), None).contains("Nothing is counted yet"));
    }
}
