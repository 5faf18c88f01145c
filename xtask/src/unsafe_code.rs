//! `unsafe` stays where docs/architecture.md allows it.
//!
//! The page says so in one sentence: "`unsafe` is allowed in `A` and in the `sys` modules of `B` and
//! `C`; ...". Crates of the first kind may use it anywhere, those of the second deny it and allow
//! it in `sys.rs` and below `sys/`, all others forbid it in the root of each library and program.
//! Tests, examples and fuzz targets hold none either.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::source::{SourceFile, code_only};
use crate::workspace::Workspace;

/// What the page allows a crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Allowed {
    Everywhere,
    InSys,
}

/// Finds crates that do not forbid it, and uses of it.
///
/// # Errors
///
/// When the page does not say what is allowed.
pub(crate) fn check(
    workspace: &Workspace,
    files: &[SourceFile],
    page: &str,
) -> anyhow::Result<Vec<String>> {
    let allowed = parse(page)?;
    let mut findings = Vec::new();
    for name in allowed
        .keys()
        .filter(|name| !workspace.crates.contains_key(*name))
    {
        findings.push(format!(
            "docs/architecture.md allows `unsafe` in `{name}`, which is no crate"
        ));
    }
    for (name, member) in &workspace.crates {
        let wanted = match allowed.get(name) {
            None => "#![forbid(unsafe_code)]",
            Some(Allowed::InSys) => "#![deny(unsafe_code)]",
            Some(Allowed::Everywhere) => continue,
        };
        for root in &member.roots {
            let path = root.strip_prefix(&workspace.root).unwrap_or(root);
            let has = files
                .iter()
                .find(|file| file.path == path)
                .is_some_and(|file| {
                    code_only(&file.text)
                        .lines()
                        .any(|line| line.trim() == wanted)
                });
            if !has {
                findings.push(format!("{}: lacks `{wanted}`", path.display()));
            }
        }
    }
    for file in files {
        let owner = workspace.crates.iter().find(|(_, member)| {
            let folder = member
                .folder
                .strip_prefix(&workspace.root)
                .unwrap_or(&member.folder);
            file.path.starts_with(folder)
        });
        let here = owner.and_then(|(name, _)| allowed.get(name));
        let fine = match here {
            Some(Allowed::Everywhere) => true,
            Some(Allowed::InSys) => in_sys(&file.path),
            None => false,
        };
        if !fine {
            findings.extend(uses(file));
        }
    }
    Ok(findings)
}

/// Whether a file belongs to a module called `sys`.
fn in_sys(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == "sys.rs") || path.iter().any(|part| part == "sys")
}

/// Where a file uses the word in its code.
fn uses(file: &SourceFile) -> Vec<String> {
    code_only(&file.text)
        .lines()
        .enumerate()
        .filter(|(_, line)| {
            line.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .any(|word| word == "unsafe")
        })
        .map(|(index, _)| {
            format!(
                "{}:{}: `unsafe` is not allowed here",
                file.path.display(),
                index + 1
            )
        })
        .collect()
}

/// What the page allows, by crate.
fn parse(page: &str) -> anyhow::Result<BTreeMap<String, Allowed>> {
    let joined = page.split_whitespace().collect::<Vec<_>>().join(" ");
    let (_, rest) = joined
        .split_once("`unsafe` is allowed in ")
        .context("docs/architecture.md does not say where `unsafe` is allowed")?;
    let sentence = rest.split([';', '.']).next().unwrap_or(rest);
    let (everywhere, in_sys) = match sentence.split_once("in the `sys` modules of ") {
        Some((before, after)) => (before, after),
        None => (sentence, ""),
    };
    let mut allowed = BTreeMap::new();
    for (list, what) in [(everywhere, Allowed::Everywhere), (in_sys, Allowed::InSys)] {
        allowed.extend(
            list.split('`')
                .skip(1)
                .step_by(2)
                .map(|name| (name.to_owned(), what)),
        );
    }
    ensure!(
        !allowed.is_empty(),
        "docs/architecture.md names no crate that may use `unsafe`"
    );
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::workspace::tests::example;

    const PAGE: &str =
        "Text. `unsafe` is allowed in `myrixen-used` and in\nthe `sys` modules of `user`; no more.";

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile {
            path: path.into(),
            text: text.to_owned(),
        }
    }

    fn findings(files: &[SourceFile], page: &str) -> Vec<String> {
        check(&example(&json!([])), files, page).expect("a page that parses")
    }

    #[test]
    fn the_page_says_where() {
        let allowed = parse(PAGE).expect("parses");
        assert_eq!(allowed["myrixen-used"], Allowed::Everywhere);
        assert_eq!(allowed["user"], Allowed::InSys);
        assert!(parse("nothing").is_err());
    }

    #[test]
    fn a_root_must_deny_or_forbid() {
        let bare = [file("user/src/lib.rs", "// #![deny(unsafe_code)]\n")];
        assert_eq!(
            findings(&bare, PAGE),
            ["user/src/lib.rs: lacks `#![deny(unsafe_code)]`"]
        );
        let good = [file("user/src/lib.rs", "#![deny(unsafe_code)]\n")];
        assert_eq!(findings(&good, PAGE), Vec::<String>::new());
        let other = findings(&good, "`unsafe` is allowed in `myrixen-used`.");
        assert_eq!(other, ["user/src/lib.rs: lacks `#![forbid(unsafe_code)]`"]);
    }

    #[test]
    fn uses_outside_sys_are_found() {
        let files = [
            file(
                "user/src/lib.rs",
                "#![deny(unsafe_code)]\nfn f() { unsafe { g() } }\n",
            ),
            file("user/src/sys.rs", "fn f() { unsafe { g() } }\n"),
            file("user/src/sys/map.rs", "fn f() { unsafe { g() } }\n"),
            file("user/tests/t.rs", "fn f() { \"unsafe\"; unsafe_name(); }\n"),
            file("myrixen-used/src/lib.rs", "fn f() { unsafe { g() } }\n"),
            file("fuzz/one.rs", "unsafe fn f() {}\n"),
        ];
        assert_eq!(
            findings(&files, PAGE),
            [
                "user/src/lib.rs:2: `unsafe` is not allowed here",
                "fuzz/one.rs:1: `unsafe` is not allowed here"
            ]
        );
    }
}
