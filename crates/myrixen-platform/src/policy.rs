//! Who may attach as what.

use std::fmt;

use crate::meeting::{Credentials, Identity};
use crate::message::{GuestLimits, Name, Refusal, RefusalReason};

/// Whom a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Who {
    /// Everybody who can open the socket.
    Anyone,
    /// Programs of this user id.
    User(u32),
    /// Programs with this group id, as their own or a supplementary one.
    Group(u32),
}

impl Who {
    fn includes(self, identity: &Identity) -> bool {
        let Identity::Process(Credentials {
            uid, gid, groups, ..
        }) = identity
        else {
            // Rules are about users; what a domain may be is said where its device is made.
            return false;
        };
        match self {
            Self::Anyone => true,
            Self::User(user) => user == *uid,
            Self::Group(group) => group == *gid || groups.contains(&group),
        }
    }
}

/// Which names a rule allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// All.
    Any,
    /// These.
    Only(Vec<Name>),
}

impl Names {
    fn allow(&self, name: &Name) -> bool {
        match self {
            Self::Any => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// What some guests may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Whom it is about: any of these.
    pub who: Vec<Who>,
    /// Which partitions they may be in.
    pub partitions: Names,
    /// Which board names they may have. A guest that asks for no name is given one, and needs no permission for it.
    pub boards: Names,
    /// How many guests an owner may have attached at once.
    pub max_guests: u32,
    /// What each of them may have.
    pub limits: GuestLimits,
}

/// Who may attach as what: the first rule that is about a guest, its partition and its board counts. No rule, no entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The rules, in order.
    pub rules: Vec<Rule>,
    /// How many guests may be attached at once, of all owners.
    pub max_guests: u32,
}

/// What a guest wants, with the back end's defaults filled in.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The partition.
    pub partition: &'a Name,
    /// The board, when it has asked for one by name.
    pub board: Option<&'a Name>,
}

/// Who is attached already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Guests of all owners.
    pub guests: u32,
    /// Guests of the owner who asks.
    pub guests_of_owner: u32,
}

/// A guest may attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// What it may have.
    pub limits: GuestLimits,
    /// The rule that says so, counted from 0.
    pub rule: usize,
}

impl Policy {
    /// How many guests [`Policy::open`] takes.
    pub const OPEN_GUESTS: u32 = 1024;

    /// Everybody who can open the socket may attach as anything, with these limits. For embedded
    /// back ends, whose guests are the program itself, and for tests.
    pub fn open(limits: GuestLimits) -> Self {
        let max_guests = Self::OPEN_GUESTS;
        let (partitions, boards) = (Names::Any, Names::Any);
        let rule = Rule {
            who: vec![Who::Anyone],
            partitions,
            boards,
            max_guests,
            limits,
        };
        Self {
            rules: vec![rule],
            max_guests,
        }
    }

    /// Whether a guest may attach.
    ///
    /// # Errors
    /// A [`Refusal`] that names the limit and the setting.
    pub fn check(
        &self,
        identity: &Identity,
        wanted: Wanted<'_>,
        usage: Usage,
    ) -> Result<Grant, Refusal> {
        let about = |rule: &Rule| rule.who.iter().any(|who| who.includes(identity));
        let partition = |rule: &Rule| rule.partitions.allow(wanted.partition);
        let board = |rule: &Rule| wanted.board.is_none_or(|name| rule.boards.allow(name));
        let found = self
            .rules
            .iter()
            .position(|r| about(r) && partition(r) && board(r));
        let Some((index, rule)) = found.and_then(|at| Some((at, self.rules.get(at)?))) else {
            let what = if !self.rules.iter().any(about) {
                Lack::Entry
            } else if !self.rules.iter().any(|rule| about(rule) && partition(rule)) {
                Lack::Partition(wanted.partition)
            } else {
                Lack::Board(wanted.board)
            };
            let who = identity.owner();
            let text = format_args!("{who} may not attach {what}");
            return Err(Refusal::new(RefusalReason::NotPermitted, text));
        };
        if usage.guests >= self.max_guests {
            let text = format_args!(
                "{} guests are attached, which is the limit `limits.max_guests`",
                usage.guests
            );
            return Err(Refusal::new(RefusalReason::Limit, text));
        }
        if usage.guests_of_owner >= rule.max_guests {
            let text = format_args!(
                "{} has {} guests attached, which is the limit `max_guests` of rule {} of the policy",
                identity.owner(),
                usage.guests_of_owner,
                index + 1
            );
            return Err(Refusal::new(RefusalReason::Limit, text));
        }
        Ok(Grant {
            limits: rule.limits,
            rule: index,
        })
    }
}

/// What the policy lacks.
enum Lack<'a> {
    Entry,
    Partition(&'a Name),
    Board(Option<&'a Name>),
}

impl fmt::Display for Lack<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entry => f.write_str(
                "here: no rule of the policy names this user or one of its groups (`users`, `groups`)",
            ),
            Self::Partition(name) => write!(
                f,
                "to partition {name}: no rule of the policy for this user lists it in `partitions`"
            ),
            Self::Board(Some(name)) => write!(
                f,
                "as board {name}: no rule of the policy for this user lists it in `boards`"
            ),
            Self::Board(None) => f.write_str("without naming a board"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: GuestLimits = GuestLimits {
        ports: 16,
        directs: 32,
        ring_bytes: 1 << 20,
    };

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn guest(uid: u32, gid: u32, groups: &[u32]) -> Identity {
        Identity::Process(Credentials {
            pid: 1,
            uid,
            gid,
            groups: groups.to_vec(),
        })
    }

    fn policy() -> Policy {
        let rule = |who: Who, partition: &str, boards: Names, max_guests| Rule {
            who: vec![who],
            partitions: Names::Only(vec![name(partition)]),
            boards,
            max_guests,
            limits: LIMITS,
        };
        Policy {
            rules: vec![
                rule(
                    Who::User(1000),
                    "blue",
                    Names::Only(vec![name("a"), name("b")]),
                    2,
                ),
                rule(Who::Group(50), "red", Names::Any, 4),
            ],
            max_guests: 5,
        }
    }

    fn check(who: &Identity, partition: &str, board: Option<&str>) -> Result<usize, Refusal> {
        let (partition, board) = (name(partition), board.map(name));
        let wanted = Wanted {
            partition: &partition,
            board: board.as_ref(),
        };
        policy()
            .check(who, wanted, Usage::default())
            .map(|grant| grant.rule)
    }

    #[test]
    fn rules_are_by_user_and_by_any_group() {
        assert_eq!(check(&guest(1000, 1, &[]), "blue", Some("a")), Ok(0));
        assert_eq!(check(&guest(2, 50, &[]), "red", Some("any")), Ok(1));
        assert_eq!(check(&guest(2, 1, &[7, 50]), "red", None), Ok(1));
        assert!(check(&guest(2, 1, &[7, 51]), "red", None).is_err());
        assert!(
            check(&guest(50, 1000, &[]), "blue", None).is_err(),
            "user ids are no group ids"
        );
    }

    #[test]
    fn partitions_and_boards_that_are_not_listed_are_refused() {
        let who = guest(1000, 50, &[]);
        assert_eq!(check(&who, "blue", None), Ok(0));
        assert_eq!(
            check(&who, "red", Some("c")),
            Ok(1),
            "the second rule is about it too"
        );
        let refusal = check(&who, "green", None).unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::NotPermitted);
        assert!(
            refusal.to_string().contains("green") && refusal.to_string().contains("`partitions`")
        );
        let refusal = check(&who, "blue", Some("c")).unwrap_err();
        assert!(
            refusal.to_string().contains("board c") && refusal.to_string().contains("`boards`")
        );
        let refusal = check(&guest(3, 3, &[]), "blue", None).unwrap_err();
        assert!(refusal.to_string().contains("user 3") && refusal.to_string().contains("`users`"));
    }

    #[test]
    fn limits_name_their_setting() {
        let (who, blue) = (guest(1000, 1, &[]), name("blue"));
        let with = |guests, guests_of_owner| {
            let wanted = Wanted {
                partition: &blue,
                board: None,
            };
            policy().check(
                &who,
                wanted,
                Usage {
                    guests,
                    guests_of_owner,
                },
            )
        };
        assert_eq!(
            with(4, 1),
            Ok(Grant {
                limits: LIMITS,
                rule: 0
            })
        );
        let refusal = with(5, 1).unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::Limit);
        assert!(
            refusal.to_string().contains("5 guests")
                && refusal.to_string().contains("`limits.max_guests`")
        );
        let refusal = with(4, 2).unwrap_err();
        assert_eq!(refusal.reason, RefusalReason::Limit);
        assert!(refusal.to_string().contains("2 guests") && refusal.to_string().contains("rule 1"));
    }

    #[test]
    fn an_empty_policy_lets_nobody_in_and_an_open_one_everybody() {
        let (who, blue) = (guest(0, 0, &[]), name("blue"));
        let wanted = Wanted {
            partition: &blue,
            board: Some(&blue),
        };
        let empty = Policy {
            rules: Vec::new(),
            max_guests: 10,
        };
        assert!(empty.check(&who, wanted, Usage::default()).is_err());
        assert!(
            Policy::open(LIMITS)
                .check(&who, wanted, Usage::default())
                .is_ok()
        );
    }
}
