//! Kind `postgres`, against PostgreSQL.

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
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const HBA: &str = "\
hostnossl all tlsonly all reject
hostssl all tlsonly all scram-sha-256
host all hashed all md5
host all clear all password
host all all all scram-sha-256
";

async fn postgres() -> Daemon {
    Daemon::start(|folder, port| {
        let server = path("postgres");
        folder.write("password", "hunter2x");
        let initdb = path("initdb");
        let own = ["-D", "data", "-U", "monitor", "--pwfile=password", "-A", "scram-sha-256", "-E", "UTF8"];
        folder.run(&initdb, &[&own[..], &["--no-sync", "--locale=C"]].concat());
        folder.write("data/pg_hba.conf", HBA);
        let users = "CREATE ROLE tlsonly LOGIN PASSWORD 'hunter2x'; CREATE ROLE clear LOGIN PASSWORD 'hunter2x'; SET password_encryption = 'md5'; CREATE ROLE hashed LOGIN PASSWORD 'hunter2x'; SET password_encryption = 'scram-sha-256'; CREATE ROLE soft LOGIN PASSWORD E'p\\u00AAss \\u2168'; CREATE TABLE t (n int, s text); INSERT INTO t SELECT i, 'row ' || i FROM generate_series(1, 5) i; GRANT ALL ON t TO PUBLIC;\n";
        folder.write("users.sql", users);
        folder.run("/bin/sh".as_ref(), &["-c", &format!("'{}' --single -D data postgres < users.sql", server.display())]);
        let port = port.to_string();
        let arguments = [
            "-D", "data", "-p", &port, "-k", ".", "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "ssl=on",
            "-c", "ssl_cert_file=../server.pem", "-c", "ssl_key_file=../server.key",
        ];
        (server, arguments.map(str::to_owned).to_vec())
    })
    .await
}

async fn query(url: &str, more: Value) -> Observation {
    let config = with(json!({ "database_connection_string": url }), more);
    Probe::new().seen("postgres", config).await
}

async fn ready(server: &Daemon) -> String {
    let at = format!("127.0.0.1:{}", server.port);
    while query(&format!("postgres://monitor:hunter2x@{at}/postgres"), json!({}))
        .await
        .message
        .contains("57P03")
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    at
}

/// One server for all: it takes seconds to start.
#[tokio::test]
async fn postgresql_is_queried_its_refusals_are_told_and_sslmode_means_what_it_says() {
    let server = postgres().await;
    let at = ready(&server).await;
    whoever_may_log_in_may_query_and_nobody_may_write(&at).await;
    a_result_is_held_against_what_is_expected_and_an_endless_one_is_not_read(&at).await;
    sslmode_means_what_it_says(&at, &server.authority.pem()).await;
    what_is_long_is_no_fault_of_the_servers(&at).await;
    is_secure("postgres", server.port, &server.authority, &server.running).await;
}

async fn whoever_may_log_in_may_query_and_nobody_may_write(at: &str) {
    for user in [
        "monitor:hunter2x",
        "hashed:hunter2x",
        "clear:hunter2x",
        "soft:pass%20IX",
    ] {
        let seen = query(&format!("postgres://{user}@{at}/postgres"), json!({})).await;
        assert_eq!(seen.status, Status::Up, "{user}: {}", seen.message);
        assert!(
            seen.message.starts_with("Query successful, ping: ") && seen.message.ends_with("ms"),
            "{}",
            seen.message
        );
    }
    for user in [
        "monitor:hunter3x",
        "hashed:hunter3x",
        "clear:hunter3x",
        "nobody:hunter3x",
        "tlsonly:hunter3x",
    ] {
        let seen = query(&format!("postgres://{user}@{at}/postgres"), json!({})).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "auth_failed"),
            "{user}: {}",
            seen.message
        );
        assert!(
            seen.message.starts_with("connection failed: FATAL: ") && seen.message.contains("(SQLSTATE=28"),
            "{}",
            seen.message
        );
        assert!(!seen.message.contains("hunter3x"), "{}", seen.message);
    }
    let url = format!("postgres://monitor:hunter2x@{at}/postgres");
    for (statement, part) in [
        (
            "WITH gone AS (DELETE FROM t RETURNING n) SELECT count(*) FROM gone",
            "read-only transaction (SQLSTATE=25006)",
        ),
        (
            "SELECT 1; COMMIT; DELETE FROM t",
            "cannot insert multiple commands",
        ),
        ("SELECT nothing", "SQLSTATE=42703"),
        ("SELECT 1/0", "division by zero"),
    ] {
        let seen = query(&url, json!({ "database_query": statement })).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "assertion_failed"),
            "{}",
            seen.message
        );
        assert!(
            seen.message.starts_with("Query failed: ERROR: ") && seen.message.contains(part),
            "{}",
            seen.message
        );
    }
    let seen = query(
        &url,
        json!({ "database_query": "SELECT count(*) FROM t", "expected_value": "5" }),
    )
    .await;
    assert_eq!(seen.status, Status::Up, "nothing was deleted: {}", seen.message);
    let seen = query(&format!("postgres://monitor:hunter2x@{at}/absent"), json!({})).await;
    assert_eq!(reason(&seen), "assertion_failed");
    assert!(
        seen.message
            .contains("database \"absent\" does not exist (SQLSTATE=3D000)"),
        "{}",
        seen.message
    );
}

async fn a_result_is_held_against_what_is_expected_and_an_endless_one_is_not_read(at: &str) {
    let url = format!("postgres://monitor:hunter2x@{at}/postgres");
    for (more, verdict) in [
        (
            json!({ "database_query": "SELECT n, s FROM t ORDER BY n", "expected_value": "1" }),
            Ok(()),
        ),
        (
            json!({ "database_query": "SELECT n FROM t", "min_rows": 5 }),
            Ok(()),
        ),
        (
            json!({ "database_query": "SELECT n FROM t", "min_rows": 6 }),
            Err("Query returned 5 rows, expected at least 6"),
        ),
        (
            json!({ "database_query": "SELECT 7", "expected_value": "5", "value_condition": "<" }),
            Err("Query returned '7', expected < '5'"),
        ),
        (
            json!({ "database_query": "SELECT NULL", "expected_value": "5" }),
            Err("Query returned NULL, expected == '5'"),
        ),
        (
            json!({ "database_query": "SELECT n FROM t WHERE n > 9", "expected_value": "5" }),
            Err("Query returned no row, expected == '5'"),
        ),
        (json!({ "database_query": "SELECT n FROM t WHERE n > 9" }), Ok(())),
        (
            json!({ "database_query": "VALUES (true)", "expected_value": "t" }),
            Ok(()),
        ),
        (
            json!({ "database_query": "SHOW server_encoding", "expected_value": "UTF8" }),
            Ok(()),
        ),
        (json!({ "database_query": "EXPLAIN SELECT 1" }), Ok(())),
        (
            json!({ "database_query": "SELECT generate_series(1, 1000000000000)" }),
            Ok(()),
        ),
        (json!({ "database_query": "" }), Ok(())),
    ] {
        let seen = query(&url, more.clone()).await;
        match verdict {
            Ok(()) => assert_eq!(seen.status, Status::Up, "{more}: {}", seen.message),
            Err(text) => assert_eq!(
                (reason(&seen), seen.message.as_str()),
                ("assertion_failed", text),
                "{more}"
            ),
        }
    }
}

async fn what_is_long_is_no_fault_of_the_servers(at: &str) {
    let url = format!("postgres://monitor:hunter2x@{at}/postgres");
    let long =
        json!({ "database_query": "SELECT repeat('x', 20000000) UNION ALL SELECT 'y'", "min_rows": 2 });
    let seen = query(&url, long.clone()).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    let compared = with(
        long,
        json!({ "database_connection_string": url, "expected_value": "x" }),
    );
    let error = Probe::new().run("postgres", compared).await.unwrap_err();
    assert_eq!(error.reason(), Reason::LimitHit, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("larger than 16777216 bytes, and not compared"),
        "{text}"
    );

    let end = json!({ "database_query": "SELECT pg_terminate_backend(pg_backend_pid())" });
    let seen = query(&url, end).await;
    assert_eq!(
        (reason(&seen), seen.message.as_str()),
        (
            "assertion_failed",
            "Query failed: FATAL: terminating connection due to administrator command (SQLSTATE=57P01)"
        )
    );
}

/// Who says no more than that it is ready has neither let anybody in nor done anything.
#[tokio::test]
async fn being_ready_is_no_answer() {
    const READY: &[u8] = b"Z\0\0\0\x05I";
    const ADMITTED: &[u8] = b"R\0\0\0\x08\0\0\0\0";
    for first in [READY.to_vec(), [ADMITTED, READY].concat()] {
        let server = Server::raw(move |mut stream| {
            let first = first.clone();
            async move {
                let mut heard = [0; 1024];
                let _ = stream.read(&mut heard).await;
                let _ = stream.write_all(&first).await;
                while stream.read(&mut heard).await.is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(READY).await;
                }
            }
        })
        .await;
        let seen = query(&format!("postgres://u:p@{}/db", server.address), json!({})).await;
        assert_eq!((seen.status, reason(&seen)), (Status::Down, "protocol_error"));
        assert!(seen.message.contains("a message out of turn"), "{}", seen.message);
    }
}

async fn sslmode_means_what_it_says(at: &str, ca: &str) {
    for (user, mode, ca, tls, verdict) in [
        ("monitor", "disable", "", false, ""),
        ("monitor", "prefer", "", true, ""),
        ("monitor", "require", "", true, ""),
        ("tlsonly", "require", "", true, ""),
        ("tlsonly", "disable", "", false, "auth_failed"),
        ("monitor", "verify-full", ca, true, ""),
        ("monitor", "verify-ca", ca, true, ""),
        ("monitor", "verify-full", "", true, "tls_certificate"),
    ] {
        let url = format!("postgresql://{user}:hunter2x@{at}/postgres?sslmode={mode}");
        let seen = query(&url, json!({ "tls_ca": ca })).await;
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
    let url = format!("postgres://u:hunter2x@127.0.0.1:{}/d", closed_port().await);
    for (config, text) in [
        (
            json!({ "database_connection_string": "mysql://u:hunter2x@h/d" }),
            "connection string validation failed: connection string must use postgres:// or postgresql:// scheme, got: mysql",
        ),
        (
            json!({ "database_connection_string": "postgres://u:hunter2x@/d" }),
            "connection string validation failed: connection string must include host",
        ),
        (
            json!({ "database_connection_string": "postgres://h/d" }),
            "connection string validation failed: connection string must include username",
        ),
        (
            json!({ "database_connection_string": "postgres://u:hunter2x@h" }),
            "connection string validation failed: connection string must include database name",
        ),
        (
            json!({ "database_connection_string": "postgres://u@h/d" }),
            "failed to parse connection string: password is undefined",
        ),
        (
            json!({ "database_connection_string": url, "database_query": "DELETE FROM t" }),
            "query validation failed: only SELECT, SHOW, DESCRIBE, EXPLAIN, WITH, and VALUES statements are allowed for monitoring queries",
        ),
    ] {
        let error = Probe::new().run("postgres", config).await.unwrap_err();
        assert_eq!(error, CheckError::InvalidConfig(text.to_owned()));
    }
}
