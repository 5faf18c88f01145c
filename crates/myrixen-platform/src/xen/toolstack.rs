//! Making and removing devices: what the toolstack does. `docs/xen.md`, "xenstore".

use std::time::{Duration, Instant};

use super::bus::{BusState, read_number, read_text};
use super::{DomId, Permission, Rights, Transaction, XenError, XenStore};
use crate::message::Mac;

/// What a device is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceOptions {
    /// The domain that gets it.
    pub front: DomId,
    /// The domain whose back end serves it; `None`: this one.
    pub back: Option<DomId>,
    /// Its number; `None`: the lowest that is free.
    pub number: Option<u32>,
    /// The partition of its board; `None`: the back end's first.
    pub partition: Option<String>,
    /// The board's name, without its number; `None`: the domain's name.
    pub board: Option<String>,
    /// The board's address; `None`: one made from the domain's UUID, so that it stays when the domain moves.
    pub mac: Option<Mac>,
}

/// A device as xenstore has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceStatus {
    /// The domain that has it.
    pub front: DomId,
    /// Its number.
    pub number: u32,
    /// Its partition; empty: the back end's first.
    pub partition: String,
    /// Its board.
    pub board: String,
    /// Its address.
    pub mac: String,
    /// The front end's state, `-` when it is gone.
    pub front_state: String,
    /// The back end's.
    pub back_state: String,
    /// Why the back end has let it go.
    pub error: Option<String>,
}

/// How long the other side may take to let go.
const PATIENCE: Duration = Duration::from_secs(10);

fn own(store: &mut XenStore, back: Option<DomId>) -> Result<DomId, XenError> {
    match back {
        Some(back) => Ok(back),
        None => store.domid(),
    }
}

fn back_path(back: DomId, front: DomId, number: u32) -> String {
    format!("/local/domain/{back}/backend/myrixen/{front}/{number}")
}

fn front_path(front: DomId, number: u32) -> String {
    format!("/local/domain/{front}/device/myrixen/{number}")
}

/// Makes a device. Gives its number.
///
/// # Errors
/// [`XenError::NoDomain`] when there is no such domain; when the number is taken, or xenstore refuses.
pub fn attach(store: &mut XenStore, options: &DeviceOptions) -> Result<u32, XenError> {
    let (front, back) = (options.front, own(store, options.back)?);
    let name = read_text(store, &format!("/local/domain/{front}/name"))?;
    let Some(name) = name else {
        return Err(XenError::NoDomain(front));
    };
    let number = match options.number {
        Some(number) => number,
        None => free_number(store, front)?,
    };
    let uuid = read_text(store, &format!("/local/domain/{front}/vm"))?;
    let mac = options
        .mac
        .unwrap_or_else(|| derived_mac(uuid.as_deref().unwrap_or(&name), number));
    let board = options.board.clone().unwrap_or_else(|| plain(&name));
    let partition = options.partition.clone().unwrap_or_default();
    let (front_dir, back_dir) = (front_path(front, number), back_path(back, front, number));
    store.transaction(|steps| {
        folder(steps, &front_dir, front, back)?;
        folder(steps, &back_dir, back, front)?;
        let initialising = BusState::Initialising.text();
        let (front_id, back_id) = (front.to_string(), back.to_string());
        let mac = mac.to_string();
        let keys = [
            (&front_dir, "backend", back_dir.as_str()),
            (&front_dir, "backend-id", &back_id),
            (&front_dir, "state", initialising),
            (&back_dir, "frontend", &front_dir),
            (&back_dir, "frontend-id", &front_id),
            (&back_dir, "partition", &partition),
            (&back_dir, "board", &board),
            (&back_dir, "mac", &mac),
            (&back_dir, "state", initialising),
            (&back_dir, "online", "1"),
        ];
        for (dir, key, value) in keys {
            steps.write(&format!("{dir}/{key}"), value.as_bytes())?;
        }
        Ok(())
    })?;
    Ok(number)
}

/// A new folder that belongs to `owner` and that `reader` may read. What is made in it is as it is.
fn folder(
    steps: &mut Transaction<'_>,
    path: &str,
    owner: DomId,
    reader: DomId,
) -> Result<(), XenError> {
    steps.mkdir(path)?;
    let permissions = [
        Permission::new(Rights::None, owner),
        Permission::new(Rights::Read, reader),
    ];
    steps.set_perms(path, &permissions)
}

fn free_number(store: &mut XenStore, front: DomId) -> Result<u32, XenError> {
    let taken = match store.directory(&format!("/local/domain/{front}/device/myrixen")) {
        Ok(names) => names,
        Err(error) if error.is_not_found() => Vec::new(),
        Err(error) => return Err(error),
    };
    let free = (0..).find(|number: &u32| !taken.contains(&number.to_string()));
    Ok(free.unwrap_or(u32::MAX))
}

/// Removes a device: both ends let go of it, then its keys go. `false`: the back end did not let go within 10 seconds (it is
/// not running), and the keys are gone all the same. Of one whose driver domain is gone only the guest's keys are left. `back`
/// is by default the domain that the guest's keys name.
///
/// # Errors
/// When there is no such device, or xenstore refuses.
pub fn detach(
    store: &mut XenStore,
    back: Option<DomId>,
    front: DomId,
    number: u32,
) -> Result<bool, XenError> {
    let front_dir = front_path(front, number);
    // The guest may have changed it: below another domain, too, it reaches only devices of its own.
    let named = read_number(store, &format!("{front_dir}/backend-id"))?;
    let named = named.and_then(|id| u16::try_from(id).ok()).map(DomId::new);
    let back = own(store, back.or(named))?;
    let back_dir = back_path(back, front, number);
    match store.read(&format!("{back_dir}/frontend")) {
        Err(error) if error.is_not_found() => {
            // With its driver domain, or not at all: then this is an error.
            return store.rm(&front_dir).map(|()| true);
        }
        other => other?,
    };
    let state = format!("{back_dir}/state");
    store.watch(&state, &state)?;
    store.write(&format!("{back_dir}/online"), b"0")?;
    let let_go = wait_closed(store, &state, PATIENCE)?;
    for dir in [&back_dir, &front_dir] {
        match store.rm(dir) {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    Ok(let_go)
}

/// Has a domain let go of a device, since it is about to be saved or moved: its programs close what they share, and wait until
/// the domain has the device again. `false`: not within `patience`, or nobody there could be asked; it is still to, until
/// [`resume`].
///
/// # Errors
/// When there is no such device, or xenstore refuses.
pub fn suspend(
    store: &mut XenStore,
    back: Option<DomId>,
    (front, number): (DomId, u32),
    patience: Duration,
) -> Result<bool, XenError> {
    let back_dir = back_path(own(store, back)?, front, number);
    // An error when it is not there.
    store.read(&format!("{back_dir}/frontend"))?;
    let state = format!("{back_dir}/state");
    store.watch(&state, &state)?;
    store.write(&format!("{back_dir}/hold"), b"1")?;
    wait_closed(store, &state, patience)
}

/// Takes [`suspend`] back: the domain goes on where it is.
///
/// # Errors
/// When there is no such device, or xenstore refuses.
pub fn resume(
    store: &mut XenStore,
    back: Option<DomId>,
    (front, number): (DomId, u32),
) -> Result<(), XenError> {
    let back_dir = back_path(own(store, back)?, front, number);
    store.read(&format!("{back_dir}/frontend"))?;
    match store.rm(&format!("{back_dir}/hold")) {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

/// Waits until a watched state is Closed, or gone.
fn wait_closed(store: &mut XenStore, state: &str, patience: Duration) -> Result<bool, XenError> {
    let until = Instant::now() + patience;
    let closed = BusState::Closed.text().as_bytes();
    loop {
        while store.next_event()?.is_some() {}
        match store.read(state) {
            Ok(value) if value == closed => return Ok(true),
            Err(error) if error.is_not_found() => return Ok(true),
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        wait(store, left);
    }
}

/// Waits for an event.
fn wait(store: &XenStore, most: Duration) {
    use rustix::event::{PollFd, PollFlags, poll};
    let fd = store.fd();
    let mut fds = [PollFd::new(&fd, PollFlags::IN)];
    // An interrupted wait is as good as one that was rung.
    let _ = poll(&mut fds, Some(&crate::waitset::timespec(most)));
}

/// All devices that a domain serves.
///
/// # Errors
/// When xenstore refuses.
pub fn list(store: &mut XenStore, back: Option<DomId>) -> Result<Vec<DeviceStatus>, XenError> {
    let back = own(store, back)?;
    let root = format!("/local/domain/{back}/backend/myrixen");
    let mut found = Vec::new();
    for domain in names(store, &root)? {
        let Ok(front) = domain.parse().map(DomId::new) else {
            continue;
        };
        for device in names(store, &format!("{root}/{domain}"))? {
            if let Ok(number) = device.parse() {
                found.push(status(store, back, front, number)?);
            }
        }
    }
    found.sort_by_key(|device| (device.front, device.number));
    Ok(found)
}

fn names(store: &mut XenStore, path: &str) -> Result<Vec<String>, XenError> {
    match store.directory(path) {
        Err(error) if error.is_not_found() => Ok(Vec::new()),
        other => other,
    }
}

fn status(
    store: &mut XenStore,
    back: DomId,
    front: DomId,
    number: u32,
) -> Result<DeviceStatus, XenError> {
    let (front_dir, back_dir) = (front_path(front, number), back_path(back, front, number));
    let mut key = |dir: &str, key: &str| read_text(store, &format!("{dir}/{key}"));
    let state = |value: Option<String>| match value.as_deref() {
        Some("1") => "Initialising".to_owned(),
        Some("2") => "InitWait".to_owned(),
        Some("3") => "Initialised".to_owned(),
        Some("4") => "Connected".to_owned(),
        Some("5") => "Closing".to_owned(),
        Some("6") => "Closed".to_owned(),
        Some(other) => other.to_owned(),
        None => "-".to_owned(),
    };
    Ok(DeviceStatus {
        front,
        number,
        partition: key(&back_dir, "partition")?.unwrap_or_default(),
        board: key(&back_dir, "board")?.unwrap_or_default(),
        mac: key(&back_dir, "mac")?.unwrap_or_default(),
        front_state: state(key(&front_dir, "state")?),
        back_state: state(key(&back_dir, "state")?),
        error: key(&back_dir, "error")?,
    })
}

/// A domain's name as a board can have it.
fn plain(name: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars()
        .map(|c| if keep(c) { c } else { '-' })
        .collect()
}

/// An address that stays with a domain wherever it runs: locally administered, from its UUID (FNV-1a, 64 bits).
fn derived_mac(uuid: &str, number: u32) -> Mac {
    const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let number = number.to_le_bytes();
    let hash = uuid.bytes().chain(number).fold(BASIS, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
    // Locally administered, not a group.
    Mac::new([(a & !3) | 2, b, c, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_a_uuid_and_a_number() {
        let mac = derived_mac("/vm/c7633515-2816-4571-a99e-b8a0d5d0d49f", 0);
        assert_eq!(
            mac,
            derived_mac("/vm/c7633515-2816-4571-a99e-b8a0d5d0d49f", 0)
        );
        assert_ne!(
            mac,
            derived_mac("/vm/c7633515-2816-4571-a99e-b8a0d5d0d49f", 1)
        );
        assert_ne!(
            mac,
            derived_mac("/vm/c7633515-2816-4571-a99e-b8a0d5d0d490", 0)
        );
        let [first, ..] = mac.bytes();
        assert_eq!(first & 3, 2, "locally administered, no group");
    }

    #[test]
    fn a_board_is_called_as_its_domain_as_far_as_it_can() {
        assert_eq!(plain("web server/1"), "web-server-1");
    }
}
