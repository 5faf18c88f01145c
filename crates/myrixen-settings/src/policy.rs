//! Who may attach as what.

use myrixen_platform::message::{GuestLimits, Name};
use myrixen_platform::{Names, Policy, Rule, Who};
use serde::Deserialize;

use crate::ConfigError;

/// A rule as the file has it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RawRule {
    /// About everybody.
    pub anyone: bool,
    /// About these users.
    pub users: Vec<RawId>,
    /// About members of these groups.
    pub groups: Vec<RawId>,
    /// Partitions they may be in.
    pub partitions: Option<Vec<String>>,
    /// Boards they may have.
    pub boards: Option<Vec<String>>,
    /// How many of an owner.
    pub max_guests: Option<u32>,
    /// Ports of each.
    pub ports: Option<u16>,
    /// Direct channels of each.
    pub directs: Option<u16>,
    /// Largest ring of each.
    pub ring_bytes: Option<u32>,
}

/// A user or a group, by number or by name.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum RawId {
    /// By number.
    Number(u32),
    /// As `/etc/passwd` or `/etc/group` has it.
    Name(String),
}

/// What a guest may have unless its rule says otherwise. A ring of 16 MiB holds the window of a
/// fast uplink; the memory is the guest's.
const LIMITS: GuestLimits = GuestLimits {
    ports: 256,
    directs: 1024,
    ring_bytes: 1 << 24,
};
/// Guests attached at once, unless configured.
const MAX_GUESTS: u32 = 512;

/// The configured rules, or a single one: whoever may open the socket may attach as anything. `partitions` are those there
/// are, `None` when somebody else knows.
///
/// # Errors
/// [`ConfigError`] names the rule and the setting.
pub fn policy(
    rules: &[RawRule],
    max_guests: Option<u32>,
    partitions: Option<&[&str]>,
) -> Result<Policy, ConfigError> {
    let max_guests = max_guests.unwrap_or(MAX_GUESTS);
    if max_guests == 0 {
        return Err(ConfigError::setting(
            "limits.max_guests",
            "is 0: nobody could attach",
        ));
    }
    if rules.is_empty() {
        let open = RawRule {
            anyone: true,
            ..RawRule::default()
        };
        return Ok(Policy {
            rules: vec![rule(1, &open, max_guests, partitions)?],
            max_guests,
        });
    }
    let rules = (1..)
        .zip(rules)
        .map(|(number, raw)| rule(number, raw, max_guests, partitions));
    Ok(Policy {
        rules: rules.collect::<Result<_, _>>()?,
        max_guests,
    })
}

fn rule(
    number: usize,
    raw: &RawRule,
    max_guests: u32,
    partitions: Option<&[&str]>,
) -> Result<Rule, ConfigError> {
    let at = |what: &str| format!("policy rule {number}: {what}");
    let mut who = Vec::new();
    if raw.anyone {
        who.push(Who::Anyone);
    }
    for user in &raw.users {
        let id = id(user, "/etc/passwd").map_err(|p| ConfigError::setting(at("users"), p))?;
        who.push(Who::User(id));
    }
    for group in &raw.groups {
        let id = id(group, "/etc/group").map_err(|p| ConfigError::setting(at("groups"), p))?;
        who.push(Who::Group(id));
    }
    if who.is_empty() {
        let problem = "names nobody: give users, groups, or anyone = true";
        return Err(ConfigError::setting(at("users"), problem));
    }
    for name in raw.partitions.iter().flatten() {
        if partitions.is_some_and(|known| !known.contains(&name.as_str())) {
            let problem = format!("there is no partition {name:?}");
            return Err(ConfigError::setting(at("partitions"), problem));
        }
    }
    let ring_bytes = raw.ring_bytes.unwrap_or(LIMITS.ring_bytes);
    if !ring_bytes.is_power_of_two() || !(1 << 12..=1 << 26).contains(&ring_bytes) {
        let problem = format!("{ring_bytes} is not a power of two from 4096 to 67108864");
        return Err(ConfigError::setting(at("ring_bytes"), problem));
    }
    Ok(Rule {
        who,
        partitions: names(raw.partitions.as_deref(), &at("partitions"))?,
        boards: names(raw.boards.as_deref(), &at("boards"))?,
        max_guests: raw.max_guests.unwrap_or(max_guests),
        limits: GuestLimits {
            ports: raw.ports.unwrap_or(LIMITS.ports),
            directs: raw.directs.unwrap_or(LIMITS.directs),
            ring_bytes,
        },
    })
}

fn names(given: Option<&[String]>, setting: &str) -> Result<Names, ConfigError> {
    let Some(given) = given else {
        return Ok(Names::Any);
    };
    let name = |text: &String| {
        Name::new(text.as_str()).map_err(|e| ConfigError::setting(setting, e.to_string()))
    };
    Ok(Names::Only(
        given.iter().map(name).collect::<Result<_, _>>()?,
    ))
}

/// The number of a user or group: lines of both files begin with `name:password:number:`.
fn id(given: &RawId, file: &str) -> Result<u32, String> {
    let name = match given {
        RawId::Number(number) => return Ok(*number),
        RawId::Name(name) => name,
    };
    let text = std::fs::read_to_string(file).map_err(|e| format!("cannot read {file}: {e}"))?;
    let mut lines = text.lines().map(|line| line.split(':'));
    let found = lines.find_map(|mut fields| {
        (fields.next() == Some(name))
            .then(|| fields.nth(1)?.parse().ok())
            .flatten()
    });
    found.ok_or_else(|| format!("{name:?} is not in {file}; a number works without"))
}
