//! Direct channels that somebody asks for while the endpoint they lead to is being opened or closed: whoever asked hears in the channel's rings that it is
//! over, whether it was taken or not. Between domains there is nothing else to notice by, and what is sent by a channel that nobody has is lost.

mod common;

use std::time::{Duration, Instant};

use myrixen::{EndpointOptions, Fabric};
use myrixen_backend::secret::Secret;
use myrixen_platform::message::{FailReason, Mac, PortAddress};
use myrixen_platform::process::{Attachment, DirectHandles, HelloOptions, Listener, RequestError};
use myrixen_ring::Capacity;

const PATIENCE: Duration = Duration::from_secs(30);
const ROUNDS: u32 = 200;
const OURS: u8 = 1;
const THEIRS: u8 = 0;

/// Asks for a channel until the endpoint is there.
fn insist(asker: &Attachment, to: PortAddress) -> DirectHandles {
    let ring = Capacity::new(1 << 16).expect("a capacity");
    loop {
        match asker.open_direct(OURS, to, [ring, ring], PATIENCE) {
            Ok(channel) => return channel,
            // It is not there yet, or still there: the one of the round before.
            Err(RequestError::Failed(failure))
                if matches!(failure.reason, FailReason::NotFound | FailReason::InUse) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn whoever_asks_for_a_channel_hears_of_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("myrixen.sock");
    let host = common::Host {
        name: "offers",
        secret: Secret::random().expect("randomness"),
        await_return: Duration::from_secs(5),
        poll: Duration::from_micros(20),
    };
    let listener = Listener::bind(&socket, 0o600).expect("the socket is free");
    let backend = common::start(host, listener);

    let (asker, _) = Attachment::connect(&socket, HelloOptions::default()).expect("attached");
    let ring = Capacity::new(1 << 16).expect("a capacity");
    let port = asker.open_port(Some(OURS), [ring, ring], PATIENCE);
    let _port = port.expect("a port");
    let fabric = Fabric::builder().socket(&socket).connect();
    let fabric = fabric.expect("attached");
    let to = PortAddress {
        mac: Mac::new(fabric.board().nic.octets()),
        endpoint: THEIRS,
    };
    for round in 0..ROUNDS {
        let channel = std::thread::scope(|scope| {
            let asking = scope.spawn(|| insist(&asker, to));
            // It was closed when the last handle of the one before was dropped.
            let options = EndpointOptions::default().id(THEIRS);
            let endpoint = fabric.open(options).expect("an endpoint");
            let channel = asking.join().expect("a channel");
            drop(endpoint);
            channel
        });
        let until = Instant::now() + PATIENCE;
        while !channel.pair.consumer.is_closed() {
            assert!(
                Instant::now() < until,
                "nobody has said in round {round} that the channel is over"
            );
            std::thread::yield_now();
        }
    }
    drop(fabric);
    backend.stop();
}
