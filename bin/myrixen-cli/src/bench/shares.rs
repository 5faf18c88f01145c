//! Whose cores are whose. Two hosts of a network do not share cores: where both are on this machine, and a message goes from one to the other, each has half
//! of them. Otherwise the scheduler would put both ends on one core at some times, and Open MPI, which binds the first rank of a host to its first core, always.

/// The cores of this machine, and whether the hosts have halves of their own.
#[derive(Debug)]
pub(super) struct Shares {
    all: Vec<usize>,
    apart: bool,
}

impl Shares {
    /// Everybody has all of these.
    pub(super) fn of(cores: &[usize]) -> Self {
        Self {
            all: cores.to_vec(),
            apart: false,
        }
    }

    /// From now on each host has its half, or all. Whether that is a change.
    pub(super) fn change(&mut self, apart: bool) -> bool {
        let apart = apart && self.all.len() >= 2;
        std::mem::replace(&mut self.apart, apart) != apart
    }

    /// The cores of a host, 0 or 1.
    pub(super) fn on(&self, host: usize) -> &[usize] {
        if !self.apart {
            return &self.all;
        }
        let (first, second) = self.all.split_at(self.all.len() / 2);
        if host == 0 { first } else { second }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_are_apart_share_no_core() {
        let mut shares = Shares::of(&[1, 2, 5]);
        assert_eq!(shares.on(0), shares.on(1));
        assert!(shares.change(true) && !shares.change(true));
        assert_eq!((shares.on(0), shares.on(1)), (&[1][..], &[2, 5][..]));
        assert!(shares.change(false));
        assert_eq!(shares.on(1), [1, 2, 5]);
    }

    #[test]
    fn a_core_alone_is_everybodys() {
        let mut shares = Shares::of(&[3]);
        assert!(!shares.change(true));
        assert_eq!((shares.on(0), shares.on(1)), (&[3][..], &[3][..]));
    }
}
