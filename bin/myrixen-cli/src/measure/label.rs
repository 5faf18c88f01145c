//! Measurements as records.

use std::time::Duration;

use super::Client;
use super::timing::{self, Parties, Trips, Way};
use crate::record::{
    Calls, CallsPerMessage, Path, Percentiles, PingPong, Rate, Record, Stream, Wait,
};

/// Round trips before those that are measured in one go: whoever has to learn how to wait, and where to run, has had the time.
const BEFORE: u64 = 2000;

/// What the records of a measurement have in common.
pub(crate) struct Label {
    pub(crate) path: Path,
    pub(crate) link: Option<String>,
    pub(crate) wait: Wait,
    /// Whose processor time is counted besides this process's; of none, if they cannot all be asked.
    pub(crate) parties: Option<Parties>,
}

impl Label {
    /// Measures half round trips.
    pub(crate) fn pingpong(
        &self,
        way: &mut dyn Way,
        size: u64,
        time: Duration,
    ) -> anyhow::Result<Record> {
        let measured = timing::pingpong(way, size, time)?;
        Ok(self.half_round_trips(size, measured))
    }

    /// Measures half of so many round trips, without a word between them.
    pub(crate) fn in_one_go(
        &self,
        client: &mut Client<'_>,
        size: u64,
        rounds: u64,
    ) -> anyhow::Result<Record> {
        let times = client.in_one_go(size, BEFORE, Trips::single(rounds))?;
        let measured = (timing::halves(&times), times.len());
        Ok(self.half_round_trips(size, measured))
    }

    fn half_round_trips(&self, size: u64, (half_rtt_ns, iterations): (Percentiles, u64)) -> Record {
        let (path, link, wait) = (self.path.clone(), self.link.clone(), self.wait);
        Record::PingPong(PingPong {
            path,
            size,
            half_rtt_ns,
            wait,
            iterations,
            link,
        })
    }

    /// What was counted of a test.
    pub(crate) fn calls(&self, of: &str, size: u64, per_message: CallsPerMessage) -> Record {
        Record::Calls(Calls {
            path: self.path.clone(),
            of: of.to_owned(),
            size,
            wait: self.wait,
            per_message,
            link: self.link.clone(),
        })
    }

    /// Measures bandwidth.
    pub(crate) fn stream(
        &self,
        way: &mut dyn Way,
        size: u64,
        time: Duration,
    ) -> anyhow::Result<Record> {
        let flow = timing::flow(way, size, time, self.parties.as_ref())?;
        let (path, link, wait) = (self.path.clone(), self.link.clone(), self.wait);
        let (mb_per_s, messages) = (flow.mb_per_s(), flow.messages);
        Ok(Record::Stream(Stream {
            path,
            size,
            mb_per_s,
            wait,
            messages,
            link,
            cpu_s_per_gib: flow.cpu_s_per_gib(),
        }))
    }

    /// Measures message rate.
    pub(crate) fn rate(
        &self,
        way: &mut dyn Way,
        size: u64,
        time: Duration,
    ) -> anyhow::Result<Record> {
        let flow = timing::flow(way, size, time, self.parties.as_ref())?;
        let (path, link, wait) = (self.path.clone(), self.link.clone(), self.wait);
        let (msgs_per_s, messages) = (flow.msgs_per_s(), flow.messages);
        Ok(Record::Rate(Rate {
            path,
            size,
            msgs_per_s,
            wait,
            messages,
            link,
            cpu_s_per_million: flow.cpu_s_per_million(),
        }))
    }
}
