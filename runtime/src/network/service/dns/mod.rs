//! Names: answered from the table, or asked for elsewhere.

pub(crate) mod answer;
pub(crate) mod zone;
