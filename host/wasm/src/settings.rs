//! The `[plugins]` part of the configuration: what plugins may use.
//!
//! Every limit here has a test that trips it; a limit that is parsed and not applied is worse than none.

use crate::rights::Grant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, ops::RangeInclusive, path::PathBuf, time::Duration};

/// How plugins are run, and what one run may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PluginSettings {
    /// Threads that run plugin code, beside those of the native checks. 0 to 64; 0 (default): one for each processor,
    /// at most 4.
    #[schemars(range(max = 64))]
    pub threads: u32,
    /// Runs at a time over all plugins; more wait. 1 to 16384; default 512.
    #[schemars(range(min = 1, max = 16_384))]
    pub concurrent_runs: u32,
    /// Runs at a time of one plugin; more wait, and keep no other plugin waiting. 1 to 16384; default 256.
    #[schemars(range(min = 1, max = 16_384))]
    pub concurrent_runs_per_plugin: u32,
    /// Runs at a time over all plugins that start with more than 4 MiB of memory, such as those in JavaScript or Python;
    /// more wait. 1 to 4096; default 64.
    #[schemars(range(min = 1, max = 4096))]
    pub concurrent_heavy_runs: u32,
    /// Most memory that all runs and kept instances may have together, in MiB, 4 MiB of each not counted; a run that wants
    /// more is told `limit_hit`. 0 to 1048576; default 0: half of what the machine, or the container, has.
    #[schemars(range(max = 1_048_576))]
    pub total_memory_mib: u32,
    /// Most runs one instance may serve, of those its plugin offers (`max-reuse`): runs of one monitor, as long as nothing
    /// goes wrong. 1 to 10000; default 100; 1: a fresh instance for every run.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_reuse: u32,
    /// Most memory that instances may hold while they wait for their monitor's next run, in MiB; each counts 1 MiB and its
    /// linear memory. 0 to 8192; default 256; 0: none waits.
    #[schemars(range(max = 8192))]
    pub kept_memory_mib: u32,
    /// Largest plugin file, in MiB. 1 to 128; default 32.
    #[schemars(range(min = 1, max = 128))]
    pub file_mib: u32,
    /// Folder that keeps compiled plugins, for this user alone. Default: `lapwing/plugins` in the user's cache folder.
    pub cache: Option<PathBuf>,
    /// Most room the folder `cache` may take, in MiB; what was used least lately goes first. 64 to 1048576; default 1024.
    #[schemars(range(min = 64, max = 1_048_576))]
    pub cache_mib: u32,
    /// Folder that keeps what operators decide through the API (`plugins.json`), for this user alone. Default:
    /// `lapwing` in the user's state folder.
    pub data: Option<PathBuf>,
    /// Refuse plugins without a line in the plugin folder's `plugins.lock`, even when there is no such file.
    pub require_pinned: bool,
    /// Public keys in minisign's format (`RW…`). A plugin whose signature (`FILE.minisig` beside it) fits none of them
    /// is refused; one without a signature is not, unless `require_signed`.
    pub trusted_keys: Vec<String>,
    /// Refuse plugins without a signature of one of the `trusted_keys`.
    pub require_signed: bool,
    /// What compiling one plugin may use.
    pub compile: CompileSettings,
    /// What one run may use.
    pub limits: RunLimits,
    /// When to stop running a kind that goes wrong again and again.
    pub quarantine: QuarantineSettings,
    /// What plugins may use beyond their monitors' own targets, by the plugin's name. Default: nothing.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub grants: BTreeMap<String, Grant>,
}

/// What compiling one plugin may use. It happens in a process of its own, one at a time; past a limit the file is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CompileSettings {
    /// Address space, in MiB. 256 to 65536; default 4096.
    #[schemars(range(min = 256, max = 65_536))]
    pub memory_mib: u32,
    /// Processor time over all threads, in seconds. 1 to 3600; default 60.
    #[schemars(range(min = 1, max = 3600))]
    pub cpu_seconds: u32,
    /// Time by the clock, in seconds. 1 to 3600; default 120.
    #[schemars(range(min = 1, max = 3600))]
    pub wall_seconds: u32,
    /// The program to run as `PROGRAM plugin compile JOB`; it must do nothing but call [`crate::compile_child`]. Default:
    /// this very program.
    #[serde(skip)]
    pub program: Option<PathBuf>,
}

/// What one run may use. Past a limit the run ends as `unknown`, never as `down`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunLimits {
    /// Linear memory, summed over all memories of the plugin, in MiB. 1 to 256; default 64.
    #[schemars(range(min = 1, max = 256))]
    pub memory_mib: u32,
    /// Processor time of the plugin's own code, in milliseconds, to the nearest 5 ms; waiting for the network, or for a
    /// processor, does not count.
    /// 10 to 60000; default 1000.
    #[schemars(range(min = 10, max = 60_000))]
    pub cpu_ms: u32,
    /// As `cpu_ms`, for `describe` when the plugin is loaded. 10 to 60000; default 1000.
    #[schemars(range(min = 10, max = 60_000))]
    pub describe_cpu_ms: u32,
    /// Elements of one table. 100 to 20000; default 20000.
    #[schemars(range(min = 100, max = 20_000))]
    pub table_elements: u32,
    /// Tables of the plugin. 1 to 16; default 16.
    #[schemars(range(min = 1, max = 16))]
    pub tables: u32,
    /// Linear memories of the plugin. 1 to 4; default 4.
    #[schemars(range(min = 1, max = 4))]
    pub memories: u32,
    /// Core instances in the plugin. 1 to 64; default 64.
    #[schemars(range(min = 1, max = 64))]
    pub instances: u32,
    /// Stack of the plugin's calls, in KiB. 64 to 1024; default 512.
    #[schemars(range(min = 64, max = 1024))]
    pub stack_kib: u32,
    /// Bytes the plugin may hand to the host in one call, its result included, in KiB. 16 to 65536; default 4096.
    #[schemars(range(min = 16, max = 65_536))]
    pub hostcall_kib: u32,
    /// Resource handles alive at a time. 10 to 100000; default 1000.
    #[schemars(range(min = 10, max = 100_000))]
    pub handles: u32,
    /// Streams, sockets, timers and pollables the host keeps for the plugin at a time. 10 to 100000; default 1000.
    #[schemars(range(min = 10, max = 100_000))]
    pub host_resources: u32,
    /// Random bytes the plugin may ask for in one call, in KiB. 1 to 65536; default 64.
    #[schemars(range(min = 1, max = 65_536))]
    pub random_kib: u32,
    /// Log text kept, in KiB; lines past it are dropped and counted. 0 to 1024; default 64.
    #[schemars(range(max = 1024))]
    pub log_kib: u32,
    /// Output (stdout and stderr) kept, in KiB: the last of it. 0 to 1024; default 64.
    #[schemars(range(max = 1024))]
    pub output_kib: u32,
    /// Sockets open at a time. 0 to 1024; default 8.
    #[schemars(range(max = 1024))]
    pub open_sockets: u32,
    /// Connections begun, those of redirects included. 0 to 10000; default 32.
    #[schemars(range(max = 10_000))]
    pub connects: u32,
    /// DNS questions asked through the `dns` interface. 0 to 10000; default 64.
    #[schemars(range(max = 10_000))]
    pub dns_queries: u32,
    /// Bytes sent and received, heads and failed answers included, in KiB. 0 to 1048576; default 8192.
    #[schemars(range(max = 1_048_576))]
    pub network_kib: u32,
}

/// When to stop running a kind that goes wrong again and again: for `first_ms`, then twice as long each time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuarantineSettings {
    /// Faults in a row before the kind rests. 1 to 1000; default 5.
    #[schemars(range(min = 1, max = 1000))]
    pub faults: u32,
    /// First rest, in milliseconds. 1 to 3600000; default 1000.
    #[schemars(range(min = 1, max = 3_600_000))]
    pub first_ms: u32,
    /// Longest rest, in milliseconds. 1 to 86400000; default 300000.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub longest_ms: u32,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            threads: 0,
            concurrent_runs: 512,
            concurrent_runs_per_plugin: 256,
            concurrent_heavy_runs: 64,
            total_memory_mib: 0,
            max_reuse: 100,
            kept_memory_mib: 256,
            file_mib: 32,
            cache: None,
            cache_mib: 1024,
            data: None,
            require_pinned: false,
            trusted_keys: Vec::new(),
            require_signed: false,
            compile: CompileSettings::default(),
            limits: RunLimits::default(),
            quarantine: QuarantineSettings::default(),
            grants: BTreeMap::new(),
        }
    }
}

impl Default for CompileSettings {
    fn default() -> Self {
        Self {
            memory_mib: 4096,
            cpu_seconds: 60,
            wall_seconds: 120,
            program: None,
        }
    }
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            memory_mib: 64,
            cpu_ms: 1000,
            describe_cpu_ms: 1000,
            table_elements: 20_000,
            tables: 16,
            memories: 4,
            instances: 64,
            stack_kib: 512,
            hostcall_kib: 4096,
            handles: 1000,
            host_resources: 1000,
            random_kib: 64,
            log_kib: 64,
            output_kib: 64,
            open_sockets: 8,
            connects: 32,
            dns_queries: 64,
            network_kib: 8192,
        }
    }
}

impl Default for QuarantineSettings {
    fn default() -> Self {
        Self {
            faults: 5,
            first_ms: 1000,
            longest_ms: 300_000,
        }
    }
}

impl PluginSettings {
    /// How many threads run plugin code.
    pub(crate) fn guest_threads(&self) -> u32 {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, |processors| {
                u32::try_from(processors.get().min(4)).unwrap_or(1)
            }),
            threads => threads,
        }
    }

    /// What all runs share of memory, in bytes.
    pub(crate) fn total_memory_bytes(&self) -> usize {
        match self.total_memory_mib {
            0 => usize::try_from(machine_memory() / 2).unwrap_or(usize::MAX),
            mib => kib(mib).saturating_mul(1024),
        }
    }

    /// Every setting out of its range, as `field: expectation`; empty when all is well.
    pub fn faults(&self) -> Vec<String> {
        let (limits, rest, compile) = (&self.limits, &self.quarantine, &self.compile);
        let ranges: [(&str, u32, RangeInclusive<u32>); 33] = [
            ("threads", self.threads, 0..=64),
            ("concurrent_runs", self.concurrent_runs, 1..=16_384),
            (
                "concurrent_runs_per_plugin",
                self.concurrent_runs_per_plugin,
                1..=16_384,
            ),
            ("concurrent_heavy_runs", self.concurrent_heavy_runs, 1..=4096),
            ("total_memory_mib", self.total_memory_mib, 0..=1_048_576),
            ("max_reuse", self.max_reuse, 1..=10_000),
            ("kept_memory_mib", self.kept_memory_mib, 0..=8192),
            ("file_mib", self.file_mib, 1..=128),
            ("cache_mib", self.cache_mib, 64..=1_048_576),
            ("compile.memory_mib", compile.memory_mib, 256..=65_536),
            ("compile.cpu_seconds", compile.cpu_seconds, 1..=3600),
            ("compile.wall_seconds", compile.wall_seconds, 1..=3600),
            ("limits.memory_mib", limits.memory_mib, 1..=256),
            ("limits.cpu_ms", limits.cpu_ms, 10..=60_000),
            ("limits.describe_cpu_ms", limits.describe_cpu_ms, 10..=60_000),
            ("limits.table_elements", limits.table_elements, 100..=20_000),
            ("limits.tables", limits.tables, 1..=16),
            ("limits.memories", limits.memories, 1..=4),
            ("limits.instances", limits.instances, 1..=64),
            ("limits.stack_kib", limits.stack_kib, 64..=1024),
            ("limits.hostcall_kib", limits.hostcall_kib, 16..=65_536),
            ("limits.handles", limits.handles, 10..=100_000),
            ("limits.host_resources", limits.host_resources, 10..=100_000),
            ("limits.random_kib", limits.random_kib, 1..=65_536),
            ("limits.log_kib", limits.log_kib, 0..=1024),
            ("limits.output_kib", limits.output_kib, 0..=1024),
            ("limits.open_sockets", limits.open_sockets, 0..=1024),
            ("limits.connects", limits.connects, 0..=10_000),
            ("limits.dns_queries", limits.dns_queries, 0..=10_000),
            ("limits.network_kib", limits.network_kib, 0..=1_048_576),
            ("quarantine.faults", rest.faults, 1..=1000),
            ("quarantine.first_ms", rest.first_ms, 1..=3_600_000),
            (
                "quarantine.longest_ms",
                rest.longest_ms,
                rest.first_ms.max(1)..=86_400_000,
            ),
        ];
        ranges
            .into_iter()
            .filter(|(_, value, range)| !range.contains(value))
            .map(|(field, value, range)| {
                format!(
                    "{field}: {value} is not within {} to {}",
                    range.start(),
                    range.end()
                )
            })
            .collect()
    }
}

impl RunLimits {
    pub(crate) fn memory_bytes(&self) -> usize {
        kib(self.memory_mib) << 10
    }

    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_millis(self.cpu_ms.into())
    }

    pub(crate) fn describe_cpu(&self) -> Duration {
        Duration::from_millis(self.describe_cpu_ms.into())
    }
}

/// Bytes of memory of this machine, or of this container where that has less (cgroups, version 2 and 1).
fn machine_memory() -> u64 {
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram as u64 * u64::from(machine.mem_unit);
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limits = limits
        .into_iter()
        .filter_map(|file| std::fs::read_to_string(file).ok());
    let least = limits.filter_map(|text| text.trim().parse().ok()).min();
    least.map_or(machine, |limit: u64| limit.min(machine))
}

/// KiB as bytes, on machines whose `usize` has at least 32 bits.
pub(crate) fn kib(amount: u32) -> usize {
    usize::try_from(amount).unwrap_or(usize::MAX).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_ranges() {
        assert_eq!(PluginSettings::default().faults(), Vec::<String>::new());
    }

    #[test]
    fn every_setting_out_of_range_is_named() {
        let mut settings = PluginSettings {
            threads: 65,
            ..PluginSettings::default()
        };
        settings.limits.memory_mib = 1000;
        settings.quarantine.longest_ms = 1;
        let faults = settings.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert_eq!(faults[1], "limits.memory_mib: 1000 is not within 1 to 256");
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        let error = serde_json::from_str::<PluginSettings>(r#"{"limits":{"memory":1}}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `memory`"), "{error}");
    }
}
