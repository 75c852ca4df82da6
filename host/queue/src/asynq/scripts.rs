//! The Lua scripts, each one atomic step of Asynq's state machine, with a note where it does better than the original.
//!
//! Every script begins with `common.lua`. A task in work is marked with the field `lapwing_owner` in its hash: the
//! worker's `host:pid:uuid` and the number of the reservation. A worker that lost its task (and may have it again, or
//! another worker may) cannot settle it by mistake, since ids are used again with every tick of a monitor.

use crate::script::scripts;

scripts! {
    /// Adds tasks, now or for later.
    ENQUEUE = "enqueue.lua";
    /// Takes tasks of several queues.
    DEQUEUE = "dequeue.lua";
    /// Ends tasks, each in its own way.
    SETTLE = "settle.lua";
    /// Keeps leases alive.
    EXTEND = "extend.lua";
    /// Forwards what is due, deletes what was kept, adopts what is nobody's, and lists leases that nobody keeps alive.
    TEND = "tend.lua";
    /// Puts tasks back whose leases nobody kept alive.
    RESTORE = "restore.lua";
    /// Counts a queue's tasks.
    STATS = "stats.lua";
    /// Reads a task.
    LOOK = "look.lua";
    /// Deletes a task that waits.
    WITHDRAW = "withdraw.lua";
    /// Lists dead letters.
    DEAD = "dead.lua";
    /// Runs a dead letter again, or deletes it.
    UNARCHIVE = "unarchive.lua";
}
