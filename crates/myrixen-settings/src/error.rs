//! What is wrong with a configuration, said so that it can be put right.

use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with a configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file is no TOML, or has something in it that does not belong there.
    #[error("{file}, line {line}: {problem}")]
    Text {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there, and what was perhaps meant.
        problem: String,
    },
    /// A setting that cannot be as it is.
    #[error("{setting}: {problem}")]
    Setting {
        /// The setting, with where it stands.
        setting: String,
        /// What is wrong.
        problem: String,
    },
}

impl ConfigError {
    /// A setting that cannot be as it is.
    pub fn setting(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Setting {
            setting: setting.into(),
            problem: problem.into(),
        }
    }

    /// An error of the parser, with the line instead of a byte and a guess at what was meant.
    pub(crate) fn text(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|&&b| b == b'\n')
            .count()
            + 1;
        let message = error.message();
        let problem = unknown_setting(message).unwrap_or_else(|| message.replace('\n', " "));
        Self::Text {
            file: file.to_owned(),
            line,
            problem,
        }
    }
}

/// Serde's "unknown field `x`, expected one of `a`, `b`", as a person wants to hear it.
fn unknown_setting(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field `")?;
    let (unknown, rest) = rest.split_once('`')?;
    // Every second piece between backquotes is a name.
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let best = known.iter().map(|k| (distance(unknown, k), *k)).min();
    Some(match best {
        Some((far, near)) if far <= (unknown.len().max(near.len()) / 2).max(1) => {
            format!("unknown setting `{unknown}`; did you mean `{near}`?")
        }
        _ => {
            format!(
                "unknown setting `{unknown}`; possible here: {}",
                known.join(", ")
            )
        }
    })
}

/// How many letters have to be put in, taken out or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let change = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_counted_in_letters() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("socket", "sokcet"), 2);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
