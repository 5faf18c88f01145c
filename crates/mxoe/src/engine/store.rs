//! The unexpected store's accounts: which entries there are and how many bytes. The bytes are the driver's.

use super::ids::StoreId;

/// Entries given out, entries free, bytes in use.
#[derive(Debug, Default)]
pub(super) struct Store {
    /// The size of each entry ever given out, by number.
    sizes: Vec<u32>,
    /// Numbers to be given out again.
    free: Vec<u32>,
    bytes: u64,
}

impl Store {
    /// Bytes of all entries that the driver holds.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether `size` more bytes keep within `limit`.
    pub(super) fn has_room(&self, size: u32, limit: u64) -> bool {
        self.bytes.saturating_add(size.into()) <= limit
    }

    /// Gives out an entry.
    pub(super) fn take(&mut self, size: u32) -> StoreId {
        self.bytes = self.bytes.saturating_add(size.into());
        if let Some(number) = self.free.pop() {
            if let Some(place) = self.sizes.get_mut(number as usize) {
                *place = size;
            }
            return StoreId(number);
        }
        // Entries are limited to far fewer than 2^32.
        let number = u32::try_from(self.sizes.len()).unwrap_or(u32::MAX);
        self.sizes.push(size);
        StoreId(number)
    }

    /// The driver has been told that the entry is free: only now may its number be given out again, or a placement
    /// could overtake the news.
    pub(super) fn release(&mut self, id: StoreId) {
        let size = self.sizes.get(id.0 as usize).copied().unwrap_or(0);
        self.bytes = self.bytes.saturating_sub(size.into());
        self.free.push(id.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_until_the_driver_knows() {
        let mut store = Store::default();
        let first = store.take(100);
        let second = store.take(20);
        assert_ne!(first, second);
        assert!(!store.has_room(31, 150));
        store.release(first);
        assert_eq!(store.bytes(), 20);
        assert_eq!(store.take(5), first);
        assert_eq!(store.bytes(), 25);
    }
}
