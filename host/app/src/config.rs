//! Everything an operator can set: flags, then environment, then file, then defaults, in that order.
//!
//! `file` reads and checks the file, `environment` the variables; this module joins them. Every fault is found
//! before anything starts, and all are reported at once.

pub(crate) mod duration;
pub(crate) mod environment;
pub(crate) mod fault;
pub(crate) mod file;
pub(crate) mod monitors;
pub(crate) mod queues;
pub(crate) mod redis;
pub(crate) mod secret;
pub(crate) mod secrets;
pub(crate) mod shown;

pub(crate) use duration::HumanDuration;
pub(crate) use environment::Environment;
pub(crate) use fault::Faults;
pub(crate) use file::FileConfig;
pub(crate) use monitors::Numbered;
pub(crate) use queues::QueueSettings;
pub(crate) use redis::Redis;
pub(crate) use secret::Secret;

use crate::{cli::Shared, hooks::Hooks, telemetry};
use lapwing_checks::net::EgressPolicy;
use lapwing_wasm::{PluginSettings, Secrets};
use queues::Defaults;
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

/// The effective settings of one process.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the settings came from, for messages.
    pub(crate) file: Option<PathBuf>,
    /// The folder of plugins.
    pub(crate) plugins: PathBuf,
    /// Whether the folder was asked for, so that its absence is an error.
    pub(crate) plugins_required: bool,
    /// How plugins are run, and what they may use.
    pub(crate) plugin_settings: PluginSettings,
    /// The admin API's address.
    pub(crate) listen: SocketAddr,
    /// The admin API's token.
    pub(crate) token: Option<Secret>,
    /// What whoever uploads plugins must send; `None` where nobody may.
    pub(crate) upload_token: Option<Secret>,
    /// Redis; where Peekaping's worker looks, if nothing names one.
    pub(crate) redis: Redis,
    /// The queues to take tasks from.
    pub(crate) queues: Vec<QueueSettings>,
    /// Whether `asynq` queues are served strictly by weight.
    pub(crate) strict_priority: bool,
    /// How many checks run at once, where a queue does not say.
    pub(crate) concurrency: usize,
    /// What is run before the first task is taken and after the last one has ended.
    pub(crate) hooks: Hooks,
    /// How long running checks may go on after a stop signal.
    pub(crate) grace: Duration,
    /// After how long without a poll the worker counts as dead.
    pub(crate) liveness: Duration,
    /// The operator's word for where this worker is.
    pub(crate) region: Option<String>,
    /// What plugins may be lent; taken by whoever starts them.
    pub(crate) secrets: Arc<Secrets>,
    /// Their names: what a grant can mean.
    pub(crate) secret_names: Arc<BTreeSet<String>>,
    /// What checks may reach.
    pub(crate) network: EgressPolicy,
    /// What `run` watches.
    pub(crate) monitors: Vec<Numbered>,
    /// Logs.
    pub(crate) log: environment::Log,
    warnings: Vec<String>,
}

impl Config {
    /// Joins flags, environment and file; every fault of all three at once.
    pub(crate) fn load(shared: &Shared, environment: &Environment) -> Result<Self, Faults> {
        let path = shared.config.clone().or_else(|| environment.config_file());
        let mut faults = Faults::of(path.as_ref());
        let file = path
            .as_ref()
            .map(|path| file::read(path, &mut faults))
            .unwrap_or_default();
        let whole_admin = file.is_whole("admin");
        let whole_secrets = file.is_whole("secrets");
        let file::Readable {
            config: file,
            monitors,
            ..
        } = file;
        let redis = redis::resolve(file.redis, environment, &mut faults);
        let log = environment.log(&file.log, shared.log_level.as_deref(), &mut faults);
        let listen = shared
            .listen
            .or_else(|| environment.listen(&mut faults))
            .unwrap_or(file.admin.listen);
        let token = environment.admin_token(&mut faults).or(file.admin.token);
        guard(listen, token.as_ref(), whole_admin, &mut faults);
        let upload_token = environment.upload_token(&mut faults).or(file.admin.upload_token);
        let upload_token = upload_token.filter(|_| file.admin.upload);
        if whole_admin
            && let Some((field, why)) = upload(file.admin.upload, upload_token.as_ref(), token.as_ref())
        {
            faults.push(field, why);
        }
        if file.worker.liveness.0.is_zero() {
            faults.push(
                "worker.liveness",
                "is zero: the worker would always count as dead",
            );
        }
        let concurrency = environment
            .concurrency(&mut faults)
            .unwrap_or(file.worker.concurrency.get());
        let defaults = Defaults {
            concurrency,
            keep_result: environment.keep_result(&mut faults),
            max_tries: environment.max_tries(&mut faults),
        };
        let queues = queues::resolve(file.queues, &file.worker, &defaults, &mut faults);
        let monitors = monitors::resolve(monitors, &mut faults);
        let secret_names = Arc::new(file.secrets.keys().cloned().collect());
        let secrets = secrets::read(file.secrets, environment, &mut faults);
        if whole_secrets {
            secrets::hold(&file.plugins.settings.grants, &secret_names, &mut faults);
        }
        let plugins = shared
            .plugins
            .clone()
            .or_else(|| environment.plugins())
            .or(file.plugins.dir);
        let mut plugin_settings = file.plugins.settings;
        plugin_settings.cache = plugin_settings
            .cache
            .or_else(|| environment.cache().map(|home| home.join("plugins")));
        plugin_settings.data = plugin_settings.data.or_else(|| environment.state());
        let Some(redis) = redis else {
            return Err(faults);
        };
        let config = Self {
            file: path,
            plugins_required: plugins.is_some(),
            plugins: plugins.unwrap_or_else(|| PathBuf::from("plugins")),
            plugin_settings,
            listen,
            token,
            upload_token,
            redis,
            queues,
            strict_priority: file.worker.strict_priority,
            concurrency,
            hooks: Hooks {
                on_start: file.worker.on_start,
                on_stop: file.worker.on_stop,
                timeout: file.worker.hook_timeout.0,
            },
            grace: file.worker.grace.0,
            liveness: file.worker.liveness.0,
            region: file.worker.region,
            secrets: Arc::new(secrets),
            secret_names,
            network: file.network,
            monitors,
            log,
            warnings: Vec::new(),
        };
        let (config, warnings) = faults.into_result(config)?;
        Ok(Self { warnings, ..config })
    }

    /// Starts logging, and says what was odd about the configuration.
    pub(crate) fn start_logging(&self) {
        telemetry::start(&self.log);
        for warning in &self.warnings {
            tracing::warn!("{warning}");
        }
    }
}

/// Whether the API is as open as it may be; `whole` tells whether its section of the file could be read.
fn guard(listen: SocketAddr, token: Option<&Secret>, whole: bool, faults: &mut Faults) {
    if token.is_some_and(|token| token.reveal().trim().is_empty()) {
        faults.push(
            "admin.token",
            "is empty: nobody could use the API; give it a value, or leave it out",
        );
    } else if token.is_none() && whole && !listen.ip().is_loopback() {
        let message = format!(
            "`{listen}` is not a loopback address, and there is no token; set LAPWING_ADMIN_TOKEN or listen on 127.0.0.1"
        );
        faults.push("admin.listen", message);
    }
}

/// What is wrong with the token for uploads, where they are wanted.
fn upload(
    wanted: bool,
    token: Option<&Secret>,
    admin: Option<&Secret>,
) -> Option<(&'static str, &'static str)> {
    let token = token.map_or("", |token| token.reveal().trim());
    let why = match admin {
        _ if !wanted => return None,
        _ if token.is_empty() => {
            "is missing: uploads (`admin.upload`) need a token of their own; set LAPWING_ADMIN_UPLOAD_TOKEN"
        }
        Some(admin) if admin.reveal().trim() == token => {
            "is the admin token: who may upload must not also be able to enable; give it another value"
        }
        _ => return None,
    };
    Some(("admin.upload_token", why))
}
