//! Frames as they come from the wire: nothing panics, a payload lies within its frame, and what was understood
//! can be said again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mxoe::addr::NicAddr;
use mxoe::frame::{
    Announcement, Dialect, HEAD_BYTES, Head, Mtu, NackKind, nack_for, parse, rewrite_destination,
    rewrite_source, route,
};
use mxoe::text::describe;

fuzz_target!(init: myrixen_fuzz::sow("frames"), |input: (u16, u16, &[u8])| {
    let (mtu, beyond, bytes) = input;
    let mut bytes = bytes.to_vec();
    if let Some(ether_type) = bytes.get_mut(12..14) {
        ether_type.copy_from_slice(&[0x86, 0xdf]);
    }
    let dialect = Mtu::new(mtu).map_or(Dialect::Compat, |mtu| Dialect::Native { mtu });
    // A driver may hold no more than the head of a long frame.
    let len = if bytes.len() >= HEAD_BYTES {
        bytes.len() + usize::from(beyond)
    } else {
        bytes.len()
    };

    let _ = describe(dialect, &bytes, len).to_string();
    let _ = Announcement::parse(&bytes);
    for nack in [NackKind::BadEndpoint, NackKind::BadSession] {
        let _ = nack_for(dialect, &bytes, len, nack);
    }
    if let Ok(parsed) = parse(dialect, &bytes, len) {
        assert!(parsed.payload.start <= parsed.payload.end && parsed.payload.end <= len);
        assert!(route(&bytes).is_ok(), "what parses can be routed");
        let mut head = Head::new();
        parsed.frame.emit(dialect, &parsed.eth, &mut head);
        // With its payload behind it, the frame says the same again.
        let mut again = head.as_bytes().to_vec();
        let whole = again.len() + parsed.payload.len();
        again.resize(whole.min(again.len().max(HEAD_BYTES)), 0);
        let reparsed = parse(dialect, &again, whole).expect("what we emit parses");
        assert_eq!((reparsed.eth, reparsed.frame), (parsed.eth, parsed.frame));
        assert_eq!(reparsed.payload.len(), parsed.payload.len());
    }
    let was = route(&bytes);
    rewrite_source(&mut bytes, NicAddr::BROADCAST);
    rewrite_destination(&mut bytes, NicAddr::BROADCAST);
    assert_eq!(
        route(&bytes).is_ok(),
        was.is_ok(),
        "addresses do not decide whether a frame can be routed"
    );
});
