use super::*;
use crate::report::html::tests::assert_well_formed;

fn point(x: f64, y: f64) -> Point {
    Point {
        x,
        y,
        upper: None,
        note: format!("{x} & {y}"),
    }
}

fn plot(series: Vec<Series>) -> Plot {
    Plot {
        title: "a <title> & more",
        x: Axis {
            label: "size",
            scale: Scale::Size,
            tick: |v| format!("{v}"),
        },
        y: Axis {
            label: "time",
            scale: Scale::Log,
            tick: |v| format!("{v}"),
        },
        series,
        marks: vec![(64.0, "killed".to_owned())],
    }
}

fn series(name: &str, points: Vec<Point>) -> Series {
    Series {
        name: name.to_owned(),
        colour: "#123456",
        dashed: true,
        points,
    }
}

#[test]
fn a_plot_is_well_formed_and_has_every_series_and_point() {
    let two = plot(vec![
        series(
            "first",
            vec![point(0.0, 100.0), point(8.0, 200.0), point(4096.0, 5000.0)],
        ),
        series("second \"quoted\"", vec![point(8.0, 300.0)]),
    ]);
    let svg = two.to_svg();
    assert_well_formed(&svg);
    assert_eq!(svg.matches("<polyline class=\"curve\"").count(), 2);
    assert_eq!(svg.matches("<circle").count(), 4);
    assert!(svg.contains(">first</text>"));
    assert!(svg.contains("second &quot;quoted&quot;"));
    assert!(svg.contains(">killed</text>"));
}

#[test]
fn every_place_lies_within_the_frame() {
    for scale in [Scale::Size, Scale::Log, Scale::Linear] {
        let values = [0.5, 1.0, 7.0, 1e6];
        let ruler = Ruler::new(scale, values.into_iter(), 10.0, 20.0);
        for value in values {
            let place = ruler.place(value);
            assert!(
                (10.0..=20.0).contains(&place),
                "{scale:?} {value} at {place}"
            );
        }
        assert!(
            !ruler.ticks().0.is_empty(),
            "{scale:?} has numbers beside it"
        );
    }
}

#[test]
fn equal_ratios_are_equal_distances_on_a_log_axis() {
    let ruler = Ruler::new(Scale::Log, [1.0, 1e4].into_iter(), 0.0, 400.0);
    for (value, place) in [(1.0, 0.0), (10.0, 100.0), (100.0, 200.0), (1e4, 400.0)] {
        assert!((ruler.place(value) - place).abs() < 1e-6, "{value}");
    }
}

#[test]
fn nothing_to_show_is_still_a_picture() {
    let empty = plot(vec![]).to_svg();
    assert_well_formed(&empty);
    let one = plot(vec![series("one", vec![point(8.0, 1000.0)])]).to_svg();
    assert_well_formed(&one);
    assert!(!one.contains("NaN") && !one.contains("inf"), "{one}");
}

#[test]
fn a_band_is_drawn_where_there_is_an_upper_value() {
    let banded = |x: f64| Point {
        upper: Some(900.0),
        ..point(x, 300.0)
    };
    let svg = plot(vec![series("one", vec![banded(1.0), banded(8.0)])]).to_svg();
    assert_eq!(svg.matches("<polygon class=\"band\"").count(), 1);
}

#[test]
fn linear_steps_are_round() {
    assert_eq!(round_step(0.7), 1.0);
    assert_eq!(round_step(130.0), 200.0);
    assert_eq!(round_step(4000.0), 5000.0);
}
