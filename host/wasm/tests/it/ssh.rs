//! The plugin `ssh` against OpenSSH's server, a man in the middle, and servers that are none.

use crate::{
    servers::{Folder, Server, accepts, fake, free_port, plugin, program, said},
    support::{Bench, PLENTY, unknown},
};
use lapwing_model::{Observation, Reason, Status};
use std::{fmt::Write, path::Path};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::TcpStream,
};

const KEYS: [(&str, &str); 3] = [
    ("ed25519", "ssh-ed25519"),
    ("ecdsa", "ecdsa-sha2-nistp256"),
    ("rsa", "ssh-rsa"),
];

/// OpenSSH's server with a host key of each kind, and these further lines of configuration.
async fn sshd(further: &str) -> Server {
    let (folder, port) = (Folder::new(), free_port().await);
    let mut config = format!("Port {port}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM no\n{further}\n");
    for (kind, _) in KEYS {
        let key = folder.path(kind);
        said(
            program("ssh-keygen")
                .args(["-q", "-t", kind, "-N", "", "-f"])
                .arg(&key),
        );
        writeln!(config, "HostKey {}", key.display()).unwrap();
    }
    let file = folder.write("sshd_config", config);
    let mut command = program("sshd");
    command.args(["-D", "-e", "-f"]).arg(file);
    folder.start(port, command, accepts).await
}

/// The fingerprint that `ssh-keygen` prints for a key file.
fn fingerprint(key: &Path) -> String {
    let line = said(program("ssh-keygen").arg("-lf").arg(key));
    line.split(' ').nth(1).unwrap().to_owned()
}

async fn check(bench: &Bench, port: u16, rest: &str) -> Observation {
    let config = format!(r#"{{"host":"127.0.0.1","port":{port}{rest}}}"#);
    bench.run(&config, PLENTY).await.unwrap()
}

fn attribute<'a>(seen: &'a Observation, name: &str) -> &'a str {
    seen.attributes[name].as_str().unwrap()
}

fn verdict(seen: &Observation) -> (Status, &str) {
    (seen.status, seen.reason.as_ref().map_or("", Reason::as_str))
}

#[tokio::test]
async fn openssh_proves_a_host_key_of_every_kind() {
    let (server, bench) = (sshd("").await, plugin("ssh").await);
    for (kind, name) in KEYS {
        let expected = fingerprint(&server.folder.path(kind));
        let rest = format!(r#","host_key_type":"{kind}","host_key_sha256":["{expected}"]"#);
        let seen = check(&bench, server.port, &rest).await;
        assert_eq!(seen.status, Status::Up, "{seen:?}\n{}", server.log());
        assert_eq!(attribute(&seen, "ssh.host_key_sha256"), expected);
        assert_eq!(attribute(&seen, "ssh.host_key_type"), name);
        assert_eq!(attribute(&seen, "ssh.protocol"), "2.0");
        assert!(attribute(&seen, "ssh.software").starts_with("OpenSSH_"));
        assert!(attribute(&seen, "ssh.kex_algorithms").contains("curve25519-sha256"));
        assert!(seen.message.contains(&expected), "{}", seen.message);
        assert!(seen.latency.is_some());
    }
}

#[tokio::test]
async fn another_host_key_than_expected_is_down() {
    let (server, bench) = (sshd("").await, plugin("ssh").await);
    let other = fingerprint(&server.folder.path("rsa"));
    let rest = format!(r#","host_key_sha256":["{other}"]"#);
    let seen = check(&bench, server.port, &rest).await;
    assert_eq!(verdict(&seen), (Status::Down, "ssh_host_key_mismatch"));
    assert_eq!(
        attribute(&seen, "ssh.host_key_sha256"),
        fingerprint(&server.folder.path("ed25519"))
    );
}

#[tokio::test]
async fn both_key_exchanges_work() {
    let bench = plugin("ssh").await;
    for exchange in ["curve25519-sha256", "ecdh-sha2-nistp256"] {
        let server = sshd(&format!("KexAlgorithms {exchange}")).await;
        let seen = check(&bench, server.port, "").await;
        assert_eq!(seen.status, Status::Up, "{seen:?}");
        assert_eq!(attribute(&seen, "ssh.kex"), exchange);
    }
}

#[tokio::test]
async fn a_key_exchange_we_do_not_know_is_not_the_servers_fault() {
    let bench = plugin("ssh").await;
    let server = sshd("KexAlgorithms diffie-hellman-group14-sha256").await;
    let seen = check(&bench, server.port, "").await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert!(
        seen.message.contains("diffie-hellman-group14-sha256"),
        "{}",
        seen.message
    );

    let expected = fingerprint(&server.folder.path("ed25519"));
    let port = server.port;
    let config = format!(r#"{{"host":"127.0.0.1","port":{port},"host_key_sha256":["{expected}"]}}"#);
    let (reason, message) = unknown(bench.run(&config, PLENTY).await);
    assert_eq!(reason, Reason::PluginError);
    assert!(message.contains("cannot be seen"), "{message}");
}

#[tokio::test]
async fn old_software_and_weak_algorithms_are_degraded() {
    let (server, bench) = (sshd("Ciphers +3des-cbc").await, plugin("ssh").await);
    let seen = check(&bench, server.port, r#","min_version":"999.1""#).await;
    assert_eq!(verdict(&seen), (Status::Degraded, "ssh_outdated"));
    let seen = check(&bench, server.port, r#","unwanted_algorithms":["3des-cbc"]"#).await;
    assert_eq!(verdict(&seen), (Status::Degraded, "ssh_weak_algorithms"));
    let fine = r#","min_version":"7.0","unwanted_algorithms":["diffie-hellman-group1-sha1"]"#;
    assert_eq!(check(&bench, server.port, fine).await.status, Status::Up);
}

#[tokio::test]
async fn a_version_changed_on_the_way_unproves_the_host_key() {
    let (server, bench) = (sshd("").await, plugin("ssh").await);
    let real = server.port;
    let port = fake(move |mut client| async move {
        let mut server = BufReader::new(TcpStream::connect(("127.0.0.1", real)).await.unwrap());
        let mut version = String::new();
        server.read_line(&mut version).await.unwrap();
        client
            .write_all(version.replace("SSH-2.0-", "SSH-1.99-").as_bytes())
            .await
            .unwrap();
        let _ = copy_bidirectional(&mut client, &mut server).await;
    })
    .await;
    let seen = check(&bench, port, "").await;
    assert_eq!(
        verdict(&seen),
        (Status::Down, "ssh_host_key_unproven"),
        "{seen:?}"
    );
    let seen = check(&bench, port, r#","until":"version""#).await;
    assert_eq!(
        seen.status,
        Status::Up,
        "without the key exchange nobody can know"
    );
}

/// A server that sends `bytes` and keeps listening until the client leaves.
async fn saying(bytes: &'static [u8], then_close: bool) -> u16 {
    fake(move |mut stream| async move {
        stream.write_all(bytes).await.unwrap();
        if then_close {
            stream.shutdown().await.unwrap();
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await
}

#[tokio::test]
async fn servers_that_are_none_are_down_with_their_own_words() {
    let bench = plugin("ssh").await;
    let endless: &'static [u8] = Box::leak(b"motd\r\n".repeat(100).into_boxed_slice());
    let long: &'static [u8] = Box::leak(
        [b"SSH-2.0-", &b"x".repeat(300)[..], b"\r\n"]
            .concat()
            .into_boxed_slice(),
    );
    for (bytes, then_close, reason, part) in [
        (
            &b"Not allowed at this time\r\n"[..],
            true,
            "connection_closed",
            "`Not allowed at this time`",
        ),
        (b"", true, "connection_closed", "SSH version"),
        (endless, false, "protocol_error", "`motd`"),
        (long, false, "protocol_error", "255 bytes"),
        (
            b"SSH-2.0-x\r\nHTTP/1.1 400 Bad Request\r\n",
            false,
            "protocol_error",
            "impossible length",
        ),
        (b"SSH-1.5-old\r\n", false, "version_mismatch", "1.5"),
        (
            b"SSH-2.0-x\r\n\0\0\0\x14\x05\x01\0\0\0\x02\0\0\0\x05later\0\0\0\0\0",
            false,
            "ssh_disconnected",
            "later (code 2)",
        ),
        (
            b"SSH-2.0-x\r\n\0\0\0\x0c\x0a\x14\0\0\0\0\0\0\0\0\0\0",
            false,
            "protocol_error",
            "ends too early",
        ),
    ] {
        let seen = check(&bench, saying(bytes, then_close).await, "").await;
        assert_eq!(verdict(&seen), (Status::Down, reason), "{seen:?}");
        assert!(seen.message.contains(part), "{}", seen.message);
    }
}

#[tokio::test]
async fn lines_before_the_version_are_passed_over_and_shown() {
    let bench = plugin("ssh").await;
    let port = saying(b"Welcome\r\n\r\nSSH-2.0-x_1.0 hello\r\n", false).await;
    let seen = check(&bench, port, r#","until":"version","version_contains":"hello""#).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert_eq!(attribute(&seen, "ssh.preface"), "Welcome");
    assert_eq!(attribute(&seen, "ssh.comments"), "hello");
}
