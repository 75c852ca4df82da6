//! The Lua scripts, each one atomic step of Asynq's state machine, with a note where it does better than the original.
//!
//! Every script begins with `common.lua`. A task in work is marked with the field `lapwing_owner` in its hash: the
//! worker's `host:pid:uuid` and the number of the reservation. A worker that lost its task (and may have it again, or
//! another worker may) cannot settle it by mistake, since ids are used again with every tick of a monitor.

use crate::{QueueError, link::Link};
use redis::{Cmd, FromRedisValue, Script, ToRedisArgs, cmd};
use std::sync::LazyLock;

macro_rules! scripts {
    ($( $(#[$doc:meta])* $name:ident = $file:literal; )*) => {
        $( $(#[$doc])* pub(super) static $name: Lua = LazyLock::new(|| {
            let code = concat!(include_str!("scripts/common.lua"), include_str!(concat!("scripts/", $file)));
            (Script::new(code), code)
        }); )*
    };
}

/// A script and its code.
type Lua = LazyLock<(Script, &'static str)>;

/// One call of a script. The `redis` crate's own keeps every argument apart; one call here has thousands.
pub(super) struct Call {
    command: Cmd,
    code: &'static str,
}

impl Call {
    /// A call with these keys.
    pub(super) fn new(script: &'static Lua, keys: &[&str]) -> Self {
        let (script, code) = &**script;
        let mut command = cmd("EVALSHA");
        command.arg(script.get_hash()).arg(keys.len()).arg(keys);
        Self { command, code }
    }

    /// Adds an argument.
    pub(super) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// Makes the call, uploading the script when the server does not know it.
    pub(super) async fn run<T: FromRedisValue>(&self, link: &Link) -> Result<T, QueueError> {
        match link.command(&self.command).await {
            Err(QueueError::Protocol(why)) if why.contains("NOSCRIPT") => {
                let mut load = cmd("SCRIPT");
                let () = link.command(load.arg("LOAD").arg(self.code)).await?;
                link.command(&self.command).await
            }
            answer => answer,
        }
    }
}

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
