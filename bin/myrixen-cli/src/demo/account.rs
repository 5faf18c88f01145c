//! When the demo fails: what the back ends and the guests know, before all of it is torn down.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mxoe::engine::Ignored;
use myrixen::{Counters, Endpoint, Peer};

use super::guest::Guest;
use super::protocol::{Command, Report};
use super::{Demo, HOSTS};
use crate::{counters, info};

/// How long the guests that are left may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

impl Demo {
    /// Prints it to standard error.
    pub(super) fn account(&mut self) {
        for (post, name) in HOSTS.iter().enumerate() {
            eprintln!(
                "\n=== The back end of host {name} ===\n{}",
                self.back_end(post)
            );
        }
        self.account_of_guests();
    }

    fn back_end(&self, post: usize) -> String {
        match info::snapshot(&self.site.control(post)) {
            Ok(snapshot) => {
                let counted = counters::now(&snapshot);
                format!("{}\nCounters\n{counted}", info::describe(&snapshot))
            }
            Err(error) => format!("{error:#}"),
        }
    }

    /// Asks those that still listen; of the others there are the last words.
    fn account_of_guests(&mut self) {
        let asked = self.guests.iter().filter(|guest| {
            let tell = self.crew.tell(guest.member, &Command::Account);
            tell.is_ok()
        });
        let (mut left, until) = (asked.count(), Instant::now() + PATIENCE);
        while left > 0 && Instant::now() < until {
            match self.crew.next_before(until) {
                Ok(Some((member, Report::Account { text }))) => {
                    self.crew.remember(member, text);
                    left -= 1;
                }
                // One that fails now as well, or has something else to say first.
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => break,
            }
        }
        for guest in &self.guests {
            let words = self.crew.words(guest.member);
            eprintln!("\n=== Guest {} ===\n{words}", guest.name);
        }
    }
}

/// How it stands with a guest: its endpoints, and over which paths it reaches its partners.
pub(super) fn of(guest: &Guest) -> String {
    let mut text = String::new();
    for (name, endpoint) in [("main", &guest.main), ("switched", &guest.switched)] {
        let pending = endpoint.pending_requests();
        let (address, counted) = (endpoint.address(), counted(&endpoint.counters()));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{name} endpoint {address}: {pending} requests pending; {counted}"
        );
    }
    for partner in &guest.partners {
        let _ = writeln!(
            text,
            "guest {}: main {}, switched {}",
            partner.number,
            way(&guest.main, &partner.main),
            way(&guest.switched, &partner.switched)
        );
    }
    text
}

fn way(endpoint: &Endpoint, to: &Peer) -> String {
    let path = endpoint.path(to);
    match endpoint.session_of(to) {
        Some(session) => format!("{path:?}, session {session:#010x}"),
        None => format!("{path:?}, not connected"),
    }
}

/// All counters that are not 0.
fn counted(counters: &Counters) -> String {
    let mut all = vec![
        ("frames_in", counters.frames_in),
        ("frames_out", counters.frames_out),
        ("messages_in", counters.messages_in),
        ("messages_out", counters.messages_out),
        ("unexpected", counters.unexpected),
        ("acks_out", counters.acks_out),
        ("nacks_out", counters.nacks_out),
        ("resends", counters.resends),
        ("fast_resends", counters.fast_resends),
        ("timeouts", counters.timeouts),
        ("fetches", counters.fetches),
        ("fetches_failed", counters.fetches_failed),
        ("pulls_out", counters.pulls_out),
        ("pull_repeats", counters.pull_repeats),
        ("partners_lost", counters.partners_lost),
    ];
    let ignored = Ignored::ALL
        .into_iter()
        .map(|reason| (reason.name(), counters.ignored(reason)));
    all.extend(ignored);
    all.retain(|(_, count)| *count > 0);
    let all: Vec<String> = all
        .into_iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_happened_is_not_told() {
        let none = Counters::default();
        let mut counters = none.clone();
        (counters.frames_in, counters.resends) = (7, 2);
        assert_eq!(counted(&none), "");
        assert_eq!(counted(&counters), "frames_in 7, resends 2");
    }
}
