//! Records as tables on the terminal.

use std::collections::{BTreeMap, BTreeSet};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::bars::Figure;
use crate::record::{Path, Percentiles, Ratio, Record, Restart, Wait};
use crate::units;

/// Best figures of one path, one line of the summary.
#[derive(Default)]
struct Line {
    latency: BTreeMap<u64, Percentiles>,
    bandwidth: BTreeMap<u64, f64>,
    rate: Option<f64>,
}

/// One table for a whole run: a line a path, latency at a small and at a medium size, bandwidth, rate.
pub(crate) fn summary(records: &[Record]) -> String {
    let mut lines: BTreeMap<(Path, Wait), Line> = BTreeMap::new();
    for record in records {
        match record {
            Record::PingPong(r) => {
                let line = lines
                    .entry((r.path.over(r.link.as_deref()), r.wait))
                    .or_default();
                line.latency.insert(r.size, r.half_rtt_ns);
            }
            Record::Stream(r) => {
                let line = lines
                    .entry((r.path.over(r.link.as_deref()), r.wait))
                    .or_default();
                line.bandwidth.insert(r.size, r.mb_per_s);
            }
            Record::Rate(r) => {
                let line = lines
                    .entry((r.path.over(r.link.as_deref()), r.wait))
                    .or_default();
                line.rate = Some(line.rate.unwrap_or(0.0).max(r.msgs_per_s));
            }
            Record::Exchange(_)
            | Record::Restart(_)
            | Record::Ratio(_)
            | Record::Held(_)
            | Record::Calls(_) => {}
        }
    }
    let small = common_size(lines.values().map(|line| &line.latency), 8);
    let medium = common_size(lines.values().map(|line| &line.latency), 4096);
    let mut table = plain_table();
    table.set_header(vec![
        "path".to_owned(),
        "waiting by".to_owned(),
        format!("half round trip\n{}: median", units::size(small)),
        "\n99 %".to_owned(),
        format!("half round trip\n{}: median", units::size(medium)),
        "\n99 %".to_owned(),
        "bandwidth\nMB/s".to_owned(),
        "messages\na second".to_owned(),
    ]);
    for ((path, wait), line) in &lines {
        let at = |size, pick: fn(&Percentiles) -> u64| {
            line.latency
                .get(&size)
                .map_or_else(dash, |p| units::nanoseconds(pick(p)))
        };
        let best = line.bandwidth.iter().max_by(|a, b| a.1.total_cmp(b.1));
        table.add_row(vec![
            path.to_string(),
            wait.to_string(),
            at(small, |p| p.p50),
            at(small, |p| p.p99),
            at(medium, |p| p.p50),
            at(medium, |p| p.p99),
            best.map_or_else(dash, |(size, mb)| {
                format!("{} at {}", units::three_figures(*mb), units::size(*size))
            }),
            line.rate.map_or_else(dash, units::count),
        ]);
    }
    align_figures(&mut table, 2);
    table.to_string()
}

/// The size nearest to `wanted` among those measured, the same for all lines.
fn common_size<'a>(
    lines: impl Iterator<Item = &'a BTreeMap<u64, Percentiles>>,
    wanted: u64,
) -> u64 {
    let sizes: BTreeSet<u64> = lines.flat_map(|latency| latency.keys().copied()).collect();
    sizes
        .into_iter()
        .min_by_key(|size| size.abs_diff(wanted))
        .unwrap_or(wanted)
}

/// Names of the columns of [`cells`].
const COLUMNS: [&str; 10] = [
    "test",
    "path",
    "waiting by",
    "size",
    "median",
    "99 %",
    "99.9 %",
    "MB/s",
    "messages/s",
    "processor",
];

/// Every measurement on a line of its own, for the `perf` commands.
pub(crate) fn details(records: &[Record]) -> String {
    let mut table = plain_table();
    let (head, lines) = lines(records);
    table.set_header(head);
    table.add_rows(lines);
    align_figures(&mut table, 3);
    table.to_string()
}

/// Names of columns, and every measurement as a line; without the processor's time where nobody has measured it.
pub(crate) fn lines(records: &[Record]) -> (Vec<String>, Vec<Vec<String>>) {
    let lines = records.iter().filter_map(cells);
    let mut lines: Vec<Vec<String>> = lines.map(Vec::from).collect();
    let mut head = COLUMNS.map(str::to_owned).to_vec();
    if lines.iter().all(|line| line.last() == Some(&dash())) {
        head.pop();
        for line in &mut lines {
            line.pop();
        }
    }
    (head, lines)
}

/// One measurement as a line of a table; `None` for what is told in words.
fn cells(record: &Record) -> Option<[String; 10]> {
    let (test, path, wait, size, figures) = match record {
        Record::PingPong(r) => {
            let p = r.half_rtt_ns;
            let [p50, p99, p999] = [p.p50, p.p99, p.p999].map(units::nanoseconds);
            (
                "half round trip",
                &r.path,
                r.wait,
                r.size,
                [p50, p99, p999, dash(), dash(), dash()],
            )
        }
        Record::Stream(r) => {
            let rate = units::three_figures(r.mb_per_s);
            let cpu = r.cpu_s_per_gib;
            let cpu = cpu.map_or_else(dash, |cpu| Figure::CpuPerGib.show(cpu));
            (
                "stream",
                &r.path,
                r.wait,
                r.size,
                [dash(), dash(), dash(), rate, dash(), cpu],
            )
        }
        Record::Rate(r) => {
            let rate = units::count(r.msgs_per_s);
            let cpu = r.cpu_s_per_million;
            let cpu = cpu.map_or_else(dash, |cpu| Figure::CpuPerMillion.show(cpu));
            (
                "rate",
                &r.path,
                r.wait,
                r.size,
                [dash(), dash(), dash(), dash(), rate, cpu],
            )
        }
        Record::Exchange(_)
        | Record::Restart(_)
        | Record::Ratio(_)
        | Record::Held(_)
        | Record::Calls(_) => {
            return None;
        }
    };
    let [p50, p99, p999, bandwidth, rate, cpu] = figures;
    let (path, wait) = (path.to_string(), wait.to_string());
    Some([
        test.to_owned(),
        path,
        wait,
        units::size(size),
        p50,
        p99,
        p999,
        bandwidth,
        rate,
        cpu,
    ])
}

/// The verdicts of a run in sentences: what was verified, what a restart cost.
pub(crate) fn verdicts(records: &[Record]) -> String {
    let mut text = String::new();
    for record in records {
        match record {
            Record::Exchange(r) => text.push_str(&format!(
                "{} guests exchanged {} messages of 0 B to {}, {} in all: every byte was right.\n",
                r.guests,
                r.messages,
                units::size(r.largest),
                units::size(r.bytes),
            )),
            Record::Restart(r) => text.push_str(&restart(r)),
            Record::Ratio(r) => text.push_str(&format!("{}.\n", ratio(r))),
            Record::Held(held) => text.push_str(&format!("{}.\n", held.verdict())),
            Record::PingPong(_) | Record::Stream(_) | Record::Rate(_) | Record::Calls(_) => {}
        }
    }
    text
}

/// A ratio in a sentence.
fn ratio(r: &Ratio) -> String {
    let met = if r.met { "met" } else { "MISSED" };
    format!(
        "{}, {}: {}, the bar is {}: {met}",
        r.of,
        r.waiting(),
        units::three_figures(r.value),
        r.bar
    )
}

fn restart(r: &Restart) -> String {
    let times = if r.kills == 1 {
        "once".to_owned()
    } else {
        format!("{} times", r.kills)
    };
    let mut text = format!(
        "A back end was killed {times} in the middle of a stream: sent {}, delivered {}, lost {}, duplicated {}, \
         reordered {}; the network path paused for {} ms",
        r.sent,
        r.delivered,
        r.lost,
        r.duplicated,
        r.reordered,
        units::three_figures(r.outage_ms),
    );
    if let Some(gap) = r.direct_gap_ms {
        text.push_str(&format!(
            ", direct channels for {} ms at most",
            units::three_figures(gap)
        ));
    }
    text.push_str(".\n");
    text
}

/// A table in the style of this command.
pub(crate) fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Figures stand at the right from column `first` on.
pub(crate) fn align_figures(table: &mut Table, first: usize) {
    for column in table.column_iter_mut().skip(first) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Exchange, PingPong, Rate, Stream};

    fn pingpong(path: Path, size: u64, p50: u64) -> Record {
        let half_rtt_ns = Percentiles {
            p50,
            p99: p50 * 2,
            p999: p50 * 3,
        };
        Record::PingPong(PingPong {
            path,
            size,
            half_rtt_ns,
            wait: Wait::Spin,
            iterations: 10,
            link: None,
        })
    }

    fn run() -> Vec<Record> {
        vec![
            pingpong(Path::Wire, 8, 11_300),
            pingpong(Path::Wire, 4096, 15_000),
            pingpong(Path::Direct, 8, 431),
            Record::Stream(Stream {
                path: Path::Direct,
                size: 1 << 20,
                mb_per_s: 9876.0,
                wait: Wait::Spin,
                messages: 5,
                link: None,
                cpu_s_per_gib: None,
            }),
            Record::Rate(Rate {
                path: Path::Direct,
                size: 8,
                msgs_per_s: 5.4e6,
                wait: Wait::Spin,
                messages: 5,
                link: None,
                cpu_s_per_million: None,
            }),
            Record::Exchange(Exchange {
                guests: 4,
                messages: 96,
                bytes: 1 << 30,
                largest: 16 << 20,
            }),
        ]
    }

    #[test]
    fn the_summary_has_one_line_a_path_with_its_figures() {
        let text = summary(&run());
        let line = |word: &str| {
            text.lines()
                .find(|line| line.contains(word))
                .unwrap()
                .to_owned()
        };
        let direct = line("direct");
        for figure in ["431 ns", "862 ns", "9876 at 1 MiB", "5.40 M"] {
            assert!(direct.contains(figure), "{figure} in {direct}");
        }
        let wire = line("wire");
        for figure in ["11.3 us", "22.6 us", "15.0 us"] {
            assert!(wire.contains(figure), "{figure} in {wire}");
        }
        assert!(
            text.find("direct") < text.find("wire"),
            "the shortest path comes first"
        );
    }

    #[test]
    fn the_details_have_one_line_a_measurement() {
        let text = details(&run());
        assert_eq!(
            text.lines()
                .filter(|line| line.contains("half round trip"))
                .count(),
            3
        );
        assert!(text.contains("33.9 us"), "99.9 % of 11.3 us: {text}");
        assert!(!text.contains("exchange"));
    }

    #[test]
    fn a_loss_is_told_as_plainly_as_its_absence() {
        let restart = |lost| {
            Record::Restart(Restart {
                sent: 100,
                delivered: 100 - lost,
                lost,
                duplicated: 0,
                reordered: 0,
                outage_ms: 41.0,
                direct_gap_ms: Some(0.5),
                kills: 2,
                timeline: None,
            })
        };
        let text = verdicts(&[run()[5].clone(), restart(0)]);
        assert!(
            text.contains("96 messages of 0 B to 16 MiB, 1 GiB in all"),
            "{text}"
        );
        assert!(
            text.contains("2 times") && text.contains("lost 0,"),
            "{text}"
        );
        assert!(
            text.contains("41.0 ms") && text.contains("0.50 ms at most"),
            "{text}"
        );
        assert!(verdicts(&[restart(3)]).contains("delivered 97, lost 3,"));
    }
}
