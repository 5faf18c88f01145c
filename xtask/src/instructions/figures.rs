//! Figures and the file they are committed in.

use std::process::Command;

use anyhow::{Context, ensure};
use serde::Deserialize;

/// Instructions per operation of each bench, and what compiled them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Figures {
    pub(super) compiler: Compiler,
    /// In the order they ran.
    pub(super) benches: Vec<(String, f64)>,
}

/// What instructions depend on besides the code.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Compiler {
    /// What `rustc --version` says.
    pub(super) rustc: String,
    /// The machine that it compiles for, as a target triple.
    pub(super) host: String,
}

/// The file as it is laid out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    rustc: String,
    host: String,
    instructions: toml::Table,
}

const HEAD: &str = "\
# Instructions per operation, written by `cargo xtask instructions --accept`; docs/testing.md says what each operation is.
";

impl Compiler {
    /// The compiler that cargo uses here.
    ///
    /// # Errors
    ///
    /// When it cannot be asked.
    pub(super) fn here() -> anyhow::Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .arg("-vV")
            .output()
            .context("cannot run rustc")?;
        ensure!(output.status.success(), "rustc -vV failed");
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// Reads what `rustc -vV` printed.
    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut lines = text.lines();
        let rustc = lines.next().context("rustc -vV said nothing")?;
        let host = lines
            .find_map(|line| line.strip_prefix("host: "))
            .context("rustc -vV names no host")?;
        Ok(Self {
            rustc: rustc.to_owned(),
            host: host.to_owned(),
        })
    }
}

impl Figures {
    /// Reads the committed file.
    ///
    /// # Errors
    ///
    /// When it is not what [`render`](Self::render) writes.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        let mut benches = Vec::new();
        for (name, value) in file.instructions {
            let figure = value.as_float().filter(|figure| *figure > 0.0);
            let figure = figure.with_context(|| format!("{name} is no count"))?;
            benches.push((name, figure));
        }
        Ok(Self {
            compiler: Compiler {
                rustc: file.rustc,
                host: file.host,
            },
            benches,
        })
    }

    /// The file with these figures.
    pub(super) fn render(&self) -> String {
        let Compiler { rustc, host } = &self.compiler;
        let mut text = format!("{HEAD}rustc = {rustc:?}\nhost = {host:?}\n\n[instructions]\n");
        for (name, figure) in &self.benches {
            text.push_str(&format!("{name} = {figure:.2}\n"));
        }
        text
    }

    /// The figure of a bench.
    pub(super) fn of(&self, name: &str) -> Option<f64> {
        let bench = self.benches.iter().find(|(known, _)| known == name);
        bench.map(|(_, figure)| *figure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let figures = Figures {
            compiler: Compiler {
                rustc: "rustc 1.95.0 (59807616e 2026-04-14)".to_owned(),
                host: "x86_64-unknown-linux-gnu".to_owned(),
            },
            benches: vec![("alpha".to_owned(), 950.3), ("beta".to_owned(), 98.0)],
        };
        let text = figures.render();
        assert!(text.ends_with("alpha = 950.30\nbeta = 98.00\n"), "{text}");
        assert_eq!(Figures::parse(&text).expect("its own"), figures);
    }

    #[test]
    fn what_is_no_count_is_refused() {
        let file =
            |figure: &str| format!("rustc = \"\"\nhost = \"\"\n[instructions]\na = {figure}\n");
        assert!(Figures::parse(&file("1.5")).is_ok());
        assert!(Figures::parse(&file("0.0")).is_err());
        assert!(Figures::parse(&file("\"many\"")).is_err());
    }

    #[test]
    fn the_compiler_says_what_it_is() {
        let text =
            "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        let compiler = Compiler::parse(text).expect("complete");
        assert_eq!(compiler.host, "x86_64-unknown-linux-gnu");
        assert!(Compiler::parse("rustc 1.95.0\n").is_err());
    }
}
