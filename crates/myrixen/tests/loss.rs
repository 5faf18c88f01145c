//! Over a real Ethernet link that loses, doubles and reorders frames, every message arrives once, in order
//! and unchanged, and no program sees an error.

mod wire;

use mxoe::frame::{Dialect, Mtu};
use myrixen_netlab::{test, test_as_root};

use wire::{bridge, cabled, cabled_by_xdp, faults, repairs, stream};

/// Messages each way: every length several times.
const MESSAGES: usize = 160;

#[test]
fn streams_survive_one_percent() {
    test(|lab| {
        for seed in 1..=3 {
            let sides = cabled(lab, 9000, Dialect::DEFAULT, &faults(0.01, seed));
            stream::exchange(&sides, MESSAGES);
            assert!(repairs(&sides) > 0, "nothing was lost with seed {seed}");
        }
    });
}

#[test]
fn streams_survive_five_percent() {
    test(|lab| {
        for seed in 1..=3 {
            let sides = cabled(lab, 9000, Dialect::DEFAULT, &faults(0.05, seed));
            stream::exchange(&sides, MESSAGES);
            assert!(repairs(&sides) > 0, "nothing was lost with seed {seed}");
        }
    });
}

/// Discovery goes by frames for everybody, which the packet socket hears, all else by AF_XDP.
#[test]
fn streams_survive_over_af_xdp() {
    test_as_root(|lab| {
        for (rate, seed) in [(0.01, 8), (0.05, 9)] {
            let sides = cabled_by_xdp(lab, &faults(rate, seed));
            stream::exchange(&sides, MESSAGES);
            assert!(repairs(&sides) > 0, "nothing was lost at {rate}");
        }
    });
}

#[test]
fn streams_survive_in_the_dialect_of_mx() {
    test(|lab| {
        for (rate, seed) in [(0.01, 4), (0.05, 5)] {
            let sides = cabled(lab, 9000, Dialect::Compat, &faults(rate, seed));
            stream::exchange(&sides, MESSAGES);
            assert!(repairs(&sides) > 0, "nothing was lost at {rate}");
        }
    });
}

#[test]
fn streams_survive_in_frames_of_standard_size() {
    test(|lab| {
        let mtu = Mtu::STANDARD;
        for (rate, seed) in [(0.01, 6), (0.05, 7)] {
            let sides = cabled(lab, 1500, Dialect::Native { mtu }, &faults(rate, seed));
            stream::exchange(&sides, MESSAGES);
            assert!(repairs(&sides) > 0, "nothing was lost at {rate}");
        }
    });
}

#[test]
fn a_large_transfer_survives_one_percent() {
    test(|lab| {
        let sides = cabled(lab, 9000, Dialect::DEFAULT, &faults(0.01, 8));
        stream::transfer(&sides, 64 << 20);
        assert!(repairs(&sides) > 0, "nothing was lost");
    });
}

#[test]
fn streams_survive_a_lossy_bridge() {
    if !bridge::has_nft("streams_survive_a_lossy_bridge") {
        return;
    }
    test(|lab| {
        for percent in [1, 5] {
            let Some((sides, switch)) = bridge::lossy(lab, percent, Dialect::DEFAULT) else {
                return;
            };
            stream::exchange(&sides, MESSAGES);
            assert!(bridge::dropped(&switch) > 0, "the bridge lost nothing");
        }
    });
}
