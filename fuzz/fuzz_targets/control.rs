//! Messages of the control plane as a peer may send them: nothing panics, and what was understood can be said again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use myrixen_platform::message::{Downward, Hello, Request};

fuzz_target!(init: myrixen_fuzz::sow("control"), |bytes: &[u8]| {
    if let Ok((hello, handed)) = Hello::parse(bytes) {
        assert_eq!(Hello::parse(&hello.emit(handed)), Ok((hello, handed)));
    }
    if let Ok((serial, request, handed)) = Request::parse(bytes) {
        assert_eq!(
            Request::parse(&request.emit(serial, handed)),
            Ok((serial, request, handed))
        );
    }
    if let Ok((said, handed)) = Downward::parse(bytes) {
        let again = match &said {
            Downward::Reply(serial, reply) => reply.emit(*serial, handed),
            Downward::Notice(serial, notice) => notice.emit(*serial, handed),
            Downward::Unknown(_) => return,
        };
        assert_eq!(Downward::parse(&again), Ok((said, handed)));
    }
});
