//! Two ends that look on without end, on one processor: neither keeps the other from it.

use std::time::{Duration, Instant};

use myrixen::{Embedded, EndpointOptions, Match, Wait};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const KEY: u32 = 0x00c1_20d0;
const PATIENCE: Duration = Duration::from_secs(30);

/// Leaves this thread the first of its processors.
fn use_one_processor() {
    let all = sched_getaffinity(None).expect("the processors of this thread");
    let first = (0..CpuSet::MAX_CPU).find(|&cpu| all.is_set(cpu));
    let mut one = CpuSet::new();
    one.set(first.expect("a processor"));
    sched_setaffinity(None, &one).expect("one processor");
}

/// How often this thread has given its processor away.
fn sleeps() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("procfs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok())
        .expect("a count of switches")
}

#[test]
fn those_who_share_a_processor_sleep_in_turns() {
    let inside = Embedded::default().start().expect("a back end");
    let open = || {
        let fabric = inside.join().expect("a guest");
        let options = EndpointOptions::default().key(KEY).wait(Wait::Spin);
        let end = fabric.open(options).expect("an endpoint");
        (fabric, end)
    };
    let ((_asks, asks), (_answers, answers)) = (open(), open());
    let to = asks
        .connect(answers.address(), KEY, PATIENCE)
        .expect("connected");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use_one_processor();
            let mut buffer = [0; 8];
            loop {
                let asked = answers.recv(Match::any(), &mut buffer).expect("a question");
                if asked.bits == 0 {
                    return;
                }
                let from = answers.peer(asked.source).expect("known");
                answers.send(&from, asked.bits, &buffer).expect("answered");
            }
        });
        use_one_processor();
        let (began, before) = (Instant::now(), sleeps());
        let mut question = 0_u64;
        while sleeps() < before + 100 && began.elapsed() < PATIENCE {
            question += 1;
            asks.send(&to, question, &question.to_le_bytes())
                .expect("asked");
            let mut buffer = [0; 8];
            asks.recv(Match::any(), &mut buffer).expect("an answer");
            assert_eq!(u64::from_le_bytes(buffer), question);
        }
        asks.send(&to, 0, &[0; 8]).expect("ended");
        assert!(
            sleeps() >= before + 100,
            "it looked on for {question} questions"
        );
    });
}
