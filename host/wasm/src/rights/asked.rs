//! What a plugin cannot do without, as a grant.

use super::{Approval, Grant, Right, assess, needs::beyond};
use crate::plugin::Capability;

/// Everything `declared` needs beyond the own target, optional capabilities left out: what approving it gives. What
/// this worker does not know, or cannot read, is left out as well: it cannot be granted.
pub fn asked(declared: &[Capability]) -> Grant {
    let mut grant = Grant::default();
    for capability in declared.iter().filter(|capability| !capability.optional) {
        let scope = || beyond(&capability.scope);
        match Right::named(&capability.name) {
            None => {}
            Some(Right::State) => grant.state = true,
            Some(Right::Secret) => grant.secrets.extend(scope().cloned()),
            Some(right) => {
                for text in scope() {
                    match (text.parse(), text.parse()) {
                        (Ok(name), _) if right == Right::Dns => grant.dns.push(name),
                        (_, Ok(host)) => grant.hosts.push(host),
                        _ => {}
                    }
                }
            }
        }
    }
    grant
}

/// Whether approving `declared` lets a plugin serve: it asks for nothing that this worker does not know or cannot read.
pub fn grantable(declared: &[Capability]) -> bool {
    assess("", declared, &asked(declared)) == Approval::Granted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(name: &str, scope: &[&str], optional: bool) -> Capability {
        Capability {
            kind: "mail".into(),
            name: name.into(),
            scope: scope.iter().map(|&text| text.to_owned()).collect(),
            optional,
            reason: "why not".into(),
        }
    }

    #[test]
    fn what_is_asked_is_what_was_missing() {
        let declared = [
            capability("net.http", &["api.test:443", "{config.url}"], false),
            capability("net.tcp", &["10.0.0.0/8:25"], true),
            capability("net.dns", &["*.zen.test", "9.9.9.9:53"], false),
            capability("secret", &["token"], false),
            capability("state", &[], false),
        ];
        assert!(matches!(
            assess("p", &declared, &Grant::default()),
            Approval::Pending { .. }
        ));
        let grant = asked(&declared);
        assert_eq!(assess("p", &declared, &grant), Approval::Granted, "{grant:?}");
        let text = serde_json::to_string(&grant).unwrap();
        assert!(!text.contains("10.0.0.0"), "it can do without: {text}");
        assert!(grantable(&declared));
        assert!(!grantable(&[capability("net.https", &[], false)]));
    }
}
