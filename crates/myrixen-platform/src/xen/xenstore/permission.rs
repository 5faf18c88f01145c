//! Who may read and write a path.

use std::fmt;

use crate::xen::domain::DomId;

/// What a domain may do with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rights {
    /// Nothing: `n`.
    None,
    /// Read it: `r`.
    Read,
    /// Write it: `w`.
    Write,
    /// Both: `b`.
    Both,
}

/// An entry of a path's permissions. Shown as xenstore's tools do: `r3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission {
    /// What is permitted.
    pub rights: Rights,
    /// To whom; in the first entry: to everybody but this domain, the owner.
    pub domain: DomId,
}

impl Permission {
    /// These rights for this domain.
    #[must_use]
    pub const fn new(rights: Rights, domain: DomId) -> Self {
        Self { rights, domain }
    }

    /// Of an entry in a reply.
    pub(super) fn from_wire(part: &[u8]) -> Option<Self> {
        let (letter, digits) = part.split_first()?;
        let rights = match letter {
            b'n' => Rights::None,
            b'r' => Rights::Read,
            b'w' => Rights::Write,
            b'b' => Rights::Both,
            _ => return None,
        };
        // `parse` alone would take a sign too.
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let domain = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some(Self::new(rights, DomId::new(domain)))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.rights {
            Rights::None => 'n',
            Rights::Read => 'r',
            Rights::Write => 'w',
            Rights::Both => 'b',
        };
        write!(f, "{letter}{}", self.domain)
    }
}
