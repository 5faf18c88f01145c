//! The Rust files of the repository, and their code without comments and texts.

use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::workspace::Workspace;

/// One file.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Relative to the root of the workspace.
    pub(crate) path: PathBuf,
    /// As it is.
    pub(crate) text: String,
}

/// Folders that hold no source of ours.
const SKIPPED: [&str; 4] = ["target", ".git", "corpus", "artifacts"];

/// All Rust files below the workspace's root, the fuzz targets included, in order of their paths.
///
/// # Errors
///
/// When a folder or file cannot be read.
pub(crate) fn collect(workspace: &Workspace) -> anyhow::Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    walk(&workspace.root, &workspace.root, &mut files)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> anyhow::Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if path.is_dir() {
            if !SKIPPED.contains(&name) {
                walk(root, &path, files)?;
            }
        } else if name.ends_with(".rs") {
            let text = std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
            files.push(SourceFile { path, text });
        }
    }
    Ok(())
}

/// The text with the contents of comments, strings and character literals blanked out: same lines, same
/// columns, and what is left is code.
pub(crate) fn code_only(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = skip(rest, out.chars().next_back());
        let taken = if skipped == 0 {
            first.len_utf8()
        } else {
            skipped
        };
        let (piece, after) = rest.split_at(taken);
        if skipped == 0 {
            out.push_str(piece);
        } else {
            out.extend(piece.chars().map(|c| if c == '\n' { c } else { ' ' }));
        }
        rest = after;
    }
    out
}

/// How many bytes at the start of `rest` are a comment or a literal; 0 when code stands there.
fn skip(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest)
    } else if rest.starts_with('"') {
        quoted(rest, 1)
    } else if rest.starts_with('r') && !in_word {
        raw_string(rest, 1)
    } else if rest.starts_with("br") && !in_word {
        raw_string(rest, 2)
    } else if rest.starts_with('\'') {
        character(rest)
    } else {
        0
    }
}

/// The length of a block comment; they nest.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_u32;
    let bytes = rest.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// The length of a string literal whose text begins at `from`.
fn quoted(rest: &str, from: usize) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(from) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a raw string literal whose prefix has `prefix` bytes; 0 when it is none.
fn raw_string(rest: &str, prefix: usize) -> usize {
    let hashes = rest
        .bytes()
        .skip(prefix)
        .take_while(|byte| *byte == b'#')
        .count();
    let open = prefix + hashes;
    if rest.as_bytes().get(open) != Some(&b'"') {
        return 0;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    let body = open + 1;
    rest[body..]
        .find(&close)
        .map_or(rest.len(), |end| body + end + close.len())
}

/// The length of a character literal; 0 for a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match chars.next() {
        Some((_, '\\')) => {
            let after_escape = rest.char_indices().nth(3).map_or(rest.len(), |(at, _)| at);
            rest[after_escape..]
                .find('\'')
                .map_or(0, |end| after_escape + end + 1)
        }
        Some(_) => match chars.next() {
            Some((at, '\'')) => at + 1,
            _ => 0,
        },
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        code_only(text)
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn comments_and_texts_are_blanked() {
        assert_eq!(
            words("a /* unsafe /* nested */ still */ b // unsafe\nc"),
            ["a", "b", "c"]
        );
        assert_eq!(words(r#"x "un\"safe" y"#), ["x", "y"]);
        assert_eq!(
            words("f(r#\"unsafe \" \"# , br\"unsafe\")"),
            ["f(", ",", ")"]
        );
        assert_eq!(words(r"'a' '\'' '\u{1F}' &'a str"), ["&'a", "str"]);
    }

    #[test]
    fn an_r_in_a_word_begins_no_raw_string() {
        assert_eq!(
            words("for r in bar { hdr }"),
            ["for", "r", "in", "bar", "{", "hdr", "}"]
        );
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text = "a\n\"two\nlines\"\n/* three\nmore */ b\n";
        assert_eq!(code_only(text).lines().count(), text.lines().count());
        assert!(
            code_only(text)
                .lines()
                .nth(4)
                .is_some_and(|line| line.ends_with('b'))
        );
    }

    #[test]
    fn unfinished_pieces_end_with_the_file() {
        for text in ["\"abc", "/* abc", "r#\"abc", "'", "'\\", "//"] {
            assert_eq!(code_only(text).len(), text.len(), "{text}");
        }
    }
}
