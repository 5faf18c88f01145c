//! A daemon as a whole, in this process: its files and sockets, and what a reload takes over.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use myrixen_control::{Client, Reply, Request};
use myrixen_platform::process::{AttachError, Attachment, HelloOptions};
use myrixend::{Config, Daemon};

fn config(directory: &Path, rest: &str) -> Config {
    let file = |name: &str| directory.join(name).display().to_string();
    let text = format!(
        "[host]\nname = 'node'\nid = 'x'\nstate_dir = '{}'\nsocket = '{}'\ncontrol = '{}'\n\
         [workers]\npoll_us = 0\n{rest}",
        file("state"),
        file("run/guests"),
        file("run/control"),
    );
    Config::parse(&text, "test").unwrap()
}

fn attach(directory: &Path) -> Result<Attachment, AttachError> {
    let attached = Attachment::connect(directory.join("run/guests"), HelloOptions::default());
    attached.map(|(attachment, _)| attachment)
}

const TUNNEL: &str =
    "[[uplink]]\nname = 'tunnel'\nkind = 'vxlan'\nlisten = '127.0.0.1:0'\nvni = 7\n";

#[test]
fn a_daemon_serves_guests_and_operators_and_leaves_no_socket_behind() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(config(dir.path(), TUNNEL)).unwrap();
    let mode = |name: &str| {
        std::fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(
        (
            mode("run/guests"),
            mode("run/control"),
            mode("state/secret")
        ),
        (0o660, 0o600, 0o600)
    );
    let guest = attach(dir.path()).unwrap();
    let mut client = Client::connect(dir.path().join("run/control")).unwrap();
    let Reply::Status(status) = client.ask(&Request::Status).unwrap() else {
        panic!("no status")
    };
    assert_eq!((status.host.as_str(), status.guests), ("node", 1));
    let Reply::Uplinks(uplinks) = client.ask(&Request::Uplinks).unwrap() else {
        panic!("none")
    };
    assert_eq!(
        (
            uplinks[0].kind.as_str(),
            uplinks[0].partitions[0].tag.as_str()
        ),
        ("vxlan", "vni 7")
    );
    daemon.backend().drain(Duration::from_secs(60));
    drop(guest);
    daemon.join();
    assert_eq!(
        std::fs::read_dir(dir.path().join("run")).unwrap().count(),
        0
    );
}

#[test]
fn two_daemons_do_not_share_a_socket() {
    let dir = tempfile::tempdir().unwrap();
    let _first = Daemon::start(config(dir.path(), "")).unwrap();
    let error = Daemon::start(config(dir.path(), "")).unwrap_err();
    assert!(format!("{error:#}").contains("host.socket"), "{error:#}");
    attach(dir.path()).expect("the first one still listens");
}

#[test]
fn a_reload_takes_the_policy_and_the_remotes_and_names_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(config(dir.path(), TUNNEL)).unwrap();
    attach(dir.path()).unwrap();
    let nobody = "[[policy]]\nusers = [4294967294]\n";
    let remotes = TUNNEL.replace("vni", "remotes = ['127.0.0.1:9']\nvni");
    let rest = daemon.reload(config(dir.path(), &format!("{nobody}{remotes}")));
    assert!(rest.is_empty(), "{rest:?}");
    let Err(AttachError::Refused { refusal, .. }) = attach(dir.path()) else {
        panic!("let in")
    };
    assert!(refusal.to_string().contains("policy"), "{refusal}");
    let more = format!("{TUNNEL}[limits]\nports = 3\n[[partition]]\nname = 'p'\n");
    assert_eq!(
        daemon.reload(config(dir.path(), &more)),
        ["limits", "partition"]
    );
}

#[test]
fn an_interface_that_does_not_exist_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let wire = "[[uplink]]\nname = 'wire'\nkind = 'ethernet'\ninterface = 'no-such-if0'\n";
    let error = Daemon::start(config(dir.path(), wire)).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("\"wire\""), "{text}");
}
