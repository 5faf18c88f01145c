//! Opening everything a configuration names.

use std::fs;
use std::path::Path;

use anyhow::Context;
use myrixen_platform::process::Listener;

use crate::broker::{Broker, Rules};
use crate::config::Config;
use crate::upstream::Upstream;
use crate::xen::{Device, GrantedMemory, raise_limit, speed_reclaim};

/// A broker for this domain. When it is made, programs can connect; they are welcomed when their device is Connected.
pub(crate) fn start(config: &Config) -> anyhow::Result<Broker> {
    // First, so that its absence is what is complained of outside of Xen.
    let mut devices: Vec<(u32, Box<dyn Upstream>)> = Vec::new();
    for &number in &config.devices {
        let device = Device::open(number).with_context(|| format!("device {number}"))?;
        devices.push((number, Box::new(device)));
    }
    raise_limit(config.grants.limit);
    speed_reclaim();
    make(&config.state_dir, "state_dir")?;
    if let Some(parent) = config.socket.parent().filter(|p| !p.as_os_str().is_empty()) {
        make(parent, "socket")?;
    }
    let listener = Listener::bind(&config.socket, config.socket_mode).with_context(|| {
        let path = config.socket.display();
        format!("cannot listen for programs at {path} (`agent.socket`)")
    })?;
    let rules = Rules {
        policy: config.policy.clone(),
        budget: config.grants.budget,
    };
    let (meeting, lender) = (Box::new(listener), Box::new(GrantedMemory));
    Broker::new(rules, meeting, lender, devices, &config.state_dir)
        .context("cannot watch the devices and the socket")
}

fn make(directory: &Path, setting: &str) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| {
        let path = directory.display();
        format!("cannot make the directory {path} (`agent.{setting}`)")
    })
}
