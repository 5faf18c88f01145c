//! `myrixen demo`: two hosts, four guests, everything verified and measured, and a back end that dies on the way.
//!
//! This process only coordinates. The back ends and the guests are processes of their own (this program again,
//! with hidden subcommands), on hosts that are network namespaces where the machine allows that.

mod account;
pub(crate) mod crew;
pub(crate) mod dialogue;
mod exchange;
pub(crate) mod guest;
pub(crate) mod hosts;
pub(crate) mod measure;
pub(crate) mod parts;
pub(crate) mod protocol;
mod restart;
mod stream;
pub(crate) mod verify;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use self::crew::{Crew, Member};
use self::dialogue::PATIENCE;
use self::hosts::{Joint, Site};
use self::protocol::{Command, GuestPlace, Report};
use crate::cli::DemoArgs;
use crate::output;
use crate::progress::Progress;
use crate::record::{self, Exchange, Record};
use crate::report::{html, table};
use crate::units;

pub(crate) use parts::{die_with_parent, monotonic_ns};
pub(crate) use protocol::Place;

/// Names of the two hosts; guests are called after them: a1, a2, b1, b2.
const HOSTS: [&str; 2] = ["a", "b"];
const GUESTS_PER_HOST: u16 = 2;

/// A guest, as the coordinator knows it.
struct Guest {
    member: Member,
    name: String,
    place: GuestPlace,
}

/// A demo that runs.
struct Demo {
    progress: Progress,
    crew: Crew,
    daemons: Vec<Member>,
    guests: Vec<Guest>,
    records: Vec<Record>,
    joint: Joint,
    // Last, so that nothing runs any more when its directory is removed.
    site: Site,
}

/// Runs the demo and writes its report.
pub(crate) fn run(args: &DemoArgs) -> anyhow::Result<()> {
    let begun = Instant::now();
    // First of all, while this process has one thread: that is when it can change namespaces.
    let (site, joint) = Site::for_demo(args.vxlan)?;
    let mut progress = Progress::new();
    progress.note(&joint.sentence());
    let (crew, records) = (Crew::new(), Vec::new());
    let mut demo = Demo {
        progress,
        crew,
        daemons: Vec::new(),
        guests: Vec::new(),
        records,
        joint,
        site,
    };
    if let Err(error) = demo.perform(args) {
        demo.account();
        return Err(error);
    }
    demo.progress.finish("");
    demo.crew.dismiss(Duration::from_secs(5));
    demo.publish(args, begun)
}

impl Demo {
    fn perform(&mut self, args: &DemoArgs) -> anyhow::Result<()> {
        self.start()?;
        self.connect()?;
        self.exchange()?;
        if !args.no_perf {
            self.measure()?;
        }
        self.restart(args.restarts)
    }

    fn start(&mut self) -> anyhow::Result<()> {
        self.progress.step("Starting two back ends and four guests");
        for host in 0..HOSTS.len() {
            let daemon = self.site.start_daemon(&mut self.crew, host)?;
            self.daemons.push(daemon);
        }
        let mut waiting = BTreeMap::new();
        for (host, host_name) in HOSTS.iter().enumerate() {
            for i in 1..=GUESTS_PER_HOST {
                let name = format!("{host_name}{i}");
                let number = u16::try_from(waiting.len())?;
                let member = self.site.start_guest(&mut self.crew, host, &name, number)?;
                waiting.insert(member, name);
            }
        }
        for (member, place) in self.crew.ready(waiting.keys().copied().collect())? {
            let name = waiting.remove(&member).unwrap_or_default();
            self.guests.push(Guest {
                member,
                name,
                place,
            });
        }
        Ok(())
    }

    fn connect(&mut self) -> anyhow::Result<()> {
        self.progress.step("Connecting all to all");
        let guests = self.guests.iter();
        let guests: Vec<_> = guests
            .map(|guest| (guest.member, guest.place.clone()))
            .collect();
        self.crew.connect(&guests)?;
        let count = self.guests.len();
        self.progress
            .finish(&format!("{} connections", count * (count - 1)));
        Ok(())
    }

    fn exchange(&mut self) -> anyhow::Result<()> {
        self.progress
            .step("Exchanging and verifying messages, all to all");
        self.tell_all(&Command::Exchange)?;
        let largest = exchange::SIZES.into_iter().max().unwrap_or(0);
        let guests = self.guests.len() as u64;
        let mut record = Exchange {
            guests,
            messages: 0,
            bytes: 0,
            largest,
        };
        let (mut left, mut direct) = (self.guests.len(), 0);
        while left > 0 {
            match self.crew.next(PATIENCE, "messages were exchanged")?.1 {
                Report::Exchanging { size } => {
                    self.progress
                        .detail(&format!("messages of {}", units::size(size)));
                }
                Report::Exchanged {
                    messages,
                    bytes,
                    direct: channels,
                    in_place: _,
                } => {
                    direct += channels;
                    record.messages += messages;
                    record.bytes += bytes;
                    left -= 1;
                }
                other => bail!("a guest said {other:?} during the exchange"),
            }
        }
        let (messages, bytes) = (record.messages, units::size(record.bytes));
        // Both ends of a channel count it.
        let channels = direct / 2;
        self.progress.finish(&format!(
            "{messages} messages, {bytes}, every byte right; {channels} direct channels"
        ));
        self.records.push(Record::Exchange(record));
        Ok(())
    }

    fn tell_all(&mut self, command: &Command) -> anyhow::Result<()> {
        for guest in &self.guests {
            self.crew.tell(guest.member, command)?;
        }
        Ok(())
    }

    /// Prints the table, writes the records and the report. An error if a message was lost, doubled or
    /// reordered: then all of that has been written all the same.
    fn publish(self, args: &DemoArgs, begun: Instant) -> anyhow::Result<()> {
        let out = &args.out;
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        let json = args
            .json
            .clone()
            .unwrap_or_else(|| out.join("results.json"));
        record::write(&json, &self.records)?;
        let page = out.join("report.html");
        let html = html::page(&about(&self.joint, begun), &self.records);
        std::fs::write(&page, html).with_context(|| format!("cannot write {}", page.display()))?;
        drop(self.progress);
        let mut text = String::from("\n");
        if !args.no_perf {
            text = format!("\n{}\n\n", table::summary(&self.records));
        }
        let (verdicts, page, json) = (
            table::verdicts(&self.records),
            output::place(&page),
            output::place(&json),
        );
        output::print(&format!(
            "{text}{verdicts}\nPlots: {page}\nRecords: {json}\n"
        ))?;
        for record in &self.records {
            if let Record::Restart(restart) = record
                && !restart.is_clean()
            {
                bail!("messages did not arrive exactly once and in order: this is a bug");
            }
        }
        Ok(())
    }
}

fn about(joint: &Joint, begun: Instant) -> html::About {
    let mut facts = vec![("myrixen".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    facts.extend(parts::machine());
    let took = format!("{:.0} s", begun.elapsed().as_secs_f64());
    facts.push(("the demo took".to_owned(), took));
    html::About {
        title: "MyriXen on this machine".to_owned(),
        facts,
        notes: vec![joint.sentence()],
        charts: Vec::new(),
    }
}
