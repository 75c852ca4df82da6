//! What one run may reach: its monitor's own target, and what its plugin both asks for and was granted.
//!
//! Pure, like [`policy`](super::policy), and asked before it, at the same places: before a name is looked up, before an
//! address is dialled, on every redirect. A name is decided before any question about it leaves this machine, so that
//! look-ups carry nothing out.
//!
//! A name permits the addresses it leads to, but not all: whoever owns a name can make it lead to the worker itself or
//! to the place where a cloud serves machine credentials. Those addresses must be meant as such: a literal address (or
//! `localhost`) as the target, or a network that the operator granted.

mod destination;

pub use destination::{Destination, DestinationError, NamePattern, Ports};

use super::{Host, policy::ranges};
use std::{net::IpAddr, sync::Arc};

/// A host that a monitor's configuration names as what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The host.
    pub host: Host,
    /// The ports there.
    pub ports: Ports,
}

/// A host that a monitor's configuration names, in a field that its schema does not mark as target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmarked {
    /// The host.
    pub host: Host,
    /// What whoever wrote the schema should change.
    pub advice: Arc<str>,
}

/// Places beyond the own target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// What may be connected to.
    pub hosts: Vec<Destination>,
    /// Which names may be asked about.
    pub dns: Vec<NamePattern>,
}

/// What one run may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The monitor's own.
    pub targets: Arc<[Target]>,
    /// What seems to be meant as such and is not: it permits nothing, and is told in a refusal.
    pub unmarked: Arc<[Unmarked]>,
    /// What the plugin asks for beyond that.
    pub asked: Arc<Places>,
    /// What the operator grants; counts where it is asked for.
    pub granted: Arc<Places>,
    /// The setting that grants more, without its last part: `plugins.grants.smtp`.
    pub setting: Arc<str>,
    /// The capability in whose name this is asked: `net.tcp`.
    pub capability: &'static str,
}

impl Scope {
    /// Judges a name that is to be looked up for a connection to `port` (`None`: not known yet). The error says what is
    /// missing, and the line that would permit it.
    pub fn judge_name(&self, name: &str, port: Option<u16>) -> Result<(), String> {
        let own = |target: &Target| is_name(&target.host, name) && target.ports.admit(port);
        if self.targets.iter().any(own) {
            return Ok(());
        }
        let find = |places: &Places| places.hosts.iter().any(|place| place.names(name, port));
        self.decide(find(&self.asked), find(&self.granted), name, port)
    }

    /// Judges a connection to `address` (canonical), reached under the name `host` (or the address itself).
    pub fn judge(&self, host: &str, port: Option<u16>, address: IpAddr) -> Result<(), String> {
        if host
            .parse::<IpAddr>()
            .is_ok_and(|literal| literal.to_canonical() == address)
        {
            return self.judge_address(address, port);
        }
        self.judge_name(host, port)?;
        let local = is_local(host) && self.targets.iter().any(|target| is_name(&target.host, host));
        let refused = ranges::ends(address)
            .into_iter()
            .filter(|end| !(local && end.is_loopback() || self.granted.hold(*end, port)))
            .find_map(|end| Some((end, ranges::special(end)?)));
        refused.map_or(Ok(()), |(end, range)| {
            let line = self.line("hosts", &shown(&end.to_string(), port));
            Err(format!(
                "`{host}` leads to {address}, in {range}, which no name permits; to permit it: {line}"
            ))
        })
    }

    /// Judges a question about `name` (lower case, without a trailing dot): the target's name, or one below it.
    pub fn judge_question(&self, name: &str) -> Result<(), String> {
        // An escaped dot is part of a label: as text it would seem to be below a name that it is not below.
        if name.contains('\\') {
            return Err(format!("`{name}` has characters that no host's name has"));
        }
        let below = |target: &Target| match &target.host {
            Host::Name(own) => name
                .strip_suffix(own.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
            Host::Address(_) => false,
        };
        if self.targets.iter().any(below) {
            return Ok(());
        }
        let find = |places: &Places| places.dns.iter().any(|pattern| pattern.names(name));
        if find(&self.asked) && find(&self.granted) {
            return Ok(());
        }
        self.refuse(find(&self.asked), find(&self.granted), "dns", name, name)
    }

    /// Whether there is anything to reach at all.
    pub fn is_empty(&self) -> bool {
        let beyond = |places: &Places| !places.hosts.is_empty() || !places.dns.is_empty();
        self.targets.is_empty() && !(beyond(&self.asked) && beyond(&self.granted))
    }

    fn judge_address(&self, address: IpAddr, port: Option<u16>) -> Result<(), String> {
        let own = |target: &Target| target.host == Host::Address(address) && target.ports.admit(port);
        if self.targets.iter().any(own) {
            return Ok(());
        }
        let ends = ranges::ends(address);
        let special = ends.iter().any(|end| ranges::special(*end).is_some());
        let find = |places: &Places| {
            // `*` is about anything but what must be meant as such.
            let anything = !special && places.hosts.iter().any(|place| place.is_anything(port));
            anything || ends.iter().all(|end| places.hold(*end, port))
        };
        let asked = find(&self.asked) || self.asked.hosts.iter().any(|place| place.is_anything(port));
        self.decide(asked, find(&self.granted), &address.to_string(), port)
    }

    fn decide(&self, asked: bool, granted: bool, host: &str, port: Option<u16>) -> Result<(), String> {
        if asked && granted {
            return Ok(());
        }
        self.refuse(asked, granted, "hosts", &shown(host, port), host)
    }

    fn refuse(&self, asked: bool, granted: bool, list: &str, what: &str, host: &str) -> Result<(), String> {
        let own = |place: &&Unmarked| Host::parse(host).is_ok_and(|host| host == place.host);
        Err(match self.unmarked.iter().find(own) {
            Some(Unmarked { advice, .. }) => format!("`{what}` is not the monitor's target: {advice}"),
            None => self.refusal(asked, granted, list, what),
        })
    }

    fn refusal(&self, asked: bool, granted: bool, list: &str, what: &str) -> String {
        let capability = self.capability;
        let not_asked = format!(
            "the plugin does not ask for it (its capability `{capability}` must name it in the scope)"
        );
        let line = self.line(list, what);
        match (asked, granted) {
            (false, true) => format!("`{what}` is not the monitor's target; it is granted, but {not_asked}"),
            (false, false) => {
                format!(
                    "`{what}` is not the monitor's target, and {not_asked}; once it does, grant it: {line}"
                )
            }
            _ => format!("`{what}` is not the monitor's target, and not granted; to permit it: {line}"),
        }
    }

    fn line(&self, list: &str, what: &str) -> String {
        format!("`{}.{list} = [\"{what}\"]`", self.setting)
    }
}

impl Target {
    /// The same, at `ports` if it names none itself.
    #[must_use]
    pub fn or_ports(&self, ports: &Ports) -> Self {
        let own = if self.ports.is_any() { ports } else { &self.ports };
        Self {
            host: self.host.clone(),
            ports: own.clone(),
        }
    }
}

impl Places {
    fn hold(&self, address: IpAddr, port: Option<u16>) -> bool {
        self.hosts.iter().any(|place| place.holds(address, port))
    }
}

fn is_name(host: &Host, name: &str) -> bool {
    matches!(host, Host::Name(own) if own == name)
}

/// RFC 6761 §6.3: these names mean this machine, whoever is asked.
fn is_local(name: &str) -> bool {
    name == "localhost" || name.ends_with(".localhost")
}

/// `host:port` as a grant would spell it.
fn shown(host: &str, port: Option<u16>) -> String {
    match port {
        None => host.to_owned(),
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests;
