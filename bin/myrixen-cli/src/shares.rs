//! Whose cores are whose. Two hosts of a network do not share cores: where both are on this machine, and a message goes from one to the other, each has half
//! of them. Otherwise the scheduler would put both ends on one core at some times, and Open MPI, which binds the first rank of a host to its first core, always.

/// Who has cores of his own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    Nobody,
    /// Each of two hosts has half of them.
    Hosts,
    /// Each end has one, as long as there are enough: of those on one host that spin. Left alone, two that have just been on one core stay there for a while.
    Ends,
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

    /// Whether anybody has cores of his own. If not, who is started may run where whoever starts him does.
    pub(crate) fn is_split(&self) -> bool {
        self.split != Split::Nobody
    }

    /// The cores of an end, by its number and its host.
    pub(crate) fn of_end(&self, number: usize, host: usize) -> &[usize] {
        if self.split != Split::Ends {
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
        assert_eq!(shares.of_end(0, 1), [2, 5]);
        assert!(shares.is_split());
        assert!(shares.change(Split::Nobody));
        assert_eq!(shares.on(1), [1, 2, 5]);
        assert!(!shares.is_split());
    }

    #[test]
    fn ends_that_spin_have_a_core_each() {
        let mut shares = Shares::of(&[1, 2]);
        assert!(shares.change(Split::Ends) && shares.is_split());
        let cores = [0, 1, 2].map(|end| shares.of_end(end, 0)[0]);
        assert_eq!(cores, [1, 2, 1]);
        assert_eq!(shares.on(1), [1, 2]);
    }

    #[test]
    fn a_core_alone_is_everybodys() {
        let mut shares = Shares::of(&[3]);
        assert!(!shares.change(Split::Hosts) && !shares.change(Split::Ends));
        assert_eq!((shares.on(1), shares.of_end(1, 1)), (&[3][..], &[3][..]));
    }
}
