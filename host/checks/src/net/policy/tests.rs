use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

fn policy(json: &str) -> EgressPolicy {
    serde_json::from_str(json).unwrap()
}

fn judge(policy: &EgressPolicy, address: &str) -> Result<(), String> {
    policy.judge(address, address.parse().unwrap())
}

/// Every spelling of an IPv4 address inside IPv6 that this policy knows.
fn spellings(address: Ipv4Addr) -> Vec<Ipv6Addr> {
    let [a, b, c, d] = address.octets();
    let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    vec![
        address.to_ipv6_mapped(),
        Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
        Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
        Ipv6Addr::new(0x2002, high, low, 7, 0, 0, 0, 1),
        Ipv6Addr::new(0x2001, 0, high, low, 0, 0x1234, !0x0808, !0x0808),
        Ipv6Addr::new(0x2001, 0, 0x0808, 0x0808, 0, 0x1234, !high, !low),
        Ipv6Addr::new(0x2a00, 1, 2, 3, 0, 0x5efe, high, low),
        Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
    ]
}

#[test]
fn by_default_everything_but_metadata_is_reachable() {
    let policy = EgressPolicy::default();
    for address in [
        "127.0.0.1",
        "10.0.0.1",
        "192.168.1.1",
        "8.8.8.8",
        "::1",
        "fd00::1",
        "2a00:1450::1",
        "0.0.0.0",
    ] {
        assert_eq!(judge(&policy, address), Ok(()), "{address}");
    }
    for address in [
        "169.254.169.254",
        "169.254.0.1",
        "100.100.100.200",
        "fe80::1",
        "febf::1",
        "fd00:ec2::254",
        "192.0.0.192",
        "168.63.129.16",
        "fd20:ce::254",
        "::169.254.169.254",
    ] {
        let text = judge(&policy, address).unwrap_err();
        assert!(
            text.contains("mode `no-metadata` forbids") && text.contains("network.allow"),
            "{text}"
        );
    }
}

#[test]
fn public_only_means_global_unicast() {
    let policy = policy(r#"{"mode":"public-only"}"#);
    for address in [
        "8.8.8.8",
        "1.1.1.1",
        "2a00:1450::1",
        "2606:4700::1111",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ] {
        assert_eq!(judge(&policy, address), Ok(()), "{address}");
    }
    for address in [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fc00::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "100::1",
        "5f00::1",
        "64:ff9b::7f00:1",
        "64:ff9b::a00:1",
        "168.63.129.16",
    ] {
        assert!(judge(&policy, address).is_err(), "{address}");
    }
}

#[test]
fn metadata_is_denied_in_every_spelling() {
    for mode in ["no-metadata", "public-only"] {
        let policy = policy(&format!(r#"{{"mode":"{mode}"}}"#));
        for inner in ["169.254.169.254", "100.100.100.200"] {
            for spelling in spellings(inner.parse().unwrap()) {
                assert!(
                    policy.judge("h", spelling.into()).is_err(),
                    "{mode} {inner} as {spelling}"
                );
            }
        }
    }
}

#[test]
fn deny_wins_over_allow_and_allow_over_mode() {
    let policy = policy(
        r#"{"mode":"public-only","allow":["10.0.0.0/8","*.corp.example"],"deny":["10.66.0.0/16","bad.corp.example"]}"#,
    );
    assert_eq!(judge(&policy, "10.1.1.1"), Ok(()));
    assert_eq!(judge(&policy, "::ffff:10.1.1.1"), Ok(()));
    assert_eq!(
        judge(&policy, "64:ff9b::10.1.1.1"),
        Ok(()),
        "a rule holds for what the spelling leads to"
    );
    assert!(judge(&policy, "192.168.1.1").is_err());
    assert_eq!(
        policy.judge("git.corp.example", "192.168.1.1".parse().unwrap()),
        Ok(())
    );
    for (host, address) in [
        ("x", "10.66.1.1"),
        ("git.corp.example", "10.66.1.1"),
        ("bad.corp.example", "8.8.8.8"),
    ] {
        let text = policy.judge(host, address.parse().unwrap()).unwrap_err();
        assert!(text.contains("`network.deny`"), "{text}");
    }
    for spelling in spellings("10.66.0.1".parse().unwrap()) {
        assert!(
            policy.judge("git.corp.example", spelling.into()).is_err(),
            "{spelling}"
        );
    }
}

#[test]
fn a_name_resolved_elsewhere_is_judged_by_the_name() {
    let policy = policy(r#"{"deny":["*.secret"]}"#);
    assert_eq!(policy.judge_name("example.com"), Ok(()));
    assert!(policy.judge_name("a.b.secret").is_err());
    assert!(policy.judge_name("metadata.google.internal").is_err());
}

#[test]
fn unfit_rules_are_refused_with_the_reason() {
    for (rule, why) in [
        ("", "empty"),
        ("10.0.0.0/40", "expected a network"),
        ("10.*", "no wildcards"),
        ("a b c", "letters, digits"),
        ("bücher.example", "xn--"),
        ("http://x", "expected a network"),
        ("host:80", "expected a network"),
    ] {
        let text = rule.parse::<Rule>().unwrap_err().to_string();
        assert!(
            text.contains(why) && text.contains(&format!("`{rule}`")),
            "{text}"
        );
    }
    let unknown = serde_json::from_str::<EgressPolicy>(r#"{"mod":"open"}"#)
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("unknown field `mod`") && unknown.contains("`mode`"),
        "{unknown}"
    );
}

#[test]
fn patterns_match_whole_names_without_regard_to_case() {
    let rule: Rule = "*.Example.com.".parse().unwrap();
    assert!(rule.names("a.example.com") && rule.names("a.b.example.com"));
    assert!(!rule.names("example.com") && !rule.names("a.example.com.evil") && !rule.names("aexample.com"));
    let rule: Rule = "db?-*x*".parse().unwrap();
    assert!(rule.names("db1-x") && rule.names("db2-axb") && !rule.names("db-x") && !rule.names("db1-y"));
}

proptest! {
    #[test]
    fn no_spelling_of_a_denied_network_slips_through(host in 0u32..(1 << 24)) {
        let policy = policy(r#"{"mode":"open","deny":["10.0.0.0/8"]}"#);
        let inner = Ipv4Addr::from_bits(0x0a00_0000 | host);
        for spelling in spellings(inner) {
            prop_assert!(policy.judge("h", spelling.into()).is_err(), "{}", spelling);
        }
    }

    #[test]
    fn judging_never_panics(bits: u128) {
        let _ = EgressPolicy::default().judge("h", Ipv6Addr::from_bits(bits).into());
    }
}

#[test]
fn a_socket_is_denied_by_what_denies_everything() {
    let judge = |deny: &str| policy(&format!(r#"{{"deny": {deny}}}"#)).judge_socket("unix:///run/x.sock");
    for deny in [r#"["*"]"#, r#"["**"]"#, r#"["0.0.0.0/0", "::/0"]"#] {
        let error = judge(deny).unwrap_err();
        assert!(error.contains("of `network.deny`"), "{error}");
    }
    for deny in [
        "[]",
        r#"["0.0.0.0/0"]"#,
        r#"["::/0"]"#,
        r#"["*.example", "10.0.0.0/8"]"#,
    ] {
        assert_eq!(judge(deny), Ok(()), "{deny}");
    }
}
