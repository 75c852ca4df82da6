//! Kind `mysql`, against MariaDB; what MariaDB does not do (MySQL 8's `caching_sha2_password`) against a stand-in.

use crate::{
    starttls::is_secure,
    support::{
        Probe,
        daemon::Daemon,
        reason,
        server::{Server, closed_port},
        servers::path,
        with,
    },
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Reason, Status};
use mysql_common::auth::plugins::caching_sha2_password::scramble_sha256;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const INIT: &str = "\
CREATE DATABASE app;
CREATE TABLE app.t (n INT, s TEXT) ENGINE=InnoDB;
INSERT INTO app.t VALUES (1, 'one'), (2, NULL), (3, 'three');
CREATE USER monitor@'%' IDENTIFIED BY 'hunter2x';
GRANT ALL ON app.* TO monitor@'%';
GRANT FILE ON *.* TO monitor@'%';
CREATE USER tlsonly@'%' IDENTIFIED BY 'hunter2x' REQUIRE SSL;
GRANT SELECT ON app.* TO tlsonly@'%';
CREATE USER bare@'%';
GRANT SELECT ON app.* TO bare@'%';
";

async fn mariadb() -> Daemon {
    Daemon::start(|folder, port| {
        let install = path("mariadb-install-db");
        let own = [
            "--no-defaults",
            "--skip-test-db",
            "--auth-root-authentication-method=normal",
            "--debug-no-sync",
            "--innodb-log-file-size=4M",
        ];
        let data = format!("--datadir={}", folder.path("data").display());
        folder.run(&install, &[&own[..], &[&data]].concat());
        folder.write("init.sql", INIT);
        let server = path("mariadbd");
        let at = |name: &str| folder.path(name).display().to_string();
        let arguments = vec![
            "--no-defaults".to_owned(),
            format!("--datadir={}", at("data")),
            format!("--port={port}"),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--socket={}", at("s")),
            format!("--init-file={}", at("init.sql")),
            format!("--ssl-cert={}", at("server.pem")),
            format!("--ssl-key={}", at("server.key")),
            "--secure-file-priv=".to_owned(),
            "--max-allowed-packet=64M".to_owned(),
            "--debug-no-sync".to_owned(),
            "--innodb-log-file-size=4M".to_owned(),
        ];
        (server, arguments)
    })
    .await
}

async fn query(url: &str, more: Value) -> Observation {
    Probe::new()
        .seen("mysql", with(json!({ "connection_string": url }), more))
        .await
}

/// One server for all: it takes seconds to start.
#[tokio::test]
async fn mariadb_is_queried_its_refusals_are_told_and_tls_means_what_it_says() {
    let server = mariadb().await;
    whoever_may_log_in_may_query(&server).await;
    a_value_too_long_to_be_compared_says_nothing(&server).await;
    who_may_not_or_asks_amiss_is_told_so_and_nobody_may_write(&server).await;
    tls_means_what_it_says(&server).await;
    is_secure("mysql", server.port, &server.authority, &server.running).await;
}

async fn whoever_may_log_in_may_query(server: &Daemon) {
    // Or servers that start at the same time remove each other's temporary tables.
    let own = server.running.folder.path("").display().to_string();
    let own = own.trim_end_matches('/');
    let at = format!("127.0.0.1:{}", server.port);
    let url = format!("mysql://monitor:hunter2x@{at}/app");
    for (url, more, rows) in [
        (url.clone(), json!({}), "1"),
        (url.clone(), json!({ "query": "SELECT * FROM t" }), "3"),
        (
            url.clone(),
            json!({ "query": "SELECT * FROM t WHERE n > 9" }),
            "0",
        ),
        (
            url.clone(),
            json!({ "query": "show tables", "expected_value": "t" }),
            "1",
        ),
        (url.clone(), json!({ "query": "DESC t", "min_rows": 2 }), "2"),
        (
            url.clone(),
            json!({ "query": "SELECT @@tmpdir", "expected_value": own }),
            "1",
        ),
        (
            url.clone(),
            json!({ "query": "SELECT @@tx_read_only, 'intro' -- intoxicated" }),
            "1",
        ),
        (
            url.clone(),
            json!({ "query": "SELECT REPEAT('x', 1000000), n FROM t" }),
            "3",
        ),
        (
            url.clone(),
            json!({ "query": "SELECT seq FROM seq_1_to_1000000" }),
            "100000+",
        ),
        (
            url.clone(),
            json!({ "query": "SELECT REPEAT('x', 17000000) UNION ALL SELECT 'y'" }),
            "2",
        ),
        (format!("mysql://bare@{at}/app"), json!({}), "1"),
    ] {
        let seen = query(&url, more.clone()).await;
        assert_eq!(seen.status, Status::Up, "{more}: {}", seen.message);
        assert!(
            seen.message.starts_with("Query successful, ping: "),
            "{}",
            seen.message
        );
        assert!(
            seen.message.ends_with(&format!("ms, Rows: {rows}")),
            "{}",
            seen.message
        );
    }
}

async fn a_value_too_long_to_be_compared_says_nothing(server: &Daemon) {
    let config = json!({
        "connection_string": format!("mysql://monitor:hunter2x@127.0.0.1:{}/app", server.port),
        "query": "SELECT REPEAT('x', 17000000)", "expected_value": "x",
    });
    let error = Probe::new().run("mysql", config).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LimitHit, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("larger than 16777216 bytes, and not compared"),
        "{text}"
    );
}

async fn who_may_not_or_asks_amiss_is_told_so_and_nobody_may_write(server: &Daemon) {
    let at = format!("127.0.0.1:{}", server.port);
    let url = format!("mysql://monitor:hunter2x@{at}/app");
    for (url, more, word, part) in [
        (
            format!("mysql://monitor:wrongpass@{at}/app"),
            json!({}),
            "auth_failed",
            "MySQL query failed: failed to ping MySQL database: Error 1045 (28000): Access denied for user",
        ),
        (
            format!("mysql://bare:wrongpass@{at}/app"),
            json!({}),
            "auth_failed",
            "Error 1045 (28000)",
        ),
        (
            format!("mysql://monitor:hunter2x@{at}/mysql"),
            json!({}),
            "auth_failed",
            "Error 1044 (42000)",
        ),
        (
            url.clone(),
            json!({ "query": "SELECT nothing FROM t" }),
            "assertion_failed",
            "MySQL query failed: failed to execute query: Error 1054 (42S22)",
        ),
        (
            url.clone(),
            json!({ "query": "SELECT 1; DELETE FROM t" }),
            "assertion_failed",
            "Error 1064 (42000)",
        ),
        (
            url.clone(),
            json!({ "query": "EXPLAIN SELECT 1; DROP TABLE t" }),
            "assertion_failed",
            "Error 1064 (42000)",
        ),
        (
            url.clone(),
            json!({ "query": "SELECT s FROM t WHERE n = 2", "expected_value": "x" }),
            "assertion_failed",
            "Query returned NULL, expected == 'x'",
        ),
        (
            url.clone(),
            json!({ "query": "SELECT 3", "expected_value": "10", "value_condition": ">=" }),
            "assertion_failed",
            "Query returned '3', expected >= '10'",
        ),
    ] {
        let seen = query(&url, more).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, word),
            "{}",
            seen.message
        );
        assert!(
            seen.message.contains(part)
                && !seen.message.contains("hunter2x")
                && !seen.message.contains("wrongpass"),
            "{}",
            seen.message
        );
    }
    let seen = query(
        &url,
        json!({ "query": "SELECT count(*) FROM t", "expected_value": "3" }),
    )
    .await;
    assert_eq!(seen.status, Status::Up, "nothing was deleted: {}", seen.message);
}

async fn tls_means_what_it_says(server: &Daemon) {
    let at = format!("127.0.0.1:{}", server.port);
    let ca = server.authority.pem();
    for (user, mode, ca, tls, verdict) in [
        ("monitor", "false", "", false, ""),
        ("monitor", "preferred", "", true, ""),
        ("monitor", "skip-verify", "", true, ""),
        ("tlsonly", "skip-verify", "", true, ""),
        ("tlsonly", "false", "", false, "auth_failed"),
        ("monitor", "true", ca.as_str(), true, ""),
        ("monitor", "true", "", true, "tls_certificate"),
    ] {
        let seen = query(
            &format!("mysql://{user}:hunter2x@{at}/app?tls={mode}"),
            json!({ "tls_ca": ca }),
        )
        .await;
        assert_eq!(
            (reason(&seen), seen.tls.is_some()),
            (verdict, tls),
            "{mode}: {}",
            seen.message
        );
    }
}

#[tokio::test]
async fn an_unfit_configuration_is_told_in_peekapings_words_and_nobody_is_asked() {
    let url = format!("mysql://u:hunter2x@127.0.0.1:{}/d", closed_port().await);
    let guard = "query validation failed: only SELECT, SHOW, DESCRIBE, and EXPLAIN statements are allowed for monitoring queries";
    let into = "query validation failed: SELECT ... INTO writes: the word INTO is not allowed in monitoring queries, not even in quotes";
    for (config, text) in [
        (
            json!({ "connection_string": " " }),
            "connection string validation failed: connection string cannot be empty",
        ),
        (
            json!({ "connection_string": "postgres://u:hunter2x@h/d" }),
            "connection string validation failed: connection string must use mysql:// scheme, got: postgres",
        ),
        (
            json!({ "connection_string": "mysql://u:hunter2x@/d" }),
            "connection string validation failed: connection string must include host",
        ),
        (
            json!({ "connection_string": "mysql://h/d" }),
            "connection string validation failed: connection string must include username",
        ),
        (
            json!({ "connection_string": "mysql://u:hunter2x@h" }),
            "connection string validation failed: connection string must include database name",
        ),
        (
            json!({ "connection_string": "mysql://u:hunter2x@h:0/d" }),
            "connection string validation failed: invalid port: 0",
        ),
        (
            json!({ "connection_string": url, "query": "DELETE FROM t" }),
            guard,
        ),
        (
            json!({ "connection_string": url, "query": "/*! DELETE FROM t */" }),
            guard,
        ),
        (
            json!({ "connection_string": url, "query": "SELECT 1 INTO OUTFILE '/tmp/x'" }),
            into,
        ),
        (
            json!({ "connection_string": url, "query": "SELECT 1 --1 INTO OUTFILE '/tmp/x'" }),
            into,
        ),
        (
            json!({ "connection_string": url, "query": "SELECT '\\'' INTO OUTFILE '/tmp/x' -- '" }),
            into,
        ),
    ] {
        let error = Probe::new().run("mysql", config).await.unwrap_err();
        assert_eq!(error, CheckError::InvalidConfig(text.to_owned()));
    }
}

const SCRAMBLE: &[u8; 20] = b"abcdefghijklmnopqrst";

fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let [a, b, c, _] = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&[a, b, c, sequence], payload].concat()
}

async fn heard(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.unwrap();
    let mut payload = vec![0; u32::from_le_bytes([head[0], head[1], head[2], 0]) as usize];
    stream.read_exact(&mut payload).await.unwrap();
    payload
}

/// MySQL 8 as its documentation has it: greets with `caching_sha2_password`, knows the password's hash already.
async fn mysql8() -> Server {
    Server::raw(|mut stream| async move {
        let mut hello = vec![10];
        hello.extend_from_slice(b"8.4.0\0\x01\0\0\0abcdefgh\0\xff\xf7\x2d\x02\0\xff\xdf\x15");
        hello.extend_from_slice(&[0; 10]);
        hello.extend_from_slice(b"ijklmnopqrst\0caching_sha2_password\0");
        stream.write_all(&packet(0, &hello)).await.unwrap();
        let response = heard(&mut stream).await;
        let proof = scramble_sha256(SCRAMBLE, b"hunter2x").unwrap();
        let knows = response.windows(32).any(|window| window == proof);
        assert!(response.ends_with(b"app\0caching_sha2_password\0"));
        if !knows {
            let told = b"\xff\x15\x04#28000Access denied; hunter3x is not it";
            stream.write_all(&packet(2, told)).await.unwrap();
            return;
        }
        stream.write_all(&packet(2, &[1, 3])).await.unwrap();
        stream
            .write_all(&packet(3, &[0, 0, 0, 2, 0, 0, 0]))
            .await
            .unwrap();
        assert_eq!(heard(&mut stream).await, b"\x03START TRANSACTION READ ONLY");
        stream
            .write_all(&packet(1, &[0, 0, 0, 3, 0, 0, 0]))
            .await
            .unwrap();
        assert_eq!(heard(&mut stream).await, b"\x03SELECT 1");
        let end = [0xFE, 0, 0, 3, 0];
        for (sequence, payload) in [
            (1, &[1][..]),
            (2, b"column"),
            (3, &end),
            (4, b"\x0242"),
            (5, &end),
        ] {
            stream.write_all(&packet(sequence, payload)).await.unwrap();
        }
        assert_eq!(heard(&mut stream).await, [1], "says goodbye");
    })
    .await
}

#[tokio::test]
async fn a_password_hash_that_mysql_8_knows_is_enough_and_what_it_repeats_is_not_told_on() {
    let server = mysql8().await;
    let url = |password: &str| format!("mysql://monitor:{password}@{}/app", server.address);
    let seen = query(&url("hunter2x"), json!({ "expected_value": "42" })).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    let seen = query(&url("hunter3x"), json!({})).await;
    assert_eq!(
        (reason(&seen), seen.message.as_str()),
        (
            "auth_failed",
            "MySQL query failed: failed to ping MySQL database: Error 1045 (28000): Access denied; *** is not it"
        )
    );
    server.drained().await;
}
