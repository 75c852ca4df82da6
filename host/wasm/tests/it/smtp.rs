//! The plugin `smtp` against aiosmtpd, and against servers that refuse, fall silent or cheat: what it says, and what the
//! host saw beside it.

use crate::{
    servers::{Folder, Server, accepts, fake, free_port, plugin, program},
    support::{PLENTY, add, context, dist, small},
};
use lapwing_checks::Registry;
use lapwing_model::{Observation, Reason, Status};
use lapwing_wasm::PluginHost;
use rcgen::generate_simple_self_signed;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::{TlsAcceptor, rustls};

/// Serves one client after another; `greeting` first, then EHLO, STARTTLS and QUIT.
async fn server(greeting: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = acceptor();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            if stream.write_all(greeting.as_bytes()).await.is_ok() && dialogue(&mut stream).await {
                let mut stream = BufReader::new(acceptor.accept(stream.into_inner()).await.unwrap());
                dialogue(&mut stream).await;
            }
        }
    });
    port
}

/// Answers until the end; true when the client wants TLS.
async fn dialogue(stream: &mut BufReader<impl AsyncRead + AsyncWrite + Unpin>) -> bool {
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
        let answer = match line.split_whitespace().next() {
            Some("EHLO") => "250-mail.test greets you\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
            Some("STARTTLS") => "220 go ahead\r\n",
            Some("QUIT") => "221 bye\r\n",
            _ => "500 what?\r\n",
        };
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.flush().await.unwrap();
        if answer.starts_with("220") {
            return true;
        }
        line.clear();
    }
    false
}

fn acceptor() -> TlsAcceptor {
    let made = generate_simple_self_signed(vec!["mail.test".into()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn check(config: &str) -> Observation {
    check_within(PLENTY, config).await
}

async fn check_within(budget: Duration, config: &str) -> Observation {
    let host = PluginHost::new(small()).unwrap();
    let mut registry = Registry::default();
    let kind = add(&host, &mut registry, &dist().join("smtp.wasm")).await;
    registry
        .executor(&kind)
        .unwrap()
        .execute(config, &context(budget))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_mail_server_is_up_with_measured_phases() {
    let port = server("220 mail.test ESMTP\r\n").await;
    let seen = check(&format!(r#"{{"host":"127.0.0.1","port":{port}}}"#)).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    let phases: Vec<_> = seen.phases.iter().map(|phase| phase.name.as_str()).collect();
    for phase in ["connect", "first_byte", "send", "receive"] {
        assert!(phases.contains(&phase), "{phases:?}");
    }
    assert!(seen.latency.is_some());
}

#[tokio::test]
async fn starttls_shows_the_chain_the_host_saw() {
    let port = server("220 mail.test ESMTP\r\n").await;
    let target = format!(r#""host":"127.0.0.1","port":{port},"tls":"starttls","server_name":"mail.test""#);
    let trusting = check(&format!(r#"{{{target},"ignore_tls_errors":true}}"#)).await;
    assert_eq!(trusting.status, Status::Up, "{trusting:?}");
    let tls = trusting.tls.unwrap();
    assert!(!tls.verified && tls.verify_error.is_some());
    assert_eq!(tls.chain[0].dns_names, ["mail.test"]);
    assert!(
        !tls.chain[0].signature_algorithm.is_empty(),
        "the host's own view, not the guest's"
    );
    assert!(trusting.phases.iter().any(|phase| phase.name == "tls"));

    let strict = check(&format!("{{{target}}}")).await;
    assert_eq!(
        (strict.status, strict.reason),
        (Status::Down, Some(Reason::TlsCertificate))
    );
    assert_eq!(
        strict.tls.unwrap().chain[0].dns_names,
        ["mail.test"],
        "the refused chain is kept"
    );
}

#[tokio::test]
async fn a_server_that_does_not_say_farewell_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let greetings = b"220 mail.test ESMTP\r\n250 mail.test\r\n";
        stream.write_all(greetings).await.unwrap();
        // Open for ever, and silent.
        std::future::pending::<()>().await;
    });
    // Less than the longest farewell.
    let budget = Duration::from_millis(900);
    let seen = check_within(budget, &format!(r#"{{"host":"127.0.0.1","port":{port}}}"#)).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
}

#[tokio::test]
async fn a_server_that_refuses_is_down() {
    let port = server("554 no mail for you\r\n").await;
    let seen = check(&format!(r#"{{"host":"127.0.0.1","port":{port}}}"#)).await;
    assert_eq!(seen.status, Status::Down, "{seen:?}");
}

/// A mail server in Python, with its certificate for STARTTLS (`tls`) or for TLS from the first byte (`smtps`).
async fn aiosmtpd(kind: &str) -> Server {
    let (folder, port) = (Folder::new(), free_port().await);
    let (certificate, key) = folder.certificate();
    let mut command = program("aiosmtpd");
    command
        .args(["-n", "-s", "1000000", "-l", &format!("127.0.0.1:{port}")])
        .args([format!("--{kind}cert"), certificate.display().to_string()])
        .args([format!("--{kind}key"), key.display().to_string()]);
    folder.start(port, command, accepts).await
}

#[tokio::test]
async fn aiosmtpd_is_up_in_every_mode() {
    let bench = plugin("smtp").await;
    for (kind, tls) in [
        ("tls", "off"),
        ("tls", "starttls_advertised"),
        ("tls", "starttls"),
        ("smtps", "implicit"),
    ] {
        let server = aiosmtpd(kind).await;
        let config = format!(
            r#"{{"host":"127.0.0.1","port":{},"tls":"{tls}","server_name":"mail.test","ignore_tls_errors":true,
                "extensions":["SIZE","8bitmime"],"banner_contains":"SMTP"}}"#,
            server.port
        );
        let seen = bench.run(&config, PLENTY).await.unwrap();
        assert_eq!(seen.status, Status::Up, "{tls}: {seen:?}\n{}", server.log());
        assert_eq!(
            seen.tls.is_some(),
            matches!(tls, "starttls" | "implicit"),
            "{tls}"
        );

        let wanting = config.replace("8bitmime", "CHUNKING");
        let seen = bench.run(&wanting, PLENTY).await.unwrap();
        assert_eq!(
            (seen.status, seen.reason),
            (Status::Down, Some(Reason::AssertionFailed)),
            "{tls}"
        );
    }
}

#[tokio::test]
async fn bytes_sent_before_the_handshake_are_not_taken_for_encrypted_ones() {
    let port = fake(|mut stream| async move {
        let injected = b"220 m\r\n250-m\r\n250 STARTTLS\r\n220 go\r\n250 m\r\n";
        stream.write_all(injected).await.unwrap();
        // Open until the client leaves.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let seen = check(&format!(
        r#"{{"host":"127.0.0.1","port":{port},"tls":"starttls","ignore_tls_errors":true}}"#
    ))
    .await;
    assert_eq!(
        (seen.status, seen.reason),
        (Status::Down, Some(Reason::ProtocolError))
    );
}

#[tokio::test]
async fn what_is_no_mail_server_is_down() {
    for (words, reason) in [
        (&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], Reason::ProtocolError),
        (b"220 m\r\n250-m\r\n500 x\r\n", Reason::ProtocolError),
        (b"", Reason::ConnectionClosed),
        (&[b'2'; 4096], Reason::ProtocolError),
    ] {
        let port = fake(move |mut stream| async move {
            stream.write_all(words).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        })
        .await;
        let seen = check(&format!(r#"{{"host":"127.0.0.1","port":{port}}}"#)).await;
        assert_eq!((seen.status, seen.reason), (Status::Down, Some(reason)));
    }
}
