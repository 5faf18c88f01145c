//! What the environment says.

use std::time::Duration;

use myrixen::Wait;

use crate::codes::ReturnCode;
use crate::edge::Fault;

/// MX resends after about so long: `MX_MAX_RETRIES` times it are the patience with a silent partner.
const RETRY: Duration = Duration::from_millis(500);

/// Settings that are read when the library is initialized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Endpoints are not served outside of calls, though the process has threads of ours; waits spin.
    pub(crate) monothread: bool,
    /// Sends up to 32 KiB need not be acknowledged to be complete.
    pub(crate) zombie_send: bool,
    /// Guests of one host meet in shared memory.
    pub(crate) direct: bool,
    /// How long a silent partner is waited for.
    pub(crate) give_up: Option<Duration>,
    /// How blocking calls wait, where it is not for us to say.
    pub(crate) wait: Option<Wait>,
    pub(crate) verbose: bool,
    /// The boards wanted; empty for all that the guest has.
    pub(crate) boards: Vec<Wish>,
}

/// A board to attach as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) name: Option<String>,
    pub(crate) partition: Option<String>,
}

impl Settings {
    pub(crate) fn from_env() -> Result<Self, Fault> {
        Self::read(|name| std::env::var(name).ok())
    }

    fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let flag = |name: &str, default: bool| flag(variable(name).as_deref(), default);
        let retries = variable("MX_MAX_RETRIES").and_then(|text| text.trim().parse::<u32>().ok());
        let boards = variable("MYRIXEN_BOARDS").unwrap_or_default();
        let boards = boards.split(',').map(str::trim);
        let monothread = flag("MX_MONOTHREAD", false);
        let wait = match variable("MYRIXEN_WAIT").as_deref().map(str::trim) {
            None | Some("") => monothread.then_some(Wait::Spin),
            Some(text) => Some(wait(text)?),
        };
        Ok(Self {
            monothread,
            wait,
            zombie_send: flag("MX_ZOMBIE_SEND", flag("MX_ZOMBIE", true)),
            direct: !flag("MX_DISABLE_SHMEM", false) && !flag("MX_DISABLE_SHARED", false),
            give_up: retries.filter(|&n| n > 0).map(|n| RETRY.saturating_mul(n)),
            verbose: flag("MX_VERBOSE", false),
            boards: boards
                .filter(|wish| !wish.is_empty())
                .map(Wish::parse)
                .collect(),
        })
    }
}

/// `spin`, `sleep`, or for how many microseconds to spin before a sleep.
fn wait(text: &str) -> Result<Wait, Fault> {
    match (text, text.parse::<u32>()) {
        ("spin", _) => Ok(Wait::Spin),
        ("sleep", _) => Ok(Wait::Sleep),
        (_, Ok(micros)) => Ok(Wait::Adaptive(Duration::from_micros(micros.into()))),
        _ => {
            let why = format!(
                "MYRIXEN_WAIT={text}: it is `spin`, `sleep`, or for how many microseconds to spin before a sleep"
            );
            Err(Fault::new(ReturnCode::BadParamVal, why))
        }
    }
}

impl Wish {
    /// `NAME`, `NAME@PARTITION` or `@PARTITION`.
    fn parse(text: &str) -> Self {
        let (name, partition) = text.split_once('@').unwrap_or((text, ""));
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            name: some(name),
            partition: some(partition),
        }
    }
}

/// Whether the default error handler ends the program.
pub(crate) fn errors_are_fatal() -> bool {
    flag(std::env::var("MX_ERRORS_ARE_FATAL").ok().as_deref(), true)
}

fn flag(text: Option<&str>, default: bool) -> bool {
    match text.map(str::trim) {
        None | Some("") => default,
        Some("0") => false,
        Some(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(&str, &str)]) -> Settings {
        let pairs: Vec<(String, String)> = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let read = Settings::read(move |name| {
            let found = pairs.iter().find(|(held, _)| held == name);
            found.map(|(_, value)| value.clone())
        });
        read.expect("settings that make sense")
    }

    #[test]
    fn the_defaults_are_those_of_mx() {
        let settings = with(&[]);
        assert!(settings.zombie_send && settings.direct && !settings.monothread);
        assert_eq!((settings.give_up, settings.boards.len()), (None, 0));
    }

    #[test]
    fn each_variable_has_its_effect() {
        assert!(with(&[("MX_MONOTHREAD", "1")]).monothread);
        assert!(!with(&[("MX_ZOMBIE_SEND", "0")]).zombie_send);
        assert!(!with(&[("MX_ZOMBIE", "0")]).zombie_send);
        assert!(!with(&[("MX_DISABLE_SHMEM", "1")]).direct);
        assert!(!with(&[("MX_DISABLE_SHARED", "1")]).direct);
        assert!(with(&[("MX_VERBOSE", "1")]).verbose);
        assert_eq!(with(&[("MX_MONOTHREAD", "1")]).wait, Some(Wait::Spin));
        let wait = |text| with(&[("MYRIXEN_WAIT", text), ("MX_MONOTHREAD", "1")]).wait;
        assert_eq!(wait("sleep"), Some(Wait::Sleep));
        assert_eq!(wait("30"), Some(Wait::Adaptive(Duration::from_micros(30))));
        assert_eq!(wait(""), Some(Wait::Spin));
        assert!(super::wait("-1").is_err() && super::wait("often").is_err());
        let retries = with(&[("MX_MAX_RETRIES", "10")]);
        assert_eq!(retries.give_up, Some(Duration::from_secs(5)));
    }

    #[test]
    fn boards_are_names_and_partitions() {
        let boards = with(&[("MYRIXEN_BOARDS", "a, b@blue,@red")]).boards;
        let wish = |name: Option<&str>, partition: Option<&str>| Wish {
            name: name.map(str::to_owned),
            partition: partition.map(str::to_owned),
        };
        assert_eq!(
            boards,
            [
                wish(Some("a"), None),
                wish(Some("b"), Some("blue")),
                wish(None, Some("red"))
            ]
        );
    }
}
