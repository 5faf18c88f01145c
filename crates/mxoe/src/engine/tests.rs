//! Endpoints on a simulated network.
