//! The rights of one run: put together before it, asked during it, gone with it.

use super::{Held, Map, Needs, Right, Unmarked, assess::key, setting, unmarked::texts};
use crate::{
    custody::{Custody, Record},
    mask::Mask,
};
use lapwing_checks::net::{
    Scope,
    scope::{self, Destination, Target},
};
use lapwing_model::Clock;
use serde_json::Value;
use std::{fmt, net::IpAddr, sync::Arc};

/// What rights one kind's runs can have at all, read when its plugin was loaded.
#[derive(Debug)]
pub(crate) struct Sphere {
    needs: Arc<Needs>,
    targets: Map,
    unmarked: Unmarked,
    /// Pointers to the configuration's secrets.
    sensitive: Vec<String>,
}

impl Sphere {
    /// Reads a kind's schema and example, its capabilities as `(name, scope)`, and the pointers to its secrets.
    pub(crate) fn read<'a>(
        schema: &Value,
        example: &Value,
        capabilities: impl Iterator<Item = (&'a str, &'a [String])> + Clone,
        sensitive: &[String],
    ) -> Result<Self, String> {
        let targets = Map::read(schema)?;
        Ok(Self {
            needs: Arc::new(Needs::read(capabilities.clone())?),
            unmarked: Unmarked::read(capabilities, &targets, example),
            targets,
            sensitive: sensitive.to_vec(),
        })
    }

    /// What a run with `config` is about, which has the schema's defaults for what is `filled`.
    pub(crate) fn targets(&self, config: &Value, filled: &[String]) -> Arc<[Target]> {
        self.targets.targets(config, filled).into()
    }

    /// Whether the schema has a field at `path`, names joined by dots.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.targets.has(path)
    }

    /// Whether the schema has a field at `path` that it does not mark as a port.
    pub(crate) fn is_no_port(&self, path: &str) -> bool {
        self.targets.is_no_port(path)
    }

    /// The fields that should be marked as target, and are not.
    pub(crate) fn unmarked(&self) -> &Unmarked {
        &self.unmarked
    }

    /// What must not be shown of `config`.
    pub(crate) fn mask(&self, config: &Value) -> Mask {
        let mut mask = Mask::default();
        for secret in self
            .sensitive
            .iter()
            .filter_map(|pointer| config.pointer(pointer))
        {
            mask.add_value(secret);
        }
        mask
    }

    /// The secrets that `config` names, for a run to ask for.
    pub(crate) fn named_secrets(&self, config: &Value) -> Vec<String> {
        let need = self.needs.of(Right::Secret);
        let fields = need.iter().flat_map(|need| &need.secret_fields);
        fields
            .flat_map(|path| texts(config, path))
            .map(str::to_owned)
            .collect()
    }

    pub(crate) fn needs(&self) -> &Arc<Needs> {
        &self.needs
    }
}

/// The rights of one run.
#[derive(Clone)]
pub(crate) struct Rights {
    /// The plugin's name, for what grants more.
    pub(crate) plugin: Arc<str>,
    pub(crate) needs: Arc<Needs>,
    pub(crate) held: Arc<Held>,
    pub(crate) targets: Arc<[Target]>,
    /// Secrets that its configuration names.
    pub(crate) named_secrets: Vec<String>,
    /// What would be a target, had the schema marked it.
    pub(crate) unmarked: Arc<[scope::Unmarked]>,
    /// What must not be shown, as known before the run.
    pub(crate) mask: Mask,
    pub(crate) custody: Arc<Custody>,
    pub(crate) record: Arc<Record>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Whether each call to the host is written down.
    pub(crate) traced: bool,
}

impl Rights {
    /// What may be reached through `right`, or why nothing.
    pub(crate) fn scope(&self, right: Right) -> Result<Scope, String> {
        let need = self.needs.of(right).ok_or_else(|| undeclared(right))?;
        let targets = match &need.ports {
            None => self.targets.clone(),
            Some(ports) => self.targets.iter().map(|target| target.or_ports(ports)).collect(),
        };
        Ok(Scope {
            targets,
            unmarked: self.unmarked.clone(),
            asked: need.places.clone(),
            granted: self.held.places.clone(),
            setting: setting(&self.plugin, "").into(),
            capability: right.as_str(),
        })
    }

    /// Whether `capability` is of any use: `net.tcp`, `state`, `secret`, or `secret:` and a secret's name.
    pub(crate) fn granted(&self, capability: &str) -> bool {
        let (name, secret) = match capability.split_once(':') {
            Some((name, secret)) => (name, Some(secret)),
            None => (capability, None),
        };
        let Some((right, need)) = Right::named(name).and_then(|right| Some((right, self.needs.of(right)?)))
        else {
            return false;
        };
        match right {
            Right::Secret => need
                .secrets
                .iter()
                .chain(&self.named_secrets)
                .filter(|known| secret.is_none_or(|wanted| wanted == **known))
                .any(|name| self.may_use(name) && self.custody.secrets().has(name)),
            Right::State => self.held.grant.state,
            _ => secret.is_none() && self.scope(right).is_ok_and(|scope| !scope.is_empty()),
        }
    }

    /// Whether the host fills in the secret `name` for `host` (a name in lower case, or an address) at `port`; the error
    /// says what would have it so. That a monitor names a place is no leave to send it a secret: whoever adds monitors
    /// would have them all.
    pub(crate) fn secret(&self, name: &str, host: &str, port: u16) -> Result<(), String> {
        self.named(name, self.may_use(name), "secrets")?;
        let secrets = self.custody.secrets();
        // That there is none is told by who wants to read it.
        let Some(own) = secrets.hosts(name) else {
            return Ok(());
        };
        let permitted = if own.is_empty() {
            &self.held.grant.hosts
        } else {
            own
        };
        if within(permitted, host, port) {
            return Ok(());
        }
        let why = if own.is_empty() {
            ": it has no `hosts`, and the plugin is not granted that place"
        } else {
            ""
        };
        let host = if host.contains(':') {
            format!("[{host}]")
        } else {
            host.to_owned()
        };
        let place = format!("{host}:{port}");
        let known = own.iter().map(ToString::to_string);
        let hosts: Vec<String> = known.chain([place.clone()]).collect();
        Err(format!(
            "it must not go to `{place}`{why}; to permit it: `secrets.{}.hosts = {hosts:?}`",
            key(name)
        ))
    }

    /// Whether the secret `name` may go to `host` for others to read.
    pub(crate) fn secret_in_the_open(&self, name: &str, host: &str) -> Result<(), String> {
        if self.custody.secrets().may_be_read(name, host) {
            return Ok(());
        }
        Err(format!(
            "it must not go out by plain HTTP, or to a peer whose certificate is not verified; to permit it: \
             `secrets.{}.plain = true`",
            key(name)
        ))
    }

    /// Whether the guest may read the secret `name`.
    pub(crate) fn reveal(&self, name: &str) -> Result<(), String> {
        self.named(name, self.held.grant.reveal.contains(name), "reveal")
    }

    /// Whether the guest may keep a memo.
    pub(crate) fn state(&self) -> bool {
        self.held.grant.state && self.needs.of(Right::State).is_some()
    }

    fn may_use(&self, name: &str) -> bool {
        self.held.grant.secrets.contains(name) || self.held.grant.reveal.contains(name)
    }

    fn named(&self, name: &str, granted: bool, list: &str) -> Result<(), String> {
        let need = self
            .needs
            .of(Right::Secret)
            .ok_or_else(|| undeclared(Right::Secret))?;
        if !need.secrets.contains(name) && !self.named_secrets.iter().any(|named| named == name) {
            return Err(format!(
                "the plugin does not ask for it (its capability `{}` must name it in the scope)",
                Right::Secret
            ));
        }
        if granted {
            return Ok(());
        }
        let setting = setting(&self.plugin, list);
        Err(format!(
            "it is not granted; to permit it: `{setting} = [\"{name}\"]`"
        ))
    }
}

/// Whether one of `places` is `host` at `port`.
fn within(places: &[Destination], host: &str, port: u16) -> bool {
    places.iter().any(|place| match host.parse::<IpAddr>() {
        Ok(address) => place.holds(address.to_canonical(), Some(port)),
        Err(_) => place.names(host, Some(port)),
    })
}

fn undeclared(right: Right) -> String {
    format!("`{right}` is not among the plugin's capabilities: it must declare that")
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rights")
            .field("plugin", &self.plugin)
            .finish_non_exhaustive()
    }
}
