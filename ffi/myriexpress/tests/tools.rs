//! The programs that MX users know.

mod common;

use common::{Check, Site, compile_in, have};

#[test]
fn mx_pingpong_prints_a_line_for_each_size_and_verifies_what_comes_back() {
    if !have(&["cc"]) {
        return;
    }
    let work = tempfile::tempdir().expect("a folder");
    let program = compile_in("tools", "mx_pingpong", Check::Sanitizers, work.path());
    let site = Site::alone();
    for wait in [&[][..], &["-w"]] {
        let answers = site.guest("a1", &program, Check::None).args(wait);
        let answers = site.run(answers);
        let asks = site.guest("b1", &program, Check::None).args(wait);
        let sizes = ["-d", "a1", "-S", "0", "-E", "100000", "-M", "10"];
        let asks = asks.args(&sizes).args(&["-N", "20", "-W", "2", "-V"]);
        let text = site.run(asks).succeed();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains("Latency(us)"), "{text}");
        let measured: Vec<(u32, f64)> = lines[1..]
            .iter()
            .map(|line| {
                let mut words = line.split_whitespace();
                let length = words.next().and_then(|word| word.parse().ok());
                let latency = words.next().and_then(|word| word.parse().ok());
                (length.expect("a length"), latency.expect("a latency"))
            })
            .collect();
        let lengths: Vec<u32> = measured.iter().map(|(length, _)| *length).collect();
        assert_eq!(lengths, [0, 1, 10, 100, 1000, 10_000, 100_000]);
        assert!(measured.iter().all(|(_, latency)| *latency > 0.0), "{text}");
        answers.succeed();
    }
}
