//! Who is measured: one contestant, waiting in one way.

use anyhow::bail;

use super::FEW_ROUNDS;
use super::mpi::Mpi;
use super::programs::Program;
use crate::demo::protocol::Which;
use crate::peer::Kind;
use crate::record::{Path, Wait};
use crate::shares::Split;

/// Where messages of ours go: the guests at both ends, as places in the list of guests.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    pub(super) path: Path,
    pub(super) link: Option<&'static str>,
    pub(super) on: Which,
    pub(super) guests: (usize, usize),
}

/// What is ours and has a bar of its own, rather than somebody to be compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// A message that arrives where many others stand before it.
    Matching,
    /// The same over libfabric.
    ProviderMatching,
    /// Opening an endpoint, and connecting it.
    Setup,
    /// Processor time of ping-pongs between programs that sleep.
    Asleep,
}

impl Cost {
    const ALL: [Self; 4] = [
        Self::Matching,
        Self::ProviderMatching,
        Self::Setup,
        Self::Asleep,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Matching => "matching",
            Self::ProviderMatching => "provider-matching",
            Self::Setup => "setup",
            Self::Asleep => "asleep",
        }
    }
}

/// One contestant.
#[derive(Clone, Debug)]
pub(super) enum Contestant {
    Ours(Ours),
    Cost(Cost),
    /// Measured by this program, in processes of its own.
    Peer(Kind),
    /// Measured by a program that comes with it.
    Program(Program),
    /// Measured by a program of ours that is built apart.
    Iceoryx2,
    /// A path of ours as programs of MX see it, measured by MX's tool, and as programs of Rust see it that are started like that.
    Mx(Ours),
    /// Measured by an MPI program of ours, in the manner of others.
    Mpi(Mpi),
}

impl Contestant {
    /// Whether its messages go from one host to the other, each with cores of its own. MX's programs that sleep are all on one.
    fn crosses(&self) -> bool {
        match self {
            Self::Ours(ours) => matches!(ours.path, Path::Wire | Path::Native),
            Self::Peer(kind) => kind.has_partner(),
            Self::Program(program) => program.crosses(),
            Self::Mpi(mpi) => mpi.crosses(),
            Self::Cost(_) | Self::Iceoryx2 | Self::Mx(_) => false,
        }
    }
}

/// One contestant, waiting in one way.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub(super) contestant: Contestant,
    pub(super) wait: Wait,
}

impl Leg {
    /// Who has cores of his own meanwhile.
    pub(super) fn split(&self) -> Split {
        match &self.contestant {
            contestant if contestant.crosses() => Split::Hosts,
            // Of the others both ends are in one process, or started by others, who bind them as they do.
            Contestant::Ours(_) | Contestant::Mx(_) | Contestant::Program(_)
                if self.wait == Wait::Spin =>
            {
                Split::Ends
            }
            _ => Split::Nobody,
        }
    }

    /// Whether it has no turn in this round; in a `sparing` run that is so sooner for those of others that no bar speaks of.
    pub(super) fn rests(&self, round: u32, sparing: bool) -> bool {
        let rounds = match &self.contestant {
            Contestant::Mpi(mpi) if sparing && !mpi.has_bar() => 1,
            Contestant::Mpi(_) | Contestant::Cost(Cost::ProviderMatching) => FEW_ROUNDS,
            // All on one core: a round is like the other.
            Contestant::Mx(_) if self.wait == Wait::Sleep => FEW_ROUNDS,
            Contestant::Program(program) if sparing && !program.has_bar() => FEW_ROUNDS,
            _ => return false,
        };
        round > rounds
    }

    /// For people, and for `--only`.
    pub(super) fn name(&self) -> String {
        let path = match &self.contestant {
            Contestant::Ours(ours) => ours.path.over(ours.link).to_string(),
            Contestant::Cost(cost) => return cost.name().to_owned(),
            Contestant::Peer(kind) => kind.path().to_string(),
            Contestant::Program(program) => format!("peer:{}", program.name()),
            Contestant::Iceoryx2 => "peer:iceoryx2".to_owned(),
            Contestant::Mx(ours) => super::mx::path(ours).to_string(),
            Contestant::Mpi(mpi) => mpi.path().to_string(),
        };
        format!("{path}, {}", self.wait.manner())
    }
}

/// Where a guest is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    /// At a back end, by its place among the stage's.
    Post(usize),
    /// With a back end of its own, on this host.
    Native(usize),
}

impl Home {
    /// The host that it is on.
    pub(super) fn host(self) -> usize {
        match self {
            // The posts are those of either host in turns.
            Self::Post(post) => post % 2,
            Self::Native(host) => host,
        }
    }
}

/// The guests of a stage, in their order: two of the host `a` and one of `b` joined by Ethernet, one of each joined by VXLAN, two with a back end
/// of their own.
pub(super) const GUESTS: [(&str, Home); 7] = [
    ("a1", Home::Post(0)),
    ("a2", Home::Post(0)),
    ("b1", Home::Post(1)),
    ("c1", Home::Post(2)),
    ("d1", Home::Post(3)),
    ("n1", Home::Native(0)),
    ("n2", Home::Native(1)),
];

/// All that make sense with so many cores: whoever spins needs one for each process between the two ends, or it only measures the
/// scheduler. With `only`, those whose name begins with one of its words.
///
/// # Errors
/// A word that no name begins with.
pub(super) fn all(cores: usize, only: &[String]) -> anyhow::Result<Vec<Leg>> {
    let ours = |path, link, on, guests| {
        Contestant::Ours(Ours {
            path,
            link,
            on,
            guests,
        })
    };
    let (main, switched) = (Which::Main, Which::Switched);
    // What spins in each: the programs at both ends, and the back ends that have work between them.
    let mut contestants = vec![
        (Contestant::Peer(Kind::Line), 2, [Wait::Spin].as_slice()),
        (Contestant::Peer(Kind::Memcpy), 2, &[Wait::Spin]),
        (ours(Path::Direct, None, main, (0, 1)), 2, &BOTH),
        (ours(Path::DirectLent, None, main, (0, 1)), 2, &[Wait::Spin]),
        (
            ours(Path::Switched, None, switched, (0, 1)),
            3,
            &[Wait::Sleep],
        ),
        (ours(Path::Wire, Some("ethernet"), main, (0, 2)), 4, &BOTH),
        (ours(Path::Wire, Some("vxlan"), main, (3, 4)), 4, &BOTH),
        (Contestant::Peer(Kind::Switched), 2, &[Wait::Spin]),
        (ours(Path::Native, None, main, (5, 6)), 2, &BOTH),
        (Contestant::Peer(Kind::Raw), 2, &BOTH),
        (Contestant::Peer(Kind::Xdp), 2, &BOTH),
        (Contestant::Peer(Kind::Udp), 2, &BOTH),
        (Contestant::Peer(Kind::Tcp), 2, &BOTH),
    ];
    contestants.push((Contestant::Iceoryx2, 2, &[Wait::Spin]));
    // Between the same back ends as ours.
    let mx = |path, link, on, guests| {
        Contestant::Mx(Ours {
            path,
            link,
            on,
            guests,
        })
    };
    contestants.extend([
        (mx(Path::Direct, None, main, (0, 1)), 2, BOTH.as_slice()),
        (
            mx(Path::Switched, None, switched, (0, 1)),
            3,
            &[Wait::Sleep],
        ),
        (mx(Path::Wire, Some("ethernet"), main, (0, 2)), 4, &BOTH),
        (mx(Path::Wire, Some("vxlan"), main, (3, 4)), 4, &BOTH),
    ]);
    contestants.extend(Program::ALL.into_iter().map(|program| {
        let waits = program.waits();
        (Contestant::Program(program), 2, waits)
    }));
    contestants.extend(Mpi::all().map(|mpi| (Contestant::Mpi(mpi), 2, [Wait::Spin].as_slice())));
    contestants.extend(
        Cost::ALL
            .into_iter()
            .map(|cost| (Contestant::Cost(cost), 1, [Wait::Sleep].as_slice())),
    );
    let mut legs = Vec::new();
    for (contestant, busy, waits) in contestants {
        for &wait in waits {
            if wait == Wait::Sleep || cores >= busy {
                let contestant = contestant.clone();
                legs.push(Leg { contestant, wait });
            }
        }
    }
    let unknown = |word: &&String| !legs.iter().any(|leg| leg.name().starts_with(*word));
    if let Some(word) = only.iter().find(unknown) {
        let names: Vec<String> = legs.iter().map(Leg::name).collect();
        bail!(
            "nothing that is measured with {cores} cores begins with {word:?}; there are {}",
            names.join("; ")
        );
    }
    legs.retain(|leg| only.is_empty() || only.iter().any(|word| leg.name().starts_with(word)));
    Ok(legs)
}

const BOTH: [Wait; 2] = [Wait::Spin, Wait::Sleep];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_held_against_a_bar_has_as_many_rounds_in_a_quick_run() {
        let rounds = |name: &str, sparing| {
            let legs = all(4, &[format!("{name},")]).unwrap();
            (1..=7)
                .filter(|&round| !legs[0].rests(round, sparing))
                .count()
        };
        for (name, whole, quick) in [
            ("direct", 7, 7),
            ("peer:iperf3", 7, 7),
            ("peer:fi-net", 7, 3),
            ("mpi-wire:tcp", 3, 3),
            ("mpi:ob1", 3, 3),
            ("mpi-wire:ob1", 3, 1),
            ("mpi:ucx", 3, 1),
        ] {
            assert_eq!(rounds(name, false), whole, "{name}");
            assert_eq!(rounds(name, true), quick, "{name}");
        }
    }

    #[test]
    fn nobody_spins_without_a_core_for_each() {
        let names = |cores, only: &[&str]| -> Vec<String> {
            let only: Vec<String> = only.iter().map(|&word| word.to_owned()).collect();
            let legs = all(cores, &only).unwrap();
            legs.iter().map(Leg::name).collect()
        };
        assert_eq!(
            names(2, &["direct"]),
            [
                "direct, spinning",
                "direct, sleeping",
                "direct-lent, spinning"
            ]
        );
        assert_eq!(
            names(2, &["wire"]),
            ["wire:ethernet, sleeping", "wire:vxlan, sleeping"]
        );
        assert_eq!(names(4, &["wire:vxlan"]).len(), 2);
        assert!(all(1, &["peer:line".to_owned()]).is_err());
        let every = names(4, &[]);
        let mut once = every.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), every.len(), "each has a name of its own");
    }
}
