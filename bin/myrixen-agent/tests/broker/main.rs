//! The broker as a whole: programs on real sockets, a back end that the test plays.

mod bench;
mod direct;
mod hostile;
mod lending;
mod life;
mod pools;
mod ports;
