//! Addresses as applications carry them: 16 bytes that say which endpoint of which board, and which opening of it.

use myrixen::{Address, EndpointId, Fabric, NicAddr};

use crate::edge::Answer;
use crate::errno::Errno;

/// The address of an endpoint.
///
/// | offset | bytes | |
/// |---|---|---|
/// | 0 | 4 | "MyXi" |
/// | 4 | 1 | version, 1 |
/// | 5 | 1 | number of the endpoint |
/// | 6 | 6 | MAC address of the board |
/// | 12 | 4 | key, big-endian: tells this opening of the endpoint from others |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    pub(crate) address: Address,
    pub(crate) key: u32,
}

const MAGIC: [u8; 4] = *b"MyXi";
const VERSION: u8 = 1;

impl Name {
    /// Length of an address.
    pub(crate) const BYTES: usize = 16;

    /// Some endpoint of a board that is not open yet.
    pub(crate) fn anywhere(nic: NicAddr) -> Self {
        let address = Address::new(nic, EndpointId::new(u8::MAX));
        Self { address, key: 0 }
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4] = VERSION;
        bytes[5] = self.address.endpoint.get();
        bytes[6..12].copy_from_slice(&self.address.nic.octets());
        bytes[12..].copy_from_slice(&self.key.to_be_bytes());
        bytes
    }

    /// `None` for what is none.
    pub(crate) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let [magic @ .., _, _, _, _, _, _, _, _, _, _, _, _] = bytes;
        if *magic != MAGIC || bytes[4] != VERSION {
            return None;
        }
        let nic = NicAddr::new(*bytes[6..].first_chunk()?);
        let key = u32::from_be_bytes(*bytes.last_chunk()?);
        let address = Address::new(nic, EndpointId::new(bytes[5]));
        Some(Self { address, key })
    }

    /// The endpoint with this number, or a key in addition (`NUMBER` or `NUMBER/KEY` in hexadecimal), on the board of that name.
    pub(crate) fn resolve(fabric: &Fabric, node: &str, service: Option<&str>) -> Answer<Self> {
        let nic = fabric.lookup(node).map_err(|_| Errno::NODATA)?;
        let (number, key) = match service {
            Some(service) => service.split_once('/').unwrap_or((service, "0")),
            None => ("0", "0"),
        };
        let number = number.parse().map_err(|_| Errno::NODATA)?;
        let key = u32::from_str_radix(key, 16).map_err(|_| Errno::NODATA)?;
        let address = Address::new(nic, EndpointId::new(number));
        Ok(Self { address, key })
    }

    /// For people: the board's name, if it can be found out, and the endpoint's number and key.
    pub(crate) fn text(&self, fabric: &Fabric) -> String {
        let nic = self.address.nic;
        let known = fabric.find(nic).ok().flatten().and_then(|board| board.name);
        let board = known.unwrap_or_else(|| nic.to_string());
        format!("{board} {}/{:x}", self.address.endpoint.get(), self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_what_was_made_of_it() {
        let address = Address::new(NicAddr::new([2, 3, 4, 5, 6, 7]), EndpointId::new(9));
        let name = Name {
            address,
            key: 0xdead_beef,
        };
        assert_eq!(Name::from_bytes(&name.to_bytes()), Some(name));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let mut bytes = Name::anywhere(NicAddr::new([2; 6])).to_bytes();
        bytes[4] = 2;
        assert_eq!(Name::from_bytes(&bytes), None);
        assert_eq!(Name::from_bytes(&[0; Name::BYTES]), None);
    }
}
