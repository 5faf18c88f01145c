//! Lines on the daemon's control socket: nothing panics, and what was understood can be said again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use myrixen_control::{Reply, Request, decode, encode};

fuzz_target!(init: myrixen_fuzz::sow("operator"), |line: &str| {
    if let Ok(request) = decode::<Request>(line) {
        let again = encode(&request).expect("a request can be written");
        assert_eq!(
            decode::<Request>(&again).expect("what we write can be read"),
            request
        );
    }
    if let Ok(reply) = decode::<Reply>(line) {
        let again = encode(&reply).expect("a reply can be written");
        let _ = decode::<Reply>(&again).expect("what we write can be read");
    }
});
