use super::*;
use crate::record::{PingPong, Stream};

fn pingpong(path: &str, p50: u64) -> Record {
    Record::PingPong(PingPong {
        path: Path::try_from(path.to_owned()).unwrap(),
        size: 8,
        half_rtt_ns: Percentiles {
            p50,
            p99: p50 * 2,
            p999: p50 * 3,
        },
        wait: Wait::Sleep,
        iterations: 10,
        link: None,
    })
}

fn stream(path: &str, mb_per_s: f64) -> Record {
    Record::Stream(Stream {
        path: Path::try_from(path.to_owned()).unwrap(),
        size: 1 << 20,
        mb_per_s,
        wait: Wait::Sleep,
        messages: 5,
        link: None,
        cpu_s_per_gib: Some(mb_per_s / 10.0),
    })
}

fn rounds() -> Vec<Record> {
    vec![
        pingpong("direct", 100),
        pingpong("peer:tcp", 1000),
        stream("direct", 50.0),
        stream("peer:tcp", 20.0),
        pingpong("direct", 9000),
        pingpong("peer:tcp", 1200),
        stream("direct", 70.0),
        pingpong("direct", 110),
        pingpong("peer:tcp", 1100),
    ]
}

fn bar(text: &str) -> Bar {
    text.parse().unwrap()
}

#[test]
fn medians_are_held_against_bars() {
    let sides = Sides::of(&rounds());
    let [latency] = &bar("direct/peer:tcp half_rtt 8 <=0.35").hold(&sides)[..] else {
        panic!("one way of waiting");
    };
    assert_eq!(latency.of, "direct/peer:tcp half_rtt 8");
    assert_eq!(latency.bar, "<=0.35");
    assert!(
        latency.met && (latency.value - 0.1).abs() < 1e-9,
        "{latency:?}"
    );
    let [bandwidth] = &bar("direct/peer:tcp mb_per_s 1m >=3.5").hold(&sides)[..] else {
        panic!("one way of waiting");
    };
    assert!(!bandwidth.met && (bandwidth.value - 3.0).abs() < 1e-9);
    assert_eq!(bar("direct/peer:udp half_rtt 8 <=1").hold(&sides), []);
}

#[test]
fn rounds_are_compared_one_by_one_where_they_were_taken_in_turns() {
    let mut records = Vec::new();
    for (one, other) in [(100, 50), (1000, 1000), (1300, 1000)] {
        records.extend([pingpong("peer:a", one), pingpong("peer:b", other)]);
    }
    let held = |text: &str, records: &[Record]| {
        let ratios = bar(text).hold(&Sides::of(records));
        (ratios[0].paired, ratios[0].value)
    };
    let paired = "peer:a/peer:b half_rtt 8 <=1.1 sleep paired";
    assert_eq!(held(paired, &records), (true, 1.3));
    let medians = "peer:a/peer:b half_rtt 8 <=1.1";
    assert_eq!(held(medians, &records), (false, 1.0));
    // One has lost its partner.
    records.push(pingpong("peer:a", 1000));
    assert_eq!(held(paired, &records), (false, 1.0));
}

fn spinning(mut record: Record) -> Record {
    match &mut record {
        Record::PingPong(r) => r.wait = Wait::Spin,
        Record::Stream(r) => r.wait = Wait::Spin,
        _ => unreachable!("no such record here"),
    }
    record
}

#[test]
fn each_way_of_waiting_has_its_own_median() {
    let mut records = rounds();
    records.push(spinning(pingpong("direct", 30)));
    let shown = Sides::of(&records).records(&records);
    let direct: Vec<(Wait, u64)> = shown
        .iter()
        .filter_map(|record| match record {
            Record::PingPong(r) if r.path == Path::Direct => Some((r.wait, r.half_rtt_ns.p50)),
            _ => None,
        })
        .collect();
    assert_eq!(direct, [(Wait::Spin, 30), (Wait::Sleep, 110)]);
}

#[test]
fn a_bar_is_held_against_each_way_of_waiting() {
    let latency = bar("direct/switched half_rtt 8 <=0.5");
    let held = |records: &[Record]| -> Vec<([Wait; 2], f64, bool)> {
        let ratios = latency.hold(&Sides::of(records));
        ratios.iter().map(|r| (r.waits, r.value, r.met)).collect()
    };
    let mut records = vec![spinning(pingpong("direct", 30)), pingpong("switched", 100)];
    let mixed = ([Wait::Spin, Wait::Sleep], 0.3, true);
    assert_eq!(held(&records), [mixed], "what there is");
    records.push(pingpong("direct", 60));
    let slept = ([Wait::Sleep; 2], 0.6, false);
    assert_eq!(held(&records), [mixed, slept], "each of the first path's");
    records.push(spinning(pingpong("switched", 50)));
    let spun = ([Wait::Spin; 2], 0.6, false);
    assert_eq!(held(&records), [spun, slept], "like with like");
}

#[test]
fn a_bar_that_is_none_is_explained() {
    for text in [
        "direct half_rtt 8 <=1",
        "direct/peer:tcp half_rtt 8 1",
        "direct/peer:tcp speed 8 <=1",
        "direct/peer:tcp half_rtt 8 <=x",
        "direct/peer:tcp half_rtt",
        "direct/peer:tcp half_rtt 8 <=1 paired sleep",
        "",
    ] {
        assert!(text.parse::<Bar>().is_err(), "{text}");
    }
}

#[test]
fn every_path_is_shown_with_its_rounds_and_every_miss_as_one() {
    let sides = Sides::of(&rounds());
    let text = table(&sides);
    let direct = text.lines().find(|line| line.contains("direct")).unwrap();
    assert!(
        direct.contains("110 ns") && direct.contains("100 ns to 9.00 us"),
        "{text}"
    );
    assert!(
        text.contains("60.0 MB/s"),
        "of an even number, the middle: {text}"
    );
    let missed = bar("direct/peer:tcp mb_per_s 1m >=4").hold(&sides);
    assert!(verdicts(&missed).contains("MISSED"));
}

#[test]
fn the_page_has_a_chart_and_the_medians() {
    let directory = tempfile::tempdir().unwrap();
    let [from, html, json] = ["from", "page", "to"].map(|name| directory.path().join(name));
    record::write(&from, &rounds()).unwrap();
    let args = ReportArgs {
        records: vec![from],
        bars: vec![bar("direct/peer:tcp half_rtt 8 <=0.35")],
        calm: None,
        html: Some(html.clone()),
        json: Some(json.clone()),
        title: "T".to_owned(),
        notes: Vec::new(),
    };
    run(&args).unwrap();
    let page = std::fs::read_to_string(html).unwrap();
    assert!(
        page.contains("<svg") && page.contains("<td>110 ns</td>"),
        "{page}"
    );
    assert!(page.contains("class=\"good\""), "{page}");
    let values = read(&json).unwrap();
    assert_eq!(values.len(), rounds().len() + 1);
    assert_eq!(values[rounds().len()]["test"], "ratio");
    // Once more, of its own output: the ratios are new ones.
    run(&ReportArgs {
        records: vec![json.clone()],
        ..args
    })
    .unwrap();
    assert_eq!(read(&json).unwrap().len(), values.len());
}

#[test]
fn disturbed_records_count_only_where_there_are_too_few_others() {
    let record = |path: &str, disturbed: u64| {
        let mut value = serde_json::to_value(pingpong(path, 5)).unwrap();
        value["disturbed"] = disturbed.into();
        value
    };
    let mut values = vec![record("direct", 900), record("peer:tcp", 900)];
    values.extend([10, 20, 30].map(|share| record("direct", share)));
    values.extend([10, 20].map(|share| record("peer:tcp", share)));
    let left = calm(&values, 250);
    assert_eq!(left.len(), values.len() - 1);
    assert!(!left.contains(&values[0]) && left.contains(&values[1]));
}
