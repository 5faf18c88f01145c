//! Addresses of remote endpoints as C keeps them: two words.
//!
//! The first has the board's address (48 bits), the endpoint's number (8) and the place of the endpoint of this process that knows it (8); the second that
//! endpoint's own number for the peer, or [`OURSELVES`].

use std::time::Duration;

use myrixen::{Address, EndpointId, NicAddr, Peer};

use crate::codes::ReturnCode;
use crate::edge::Fault;
use crate::endpoint::Ep;
use crate::types::mx_endpoint_addr_t;

/// In place of a peer's number: the endpoint itself.
const OURSELVES: u64 = u64::MAX;
/// How long connecting to ourselves may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl mx_endpoint_addr_t {
    pub(crate) fn of(ep: &Ep, peer: &Peer) -> Self {
        Self::with(ep.place, peer.address(), peer.id())
    }

    /// As [`of`](Self::of), for whoever has the place only.
    pub(crate) fn with(place: u8, address: Address, id: u64) -> Self {
        let cover = address.nic.to_u64() << 16 | u64::from(address.endpoint.get()) << 8;
        Self {
            stuff: [cover | u64::from(place), id],
        }
    }

    /// The endpoint's own.
    pub(crate) fn own(ep: &Ep) -> Self {
        Self::with(ep.place, ep.endpoint.address(), OURSELVES)
    }

    /// The place of the endpoint that knows it, if it is an address at all.
    pub(crate) fn place(self) -> Result<u8, Fault> {
        let [.., place] = self.stuff[0].to_be_bytes();
        match place {
            0 => Err(ReturnCode::BadEndpoint.into()),
            place => Ok(place),
        }
    }

    pub(crate) fn address(self) -> Address {
        let [.., endpoint, _] = self.stuff[0].to_be_bytes();
        let nic = NicAddr::from_u64(self.stuff[0] >> 16);
        Address::new(nic, EndpointId::new(endpoint))
    }

    /// The peer that this endpoint knows by it, if it is another endpoint.
    #[inline(always)]
    pub(crate) fn known_peer(self, ep: &Ep) -> Option<Peer> {
        let [.., place] = self.stuff[0].to_be_bytes();
        let known = place == ep.place && self.stuff[1] != OURSELVES;
        known.then(|| Peer::from_parts(self.address(), self.stuff[1]))
    }

    /// The peer that this endpoint knows by it.
    pub(crate) fn peer(self, ep: &Ep) -> Result<Peer, Fault> {
        if let Some(peer) = self.known_peer(ep) {
            return Ok(peer);
        }
        if self.place()? != ep.place {
            let why = "the address was obtained from another endpoint";
            return Err(Fault::new(ReturnCode::BadEndpoint, why));
        }
        ourselves(ep, self.address())
    }
}

/// The endpoint as its own peer; connects it to itself the first time.
fn ourselves(ep: &Ep, address: Address) -> Result<Peer, Fault> {
    if address != ep.endpoint.address() {
        return Err(ReturnCode::BadEndpoint.into());
    }
    if let Some(peer) = ep.endpoint.peer(address) {
        return Ok(peer);
    }
    ep.endpoint
        .connect(address, ep.key, PATIENCE)
        .map_err(|error| Fault::new(ReturnCode::ConnectionFailed, error))
}
