//! The demo's restart: back ends die and come back in the middle of a stream between all guests.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::crew::Member;
use super::protocol::{BIN_MS, Command, Report, Streamed};
use super::{Demo, HOSTS, PATIENCE, monotonic_ns};
use crate::pattern::Tally;
use crate::record::{Record, Restart, Timeline};

/// Before the first kill, after each, and at the end, every guest gets at least this many messages over the network...
const MESSAGES: u64 = 50;
/// ... and the stream goes on at least this long, for the picture.
const CALM: Duration = Duration::from_millis(700);
/// The same when there are many kills, which take long enough.
const SHORT_CALM: Duration = Duration::from_millis(100);

/// What the guests have received so far: by guest, over direct channels and over the network.
type Received = BTreeMap<Member, (u64, u64)>;

impl Demo {
    /// Kills back ends `kills` times, one host's after the other's, while all guests stream to each other.
    pub(super) fn restart(&mut self, kills: u32) -> anyhow::Result<()> {
        self.progress.step("Streaming between all guests");
        let epoch_ns = monotonic_ns();
        let calm = if kills > 3 { SHORT_CALM } else { CALM };
        self.tell_all(&Command::Stream { epoch_ns })?;
        let mut received = Received::new();
        let mut killed_ms = Vec::new();
        for kill in 0..kills {
            self.stream_on(&mut received, calm)?;
            let host = kill as usize % HOSTS.len();
            let which = format!("Killing the back end of host {} (SIGKILL)", HOSTS[host]);
            self.progress.step(&which);
            killed_ms.push(monotonic_ns().saturating_sub(epoch_ns) / 1_000_000);
            let begun = Instant::now();
            self.crew.kill(self.daemons[host])?;
            let ended = begun.elapsed().as_secs_f64();
            self.daemons[host] = self.site.start_daemon(&mut self.crew, host)?;
            // Either waits for the kernel, which closes and opens packet sockets: on a machine that is busy, for seconds.
            let ready = begun.elapsed().as_secs_f64();
            self.progress.finish(&format!(
                "it had ended after {ended:.2} s, the next one was ready after {ready:.2} s"
            ));
            self.progress.step("Started again; the stream goes on");
        }
        self.stream_on(&mut received, calm)?;
        self.tell_all(&Command::Halt)?;
        let books = self.close_books(&mut received)?;
        let record = summarize(&books, killed_ms);
        let Restart {
            sent,
            lost,
            duplicated,
            reordered,
            ..
        } = record;
        self.progress.finish(&format!(
            "{sent} messages, {lost} lost, {duplicated} duplicated, {reordered} reordered"
        ));
        self.records.push(Record::Restart(record));
        Ok(())
    }

    /// Watches the stream until every guest has received some more over the network.
    fn stream_on(&mut self, received: &mut Received, calm: Duration) -> anyhow::Result<()> {
        let before = received.clone();
        let begun = Instant::now();
        let count = self.guests.len();
        loop {
            let (member, report) = self.crew.next(PATIENCE, "guests streamed")?;
            let Report::Streaming { direct, wire } = report else {
                bail!("a guest said {report:?} in the middle of the stream");
            };
            received.insert(member, (direct, wire));
            let total: u64 = received.values().map(|(direct, wire)| direct + wire).sum();
            self.progress.detail(&format!("{total} messages verified"));
            let base = |member| before.get(member).map_or(0, |(_, wire)| *wire);
            let moved = received
                .iter()
                .filter(|(m, (_, wire))| *wire >= base(m) + MESSAGES);
            if moved.count() == count && begun.elapsed() >= calm {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!(
                    "the stream over the network did not go on within {PATIENCE:?}: {}",
                    self.tell_standstill(received, &before)
                );
            }
        }
    }

    fn tell_standstill(&self, received: &Received, before: &Received) -> String {
        let mut text = String::new();
        for guest in &self.guests {
            let of = |map: &Received| map.get(&guest.member).copied().unwrap_or_default();
            let (now, then) = (of(received), of(before));
            let (direct, wire) = (now.0 - then.0, now.1 - then.1);
            text.push_str(&format!(
                "{} received {direct} direct and {wire} others; ",
                guest.name
            ));
        }
        text
    }

    fn close_books(&mut self, received: &mut Received) -> anyhow::Result<Vec<Streamed>> {
        let mut books = Vec::new();
        while books.len() < self.guests.len() {
            match self.crew.next(PATIENCE, "the stream was ended")? {
                (member, Report::Streaming { direct, wire }) => {
                    received.insert(member, (direct, wire));
                }
                (_, Report::Streamed { streamed }) => books.push(streamed),
                (_, other) => bail!("a guest said {other:?} at the end of the stream"),
            }
        }
        Ok(books)
    }
}

fn summarize(books: &[Streamed], killed_ms: Vec<u64>) -> Restart {
    let mut tally = Tally::default();
    let (mut direct, mut wire) = (Vec::new(), Vec::new());
    let (mut direct_gap, mut outage) = (0, 0);
    for book in books {
        tally.add(book.tally);
        add_bins(&mut direct, &book.direct_bins);
        add_bins(&mut wire, &book.wire_bins);
        direct_gap = direct_gap.max(book.direct_gap_ns);
        outage = outage.max(book.wire_gap_ns);
    }
    Restart {
        sent: tally.sent,
        delivered: tally.delivered,
        lost: tally.lost,
        duplicated: tally.duplicated,
        reordered: tally.reordered,
        outage_ms: milliseconds(outage),
        direct_gap_ms: (!direct.is_empty()).then(|| milliseconds(direct_gap)),
        kills: killed_ms.len() as u64,
        timeline: Some(Timeline {
            bin_ms: BIN_MS,
            killed_ms,
            direct,
            wire,
        }),
    }
}

fn add_bins(sum: &mut Vec<u64>, bins: &[u64]) {
    if sum.len() < bins.len() {
        sum.resize(bins.len(), 0);
    }
    for (sum, bin) in sum.iter_mut().zip(bins) {
        *sum += bin;
    }
}

/// With three digits after the point, as records have it.
#[allow(clippy::cast_precision_loss, reason = "milliseconds with three digits")]
fn milliseconds(ns: u64) -> f64 {
    (ns / 1000) as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_of_all_guests_are_added_up() {
        let tally = |sent, lost| Tally {
            sent,
            delivered: sent - lost,
            lost,
            ..Tally::default()
        };
        let book = |tally, direct_bins: &[u64], wire_bins: &[u64], gap| Streamed {
            tally,
            direct_bins: direct_bins.to_vec(),
            wire_bins: wire_bins.to_vec(),
            direct_gap_ns: gap,
            wire_gap_ns: gap * 10,
        };
        let books = [
            book(tally(10, 0), &[1, 2], &[3], 1_000_000),
            book(tally(5, 1), &[1], &[1, 1, 1], 2_500_000),
        ];
        let restart = summarize(&books, vec![70]);
        assert_eq!((restart.sent, restart.delivered, restart.lost), (15, 14, 1));
        assert_eq!(restart.outage_ms, 25.0);
        assert_eq!(restart.direct_gap_ms, Some(2.5));
        let timeline = restart.timeline.unwrap();
        assert_eq!(
            (timeline.direct, timeline.wire),
            (vec![2, 2], vec![4, 1, 1])
        );
        assert_eq!((restart.kills, timeline.killed_ms), (1, vec![70]));
    }
}
