use super::*;

fn target(host: &str, ports: Ports) -> Target {
    Target {
        host: Host::parse(host).unwrap(),
        ports,
    }
}

fn places(hosts: &[&str]) -> Arc<Places> {
    Arc::new(Places {
        hosts: hosts.iter().map(|text| text.parse().unwrap()).collect(),
        dns: Vec::new(),
    })
}

fn scope(targets: &[Target], asked: &[&str], granted: &[&str]) -> Scope {
    Scope {
        targets: targets.into(),
        unmarked: [].into(),
        asked: places(asked),
        granted: places(granted),
        setting: "plugins.grants.probe".into(),
        capability: "net.tcp",
    }
}

fn reach(scope: &Scope, host: &str, port: u16, address: &str) -> Result<(), String> {
    scope.judge(host, Some(port), address.parse().unwrap())
}

#[test]
fn only_the_target_is_reachable_by_default() {
    let scope = scope(&[target("Mail.Example.com.", Ports::only([25]))], &[], &[]);
    assert_eq!(scope.judge_name("mail.example.com", Some(25)), Ok(()));
    assert_eq!(scope.judge_name("mail.example.com", None), Ok(()), "some port is");
    assert_eq!(
        reach(&scope, "mail.example.com", 25, "10.0.0.1"),
        Ok(()),
        "private networks are probed, too"
    );
    for (name, port) in [
        ("mail.example.com", 26),
        ("example.com", 25),
        ("a.mail.example.com", 25),
        ("localhost", 25),
    ] {
        assert!(scope.judge_name(name, Some(port)).is_err(), "{name}:{port}");
    }
    assert!(
        reach(&scope, "10.0.0.1", 25, "10.0.0.1").is_err(),
        "an address is another host"
    );
}

#[test]
fn a_forgotten_mark_is_told_and_permits_nothing() {
    for host in ["mail.test", "10.0.0.1", "::1"] {
        let scope = Scope {
            unmarked: [Unmarked {
                host: Host::parse(host).unwrap(),
                advice: "mark `host`".into(),
            }]
            .into(),
            ..scope(&[], &[], &["*"])
        };
        let address = if host == "mail.test" { "10.0.0.9" } else { host };
        let why = reach(&scope, host, 25, address).unwrap_err();
        let shown = shown(host, Some(25));
        assert_eq!(why, format!("`{shown}` is not the monitor's target: mark `host`"));
        let other = scope.judge_name("other.test", Some(25)).unwrap_err();
        assert!(!other.contains("mark `host`"), "{other}");
    }
}

#[test]
fn a_refusal_tells_the_line_to_add() {
    let open = scope(&[], &["*"], &[]);
    assert_eq!(
        open.judge_name("evil.test", Some(443)).unwrap_err(),
        "`evil.test:443` is not the monitor's target, and not granted; to permit it: \
         `plugins.grants.probe.hosts = [\"evil.test:443\"]`"
    );
    assert!(
        reach(&open, "2001:db8::1", 443, "2001:db8::1")
            .unwrap_err()
            .contains("[\"[2001:db8::1]:443\"]")
    );
    let modest = scope(&[], &[], &["evil.test"]);
    let text = modest.judge_name("evil.test", Some(443)).unwrap_err();
    assert!(
        text.contains("it is granted, but the plugin does not ask for it"),
        "{text}"
    );
    let line = open.judge_question("secret.evil.test").unwrap_err();
    assert!(
        line.contains("`plugins.grants.probe.dns = [\"secret.evil.test\"]`"),
        "{line}"
    );
}

#[test]
fn beyond_the_target_it_takes_a_request_and_a_grant() {
    let both = scope(
        &[],
        &["*.corp.example:443", "10.0.0.0/8"],
        &["*.example:1-500", "10.1.0.0/16:80"],
    );
    assert_eq!(reach(&both, "a.corp.example", 443, "192.0.2.1"), Ok(()));
    assert_eq!(reach(&both, "10.1.2.3", 80, "10.1.2.3"), Ok(()));
    for (host, port, address) in [
        ("a.corp.example", 80, "192.0.2.1"),
        ("a.other.example", 443, "192.0.2.1"),
        ("10.1.2.3", 81, "10.1.2.3"),
        ("10.2.2.3", 80, "10.2.2.3"),
        ("a.test", 80, "10.1.2.3"),
    ] {
        assert!(reach(&both, host, port, address).is_err(), "{host}:{port}");
    }
}

#[test]
fn stars_in_a_row_are_one() {
    let [one, three]: [Destination; 2] = ["*", "***"].map(|text| text.parse().unwrap());
    assert!(three.covers(&one) && one.covers(&three));
    let both = scope(&[], &["***"], &["***"]);
    assert_eq!(
        reach(&both, "10.9.8.7", 80, "10.9.8.7"),
        Ok(()),
        "about addresses, too: what covers `*` permits what it does"
    );
}

/// Addresses that a name must not lead to, in many spellings.
const SPECIAL: [&str; 18] = [
    "127.0.0.1",
    "127.1.2.3",
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "100.100.100.200",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1",
    "ff02::1",
    "fd00:ec2::254",
    "64:ff9b::7f00:1",
    "2002:7f00:1::1",
    "2001:0:808:808::80ff:fffe",
    "::127.0.0.1",
    "2a00::5efe:7f00:1",
];

#[test]
fn a_name_never_leads_to_the_worker_itself() {
    let own = scope(&[target("rebind.test", Ports::any())], &["*"], &["*"]);
    for address in SPECIAL {
        let text = reach(&own, "rebind.test", 80, address).unwrap_err();
        assert!(text.contains("which no name permits"), "{address}: {text}");
        assert!(reach(&own, "granted.test", 80, address).is_err(), "{address}");
        assert!(
            reach(&own, address, 80, address).is_err(),
            "{address}: `*` is about ordinary hosts"
        );
    }
    assert_eq!(reach(&own, "rebind.test", 80, "192.168.1.1"), Ok(()));
    assert_eq!(
        reach(&own, "10.9.8.7", 80, "10.9.8.7"),
        Ok(()),
        "`*` is about addresses, too"
    );
}

#[test]
fn an_address_that_is_meant_is_reachable() {
    for address in SPECIAL {
        let own = scope(&[target(address, Ports::only([80]))], &[], &[]);
        let canonical = Host::parse(address).unwrap().to_string();
        assert_eq!(reach(&own, &canonical, 80, &canonical), Ok(()), "{address}");
        assert!(reach(&own, &canonical, 81, &canonical).is_err(), "{address}");
    }
    let local = scope(&[target("localhost", Ports::any())], &[], &[]);
    assert_eq!(reach(&local, "localhost", 80, "127.0.0.1"), Ok(()));
    assert_eq!(reach(&local, "localhost", 80, "::1"), Ok(()));
    assert!(reach(&local, "localhost", 80, "169.254.169.254").is_err());
    let granted = scope(&[target("box.test", Ports::any())], &[], &["127.0.0.0/8"]);
    assert_eq!(
        reach(&granted, "box.test", 80, "127.0.1.1"),
        Ok(()),
        "the operator means it"
    );
    assert!(
        reach(&granted, "127.0.1.1", 80, "127.0.1.1").is_err(),
        "nobody asks for it"
    );
}

#[test]
fn a_wrapped_address_is_the_one_within() {
    let range = scope(&[], &["*"], &["64:ff9b::/96"]);
    assert!(reach(&range, "64:ff9b::7f00:1", 80, "64:ff9b::7f00:1").is_err());
    let inner = scope(&[], &["*"], &["10.0.0.0/8"]);
    assert_eq!(reach(&inner, "64:ff9b::a00:1", 80, "64:ff9b::a00:1"), Ok(()));
    let mapped = scope(&[target("::ffff:10.0.0.1", Ports::any())], &[], &[]);
    assert_eq!(reach(&mapped, "10.0.0.1", 80, "10.0.0.1"), Ok(()));
}

#[test]
fn questions_are_about_the_target_and_what_is_below_it() {
    let mut scope = scope(
        &[
            target("example.com", Ports::any()),
            target("192.0.2.1", Ports::any()),
        ],
        &[],
        &[],
    );
    for name in ["example.com", "_dmarc.example.com", "a.b.example.com"] {
        assert_eq!(scope.judge_question(name), Ok(()), "{name}");
    }
    for name in [
        "com",
        "notexample.com",
        "example.com.evil.test",
        "192.0.2.1",
        "",
        r"leak\.example.com",
    ] {
        assert!(scope.judge_question(name).is_err(), "{name}");
    }
    let pattern = |text: &str| {
        Arc::new(Places {
            hosts: Vec::new(),
            dns: vec![text.parse().unwrap()],
        })
    };
    scope.asked = pattern("*.zen.test");
    assert!(scope.judge_question("1.zen.test").is_err());
    scope.granted = pattern("*.test");
    assert_eq!(scope.judge_question("1.zen.test"), Ok(()));
    assert!(
        scope.judge_name("1.zen.test", Some(80)).is_err(),
        "asking is not connecting"
    );
}

#[test]
fn destinations_are_read_strictly() {
    for (text, host, port, fits) in [
        ("a.test", "a.test", 1, true),
        ("A.Test.:443", "a.test", 443, true),
        ("a.test:443", "a.test", 444, false),
        ("*.test:25,8000-8999", "b.test", 8500, true),
        ("*.test:25,8000-8999", "b.test", 80, false),
    ] {
        let destination: Destination = text.parse().unwrap();
        assert_eq!(destination.names(host, Some(port)), fits, "{text} {host}:{port}");
    }
    for (text, address, port, fits) in [
        ("10.0.0.0/8", "10.1.1.1", 1, true),
        ("10.0.0.0/8:443", "10.1.1.1", 80, false),
        ("[2001:db8::/32]:443", "2001:db8::1", 443, true),
        ("2001:db8::/32", "2001:db8::1", 443, true),
        ("[::1]", "::1", 1, true),
    ] {
        let destination: Destination = text.parse().unwrap();
        assert_eq!(
            destination.holds(address.parse().unwrap(), Some(port)),
            fits,
            "{text}"
        );
    }
    for text in [
        "",
        ":443",
        "a.test:",
        "a.test:0",
        "a.test:70000",
        "a.test:9-1",
        "a.test:http",
        "a.test:1,",
        "[::1]443",
        "http://a.test",
        "10.0.0.*",
        "a.test:1:2",
        "user@a.test",
    ] {
        assert!(text.parse::<Destination>().is_err(), "{text:?}");
    }
    assert!("10.0.0.0/8".parse::<NamePattern>().is_err());
    assert!("*.example.com".parse::<NamePattern>().is_ok());
}

#[test]
fn what_covers_what() {
    let covers = |outer: &str, inner: &str| {
        outer
            .parse::<Destination>()
            .unwrap()
            .covers(&inner.parse().unwrap())
    };
    for (outer, inner) in [
        ("*", "*.example.com:443"),
        ("*", "10.0.0.0/8"),
        ("*.example.com", "a.example.com:80"),
        ("*.example.com", "*.b.example.com"),
        ("a.test:1-100", "a.test:5,7-9"),
        ("10.0.0.0/8", "10.1.0.0/16:80"),
    ] {
        assert!(covers(outer, inner), "{outer} {inner}");
    }
    for (outer, inner) in [
        ("*.example.com:443", "a.example.com"),
        ("a?.test", "a*.test"),
        ("*.b.test", "*.test"),
        ("10.0.0.0/8", "*"),
        ("10.1.0.0/16", "10.0.0.0/8"),
        ("a.test:1-100", "a.test:99-101"),
    ] {
        assert!(!covers(outer, inner), "{outer} {inner}");
    }
}
