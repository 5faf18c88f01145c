//! The processor time of ping-pongs between programs that sleep until the answer is there: over a direct channel, a pipe, a Unix socket.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use super::hand::Hand;
use super::{HOST, Stage};
use crate::demo::hosts::Site;
use crate::held::{Held, Limit, float, quantile};
use crate::system;

/// Bytes of a message.
const SIZE: usize = 8;
/// Times that `perf scale` measures each, one after the other; medians count.
const TIMES: usize = 5;

/// A process that sends back what it is sent, over a pipe each way or over a socket.
struct Partner {
    child: Child,
    out: Box<dyn Write>,
    back: Box<dyn Read>,
}

/// Those who play.
struct Players {
    one: Hand,
    other: Hand,
    pipe: Partner,
    socket: Partner,
}

/// Measures with the back end running.
pub(super) fn run(stage: &mut Stage, rounds: u64) -> anyhow::Result<Vec<Held>> {
    stage.start_daemon(HOST)?;
    stage.progress.step("Playing ping-pong asleep");
    let Stage { site, progress, .. } = stage;
    let records = measure(site, rounds, TIMES, &mut |place| progress.detail(place))?;
    let words: Vec<String> = records.iter().map(Held::summary).collect();
    stage.progress.finish(&words.join(", "));
    stage.stop_daemons()?;
    Ok(records)
}

/// Measures all three `times`, with both processes on one core and on two (where there are two): left alone, the kernel puts one
/// pair here and another there, and that makes more of a difference than all else. `watch` is told where they play.
pub(crate) fn measure(
    site: &Site,
    rounds: u64,
    times: usize,
    watch: &mut dyn FnMut(&str),
) -> anyhow::Result<Vec<Held>> {
    let mut players = Players::gather(site)?;
    let cores = system::cores();
    let [first, second] = [cores.first(), cores.last()].map(|core| core.copied().unwrap_or(0));
    let mut places = vec![("one core", [first, first])];
    if first != second {
        places.push(("two cores", [first, second]));
    }
    let played = places.into_iter().map(|(place, ends)| {
        watch(place);
        players.pin(ends)?;
        players.measure(rounds, times, place)
    });
    let played: anyhow::Result<Vec<_>> = played.collect();
    // Whatever came of it, this process and those that it starts may run everywhere again.
    system::pin(std::process::id(), &cores)?;
    Ok(played?.concat())
}

impl Players {
    fn gather(site: &Site) -> anyhow::Result<Self> {
        let start = |name: &str| {
            let mut hand = Hand::guests(site, HOST, &[name.to_owned()])?;
            hand.hear_ready()?;
            let (places, _) = hand.open(1, 1 << 20, true)?;
            anyhow::Ok((hand, places))
        };
        let (mut one, _) = start("one")?;
        let (other, places) = start("other")?;
        one.connect(0, places)?;
        one.tell(&super::order::Order::AwaitDirect { endpoint: 0 })?;
        one.hear_done()?;
        Ok(Self {
            one,
            other,
            pipe: Partner::over_pipes(site)?,
            socket: Partner::over_socket(site)?,
        })
    }

    /// Puts one process of each pair, or this one in its place, on the first core, the other on the second.
    fn pin(&self, [here, there]: [usize; 2]) -> anyhow::Result<()> {
        self.one.pin(&[here])?;
        self.other.pin(&[there])?;
        system::pin(std::process::id(), &[here])?;
        for partner in [&self.pipe, &self.socket] {
            system::pin(partner.child.id(), &[there])?;
        }
        Ok(())
    }

    fn measure(&mut self, rounds: u64, times: usize, place: &str) -> anyhow::Result<Vec<Held>> {
        let mut taken: [Vec<u64>; 3] = Default::default();
        // To warm up.
        self.round(rounds / 20)?;
        for _ in 0..times {
            for (taken, took) in taken.iter_mut().zip(self.round(rounds)?) {
                taken.push(took);
            }
        }
        let [direct, pipe, socket] = taken.map(|mut taken| {
            taken.sort_unstable();
            float(quantile(&taken, 0.5))
        });
        let ratio = |other: &str, theirs: f64| {
            let of = format!("of a {other}, {place}");
            Held::new("sleep_cpu", of, direct / theirs, "", Limit::AtMost(1.0))
                .with("direct_ns", direct)
                .with("other_ns", theirs)
                .with("round_trips", float(rounds))
        };
        Ok(vec![ratio("pipe", pipe), ratio("socket", socket)])
    }

    /// Processor time of so many round trips: over the direct channel, the pipe and the socket.
    fn round(&mut self, rounds: u64) -> anyhow::Result<[u64; 3]> {
        let before = self.one.cpu_ns()? + self.other.cpu_ns()?;
        self.one.pingpong(&mut self.other, SIZE, rounds)?;
        let direct = self.one.cpu_ns()? + self.other.cpu_ns()? - before;
        Ok([direct, self.pipe.play(rounds)?, self.socket.play(rounds)?])
    }
}

impl Partner {
    fn command(site: &Site) -> Command {
        let mut command = site.myself();
        command.args(["scale-part", "echo", &SIZE.to_string()]);
        command
    }

    fn over_pipes(site: &Site) -> anyhow::Result<Self> {
        let mut command = Self::command(site);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the echo")?;
        let ends = child.stdin.take().zip(child.stdout.take());
        let (out, back) = ends.context("the echo has no pipes")?;
        Ok(Self {
            child,
            out: Box::new(out),
            back: Box::new(back),
        })
    }

    fn over_socket(site: &Site) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a pair of sockets")?;
        let end = |socket: &UnixStream| {
            let socket = socket.try_clone().context("cannot copy a socket")?;
            anyhow::Ok(OwnedFd::from(socket))
        };
        let mut command = Self::command(site);
        command.stdin(end(&theirs)?).stdout(end(&theirs)?);
        let child = command.spawn().context("cannot start the echo")?;
        Ok(Self {
            child,
            out: Box::new(ours.try_clone()?),
            back: Box::new(ours),
        })
    }

    /// Has so many messages sent back: the processor time that it took, ours and the other process's.
    fn play(&mut self, rounds: u64) -> anyhow::Result<u64> {
        let mut message = [0x5a; SIZE];
        let before = own_cpu_ns() + system::cpu_ns(self.child.id())?;
        for _ in 0..rounds {
            self.out.write_all(&message)?;
            self.back.read_exact(&mut message)?;
        }
        Ok(own_cpu_ns() + system::cpu_ns(self.child.id())? - before)
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        // Errors say that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Processor time of this thread.
fn own_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let ns = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    u64::try_from(ns).unwrap_or(0)
}

/// Sends back what comes on standard input, in messages of so many bytes.
pub(super) fn echo(size: usize) -> anyhow::Result<()> {
    use std::fs::File;
    use std::os::fd::AsFd as _;
    crate::demo::die_with_parent()?;
    // Not by the standard library's buffers: one call a message, as whoever wants it fast would do it.
    let input = File::from(std::io::stdin().as_fd().try_clone_to_owned()?);
    let output = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
    let mut message = vec![0; size];
    while (&input).read_exact(&mut message).is_ok() {
        (&output).write_all(&message)?;
    }
    Ok(())
}
