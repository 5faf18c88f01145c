//! What can go wrong when hosts are made.

use std::fmt::Write as _;
use std::io;

use rustix::io::Errno;

/// Why a lab, a host or a wire could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// This machine or container does not let this user make namespaces.
    #[error("namespaces are forbidden here: {why}")]
    Forbidden {
        /// What forbids it and the setting that would allow it.
        why: String,
    },

    /// A call to the kernel failed.
    #[error("cannot {doing}")]
    Io {
        /// What was tried.
        doing: String,
        /// The kernel's words.
        source: io::Error,
    },

    /// The kernel's answer to a netlink request was not understood.
    #[error("cannot {doing}: the kernel's answer was {problem}")]
    Answer {
        /// What was tried.
        doing: String,
        /// What was wrong with the answer.
        problem: &'static str,
    },
}

impl LabError {
    /// Names what was tried when a system call failed.
    pub(crate) fn io(doing: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::Io {
            doing: doing.into(),
            source: source.into(),
        }
    }

    /// The refusal to make namespaces, with what the machine's settings say about it.
    pub(crate) fn refused(errno: Errno) -> Self {
        let mut why = format!("unshare: {}", io::Error::from(errno));
        for setting in SETTINGS {
            if let Some(value) = read_setting(setting.path)
                && (setting.forbids)(&value)
            {
                // Writing to a string cannot fail.
                let _ = write!(why, "; {} ({} is {value})", setting.remedy, setting.path);
            }
        }
        if errno == Errno::INVAL {
            why.push_str("; the process must have a single thread");
        }
        Self::Forbidden { why }
    }
}

struct Setting {
    path: &'static str,
    forbids: fn(&str) -> bool,
    remedy: &'static str,
}

const SETTINGS: [Setting; 4] = [
    Setting {
        path: "/proc/sys/user/max_user_namespaces",
        forbids: |value| value == "0",
        remedy: "raise it with sysctl user.max_user_namespaces=10000",
    },
    Setting {
        path: "/proc/sys/user/max_net_namespaces",
        forbids: |value| value == "0",
        remedy: "raise it with sysctl user.max_net_namespaces=10000",
    },
    Setting {
        path: "/proc/sys/kernel/unprivileged_userns_clone",
        forbids: |value| value == "0",
        remedy: "allow it with sysctl kernel.unprivileged_userns_clone=1",
    },
    Setting {
        path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        forbids: |value| value == "1",
        remedy: "allow it with sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    },
];

fn read_setting(path: &str) -> Option<String> {
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned())
}
