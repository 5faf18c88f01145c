//! What is left of a test: the consoles, and its results.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use serde_json::{Map, Value};

use super::console::{Domain, Line};

/// Lines of each console that are printed when a test fails; the files have all of them.
const SHOWN: usize = 120;

/// The record of one test.
#[derive(Debug)]
pub(crate) struct Record {
    folder: PathBuf,
    consoles: BTreeMap<String, Console>,
    results: Vec<Value>,
}

#[derive(Debug)]
struct Console {
    path: PathBuf,
    file: File,
    lines: Vec<String>,
}

/// What a console is called: the domain's name, after the host's where there are two.
pub(crate) fn console_name(hosts: u32, host: char, domain: &Domain) -> String {
    if hosts == 1 {
        domain.to_string()
    } else {
        format!("{host}-{domain}")
    }
}

/// Removes what is left of an earlier run, if anything is.
///
/// # Errors
///
/// When it cannot be removed.
pub(crate) fn clear(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    Ok(())
}

impl Record {
    /// An empty record in `folder`; what was there before is gone.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        clear(folder)?;
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(Self {
            folder: folder.to_owned(),
            consoles: BTreeMap::new(),
            results: Vec::new(),
        })
    }

    /// Adds a line to the console called `name`.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn line(&mut self, name: &str, at: Duration, line: &Line) -> anyhow::Result<()> {
        if !self.consoles.contains_key(name) {
            let path = self.folder.join(format!("console-{name}.log"));
            let file =
                File::create(&path).with_context(|| format!("cannot create {}", path.display()))?;
            let console = Console {
                path,
                file,
                lines: Vec::new(),
            };
            self.consoles.insert(name.to_owned(), console);
        }
        let Some(console) = self.consoles.get_mut(name) else {
            return Ok(());
        };
        let text = format!("{:8.2} {}", at.as_secs_f64(), line.text);
        writeln!(console.file, "{text}")
            .with_context(|| format!("cannot write {}", console.path.display()))?;
        console.lines.push(text);
        Ok(())
    }

    /// Adds a result, with the name of the console that it came from.
    pub(crate) fn result(&mut self, name: &str, mut result: Map<String, Value>) {
        result.entry("domain").or_insert_with(|| Value::from(name));
        self.results.push(Value::Object(result));
    }

    /// Writes `results.json`. Returns how many there are.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn finish(&self) -> anyhow::Result<usize> {
        let path = self.folder.join("results.json");
        let text = serde_json::to_string_pretty(&self.results).context("results are JSON")?;
        std::fs::write(&path, text + "\n")
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(self.results.len())
    }

    /// Prints the ends of all consoles.
    pub(crate) fn print(&self) {
        for (name, console) in &self.consoles {
            println!("--- {name}: {}", console.path.display());
            let left_out = console.lines.len().saturating_sub(SHOWN);
            if left_out > 0 {
                println!("    ({left_out} lines left out)");
            }
            for line in console.lines.iter().skip(left_out) {
                println!("{line}");
            }
        }
        println!("---");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_and_results_become_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut record = Record::create(&folder.path().join("t")).expect("created");
        let line = Line::parse(b"<domU1> hello");
        let name = console_name(2, 'b', &line.domain);
        record
            .line(&name, Duration::from_millis(1500), &line)
            .expect("written");
        let result = serde_json::json!({"us": 1});
        record.result(&name, result.as_object().expect("one").clone());
        assert_eq!(record.finish().expect("written"), 1);

        let read = |name: &str| {
            std::fs::read_to_string(folder.path().join("t").join(name)).expect("there")
        };
        assert_eq!(read("console-b-domU1.log"), "    1.50 hello\n");
        let results: Value = serde_json::from_str(&read("results.json")).expect("JSON");
        assert_eq!(results, serde_json::json!([{"us": 1, "domain": "b-domU1"}]));
    }
}
