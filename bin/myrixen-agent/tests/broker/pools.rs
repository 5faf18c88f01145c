//! Pools for the other end of a direct channel to another domain.

use myrixen_platform::message::{
    Brought, ChannelId, FailReason, Failure, Lent, Notice, Reply, Request,
};
use myrixen_platform::process::{Attachment, News};

use super::bench::{Bench, OURS, POOL, THEIRS, at};

/// The channel, and one before it.
const CHANNEL: ChannelId = ChannelId::new(40);
const EARLIER: ChannelId = ChannelId::new(39);

/// A program with endpoint 1 and a channel to endpoint 5 of the other domain.
fn with_channel(bench: &mut Bench) -> Attachment {
    let one = bench.attach();
    bench.open(&one, 1);
    let adopt = Request::AdoptDirect {
        endpoint: 1,
        to: at(THEIRS, 5),
        channel: CHANNEL,
    };
    let (serial, asked) = bench.ask(&one, &adopt);
    bench.back.reply(asked.unwrap().0, Reply::Done);
    assert_eq!(bench.answer(&one, serial).reply, Reply::Done);
    one
}

fn lend(channel: ChannelId, bytes: u32) -> Request {
    Request::LendPool {
        endpoint: 1,
        to: at(THEIRS, 5),
        channel,
        bytes,
        // What a program says of pages nobody believes.
        brought: Some(Brought { page: 1, event: 1 }),
    }
}

#[test]
fn a_pool_is_lent_to_the_domain_at_the_other_end_once() {
    let mut bench = Bench::new();
    let one = with_channel(&mut bench);
    assert_eq!(
        bench.fails(&one, &lend(EARLIER, 4096)).0,
        FailReason::NotFound
    );
    let (serial, asked) = bench.ask(&one, &lend(CHANNEL, 5000));
    let (ask, request) = asked.unwrap();
    assert_eq!(request, Request::AskGrantee { to: at(THEIRS, 5) });
    bench.back.reply(ask, Reply::Grantee { domain: 12 });
    bench.turn();
    let (ask, request) = bench.back.asked().unwrap();
    let told = Request::LendPool {
        endpoint: 1,
        to: at(THEIRS, 5),
        channel: CHANNEL,
        bytes: 8192,
        brought: Some(POOL),
    };
    assert_eq!(request, told);
    bench.back.reply(ask, Reply::Done);
    assert_eq!(bench.answer(&one, serial).reply, Reply::Done);
    assert_eq!(bench.memory.lock().unwrap().pools, [(12, 8192)]);
    let (reason, _) = bench.fails(&one, &lend(CHANNEL, 4096));
    assert_eq!(reason, FailReason::InUse);
}

#[test]
fn a_pool_that_cannot_be_had_may_be_asked_for_again() {
    let mut bench = Bench::new();
    let one = with_channel(&mut bench);
    let unsupported = Reply::Failed(Failure::new(FailReason::Unsupported, "an older back end"));
    for (used_up, reply, why) in [
        (true, Reply::Done, FailReason::Limit),
        (false, unsupported, FailReason::Unsupported),
    ] {
        bench.memory.lock().unwrap().used_up = used_up;
        let (serial, asked) = bench.ask(&one, &lend(CHANNEL, 4096));
        bench
            .back
            .reply(asked.unwrap().0, Reply::Grantee { domain: 12 });
        bench.turn();
        if let Some((ask, _)) = bench.back.asked() {
            bench.back.reply(ask, reply);
        }
        let Reply::Failed(failure) = bench.answer(&one, serial).reply else {
            panic!("lent")
        };
        assert_eq!(failure.reason, why);
    }
}

#[test]
fn programs_of_one_domain_need_none() {
    let mut bench = Bench::new();
    let (one, two) = (bench.attach(), bench.attach());
    bench.open(&one, 1);
    bench.open(&two, 2);
    let open = super::bench::open_direct(1, at(OURS, 2));
    let channel = bench.ask_here(&one, &open).into_direct().unwrap().channel;
    let lend = Request::LendPool {
        endpoint: 1,
        to: at(OURS, 2),
        channel,
        bytes: 4096,
        brought: None,
    };
    assert_eq!(bench.fails(&one, &lend).0, FailReason::NoDirectPath);
}

#[test]
fn what_the_other_end_lends_goes_to_the_program_once() {
    let mut bench = Bench::new();
    let one = with_channel(&mut bench);
    let place = Lent {
        domain: 12,
        brought: POOL,
    };
    let say = |channel, lent| Notice::PoolLent {
        endpoint: 1,
        peer: at(THEIRS, 5),
        channel,
        bytes: 4096,
        lent,
    };
    bench.back.say(say(EARLIER, Some(place)));
    bench.back.say(say(CHANNEL, None));
    bench.turn();
    assert!(one.next_news().is_none());
    bench.back.say(say(CHANNEL, Some(place)));
    bench.back.say(say(CHANNEL, Some(place)));
    bench.turn();
    let Some(News::PoolLent {
        endpoint: 1,
        peer,
        channel: CHANNEL,
        pool: None,
    }) = one.next_news()
    else {
        panic!("not told")
    };
    assert_eq!(peer, at(THEIRS, 5));
    assert!(one.next_news().is_none());
    assert_eq!(bench.memory.lock().unwrap().borrowed, [(12, POOL)]);
}
