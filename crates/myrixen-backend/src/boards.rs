//! The boards of this host: who is which, and under what address.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hmac::Mac;
use mxoe::addr::NicAddr;
use myrixen_platform::Owner;
use thiserror::Error;

use crate::ids::{GuestId, PartitionId};
use crate::secret::keyed;

/// Longest board name, as a peer's table holds it (specification, section 4.3).
pub const MAX_BOARD_NAME: usize = 79;

/// Says what a keyed hash of the host's id is for.
const PURPOSE: &[u8] = b"myrixen board address";

/// What makes a board: processes that attach with the same three join the same board.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BoardKey {
    /// To whom it belongs.
    pub owner: Owner,
    /// The partition.
    pub partition: PartitionId,
    /// The name, such as `node7:0`.
    pub name: String,
}

/// A board whose address the operator chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixedBoard {
    /// Its name, such as `node7:0`.
    pub name: String,
    /// Its partition.
    pub partition: PartitionId,
    /// Its address: not a group address, and no other board's.
    pub nic: NicAddr,
}

/// Why a guest is not given the board it wants.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BoardError {
    /// Longer than a peer's table can hold, empty, or with characters that no name has.
    #[error("the board name {0:?} is not 1 to 77 letters, digits, '-', '_' or '.', and ':0'")]
    BadName(String),
    /// In this partition the name belongs to another user.
    #[error("the board name {name} belongs to {owner} in this partition; ask for another name")]
    NameTaken {
        /// The name.
        name: String,
        /// The other one.
        owner: Owner,
    },
    /// No free address was found, which a sane table makes impossible.
    #[error("no free address for the board {0}")]
    NoAddress(String),
}

/// A board that somebody is attached as.
#[derive(Debug)]
pub struct Board {
    /// What makes it.
    pub key: BoardKey,
    /// Its address.
    pub nic: NicAddr,
    /// Who is attached as it; never empty.
    pub guests: BTreeSet<GuestId>,
}

/// All boards of this host.
#[derive(Debug)]
pub struct Boards {
    host_id: Vec<u8>,
    /// By number. Addresses are made from names, which stay when the configuration is reordered.
    partitions: Vec<String>,
    fixed: Vec<FixedBoard>,
    by_nic: HashMap<NicAddr, Board>,
    by_name: BTreeMap<(PartitionId, String), NicAddr>,
}

/// Whether a guest made a board or joined one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is the first.
    New(NicAddr),
    /// Others are attached as it already.
    Joined(NicAddr),
}

impl Claimed {
    /// The board's address.
    #[must_use]
    pub fn nic(self) -> NicAddr {
        match self {
            Self::New(nic) | Self::Joined(nic) => nic,
        }
    }
}

impl Boards {
    /// None yet. Addresses are derived from `host_id`, which tells this host from every other of its
    /// network, unless `fixed` names them. `partitions` are the partitions' names, by number.
    #[must_use]
    pub fn new(host_id: &[u8], partitions: Vec<String>, fixed: Vec<FixedBoard>) -> Self {
        let (by_nic, by_name) = (HashMap::new(), BTreeMap::new());
        Self {
            host_id: host_id.to_vec(),
            partitions,
            fixed,
            by_nic,
            by_name,
        }
    }

    /// Attaches a guest as a board. `ticket` is the address it had before the back end was restarted: given
    /// back unless somebody else has it or the operator has fixed another since.
    ///
    /// # Errors
    /// See [`BoardError`].
    pub fn claim(
        &mut self,
        guest: GuestId,
        key: &BoardKey,
        ticket: Option<NicAddr>,
    ) -> Result<Claimed, BoardError> {
        if !is_board_name(&key.name) {
            return Err(BoardError::BadName(key.name.clone()));
        }
        if let Some(board) = self.find_mut(key.partition, &key.name) {
            if board.key.owner != key.owner {
                let (name, owner) = (key.name.clone(), board.key.owner);
                return Err(BoardError::NameTaken { name, owner });
            }
            board.guests.insert(guest);
            return Ok(Claimed::Joined(board.nic));
        }
        let nic = self.address_for(key, ticket)?;
        let guests = BTreeSet::from([guest]);
        self.by_name.insert((key.partition, key.name.clone()), nic);
        self.by_nic.insert(
            nic,
            Board {
                key: key.clone(),
                nic,
                guests,
            },
        );
        Ok(Claimed::New(nic))
    }

    /// The board's address: the operator's choice, the ticket's, or the first free one derived.
    fn address_for(&self, key: &BoardKey, ticket: Option<NicAddr>) -> Result<NicAddr, BoardError> {
        let is_fixed = |f: &&FixedBoard| f.partition == key.partition && f.name == key.name;
        if let Some(fixed) = self.fixed.iter().find(is_fixed) {
            return Ok(fixed.nic);
        }
        let partition = self.partitions.get(usize::from(key.partition.get()));
        let partition = partition.map_or("", String::as_str);
        let derived = (0..=u8::MAX).map(|attempt| derive(&self.host_id, key, partition, attempt));
        let free = |nic: &NicAddr| {
            !nic.is_multicast()
                && !self.by_nic.contains_key(nic)
                && !self.fixed.iter().any(|f| f.nic == *nic)
        };
        let nic = ticket.into_iter().chain(derived).find(free);
        nic.ok_or_else(|| BoardError::NoAddress(key.name.clone()))
    }

    /// Takes a guest off a board; gives the board's key when it was the last one and the board is gone.
    pub fn release(&mut self, guest: GuestId, nic: NicAddr) -> Option<BoardKey> {
        let board = self.by_nic.get_mut(&nic)?;
        board.guests.remove(&guest);
        if !board.guests.is_empty() {
            return None;
        }
        let board = self.by_nic.remove(&nic)?;
        self.by_name
            .remove(&(board.key.partition, board.key.name.clone()));
        Some(board.key)
    }

    fn find_mut(&mut self, partition: PartitionId, name: &str) -> Option<&mut Board> {
        let nic = self.by_name.get(&(partition, name.to_owned()))?;
        self.by_nic.get_mut(nic)
    }

    /// The board of this name in a partition.
    #[must_use]
    pub fn find(&self, partition: PartitionId, name: &str) -> Option<&Board> {
        self.get(*self.by_name.get(&(partition, name.to_owned()))?)
    }

    /// The board with this address.
    #[must_use]
    pub fn get(&self, nic: NicAddr) -> Option<&Board> {
        self.by_nic.get(&nic)
    }

    /// All boards, by partition and name.
    pub fn iter(&self) -> impl Iterator<Item = &Board> {
        self.by_name.values().filter_map(|nic| self.by_nic.get(nic))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_nic.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_nic.is_empty()
    }
}

/// Whether this can be a board's name: `name:number`, printable everywhere it will be shown.
#[must_use]
pub fn is_board_name(name: &str) -> bool {
    let Some((host, number)) = name.rsplit_once(':') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.len() <= MAX_BOARD_NAME
        && !host.is_empty()
        && host.chars().all(plain)
        && !number.is_empty()
        && number.chars().all(|c| c.is_ascii_digit())
}

/// An owner as bytes that no other owner has.
fn owner_bytes(owner: Owner) -> Vec<u8> {
    match owner {
        Owner::User(uid) => uid.to_le_bytes().to_vec(),
        other => other.to_string().into_bytes(),
    }
}

/// An address for a board: locally administered, the same whenever the same host, board and attempt come
/// together. Later attempts are for when earlier ones collide.
fn derive(host_id: &[u8], key: &BoardKey, partition: &str, attempt: u8) -> NicAddr {
    let parts: [&[u8]; 4] = [
        &owner_bytes(key.owner),
        partition.as_bytes(),
        key.name.as_bytes(),
        &[attempt],
    ];
    let hash = keyed(host_id, PURPOSE, &parts).finalize().into_bytes();
    let mut octets = [0; 6];
    octets.copy_from_slice(&hash[..6]);
    // Locally administered, not a group.
    octets[0] = (octets[0] & !3) | 2;
    NicAddr::new(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionId = PartitionId::new(0);
    const Q: PartitionId = PartitionId::new(1);

    fn names() -> Vec<String> {
        vec!["p".into(), "q".into()]
    }

    fn key(uid: u32, partition: PartitionId, name: &str) -> BoardKey {
        let owner = Owner::User(uid);
        BoardKey {
            owner,
            partition,
            name: name.into(),
        }
    }

    #[test]
    fn processes_of_one_user_and_name_share_a_board_until_the_last_leaves() {
        let mut boards = Boards::new(b"host", names(), vec![]);
        let k = key(1, P, "a:0");
        let Claimed::New(nic) = boards.claim(GuestId::new(1), &k, None).unwrap() else {
            panic!()
        };
        assert_eq!(
            boards.claim(GuestId::new(2), &k, None),
            Ok(Claimed::Joined(nic))
        );
        assert_eq!(boards.release(GuestId::new(1), nic), None);
        assert_eq!(boards.release(GuestId::new(2), nic), Some(k));
        assert!(boards.is_empty() && boards.find(P, "a:0").is_none());
    }

    #[test]
    fn another_user_does_not_get_the_name_but_another_partition_has_its_own() {
        let mut boards = Boards::new(b"host", names(), vec![]);
        let first = boards
            .claim(GuestId::new(1), &key(1, P, "a:0"), None)
            .unwrap()
            .nic();
        let refused = boards
            .claim(GuestId::new(2), &key(2, P, "a:0"), None)
            .unwrap_err();
        assert_eq!(
            refused,
            BoardError::NameTaken {
                name: "a:0".into(),
                owner: Owner::User(1)
            }
        );
        let other = boards
            .claim(GuestId::new(2), &key(2, Q, "a:0"), None)
            .unwrap()
            .nic();
        assert_ne!(first, other);
    }

    #[test]
    fn addresses_are_stable_local_and_differ_between_hosts() {
        let claim = |host: &[u8]| {
            let mut boards = Boards::new(host, names(), vec![]);
            boards
                .claim(GuestId::new(1), &key(1, P, "a:0"), None)
                .unwrap()
                .nic()
        };
        let nic = claim(b"host 1");
        assert_eq!(nic, claim(b"host 1"));
        assert_ne!(nic, claim(b"host 2"));
        assert_eq!(nic.octets()[0] & 3, 2);
    }

    #[test]
    fn the_operators_address_wins_and_is_given_to_nobody_else() {
        let nic = NicAddr::new([2, 0, 0, 0, 0, 9]);
        let fixed = FixedBoard {
            name: "a:0".into(),
            partition: P,
            nic,
        };
        let mut boards = Boards::new(b"host", names(), vec![fixed]);
        let stolen = boards
            .claim(GuestId::new(1), &key(1, P, "b:0"), Some(nic))
            .unwrap()
            .nic();
        assert_ne!(stolen, nic);
        let old = NicAddr::new([2, 7, 7, 7, 7, 7]);
        assert_eq!(
            boards
                .claim(GuestId::new(2), &key(1, P, "a:0"), Some(old))
                .unwrap()
                .nic(),
            nic
        );
    }

    #[test]
    fn a_ticket_gives_the_old_address_back_unless_it_is_taken() {
        let mut boards = Boards::new(b"host", names(), vec![]);
        let old = NicAddr::new([2, 7, 7, 7, 7, 7]);
        assert_eq!(
            boards
                .claim(GuestId::new(1), &key(1, P, "a:0"), Some(old))
                .unwrap()
                .nic(),
            old
        );
        let other = boards
            .claim(GuestId::new(2), &key(1, P, "b:0"), Some(old))
            .unwrap()
            .nic();
        assert_ne!(other, old);
    }

    #[test]
    fn names_that_a_table_or_a_terminal_could_not_take_are_refused() {
        let long = format!("{}:0", "x".repeat(78));
        for name in [
            "",
            "a",
            ":0",
            "a:",
            "a:b",
            "a b:0",
            "a\x1b[2J:0",
            "ä:0",
            long.as_str(),
        ] {
            assert!(!is_board_name(name), "{name:?}");
        }
        assert!(is_board_name("node-7.rack_2:0"));
    }
}
