//! Rate limits: how much each key may spend, exactly.

pub mod gcra;
pub mod table;
