//! The Lua scripts, each one atomic step, with a note where it does better than stock arq.
//!
//! Every script begins with `common.lua`. They make the keys of jobs from their ids: arq's keys carry no hash tag, so
//! that nothing is gained by passing them.

use crate::script::scripts;

scripts! {
    /// Claims jobs and looks for the next ones.
    TAKE = "take.lua";
    /// Ends many claims.
    FINISH = "finish.lua";
    /// Keeps claims alive.
    RENEW = "renew.lua";
    /// Gives claims back that nobody knows of.
    RELEASE = "release.lua";
    /// Tells which jobs are to be aborted.
    ABORTS = "aborts.lua";
    /// Adds a job.
    SCHEDULE = "schedule.lua";
    /// Aborts a job, or asks for it.
    CANCEL = "cancel.lua";
    /// Counts.
    STATS = "stats.lua";
    /// Lists dead letters.
    DEAD = "dead.lua";
    /// Puts a dead letter back, or discards it.
    REVIVE = "revive.lua";
}
