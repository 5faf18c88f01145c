//! The workspace as `cargo metadata` describes it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use serde_json::Value;

/// The workspace: where it is and which crates are its members.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// The members, by package name.
    pub(crate) crates: BTreeMap<String, Crate>,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Crate {
    /// The folder of its manifest.
    pub(crate) folder: PathBuf,
    /// The root files of its library and programs; not those of tests, examples and benches.
    pub(crate) roots: Vec<PathBuf>,
    /// Other members it depends on, outside its tests.
    pub(crate) dependencies: BTreeMap<String, Dependency>,
    /// Its features, and what each enables.
    pub(crate) features: BTreeMap<String, Vec<String>>,
}

/// How one member depends on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dependency {
    /// Always.
    Always,
    /// Only with a feature that asks for it.
    Optional,
}

impl Workspace {
    /// Asks cargo about the workspace that this program belongs to.
    ///
    /// # Errors
    ///
    /// When cargo cannot be run, fails, or answers what it should not.
    pub(crate) fn load() -> anyhow::Result<Self> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
            .args([
                "--manifest-path",
                concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"),
            ])
            .output()
            .context("cannot run cargo metadata")?;
        ensure!(
            output.status.success(),
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
        Self::from_metadata(&value)
    }

    /// Reads what `cargo metadata --no-deps` printed.
    ///
    /// # Errors
    ///
    /// When a field that cargo promises is missing.
    pub(crate) fn from_metadata(metadata: &Value) -> anyhow::Result<Self> {
        let root = PathBuf::from(text(metadata, "workspace_root")?);
        let packages = list(metadata, "packages")?;
        let mut names = Vec::new();
        for package in packages {
            names.push(text(package, "name")?.to_owned());
        }
        let mut crates = BTreeMap::new();
        for package in packages {
            crates.insert(
                text(package, "name")?.to_owned(),
                Crate::read(package, &names)?,
            );
        }
        Ok(Self { root, crates })
    }

    /// Reads a file of the workspace, named relative to its root.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> anyhow::Result<String> {
        let path = self.root.join(path);
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

impl Crate {
    fn read(package: &Value, members: &[String]) -> anyhow::Result<Self> {
        let manifest = Path::new(text(package, "manifest_path")?);
        let Some(folder) = manifest.parent() else {
            bail!("a manifest without a folder: {}", manifest.display());
        };
        let mut roots = Vec::new();
        for target in list(package, "targets")? {
            let published = list(target, "kind")?
                .iter()
                .filter_map(Value::as_str)
                .any(|kind| {
                    matches!(
                        kind,
                        "lib" | "rlib" | "cdylib" | "staticlib" | "proc-macro" | "bin"
                    )
                });
            if published {
                roots.push(PathBuf::from(text(target, "src_path")?));
            }
        }
        let mut dependencies = BTreeMap::new();
        for dependency in list(package, "dependencies")? {
            let name = text(dependency, "name")?;
            // Tests may use whatever they like; cargo says null for an ordinary dependency.
            let for_tests = dependency.get("kind").and_then(Value::as_str) == Some("dev");
            if for_tests || !members.iter().any(|member| member == name) {
                continue;
            }
            let optional = dependency.get("optional").and_then(Value::as_bool) == Some(true);
            let how = if optional {
                Dependency::Optional
            } else {
                Dependency::Always
            };
            dependencies.insert(name.to_owned(), how);
        }
        let mut features = BTreeMap::new();
        if let Some(table) = package.get("features").and_then(Value::as_object) {
            for (name, enables) in table {
                let enables = enables.as_array().map(Vec::as_slice).unwrap_or_default();
                let enables = enables
                    .iter()
                    .filter_map(Value::as_str)
                    .map(str::to_owned)
                    .collect();
                features.insert(name.clone(), enables);
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            roots,
            dependencies,
            features,
        })
    }

    /// Whether `feature` turns the optional dependency `name` on, itself or through other features.
    pub(crate) fn feature_enables(&self, feature: &str, name: &str) -> bool {
        let mut pending = vec![feature];
        let mut seen = Vec::new();
        while let Some(next) = pending.pop() {
            if seen.contains(&next) {
                continue;
            }
            seen.push(next);
            for enabled in self.features.get(next).into_iter().flatten() {
                let plain = enabled.strip_prefix("dep:").unwrap_or(enabled);
                if plain.split('/').next() == Some(name) && !plain.contains("?/") {
                    return true;
                }
                pending.push(enabled);
            }
        }
        false
    }
}

fn text<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a str> {
    value
        .get(key)
        .and_then(Value::as_str)
        .with_context(|| format!("cargo metadata has no text `{key}`"))
}

fn list<'a>(value: &'a Value, key: &str) -> anyhow::Result<&'a [Value]> {
    let list = value.get(key).and_then(Value::as_array);
    list.map(Vec::as_slice)
        .with_context(|| format!("cargo metadata has no list `{key}`"))
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;

    /// Two members, `user` and `myrixen-used`, and what the first depends on.
    pub(crate) fn example(dependencies: &Value) -> Workspace {
        let package = |name: &str, dependencies: &Value| {
            json!({
                "name": name,
                "manifest_path": format!("/w/{name}/Cargo.toml"),
                "targets": [
                    {"kind": ["lib"], "src_path": format!("/w/{name}/src/lib.rs")},
                    {"kind": ["test"], "src_path": format!("/w/{name}/tests/t.rs")},
                ],
                "dependencies": dependencies,
                "features": {"default": [], "extra": ["dep:myrixen-used"], "all": ["extra"]},
            })
        };
        let metadata = json!({
            "workspace_root": "/w",
            "packages": [package("user", dependencies), package("myrixen-used", &json!([]))],
        });
        Workspace::from_metadata(&metadata).expect("well-formed metadata")
    }

    #[test]
    fn dependencies_of_tests_and_on_other_packages_do_not_count() {
        let workspace = example(&json!([
            {"name": "myrixen-used", "kind": "dev", "optional": false},
            {"name": "serde", "kind": null, "optional": false},
        ]));
        assert!(workspace.crates["user"].dependencies.is_empty());
        assert_eq!(
            workspace.crates["user"].roots,
            [Path::new("/w/user/src/lib.rs")]
        );
    }

    #[test]
    fn a_feature_enables_through_another() {
        let workspace = example(&json!([{"name": "myrixen-used", "kind": null, "optional": true}]));
        let user = &workspace.crates["user"];
        assert_eq!(user.dependencies["myrixen-used"], Dependency::Optional);
        assert!(user.feature_enables("extra", "myrixen-used"));
        assert!(user.feature_enables("all", "myrixen-used"));
        assert!(!user.feature_enables("default", "myrixen-used"));
    }
}
