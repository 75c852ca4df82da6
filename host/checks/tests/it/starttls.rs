//! Kind `tls` behind STARTTLS: against OpenLDAP, Dovecot, aiosmtpd, vsftpd, PostgreSQL and MariaDB, against a stand-in for
//! XMPP, and against servers that do not offer it.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    reason,
    server::Server,
    servers::{Folder, Running, accepts, free_port, name_of_nobody, program, said_as_nobody},
    with,
};
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{fmt::Write, path::PathBuf, process::Command, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A folder with a certificate of a fresh authority in `cert.pem` and `key.pem`.
struct Secured {
    folder: Folder,
    authority: Authority,
    certificate: PathBuf,
    key: PathBuf,
}

impl Secured {
    fn new() -> Self {
        let (folder, authority) = (Folder::new(), Authority::new());
        let identity = authority.issue(&Leaf::default());
        Self {
            certificate: folder.write("cert.pem", identity.chain),
            key: folder.write_secret("key.pem", identity.key),
            folder,
            authority,
        }
    }
}

async fn seen(protocol: &str, port: u16, authority: &Authority) -> Observation {
    let config =
        json!({ "host": "127.0.0.1", "port": port, "starttls": protocol, "tls_ca": authority.pem() });
    Probe::new().seen("tls", config).await
}

/// The handshake came about, and what it showed is told; and a certificate of somebody else's authority is refused. Also
/// called by the tests of the databases, whose servers take seconds to start.
pub(crate) async fn is_secure(protocol: &str, port: u16, authority: &Authority, server: &Running) {
    let seen = self::seen(protocol, port, authority).await;
    assert_eq!(
        seen.status,
        Status::Up,
        "{protocol}: {}\n{}",
        seen.message,
        server.log()
    );
    let tls = seen.tls.unwrap();
    assert!(tls.verified && !tls.chain.is_empty() && tls.protocol.starts_with("TLSv1."));
    assert!(seen.phases.iter().any(|phase| phase.name == "starttls"));
    let refused = self::seen(protocol, port, &Authority::new()).await;
    assert_eq!(
        (refused.status, reason(&refused)),
        (Status::Down, "tls_certificate"),
        "{protocol}"
    );
    assert_eq!(
        refused.tls.unwrap().chain,
        tls.chain,
        "what was presented is told"
    );
}

#[tokio::test]
async fn slapd_by_ldap() {
    let Secured {
        folder,
        authority,
        certificate,
        key,
    } = Secured::new();
    let config = folder.write(
        "slapd.conf",
        format!(
            "TLSCertificateFile {}\nTLSCertificateKeyFile {}\n",
            certificate.display(),
            key.display()
        ),
    );
    // Where AppArmor confines slapd it does so by path, and would keep it from the files of a test.
    let slapd = folder.path("slapd");
    folder.give_away();
    said_as_nobody(program("cp").arg(program("slapd").get_program()).arg(&slapd));
    let port = free_port().await;
    let mut command = Command::new(&slapd);
    command
        .arg("-f")
        .arg(&config)
        .args(["-d", "0", "-h"])
        .arg(format!("ldap://127.0.0.1:{port}"));
    let server = folder.start(command, async || accepts(port).await).await;
    is_secure("ldap", port, &authority, &server).await;
}

#[tokio::test]
async fn aiosmtpd_by_smtp() {
    let Secured {
        folder,
        authority,
        certificate,
        key,
    } = Secured::new();
    let port = free_port().await;
    let mut command = program("aiosmtpd");
    command
        .args(["-n", "-l", &format!("127.0.0.1:{port}"), "--tlscert"])
        .arg(certificate)
        .arg("--tlskey")
        .arg(key);
    let server = folder.start(command, async || accepts(port).await).await;
    is_secure("smtp", port, &authority, &server).await;
}

#[tokio::test]
async fn dovecot_by_imap_and_pop3() {
    let Secured {
        folder,
        authority,
        certificate,
        key,
    } = Secured::new();
    let (imap, pop3) = (free_port().await, free_port().await);
    let (user, group) = name_of_nobody();
    let run = folder.path("run");
    let mut config = format!(
        "base_dir = {run}\nstate_dir = {run}\nlog_path = /dev/stderr\nprotocols = imap pop3\nlisten = 127.0.0.1\n\
         default_login_user = {user}\ndefault_internal_user = {user}\ndefault_internal_group = {group}\nssl = yes\n\
         ssl_cert = <{}\nssl_key = <{}\npassdb {{\n  driver = static\n  args = nopassword=y\n}}\n\
         userdb {{\n  driver = static\n  args = uid={user} gid={group} home=/nonexistent\n}}\n",
        certificate.display(),
        key.display(),
        run = run.display()
    );
    for service in ["anvil", "stats"] {
        let _ = write!(config, "service {service} {{\n  chroot =\n}}\n");
    }
    for (name, port) in [("imap", imap), ("pop3", pop3)] {
        let _ = write!(
            config,
            "service {name}-login {{\n  chroot =\n  inet_listener {name} {{\n    port = {port}\n  }}\n  \
             inet_listener {name}s {{\n    port = 0\n  }}\n}}\n"
        );
    }
    let config = folder.write("dovecot.conf", config);
    let mut command = program("dovecot");
    command.arg("-F").arg("-c").arg(config);
    let server = folder
        .start(command, async || accepts(imap).await && accepts(pop3).await)
        .await;
    is_secure("imap", imap, &authority, &server).await;
    is_secure("pop3", pop3, &authority, &server).await;
}

#[tokio::test]
async fn vsftpd_by_ftp() {
    let Secured {
        folder,
        authority,
        certificate,
        key,
    } = Secured::new();
    let port = free_port().await;
    let config = folder.write(
        "vsftpd.conf",
        format!(
            "listen=YES\nlisten_address=127.0.0.1\nlisten_port={port}\nbackground=NO\nrun_as_launching_user=YES\n\
             seccomp_sandbox=NO\nanonymous_enable=YES\nssl_enable=YES\nallow_anon_ssl=YES\nrsa_cert_file={}\n\
             rsa_private_key_file={}\nsecure_chroot_dir={}\nvsftpd_log_file={}\n",
            certificate.display(),
            key.display(),
            folder.make("empty").display(),
            folder.path("vsftpd.log").display()
        ),
    );
    let mut command = program("vsftpd");
    command.arg(config);
    let server = folder.start(command, async || accepts(port).await).await;
    is_secure("ftp", port, &authority, &server).await;
}

/// No XMPP server is small enough to be started by a test: what is said is RFC 6120 §5.4's.
#[tokio::test]
async fn a_stand_in_by_xmpp() {
    let authority = Authority::new();
    let acceptor = authority.issue(&Leaf::default()).acceptor();
    let server = Server::raw(move |mut stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut buffer = [0; 512];
            let length = stream.read(&mut buffer).await.unwrap();
            let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
            assert!(head.contains("to='chat.example'") && head.contains("version='1.0'"), "{head}");
            let opening = "<?xml version='1.0'?><stream:stream from='chat.example' version='1.0' xmlns='jabber:client' \
                           xmlns:stream='http://etherx.jabber.org/streams'><stream:features>";
            // In two pieces, as a network may.
            stream.write_all(opening.as_bytes()).await.unwrap();
            stream.flush().await.unwrap();
            stream
                .write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls></stream:features>")
                .await
                .unwrap();
            let length = stream.read(&mut buffer).await.unwrap();
            assert!(buffer[..length].starts_with(b"<starttls "));
            stream.write_all(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await.unwrap();
            let _ = acceptor.accept(stream).await;
        }
    })
    .await;
    let config = json!({
        "host": "127.0.0.1", "port": server.port(), "starttls": "xmpp", "server_name": "chat.example",
        "tls_ca": authority.pem(), "ignore_tls_errors": true,
    });
    let seen = Probe::new().seen("tls", config).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert!(
        seen.message.contains("certificate not verified: "),
        "another name: {}",
        seen.message
    );
}

/// Says `says` line by line (or at once where nobody asks first), then waits for the client to leave.
async fn scripted(says: &[&'static [u8]]) -> Server {
    let says = says.to_vec();
    Server::raw(move |mut stream| {
        let says = says.clone();
        async move {
            for (turn, text) in says.into_iter().enumerate() {
                if turn > 0 && !matches!(stream.read(&mut [0; 512]).await, Ok(1..)) {
                    return;
                }
                if stream.write_all(text).await.is_err() {
                    return;
                }
            }
            while matches!(stream.read(&mut [0; 512]).await, Ok(1..)) {}
        }
    })
    .await
}

#[tokio::test]
async fn a_server_that_does_not_offer_it_is_down_and_says_so() {
    for (protocol, says) in [
        ("smtp", &[&b"220 hi\r\n"[..], b"250-hi\r\n250 SIZE 1\r\n"][..]),
        ("smtp", &[b"220 hi\r\n", b"250-hi\r\n250 STARTTLS\r\n", b"454 not now\r\n"]),
        ("imap", &[b"* OK hi\r\n", b"* CAPABILITY x\r\na BAD what\r\n"]),
        ("pop3", &[b"+OK hi\r\n", b"-ERR what\r\n"]),
        ("ftp", &[b"220-hi\r\n220 there\r\n", b"530 no\r\n"]),
        ("postgres", &[b"", b"N"]),
        ("ldap", &[b"", b"\x30\x84\0\0\0\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\0\x04\0"]),
        ("mysql", &[b"\x17\0\0\0\x0a5\0\x01\0\0\0abcdefgh\0\xff\xf7\x21\0\0\0\0"]),
        ("xmpp", &[b"", b"<stream:stream><stream:features/>"]),
        ("xmpp", &[b"", b"<stream:stream><stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>", b"<failure/>"]),
    ] {
        let server = scripted(says).await;
        let seen = self::seen(protocol, server.port(), &Authority::new()).await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, "tls_failed"), "{protocol}: {}", seen.message);
        assert!(seen.message.contains("does not offer STARTTLS"), "{}", seen.message);
        server.drained().await;
    }
}

#[tokio::test]
async fn the_banner_of_another_protocol_and_garbage_are_protocol_errors() {
    for protocol in ["smtp", "imap", "pop3", "ftp", "mysql"] {
        for banner in [&b"SSH-2.0-OpenSSH_9.2\r\n"[..], b"\xff\xff\xff\xff\xff\xff\n"] {
            let server = Server::raw(move |mut stream| async move {
                let _ = stream.write_all(banner).await;
                while matches!(stream.read(&mut [0; 512]).await, Ok(1..)) {}
            })
            .await;
            let seen = self::seen(protocol, server.port(), &Authority::new()).await;
            assert_eq!(
                (seen.status, reason(&seen)),
                (Status::Down, "protocol_error"),
                "{protocol}: {}",
                seen.message
            );
        }
    }
    for protocol in ["postgres", "ldap", "xmpp"] {
        let server = scripted(&[b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"]).await;
        let seen = self::seen(protocol, server.port(), &Authority::new()).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "protocol_error"),
            "{protocol}: {}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_mysql_server_that_refuses_us_is_quoted() {
    let server = scripted(&[b"\x0f\0\0\0\xff\x6a\x04not allowed!"]).await;
    let seen = self::seen("mysql", server.port(), &Authority::new()).await;
    assert_eq!(reason(&seen), "protocol_error");
    assert!(
        seen.message.contains("refuses: 'not allowed!'"),
        "{}",
        seen.message
    );
}

#[tokio::test]
async fn what_is_injected_before_the_handshake_is_refused() {
    for (protocol, says) in [
        (
            "smtp",
            &[
                &b"220 hi\r\n"[..],
                b"250 STARTTLS\r\n",
                b"220 go\r\n250 injected\r\n",
            ][..],
        ),
        ("postgres", &[b"", b"SE"]),
        ("imap", &[b"* OK hi\r\n", b"a OK go\r\n* BYE injected\r\n"]),
    ] {
        let server = scripted(says).await;
        let seen = self::seen(protocol, server.port(), &Authority::new()).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "protocol_error"),
            "{protocol}: {}",
            seen.message
        );
        assert!(
            seen.message.contains("spoke on before the TLS handshake"),
            "{}",
            seen.message
        );
    }
}

#[tokio::test]
async fn a_server_that_drips_or_never_ends_a_line_is_held_to_the_deadline_and_to_a_limit() {
    let dripping = Server::raw(|mut stream| async move {
        while stream.write_all(b"2").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    let config = |port: u16, more: Value| {
        with(
            json!({ "host": "127.0.0.1", "port": port, "starttls": "smtp" }),
            more,
        )
    };
    let start = std::time::Instant::now();
    let probe = Probe::new().within(Duration::from_millis(600));
    let seen = probe.seen("tls", config(dripping.port(), json!({}))).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "response_timeout"),
        "{}",
        seen.message
    );
    assert!(start.elapsed() >= Duration::from_millis(600));
    dripping.drained().await;

    let endless =
        Server::raw(|mut stream| async move { while stream.write_all(&[b'2'; 8192]).await.is_ok() {} }).await;
    let seen = Probe::new().seen("tls", config(endless.port(), json!({}))).await;
    assert_eq!(
        (seen.status, reason(&seen)),
        (Status::Down, "protocol_error"),
        "{}",
        seen.message
    );
    endless.drained().await;
}
