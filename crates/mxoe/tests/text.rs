//! Recorded frames as text.

#[allow(dead_code)] // the other tests that read recordings use the rest
mod recordings;

use mxoe::frame::Dialect;
use mxoe::text::describe;
use mxoe::time::Time;
use recordings::Recording;

/// The recording, a line a frame, with the time since the first.
fn lines(recording: &Recording) -> String {
    let start = recording.frames[0].at;
    let mut lines = String::new();
    for frame in &recording.frames {
        let at = Time::ZERO + (frame.at - start);
        let line = describe(recording.dialect, &frame.bytes, frame.len).at(at);
        lines += &format!("{line}\n");
    }
    lines
}

#[test]
fn a_conversation_is_a_line_a_frame() {
    let recording = recordings::read("compat/nack-connect", Dialect::Compat);
    assert_eq!(
        lines(&recording),
        "\
0.000000000 02:00:00:00:00:0a/1 > 02:00:00:00:00:0b/40 CONNECT request 0 session 221bef26 key 12345678 expects 1 index 4
0.000841000 02:00:00:00:00:0b/40 > 02:00:00:00:00:0a/1 NACK_LIB seq 0 reason bad endpoint
0.009167000 02:00:00:00:00:0a/1 > 02:00:00:00:00:0b/9 CONNECT request 0 session 221bef26 key 12345678 expects 1 index 4
0.009944000 02:00:00:00:00:0b/9 > 02:00:00:00:00:0a/1 NACK_LIB seq 0 reason endpoint closed
0.012060000 02:00:00:00:00:0a/1 > 02:00:00:00:00:0b/3 CONNECT request 0 session 221bef26 key 00000bad expects 1 index 4
0.013639000 02:00:00:00:00:0b/3 > 02:00:00:00:00:0a/1 CONNECT reply 0 session b1eb22e2 to session 221bef26 status bad key expects 1 index 2
0.016148000 02:00:00:00:00:0a/1 > 02:00:00:00:00:0b/3 CONNECT request 1 session 221bef26 key 12345678 expects 1 index 4
0.017128000 02:00:00:00:00:0b/3 > 02:00:00:00:00:0a/1 CONNECT reply 1 session b1eb22e2 to session 221bef26 status success expects 1 index 2
"
    );
}

#[test]
fn discovery_shows_announcements_and_names() {
    let recording = recordings::read("compat/discovery", Dialect::Compat);
    let text = lines(&recording);
    let picked: Vec<_> = text
        .lines()
        .skip(4)
        .take(5)
        .map(|line| &line[12..])
        .collect();
    assert_eq!(
        picked,
        [
            "02:00:00:00:00:0b > ff:ff:ff:ff:ff:ff RAW announces 02:00:00:00:00:0b serial 76444308",
            "02:00:00:00:00:0b > 02:00:00:00:00:0a HOST_QUERY index 2 magic 13052008",
            "02:00:00:00:00:0a > 02:00:00:00:00:0b HOST_QUERY index 4 magic 13052008",
            "02:00:00:00:00:0a > 02:00:00:00:00:0b HOST_REPLY index 4 magic 13052008 name ga:0",
            "02:00:00:00:00:0b > 02:00:00:00:00:0a HOST_REPLY index 2 magic 13052008 name gb:0",
        ]
    );
}

#[test]
fn the_frames_of_a_pulled_message_are_told_apart() {
    let recording = recordings::read("compat/nack-pull-bad-session", Dialect::Compat);
    let text = lines(&recording);
    let picked: Vec<_> = text.lines().skip(2).map(|line| &line[12..]).collect();
    assert_eq!(
        picked,
        [
            "02:00:00:00:00:0a/1 > 02:00:00:00:00:0b/3 RNDV seq 1 ack 1 match 1111222233334444 len 60000 rdma 0.23",
            "02:00:00:00:00:0b/3 > 02:00:00:00:00:0a/1 LIBACK ack 2 acknum 1 session 0da9fddf",
            "02:00:00:00:00:0b/3 > 02:00:00:00:00:0a/1 PULL frame 0 len 32768 of 60000 rdma 0.23 handle 00000023 magic 21071983 session 0da9fddf",
            "02:00:00:00:00:0b/3 > 02:00:00:00:00:0a/1 PULL frame 8 len 27232 of 60000 rdma 0.23 handle 00000023 magic 21071983 session 0da9fddf",
            "02:00:00:00:00:0a > 02:00:00:00:00:0b NACK_MCP puller 3 handle 00000023 magic 21071983 reason bad session",
            "02:00:00:00:00:0a > 02:00:00:00:00:0b NACK_MCP puller 3 handle 00000023 magic 21071983 reason bad session",
            "02:00:00:00:00:0b/3 > 02:00:00:00:00:0a/1 NOTIFY seq 1 ack 2 len 0 rdma 0.23 session 0da9fddf",
            "02:00:00:00:00:0a/1 > 02:00:00:00:00:0b/3 NACK_LIB seq 1 reason bad session",
        ]
    );
}

#[test]
fn the_long_form_has_every_field_and_no_payload() {
    let recording = recordings::read(
        "native-mtu1500/eager-one-way",
        "native:1500".parse().unwrap(),
    );
    let frame = recording
        .frames
        .iter()
        .find(|frame| frame.bytes[16] == 39)
        .unwrap();
    let text = format!("{:#}", describe(recording.dialect, &frame.bytes, frame.len));
    assert_eq!(
        text,
        "\
02:00:00:00:00:0a/1 > 02:00:00:00:00:0b/3 MEDIUM
    frame bytes      177
    peer index       6
    seq              8
    ack              1
    match            111122223333444b
    session          a9ccc770
    generation       0
    checksum         0000
    fragment         0/1
    bytes            0..129
    len              129
    payload bytes    129
    padding bytes    0"
    );
}

#[test]
fn a_broken_frame_is_described_as_far_as_it_goes() {
    let recording = recordings::read("compat/nack-connect", Dialect::Compat);
    let mut bytes = recording.frames[0].bytes.clone();
    bytes[20] = 3;
    assert_eq!(
        describe(Dialect::Compat, &bytes, bytes.len()).to_string(),
        "02:00:00:00:00:0a/1 > 02:00:00:00:00:0b/40 CONNECT of 60 bytes, broken: header announces 3 bytes of data, 16 are needed"
    );
    bytes[12] = 8;
    assert_eq!(
        describe(Dialect::Compat, &bytes, bytes.len()).to_string(),
        "frame of 60 bytes, not for us: EtherType 0x08df instead of 0x86df"
    );
    assert_eq!(
        describe(Dialect::Compat, &[], 0).to_string(),
        "frame of 0 bytes, not for us: frame of 0 bytes, its head alone needs 17"
    );
}
