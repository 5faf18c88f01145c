//! A figure that is held against a bar of its own: `docs/perf-json.md`, "Scale".

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::report::table;
use crate::units;

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Limit {
    pub(crate) fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::Below(limit) => figure < limit,
        }
    }

    fn number(self) -> f64 {
        match self {
            Self::AtLeast(number) | Self::AtMost(number) | Self::Below(number) => number,
        }
    }

    /// The same with another number.
    fn at(self, number: f64) -> Self {
        match self {
            Self::AtLeast(_) => Self::AtLeast(number),
            Self::AtMost(_) => Self::AtMost(number),
            Self::Below(_) => Self::Below(number),
        }
    }

    fn text(self, show: impl Fn(f64) -> String) -> String {
        let sign = match self {
            Self::AtLeast(_) => ">=",
            Self::AtMost(_) => "<=",
            Self::Below(_) => "<",
        };
        format!("{sign}{}", show(self.number()))
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text(|number| number.to_string()))
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |sign: &str| text.strip_prefix(sign)?.parse().ok();
        let read = (number(">=").map(Self::AtLeast))
            .or_else(|| number("<=").map(Self::AtMost))
            .or_else(|| number("<").map(Self::Below));
        read.ok_or_else(|| format!("{text:?} is not >=NUMBER, <=NUMBER or <NUMBER"))
    }
}

impl From<Limit> for String {
    fn from(limit: Limit) -> Self {
        limit.to_string()
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// One figure, its bar, and what else was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Held {
    test: String,
    /// Which figure of the test.
    of: String,
    figure: f64,
    unit: String,
    bar: Limit,
    met: bool,
    #[serde(flatten)]
    details: BTreeMap<String, f64>,
}

impl Held {
    /// A figure that is held against a bar.
    pub(crate) fn new(
        test: &str,
        of: impl Into<String>,
        figure: f64,
        unit: &str,
        bar: Limit,
    ) -> Self {
        Self {
            test: test.to_owned(),
            of: of.into(),
            figure,
            unit: unit.to_owned(),
            bar,
            met: bar.is_met(figure),
            details: BTreeMap::new(),
        }
    }

    /// With something else that was seen.
    pub(crate) fn with(mut self, name: &str, value: f64) -> Self {
        self.details.insert(name.to_owned(), value);
        self
    }

    /// What it is a figure of: test, and which of that.
    pub(crate) fn subject(&self) -> [&str; 2] {
        [&self.test, &self.of]
    }

    /// Something else that was seen.
    pub(crate) fn detail(&self, name: &str) -> Option<f64> {
        self.details.get(name).copied()
    }

    pub(crate) fn is_met(&self) -> bool {
        self.met
    }

    /// In a few words, for people who wait.
    pub(crate) fn summary(&self) -> String {
        format!("{} {}", self.of, self.show(self.figure))
    }

    /// In a sentence, with its bar.
    pub(crate) fn verdict(&self) -> String {
        let met = if self.met { "met" } else { "missed" };
        let (figure, bar) = (
            self.show(self.figure),
            self.bar.text(|number| self.show(number)),
        );
        format!(
            "{}, {}: {figure}, the bar is {bar}: {met}",
            self.test, self.of
        )
    }

    fn show(&self, figure: f64) -> String {
        let whole = |figure: f64| {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "figures are not negative, and far below 2^63"
            )]
            {
                figure as u64
            }
        };
        match self.unit.as_str() {
            "ns" => units::nanoseconds(whole(figure)),
            "bytes" => units::size(whole(figure)),
            "" => format!("{figure:.3}"),
            unit => format!("{} {unit}", units::three_figures(figure)),
        }
    }
}

/// All of them as a table.
pub(crate) fn summary(figures: &[Held]) -> String {
    let mut table = table::plain_table();
    table.set_header(["test", "figure", "value", "bar", ""]);
    for held in figures {
        let met = if held.met { "met" } else { "MISSED" };
        table.add_row([
            &held.test,
            &held.of,
            &held.show(held.figure),
            &held.bar.text(|figure| held.show(figure)),
            met,
        ]);
    }
    table::align_figures(&mut table, 2);
    table.to_string()
}

/// One for each thing that was measured, in the order of the first round: the median of each of its numbers, its bar's included.
pub(crate) fn medians(rounds: &[Held]) -> Vec<Held> {
    let mut found: Vec<Held> = Vec::new();
    for held in rounds {
        if found.iter().any(|one| one.subject() == held.subject()) {
            continue;
        }
        let same = || rounds.iter().filter(|one| one.subject() == held.subject());
        let median = |number: &dyn Fn(&Held) -> Option<f64>| {
            let mut numbers: Vec<f64> = same().filter_map(number).collect();
            numbers.sort_by(f64::total_cmp);
            middle(&numbers)
        };
        let figure = median(&|one| Some(one.figure));
        let bar = held.bar.at(median(&|one| Some(one.bar.number())));
        let mut whole = Held::new(&held.test, &held.of, figure, &held.unit, bar);
        for name in held.details.keys() {
            whole = whole.with(name, median(&|one| one.detail(name)));
        }
        found.push(whole.with("rounds", float(same().count() as u64)));
    }
    found
}

/// The median of `sorted`, of which there must be one.
pub(crate) fn middle(sorted: &[f64]) -> f64 {
    let (half, count) = (sorted.len() / 2, sorted.len());
    if count.is_multiple_of(2) {
        f64::midpoint(sorted[half - 1], sorted[half])
    } else {
        sorted[half]
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "what is measured is far below 2^52"
)]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// The value in the middle of `sorted`, or at another quantile.
pub(crate) fn quantile(sorted: &[u64], quantile: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list"
    )]
    let place = (float(last as u64) * quantile).round() as usize;
    sorted.get(place).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_met_or_not_as_it_says() {
        assert!(Limit::AtLeast(0.95).is_met(0.95) && !Limit::AtLeast(0.95).is_met(0.94));
        assert!(Limit::AtMost(1.0).is_met(1.0) && !Limit::AtMost(1.0).is_met(1.01));
        assert!(Limit::Below(1.0).is_met(0.9) && !Limit::Below(1.0).is_met(1.0));
        for bar in [Limit::AtLeast(2.0), Limit::AtMost(0.5), Limit::Below(7.0)] {
            assert_eq!(bar.to_string().parse(), Ok(bar));
        }
        for wrong in ["2", "=>2", "<=", "<x"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_record_has_what_scripts_look_for() {
        let held = Held::new("idle", "core", 0.25, "%", Limit::Below(0.5)).with("guests", 64.0);
        let value = serde_json::to_value(&held).unwrap();
        assert_eq!(value["test"], "idle");
        assert_eq!(value["figure"], 0.25);
        assert_eq!(value["bar"], "<0.5");
        assert_eq!(value["met"], true);
        assert_eq!(value["guests"], 64.0);
        assert_eq!(serde_json::from_value::<Held>(value).unwrap(), held);
        assert!(summary(&[held]).contains("<0.50 %"));
    }

    #[test]
    fn rounds_of_one_thing_become_their_median_and_are_held_against_the_median_bar() {
        let round = |of: &str, figure, bar| {
            Held::new("connect", of, figure, "ns", Limit::AtMost(bar)).with("p99_ns", figure * 2.0)
        };
        let rounds = [
            round("wire", 10.0, 5.0),
            round("one host", 1.0, 2.0),
            round("wire", 30.0, 25.0),
            round("wire", 20.0, 100.0),
        ];
        let expected = [
            round("wire", 20.0, 25.0).with("rounds", 3.0),
            round("one host", 1.0, 2.0).with("rounds", 1.0),
        ];
        assert_eq!(medians(&rounds), expected);
        assert_eq!(medians(&[]), []);
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        assert_eq!(quantile(&[], 0.5), 0);
        assert_eq!(quantile(&[1, 5, 9], 0.5), 5);
        assert_eq!(quantile(&[1, 5, 9], 0.99), 9);
    }
}
