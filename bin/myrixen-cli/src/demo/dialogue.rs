//! What a coordinator has its guests do, step by step: for the demo and for whoever measures with the same guests.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::bail;

use super::crew::{Crew, Member};
use super::protocol::{Command, GuestPlace, Report, Which};
use crate::record::Record;

/// How long any one answer of a guest may take before the coordinator gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

impl Crew {
    /// Waits until these guests are attached; where each is, by their numbers.
    pub(crate) fn ready(
        &mut self,
        mut waiting: BTreeSet<Member>,
    ) -> anyhow::Result<Vec<(Member, GuestPlace)>> {
        let mut guests = Vec::new();
        while !waiting.is_empty() {
            let (member, report) = self.next(PATIENCE, "guests attached")?;
            if let (true, Report::Ready { guest }) = (waiting.remove(&member), report) {
                guests.push((member, guest));
            }
        }
        guests.sort_by_key(|(_, place)| place.number);
        Ok(guests)
    }

    /// Connects guests, all to all.
    pub(crate) fn connect(&mut self, guests: &[(Member, GuestPlace)]) -> anyhow::Result<()> {
        let places: Vec<GuestPlace> = guests.iter().map(|(_, place)| place.clone()).collect();
        for (member, _) in guests {
            let guests = places.clone();
            self.tell(*member, &Command::Connect { guests })?;
        }
        for _ in guests {
            match self.next(PATIENCE, "guests connected")?.1 {
                Report::Connected => {}
                other => bail!("a guest said {other:?} instead of connecting"),
            }
        }
        Ok(())
    }

    /// Has one guest measure, as `order` says, with another that serves; `each` figure is shown as it comes.
    pub(crate) fn measure(
        &mut self,
        (client, server): (Member, Member),
        on: Which,
        order: &Command,
        each: impl FnMut(Record) -> String,
    ) -> anyhow::Result<()> {
        self.tell(server, &Command::Serve { on })?;
        self.tell(client, order)?;
        self.collect(client, each)?;
        self.tell(server, &Command::Halt)?;
        match self.next(PATIENCE, "a guest stopped serving")? {
            (member, Report::Halted) if member == server => Ok(()),
            (_, other) => bail!("a guest said {other:?} instead of stopping to serve"),
        }
    }

    /// Takes in what somebody measures, until it says that this was all. `each` gives a figure's words, for when nothing comes after it.
    pub(crate) fn collect(
        &mut self,
        client: Member,
        mut each: impl FnMut(Record) -> String,
    ) -> anyhow::Result<()> {
        let mut doing = "the first messages were sent".to_owned();
        loop {
            match self.next(PATIENCE, &doing)? {
                (member, Report::Halted) if member == client => return Ok(()),
                (_, Report::Measured { record }) => {
                    let text = each(record);
                    doing = format!("the next figure after this one was measured: {text}");
                }
                (_, other) => bail!("somebody said {other:?} during a measurement"),
            }
        }
    }
}
