//! What users and plugins write as hosts, URLs and rules: read the same way by whoever judges and whoever connects.
//!
//! Input: a host or URL, the address it leads to, and rules, each on a line.

#![no_main]

use lapwing_checks::net::{
    EgressPolicy, Host, Scope,
    policy::{Mode, Rule},
    scope::{Destination, NamePattern, Places, Ports, Target},
};
use libfuzzer_sys::fuzz_target;
use std::{
    ffi::{CString, c_char, c_int},
    fmt::{Debug, Display},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};
use url::Url;

const MODES: [Mode; 3] = [Mode::Open, Mode::NoMetadata, Mode::PublicOnly];

fuzz_target!(|text: &str| {
    let mut lines = text.lines();
    let host = lines.next().unwrap_or_default();
    let address = lines.next().and_then(|line| line.parse::<IpAddr>().ok());
    let lines: Vec<&str> = lines.take(8).collect();
    let rules: Vec<Rule> = read_back(&lines);
    let places: Vec<Destination> = read_back(&lines);
    let patterns: Vec<NamePattern> = read_back(&lines);

    if let Some(address) = address {
        blocked_classes(address.to_canonical());
    }
    if let Ok(host) = Host::parse(host) {
        same_for_everyone(&host);
        judged(&host, &rules);
        covered(&host, &rules, &places, &patterns);
        if let (Host::Name(name), Some(address)) = (&host, address) {
            leads_nowhere_special(name, address.to_canonical(), &places);
        }
    }
    if let Ok(url) = Url::parse(host) {
        as_in_url(&url);
    }
});

/// Those of the lines that can be read; each is read again as it is written.
fn read_back<T: FromStr<Err: Debug + PartialEq> + Display + Debug + PartialEq>(lines: &[&str]) -> Vec<T> {
    let read: Vec<T> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    for one in &read {
        assert_eq!(one.to_string().parse().as_ref(), Ok(one), "read as it is written");
    }
    read
}

/// Written out and read again it is the same, and neither a URL parser nor the C library takes a name for an address.
fn same_for_everyone(host: &Host) {
    assert_eq!(Host::parse(&host.to_string()).as_ref().ok(), Some(host));
    match host {
        Host::Name(name) => {
            assert_eq!(*name, name.to_ascii_lowercase());
            assert!(name.parse::<IpAddr>().is_err(), "{name}");
            assert!(!is_address_to_c(name), "{name} is an address to the C library");
            if let Ok(other) = url::Host::parse(name) {
                assert!(matches!(other, url::Host::Domain(_)), "{name} is {other} in a URL");
            }
        }
        Host::Address(address) => blocked_classes(*address),
    }
}

unsafe extern "C" {
    fn inet_aton(text: *const c_char, address: *mut [u8; 4]) -> c_int;
}

/// Whether `inet_aton` reads an address in it, as resolvers do before they ask anybody.
fn is_address_to_c(name: &str) -> bool {
    let Ok(name) = CString::new(name) else { return false };
    let mut address = [0; 4];
    // SAFETY: a text that ends with NUL, and room for an address.
    unsafe { inet_aton(name.as_ptr(), &raw mut address) != 0 }
}

/// The host of a URL that is fetched is an address to us exactly when it is one to the URL parser. In URLs of other schemes
/// the parser knows names only, whatever they look like.
fn as_in_url(url: &Url) {
    let literal = match url.host() {
        Some(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        Some(url::Host::Ipv6(address)) => Some(IpAddr::V6(address)),
        Some(url::Host::Domain(_)) if url.is_special() => None,
        Some(url::Host::Domain(_)) | None => return,
    };
    match url.host_str().map(Host::parse) {
        Some(Ok(Host::Address(address))) => assert_eq!(literal.map(|it| it.to_canonical()), Some(address)),
        Some(Ok(Host::Name(_))) => assert_eq!(literal, None, "an address passes for a name"),
        Some(Err(_)) | None => assert_eq!(literal, None, "an address is refused"),
    }
}

/// Without rules no address of a blocked class passes, however it is wrapped. The classes are the standard library's.
fn blocked_classes(address: IpAddr) {
    let passes = |mode| EgressPolicy { mode, ..EgressPolicy::default() }.judge("h", address).is_ok();
    assert!(passes(Mode::Open), "nothing is blocked in {address}");
    let inner = match address {
        IpAddr::V4(v4) => Some(v4),
        IpAddr::V6(v6) => unwrapped(v6),
    };
    if let Some(v4) = inner {
        assert!(!(v4.is_link_local() && passes(Mode::NoMetadata)), "{address}");
        let shared = matches!(v4.octets(), [100, 64..128, ..]);
        let local = v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation() || shared;
        let nowhere = v4.is_broadcast() || v4.is_multicast() || matches!(v4.octets(), [0 | 240.., ..]);
        assert!(!((local || nowhere) && passes(Mode::PublicOnly)), "{address}");
    }
    if let IpAddr::V6(v6) = address {
        assert!(!(v6.is_unicast_link_local() && passes(Mode::NoMetadata)), "{address}");
        let local = v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local();
        assert!(!((local || v6.is_unspecified() || v6.is_multicast()) && passes(Mode::PublicOnly)), "{address}");
    }
}

/// The IPv4 address that packets to NAT64, 6to4 and IPv4-compatible addresses end at.
fn unwrapped(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match v6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(v4(high, low)),
        _ => None,
    }
}

/// Denying wins over everything, and an address has one judgement in all its spellings.
fn judged(host: &Host, rules: &[Rule]) {
    for mode in MODES {
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

/// What is said to cover another is about all that the other is about: an operator's consent rests on it.
fn covered(host: &Host, rules: &[Rule], places: &[Destination], patterns: &[NamePattern]) {
    let about = |rule: &Rule| match host {
        Host::Name(name) => rule.names(name),
        Host::Address(address) => rule.holds(*address) || rule.is_anything(),
    };
    let reaches = |place: &Destination, port| match host {
        Host::Name(name) => place.names(name, Some(port)),
        Host::Address(address) => place.holds(*address, Some(port)) || place.is_anything(Some(port)),
    };
    for (outer, inner) in pairs(rules) {
        assert!(!outer.covers(inner) || !about(inner) || about(outer), "{outer} {inner} {host}");
    }
    for (outer, inner) in pairs(places).filter(|(outer, inner)| outer.covers(inner)) {
        for port in [1, 25, 80, 443, 8000, u16::MAX] {
            assert!(!reaches(inner, port) || reaches(outer, port), "{outer} {inner} {host}:{port}");
        }
    }
    if let Host::Name(name) = host {
        for (outer, inner) in pairs(patterns) {
            assert!(!outer.covers(inner) || !inner.names(name) || outer.names(name), "{outer} {inner} {name}");
        }
    }
}

fn pairs<T>(all: &[T]) -> impl Iterator<Item = (&T, &T)> {
    all.iter().flat_map(move |outer| all.iter().map(move |inner| (outer, inner)))
}

/// A target's name that leads to the worker itself, or to link-local networks, permits nothing; only a granted network does.
fn leads_nowhere_special(name: &str, address: IpAddr, places: &[Destination]) {
    let places = Places { hosts: places.to_vec(), dns: Vec::new() };
    let granted = places.hosts.iter().any(|place| place.holds(address, Some(80)));
    let target = Target { host: Host::Name(name.to_owned()), ports: Ports::any() };
    let scope = Scope {
        targets: [target].into(),
        unmarked: [].into(),
        asked: places.clone().into(),
        granted: places.into(),
        setting: "plugins.grants.fuzz".into(),
        capability: "net.tcp",
    };
    let passes = scope.judge(name, Some(80), address).is_ok();
    let special = match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_multicast() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified(),
    };
    let local = name == "localhost" || name.ends_with(".localhost");
    assert!(!special || granted || local || !passes, "{name} leads to {address}");
}
