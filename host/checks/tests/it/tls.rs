//! HTTPS: what a certificate must be, and what is told of it in any case.

use crate::support::{
    Probe,
    certificates::{Authority, Identity, Leaf},
    reason,
    server::{Server, ok},
    with,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};

async fn serve(identity: &Identity) -> Server {
    Server::https(identity.acceptor(), |_| ok("secure")).await
}

async fn get(server: &Server, more: Value) -> Observation {
    let config = json!({ "url": format!("https://localhost:{}/", server.port()), "ip_family": "4" });
    Probe::new().seen("http", with(config, more)).await
}

#[tokio::test]
async fn a_certificate_of_a_trusted_authority_is_accepted_and_described() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&Leaf::default())).await;
    let seen = get(&server, json!({ "tls_ca": authority.pem() })).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    let tls = seen.tls.unwrap();
    assert!(tls.verified && tls.verify_error.is_none());
    assert_eq!(
        (tls.protocol.as_str(), tls.alpn.as_deref()),
        ("TLSv1.3", Some("http/1.1"))
    );
    assert!(
        tls.cipher.starts_with("TLS_") && !tls.cipher.contains("TLS13"),
        "{}",
        tls.cipher
    );
    assert_eq!(tls.server_name.as_deref(), Some("localhost"));
    let leaf = &tls.chain[0];
    assert_eq!(leaf.subject, "CN=localhost,O=Probe Org,C=DE");
    assert_eq!(leaf.issuer, "CN=Lapwing Test CA");
    assert_eq!(
        (leaf.serial.as_str(), leaf.version, leaf.rsa_bits),
        ("4660", 3, None)
    );
    assert_eq!(
        (leaf.dns_names.as_slice(), leaf.ip_addresses.as_slice()),
        (&["localhost".to_owned()][..], &["127.0.0.1".to_owned()][..])
    );
    assert_eq!(
        (
            leaf.signature_algorithm.as_str(),
            leaf.public_key_algorithm.as_str()
        ),
        ("ECDSA-SHA256", "ECDSA")
    );
    assert_eq!(leaf.not_after.to_string(), "2099-12-31T00:00:00Z");
    let pairs = |print: &str, bytes: usize| {
        print.split(':').count() == bytes
            && print
                .split(':')
                .all(|pair| pair.len() == 2 && pair == pair.to_uppercase())
    };
    assert!(pairs(&leaf.sha1, 20) && pairs(&leaf.sha256, 32));
    assert!(seen.phases.iter().any(|phase| phase.name == "tls"));
    server.drained().await;
}

#[tokio::test]
async fn every_unfit_certificate_is_down_with_its_chain_and_its_fault() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let expired = Leaf {
        years: (2001, 2002),
        ..Leaf::default()
    };
    let future = Leaf {
        years: (2098, 2099),
        ..Leaf::default()
    };
    let wrong = Leaf {
        names: &["other.example"],
        ..Leaf::default()
    };
    for (identity, fault) in [
        (stranger.issue(&Leaf::default()), "signed by unknown authority"),
        (Leaf::default().self_signed(), "certificate is self-signed"),
        (Leaf::default().self_signed_authority(), "self-signed"),
        (authority.issue(&expired), "certificate has expired"),
        (authority.issue(&future), "not valid before"),
        (authority.issue(&wrong), "not valid for name \"localhost\""),
    ] {
        let server = serve(&identity).await;
        let seen = get(&server, json!({ "tls_ca": authority.pem() })).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "tls_certificate"),
            "{}",
            seen.message
        );
        assert!(seen.message.contains(fault), "{fault}: {}", seen.message);
        let tls = seen.tls.expect("the chain is told of a refused certificate, too");
        assert!(!tls.verified && tls.verify_error.unwrap().contains(fault) && tls.chain.len() == 1);
        assert!(server.requests().is_empty(), "nothing is said to a stranger");

        let seen = get(
            &server,
            json!({ "tls_ca": authority.pem(), "ignore_tls_errors": true }),
        )
        .await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
        let tls = seen.tls.unwrap();
        assert!(
            !tls.verified && tls.verify_error.unwrap().contains(fault),
            "ignored, and still told"
        );
    }
}

#[tokio::test]
async fn without_an_authority_of_its_own_a_check_trusts_the_systems_only() {
    let server = serve(&Authority::new().issue(&Leaf::default())).await;
    assert_eq!(reason(&get(&server, json!({})).await), "tls_certificate");
}

#[tokio::test]
async fn ignoring_errors_does_not_make_a_good_certificate_bad() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&Leaf::default())).await;
    let seen = get(
        &server,
        json!({ "tls_ca": authority.pem(), "ignore_tls_errors": true }),
    )
    .await;
    assert!(seen.tls.unwrap().verified);
}

#[tokio::test]
async fn a_self_signed_certificate_may_be_trusted_as_itself_but_name_and_dates_still_count() {
    for (leaf, verdict) in [
        (Leaf::default(), Status::Up),
        (
            Leaf {
                names: &["other.example"],
                ..Leaf::default()
            },
            Status::Down,
        ),
        (
            Leaf {
                years: (2001, 2002),
                ..Leaf::default()
            },
            Status::Down,
        ),
    ] {
        for identity in [leaf.self_signed(), leaf.self_signed_authority()] {
            let server = serve(&identity).await;
            let seen = get(&server, json!({ "tls_ca": identity.chain })).await;
            assert_eq!(seen.status, verdict, "{}", seen.message);
        }
    }
}

#[tokio::test]
async fn the_server_name_may_be_another_than_the_host() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&Leaf {
        names: &["other.example"],
        ..Leaf::default()
    }))
    .await;
    let seen = get(
        &server,
        json!({ "tls_ca": authority.pem(), "server_name": "other.example" }),
    )
    .await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert_eq!(seen.tls.unwrap().server_name.as_deref(), Some("other.example"));
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_its_lack_is_a_tls_failure() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let identity = authority.issue(&Leaf::default());
    let client = clients.issue(&Leaf {
        names: &["client"],
        ..Leaf::default()
    });
    for versions in [&[&rustls::version::TLS13][..], &[&rustls::version::TLS12][..]] {
        let acceptor = identity.acceptor_with(&["http/1.1"], Some(&clients), versions);
        let server = Server::https(acceptor, |_| ok("known")).await;
        let mtls = json!({ "authMethod": "mtls", "tlsCert": client.chain, "tlsKey": client.key, "tlsCa": authority.pem() });
        let seen = get(&server, mtls).await;
        assert_eq!(seen.status, Status::Up, "{}", seen.message);
        let seen = get(&server, json!({ "tls_ca": authority.pem() })).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "tls_failed"),
            "{}",
            seen.message
        );
    }
}

#[tokio::test]
async fn unusable_pem_is_an_invalid_config_and_not_a_dead_target() {
    let server = serve(&Leaf::default().self_signed()).await;
    let url = format!("https://localhost:{}/", server.port());
    for more in [
        json!({ "tls_ca": "no pem" }),
        json!({ "tls_ca": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }),
        json!({ "authMethod": "mtls", "tlsCert": "x", "tlsKey": "y" }),
        json!({ "server_name": "not a name" }),
    ] {
        let config = json!({ "url": url, "ip_family": "4" });
        let error = Probe::new().run("http", with(config, more)).await.unwrap_err();
        assert!(matches!(error, CheckError::InvalidConfig(_)), "{error:?}");
    }
}

#[tokio::test]
async fn http2_is_taken_where_alpn_agrees_and_missed_where_it_must_be() {
    let authority = Authority::new();
    let identity = authority.issue(&Leaf::default());
    let both = [&rustls::version::TLS13, &rustls::version::TLS12];
    let modern = Server::https(identity.acceptor_with(&["h2", "http/1.1"], None, &both), |_| {
        ok("x")
    })
    .await;
    let old = Server::https(identity.acceptor_with(&["http/1.1"], None, &both), |_| ok("x")).await;
    let silent = Server::https(identity.acceptor_with(&[], None, &both), |_| ok("x")).await;
    let run = async |server: &Server, version: &str| {
        get(
            server,
            json!({ "tls_ca": authority.pem(), "http_version": version, "keyword": "x" }),
        )
        .await
    };
    for (server, version, spoken) in [
        (&modern, "any", "HTTP/2.0"),
        (&modern, "1.1", "HTTP/1.1"),
        (&modern, "2", "HTTP/2.0"),
        (&old, "any", "HTTP/1.1"),
    ] {
        let seen = run(server, version).await;
        assert_eq!(
            (seen.status, &seen.attributes["http.version"]),
            (Status::Up, &json!(spoken)),
            "{}",
            seen.message
        );
    }
    // Whether it agrees to nothing, or ends the handshake over it.
    for server in [&silent, &old] {
        let seen = run(server, "2").await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "version_mismatch"),
            "{}",
            seen.message
        );
    }
    modern.drained().await;
}

#[tokio::test]
async fn an_old_version_is_refused_where_a_newer_one_is_asked_for() {
    let authority = Authority::new();
    let acceptor = authority
        .issue(&Leaf::default())
        .acceptor_with(&[], None, &[&rustls::version::TLS12]);
    let server = Server::https(acceptor, |_| ok("x")).await;
    let seen = get(&server, json!({ "tls_ca": authority.pem() })).await;
    assert_eq!(
        (seen.status, seen.tls.unwrap().protocol.as_str()),
        (Status::Up, "TLSv1.2")
    );
    let seen = get(
        &server,
        json!({ "tls_ca": authority.pem(), "min_tls_version": "1.3" }),
    )
    .await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "tls_failed"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn a_server_without_tls_is_told_so() {
    let server = Server::http(|_| ok("plain")).await;
    let seen = get(&server, json!({})).await;
    assert_eq!(reason(&seen), "tls_failed");
    assert!(seen.message.contains("does not speak TLS"), "{}", seen.message);
}

#[tokio::test]
async fn a_certificate_about_to_end_degrades_an_answer_that_is_good_otherwise() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&Leaf {
        years: (2020, 2099),
        ..Leaf::default()
    }))
    .await;
    let ca = authority.pem();
    let seen = get(&server, json!({ "tls_ca": ca, "cert_expiry_warn_days": 40_000 })).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Degraded, "certificate_expiring"),
        "{}",
        seen.message
    );
    assert!(
        seen.message.starts_with("200 - 200 OK; certificate expires in "),
        "{}",
        seen.message
    );
    let seen = get(&server, json!({ "tls_ca": ca, "cert_expiry_warn_days": 14 })).await;
    assert_eq!(seen.status, Status::Up);
    let seen = get(
        &server,
        json!({ "tls_ca": ca, "cert_expiry_warn_days": 40_000, "keyword": "nope" }),
    )
    .await;
    assert_eq!(seen.status, Status::Down);
}

#[tokio::test]
async fn no_session_is_resumed_between_checks() {
    let authority = Authority::new();
    let server = serve(&authority.issue(&Leaf::default())).await;
    let probe = Probe::new();
    for _ in 0..3 {
        let config = json!({ "url": format!("https://localhost:{}/", server.port()), "ip_family": "4", "tls_ca": authority.pem() });
        let seen = probe.seen("http", config).await;
        assert_eq!(
            seen.tls.unwrap().chain.len(),
            1,
            "a resumed session shows no certificate"
        );
    }
    assert_eq!(server.accepted(), 3);
}
