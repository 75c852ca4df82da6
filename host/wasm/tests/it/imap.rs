//! The plugin `imap` against Dovecot, and against servers that cheat or break off.

use crate::{
    servers::{Folder, Server, accepts, as_nobody, fake, free_port, plugin, program, said},
    support::{Bench, PLENTY, unknown},
};
use lapwing_model::{Observation, Reason, Status};
use rcgen::generate_simple_self_signed;
use std::fs;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

const PASSWORD: &str = r#"pa ss"\wörd"#;

/// Dovecot with one user and two messages, one of them seen.
struct Dovecot {
    server: Server,
    tls_port: u16,
}

async fn dovecot(further: &str) -> Dovecot {
    let (folder, port, tls_port) = (Folder::new(), free_port().await, free_port().await);
    let made = generate_simple_self_signed(vec!["mail.test".into()]).unwrap();
    let certificate = folder.write("cert.pem", made.cert.pem());
    let key = folder.write("key.pem", made.signing_key.serialize_pem());
    let users = folder.write("users", format!("probe:{{PLAIN}}{PASSWORD}\n"));
    let root = users.parent().unwrap().to_owned();
    let (user, group) = (
        said(as_nobody(program("id").arg("-un"))),
        said(as_nobody(program("id").arg("-gn"))),
    );
    let config = format!(
        "base_dir = {root}/run
state_dir = {root}/run
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 1
first_valid_gid = 1
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}
auth_mechanisms = plain login
mail_location = maildir:{root}/mail
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {users}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={root}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
    ssl = yes
  }}
}}
{further}
",
        root = root.display(),
        certificate = certificate.display(),
        key = key.display(),
        users = users.display(),
    );
    let file = folder.write("dovecot.conf", config);
    // It makes its mailboxes itself; the messages are put in by its own tool.
    let mut command = program("dovecot");
    command.arg("-F").arg("-c").arg(&file);
    let server = folder.start(port, command, accepts).await;
    for number in 1..=2 {
        let message = server.folder.write("message", format!("Subject: {number}\n\nHello\n"));
        let mut save = program("doveadm");
        save.arg("-c").arg(&file).args(["save", "-u", "probe", "-m", "INBOX"]);
        said(as_nobody(save.stdin(fs::File::open(message).unwrap())));
    }
    let mut seen = program("doveadm");
    seen.arg("-c").arg(&file).args(["flags", "add", "-u", "probe", "\\Seen", "mailbox", "INBOX", "1"]);
    said(as_nobody(&mut seen));
    let mut more = program("doveadm");
    more.arg("-c").arg(&file).args(["mailbox", "create", "-u", "probe", "Entwürfe (alt)"]);
    said(as_nobody(&mut more));
    Dovecot { server, tls_port }
}

async fn check(bench: &Bench, port: u16, rest: &str) -> Observation {
    bench.run(&config(port, rest), PLENTY).await.unwrap()
}

fn config(port: u16, rest: &str) -> String {
    format!(r#"{{"host":"127.0.0.1","port":{port},"server_name":"mail.test"{rest}}}"#)
}

fn login(rest: &str) -> String {
    let password = serde_json::to_string(PASSWORD).unwrap();
    format!(r#","ignore_tls_errors":true,"username":"probe","password":{password}{rest}"#)
}

fn verdict(seen: &Observation) -> (Status, &str) {
    (seen.status, seen.reason.as_ref().map_or("", Reason::as_str))
}

fn metric(seen: &Observation, name: &str) -> f64 {
    seen.metrics.iter().find(|metric| metric.name == name).unwrap().value
}

#[tokio::test]
async fn dovecot_lets_us_in_by_every_way() {
    let (dovecot, bench) = (dovecot("").await, plugin("imap").await);
    for (port, tls) in [
        (dovecot.tls_port, "implicit"),
        (dovecot.server.port, "starttls"),
    ] {
        for auth in ["auto", "plain", "login"] {
            let rest = format!(r#","tls":"{tls}","auth":"{auth}","mailbox":"INBOX","capabilities":["idle"]"#);
            let seen = check(&bench, port, &login(&rest)).await;
            assert_eq!(seen.status, Status::Up, "{seen:?}\n{}", dovecot.server.log());
            assert_eq!((metric(&seen, "messages"), metric(&seen, "unseen")), (2.0, 1.0));
            assert_eq!(seen.attributes["imap.logged_in"], true);
            assert_eq!(seen.tls.unwrap().chain[0].dns_names, ["mail.test"]);
        }
    }
    assert!(!dovecot.server.log().contains("Connection closed"), "without a LOGOUT: {}", dovecot.server.log());
}

#[tokio::test]
async fn a_mailbox_past_its_limits_is_degraded() {
    let (dovecot, bench) = (dovecot("").await, plugin("imap").await);
    for (rest, expected) in [
        (r#","mailbox":"INBOX","max_messages":1"#, (Status::Degraded, "imap_messages")),
        (r#","mailbox":"INBOX","max_unseen":0"#, (Status::Degraded, "imap_unseen")),
        (r#","mailbox":"INBOX","max_messages":2,"max_unseen":1"#, (Status::Up, "")),
        (r#","mailbox":"Entwürfe (alt)","max_messages":0"#, (Status::Up, "")),
        (r#","mailbox":"Sent""#, (Status::Down, "imap_mailbox_refused")),
    ] {
        let seen = check(&bench, dovecot.tls_port, &login(rest)).await;
        assert_eq!(verdict(&seen), expected, "{seen:?}");
    }
}

#[tokio::test]
async fn a_refused_login_is_down() {
    let (dovecot, bench) = (dovecot("auth_failure_delay = 0").await, plugin("imap").await);
    for auth in ["plain", "login"] {
        let rest = format!(r#","ignore_tls_errors":true,"auth":"{auth}","username":"probe","password":"wröng""#);
        let seen = check(&bench, dovecot.tls_port, &rest).await;
        assert_eq!(verdict(&seen), (Status::Down, "auth_failed"), "{seen:?}");
        assert!(!seen.message.contains("wröng"));
    }
}

#[tokio::test]
async fn a_certificate_of_nobody_is_down_before_any_password() {
    let (dovecot, bench) = (dovecot("").await, plugin("imap").await);
    let rest = login("").replace(r#""ignore_tls_errors":true,"#, "");
    let seen = check(&bench, dovecot.tls_port, &rest).await;
    assert_eq!(verdict(&seen), (Status::Down, "tls_certificate"), "{seen:?}");
    assert!(!dovecot.server.log().contains("Login: "));
}

#[tokio::test]
async fn a_password_is_not_sent_in_the_clear_unless_that_is_wanted() {
    // Dovecot announces LOGINDISABLED to all but its own machine's addresses; `ssl = required` makes it do so here.
    let (dovecot, bench) = (dovecot("ssl = required").await, plugin("imap").await);
    let port = dovecot.server.port;
    let (reason, message) = unknown(bench.run(&config(port, &login(r#","tls":"off""#)), PLENTY).await);
    assert_eq!(reason, Reason::InvalidConfig);
    assert!(message.contains("allow_plaintext_login"), "{message}");

    let wanted = login(r#","tls":"off","auth":"login","allow_plaintext_login":true"#);
    let seen = check(&bench, port, &wanted).await;
    assert_eq!(verdict(&seen), (Status::Down, "imap_login_disabled"), "{seen:?}");

    let seen = check(&bench, port, r#","tls":"off","capabilities":["STARTTLS"]"#).await;
    assert_eq!(seen.status, Status::Up, "without a login there is nothing to protect: {seen:?}");
}

/// A server that greets so, and answers each command that begins so (behind its tag, which `$` stands for).
async fn scripted(greeting: &'static str, script: &'static [(&'static str, &'static str)]) -> u16 {
    fake(move |stream: TcpStream| async move {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        let mut answer = greeting.to_owned();
        while stream.write_all(answer.as_bytes()).await.is_ok() {
            line.clear();
            if !stream.read_line(&mut line).await.is_ok_and(|length| length > 0) {
                return;
            }
            let (tag, command) = line.split_once(' ').unwrap_or(("", &line));
            answer = script
                .iter()
                .find(|(begin, _)| command.starts_with(begin))
                .map_or(format!("{tag} BAD what?\r\n"), |(_, answer)| answer.replace('$', tag));
        }
    })
    .await
}

#[tokio::test]
async fn servers_that_cheat_get_no_password() {
    let bench = plugin("imap").await;
    for (greeting, script, reason, part) in [
        ("* BYE [UNAVAILABLE] full\r\n", &[][..], "imap_unavailable", "BYE [UNAVAILABLE] full"),
        ("+OK POP3 ready\r\n", &[], "protocol_error", "+OK POP3"),
        ("* 5 EXISTS\r\n", &[], "protocol_error", "greeting"),
        ("* OK [CAPABILITY IMAP4rev1] hi\r\n", &[], "starttls_missing", "announce"),
        ("* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", &[], "starttls_missing", "PREAUTH"),
        (
            "* OK hi\r\n",
            &[("CAPABILITY", "* CAPABILITY STARTTLS\r\n$ OK\r\n"), ("STARTTLS", "$ NO not now\r\n")],
            "tls_failed",
            "not now",
        ),
        (
            // Bytes behind the OK would pass for encrypted ones (CVE-2011-0411).
            "* OK [CAPABILITY STARTTLS] hi\r\n",
            &[("STARTTLS", "$ OK go\r\n* CAPABILITY AUTH=PLAIN\r\n")],
            "protocol_error",
            "unread bytes",
        ),
        ("* OK [CAPABILITY STARTTLS] hi\r\n", &[("STARTTLS", "* BYE gone\r\n")], "connection_closed", "BYE gone"),
        ("* OK hi\r\n", &[("CAPABILITY", "L9 OK\r\n")], "protocol_error", "nothing was asked"),
        ("* OK hi\r\n", &[("CAPABILITY", "* X {4000000000}\r\n")], "protocol_error", "4000000000"),
        ("* OK hi\r\n", &[("CAPABILITY", "$ OK\r\n")], "protocol_error", "CAPABILITY"),
    ] {
        let port = scripted(greeting, script).await;
        let seen = check(&bench, port, &login(r#","tls":"starttls""#)).await;
        assert_eq!(verdict(&seen), (Status::Down, reason), "{seen:?}");
        assert!(seen.message.contains(part), "{}", seen.message);
    }
}

#[tokio::test]
async fn a_server_that_speaks_in_literals_is_understood() {
    let bench = plugin("imap").await;
    let port = scripted(
        "* OK [CAPABILITY IMAP4rev1] hi {5}\r\n",
        &[
            ("LOGIN \"probe\" {12}", "+ go on\r\n"),
            ("ss\"", "L1 OK in\r\n"),
            ("STATUS", "* STATUS {7}\r\nIN (BOX (UNSEEN 3 MESSAGES 4)\r\n$ OK\r\n"),
            ("LOGOUT", "* BYE bye\r\n$ OK\r\n"),
        ],
    )
    .await;
    let rest = login(r#","tls":"off","allow_plaintext_login":true,"mailbox":"IN (BOX""#);
    let seen = check(&bench, port, &rest).await;
    assert_eq!(seen.status, Status::Up, "{seen:?}");
    assert_eq!((metric(&seen, "messages"), metric(&seen, "unseen")), (4.0, 3.0));
}
