//! Line plots as SVG, with logarithmic or linear axes: just what the report needs.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 412.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 68.0;
const BOTTOM: f64 = 52.0;
/// Length of a legend's sample of the line, with its gaps.
const SAMPLE: f64 = 34.0;
/// Mean advance of a character of the legend's type, generous so that entries never touch.
const ADVANCE: f64 = 7.2;

/// How values become places on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scale {
    /// Sizes by powers of two; 0 has a place of its own left of 1.
    Size,
    /// Powers of ten; values must be positive.
    Log,
    /// From 0.
    Linear,
}

/// One axis.
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) scale: Scale,
    /// How the numbers beside the axis are written.
    pub(crate) tick: fn(f64) -> String,
}

/// One curve.
pub(crate) struct Series {
    pub(crate) name: String,
    /// A CSS colour.
    pub(crate) colour: &'static str,
    pub(crate) dashed: bool,
    /// In the order in which they are joined.
    pub(crate) points: Vec<Point>,
}

/// One point of a curve.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// A second, higher value: the area between both is shaded.
    pub(crate) upper: Option<f64>,
    /// What a pointer that rests on the point shows.
    pub(crate) note: String,
}

/// A plot: what it shows, its axes and its curves.
pub(crate) struct Plot {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) series: Vec<Series>,
    /// Vertical lines with a word beside them.
    pub(crate) marks: Vec<(f64, String)>,
}

/// An axis with its range: turns values into places.
struct Ruler {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Ruler {
    fn new(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values {
            let place = project(scale, value);
            low = low.min(place);
            high = high.max(place);
        }
        if !low.is_finite() || !high.is_finite() {
            (low, high) = (0.0, 1.0);
        }
        match scale {
            Scale::Size => {}
            // Whole decades, so that the range begins and ends on a line.
            Scale::Log => (low, high) = (low.floor(), high.ceil()),
            Scale::Linear => low = 0.0,
        }
        if high <= low {
            // One value alone stands in the middle.
            (low, high) = if scale == Scale::Linear {
                (0.0, high.max(1.0))
            } else {
                (low - 1.0, high + 1.0)
            };
        }
        Self {
            scale,
            low,
            high,
            from,
            to,
        }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (project(self.scale, value) - self.low) / (self.high - self.low);
        self.from + share * (self.to - self.from)
    }

    /// Values that get a line and a number, and those that get a faint line only.
    fn ticks(&self) -> (Vec<f64>, Vec<f64>) {
        match self.scale {
            Scale::Size => {
                // 0, then every third power of two: 8 B, 64 B, 512 B, 4 KiB, ...
                let zero = self.holds(-1.0).then_some(0.0);
                let powers = (3..=33)
                    .step_by(3)
                    .map(f64::from)
                    .filter(|&e| self.holds(e));
                (
                    zero.into_iter().chain(powers.map(f64::exp2)).collect(),
                    vec![],
                )
            }
            Scale::Log => {
                let decades = (-3..=15).filter(|&e| self.holds(f64::from(e)));
                let major: Vec<f64> = decades.map(|e| 10f64.powi(e)).collect();
                let between = |&decade: &f64| (2..10).map(move |i| decade * f64::from(i));
                let minor = major.iter().flat_map(between);
                let minor = minor.filter(|&value| self.holds(value.log10())).collect();
                (major, minor)
            }
            Scale::Linear => {
                let step = round_step(self.high / 6.0);
                let steps = (0..=12).map(|i| f64::from(i) * step);
                (steps.filter(|&value| self.holds(value)).collect(), vec![])
            }
        }
    }

    fn holds(&self, place: f64) -> bool {
        place >= self.low - 1e-9 && place <= self.high + 1e-9
    }
}

fn project(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Size => value.max(0.5).log2(),
        Scale::Log => value.max(1e-3).log10(),
        Scale::Linear => value,
    }
}

/// The next 1, 2 or 5 times a power of ten at or above `step`.
fn round_step(step: f64) -> f64 {
    let decade = 10f64.powf(step.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|i| i * decade)
        .into_iter()
        .find(|&s| s >= step)
        .unwrap_or(step)
}

impl Plot {
    /// The plot as an `<svg>` element that stands alone: no script, no outside resource.
    pub(crate) fn to_svg(&self) -> String {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let across = points().map(|p| p.x).chain(self.marks.iter().map(|m| m.0));
        let x = Ruler::new(self.x.scale, across, LEFT, WIDTH - RIGHT);
        let up = points().flat_map(|p| [Some(p.y), p.upper]).flatten();
        let y = Ruler::new(self.y.scale, up, HEIGHT - BOTTOM, TOP);
        let mut svg = String::new();
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             aria-label=\"{}\" font-family=\"system-ui, sans-serif\" font-size=\"12\">",
            escape(self.title)
        );
        self.draw_axes(&mut svg, &x, &y);
        for series in &self.series {
            draw_series(&mut svg, series, &x, &y);
        }
        self.draw_marks(&mut svg, &x);
        self.draw_legend(&mut svg);
        svg.push_str("</svg>\n");
        svg
    }

    fn draw_axes(&self, svg: &mut String, x: &Ruler, y: &Ruler) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        let (major, minor) = y.ticks();
        for value in minor {
            let at = y.place(value);
            let _ = writeln!(
                svg,
                "<path class=\"faint\" stroke=\"#8884\" stroke-width=\"0.5\" d=\"M{LEFT} {at:.1}H{right}\"/>"
            );
        }
        for value in major {
            let at = y.place(value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" stroke=\"#8888\" stroke-width=\"0.7\" d=\"M{LEFT} {at:.1}H{right}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"currentColor\">{}</text>",
                LEFT - 8.0,
                at + 4.0,
                escape(&(self.y.tick)(value))
            );
        }
        for value in x.ticks().0 {
            let at = x.place(value);
            let _ = writeln!(
                svg,
                "<path class=\"grid\" stroke=\"#8884\" stroke-width=\"0.7\" d=\"M{at:.1} {TOP}V{bottom}\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>",
                bottom + 18.0,
                escape(&(self.x.tick)(value))
            );
        }
        let middle = (TOP + bottom) / 2.0;
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"currentColor\">{}</text>\
             <text transform=\"translate(16 {middle:.1}) rotate(-90)\" text-anchor=\"middle\" \
             fill=\"currentColor\">{}</text>\
             <text x=\"{LEFT}\" y=\"18\" font-size=\"15\" font-weight=\"600\" fill=\"currentColor\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 12.0,
            escape(self.x.label),
            escape(self.y.label),
            escape(self.title)
        );
    }

    fn draw_marks(&self, svg: &mut String, x: &Ruler) {
        for (value, word) in &self.marks {
            let at = x.place(*value);
            let _ = writeln!(
                svg,
                "<path class=\"mark\" stroke=\"#d33\" stroke-width=\"1.4\" d=\"M{at:.1} {TOP}V{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#d33\">{}</text>",
                HEIGHT - BOTTOM,
                at + 5.0,
                TOP + 13.0,
                escape(word)
            );
        }
    }

    fn draw_legend(&self, svg: &mut String) {
        let (mut at, mut line) = (LEFT, 36.0);
        for series in &self.series {
            #[allow(clippy::cast_precision_loss, reason = "a name has few characters")]
            let width = SAMPLE + series.name.chars().count() as f64 * ADVANCE + 10.0;
            if at + width > WIDTH - RIGHT && at > LEFT {
                (at, line) = (LEFT, line + 16.0);
            }
            let _ = writeln!(
                svg,
                "<path stroke=\"{}\" stroke-width=\"2.2\"{} d=\"M{at:.1} {line}h{}\"/>\
                 <text x=\"{:.1}\" y=\"{}\" fill=\"currentColor\">{}</text>",
                series.colour,
                dashes(series),
                SAMPLE - 12.0,
                at + SAMPLE - 6.0,
                line + 4.0,
                escape(&series.name)
            );
            at += width;
        }
    }
}

fn draw_series(svg: &mut String, series: &Series, x: &Ruler, y: &Ruler) {
    let places: Vec<(f64, f64)> = series
        .points
        .iter()
        .map(|p| (x.place(p.x), y.place(p.y)))
        .collect();
    let upper: Vec<(f64, f64)> = series
        .points
        .iter()
        .filter_map(|p| p.upper.map(|upper| (x.place(p.x), y.place(upper))))
        .collect();
    if upper.len() > 1 {
        let around = places.iter().chain(upper.iter().rev());
        let _ = writeln!(
            svg,
            "<polygon class=\"band\" fill=\"{}\" fill-opacity=\"0.10\" points=\"{}\"/>",
            series.colour,
            join(around)
        );
    }
    let _ = writeln!(
        svg,
        "<polyline class=\"curve\" fill=\"none\" stroke=\"{}\" stroke-width=\"2.2\" \
         stroke-linejoin=\"round\"{} points=\"{}\"/>",
        series.colour,
        dashes(series),
        join(places.iter())
    );
    for (point, (px, py)) in series.points.iter().zip(&places) {
        if point.note.is_empty() {
            continue;
        }
        let _ = writeln!(
            svg,
            "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" fill=\"{}\"><title>{}: {}</title></circle>",
            series.colour,
            escape(&series.name),
            escape(&point.note)
        );
    }
}

fn join<'a>(places: impl Iterator<Item = &'a (f64, f64)>) -> String {
    let mut text = String::new();
    for (px, py) in places {
        let _ = write!(text, "{px:.1},{py:.1} ");
    }
    text
}

fn dashes(series: &Series) -> &'static str {
    if series.dashed {
        " stroke-dasharray=\"6 4\""
    } else {
        ""
    }
}

/// `text` with the characters that mean something in XML written as entities.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
