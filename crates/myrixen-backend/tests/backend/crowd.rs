//! Many guests, of whom some talk and others do not.

use mxoe::time::Time;
use myrixen_backend::Rest;

use crate::host::{Guest, Host, Port, config, sized};
use crate::switching::jain;

const GUESTS: usize = 64;

/// So many guests with two ports each.
fn crowd(host: &Host) -> (Vec<Guest>, Vec<[Port; 2]>) {
    let guests = (0..GUESTS).map(|n| host.attach(&format!("g{n}")));
    let guests: Vec<Guest> = guests.collect();
    let open = |guest: &Guest| [0, 1].map(|endpoint| guest.open_sized(endpoint, 1 << 17));
    let ports = guests.iter().map(open).collect();
    (guests, ports)
}

/// All ports doze: their rings say that the worker sleeps.
fn let_doze(host: &mut Host) {
    host.settle();
    assert_eq!(host.workers[0].prepare_sleep(Time::ZERO), Rest::Asleep);
}

/// Takes what has arrived: its bytes.
fn take(port: &mut Port) -> usize {
    std::iter::from_fn(|| port.receive())
        .map(|frame| frame.len())
        .sum()
}

#[test]
fn when_all_of_sixty_four_guests_talk_none_starves() {
    let mut host = Host::new(config());
    let (_guests, mut ports) = crowd(&host);
    // They begin asleep, as they do on a host that was quiet.
    let_doze(&mut host);
    let mut bytes = vec![0.0; GUESTS];
    for _ in 0..100 {
        for n in 0..GUESTS {
            for endpoint in [0, 1] {
                let to = ports[(n + 1) % GUESTS][endpoint].address();
                // Some send short frames, some long ones.
                let len = 64 + n * 128;
                let from = &mut ports[n][endpoint];
                let frame = sized(from.address(), to, len);
                while from.try_send(&frame) {}
            }
        }
        host.turn();
        for n in 0..GUESTS {
            let [one, other] = &mut ports[(n + 1) % GUESTS];
            bytes[n] += f64::from(u32::try_from(take(one) + take(other)).unwrap());
        }
    }
    assert!(jain(&bytes) > 0.95, "{bytes:?}");
}

/// A worker that is always busy with some is not told to sleep, and nobody but itself looks at its bells.
#[test]
fn who_has_dozed_is_heard_while_others_keep_the_worker_busy() {
    let mut host = Host::new(config());
    let (_guests, mut ports) = crowd(&host);
    let_doze(&mut host);
    let busy = |ports: &mut Vec<[Port; 2]>| {
        let to = ports[1][0].address();
        let from = &mut ports[0][0];
        from.send(&sized(from.address(), to, 1000));
        take(&mut ports[1][0])
    };
    busy(&mut ports);
    host.workers[0].wake_up();
    for n in 2..GUESTS {
        assert!(host.turn() > 0);
        let to = ports[1][1].address();
        let from = &mut ports[n][1];
        from.send(&sized(from.address(), to, 64));
        let turns = (0..20).position(|_| {
            busy(&mut ports);
            assert!(host.turn() > 0);
            take(&mut ports[1][1]) == 64
        });
        assert!(turns.is_some(), "guest {n}");
        busy(&mut ports);
    }
}
