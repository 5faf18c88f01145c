//! What records say, for people: tables on the terminal and a page with plots.

pub(crate) mod bars;
mod chart;
pub(crate) mod html;
pub(crate) mod plot;
pub(crate) mod table;
