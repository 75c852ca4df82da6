//! The Lua scripts, each one atomic step of Asynq's state machine, with a note where it does better than the original.
//!
//! Every script begins with `common.lua`. A task in work is marked with the field `lapwing_owner` in its hash: the
//! worker's `host:pid:uuid` and the number of the reservation. A worker that lost its task (and may have it again, or
//! another worker may) cannot settle it by mistake, since ids are used again with every tick of a monitor.

use redis::Script;
use std::sync::LazyLock;

macro_rules! scripts {
    ($( $(#[$doc:meta])* $name:ident = $file:literal; )*) => {
        $( $(#[$doc])* pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("scripts/common.lua"), include_str!(concat!("scripts/", $file))))
        }); )*
    };
}

scripts! {
    /// Adds a task.
    ENQUEUE = "enqueue.lua";
    /// Takes tasks of several queues.
    DEQUEUE = "dequeue.lua";
    /// Ends a task well.
    DONE = "done.lua";
    /// Moves a task to the dead letters.
    ARCHIVE = "archive.lua";
    /// Puts a task back.
    REQUEUE = "requeue.lua";
    /// Keeps leases alive.
    EXTEND = "extend.lua";
    /// Lists tasks whose leases nobody keeps alive.
    OVERDUE = "overdue.lua";
    /// Puts such tasks back.
    RESTORE = "restore.lua";
    /// Puts tasks back that are in work without a lease.
    ORPHANS = "orphans.lua";
}
