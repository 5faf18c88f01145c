//! Pools in granted pages: `docs/xen.md`, "Pools in granted pages".
//!
//! Memory that one domain writes and one other only reads. The granting side ([`lend_pool`]) is told nothing of it again; it ends with
//! the program that it is handed to.

use myrixen_shm::Access;

use super::pair::{grants, no_pages};
use super::{DomId, GrantAlloc, GrantMap, GrantRef, PAGE};
use crate::handover::{Handover, Item};
use crate::meeting::SetupError;
use crate::message::Brought;

/// References of a pool's pages in one page of its list; the word before them is the reference of the next.
const PER_LIST: usize = PAGE / size_of::<u32>() - 1;
/// The most pages of a pool: 64 MiB.
pub const MOST_POOL_PAGES: usize = (64 << 20) / PAGE;

/// Pages of a pool of so many bytes.
fn pages(bytes: u32) -> Result<usize, SetupError> {
    let pages = usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(PAGE);
    if pages == 0 || pages > MOST_POOL_PAGES {
        let text = format!("a pool of {pages} pages: 1 to {MOST_POOL_PAGES} can be lent");
        return Err(SetupError::Grants(text.into()));
    }
    Ok(pages)
}

/// Grants a pool of `bytes`, rounded up to whole pages, to another domain, for reading; for a program of this domain. `event` of what the
/// other side needs to know is 0.
///
/// # Errors
/// [`SetupError::GrantsUsedUp`] and [`SetupError::Grants`] name the limit that was hit and its setting.
pub fn lend_pool(to: DomId, bytes: u32) -> Result<(Brought, Handover), SetupError> {
    let count = pages(bytes)?;
    let lists = count.div_ceil(PER_LIST);
    let all = u32::try_from(lists + count).unwrap_or(u32::MAX);
    let alloc = GrantAlloc::open().map_err(grants)?;
    let granted = alloc.alloc(to, all, Access::ReadOnly).map_err(no_pages)?;
    let (heads, data) = granted.refs().split_at(lists);
    for (i, part) in data.chunks(PER_LIST).enumerate() {
        let next = heads.get(i + 1).map_or(0, |next| next.get());
        let words = std::iter::once(next).chain(part.iter().map(|reference| reference.get()));
        let list: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
        granted.pages().write(i * PAGE, &list);
    }
    let brought = Brought {
        page: heads.first().map_or(0, |first| first.get()),
        event: 0,
    };
    let (fd, offset, len) = granted.into_parts();
    let skip = lists * PAGE;
    let item = Item::DevicePages {
        fd,
        offset: offset + u64::try_from(skip).unwrap_or(u64::MAX),
        len: u64::try_from(len - skip).unwrap_or(0),
    };
    Ok((brought, Handover { items: vec![item] }))
}

/// Finds the pages of a pool that another domain has granted to this one, for a program of ours to map for reading. The other
/// domain may say anything here.
///
/// # Errors
/// [`SetupError::Grants`]: what was granted is not what was said, or a limit of ours.
pub fn borrow_pool(from: DomId, brought: Brought, bytes: u32) -> Result<Handover, SetupError> {
    let count = pages(bytes)?;
    let mut refs = Vec::with_capacity(count);
    let mut next = brought.page;
    // Ends however the lists are chained: each but the last gives as many references as fit it.
    while refs.len() < count {
        let head = GrantRef::new(next);
        let map = GrantMap::open().map_err(grants)?;
        let list = map.map(from, &[head], Access::ReadOnly).map_err(grants)?;
        let mut bytes = vec![0; PAGE];
        list.pages().read(0, &mut bytes);
        let (words, _) = bytes.as_chunks::<4>();
        let mut words = words.iter().map(|word| u32::from_le_bytes(*word));
        next = words.next().unwrap_or(0);
        let missing = count - refs.len();
        refs.extend(words.take(missing).map(GrantRef::new));
    }
    let map = GrantMap::open().map_err(grants)?;
    let prepared = map.prepare(from, &refs).map_err(grants)?;
    let (fd, offset, len) = prepared.into_parts();
    let item = Item::DevicePages {
        fd,
        offset,
        len: u64::try_from(len).unwrap_or(u64::MAX),
    };
    Ok(Handover { items: vec![item] })
}
