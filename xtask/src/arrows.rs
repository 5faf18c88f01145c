//! The arrows of docs/architecture.md against the dependencies of the crates.
//!
//! The page has a block of lines such as
//!
//! ```text
//! ring -> shm        platform -> ring, shm
//! myrixen -> mxoe, ring; feature `embedded` adds backend, link
//! sim -> mxoe (frames only), ring
//! ```
//!
//! where a name may leave out `myrixen-`. Page and manifests must say the same, both ways: a
//! dependency without an arrow is a breach of the design, an arrow without a dependency a stale page.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};

use crate::workspace::{Crate, Dependency, Workspace};

/// What one crate may use.
#[derive(Debug, Default, PartialEq, Eq)]
struct Uses {
    always: BTreeSet<String>,
    /// By feature.
    with: BTreeMap<String, BTreeSet<String>>,
}

/// Compares; every difference is a line for the reader.
///
/// # Errors
///
/// When the page cannot be understood.
pub(crate) fn check(workspace: &Workspace, page: &str) -> anyhow::Result<Vec<String>> {
    let arrows = parse(workspace, page)?;
    let none = Uses::default();
    let mut findings = Vec::new();
    for (name, member) in &workspace.crates {
        let uses = arrows.get(name).unwrap_or(&none);
        for (to, how) in &member.dependencies {
            if let Some(why) = breach(uses, to, *how, member) {
                findings.push(format!("{name} -> {to}: {why}"));
            }
        }
        let promised = uses.always.iter().chain(uses.with.values().flatten());
        for to in promised.filter(|to| !member.dependencies.contains_key(*to)) {
            findings.push(format!(
                "{name} -> {to}: an arrow of docs/architecture.md, but not a dependency"
            ));
        }
    }
    Ok(findings)
}

/// Why a dependency that `member` has is not one of its arrows; `None` when it is.
fn breach(uses: &Uses, to: &str, how: Dependency, member: &Crate) -> Option<String> {
    if uses.always.contains(to) {
        return (how == Dependency::Optional).then(|| {
            "optional, but the arrow of docs/architecture.md names no feature".to_owned()
        });
    }
    let mut features = uses
        .with
        .iter()
        .filter(|(_, adds)| adds.contains(to))
        .map(|(name, _)| name);
    let Some(feature) = features.next() else {
        return Some("a dependency, but not an arrow of docs/architecture.md".to_owned());
    };
    if how == Dependency::Always {
        return Some(format!(
            "docs/architecture.md has it only with the feature `{feature}`"
        ));
    }
    (!member.feature_enables(feature, to))
        .then(|| format!("the feature `{feature}` does not turn it on"))
}

/// The arrows of the page, by the full names of the crates.
fn parse(workspace: &Workspace, page: &str) -> anyhow::Result<BTreeMap<String, Uses>> {
    let mut arrows = BTreeMap::new();
    let section = page
        .split_once("\n## Crates and arrows")
        .map(|(_, rest)| rest.split("\n## ").next().unwrap_or(rest))
        .context("docs/architecture.md has no section `Crates and arrows`")?;
    for line in section.lines().filter(|line| line.contains(" -> ")) {
        for clause in clauses(line) {
            let (from, to) = clause
                .split_once(" -> ")
                .with_context(|| format!("docs/architecture.md: no arrow in `{clause}`"))?;
            let from = full_name(workspace, from.trim())?;
            let uses = parse_uses(workspace, to).with_context(|| format!("in `{clause}`"))?;
            if arrows.insert(from.clone(), uses).is_some() {
                bail!("docs/architecture.md says twice what {from} uses");
            }
        }
    }
    Ok(arrows)
}

/// Arrows on one line stand at least two blanks apart.
fn clauses(line: &str) -> impl Iterator<Item = &str> {
    line.split("  ")
        .map(str::trim)
        .filter(|clause| !clause.is_empty())
}

/// What stands right of an arrow: `a, b (remark), c; feature `x` adds d, e`.
fn parse_uses(workspace: &Workspace, right: &str) -> anyhow::Result<Uses> {
    let mut parts = right.split(';');
    let mut uses = Uses {
        always: names(workspace, parts.next().unwrap_or(""))?,
        ..Uses::default()
    };
    for part in parts {
        let (feature, adds) = part
            .trim()
            .strip_prefix("feature `")
            .and_then(|rest| rest.split_once("` adds "))
            .with_context(|| format!("`{}` is not `feature ... adds ...`", part.trim()))?;
        uses.with
            .insert(feature.to_owned(), names(workspace, adds)?);
    }
    Ok(uses)
}

/// A list of names, each perhaps with a remark in parentheses.
fn names(workspace: &Workspace, list: &str) -> anyhow::Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for item in list.split(',') {
        let name = item.split('(').next().unwrap_or(item).trim();
        names.insert(full_name(workspace, name)?);
    }
    Ok(names)
}

/// The crate that a short name on the page means.
fn full_name(workspace: &Workspace, short: &str) -> anyhow::Result<String> {
    [short.to_owned(), format!("myrixen-{short}")]
        .into_iter()
        .find(|name| workspace.crates.contains_key(name))
        .with_context(|| format!("docs/architecture.md names `{short}`, which is no crate"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::workspace::tests::example;

    fn page(arrows: &str) -> String {
        format!("# A\n\n## Crates and arrows\n\n```\n{arrows}\n```\n\n## Next\n\nx -> y\n")
    }

    fn findings(dependencies: &Value, arrows: &str) -> Vec<String> {
        check(&example(dependencies), &page(arrows)).expect("a page that parses")
    }

    #[test]
    fn a_dependency_needs_an_arrow() {
        let uses = json!([{"name": "myrixen-used", "kind": null, "optional": false}]);
        assert_eq!(
            findings(&uses, "user -> used (a remark)"),
            Vec::<String>::new()
        );
        let missing = findings(&uses, "used -> user");
        assert!(
            missing[0].contains("myrixen-used -> user: an arrow"),
            "{missing:?}"
        );
        assert!(
            missing[1].contains("user -> myrixen-used: a dependency, but not"),
            "{missing:?}"
        );
    }

    #[test]
    fn a_dependency_of_a_feature_is_optional() {
        let optional = json!([{"name": "myrixen-used", "kind": null, "optional": true}]);
        let always = json!([{"name": "myrixen-used", "kind": null, "optional": false}]);
        let arrow = |feature: &str| format!("user -> user; feature `{feature}` adds used");
        let only = |found: Vec<String>| {
            found
                .into_iter()
                .filter(|line| line.starts_with("user -> myrixen"))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            only(findings(&optional, &arrow("extra"))),
            Vec::<String>::new()
        );
        assert!(only(findings(&optional, &arrow("default")))[0].contains("does not turn it on"));
        assert!(only(findings(&always, &arrow("extra")))[0].contains("only with the feature"));
        assert!(only(findings(&optional, "user -> used"))[0].contains("names no feature"));
    }

    #[test]
    fn two_arrows_share_a_line() {
        let workspace = example(&json!([]));
        let arrows = parse(&workspace, &page("user -> used      used -> user")).expect("parses");
        assert_eq!(arrows.len(), 2);
    }

    #[test]
    fn a_name_that_is_no_crate_is_an_error() {
        assert!(check(&example(&json!([])), &page("user -> nowhere")).is_err());
        assert!(check(&example(&json!([])), "no section").is_err());
    }
}
