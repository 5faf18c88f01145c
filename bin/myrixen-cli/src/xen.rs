//! `myrixen attach`, `detach`, `list`, `suspend` and `resume`: devices of Xen domains, in the driver domain.

use anyhow::{Context as _, bail};
use comfy_table::{Table, presets};
use myrixen_platform::message::{Mac, MacError};
use myrixen_platform::xen::toolstack::{self, DeviceOptions, DeviceStatus};
use myrixen_platform::xen::{DomId, XenStore};

use crate::cli::{DeviceArgs, DeviceListArgs, DeviceOptionArgs, SuspendArgs};

/// Makes a device.
pub(crate) fn attach(args: &DeviceOptionArgs) -> anyhow::Result<()> {
    let options = DeviceOptions {
        front: DomId::new(args.device.domain),
        back: args.device.back_end.map(DomId::new),
        number: args.device.number,
        partition: args.partition.clone(),
        board: args.board.clone(),
        mac: args.mac,
    };
    let number = toolstack::attach(&mut open()?, &options)
        .with_context(|| format!("cannot attach a device to domain {}", options.front))?;
    println!("device {number} of domain {}", options.front);
    Ok(())
}

/// Removes a device.
pub(crate) fn detach(args: &DeviceArgs) -> anyhow::Result<()> {
    let (front, number) = (DomId::new(args.domain), args.number.unwrap_or(0));
    let back = args.back_end.map(DomId::new);
    let let_go = toolstack::detach(&mut open()?, back, front, number)
        .with_context(|| format!("cannot detach device {number} of domain {front}"))?;
    if !let_go {
        eprintln!("myrixen: the back end did not let go of it: is myrixend running?");
    }
    Ok(())
}

/// Has a domain let go of its devices, so that it can be saved or moved.
pub(crate) fn suspend(args: &SuspendArgs) -> anyhow::Result<()> {
    let (front, mut store) = (DomId::new(args.device.domain), open()?);
    let back = args.device.back_end.map(DomId::new);
    let devices = devices_of(&mut store, &args.device)?;
    for device in &devices {
        let at = (front, device.number);
        let let_go = toolstack::suspend(&mut store, back, at, args.timeout).with_context(|| {
            format!("cannot suspend device {} of domain {front}", device.number)
        })?;
        if !let_go {
            bail!(
                "domain {front} has not let go of device {} within {:?} (--timeout): does its agent run? Its log names the \
                 programs that hold on. Do not save the domain now: such programs would hang. `myrixen resume {front}` has it go on",
                device.number,
                args.timeout
            );
        }
    }
    for device in devices {
        println!(
            "device {} of domain {front} is let go of; afterwards: myrixen attach NEWDOMID {}",
            device.number,
            attach_again(&device)
        );
    }
    Ok(())
}

/// The options that make the same device again.
fn attach_again(device: &DeviceStatus) -> String {
    let board = device.board.strip_suffix(":0").unwrap_or(&device.board);
    let mut options = format!(
        "--device {} --board {board} --mac {}",
        device.number, device.mac
    );
    if !device.partition.is_empty() {
        options.push_str(&format!(" --partition {}", device.partition));
    }
    options
}

/// Has a domain go on that is not saved after all.
pub(crate) fn resume(args: &DeviceArgs) -> anyhow::Result<()> {
    let (front, mut store) = (DomId::new(args.domain), open()?);
    for device in devices_of(&mut store, args)? {
        let (back, at) = (args.back_end.map(DomId::new), (front, device.number));
        toolstack::resume(&mut store, back, at)
            .with_context(|| format!("cannot resume device {} of domain {front}", device.number))?;
    }
    Ok(())
}

/// The device that is named, or all of the domain's.
fn devices_of(store: &mut XenStore, args: &DeviceArgs) -> anyhow::Result<Vec<DeviceStatus>> {
    let front = DomId::new(args.domain);
    let mut devices =
        toolstack::list(store, args.back_end.map(DomId::new)).context("cannot list the devices")?;
    devices.retain(|device| {
        device.front == front && args.number.is_none_or(|number| number == device.number)
    });
    if devices.is_empty() {
        bail!("domain {front} has no such device here; `myrixen list` shows those that there are");
    }
    Ok(devices)
}

/// Shows the devices.
pub(crate) fn list(args: &DeviceListArgs) -> anyhow::Result<()> {
    let devices = toolstack::list(&mut open()?, args.back_end.map(DomId::new))
        .context("cannot list the devices")?;
    print!("{}", describe(&devices));
    Ok(())
}

fn open() -> anyhow::Result<XenStore> {
    XenStore::open().context("devices of domains are made where the toolstack of Xen runs")
}

fn describe(devices: &[DeviceStatus]) -> String {
    if devices.is_empty() {
        return "no devices\n".to_owned();
    }
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header([
        "domain",
        "device",
        "board",
        "MAC",
        "partition",
        "back end",
        "front end",
        "error",
    ]);
    for device in devices {
        table.add_row([
            device.front.to_string(),
            device.number.to_string(),
            device.board.clone(),
            device.mac.clone(),
            device.partition.clone(),
            device.back_state.clone(),
            device.front_state.clone(),
            device.error.clone().unwrap_or_default(),
        ]);
    }
    format!("{table}\n")
}

/// The address of a device: no group's.
pub(crate) fn parse_mac(text: &str) -> Result<Mac, String> {
    let mac: Mac = text
        .parse()
        .map_err(|error: MacError| format!("{text:?} is {error}"))?;
    if mac.bytes()[0] & 1 == 1 {
        return Err(format!("{text} is a group address"));
    }
    Ok(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_six_octets_and_no_group() {
        assert_eq!(
            parse_mac("02:00:00:00:00:0a"),
            Ok(Mac::new([2, 0, 0, 0, 0, 10]))
        );
        assert!(parse_mac("02:00:00:00:00").is_err());
        assert!(
            parse_mac("03:00:00:00:00:01")
                .unwrap_err()
                .contains("group")
        );
    }

    #[test]
    fn a_device_is_a_line() {
        let device = DeviceStatus {
            front: DomId::new(3),
            number: 0,
            partition: "blue".to_owned(),
            board: "web".to_owned(),
            mac: "02:00:00:00:00:01".to_owned(),
            front_state: "Connected".to_owned(),
            back_state: "Connected".to_owned(),
            error: None,
        };
        let text = describe(&[device]);
        assert!(text.lines().count() == 2 && text.contains("blue"), "{text}");
        assert_eq!(describe(&[]), "no devices\n");
    }
}
