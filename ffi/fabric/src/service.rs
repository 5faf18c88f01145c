//! placeholder

use myrixen::Ended;

use crate::ep::EpCore;

/// Bytes of an operation on memory that go with its request.
pub(crate) const SHORT: usize = 8192;

#[derive(Default)]
pub(crate) struct Service {}

impl EpCore {
    pub(crate) fn serve(&self) {}
    pub(crate) fn memory_ended(&self, _: &Ended) {}
    pub(crate) fn served_ended(&self, _: &Ended) {}
}
