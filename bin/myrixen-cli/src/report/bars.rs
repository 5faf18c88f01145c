//! `myrixen perf report`: several paths side by side, medians over rounds, and ratios held against bars.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::str::FromStr;

use anyhow::Context as _;
use serde_json::Value;

use super::table::{align_figures, plain_table};
use super::{chart, html};
use crate::cli::ReportArgs;
use crate::held;
use crate::output;
use crate::record::{self, Path, Percentiles, Ratio, Record, Wait};
use crate::units;

/// Which of a record's figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    HalfRtt,
    MbPerS,
    MsgsPerS,
    CpuPerGib,
    CpuPerMillion,
}

impl Figure {
    const ALL: [Self; 5] = [
        Self::HalfRtt,
        Self::MbPerS,
        Self::MsgsPerS,
        Self::CpuPerGib,
        Self::CpuPerMillion,
    ];

    /// As bars and ratios name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HalfRtt => "half_rtt",
            Self::MbPerS => "mb_per_s",
            Self::MsgsPerS => "msgs_per_s",
            Self::CpuPerGib => "cpu_s_per_gib",
            Self::CpuPerMillion => "cpu_s_per_million",
        }
    }

    /// As tables name it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::HalfRtt => "half round trip",
            Self::MbPerS => "stream",
            Self::MsgsPerS => "rate",
            Self::CpuPerGib => "processor time of a stream",
            Self::CpuPerMillion => "processor time of messages",
        }
    }

    /// A value with its unit.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "nanoseconds that were measured"
            )]
            Self::HalfRtt => units::nanoseconds(value.max(0.0) as u64),
            Self::MbPerS => format!("{} MB/s", units::three_figures(value)),
            Self::MsgsPerS => format!("{}/s", units::count(value)),
            Self::CpuPerGib => format!("{value:.3} s/GiB"),
            Self::CpuPerMillion => format!("{value:.3} s/million"),
        }
    }
}

/// A ratio of two paths in one figure, and what it is to be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bar {
    paths: [Path; 2],
    figure: Figure,
    size: u64,
    /// Not less than the limit, rather than not more.
    least: bool,
    limit: f64,
    /// How the first path is to wait; however it was measured, when nothing is said.
    wait: Option<Wait>,
    /// Rounds are compared one by one, since both paths have been measured in turns.
    paired: bool,
}

impl FromStr for Bar {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is not PATH/PATH FIGURE SIZE <=NUMBER or >=NUMBER, and perhaps spin or sleep, and perhaps paired"
            )
        };
        let mut words: Vec<&str> = text.split_whitespace().collect();
        let paired = words.pop_if(|word| *word == "paired").is_some();
        let (paths, figure, size, limit, wait) = match words[..] {
            [paths, figure, size, limit] => (paths, figure, size, limit, None),
            [paths, figure, size, limit, "spin"] => (paths, figure, size, limit, Some(Wait::Spin)),
            [paths, figure, size, limit, "sleep"] => {
                (paths, figure, size, limit, Some(Wait::Sleep))
            }
            _ => return Err(wrong()),
        };
        let (first, second) = paths.split_once('/').ok_or_else(wrong)?;
        let (least, limit) = match (limit.strip_prefix(">="), limit.strip_prefix("<=")) {
            (Some(limit), _) => (true, limit),
            (_, Some(limit)) => (false, limit),
            _ => return Err(wrong()),
        };
        let figure = Figure::ALL.into_iter().find(|known| known.name() == figure);
        Ok(Self {
            paths: [
                Path::try_from(first.to_owned())?,
                Path::try_from(second.to_owned())?,
            ],
            figure: figure.ok_or_else(wrong)?,
            size: units::parse_size(size)?,
            least,
            limit: limit.parse().map_err(|_| wrong())?,
            wait,
            paired,
        })
    }
}

impl Bar {
    /// What the medians say to it, for each way of waiting. None: one of the two was not measured.
    pub(crate) fn hold(&self, sides: &Sides) -> Vec<Ratio> {
        let [first, second] = self
            .paths
            .each_ref()
            .map(|path| sides.path(self.figure, self.size, path));
        let mut pairs = Vec::new();
        let asked = |wait: &Wait| self.wait.is_none_or(|asked| asked == *wait);
        for wait in [Wait::Spin, Wait::Sleep].into_iter().filter(asked) {
            let pair = waiting(&first, wait).zip(waiting(&second, wait));
            pairs.extend(pair.filter(|pair| !pairs.contains(pair)));
        }
        pairs.into_iter().map(|pair| self.ratio(pair)).collect()
    }

    fn ratio(&self, (first, second): (&Rounds, &Rounds)) -> Ratio {
        let (value, paired) = match first.median_beside(second) {
            Some(value) if self.paired => (value, true),
            _ => (first.median() / second.median(), false),
        };
        let met = if self.least {
            value >= self.limit
        } else {
            value <= self.limit
        };
        let [one, other] = &self.paths;
        Ratio {
            of: format!("{one}/{other} {} {}", self.figure.name(), self.size),
            waits: [first.wait, second.wait],
            value,
            paired,
            bar: format!("{}{}", if self.least { ">=" } else { "<=" }, self.limit),
            met,
        }
    }
}

/// The rounds of a path that waited so; a path that was measured in one way only is compared by that with both.
fn waiting<'a>(rounds: &[&'a Rounds], wait: Wait) -> Option<&'a Rounds> {
    match rounds {
        [only] => Some(only),
        all => all.iter().copied().find(|r| r.wait == wait),
    }
}

/// What a record tells of: two with the same are rounds of one thing.
type Side = (Figure, u64, Path, Wait);

/// What a record tells of, and its values there; what it is a record of comes first.
fn figures_of(record: &Record) -> Vec<(Side, f64)> {
    let (size, path, link, wait, figures) = match record {
        Record::PingPong(r) => {
            let p50 = Some(float(r.half_rtt_ns.p50));
            let figures = [(Figure::HalfRtt, p50), (Figure::HalfRtt, None)];
            (r.size, &r.path, &r.link, r.wait, figures)
        }
        Record::Stream(r) => {
            let cpu = (Figure::CpuPerGib, r.cpu_s_per_gib);
            let figures = [(Figure::MbPerS, Some(r.mb_per_s)), cpu];
            (r.size, &r.path, &r.link, r.wait, figures)
        }
        Record::Rate(r) => {
            let cpu = (Figure::CpuPerMillion, r.cpu_s_per_million);
            let figures = [(Figure::MsgsPerS, Some(r.msgs_per_s)), cpu];
            (r.size, &r.path, &r.link, r.wait, figures)
        }
        Record::Exchange(_)
        | Record::Restart(_)
        | Record::Ratio(_)
        | Record::Held(_)
        | Record::Calls(_) => {
            return Vec::new();
        }
    };
    let path = path.over(link.as_deref());
    let known = figures
        .into_iter()
        .filter_map(|(figure, value)| Some((figure, value?)));
    known
        .map(|(figure, value)| ((figure, size, path.clone(), wait), value))
        .collect()
}

/// Rounds of one path in one figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rounds {
    pub(crate) path: Path,
    pub(crate) wait: Wait,
    /// In the order they were measured in; never none.
    pub(crate) values: Vec<f64>,
}

impl Rounds {
    pub(crate) fn median(&self) -> f64 {
        held::middle(&ascending(self.values.iter().copied()))
    }

    pub(crate) fn range(&self) -> [f64; 2] {
        let values = ascending(self.values.iter().copied());
        [values[0], values[values.len() - 1]]
    }

    /// The median of the ratios of each round and the other's of the same turn; none where not each has one.
    fn median_beside(&self, other: &Self) -> Option<f64> {
        let pairs = self.values.iter().zip(&other.values);
        let ratios = ascending(pairs.map(|(one, other)| one / other));
        (self.values.len() == other.values.len()).then(|| held::middle(&ratios))
    }
}

fn ascending(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// What was measured, by figure and size, path beside path.
#[derive(Debug, Default)]
pub(crate) struct Sides(BTreeMap<(Figure, u64), Vec<Rounds>>);

impl Sides {
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut sides = Self::default();
        for (side, value) in records.iter().flat_map(figures_of) {
            sides.add(side, value);
        }
        for rounds in sides.0.values_mut() {
            rounds.sort_by(|a, b| (&a.path, a.wait).cmp(&(&b.path, b.wait)));
        }
        sides
    }

    /// Nothing was measured that can be compared.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, (figure, size, path, wait): Side, value: f64) {
        let all = self.0.entry((figure, size)).or_default();
        let held = all.iter_mut().find(|r| (&r.path, r.wait) == (&path, wait));
        let Some(rounds) = held else {
            all.push(Rounds {
                path,
                wait,
                values: vec![value],
            });
            return;
        };
        rounds.values.push(value);
    }

    /// The rounds of a path, one for each way of waiting.
    fn path(&self, figure: Figure, size: u64, path: &Path) -> Vec<&Rounds> {
        let all = self.0.get(&(figure, size)).into_iter().flatten();
        all.filter(|r| r.path == *path).collect()
    }

    pub(crate) fn each(&self) -> impl Iterator<Item = (Figure, u64, &[Rounds])> {
        self.0
            .iter()
            .map(|(&(figure, size), rounds)| (figure, size, &rounds[..]))
    }

    /// The medians as records, for tables and curves.
    pub(crate) fn records(&self, of: &[Record]) -> Vec<Record> {
        let mut medians: Vec<Record> = Vec::new();
        for (figure, size, all) in self.each() {
            for rounds in all {
                // Any record of these will do for what is not a figure.
                let wanted = (figure, size, rounds.path.clone(), rounds.wait);
                let like = of.iter().find(|record| {
                    figures_of(record)
                        .first()
                        .is_some_and(|(side, _)| *side == wanted)
                });
                medians.extend(like.map(|like| self.with_medians(like, rounds, of)));
            }
        }
        medians
    }

    /// `like` with the medians of its kind.
    fn with_medians(&self, like: &Record, rounds: &Rounds, of: &[Record]) -> Record {
        let cpu = |figure, size| {
            let all = self.path(figure, size, &rounds.path);
            let same = all.into_iter().find(|one| one.wait == rounds.wait);
            same.map(Rounds::median)
        };
        let mut record = like.clone();
        match &mut record {
            Record::PingPong(r) => {
                let same = of.iter().filter_map(|other| match other {
                    Record::PingPong(o)
                        if (&o.path, &o.link, o.size, o.wait)
                            == (&r.path, &r.link, r.size, r.wait) =>
                    {
                        Some(o.half_rtt_ns)
                    }
                    _ => None,
                });
                let same: Vec<Percentiles> = same.collect();
                let median = |pick: fn(&Percentiles) -> u64| {
                    let mut values: Vec<u64> = same.iter().map(pick).collect();
                    values.sort_unstable();
                    values[values.len() / 2]
                };
                r.half_rtt_ns = Percentiles {
                    p50: median(|p| p.p50),
                    p99: median(|p| p.p99),
                    p999: median(|p| p.p999),
                };
            }
            Record::Stream(r) => {
                r.mb_per_s = rounds.median();
                r.cpu_s_per_gib = cpu(Figure::CpuPerGib, r.size);
            }
            Record::Rate(r) => {
                r.msgs_per_s = rounds.median();
                r.cpu_s_per_million = cpu(Figure::CpuPerMillion, r.size);
            }
            _ => {}
        }
        record
    }
}

/// Runs the command.
pub(crate) fn run(args: &ReportArgs) -> anyhow::Result<()> {
    let mut values = Vec::new();
    for file in &args.records {
        values.append(&mut read(file)?);
    }
    // What others wrote into the same file, or a later version, is kept as it is.
    values.retain(|value| value["test"] != "ratio");
    let counted = match args.calm {
        Some(limit) => calm(&values, limit),
        None => values.clone(),
    };
    let records: Vec<Record> = counted
        .iter()
        .filter_map(|value| serde_json::from_value(value.clone()).ok())
        .collect();
    if counted.len() < values.len() {
        let (left_out, all) = (values.len() - counted.len(), values.len());
        output::print(&format!(
            "{left_out} of {all} records are left out: others wanted the machine's cores meanwhile\n"
        ))?;
    }
    let sides = Sides::of(&records);
    let compared: Vec<Vec<Ratio>> = args.bars.iter().map(|bar| bar.hold(&sides)).collect();
    let missing = compared.iter().filter(|ratios| ratios.is_empty()).count();
    let ratios = compared.concat();
    output::print(&format!("{}\n{}", table(&sides), verdicts(&ratios)))?;
    if missing > 0 {
        output::print(&format!(
            "{missing} of the bars: nothing was measured for them\n"
        ))?;
    }
    let ratios: Vec<Record> = ratios.into_iter().map(Record::Ratio).collect();
    if let Some(file) = &args.html {
        let mut shown = sides.records(&records);
        shown.extend(ratios.iter().cloned());
        let about = html::About {
            title: args.title.clone(),
            notes: args.notes.clone(),
            charts: chart::of(&sides),
            ..html::About::default()
        };
        std::fs::write(file, html::page(&about, &shown))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &args.json {
        for ratio in &ratios {
            values.push(serde_json::to_value(ratio)?);
        }
        record::write(file, &values)?;
    }
    Ok(())
}

/// So many records of a kind are enough for a median.
const ENOUGH: usize = 3;

/// The records that others on the machine have not disturbed, where enough of a kind remain; else all of the kind.
fn calm(values: &[Value], limit: u64) -> Vec<Value> {
    let kind = |value: &Value| ["test", "path", "size", "wait"].map(|key| value[key].to_string());
    let is_calm = |value: &Value| {
        value["disturbed"]
            .as_u64()
            .is_none_or(|share| share <= limit)
    };
    let mut calm: BTreeMap<[String; 4], usize> = BTreeMap::new();
    for value in values.iter().filter(|value| is_calm(value)) {
        *calm.entry(kind(value)).or_default() += 1;
    }
    let counts = |value: &&Value| {
        let enough = calm.get(&kind(value)).is_some_and(|&count| count >= ENOUGH);
        is_calm(value) || !enough
    };
    values.iter().filter(counts).cloned().collect()
}

fn read(file: &FilePath) -> anyhow::Result<Vec<Value>> {
    let doing = || format!("cannot read the records in {}", file.display());
    let text = std::fs::read_to_string(file).with_context(doing)?;
    serde_json::from_str(&text).with_context(doing)
}

/// A line for each path in each figure.
pub(crate) fn table(sides: &Sides) -> String {
    let mut table = plain_table();
    table.set_header([
        "test",
        "size",
        "path",
        "waiting by",
        "median",
        "range",
        "rounds",
    ]);
    for (figure, size, all) in sides.each() {
        for rounds in all {
            let [low, high] = rounds.range().map(|value| figure.show(value));
            table.add_row([
                figure.title().to_owned(),
                units::size(size),
                rounds.path.to_string(),
                rounds.wait.to_string(),
                figure.show(rounds.median()),
                format!("{low} to {high}"),
                rounds.values.len().to_string(),
            ]);
        }
    }
    align_figures(&mut table, 4);
    table.to_string()
}

/// A line for each ratio.
pub(crate) fn verdicts(ratios: &[Ratio]) -> String {
    if ratios.is_empty() {
        return String::new();
    }
    let mut table = plain_table();
    table.set_header(["ratio", "waiting by", "value", "bar", ""]);
    for ratio in ratios {
        let met = if ratio.met { "met" } else { "MISSED" };
        let value = format!("{:.3}", ratio.value);
        table.add_row([&ratio.of, &ratio.waiting(), &value, &ratio.bar, met]);
    }
    align_figures(&mut table, 2);
    format!("{table}\n")
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a table shows three figures at most"
)]
fn float(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests;
