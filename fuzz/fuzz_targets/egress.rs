//! What users and plugins write as hosts, URLs and rules: read the same way by whoever judges and whoever connects.
//!
//! Input: a host or URL, and rules, each on a line.

#![no_main]

use lapwing_checks::net::{
    EgressPolicy, Host,
    policy::{Mode, Rule},
};
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use url::Url;

fuzz_target!(|text: &str| {
    let (host, rules) = text.split_once('\n').unwrap_or((text, ""));
    let rules: Vec<Rule> = rules.lines().filter_map(|rule| rule.parse().ok()).collect();
    for rule in &rules {
        assert_eq!(rule.to_string().parse().as_ref(), Ok(rule), "a rule is read as it is written");
    }
    if let Ok(host) = Host::parse(host) {
        same_for_everyone(&host);
        judged(&host, &rules);
    }
    if let Some(spelled) = Url::parse(host).ok().as_ref().and_then(Url::host) {
        let literal = match spelled {
            url::Host::Ipv4(address) => Some(IpAddr::V4(address)),
            url::Host::Ipv6(address) => Some(IpAddr::V6(address)),
            url::Host::Domain(_) => None,
        };
        match Host::parse(&spelled.to_string()) {
            Ok(Host::Address(address)) => assert_eq!(literal.map(|it| it.to_canonical()), Some(address)),
            Ok(Host::Name(_)) => assert_eq!(literal, None, "an address passes for a name"),
            Err(_) => {}
        }
    }
});

/// Written out and read again it is the same, and no URL parser takes a name for an address.
fn same_for_everyone(host: &Host) {
    assert_eq!(Host::parse(&host.to_string()).as_ref().ok(), Some(host));
    if let Host::Name(name) = host {
        assert_eq!(*name, name.to_ascii_lowercase());
        assert!(name.parse::<IpAddr>().is_err(), "{name}");
        if let Ok(other) = url::Host::parse(name) {
            assert!(matches!(other, url::Host::Domain(_)), "{name} is {other} in a URL");
        }
    }
}

/// Denying wins over everything, and an address has one judgement in all its spellings.
fn judged(host: &Host, rules: &[Rule]) {
    for mode in [Mode::Open, Mode::NoMetadata, Mode::PublicOnly] {
        let policy = |allow: &[Rule], deny: &[Rule]| EgressPolicy {
            mode,
            allow: allow.to_vec(),
            deny: deny.to_vec(),
        };
        match host {
            Host::Name(name) => {
                let _ = policy(rules, &[]).judge_name(name);
                let both = policy(rules, rules).judge_name(name);
                if rules.iter().any(|rule| rule.names(name)) {
                    assert!(both.is_err(), "`allow` wins over `deny` for {name}");
                }
            }
            Host::Address(address) => {
                let name = address.to_string();
                let judge = |address| policy(rules, &[]).judge(&name, address).is_ok();
                if let IpAddr::V4(inner) = address {
                    assert_eq!(judge(*address), judge(IpAddr::V6(inner.to_ipv6_mapped())), "{address}");
                }
                if rules.iter().any(|rule| rule.holds(*address)) {
                    assert!(policy(rules, rules).judge(&name, *address).is_err(), "{address}");
                }
            }
        }
    }
}
