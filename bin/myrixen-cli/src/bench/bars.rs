//! What the figures are held against. A bar says what we mean to be, not what we are.

use crate::report::bars::Bar;

/// `PATH/PATH FIGURE SIZE LIMIT`, as `myrixen perf report --bar` takes them; perhaps with `spin` or `sleep`, and with `paired`.
const BARS: &[&str] = &[
    // Native against sockets over the same kind of cable.
    "native/peer:udp half_rtt 8 <=0.95 sleep",
    "native/peer:raw half_rtt 8 <=1.2 sleep",
    "native/peer:udp half_rtt 8 <=0.7 spin",
    "native/peer:raw half_rtt 8 <=0.95 spin",
    // A channel between two guests of a host.
    "direct/peer:line half_rtt 8 <=2.5 spin",
    "direct/peer:fi-shm half_rtt 8 <=0.6 spin",
    "direct/peer:ucx-posix half_rtt 8 <=1.2 spin",
    "direct/peer:ucx-posix msgs_per_s 8 >=1.3 spin",
    "direct/peer:memcpy mb_per_s 1m >=0.9 spin",
    "direct-lent/peer:memcpy mb_per_s 1m >=0.9 spin",
    "direct/peer:fi-shm mb_per_s 1m >=0.9 spin",
    "direct/peer:ucx-cma mb_per_s 1m >=0.9 spin",
    "direct/peer:fi-shm mb_per_s 16k >=1.2 spin",
    "direct/peer:ucx-posix mb_per_s 16k >=1.2 spin",
    "direct/peer:fi-shm mb_per_s 64k >=1.2 spin",
    "direct/peer:ucx-posix mb_per_s 64k >=1.2 spin",
    // MX's interface against the Rust one.
    "peer:mx-direct/peer:rust-direct half_rtt 8 <=1.1 paired",
    "peer:mx-switched/peer:rust-switched half_rtt 8 <=1.1 paired",
    "peer:mx-ethernet/peer:rust-ethernet half_rtt 8 <=1.1 paired",
    "peer:mx-vxlan/peer:rust-vxlan half_rtt 8 <=1.1 paired",
    // Through the back end of a host.
    "switched/direct half_rtt 8 <=2 spin",
    // Between hosts.
    "wire:vxlan/peer:iperf3 mb_per_s 4m >=0.8",
    "wire:ethernet/peer:iperf3 mb_per_s 4m >=0.5",
    // The same MPI program over different things.
    "mpi:myrixen/mpi:ob1 half_rtt 8 <=1.2",
    "mpi:myrixen/mpi:tcp half_rtt 8 <=0.25",
    "mpi:myrixen/mpi:tcp mb_per_s 1m >=1",
    "mpi-wire:myrixen/mpi-wire:tcp half_rtt 8 <=0.7",
    "mpi-wire:myrixen/mpi-wire:tcp mb_per_s 1m >=1",
    "mpi-wire:myrixen-vxlan/mpi-wire:tcp half_rtt 8 <=0.7",
    "mpi-wire:myrixen-vxlan/mpi-wire:tcp mb_per_s 1m >=1",
];

/// All of them.
pub(super) fn all() -> Vec<Bar> {
    BARS.iter()
        .map(|text| text.parse().expect("a bar as it is written above"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_can_be_read() {
        assert_eq!(all().len(), BARS.len());
    }
}
