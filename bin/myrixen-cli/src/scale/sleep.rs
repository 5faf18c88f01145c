//! The processor time of ping-pongs between programs that sleep until the answer is there: over a direct channel, a pipe, a Unix socket.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;

use super::hand::Hand;
use super::record::{Bar, Record, float, quantile};
use super::{HOST, Stage, system};

/// Bytes of a message.
const SIZE: usize = 8;
/// Round trips that one figure is about.
const ROUNDS: u64 = 10_000;
/// Round trips that warm up.
const WARM_UP: u64 = 500;
/// Times that each is measured, one after the other; medians count.
const TIMES: usize = 9;

/// A process that sends back what it is sent, over a pipe each way or over a socket.
struct Partner {
    child: Child,
    out: Box<dyn Write>,
    back: Box<dyn Read>,
}

/// Measures all three.
pub(super) fn run(stage: &mut Stage) -> anyhow::Result<Vec<Record>> {
    stage.start_daemon(HOST)?;
    let records = measure(stage)?;
    stage.stop_daemons()?;
    Ok(records)
}

fn measure(stage: &mut Stage) -> anyhow::Result<Vec<Record>> {
    stage
        .progress
        .step("Playing ping-pong between programs that sleep");
    let start = |name: &str| {
        let mut hand = Hand::guests(&stage.site, HOST, &[name.to_owned()])?;
        hand.hear_ready()?;
        let (places, _) = hand.open(1, 1 << 20, true)?;
        anyhow::Ok((hand, places))
    };
    let (mut one, _) = start("one")?;
    let (mut other, places) = start("other")?;
    one.connect(0, places)?;
    one.tell(&super::order::Order::AwaitDirect { endpoint: 0 })?;
    one.hear_done()?;
    let mut pipe = Partner::over_pipes(stage)?;
    let mut socket = Partner::over_socket(stage)?;
    one.pingpong(&mut other, SIZE, WARM_UP)?;
    pipe.play(WARM_UP)?;
    socket.play(WARM_UP)?;
    let mut taken: [Vec<u64>; 3] = Default::default();
    for time in 0..TIMES {
        stage.progress.detail(&format!("{} of {TIMES}", time + 1));
        let before = one.cpu_ns()? + other.cpu_ns()?;
        one.pingpong(&mut other, SIZE, ROUNDS)?;
        taken[0].push(one.cpu_ns()? + other.cpu_ns()? - before);
        taken[1].push(pipe.play(ROUNDS)?);
        taken[2].push(socket.play(ROUNDS)?);
    }
    let [direct, pipe, socket] = taken.map(|mut taken| {
        taken.sort_unstable();
        float(quantile(&taken, 0.5))
    });
    let bar = Bar::AtMost(1.0);
    let ratio = |of, theirs: f64| {
        Record::new("sleep_cpu", of, direct / theirs, "", bar)
            .with("direct_ns", direct)
            .with("other_ns", theirs)
            .with("round_trips", float(ROUNDS))
    };
    let records = vec![ratio("of a pipe", pipe), ratio("of a Unix socket", socket)];
    let words = records.iter().map(Record::summary);
    stage.progress.finish(&words.collect::<Vec<_>>().join(", "));
    Ok(records)
}

impl Partner {
    fn command(stage: &Stage) -> Command {
        let mut command = stage.site.myself();
        command.args(["scale-part", "echo", &SIZE.to_string()]);
        command
    }

    fn over_pipes(stage: &Stage) -> anyhow::Result<Self> {
        let mut command = Self::command(stage);
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

    fn over_socket(stage: &Stage) -> anyhow::Result<Self> {
        let (ours, theirs) = UnixStream::pair().context("cannot make a pair of sockets")?;
        let end = |socket: &UnixStream| {
            let socket = socket.try_clone().context("cannot copy a socket")?;
            anyhow::Ok(OwnedFd::from(socket))
        };
        let mut command = Self::command(stage);
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
