//! What comes out of the serial port of an emulated machine: the consoles of all of its domains, line by line.
//!
//! dom0 relays the lines of its guests with a mark in front of them, and the hypervisor marks its own; whatever has no
//! mark is dom0's. Some lines are more than text: they say how the test ended, hand over a result, or raise a signal.

use std::fmt;

use serde_json::{Map, Value};

/// Longest name of a signal: the hypervisor buffers 128 bytes of input.
const MAX_SIGNAL: usize = 32;

/// Whose console a line is from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Domain {
    /// The hypervisor.
    Xen,
    /// The host's own domain, and QEMU.
    Dom0,
    /// A guest, by the name that it has in dom0.
    Guest(String),
}

/// A line of a console.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Whose.
    pub(crate) domain: Domain,
    /// Without the mark.
    pub(crate) text: String,
}

/// What a line says to the lab.
#[derive(Debug, PartialEq)]
pub(crate) enum Meaning<'a> {
    /// Nothing.
    Text,
    /// How far the test is, for people.
    Progress,
    /// A script gives up, and why.
    Failed(&'a str),
    /// dom0's script and the guests' have ended, with this exit status.
    Ended(u8),
    /// Something measured or found out.
    Result(Map<String, Value>),
    /// To be told to all dom0s.
    Signal(&'a str),
    /// A line for the lab makes no sense.
    Broken(&'static str),
    /// A kernel, or the hypervisor, has found itself broken.
    Trouble(&'static str),
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Xen => "xen",
            Self::Dom0 => "dom0",
            Self::Guest(name) => name,
        })
    }
}

impl Line {
    /// Finds out whose line it is.
    pub(crate) fn parse(raw: &[u8]) -> Self {
        let text = plain(&String::from_utf8_lossy(raw));
        let text = text.trim_end();
        let (domain, text) = if text.starts_with("(XEN)") {
            (Domain::Xen, text)
        } else if let Some((name, rest)) = relayed(text) {
            (Domain::Guest(name.to_owned()), rest)
        } else {
            (Domain::Dom0, text)
        };
        Self {
            domain,
            text: text.to_owned(),
        }
    }

    /// What it says to the lab.
    pub(crate) fn meaning(&self) -> Meaning<'_> {
        if let Some(rest) = self.text.strip_prefix("result: ") {
            return match serde_json::from_str(rest) {
                Ok(Value::Object(object)) => Meaning::Result(object),
                _ => Meaning::Broken("a result that is no JSON object"),
            };
        }
        if let Some(rest) = self.text.strip_prefix("lab: ") {
            if let Some(why) = rest.strip_prefix("FAILED: ") {
                return Meaning::Failed(why);
            }
            if let Some(status) = rest.strip_prefix("exit status ") {
                // Only dom0 knows how all of them ended.
                return match status.parse() {
                    Ok(status) if self.domain == Domain::Dom0 => Meaning::Ended(status),
                    _ => Meaning::Broken("an exit status that is none"),
                };
            }
            return match rest.strip_prefix("signal ") {
                Some(name) if is_signal(name) => Meaning::Signal(name),
                Some(_) => Meaning::Broken("a signal whose name is none"),
                None => Meaning::Progress,
            };
        }
        if self.text.starts_with("ok: ") {
            return Meaning::Progress;
        }
        kernel_trouble(&self.text).map_or(Meaning::Text, Meaning::Trouble)
    }
}

/// Without colours and other orders to a terminal.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // ESC [ parameters letter; whatever else there is has one character.
            if rest.next() == Some('[') {
                let _ = rest.find(|c| ('@'..='~').contains(c));
            }
        } else if !c.is_control() || c == '\t' {
            plain.push(c);
        }
    }
    plain
}

/// The guest's name and its text, if dom0 relayed the line.
fn relayed(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.strip_prefix('<')?.split_once("> ").or_else(|| {
        // An empty line of a guest has lost its blank.
        text.strip_prefix('<')?
            .strip_suffix('>')
            .map(|name| (name, ""))
    })?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (name.starts_with("dom") && name.chars().all(plain)).then_some((name, rest))
}

fn is_signal(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.len() <= MAX_SIGNAL && name.chars().all(plain)
}

/// What kernels print when they are not to be trusted any more. They stay quiet about less, by their log level.
fn kernel_trouble(text: &str) -> Option<&'static str> {
    [
        ("BUG: ", "a kernel's BUG"),
        ("Oops: ", "a kernel's Oops"),
        ("Kernel panic", "a kernel's panic"),
        (
            "general protection fault",
            "a general protection fault in a kernel",
        ),
        ("Bad page", "a kernel's broken page"),
        ("kernel BUG at", "a kernel's BUG"),
        ("Panic on CPU", "the hypervisor's panic"),
    ]
    .into_iter()
    .find_map(|(pattern, what)| text.contains(pattern).then_some(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning_of(raw: &str) -> String {
        format!("{:?}", Line::parse(raw.as_bytes()).meaning())
    }

    #[test]
    fn a_line_belongs_to_the_domain_of_its_mark() {
        for (raw, domain, text) in [
            ("(XEN) hello\r", Domain::Xen, "(XEN) hello"),
            ("hello\r", Domain::Dom0, "hello"),
            ("<domU1> hello", Domain::Guest("domU1".to_owned()), "hello"),
            ("<domU1> ", Domain::Guest("domU1".to_owned()), ""),
            ("<b> no guest", Domain::Dom0, "<b> no guest"),
            ("<dom/../x> no guest", Domain::Dom0, "<dom/../x> no guest"),
            ("\u{fffd}", Domain::Dom0, "\u{fffd}"),
        ] {
            let line = Line::parse(raw.as_bytes());
            assert_eq!((line.domain, line.text.as_str()), (domain, text), "{raw}");
        }
        assert_eq!(Line::parse(b"\xff").text, "\u{fffd}");
        assert_eq!(Line::parse(b"\x1b[2ma\x1b[0m\x07b\x1b[").text, "ab");
    }

    #[test]
    fn only_dom0_ends_the_test_but_any_domain_fails_it() {
        assert_eq!(meaning_of("lab: exit status 3\r"), "Ended(3)");
        assert_eq!(
            meaning_of("<domU1> lab: FAILED: it broke"),
            "Failed(\"it broke\")"
        );
        assert!(meaning_of("<domU1> lab: exit status 0").starts_with("Broken"));
        assert!(meaning_of("lab: exit status 300").starts_with("Broken"));
    }

    #[test]
    fn results_are_json_objects_of_any_domain() {
        let line = Line::parse(b"<domU2> result: {\"us\": 1.5}");
        let Meaning::Result(object) = line.meaning() else {
            panic!("no result");
        };
        assert_eq!(object["us"], 1.5);
        assert!(meaning_of("result: 7").starts_with("Broken"));
        assert!(meaning_of("result: {\"a\": ").starts_with("Broken"));
        assert_eq!(meaning_of("the result: {}"), "Text");
    }

    #[test]
    fn signals_have_short_plain_names() {
        assert_eq!(
            meaning_of("<domU1> lab: signal ready-1"),
            "Signal(\"ready-1\")"
        );
        assert!(meaning_of("lab: signal a b").starts_with("Broken"));
        assert!(meaning_of(&format!("lab: signal {}", "x".repeat(33))).starts_with("Broken"));
        assert_eq!(meaning_of("lab: dom0 ready"), "Progress");
    }

    #[test]
    fn a_kernel_in_trouble_is_noticed() {
        let page = "[  9.1] BUG: Bad page map in process x";
        assert!(meaning_of(page).starts_with("Trouble"));
        assert!(meaning_of("<domU1> Kernel panic - not syncing").starts_with("Trouble"));
        assert_eq!(meaning_of("a bug: none"), "Text");
    }
}
