//! The report of a run: one page that needs nothing else, with plots and tables.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::plot::{Axis, Plot, Point, Scale, Series, escape};
use super::table;
use crate::record::{Path, PingPong, Record, Restart, Wait};
use crate::units;

/// What stands above the plots, beside what the records say.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    /// The page's title.
    pub(crate) title: String,
    /// Name and value of each fact about the run: machine, kernel, version.
    pub(crate) facts: Vec<(String, String)>,
    /// Sentences that a reader should not miss.
    pub(crate) notes: Vec<String>,
    /// SVGs that stand where curves over one size only would.
    pub(crate) charts: Vec<String>,
}

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 860px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
svg { width: 100%; height: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .9rem .25rem 0; text-align: right; } th { border-bottom: 1px solid #8888; }
th:first-child, td:first-child, th:nth-child(2), td:nth-child(2), th:nth-child(3), td:nth-child(3) { text-align: left; }
dl { display: grid; grid-template-columns: max-content auto; gap: .1rem 1rem; } dt { color: #888; } dd { margin: 0; }
p.note { border-left: 3px solid #e08214; padding-left: .8rem; }
p.good { border-left: 3px solid #1b9e77; padding-left: .8rem; }
p.bad { border-left: 3px solid #d33; padding-left: .8rem; font-weight: 600; }
footer { margin-top: 3rem; color: #888; font-size: .85rem; }
";

/// The page as a whole.
pub(crate) fn page(about: &About, records: &[Record]) -> String {
    let mut html = String::new();
    let _ = write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <title>{0}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{0}</h1>\n",
        escape(&about.title)
    );
    for note in &about.notes {
        let _ = writeln!(html, "<p class=\"note\">{}</p>", escape(note));
    }
    for record in records {
        let text = table::verdicts(std::slice::from_ref(record));
        if !text.is_empty() {
            let class = if is_clean(record) { "good" } else { "bad" };
            let _ = writeln!(html, "<p class=\"{class}\">{}</p>", escape(text.trim_end()));
        }
    }
    for chart in &about.charts {
        let _ = writeln!(html, "<figure>\n{chart}</figure>");
    }
    let charted = !about.charts.is_empty();
    let is_curve = |plot: &Plot| plot.series.iter().any(|series| series.points.len() > 1);
    for plot in plots(records) {
        if charted && !is_curve(&plot) {
            continue;
        }
        let _ = writeln!(html, "<figure>\n{}</figure>", plot.to_svg());
    }
    html.push_str("<h2>Figures</h2>\n<table>\n");
    write_rows(&mut html, records);
    html.push_str("</table>\n");
    write_facts(&mut html, about);
    let _ = writeln!(
        html,
        "<footer>myrixen {}. Curves: median; shaded: up to 99 %; dashed: sleeping; solid: spinning. \
         A pointer that rests on a point shows its figures.</footer>\n</body>\n</html>",
        env!("CARGO_PKG_VERSION")
    );
    html
}

fn is_clean(record: &Record) -> bool {
    match record {
        Record::Restart(restart) => restart.is_clean(),
        Record::Ratio(ratio) => ratio.met,
        Record::Held(held) => held.is_met(),
        _ => true,
    }
}

/// The plots that the records give something for.
pub(crate) fn plots(records: &[Record]) -> Vec<Plot> {
    let mut plots = vec![
        latency(records),
        bandwidth(records),
        rate(records),
        matching(records),
    ];
    plots.extend(records.iter().filter_map(|record| match record {
        Record::Restart(restart) => timeline(restart),
        _ => None,
    }));
    plots.retain(|plot| !plot.series.is_empty());
    plots
}

type Curves = BTreeMap<(Path, Wait), Vec<Point>>;

fn latency(records: &[Record]) -> Plot {
    let mut curves = Curves::new();
    for record in records {
        if let Record::PingPong(r) = record {
            curves
                .entry((r.path.over(r.link.as_deref()), r.wait))
                .or_default()
                .push(latency_point(r));
        }
    }
    let y = Axis {
        label: "half round trip",
        scale: Scale::Log,
        tick: tick_time,
    };
    by_size("Half round trip by message size", y, curves)
}

fn latency_point(r: &PingPong) -> Point {
    let p = r.half_rtt_ns;
    let [p50, p99, p999] = [p.p50, p.p99, p.p999].map(units::nanoseconds);
    let note = format!("{}: {p50}, 99 % {p99}, 99.9 % {p999}", units::size(r.size));
    Point {
        x: float(r.size),
        y: float(p.p50),
        upper: Some(float(p.p99)),
        note,
    }
}

fn bandwidth(records: &[Record]) -> Plot {
    let mut curves = Curves::new();
    for record in records {
        if let Record::Stream(r) = record {
            let note = format!(
                "{}: {} MB/s",
                units::size(r.size),
                units::three_figures(r.mb_per_s)
            );
            let point = Point {
                x: float(r.size),
                y: r.mb_per_s,
                upper: None,
                note,
            };
            curves
                .entry((r.path.over(r.link.as_deref()), r.wait))
                .or_default()
                .push(point);
        }
    }
    let y = Axis {
        label: "bandwidth, MB/s",
        scale: Scale::Log,
        tick: tick_count,
    };
    by_size("Bandwidth by message size, one way", y, curves)
}

fn rate(records: &[Record]) -> Plot {
    let mut curves = Curves::new();
    for record in records {
        if let Record::Rate(r) = record {
            let note = format!(
                "{}: {} messages/s",
                units::size(r.size),
                units::count(r.msgs_per_s)
            );
            let point = Point {
                x: float(r.size),
                y: r.msgs_per_s,
                upper: None,
                note,
            };
            curves
                .entry((r.path.over(r.link.as_deref()), r.wait))
                .or_default()
                .push(point);
        }
    }
    let y = Axis {
        label: "messages a second",
        scale: Scale::Log,
        tick: tick_count,
    };
    by_size("Message rate by message size, one way", y, curves)
}

/// What a message takes its receiver, by what stands before it.
fn matching(records: &[Record]) -> Plot {
    let mut curves: BTreeMap<&str, Vec<Point>> = BTreeMap::new();
    for record in records {
        if let Record::Held(held) = record
            && let ["match", of] = held.subject()
            && let Some((_, queue)) = of.split_once(' ')
            && let Some((entries, took)) = held.detail("entries").zip(held.detail("match_ns"))
        {
            let points = curves.entry(queue).or_default();
            points.push(Point {
                x: entries,
                y: took,
                upper: None,
                note: held.summary(),
            });
        }
    }
    let colours = [colour(&Path::Direct), colour(&Path::Native)];
    let series = curves.into_iter().zip(colours);
    Plot {
        title: "What a message takes its receiver, by what stands before it",
        x: Axis {
            label: "entries before it",
            scale: Scale::Log,
            tick: tick_count,
        },
        y: Axis {
            label: "time",
            scale: Scale::Log,
            tick: tick_time,
        },
        series: series
            .map(|((queue, points), colour)| Series {
                name: queue.to_owned(),
                colour,
                dashed: false,
                points,
            })
            .collect(),
        marks: Vec::new(),
    }
}

fn by_size(title: &'static str, y: Axis, curves: Curves) -> Plot {
    let series = curves.into_iter().map(|((path, wait), mut points)| {
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        let name = format!("{path}, {}", wait.manner());
        Series {
            name,
            colour: colour(&path),
            dashed: wait == Wait::Sleep,
            points,
        }
    });
    let x = Axis {
        label: "message size",
        scale: Scale::Size,
        tick: tick_size,
    };
    Plot {
        title,
        x,
        y,
        series: series.collect(),
        marks: Vec::new(),
    }
}

/// Deliveries over time around the restart of a back end.
fn timeline(restart: &Restart) -> Option<Plot> {
    let timeline = restart.timeline.as_ref().filter(|t| t.bin_ms > 0)?;
    let per_second = |count: u64| float(count) * 1000.0 / float(timeline.bin_ms);
    let curve = |name: &str, path: &Path, bins: &[u64]| Series {
        name: name.to_owned(),
        colour: colour(path),
        dashed: false,
        points: (0..)
            .zip(bins)
            .map(|(bin, &count)| Point {
                x: float(bin * timeline.bin_ms),
                y: per_second(count),
                upper: None,
                note: String::new(),
            })
            .collect(),
    };
    let killed = timeline
        .killed_ms
        .iter()
        .map(|&ms| (float(ms), "SIGKILL".to_owned()));
    Some(Plot {
        title: "Verified messages delivered around the death of a back end",
        x: Axis {
            label: "milliseconds",
            scale: Scale::Linear,
            tick: |v| format!("{v}"),
        },
        y: Axis {
            label: "messages a second",
            scale: Scale::Linear,
            tick: tick_count,
        },
        series: vec![
            curve("direct channels", &Path::Direct, &timeline.direct),
            curve("over the network", &Path::Wire, &timeline.wire),
        ],
        marks: killed.collect(),
    })
}

/// One colour a path, told apart by people who see colours differently too.
pub(super) fn colour(path: &Path) -> &'static str {
    match path {
        Path::Direct => "#1b9e77",
        Path::DirectLent => "#66a61e",
        Path::Switched => "#e08214",
        Path::Wire => "#377eb8",
        Path::WireOver(link) if link == "ethernet" => "#377eb8",
        Path::WireOver(_) => "#4daf4a",
        Path::Native => "#984ea3",
        Path::Mpi(name) if name == "myrixen" => "#1b9e77",
        Path::MpiWire(name) if name == "myrixen" => "#377eb8",
        Path::Peer(name) | Path::Mpi(name) | Path::MpiWire(name) => {
            const OTHERS: [&str; 5] = ["#777777", "#a6761d", "#e7298a", "#66a61e", "#999933"];
            OTHERS[name.bytes().map(usize::from).sum::<usize>() % OTHERS.len()]
        }
    }
}

fn write_rows(html: &mut String, records: &[Record]) {
    let mut write_row = |cells: &[String], tag: &str| {
        html.push_str("<tr>");
        for cell in cells {
            let _ = write!(html, "<{tag}>{}</{tag}>", escape(cell));
        }
        html.push_str("</tr>\n");
    };
    let (head, lines) = table::lines(records);
    write_row(&head, "th");
    for cells in &lines {
        write_row(cells, "td");
    }
}

fn write_facts(html: &mut String, about: &About) {
    if about.facts.is_empty() {
        return;
    }
    html.push_str("<h2>Measured on</h2>\n<dl>\n");
    for (name, value) in &about.facts {
        let _ = writeln!(html, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
    }
    html.push_str("</dl>\n");
}

fn tick_time(ns: f64) -> String {
    match ns {
        v if v < 1e3 => format!("{v} ns"),
        v if v < 1e6 => format!("{} us", v / 1e3),
        v if v < 1e9 => format!("{} ms", v / 1e6),
        v => format!("{} s", v / 1e9),
    }
}

fn tick_count(value: f64) -> String {
    match value {
        v if v < 1e3 => format!("{v}"),
        v if v < 1e6 => format!("{} k", v / 1e3),
        v if v < 1e9 => format!("{} M", v / 1e6),
        v => format!("{} G", v / 1e9),
    }
}

fn tick_size(bytes: f64) -> String {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a power of two"
    )]
    let bytes = bytes as u64;
    units::size(bytes)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a plot shows three figures at most"
)]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
pub(crate) mod tests;
