//! What comes of the measurement: `docs/perf-json.md`, "Scale".

use std::collections::BTreeMap;

use serde::Serialize;

use crate::report::table;
use crate::units;

/// What a figure is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Bar {
    fn is_met(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(least) => figure >= least,
            Self::AtMost(most) => figure <= most,
            Self::Below(limit) => figure < limit,
        }
    }

    fn text(self, show: impl Fn(f64) -> String) -> String {
        match self {
            Self::AtLeast(least) => format!(">={}", show(least)),
            Self::AtMost(most) => format!("<={}", show(most)),
            Self::Below(limit) => format!("<{}", show(limit)),
        }
    }
}

/// One figure, its bar, and what else was seen.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Record {
    test: &'static str,
    /// Which figure of the test.
    of: &'static str,
    figure: f64,
    unit: &'static str,
    bar: String,
    met: bool,
    #[serde(flatten)]
    details: BTreeMap<&'static str, f64>,
    #[serde(skip)]
    limit: Bar,
}

impl Record {
    /// A figure that is held against a bar.
    pub(super) fn new(
        test: &'static str,
        of: &'static str,
        figure: f64,
        unit: &'static str,
        bar: Bar,
    ) -> Self {
        Self {
            test,
            of,
            figure,
            unit,
            bar: bar.text(|number| number.to_string()),
            met: bar.is_met(figure),
            details: BTreeMap::new(),
            limit: bar,
        }
    }

    /// With something else that was seen.
    pub(super) fn with(mut self, name: &'static str, value: f64) -> Self {
        self.details.insert(name, value);
        self
    }

    /// In a few words, for people who wait.
    pub(super) fn summary(&self) -> String {
        format!("{} {}", self.of, self.show(self.figure))
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
        match self.unit {
            "ns" => units::nanoseconds(whole(figure)),
            "bytes" => units::size(whole(figure)),
            "" => format!("{figure:.3}"),
            unit => format!("{} {unit}", units::three_figures(figure)),
        }
    }
}

/// All records as a table.
pub(super) fn summary(records: &[Record]) -> String {
    let mut table = table::plain_table();
    table.set_header(["test", "figure", "value", "bar", ""]);
    for record in records {
        let met = if record.met { "met" } else { "MISSED" };
        table.add_row([
            record.test,
            record.of,
            &record.show(record.figure),
            &record.limit.text(|figure| record.show(figure)),
            met,
        ]);
    }
    table::align_figures(&mut table, 2);
    table.to_string()
}

#[allow(
    clippy::cast_precision_loss,
    reason = "what is measured is far below 2^52"
)]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// The value in the middle of `sorted`, or at another quantile.
pub(super) fn quantile(sorted: &[u64], quantile: f64) -> u64 {
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
        assert!(Bar::AtLeast(0.95).is_met(0.95) && !Bar::AtLeast(0.95).is_met(0.94));
        assert!(Bar::AtMost(1.0).is_met(1.0) && !Bar::AtMost(1.0).is_met(1.01));
        assert!(Bar::Below(1.0).is_met(0.9) && !Bar::Below(1.0).is_met(1.0));
    }

    #[test]
    fn a_record_has_what_scripts_look_for() {
        let record = Record::new("idle", "core", 0.25, "%", Bar::Below(0.5)).with("guests", 64.0);
        let value = serde_json::to_value(&record).unwrap();
        assert_eq!(value["test"], "idle");
        assert_eq!(value["figure"], 0.25);
        assert_eq!(value["bar"], "<0.5");
        assert_eq!(value["met"], true);
        assert_eq!(value["guests"], 64.0);
        assert!(summary(&[record]).contains("<0.50 %"));
    }

    #[test]
    fn quantiles_are_values_that_were_seen() {
        assert_eq!(quantile(&[], 0.5), 0);
        assert_eq!(quantile(&[1, 5, 9], 0.5), 5);
        assert_eq!(quantile(&[1, 5, 9], 0.99), 9);
    }
}
