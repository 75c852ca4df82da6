//! The harness against real servers: what a plugin's author sees of a check in `cargo test`.

#![expect(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

use lapwing_plugin_sdk::{
    Checker, Context, Failure, Outcome, Status,
    harness::{self, CheckError, Host, Reply, TlsInfo},
    http::Request,
    log,
    net::{Fault, TlsOptions},
    state,
    tcp::Connection,
    udp::Socket,
};
use serde::Deserialize;
use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, UdpSocket},
    thread,
    time::Duration,
};

#[derive(Deserialize, schemars::JsonSchema)]
struct Config {
    port: u16,
    #[serde(default)]
    tls: bool,
}

/// Says a word and expects it back; counts its runs.
struct Echo;

impl Checker for Echo {
    const KIND: &'static str = "echo";
    const TITLE: &'static str = "Echo";
    const SUMMARY: &'static str = "Echo";
    const EXAMPLE: &'static str = r#"{"port":7}"#;
    type Config = Config;

    fn check(config: Config, cx: &Context) -> Result<Outcome, Failure> {
        let mut connection = Connection::connect("127.0.0.1", config.port)?;
        if config.tls {
            connection.start_tls(TlsOptions::default())?;
        }
        connection.write_all(b"word\n")?;
        let said = connection.read_line(64)?;
        let runs = state::get("runs").ok().flatten().map_or(0, |bytes| bytes.len()) + 1;
        state::set("runs", &vec![b'.'; runs], None).map_err(|_| Failure::internal("no state"))?;
        log::info!("{said}, {:?} before", cx.previous);
        Ok(Outcome::up(said))
    }
}

/// Judges the text of a page.
struct Page;

#[derive(Deserialize, schemars::JsonSchema)]
struct PageConfig {
    bytes: u32,
}

impl Checker for Page {
    const KIND: &'static str = "page";
    const TITLE: &'static str = "Page";
    const SUMMARY: &'static str = "Page";
    const EXAMPLE: &'static str = r#"{"bytes":7}"#;
    type Config = PageConfig;

    fn check(config: PageConfig, _: &Context) -> Result<Outcome, Failure> {
        let page = Request::new("GET", "http://page.test/").max_body_bytes(config.bytes);
        let answer: Vec<u32> = page.send()?.json()?;
        Ok(Outcome::up(format!("{answer:?}")))
    }
}

#[test]
fn a_body_that_was_cut_says_nothing_of_the_target() {
    let host = Host::new().http(|_| Ok(Reply::new(200, "[1,2,3]")));
    let whole = harness::check::<Page>(r#"{"bytes":7}"#, &host).unwrap();
    assert_eq!(whole.status, Status::Up);
    let cut = harness::check::<Page>(r#"{"bytes":6}"#, &host);
    assert!(
        matches!(&cut, Err(CheckError::Internal(why)) if why.contains("max_body_bytes")),
        "{cut:?}"
    );
}

/// Repeats the first line of each connection.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            stream.write_all(line.as_bytes()).unwrap();
        }
    });
    port
}

#[test]
fn a_check_probes_a_real_server_and_leaves_state_and_lines() {
    let (host, config) = (
        Host::new().previous(Status::Down),
        format!(r#"{{"port":{}}}"#, echo()),
    );
    for runs in 1..=2 {
        let outcome = harness::check::<Echo>(&config, &host).unwrap();
        assert_eq!((outcome.status, outcome.message.as_str()), (Status::Up, "word"));
        assert_eq!(host.state("runs").unwrap().len(), runs);
    }
    assert_eq!(host.lines()[0], "info: word, Some(Status::Down) before");
    assert!(
        host.calls()[0].starts_with("tcp 127.0.0.1:"),
        "{:?}",
        host.calls()
    );
}

#[test]
fn tls_is_what_the_test_says_of_it() {
    let config = format!(r#"{{"port":{},"tls":true}}"#, echo());
    let session = |verified| TlsInfo {
        protocol: "TLSv1.3".into(),
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        alpn: None,
        server_name: None,
        verified,
        verify_error: None,
        chain: Vec::new(),
    };
    let host = Host::new().tls(move |_| Ok(session(true)));
    assert_eq!(harness::check::<Echo>(&config, &host).unwrap().status, Status::Up);
    let expired = || Fault::Tls("certificate not accepted: expired".into());
    let outcome = harness::check::<Echo>(&config, &Host::new().tls(move |_| Err(expired()))).unwrap();
    assert_eq!(outcome.reason.as_deref(), Some("tls_certificate"));
}

#[test]
fn a_denied_target_and_an_unscripted_call_are_no_verdict() {
    let port = echo();
    let config = format!(r#"{{"port":{port}}}"#);
    let denied = harness::check::<Echo>(&config, &Host::new().deny(&format!("127.0.0.1:{port}")));
    assert!(matches!(denied, Err(CheckError::Denied(_))), "{denied:?}");
    let unscripted = harness::check::<Echo>(&format!(r#"{{"port":{port},"tls":true}}"#), &Host::new());
    assert!(matches!(unscripted, Err(CheckError::Denied(_))), "{unscripted:?}");
}

#[test]
fn a_closed_port_is_down_and_a_silent_server_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = format!(r#"{{"port":{}}}"#, listener.local_addr().unwrap().port());
    let host = Host::new().budget(Duration::from_millis(200));
    let silent = harness::check::<Echo>(&config, &host).unwrap();
    assert_eq!(silent.reason.as_deref(), Some("response_timeout"), "{silent:?}");
    drop(listener);
    let closed = harness::check::<Echo>(&config, &Host::new()).unwrap();
    assert_eq!(closed.reason.as_deref(), Some("connection_refused"));
}

/// Sends a datagram and expects it back.
struct Ping;

impl Checker for Ping {
    const KIND: &'static str = "ping-udp";
    const TITLE: &'static str = "Ping";
    const SUMMARY: &'static str = "Ping";
    const EXAMPLE: &'static str = r#"{"port":7}"#;
    type Config = Config;

    fn check(config: Config, _: &Context) -> Result<Outcome, Failure> {
        let socket = Socket::open("127.0.0.1", config.port)?;
        socket.send(b"ping")?;
        Ok(Outcome::up(String::from_utf8_lossy(&socket.receive(64)?)))
    }
}

#[test]
fn datagrams_go_to_a_real_peer() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = peer.local_addr().unwrap().port();
    thread::spawn(move || {
        let mut datagram = [0; 64];
        let (length, from) = peer.recv_from(&mut datagram).unwrap();
        peer.send_to(&datagram[..length], from).unwrap();
    });
    let outcome = harness::check::<Ping>(&format!(r#"{{"port":{port}}}"#), &Host::new()).unwrap();
    assert_eq!(outcome.message, "ping");
}
