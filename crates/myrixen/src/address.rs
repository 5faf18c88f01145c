//! The same addresses under the names of the wire and of the control plane.

use mxoe::addr::{Address, EndpointId, NicAddr};
use myrixen_platform::message::{Mac, PortAddress};

pub(crate) fn to_mac(nic: NicAddr) -> Mac {
    Mac::new(nic.octets())
}

pub(crate) fn to_port(address: Address) -> PortAddress {
    PortAddress {
        mac: to_mac(address.nic),
        endpoint: address.endpoint.get(),
    }
}

pub(crate) fn from_port(port: PortAddress) -> Address {
    Address::new(
        NicAddr::new(port.mac.bytes()),
        EndpointId::new(port.endpoint),
    )
}
