//! MX over Ethernet: frames, matching and the endpoint engine, without I/O.
