//! The interface of libfabric 1.17 as its headers lay it out: structures, tables, numbers. No behaviour.
//!
//! Sizes are asserted against those of the headers. Later releases only add to the end of structures that the application or libfabric allocates; tables
//! that we hand out say their size in their first member.

mod attr;
mod numbers;
mod objects;
mod tables;

pub(crate) use attr::*;
pub(crate) use numbers::*;
pub(crate) use objects::*;
pub(crate) use tables::*;
