//! How long files and functions are.
//!
//! Files aim under 500 lines and functions under 50; 800 and 100 are errors. The count is of lines as they
//! stand, comments and blanks included, in code that rustfmt has laid out: a function that begins at
//! some column ends at the first closing brace in that column.

use crate::source::{SourceFile, code_only};

/// Lines that a file should stay below.
pub(crate) const FILE_AIM: usize = 500;
/// Lines that a file must not exceed.
pub(crate) const FILE_CAP: usize = 800;
/// Lines that a function should stay below.
pub(crate) const FUNCTION_AIM: usize = 50;
/// Lines that a function must not exceed.
pub(crate) const FUNCTION_CAP: usize = 100;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Lengths {
    /// What exceeds a cap.
    pub(crate) findings: Vec<String>,
    /// Functions seen.
    pub(crate) functions: usize,
    /// Files above their aim.
    pub(crate) long_files: usize,
    /// Functions above their aim.
    pub(crate) long_functions: usize,
}

/// Counts all files.
pub(crate) fn check(files: &[SourceFile]) -> Lengths {
    let mut lengths = Lengths::default();
    for file in files {
        let count = file.text.lines().count();
        if count > FILE_CAP {
            lengths.findings.push(format!(
                "{}: {count} lines; at most {FILE_CAP}",
                file.path.display()
            ));
        }
        lengths.long_files += usize::from(count > FILE_AIM);
        for function in functions(&file.text) {
            lengths.functions += 1;
            lengths.long_functions += usize::from(function.lines > FUNCTION_AIM);
            if function.lines > FUNCTION_CAP {
                lengths.findings.push(format!(
                    "{}:{}: `{}` has {} lines; at most {FUNCTION_CAP}",
                    file.path.display(),
                    function.at,
                    function.name,
                    function.lines,
                ));
            }
        }
    }
    lengths
}

/// One function with a body.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    /// Line number, from 1.
    at: usize,
    lines: usize,
}

fn functions(text: &str) -> Vec<Function> {
    let code = code_only(text);
    let lines: Vec<&str> = code.lines().collect();
    let mut functions = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = begins(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let end = lines.iter().skip(index).position(|later| {
            let same_column = later.len() - later.trim_start().len() == indent;
            let last = later.trim_end();
            same_column && (last.ends_with('}') || last.ends_with(';'))
        });
        let Some(end) = end else { continue };
        // A declaration without a body ends with a semicolon.
        if lines
            .get(index + end)
            .is_some_and(|last| last.trim_end().ends_with('}'))
        {
            functions.push(Function {
                name: name.to_owned(),
                at: index + 1,
                lines: end + 1,
            });
        }
    }
    functions
}

/// The name of the function that begins on this line of code.
fn begins(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let only_qualifiers = before.split_whitespace().all(|word| {
        matches!(
            word,
            "pub" | "const" | "async" | "unsafe" | "extern" | "default"
        ) || word.starts_with("pub(")
    });
    let name = after
        .split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()?;
    (only_qualifiers && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_measured_from_brace_to_brace() {
        let text = "impl A {\n    pub(crate) const fn one(\n        a: u8,\n    ) -> u8 {\n        if a { b }\n        \"\n    }\n\"\n    }\n\n    fn two();\n    fn three() {}\n}\n";
        let found = functions(text);
        let names: Vec<_> = found
            .iter()
            .map(|f| (f.name.as_str(), f.at, f.lines))
            .collect();
        assert_eq!(names, [("one", 2, 8), ("three", 12, 1)]);
    }

    #[test]
    fn words_that_look_like_a_function_are_none() {
        assert_eq!(begins("    let f: fn (u8) = g;"), None);
        assert_eq!(begins("// fn a() {"), None);
        assert_eq!(begins("pub(crate) async fn a() {"), Some("a"));
    }

    #[test]
    fn the_caps_are_errors_and_the_aims_are_counted() {
        let body = "    x();\n".repeat(FUNCTION_CAP - 2);
        let at_cap = format!("fn a() {{\n{body}}}\n");
        let over = format!("fn a() {{\n{body}    x();\n}}\n");
        let file = |text: &str| SourceFile {
            path: "a.rs".into(),
            text: text.to_owned(),
        };
        let fine = check(&[file(&at_cap)]);
        assert_eq!(
            (fine.findings.len(), fine.long_functions, fine.long_files),
            (0, 1, 0)
        );
        assert_eq!(
            check(&[file(&over)]).findings,
            ["a.rs:1: `a` has 101 lines; at most 100"]
        );
        let long = check(&[file(&"\n".repeat(FILE_CAP + 1))]);
        assert_eq!(long.findings, ["a.rs: 801 lines; at most 800"]);
    }
}
