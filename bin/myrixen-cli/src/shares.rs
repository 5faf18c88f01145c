//! Whose cores are whose. Two hosts of a network do not share cores: where both are on this machine, and a message goes from one to the other, each has half
//! of them. Otherwise the scheduler would put both ends on one core at some times, and Open MPI, which binds the first rank of a host to its first core, always.

/// Who has cores of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    Nobody,
    /// Each of two hosts has half of them.
    Hosts,
    /// Each guest has one, as long as there are enough: those that spin. Left alone, two that have just been on one core stay there for a while.
    Guests,
}

/// The cores of this machine, and how they are split.
#[derive(Debug)]
pub(crate) struct Shares {
    all: Vec<usize>,
    split: Split,
}

impl Shares {
    /// These cores, all of them everybody's.
    pub(crate) fn of(cores: &[usize]) -> Self {
        Self {
            all: cores.to_vec(),
            split: Split::Nobody,
        }
    }

    /// Splits them like this from now on. Whether that is a change.
    pub(crate) fn change(&mut self, split: Split) -> bool {
        // One core is everybody's.
        let split = if self.all.len() < 2 {
            Split::Nobody
        } else {
            split
        };
        std::mem::replace(&mut self.split, split) != split
    }

    /// The cores of a host, 0 or 1.
    pub(crate) fn on(&self, host: usize) -> &[usize] {
        if self.split != Split::Hosts {
            return &self.all;
        }
        let (first, second) = self.all.split_at(self.all.len() / 2);
        if host == 0 { first } else { second }
    }

    /// The cores of one who has just been started on a host, if they are not those of whoever started him.
    pub(crate) fn of_starter(&self, host: usize) -> Option<&[usize]> {
        (self.split == Split::Hosts).then(|| self.on(host))
    }

    /// The cores of a guest, by its number and its host.
    pub(crate) fn of_guest(&self, number: usize, host: usize) -> &[usize] {
        if self.split != Split::Guests {
            return self.on(host);
        }
        let place = number % self.all.len();
        &self.all[place..=place]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_apart_share_no_core() {
        let mut shares = Shares::of(&[1, 2, 5]);
        assert_eq!(shares.on(0), shares.on(1));
        assert!(shares.change(Split::Hosts) && !shares.change(Split::Hosts));
        assert_eq!((shares.on(0), shares.on(1)), (&[1][..], &[2, 5][..]));
        assert_eq!(shares.of_guest(0, 1), [2, 5]);
        assert_eq!(shares.of_starter(0), Some(&[1][..]));
        assert!(shares.change(Split::Nobody));
        assert_eq!(shares.on(1), [1, 2, 5]);
    }

    #[test]
    fn guests_that_spin_have_a_core_each() {
        let mut shares = Shares::of(&[1, 2]);
        assert!(shares.change(Split::Guests));
        let cores = [0, 1, 2].map(|guest| shares.of_guest(guest, 0)[0]);
        assert_eq!(cores, [1, 2, 1]);
        assert_eq!(shares.of_starter(0), None);
        assert_eq!(shares.on(1), [1, 2]);
    }

    #[test]
    fn a_core_alone_is_everybodys() {
        let mut shares = Shares::of(&[3]);
        assert!(!shares.change(Split::Hosts) && !shares.change(Split::Guests));
        assert_eq!((shares.on(1), shares.of_guest(1, 1)), (&[3][..], &[3][..]));
    }
}
