//! What the configuration files of MyriXen's daemons have in common: errors that name the line and what was meant, rules
//! of the policy, file modes, and the log.
//!
//! It opens nothing but the files it is told to read, and starts nothing but the log.
//!
//! ```
//! use myrixen_settings::{RawRule, parse, policy};
//! use serde::Deserialize;
//!
//! #[derive(Debug, Default, Deserialize)]
//! #[serde(deny_unknown_fields, default)]
//! struct File {
//!     policy: Vec<RawRule>,
//! }
//!
//! let file: File = parse("[[policy]]\nusers = [1000]\n", "an example")?;
//! let policy = policy(&file.policy, None, None)?;
//! assert_eq!(policy.rules.len(), 1);
//!
//! let error = parse::<File>("[[policy]]\nuser = [1000]\n", "an example").unwrap_err();
//! assert_eq!(error.to_string(), "an example, line 2: unknown setting `user`; did you mean `users`?");
//! # Ok::<(), myrixen_settings::ConfigError>(())
//! ```
#![forbid(unsafe_code)]

mod error;
mod log;
mod policy;

use std::path::Path;

use serde::de::DeserializeOwned;

pub use error::ConfigError;
pub use log::Log;
pub use policy::{RawId, RawRule, policy};

/// Reads settings from text; `name` is what errors call it.
///
/// # Errors
/// [`ConfigError::Text`].
pub fn parse<T: DeserializeOwned>(text: &str, name: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| ConfigError::text(name, text, &error))
}

/// Reads settings from `given`, or from `default` if there is such a file, or takes what is said without any.
///
/// # Errors
/// [`ConfigError`].
pub fn load<T: DeserializeOwned + Default>(
    given: Option<&Path>,
    default: &str,
) -> Result<T, ConfigError> {
    let path = given.or_else(|| Some(Path::new(default)).filter(|path| path.exists()));
    let Some(path) = path else {
        return Ok(T::default());
    };
    let unreadable = |source| ConfigError::Unreadable {
        path: path.to_path_buf(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text, &path.display().to_string())
}

/// An octal file mode.
///
/// # Errors
/// [`ConfigError::Setting`].
pub fn mode(given: Option<String>, default: u32, setting: &str) -> Result<u32, ConfigError> {
    let Some(text) = given else {
        return Ok(default);
    };
    match u32::from_str_radix(&text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err(ConfigError::setting(
            setting,
            format!("{text:?} is not an octal mode such as \"0660\""),
        )),
    }
}

/// Puts what a flag gave over what the file said.
pub fn put<T: Clone>(given: &Option<T>, over: &mut Option<T>) {
    if given.is_some() {
        over.clone_from(given);
    }
}
