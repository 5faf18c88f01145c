use std::path::Path;

use super::*;
use myrixen_link::Tag;
use myrixen_link::ethernet::Driver;
use myrixen_platform::{Names, Who};

fn parse(text: &str) -> Config {
    Config::parse(text, "test").unwrap()
}

fn problem(text: &str) -> String {
    Config::parse(text, "test").unwrap_err().to_string()
}

#[test]
fn an_empty_file_gives_a_back_end_for_this_host_alone() {
    let config = parse("");
    assert_eq!(config.partitions.len(), 1);
    assert_eq!(config.partitions[0].name, "default");
    assert_eq!(config.partitions[0].uplink, None);
    assert_eq!(config.host.socket, Path::new("/run/myrixen/myrixen.sock"));
    assert_eq!(config.host.socket_mode, 0o660);
    assert_eq!(config.policy.rules[0].who, [Who::Anyone]);
}

#[test]
fn an_uplink_alone_serves_the_default_partition() {
    let config = parse(
        "[[uplink]]\nname = 'tunnel'\nkind = 'vxlan'\nlisten = '127.0.0.1:7000'\n\
         remotes = ['127.0.0.1:7001', '10.0.0.1']\nvni = 7",
    );
    assert_eq!(config.partitions[0].uplink, Some((0, Tag::Vni(7))));
    let UplinkKind::Vxlan { remotes, .. } = &config.uplinks[0].kind else {
        panic!("no tunnel")
    };
    assert_eq!(remotes[1], "10.0.0.1:4789".parse().unwrap());
    let config = parse("[[uplink]]\nname = 'wire'\nkind = 'ethernet'\ninterface = 'eth1'");
    assert_eq!(config.partitions[0].uplink, Some((0, Tag::None)));
}

#[test]
fn an_ethernet_uplink_has_a_driver() {
    let wire = "[[uplink]]\nname = 'wire'\nkind = 'ethernet'\ninterface = 'eth1'\n";
    let parsed = |more: &str| match parse(&format!("{wire}{more}")).uplinks[0].kind {
        UplinkKind::Ethernet {
            driver, busy_poll, ..
        } => (driver, busy_poll),
        UplinkKind::Vxlan { .. } => panic!("a tunnel"),
    };
    assert_eq!(parsed(""), (Driver::Auto, false));
    assert_eq!(parsed("driver = 'auto'"), (Driver::Auto, false));
    assert_eq!(parsed("driver = 'packet'"), (Driver::Packet, false));
    assert_eq!(
        parsed("driver = 'xdp'\nbusy_poll = true"),
        (Driver::Xdp, true)
    );
}

const TWO: &str = "
[[uplink]]
name = 'wire'
kind = 'ethernet'
interface = 'eth1'
dialect = 'compat'
[[partition]]
name = 'red'
uplink = 'wire'
vlan = 10
[[partition]]
name = 'blue'
uplink = 'wire'
vlan = 11
dialect = 'native:1500'
";

#[test]
fn partitions_share_an_uplink_by_their_tags() {
    let config = parse(TWO);
    assert_eq!(config.partitions[0].uplink, Some((0, Tag::Vlan(10))));
    assert_eq!(config.partitions[0].dialect, Some(Dialect::Compat));
    assert_eq!(
        config.partitions[1].dialect.unwrap().to_string(),
        "native:1500"
    );
    let text = problem(&TWO.replace("11", "10"));
    assert!(
        text.contains("\"red\"") && text.contains("\"blue\""),
        "{text}"
    );
}

#[test]
fn a_misspelt_setting_is_named_with_its_line_and_what_was_meant() {
    assert_eq!(
        problem("[host]\nname = 'a'\nsokcet = '/run/x'"),
        "test, line 3: unknown setting `sokcet`; did you mean `socket`?"
    );
    assert_eq!(
        problem("[[uplink]]\nname = 'a'\nkind = 'ethernet'\ninterfce = 'eth0'"),
        "test, line 4: unknown setting `interfce`; did you mean `interface`?"
    );
    assert_eq!(
        problem("[log]\nzzzzzzzzzzzz = 1"),
        "test, line 2: unknown setting `zzzzzzzzzzzz`; possible here: level"
    );
    assert!(problem("[host\n").starts_with("test, line 1: "));
    assert!(problem("[host]\nname = 3").starts_with("test, line 2: "));
}

#[test]
fn what_cannot_be_is_refused_by_name() {
    for (text, named) in [
        ("[host]\nname = 'a b'", "host.name"),
        ("[host]\nsocket_mode = '999'", "host.socket_mode"),
        ("[host]\ndialect = 'klingon'", "host.dialect"),
        ("[limits]\nbytes_per_second = 0", "limits.bytes_per_second"),
        ("[limits]\nburst_bytes = 100000", "limits.burst_bytes"),
        ("[limits]\nmax_guests = 0", "limits.max_guests"),
        ("[limits]\npeers = 70000", "limits.peers"),
        ("[workers]\ncount = 0", "workers.count"),
        ("[workers]\npoll_us = 2000000", "workers.poll_us"),
        ("[[uplink]]\nname = 'a'\nkind = 'tin'", "uplink \"a\": kind"),
        (
            "[[uplink]]\nname = 'a'\nkind = 'ethernet'",
            "uplink \"a\": interface",
        ),
        (
            "[[uplink]]\nname = 'a'\nkind = 'ethernet'\ninterface = 'b'\nvni = 1",
            "uplink \"a\": vni",
        ),
        (
            "[[uplink]]\nname = 'a'\nkind = 'ethernet'\ninterface = 'b'\ndriver = 'dpdk'",
            "uplink \"a\": driver",
        ),
        (
            "[[uplink]]\nname = 'a'\nkind = 'vxlan'\nlisten = '0.0.0.0'\nvni = 1\nbusy_poll = true",
            "uplink \"a\": busy_poll",
        ),
        (
            "[[uplink]]\nname = 'a'\nkind = 'vxlan'\nlisten = '0.0.0.0'",
            "partition \"default\": vni",
        ),
        (
            "[[partition]]\nname = 'a'\nuplink = 'b'",
            "partition \"a\": uplink",
        ),
        (
            "[[partition]]\nname = 'a'\nvlan = 3",
            "partition \"a\": uplink",
        ),
        ("[[partition]]\nname = 'a b'", "partition \"a b\": name"),
        (
            "[[policy]]\npartitions = ['default']",
            "policy rule 1: users",
        ),
        (
            "[[policy]]\nanyone = true\npartitions = ['x']",
            "policy rule 1: partitions",
        ),
        (
            "[[policy]]\nanyone = true\nring_bytes = 5000",
            "policy rule 1: ring_bytes",
        ),
        (
            "[[policy]]\nusers = ['no such user']",
            "policy rule 1: users",
        ),
        (
            "[[board]]\nname = 'a'\nmac = '01:00:00:00:00:01'",
            "board \"a\": mac",
        ),
        ("[[board]]\nname = 'a'\nmac = 'x'", "board \"a\": mac"),
        (
            "[[board]]\nname = 'a'\npartition = 'x'\nmac = '02:00:00:00:00:01'",
            "board \"a\": partition",
        ),
    ] {
        let text = problem(text);
        assert!(
            text.starts_with(named),
            "{text:?} does not begin with {named:?}"
        );
    }
}

#[test]
fn rules_name_users_and_groups_by_number_or_name() {
    let config = parse(
        "[[policy]]\nusers = [1000, 'root']\npartitions = ['default']\nports = 4\n\
         [[policy]]\ngroups = ['root']\nmax_guests = 2",
    );
    assert_eq!(config.policy.rules[0].who, [Who::User(1000), Who::User(0)]);
    assert_eq!(config.policy.rules[0].limits.ports, 4);
    assert!(matches!(&config.policy.rules[0].partitions, Names::Only(names) if names.len() == 1));
    assert_eq!(config.policy.rules[1].who, [Who::Group(0)]);
    assert_eq!(config.policy.rules[1].max_guests, 2);
}

#[test]
fn faults_are_probabilities() {
    let uplink = "[[uplink]]\nname = 'a'\nkind = 'ethernet'\ninterface = 'b'\n";
    let config = parse(&format!(
        "{uplink}[uplink.fault]\nseed = 3\ntransmit = {{ drop = 0.01 }}"
    ));
    assert_eq!(
        config.uplinks[0].fault.as_ref().unwrap().transmit.drop,
        0.01
    );
    let text = problem(&format!(
        "{uplink}[uplink.fault]\nreceive = {{ drop = 2.0 }}"
    ));
    assert!(
        text.starts_with("uplink \"a\": fault") && text.contains("drop"),
        "{text}"
    );
}

#[test]
fn the_command_line_overrides_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("myrixend.toml");
    std::fs::write(&path, "[host]\nname = 'file'\n[workers]\ncount = 2").unwrap();
    let args = Args {
        config: Some(path),
        name: Some("flag".into()),
        vxlan: Some("127.0.0.1:0".into()),
        vni: Some(9),
        ..Args::default()
    };
    let config = Config::load(&args).unwrap();
    assert_eq!(
        (config.host.name.as_str(), config.workers.count),
        ("flag", 2)
    );
    assert_eq!(config.partitions[0].uplink, Some((0, Tag::Vni(9))));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let args = Args {
        config: Some("/nonexistent/myrixend.toml".into()),
        ..Args::default()
    };
    let text = Config::load(&args).unwrap_err().to_string();
    assert!(text.contains("/nonexistent/myrixend.toml"), "{text}");
}

/// What is installed with the daemon has to be right, and to show every section.
#[test]
fn the_example_file_is_a_configuration() {
    let config = parse(include_str!("../../../../packaging/myrixend.toml"));
    assert_eq!(config.partitions[0].name, "default");
}
