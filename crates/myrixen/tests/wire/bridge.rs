//! A bridge between the hosts that loses frames by rules of nft: faults that are not of our own making.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use mxoe::frame::Dialect;
use myrixen::link::ethernet::Driver;
use myrixen::link::fault::FaultConfig;
use myrixen_netlab::{Host, Lab};

use super::{Side, join};

/// Set by whoever wants the tests to fail where they cannot be run.
const REQUIRED: &str = "MYRIXEN_NETLAB_REQUIRED";

/// Says why a test does not run, past the harness, which shows nothing of tests that pass.
fn skip(test: &str, why: &str) {
    assert!(std::env::var_os(REQUIRED).is_none(), "{test}: {why}");
    let _ = writeln!(std::io::stderr(), "skipped {test}: {why}");
}

/// Whether `nft` is installed; if not, says that `test` is skipped.
pub(crate) fn has_nft(test: &str) -> bool {
    match Command::new("nft").arg("--version").output() {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            skip(test, &format!("nft does not work: {}", output.status));
            false
        }
        Err(error) => {
            skip(test, &format!("no nft (package nftables): {error}"));
            false
        }
    }
}

fn nft(switch: &Host, rules: &str) -> Output {
    let mut command = Command::new("nft");
    command.args(["-f", "-"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(Stdio::piped());
    let mut child = switch.spawn(&mut command).expect("nft starts");
    let mut input = child.stdin.take().expect("its input is ours");
    input.write_all(rules.as_bytes()).expect("nft reads");
    drop(input);
    child.wait_with_output().expect("nft ends")
}

/// Rules that drop `percent` of all MXoE frames crossing the bridge: in the bridge itself, or, where the kernel lacks
/// that, where frames arrive at its ports.
fn rules(percent: u32) -> [String; 2] {
    let chain = |name: &str, hook: &str| {
        let hook = format!("type filter hook {hook} priority 0; policy accept;");
        let drop = format!("ether type 0x86df numgen random mod 100 < {percent} counter drop");
        format!("chain lose_at_{name} {{\n{hook}\n{drop}\n}}\n")
    };
    let ports = ["eth0", "eth1"].map(|port| chain(port, &format!("ingress device {port}")));
    [
        format!("table bridge lossy {{\n{}}}\n", chain("bridge", "forward")),
        format!("table netdev lossy {{\n{}}}\n", ports.concat()),
    ]
}

/// Two hosts joined by a switch that loses `percent` of all frames. `None`, and a line that says why, where
/// the kernel knows no such rules.
pub(crate) fn lossy(lab: &Lab, percent: u32, dialect: Dialect) -> Option<([Side; 2], Host)> {
    let hosts = [lab.host("left"), lab.host("right")].map(|host| host.expect("a host"));
    let [left, right] = &hosts;
    let (switch, names) = lab
        .switch("switch", &[left, right], 9000)
        .expect("a switch");
    let mut refusals = String::new();
    let works = rules(percent).iter().any(|rules| {
        let output = nft(&switch, rules);
        let said = String::from_utf8_lossy(&output.stderr);
        // It was the kernel that refused, not nft that did not understand.
        assert!(
            output.status.success() || said.contains("Could not process rule"),
            "{said}"
        );
        refusals.push_str(&said);
        output.status.success()
    });
    if !works {
        skip("the lossy bridge", &refusals);
        return None;
    }
    let ends = [(left, &*names[0]), (right, &*names[1])];
    let sides = join(ends, Driver::Auto, dialect, &FaultConfig::default());
    Some((sides, switch))
}

/// How many frames the rules have dropped.
pub(crate) fn dropped(switch: &Host) -> u64 {
    let mut command = Command::new("nft");
    command.args(["list", "ruleset"]);
    switch.place(&mut command).expect("a command on the switch");
    let output = command.output().expect("nft starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split("counter packets ")
        .skip(1)
        .map(|rest| rest.split(' ').next().and_then(|count| count.parse().ok()))
        .map(|count: Option<u64>| count.expect("a count"))
        .sum()
}
