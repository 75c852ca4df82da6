//! Settings that cannot be used, told all at once and without secrets.

use lapwing_queue::{Server, ServerSettings, testing::Certificates};
use std::{fs, time::Duration};

/// The fields that are at fault.
fn faults(settings: ServerSettings) -> Vec<&'static str> {
    match Server::new(settings) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.0.iter().map(|fault| fault.field).collect(),
    }
}

fn changed(url: &str, change: impl FnOnce(&mut ServerSettings)) -> ServerSettings {
    let mut settings = ServerSettings::at(url);
    change(&mut settings);
    settings
}

#[test]
fn every_form_of_address_is_taken() {
    for url in [
        "redis://localhost",
        "redis://user:password@localhost:6379/3",
        "rediss://localhost",
        "unix:///run/redis.sock",
        "redis+unix:///run/redis.sock?db=3",
        "redis-sentinel://a,b:26379/main/3",
        "rediss-sentinel://a,b:26379/main",
        "redis-cluster://a,b:6379",
    ] {
        assert_eq!(faults(ServerSettings::at(url)), Vec::<&str>::new(), "{url}");
    }
    let by_fields = changed("", |settings| {
        settings.sentinels.addresses = vec!["a".to_owned(), "[::1]:26379".to_owned()];
        settings.sentinels.master = Some("main".to_owned());
        settings.db = Some(3);
    });
    assert_eq!(faults(by_fields), Vec::<&str>::new());
    assert_eq!(
        faults(changed("", |settings| settings.cluster = vec!["a:7000".to_owned()])),
        Vec::<&str>::new()
    );
}

#[test]
fn all_faults_are_told_at_once_each_with_its_field() {
    let bad = changed("", |settings| {
        settings.sentinels.addresses = vec!["a:x".to_owned(), "b".to_owned()];
        settings.db = Some(-1);
        settings.tls.enabled = true;
        settings.tls.ca = Some("/nowhere/ca.pem".into());
        settings.tls.certificate = Some("/nowhere/client.pem".into());
        settings.tls.server_name = Some("not a name".to_owned());
        settings.connect_timeout = Duration::ZERO;
        settings.command_timeout = Duration::ZERO;
        settings.keepalive = Duration::from_millis(100);
        settings.connections = 0;
        settings.client_name = Some("two words".to_owned());
    });
    let mut fields = faults(bad);
    fields.sort_unstable();
    let mut expected = [
        "sentinels.addresses",
        "sentinels.master",
        "db",
        "tls.ca",
        "tls.key",
        "tls.server_name",
        "connect_timeout",
        "command_timeout",
        "keepalive",
        "connections",
        "client_name",
    ];
    expected.sort_unstable();
    assert_eq!(fields, expected);
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let cluster = || vec!["a".to_owned()];
    for (settings, field) in [
        (ServerSettings::at(""), "url"),
        (ServerSettings::at("localhost"), "url"),
        (ServerSettings::at("redis://a:b:c"), "url"),
        (
            changed("redis://a", |settings| settings.cluster = cluster()),
            "cluster",
        ),
        (
            changed("redis://a", |settings| settings.sentinels.addresses = cluster()),
            "sentinels.addresses",
        ),
        (
            changed("redis://a", |settings| {
                settings.sentinels.password = Some("x".to_owned());
            }),
            "sentinels.addresses",
        ),
        (
            changed("", |settings| {
                settings.cluster = cluster();
                settings.db = Some(1);
            }),
            "db",
        ),
        (
            changed("redis-cluster://a", |settings| {
                settings.tls.enabled = true;
                settings.tls.server_name = Some("a".to_owned());
            }),
            "tls.server_name",
        ),
        (
            changed("redis://a", |settings| settings.tls.insecure = true),
            "tls.insecure",
        ),
        (
            changed("unix:///run/r", |settings| settings.tls.enabled = true),
            "tls.enabled",
        ),
    ] {
        assert_eq!(faults(settings), [field]);
    }
}

#[test]
fn files_that_are_no_certificate_or_do_not_fit_are_refused() {
    let (ours, others) = (Certificates::new(), Certificates::new());
    let empty = ours.file("empty.pem");
    fs::write(&empty, "nothing").unwrap();
    let with = |ca, certificate, key| {
        faults(changed("rediss://a", |settings| {
            settings.tls.ca = Some(ca);
            settings.tls.certificate = Some(certificate);
            settings.tls.key = Some(key);
        }))
    };
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|name| ours.file(name));
    assert_eq!(
        with(ca.clone(), certificate.clone(), key.clone()),
        Vec::<&str>::new()
    );
    assert_eq!(
        with(empty.clone(), empty.clone(), empty),
        ["tls.ca", "tls.certificate", "tls.key"]
    );
    assert_eq!(with(ca, certificate, others.file("client.key")), ["tls.key"]);
}

#[test]
fn secrets_are_not_shown() {
    let settings = changed("redis://lap:sesame@host:1", |settings| {
        settings.password = Some("sesame".to_owned());
        settings.sentinels.password = Some("sesame".to_owned());
    });
    assert!(!format!("{settings:?}").contains("sesame"));
    let faults = Server::new(settings).unwrap_err();
    assert!(!format!("{faults:?} {faults}").contains("sesame"));
    let server = Server::open("redis://lap:sesame@host:1").unwrap();
    assert!(!format!("{server:?}").contains("sesame"), "{server:?}");
}
