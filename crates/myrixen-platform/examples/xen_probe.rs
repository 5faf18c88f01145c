//! Both ends of what `myrixen_platform::xen` offers, for two domains of a real Xen.
//!
//! `cargo build -p myrixen-platform --features xen --example xen_probe`, then, as root:
//!
//! - `xen_probe store` in any domain: xenstore with its transactions, watches and permissions.
//! - `xen_probe quotas` in a domain but 0: what xenstore says when this domain has used up its quotas. For its time no other
//!   program of the domain can write there.
//! - `xen_probe grant PEER` in one domain and `xen_probe map PEER` in another, each with the other's number: pages and
//!   events both ways, files that are handed to other processes, the notifications when a side goes, and the limits.
//! - `xen_probe unwritable PEER`: grants PEER what looks like a control ring, for reading only; prints what the keys `ring-ref` and `event-channel` are to be, and
//!   waits for its standard input to end.
//!
//! Each line says what was seen; the status is 0 when everything was as it should be.

#![forbid(unsafe_code)]

use std::error::Error;
use std::io::stdin;
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use myrixen_platform::xen::{
    DomId, EventChannel, GrantAlloc, GrantMap, GrantRef, PAGE, Permission, Port, Rights, XenError,
    XenStore,
};
use myrixen_shm::{Access, Pages};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

type Outcome = Result<(), Box<dyn Error>>;

/// How long one side waits for the other: longer than an emulated machine takes to boot.
const PATIENCE: Duration = Duration::from_secs(120);
/// Pages that are shared.
const PAGES: u32 = 64;

// Where things are in the first page. The first two become 0 when a side goes.
const GRANTER_LIVES: usize = 0;
const MAPPER_LIVES: usize = 64;
const GRANTER_STEP: usize = 128;
const MAPPER_STEP: usize = 192;
const CHILD_MAY_GO: usize = 256;
/// Where a queue pair has the references of its pages: docs/xen.md.
const LIST: usize = 2048;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["store"] => store(),
        ["quotas"] => quotas(),
        ["grant", peer] => domain(peer).and_then(grant),
        ["map", peer] => domain(peer).and_then(map),
        ["unwritable", peer] => return finished(domain(peer).and_then(unwritable)),
        // Our own children: the file is their standard input.
        ["hold", offset, len] => child(offset, len).and_then(|pages| hold(&pages)),
        ["touch", offset, len] => child(offset, len).and_then(|pages| touch(&pages)),
        _ => {
            Err("usage: xen_probe store | quotas | grant PEER | map PEER | unwritable PEER".into())
        }
    };
    if outcome.is_ok() {
        println!("all as it should be");
    }
    finished(outcome)
}

/// Says what was wrong.
fn finished(outcome: Outcome) -> ExitCode {
    let Err(error) = outcome else {
        return ExitCode::SUCCESS;
    };
    let mut next: Option<&dyn Error> = Some(&*error);
    while let Some(error) = next {
        eprintln!("xen_probe: {error}");
        next = error.source();
    }
    ExitCode::FAILURE
}

fn domain(text: &str) -> Result<DomId, Box<dyn Error>> {
    Ok(DomId::new(text.parse()?))
}

fn check(fine: bool, what: &str) -> Outcome {
    if !fine {
        return Err(format!("not so: {what}").into());
    }
    println!("ok: {what}");
    Ok(())
}

/// Shows an error that was provoked.
fn refused<T>(result: Result<T, XenError>, what: &str, fine: fn(&XenError) -> bool) -> Outcome {
    match result {
        Err(error) if fine(&error) => {
            println!("ok: {what} is refused: {error}");
            Ok(())
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err(format!("{what} is not refused").into()),
    }
}

/// Waits for an event that makes `done` true.
fn wait_event(channel: &EventChannel, what: &str, done: impl Fn() -> bool) -> Outcome {
    let deadline = Instant::now() + PATIENCE;
    loop {
        // Drained first, looked at then: an event in between wakes us again.
        channel.drain()?;
        if done() {
            println!("ok: {what}");
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: i64::try_from(left.as_secs())?,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut fds = [PollFd::from_borrowed_fd(channel.fd(), PollFlags::IN)];
        if rustix::io::retry_on_intr(|| poll(&mut fds, Some(&left)))? == 0 {
            return Err(format!("waited in vain: {what}").into());
        }
    }
}

/// Waits until a path has a value.
fn wait_value(store: &mut XenStore, path: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    store.watch(path, "wait")?;
    loop {
        match store.read(path) {
            Ok(value) if !value.is_empty() => {
                store.unwatch(path, "wait")?;
                println!("ok: {path} is there");
                return Ok(value);
            }
            // Not there yet, or not yet permitted: setting the permissions is an event too.
            Ok(_) | Err(XenError::Store { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if store.wait_event(Some(PATIENCE))?.is_none() {
            return Err(format!("waited in vain for {path}").into());
        }
    }
}

fn word(page: u32, salt: u32) -> u32 {
    page.wrapping_mul(2_654_435_761).wrapping_add(salt)
}

/// Writes a word into each page but the first, at its end.
fn fill(pages: &Pages, salt: u32) {
    for (page, at) in (1..PAGES).zip((2 * PAGE - 4..).step_by(PAGE)) {
        pages.store_u32(at, word(page, salt), Ordering::Relaxed);
    }
}

fn filled(pages: &Pages, salt: u32) -> bool {
    (1..PAGES)
        .zip((2 * PAGE - 4..).step_by(PAGE))
        .all(|(page, at)| pages.load_u32(at, Ordering::Relaxed) == word(page, salt))
}

fn byte(pages: &Pages, at: usize) -> u8 {
    let mut byte = [0];
    pages.read(at, &mut byte);
    byte[0]
}

fn key(domain: DomId, name: &str) -> String {
    format!("/local/domain/{domain}/data/xen-probe/{name}")
}

/// Publishes a value that the peer may read.
fn publish(store: &mut XenStore, me: DomId, peer: DomId, name: &str, value: &str) -> Outcome {
    let path = key(me, name);
    store.write(&path, value.as_bytes())?;
    let permissions = [
        Permission::new(Rights::None, me),
        Permission::new(Rights::Read, peer),
    ];
    store.set_perms(&path, &permissions)?;
    Ok(())
}

/// Starts this program again with a file of a device as its standard input.
fn spawn(role: &str, file: BorrowedFd<'_>, offset: u64, len: usize) -> std::io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .args([role, &offset.to_string(), &len.to_string()])
        .stdin(Stdio::from(file.try_clone_to_owned()?))
        .spawn()
}

/// What a child maps.
fn child(offset: &str, len: &str) -> Result<Pages, Box<dyn Error>> {
    let (offset, len) = (offset.parse()?, len.parse()?);
    let pages = Pages::map_device(&stdin().as_fd(), offset, len, Access::ReadWrite)?;
    Ok(pages)
}

/// A child that has a file of the granter's, until the mapper lets it go.
fn hold(pages: &Pages) -> Outcome {
    pages.store_u32(GRANTER_STEP, 3, Ordering::Release);
    while pages.load_u32(CHILD_MAY_GO, Ordering::Acquire) == 0 {
        std::thread::yield_now();
    }
    check(true, "another process holds and maps what was granted")
}

/// A child that has a file of the mapper's.
fn touch(pages: &Pages) -> Outcome {
    check(
        filled(pages, 1),
        "another process maps and reads what was granted to us",
    )?;
    fill(pages, 2);
    Ok(())
}

fn grant(peer: DomId) -> Outcome {
    let mut store = XenStore::open()?;
    let me = store.domid()?;
    println!("domain {me} grants to domain {peer}");
    // What an earlier run has left is of no use to anybody.
    store.mkdir("data/xen-probe")?;
    store.rm("data/xen-probe/offer")?;
    store.rm("data/xen-probe/dropped")?;
    let alloc = GrantAlloc::open()?;
    let granted = alloc.alloc(peer, PAGES, Access::ReadWrite)?;
    let pages = granted.pages();
    let to_read = alloc.alloc(peer, 1, Access::ReadOnly)?;
    to_read.pages().write(0, &[77]);
    let channel = EventChannel::open_unbound(peer)?;
    grant_limits(&alloc, peer, &channel)?;

    fill(&pages, 1);
    pages.write(GRANTER_LIVES, &[1]);
    granted.set_unmap_notify(GRANTER_LIVES as u64, channel.local_port())?;
    refused(
        granted.set_unmap_notify(0, Port::new(900)),
        "a notification through a port that is not open",
        |error| matches!(error, XenError::NotBound(_)),
    )?;
    let refs: Vec<String> = granted.refs().iter().map(ToString::to_string).collect();
    let (port, readable) = (channel.local_port(), to_read.refs()[0]);
    let offer = format!("{port} {readable} {}", refs.join(" "));
    publish(&mut store, me, peer, "offer", &offer)?;

    let written = || pages.load_u32(MAPPER_STEP, Ordering::Acquire) == 1;
    wait_event(&channel, "the peer has written and sent an event", written)?;
    check(filled(&pages, 3), "the peer's bytes are in the pages")?;
    check(
        byte(&pages, MAPPER_LIVES) == 1,
        "the peer has a notification",
    )?;
    pages.store_u32(GRANTER_STEP, 2, Ordering::Release);
    channel.notify()?;
    let gone = || byte(&pages, MAPPER_LIVES) == 0;
    wait_event(
        &channel,
        "the peer has unmapped: the byte is 0, an event came",
        gone,
    )?;

    let mut held = spawn("hold", granted.fd(), granted.offset(), granted.len())?;
    while pages.load_u32(GRANTER_STEP, Ordering::Acquire) != 3 {
        if let Some(status) = held.try_wait()? {
            return Err(format!("the child ended: {status}").into());
        }
        std::thread::yield_now();
    }
    drop((pages, granted));
    publish(&mut store, me, peer, "dropped", "1")?;
    let ended = held.wait()?;
    check(ended.success(), "the child ended after the peer let it go")?;
    store.rm(&key(me, "offer"))?;
    Ok(())
}

/// Who takes this for a queue pair can read its list, and cannot map its first page for writing, but all others.
fn unwritable(peer: DomId) -> Outcome {
    let alloc = GrantAlloc::open()?;
    let first = alloc.alloc(peer, 1, Access::ReadOnly)?;
    let rest = alloc.alloc(peer, PAGES, Access::ReadWrite)?;
    let list: Vec<u8> = first
        .refs()
        .iter()
        .chain(rest.refs())
        .flat_map(|reference| reference.get().to_le_bytes())
        .collect();
    first.pages().write(LIST, &list);
    let channel = EventChannel::open_unbound(peer)?;
    println!("{} {}", first.refs()[0], channel.local_port());
    std::io::copy(&mut stdin(), &mut std::io::sink())?;
    Ok(())
}

fn grant_limits(alloc: &GrantAlloc, peer: DomId, channel: &EventChannel) -> Outcome {
    let limit = GrantAlloc::limit()?;
    refused(
        alloc.alloc(peer, limit.saturating_add(1), Access::ReadOnly),
        "more than the limit",
        |error| matches!(error, XenError::GrantLimit { .. }),
    )?;
    refused(
        alloc.alloc(peer, limit, Access::ReadOnly),
        "the whole limit while some is in use",
        |error| matches!(error, XenError::GrantsUsedUp { .. }),
    )?;
    GrantAlloc::set_limit(limit.saturating_add(2 * PAGES))?;
    let many = alloc.alloc(peer, limit, Access::ReadOnly)?;
    check(
        many.refs().len() * PAGE == many.len(),
        "a raised limit allows more",
    )?;
    many.release()?;
    GrantAlloc::set_limit(limit)?;
    refused(alloc.alloc(peer, 0, Access::ReadOnly), "no page", |error| {
        matches!(error, XenError::NoPages)
    })?;
    if peer != DomId::new(0) {
        channel.restrict(peer)?;
        println!("ok: the channel's file is restricted to domain {peer}");
    }
    refused(channel.restrict(peer), "to restrict it", |error| {
        matches!(error, XenError::NotRestricted { .. })
    })
}

fn map(peer: DomId) -> Outcome {
    let mut store = XenStore::open()?;
    println!("domain {} maps what domain {peer} grants", store.domid()?);
    let offer = String::from_utf8(wait_value(&mut store, &key(peer, "offer"))?)?;
    let mut numbers = offer.split(' ').map(str::parse::<u32>);
    let port = Port::new(numbers.next().ok_or("an empty offer")??);
    let readable = GrantRef::new(numbers.next().ok_or("a short offer")??);
    let refs: Vec<_> = numbers
        .map(|number| number.map(GrantRef::new))
        .collect::<Result<_, _>>()?;
    let device = GrantMap::open()?;
    map_limits(&device, peer, &refs)?;

    map_read_only(&device, peer, readable)?;
    hand_on(&device, peer, &refs)?;

    let first = device.map(peer, &refs, Access::ReadWrite)?;
    let second = device.map(peer, &refs, Access::ReadWrite)?;
    let pages = second.pages();
    check(filled(&pages, 2), "the other process's bytes are there")?;
    let channel = EventChannel::bind(peer, port)?;
    check(channel.drain()?, "binding raises an event")?;
    check(!channel.drain()?, "a drained channel has no event")?;
    refused(
        EventChannel::bind(peer, port),
        "to bind the port again",
        |error| matches!(error, XenError::PortRefused { .. }),
    )?;
    map_in_vain(&device, peer, [readable, refs[0]], channel.local_port())?;
    fill(&first.pages(), 3);
    first.pages().write(MAPPER_LIVES, &[1]);
    first.set_unmap_notify(MAPPER_LIVES as u64, channel.local_port())?;
    pages.store_u32(MAPPER_STEP, 1, Ordering::Release);
    let copy = channel.fd().try_clone_to_owned()?;
    EventChannel::from_fd(copy, channel.local_port())?.notify()?;
    let answered = || pages.load_u32(GRANTER_STEP, Ordering::Acquire) == 2;
    wait_event(&channel, "the peer has answered with an event", answered)?;
    check(
        byte(&pages, MAPPER_LIVES) == 1,
        "our notification has not fired",
    )?;
    drop(first);
    check(byte(&pages, MAPPER_LIVES) == 0, "it has, when we unmapped")?;

    wait_value(&mut store, &key(peer, "dropped"))?;
    check(
        byte(&pages, GRANTER_LIVES) == 1,
        "the peer's has not while its child has the file",
    )?;
    pages.store_u32(CHILD_MAY_GO, 1, Ordering::Release);
    let gone = || byte(&pages, GRANTER_LIVES) == 0;
    wait_event(
        &channel,
        "it has when the child ended: the byte is 0, an event came",
        gone,
    )?;
    fill(&pages, 4);
    check(filled(&pages, 4), "the pages stay readable and writable")?;
    channel.notify()?;
    println!("ok: to notify nobody is no error");
    Ok(())
}

/// A page that we may only read.
fn map_read_only(device: &GrantMap, peer: DomId, readable: GrantRef) -> Outcome {
    refused(
        device.map(peer, &[readable], Access::ReadWrite),
        "to write what is for reading",
        |error| matches!(error, XenError::NotMapped { .. }),
    )?;
    let mapped = device.map(peer, &[readable], Access::ReadOnly)?;
    check(
        byte(&mapped.pages(), 0) == 77,
        "what is for reading can be read",
    )
}

/// Pages of which the first cannot be mapped, with something to be done when they are unmapped: a byte of that page to be cleared as well would stop the
/// kernel.
fn map_in_vain(device: &GrantMap, peer: DomId, refs: [GrantRef; 2], port: Port) -> Outcome {
    let prepared = device.prepare(peer, &refs)?;
    prepared.send_at_unmap(port)?;
    refused(
        prepared.map(Access::ReadWrite),
        "to write it, with an event at the end",
        |error| matches!(error, XenError::NotMapped { .. }),
    )
}

/// Another process maps what was prepared here.
fn hand_on(device: &GrantMap, peer: DomId, refs: &[GrantRef]) -> Outcome {
    let prepared = device.prepare(peer, refs)?;
    let status = spawn("touch", prepared.fd(), prepared.offset(), prepared.len())?.wait()?;
    check(
        status.success(),
        "another process mapped what was prepared here",
    )?;
    match prepared.map(Access::ReadWrite) {
        Ok(_) => println!("note: this kernel maps it a second time, after the first was unmapped"),
        Err(error) => println!("note: this kernel does not map it a second time: {error}"),
    }
    Ok(())
}

fn map_limits(device: &GrantMap, peer: DomId, refs: &[GrantRef]) -> Outcome {
    let limit = usize::try_from(GrantMap::limit()?)?;
    let many = refs.iter().copied().cycle().take(limit.saturating_add(1));
    refused(
        device.prepare(peer, &many.collect::<Vec<_>>()),
        "more than the limit",
        |error| matches!(error, XenError::MapLimit { .. }),
    )?;
    refused(
        device.map(peer, &[GrantRef::new(0x00ff_fff0)], Access::ReadWrite),
        "what is not granted",
        |error| matches!(error, XenError::NotMapped { .. }),
    )?;
    refused(
        EventChannel::bind(peer, Port::new(900)),
        "a port that is not open",
        |error| matches!(error, XenError::PortRefused { .. }),
    )?;
    refused(
        EventChannel::bind(DomId::new(9999), Port::new(1)),
        "a domain that is not there",
        |error| matches!(error, XenError::NoDomain(_)),
    )
}

fn store() -> Outcome {
    let mut store = XenStore::open()?;
    let me = store.domid()?;
    println!("domain {me}, at {}", store.get_domain_path(me)?);
    let path = |name: &str| format!("data/xen-probe/store/{name}");
    store.write(&path("count"), b"1")?;
    refused(
        store.read(&path("nothing")),
        "to read what is not there",
        XenError::is_not_found,
    )?;
    store.watch(&path("count"), "token")?;
    let first = store.wait_event(Some(PATIENCE))?.ok_or("no event")?;
    check(
        first.path == path("count") && first.token == "token",
        "a watch has an event at once",
    )?;

    let mut other = XenStore::open()?;
    let mut runs = 0;
    store.transaction(|transaction| {
        runs += 1;
        transaction.read(&path("count"))?;
        if runs == 1 {
            other.write(&path("count"), b"2")?;
        }
        transaction.write(&path("count"), b"3")
    })?;
    println!("note: a transaction with a change by another in between ran {runs} times");
    check(
        store.read(&path("count"))? == b"3",
        "the transaction's value is there",
    )?;
    let mut events = 0;
    while store.next_event()?.is_some() {
        events += 1;
    }
    println!("note: {events} event(s) had come by then");

    let names = store.directory("data/xen-probe/store")?;
    check(names == ["count"], "a directory has its names")?;
    store.set_perms(&path("count"), &[Permission::new(Rights::Both, me)])?;
    let permissions = store.get_perms(&path("count"))?;
    check(
        permissions == [Permission::new(Rights::Both, me)],
        "permissions are as they were set",
    )?;
    store.unwatch(&path("count"), "token")?;

    store.rm("data/xen-probe/store")?;
    Ok(())
}

fn quotas() -> Outcome {
    let mut store = XenStore::open()?;
    let path = |name: &str| format!("data/xen-probe/quotas/{name}");
    store.mkdir(&path("x"))?;
    let watch = (0..200).find_map(|n| store.watch(&path("x"), &format!("{n}")).err());
    println!("of 200 watches, refused: {}", shown(watch));
    // Its watches go with it.
    drop(store);
    let mut store = XenStore::open()?;
    let long = store.write(&path("long"), &[b'x'; 4000]).err();
    println!("a value of 4000 bytes, refused: {}", shown(long));
    let write = (0..1200).find_map(|n| store.write(&path(&format!("many/{n}")), b"x").err());
    println!("of 1200 paths, refused: {}", shown(write));
    store.rm("data/xen-probe/quotas")?;
    Ok(())
}

fn shown(error: Option<XenError>) -> String {
    error.map_or_else(|| "none".to_owned(), |error| error.to_string())
}
