//! Lua scripts, each one atomic step, and calls of them.

use redis::{Arg, Cmd, Script as Sha, ToRedisArgs, cmd};

/// A script.
pub(crate) struct Script {
    code: &'static str,
    hash: String,
}

impl Script {
    pub(crate) fn new(code: &'static str) -> Self {
        let hash = Sha::new(code).get_hash().to_owned();
        Self { code, hash }
    }
}

/// One call of a script. The `redis` crate's own keeps every argument apart, and some calls here have thousands.
pub(crate) struct Call {
    command: Cmd,
    code: &'static str,
}

impl Call {
    /// A call with these keys, which are all of one slot on a cluster.
    pub(crate) fn new(script: &Script, keys: &[&str]) -> Self {
        let mut command = cmd("EVALSHA");
        command.arg(&script.hash).arg(keys.len()).arg(keys);
        let code = script.code;
        Self { command, code }
    }

    /// Adds an argument.
    pub(crate) fn arg(&mut self, arg: impl ToRedisArgs) -> &mut Self {
        self.command.arg(arg);
        self
    }

    /// The call by the script's hash, for a server that knows it.
    pub(crate) fn by_hash(&self) -> &Cmd {
        &self.command
    }

    /// The same with the script itself, which the server then knows.
    pub(crate) fn with_code(&self) -> Cmd {
        let mut command = cmd("EVAL");
        command.arg(self.code);
        for word in self.command.args_iter().skip(2) {
            if let Arg::Simple(word) = word {
                command.arg(word);
            }
        }
        command
    }
}

/// Declares the scripts in the folder `scripts`; each begins with `common.lua`.
macro_rules! scripts {
    ($( $(#[$doc:meta])* $name:ident = $file:literal; )*) => {
        $( $(#[$doc])* pub(super) static $name: std::sync::LazyLock<$crate::script::Script> =
            std::sync::LazyLock::new(|| {
                $crate::script::Script::new(concat!(
                    include_str!("scripts/common.lua"),
                    include_str!(concat!("scripts/", $file))
                ))
            }); )*
    };
}
pub(crate) use scripts;
