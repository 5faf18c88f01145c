//! Bar charts as SVG: paths side by side in one figure, with the range of their rounds.

use std::fmt::Write as _;

use super::bars::{Figure, Rounds, Sides};
use super::html::colour;
use super::plot::escape;
use crate::units;

const WIDTH: f64 = 760.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 120.0;
const TOP: f64 = 34.0;
const LINE: f64 = 26.0;

/// A chart for each figure and size in which paths can be compared.
pub(crate) fn of(sides: &Sides) -> Vec<String> {
    let several = sides.each().filter(|(_, _, rounds)| rounds.len() > 1);
    several
        .map(|(figure, size, rounds)| chart(figure, size, rounds))
        .collect()
}

fn chart(figure: Figure, size: u64, all: &[Rounds]) -> String {
    let longest = all.iter().map(|r| r.range()[1]).fold(0.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / longest.max(f64::MIN_POSITIVE);
    #[allow(clippy::cast_precision_loss, reason = "a handful of lines")]
    let height = TOP + LINE * all.len() as f64 + 10.0;
    let better = match figure {
        Figure::HalfRtt | Figure::CpuPerGib | Figure::CpuPerMillion => "shorter is better",
        Figure::MbPerS | Figure::MsgsPerS => "longer is better",
    };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12.5\">\n\
         <text x=\"0\" y=\"18\" font-size=\"15\" font-weight=\"600\" fill=\"currentColor\">{}, {}: {better}</text>\n",
        escape(&capital(figure.title())),
        units::size(size)
    );
    let mut y = TOP;
    for rounds in all {
        let (median, [low, high]) = (rounds.median(), rounds.range());
        let middle = y + LINE / 2.0;
        // A median that is 0 is drawn as well.
        let length = (median * scale).max(0.5);
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"currentColor\">{}, {}</text>\
             <rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"{:.1}\" fill=\"{}\" fill-opacity=\"0.75\"/>\
             <path stroke=\"currentColor\" stroke-width=\"1.2\" fill=\"none\" \
             d=\"M{:.1} {middle:.1}H{:.1}M{:.1} {:.1}v8M{:.1} {:.1}v8\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"currentColor\">{}</text>",
            LEFT - 8.0,
            middle + 4.0,
            escape(&rounds.path.to_string()),
            rounds.wait,
            y + 3.0,
            LINE - 6.0,
            colour(&rounds.path),
            LEFT + low * scale,
            LEFT + high * scale,
            LEFT + low * scale,
            middle - 4.0,
            LEFT + high * scale,
            middle - 4.0,
            LEFT + high * scale + 8.0,
            middle + 4.0,
            escape(&figure.show(median))
        );
        y += LINE;
    }
    svg.push_str("</svg>\n");
    svg
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
