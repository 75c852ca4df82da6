//! `/api/v1/tasks`: putting tasks on a queue and following them, in the words of Aegis Stack's API.

pub(crate) mod enqueue;
pub(crate) mod follow;
pub(crate) mod kinds;
pub(crate) mod load;
