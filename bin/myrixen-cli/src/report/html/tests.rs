use super::*;
use crate::record::{Exchange, Percentiles, Rate, Stream, Timeline};

/// Panics unless every element of `xml` is closed in order and every special character is an entity.
pub(crate) fn assert_well_formed(xml: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = xml;
    while let Some(start) = rest.find('<') {
        assert_entities(&rest[..start]);
        let end = rest[start..].find('>').expect("a tag is closed") + start;
        let tag = &rest[start + 1..end];
        assert_eq!(
            tag.matches('"').count() % 2,
            0,
            "quotes come in pairs: {tag}"
        );
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(
                open.pop(),
                Some(name),
                "the innermost element is closed first"
            );
        } else if !tag.ends_with('/') && !tag.starts_with('!') {
            open.push(tag.split_whitespace().next().expect("a tag has a name"));
        }
        rest = &rest[end + 1..];
    }
    assert_eq!(open, Vec::<&str>::new(), "all elements are closed");
}

fn assert_entities(text: &str) {
    assert!(!text.contains('>'), "stray > in {text:?}");
    for (at, _) in text.match_indices('&') {
        let entity = &text[at..text.len().min(at + 8)];
        assert!(entity.contains(';'), "bare & in {text:?}");
    }
}

fn run() -> Vec<Record> {
    let mut records = vec![Record::Exchange(Exchange {
        guests: 4,
        messages: 100,
        bytes: 12345,
        largest: 1 << 24,
    })];
    for (path, ns) in [
        (Path::Direct, 400),
        (Path::Switched, 2000),
        (Path::Wire, 11_000),
    ] {
        for (wait, factor) in [(Wait::Spin, 1), (Wait::Sleep, 7)] {
            for size in [0_u64, 8, 4096, 1 << 20, 4 << 20] {
                let p50 = ns * factor + size / 8;
                records.push(Record::PingPong(PingPong {
                    path: path.clone(),
                    size,
                    half_rtt_ns: Percentiles {
                        p50,
                        p99: p50 * 2,
                        p999: p50 * 5,
                    },
                    wait,
                    iterations: 1000,
                    link: None,
                }));
                records.push(Record::Stream(Stream {
                    path: path.clone(),
                    size,
                    mb_per_s: float(size.max(1)) * 1e3 / float(p50),
                    wait,
                    messages: 64,
                    link: None,
                    cpu_s_per_gib: Some(0.5),
                }));
            }
            records.push(Record::Rate(Rate {
                path: path.clone(),
                size: 8,
                msgs_per_s: 1e9 / float(ns * factor),
                wait,
                messages: 1000,
                link: None,
                cpu_s_per_million: None,
            }));
        }
    }
    records.push(Record::Restart(Restart {
        sent: 1000,
        delivered: 1000,
        lost: 0,
        duplicated: 0,
        reordered: 0,
        outage_ms: 40.0,
        direct_gap_ms: Some(1.0),
        kills: 1,
        timeline: Some(Timeline {
            bin_ms: 20,
            killed_ms: vec![60],
            direct: vec![100; 12],
            wire: vec![50, 50, 50, 0, 0, 20, 60, 50, 50, 50, 50, 50],
        }),
    }));
    records
}

fn about() -> About {
    About {
        title: "MyriXen <demo>".to_owned(),
        facts: vec![("kernel".to_owned(), "6.1 & later".to_owned())],
        notes: vec!["joined by VXLAN, because \"no\"".to_owned()],
        charts: Vec::new(),
    }
}

/// Set `MYRIXEN_KEEP_REPORT` to a file to look at the page.
#[test]
fn the_page_is_well_formed_and_self_contained() {
    let html = page(&about(), &run());
    assert_well_formed(&html);
    for outside in [
        "http://", "https://", "src=", "href=", "url(", "@import", "<script",
    ] {
        let allowed = html.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
        let found = html.matches(outside).count();
        assert_eq!(
            found,
            if outside == "http://" { allowed } else { 0 },
            "{outside}"
        );
    }
    if let Some(file) = std::env::var_os("MYRIXEN_KEEP_REPORT") {
        std::fs::write(file, html).unwrap();
    }
}

#[test]
fn each_plot_has_a_curve_for_every_path_and_wait() {
    let plots = plots(&run());
    assert_eq!(plots.len(), 4, "latency, bandwidth, rate, timeline");
    for plot in &plots[..3] {
        let names: Vec<&str> = plot
            .series
            .iter()
            .map(|series| series.name.as_str())
            .collect();
        assert_eq!(
            names,
            [
                "direct, spinning",
                "direct, sleeping",
                "switched, spinning",
                "switched, sleeping",
                "wire, spinning",
                "wire, sleeping"
            ]
        );
    }
    assert_eq!(plots[0].series[0].points.len(), 5);
    assert_eq!(plots[3].marks.len(), 1, "the kill is marked");
}

#[test]
fn points_are_joined_in_order_of_size() {
    let mut records = run();
    records.reverse();
    for plot in plots(&records) {
        for series in plot.series {
            assert!(
                series.points.is_sorted_by(|a, b| a.x <= b.x),
                "{}",
                series.name
            );
        }
    }
}

#[test]
fn a_lost_message_makes_a_bad_verdict() {
    let mut records = run();
    assert!(!page(&about(), &records).contains("class=\"bad\""));
    if let Some(Record::Restart(restart)) = records.last_mut() {
        restart.delivered -= 1;
        restart.lost += 1;
    }
    assert!(page(&about(), &records).contains("class=\"bad\""));
}

#[test]
fn plots_without_data_are_left_out() {
    assert!(plots(&[]).is_empty());
    assert_well_formed(&page(&About::default(), &[]));
}
