//! Kind `sqlserver`, against a stand-in that follows MS-TDS: Debian has no SQL Server.

use crate::support::{
    Probe,
    certificates::{Authority, Identity, Leaf},
    reason,
    server::{Server, closed_port},
    with,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use rustls::{
    ServerConnection,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PRELOGIN: u8 = 0x12;
const OFF: u8 = 0;
const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;

/// What a stand-in is, and what was asked of it.
#[derive(Clone)]
struct SqlServer {
    encryption: u8,
    identity: Identity,
    /// The port to send clients to once they are logged in.
    route: Option<u16>,
    asked: Arc<Mutex<Vec<String>>>,
}

/// One connection: its TLS session, once there is one.
struct Line {
    stream: TcpStream,
    tls: Option<ServerConnection>,
    /// Heard and decrypted, not yet taken.
    heard: Vec<u8>,
}

impl SqlServer {
    fn new(encryption: u8, identity: Identity) -> Self {
        Self {
            encryption,
            identity,
            route: None,
            asked: Arc::default(),
        }
    }

    async fn serve(&self) -> Server {
        let server = self.clone();
        Server::raw(move |stream| {
            let server = server.clone();
            async move {
                let _ = server
                    .talk(Line {
                        stream,
                        tls: None,
                        heard: Vec::new(),
                    })
                    .await;
            }
        })
        .await
    }

    async fn talk(self, mut line: Line) -> Option<()> {
        let (kind, offer) = line.message().await?;
        assert_eq!(kind, PRELOGIN);
        let offered = option(&offer, 1)[0];
        self.note(&format!("offer {offered}"));
        line.say(4, &prelogin(self.encryption)).await;
        if offered != NOT_SUPPORTED && matches!(self.encryption, ON | REQUIRED) {
            line.shake_hands(&self.identity).await?;
            self.note("tls");
        }
        let (kind, login) = line.message().await?;
        assert_eq!(kind, 0x10, "LOGIN7, and no second PRELOGIN");
        let (user, password, database) = (
            field(&login, 40),
            plain(&field_bytes(&login, 44)),
            field(&login, 68),
        );
        if (user.as_str(), password.as_str()) != ("mon", "hunter2x") {
            let text = format!("Login failed for user '{user}', and '{password}' is no password.");
            line.say(4, &[error(18_456, &text), done(2)].concat()).await;
            return None;
        }
        if let Some(port) = self.route {
            line.say(
                4,
                &[login_ack(), routing("127.0.0.1\\one", port), done(0)].concat(),
            )
            .await;
            return None;
        }
        if database != "app" {
            let text = format!("Cannot open database \"{database}\" requested by the login.");
            line.say(4, &[error(4060, &text), done(2)].concat()).await;
            return None;
        }
        line.say(4, &[login_ack(), done(0)].concat()).await;
        while let Some((1, batch)) = line.message().await {
            // Behind the headers for all (transaction descriptor) is the text.
            let headers = u32::from_le_bytes(batch[..4].try_into().unwrap()) as usize;
            let text = utf16(&batch[headers..]);
            self.note(&text);
            let answer = match text.as_str() {
                "SELECT 1" => result(&[Some(1)]),
                "SELECT n FROM t" => result(&[Some(7), Some(8), None]),
                "SELECT null" => result(&[None]),
                "SELECT none" => result(&[]),
                "SELECT forever" => {
                    line.say(4, &result(&vec![Some(1); 150_000])).await;
                    continue;
                }
                "SELECT bad" => [error(207, "Invalid column name 'bad'."), done(2)].concat(),
                _ => done(0),
            };
            line.say(4, &answer).await;
        }
        Some(())
    }

    fn note(&self, what: &str) {
        self.asked.lock().unwrap().push(what.to_owned());
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Line {
    /// One message: its type, and the content of its packets.
    async fn message(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut content = Vec::new();
        loop {
            let head = self.take(8).await?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            content.extend(self.take(length - 8).await?);
            if head[1] & 1 == 1 {
                return Some((head[0], content));
            }
        }
    }

    async fn take(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.heard.len() < count {
            let mut bytes = vec![0; 8192];
            let length = self
                .stream
                .read(&mut bytes)
                .await
                .ok()
                .filter(|length| *length > 0)?;
            bytes.truncate(length);
            match &mut self.tls {
                None => self.heard.extend(bytes),
                Some(tls) => decrypt(tls, &bytes, &mut self.heard),
            }
        }
        Some(self.heard.drain(..count).collect())
    }

    async fn say(&mut self, kind: u8, content: &[u8]) {
        let mut packets = Vec::new();
        let mut parts = content.chunks(4088).peekable();
        while let Some(part) = parts.next() {
            packets.extend(head(kind, parts.peek().is_none(), part.len()));
            packets.extend(part);
        }
        let bytes = match &mut self.tls {
            None => packets,
            Some(tls) => packets
                .chunks(16_384)
                .flat_map(|part| encrypt(tls, part))
                .collect(),
        };
        let _ = self.stream.write_all(&bytes).await;
    }

    /// TLS in packets of type PRELOGIN, and without them from then on.
    async fn shake_hands(&mut self, identity: &Identity) -> Option<()> {
        let chain = CertificateDer::pem_slice_iter(identity.chain.as_bytes())
            .map(Result::unwrap)
            .collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        while tls.is_handshaking() {
            let (kind, content) = self.message().await?;
            assert_eq!(kind, PRELOGIN);
            decrypt(&mut tls, &content, &mut Vec::new());
            if tls.is_handshaking() {
                let answer = encrypt(&mut tls, &[]);
                let mut packet = head(PRELOGIN, true, answer.len());
                packet.extend(answer);
                self.stream.write_all(&packet).await.ok()?;
            }
        }
        // What came with the last packet of the handshake is no packet any more.
        let early = std::mem::take(&mut self.heard);
        decrypt(&mut tls, &early, &mut self.heard);
        self.tls = Some(tls);
        Some(())
    }
}

fn decrypt(tls: &mut ServerConnection, mut bytes: &[u8], plain: &mut Vec<u8>) {
    while !bytes.is_empty() {
        tls.read_tls(&mut bytes).unwrap();
        let Ok(_) = tls.process_new_packets() else { return };
        let _ = tls.reader().read_to_end(plain);
    }
}

fn encrypt(tls: &mut ServerConnection, plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    tls.writer().write_all(plain).unwrap();
    while tls.wants_write() {
        tls.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn head(kind: u8, last: bool, length: usize) -> Vec<u8> {
    let [high, low] = u16::try_from(8 + length).unwrap().to_be_bytes();
    vec![kind, u8::from(last), high, low, 0, 0, 1, 0]
}

fn prelogin(encryption: u8) -> Vec<u8> {
    vec![
        0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xFF, 16, 0, 0, 0, 0, 0, encryption,
    ]
}

fn option(message: &[u8], token: u8) -> &[u8] {
    let found = message.chunks(5).find(|option| option[0] == token).unwrap();
    let at = usize::from(u16::from_be_bytes([found[1], found[2]]));
    &message[at..]
}

/// A field of LOGIN7: place and number of characters are at `at`.
fn field_bytes(login: &[u8], at: usize) -> Vec<u8> {
    let word = |at: usize| usize::from(u16::from_le_bytes([login[at], login[at + 1]]));
    login[word(at)..][..word(at + 2) * 2].to_vec()
}

fn field(login: &[u8], at: usize) -> String {
    utf16(&field_bytes(login, at))
}

fn plain(password: &[u8]) -> String {
    let bytes: Vec<u8> = password.iter().map(|byte| (byte ^ 0xA5).rotate_left(4)).collect();
    utf16(&bytes)
}

fn utf16(bytes: &[u8]) -> String {
    let units: Vec<u16> = bytes
        .chunks(2)
        .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
        .collect();
    String::from_utf16(&units).unwrap()
}

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn counted(token: u8, content: &[u8]) -> Vec<u8> {
    [
        &[token][..],
        &u16::try_from(content.len()).unwrap().to_le_bytes(),
        content,
    ]
    .concat()
}

fn error(code: u32, text: &str) -> Vec<u8> {
    let length = u16::try_from(text.encode_utf16().count()).unwrap();
    let content = [
        &code.to_le_bytes()[..],
        &[1, 14],
        &length.to_le_bytes(),
        &wide(text),
        &[0, 0],
        &1_u32.to_le_bytes(),
    ];
    counted(0xAA, &content.concat())
}

/// Interface 1, TDS 7.2, a name of one letter, a version.
fn login_ack() -> Vec<u8> {
    counted(
        0xAD,
        &[&[1, 0x72, 9, 0, 2, 1][..], &wide("S"), &[16, 0, 0, 0]].concat(),
    )
}

/// ENVCHANGE 20: the protocol (TCP), a port and a host; no old value.
fn routing(host: &str, port: u16) -> Vec<u8> {
    let length = |count: usize| u16::try_from(count).unwrap().to_le_bytes();
    let units = length(host.encode_utf16().count());
    let value = [&[0][..], &port.to_le_bytes(), &units, &wide(host)].concat();
    let content = [&[20][..], &length(value.len()), &value, &[0, 0]].concat();
    counted(0xE3, &content)
}

fn done(status: u16) -> Vec<u8> {
    [&[0xFD][..], &status.to_le_bytes(), &[0; 10]].concat()
}

/// One column `n` of INTN(4).
fn result(rows: &[Option<i32>]) -> Vec<u8> {
    let mut bytes = [
        &[0x81, 1, 0][..],
        &0_u32.to_le_bytes(),
        &[9, 0, 0x26, 4, 1],
        &wide("n"),
    ]
    .concat();
    for row in rows {
        bytes.push(0xD1);
        match row {
            Some(number) => bytes.extend([&[4][..], &number.to_le_bytes()].concat()),
            None => bytes.push(0),
        }
    }
    bytes.extend(done(0x10));
    bytes
}

fn config(server: &Server, more: &str) -> Value {
    let at = server.address;
    json!({ "database_connection_string": format!("Server={},{};Database=app;User Id=mon;Password=hunter2x;{more}", at.ip(), at.port()) })
}

async fn run(config: Value, more: Value) -> Observation {
    Probe::new().seen("sqlserver", with(config, more)).await
}

#[tokio::test]
async fn encryption_is_what_the_connection_string_says_and_the_server_has() {
    let authority = Authority::new();
    let identity = authority.issue(&Leaf::default());
    let ca = authority.pem();
    for (has, encrypt, ca, tls, word) in [
        (NOT_SUPPORTED, "", "", false, ""),
        (NOT_SUPPORTED, "Encrypt=true", "", false, "tls_failed"),
        (OFF, "Encrypt=true", "", false, "tls_failed"),
        (ON, "", "", true, ""),
        (ON, "Encrypt=true", ca.as_str(), true, ""),
        (ON, "Encrypt=true", "", true, "tls_certificate"),
        (ON, "Encrypt=true;TrustServerCertificate=true", "", true, ""),
        (REQUIRED, "Encrypt=disable", "", false, "tls_failed"),
        (NOT_SUPPORTED, "Encrypt=disable", "", false, ""),
        (9, "", "", false, "protocol_error"),
    ] {
        let sql = SqlServer::new(has, identity.clone());
        let server = sql.serve().await;
        let seen = run(config(&server, encrypt), json!({ "tls_ca": ca })).await;
        assert_eq!(
            (reason(&seen), seen.tls.is_some()),
            (word, tls),
            "{has} {encrypt}: {}",
            seen.message
        );
        if word.is_empty() {
            assert!(
                seen.message.starts_with("Query successful, ping: ")
                    && seen.message.ends_with("ms, columns: 1, rows: 1"),
                "{}",
                seen.message
            );
            assert_eq!(sql.asked().iter().any(|what| what == "tls"), tls);
        }
        server.drained().await;
    }
}

#[tokio::test]
async fn a_statement_runs_in_a_transaction_that_is_rolled_back() {
    let sql = SqlServer::new(ON, Authority::new().issue(&Leaf::default()));
    let server = sql.serve().await;
    for (more, text) in [
        (
            json!({ "database_query": "SELECT n FROM t" }),
            Ok("columns: 1, rows: 3"),
        ),
        (
            json!({ "database_query": "SELECT n FROM t", "expected_value": "7", "min_rows": 3 }),
            Ok("columns: 1, rows: 3"),
        ),
        (
            json!({ "database_query": "SELECT none" }),
            Ok("columns: 1, rows: 0"),
        ),
        (
            json!({ "database_query": "SELECT forever" }),
            Ok("columns: 1, rows: 100000+"),
        ),
        (
            json!({ "database_query": "SELECT n FROM t", "expected_value": "8" }),
            Err("Query returned '7', expected == '8'"),
        ),
        (
            json!({ "database_query": "SELECT null", "expected_value": "8" }),
            Err("Query returned NULL, expected == '8'"),
        ),
        (
            json!({ "database_query": "SELECT none", "min_rows": 1 }),
            Err("Query returned 0 rows, expected at least 1"),
        ),
        (
            json!({ "database_query": "SELECT bad" }),
            Err("query execution failed: mssql: error: Invalid column name 'bad'. (code 207)"),
        ),
    ] {
        let seen = run(config(&server, ""), more.clone()).await;
        match text {
            Ok(end) => assert!(
                seen.status == Status::Up && seen.message.ends_with(end),
                "{more}: {}",
                seen.message
            ),
            Err(text) => assert_eq!(
                (reason(&seen), seen.message.as_str()),
                ("assertion_failed", text),
                "{more}"
            ),
        }
    }
    sql.asked();
    run(config(&server, ""), json!({})).await;
    assert_eq!(
        sql.asked()[2..],
        [
            "BEGIN TRANSACTION",
            "SELECT 1",
            "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION"
        ]
    );
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_and_the_password_is_not_told_on() {
    let sql = SqlServer::new(ON, Authority::new().issue(&Leaf::default()));
    let server = sql.serve().await;
    let at = server.address;
    let url = |password: &str, database: &str| json!({ "database_connection_string": format!("sqlserver://mon:{password}@{at}/{database}") });
    let seen = run(url("wrongpass", "app"), json!({})).await;
    assert_eq!(
        (reason(&seen), seen.message.as_str()),
        (
            "auth_failed",
            "connection failed: mssql: login error: Login failed for user 'mon', and '***' is no password. (code 18456)"
        )
    );
    let seen = run(url("hunter2x", "absent"), json!({})).await;
    assert_eq!(reason(&seen), "assertion_failed");
    assert!(
        seen.message.contains("Cannot open database \"absent\""),
        "{}",
        seen.message
    );
    let dead = json!({ "database_connection_string": format!("mssql://mon:hunter2x@127.0.0.1:{}/app", closed_port().await) });
    assert_eq!(reason(&run(dead, json!({})).await), "connection_refused");
}

#[tokio::test]
async fn a_gateway_is_followed_to_the_server_it_names_and_no_further() {
    let gateway = |route| SqlServer {
        route: Some(route),
        ..SqlServer::new(ON, Authority::new().issue(&Leaf::default()))
    };
    let sql = SqlServer::new(ON, Authority::new().issue(&Leaf::default()));
    let server = sql.serve().await;
    let front = gateway(server.address.port()).serve().await;
    let seen = run(config(&front, ""), json!({})).await;
    assert_eq!(seen.status, Status::Up, "{}", seen.message);
    assert_eq!(sql.asked()[..2], ["offer 1", "tls"]);
    let before = gateway(front.address.port()).serve().await;
    let seen = run(config(&before, ""), json!({})).await;
    assert_eq!(
        (reason(&seen), seen.message.as_str()),
        (
            "protocol_error",
            "connection failed: 127.0.0.1 sends us on, where we were sent already"
        )
    );
    let astray = gateway(0).serve().await;
    let seen = run(config(&astray, ""), json!({})).await;
    assert_eq!(
        (reason(&seen), seen.message.as_str()),
        (
            "protocol_error",
            "connection failed: protocol error: 127.0.0.1 sends us on to `127.0.0.1`, port 0, which is nowhere"
        )
    );
}

#[tokio::test]
async fn an_unfit_configuration_is_told_in_peekapings_words_and_nobody_is_asked() {
    let good = "Server=h;Database=d;User Id=u;Password=hunter2x";
    for (text, query, part) in [
        (
            "nonsense",
            "",
            "connection string validation failed: invalid connection string format. Expected: Server=hostname,port;Database=database;User Id=username;Password=password;...",
        ),
        (
            good,
            "DELETE FROM t",
            "query validation failed: query must start with one of: SELECT, SHOW, DESCRIBE, DESC, EXPLAIN, WITH, VALUES",
        ),
        (
            good,
            "SELECT 1 DELETE FROM t",
            "query validation failed: `delete` is not allowed",
        ),
        (
            good,
            "WITH x AS (SELECT 1 n) INSERT t SELECT n FROM x",
            "query validation failed: `insert` is not allowed",
        ),
        (
            good,
            "SELECT 1; COMMIT; EXEC sp_who",
            "query validation failed: `commit` is not allowed",
        ),
    ] {
        let config = json!({ "database_connection_string": text, "database_query": query });
        let error = Probe::new().run("sqlserver", config).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(part)),
            "{error}"
        );
        assert!(!error.to_string().contains("hunter2x"), "{error}");
    }
}
