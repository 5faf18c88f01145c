//! Whoever comes by a door finds what it led to, or nothing, and what is inside stays while he is there.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use crate::{Door, Room, Rooms};

fn name(word: u64) -> NonZeroU64 {
    NonZeroU64::new(word).unwrap()
}

/// Visits enough for the bias.
const OFTEN: usize = 100;

#[test]
fn a_door_leads_to_what_has_its_name_for_whoever_has_the_bias() {
    static ROOMS: Rooms<u64> = Rooms::new();
    let door = Door::new();
    assert!(door.enter(name(1)).is_none(), "it leads nowhere");
    let room = ROOMS.take(7, true);
    door.lead_to(&room);
    for _ in 0..OFTEN {
        drop(room.lock());
    }
    assert!(door.enter(name(1)).is_none(), "it has no name");
    room.set_name(Some(name(1)));
    for _ in 0..OFTEN {
        drop(room.lock());
    }
    assert!(door.enter(name(2)).is_none(), "it has another");
    let mut guest = door.enter(name(1)).expect("it is there");
    *guest += 1;
    assert!(door.enter(name(1)).is_none(), "he is inside already");
    let other = ROOMS.take(0, true);
    assert_eq!(room.welcome(guest).map(|inside| *inside), Some(8));
    let guest = door.enter(name(1)).expect("it is there");
    assert!(other.welcome(guest).is_none(), "he is in another room");
    assert!(door.enter(name(1)).is_some(), "he has gone out");
    thread::scope(|scope| {
        let stranger = scope.spawn(|| door.enter(name(1)).is_none());
        assert!(stranger.join().unwrap(), "it is not his as a rule");
    });
    drop(room);
    assert!(door.enter(name(1)).is_none(), "it is gone");
    // Its room is used again, and has another name, or none.
    let again = ROOMS.take(9, true);
    for _ in 0..OFTEN {
        drop(again.lock());
    }
    assert!(door.enter(name(1)).is_none());
    again.set_name(Some(name(3)));
    for _ in 0..OFTEN {
        drop(again.lock());
    }
    assert_eq!(door.enter(name(3)).map(|guest| *guest), Some(9));
}

#[test]
fn nobody_gets_the_bias_where_it_is_not_given() {
    static ROOMS: Rooms<u64> = Rooms::new();
    for biased in [true, false, true] {
        let room = ROOMS.take(0, biased);
        for _ in 0..OFTEN {
            drop(room.lock());
        }
        assert_eq!(room.lock_biased().is_some(), biased);
    }
}

/// What is taken out of its room again and again while another thread comes by the door, for which it has the bias.
#[test]
fn nobody_is_inside_with_what_is_gone() {
    const WHOLE: u64 = 7;
    static ROOMS: Rooms<Thing> = Rooms::new();
    static STATE: AtomicU64 = AtomicU64::new(0);

    /// Is not whole any more when it is dropped.
    struct Thing;
    impl Drop for Thing {
        fn drop(&mut self) {
            STATE.store(0, Ordering::SeqCst);
        }
    }

    let door = Door::new();
    let (give, given) = channel::<(u64, Arc<Room<Thing>>)>();
    let (say, said) = channel();
    thread::scope(|scope| {
        let door = &door;
        let user = scope.spawn(move || {
            let mut found = 0_u64;
            for (at, room) in given {
                for _ in 0..OFTEN {
                    drop(room.lock());
                }
                drop(room);
                say.send(()).unwrap();
                while let Some(guest) = door.enter(name(at)) {
                    assert_eq!(STATE.load(Ordering::SeqCst), WHOLE, "it is gone");
                    std::hint::spin_loop();
                    assert_eq!(STATE.load(Ordering::SeqCst), WHOLE, "it is gone");
                    drop(guest);
                    found += 1;
                }
            }
            found
        });
        for at in 1..=500 {
            STATE.store(WHOLE, Ordering::SeqCst);
            let room = Arc::new(ROOMS.take(Thing, true));
            door.lead_to(&room);
            room.set_name(Some(name(at)));
            give.send((at, Arc::clone(&room))).unwrap();
            said.recv().unwrap();
            thread::sleep(Duration::from_micros(at % 50));
            if at % 2 == 0 {
                room.set_name(None);
            }
            drop(room);
            assert_eq!(STATE.load(Ordering::SeqCst), 0);
        }
        drop(give);
        assert!(user.join().unwrap() > 500, "it has been inside");
    });
}
