//! The Lua scripts, each one atomic step.
//!
//! Every script begins with `common.lua`.

use crate::script::scripts;

scripts! {
    /// Adds tasks.
    ENQUEUE = "enqueue.lua";
    /// Takes parked entries.
    TAKE = "take.lua";
    /// Ends the work at entries.
    SETTLE = "settle.lua";
    /// Adds results.
    PUBLISH = "publish.lua";
    /// Forwards what is due, and tells what there is to know.
    BEAT = "beat.lua";
    /// Keeps leases alive.
    RENEW = "renew.lua";
    /// Parks entries that nobody keeps.
    RECOVER = "recover.lua";
    /// Parks what a worker does not work at.
    HAND_OVER = "handover.lua";
    /// Removes consumers that are gone.
    SWEEP = "sweep.lua";
    /// Counts.
    STATS = "stats.lua";
    /// Cancels a task.
    CANCEL = "cancel.lua";
    /// Puts a dead letter back.
    REVIVE = "revive.lua";
}
