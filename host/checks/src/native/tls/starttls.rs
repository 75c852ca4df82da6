//! What is said in plain text before TLS begins, protocol by protocol.

use crate::{
    native::{ber, payload::quote},
    net::{NetError, by},
};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{self, Instant},
};

/// What a server may say at most before TLS begins, in bytes.
const MAX_HEARD: usize = 64 * 1024;
/// PostgreSQL's SSLRequest: length 8, code 80877103 (its manual, "SSL Session Encryption").
const POSTGRES_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
/// LDAP's extended request for RFC 4511 §4.14.1.
const LDAP_STARTTLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// MySQL's capability flags: SSL, protocol 4.1, secure connection.
const MYSQL_SSL: u16 = 0x0800;
const MYSQL_FLAGS: u32 = 0x8a00;
/// RFC 6120 §5.
const XMPP_TLS: &str = "urn:ietf:params:xml:ns:xmpp-tls";

/// Whose STARTTLS comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TLS from the first byte on.
    #[default]
    None,
    /// RFC 3207; port 25.
    Smtp,
    /// RFC 9051; port 143.
    Imap,
    /// RFC 2595; port 110.
    Pop3,
    /// RFC 4217 (`AUTH TLS`); port 21.
    Ftp,
    /// PostgreSQL's SSLRequest; port 5432.
    Postgres,
    /// MySQL's and MariaDB's SSL request; port 3306.
    Mysql,
    /// RFC 4511; port 389.
    Ldap,
    /// RFC 6120, of clients; port 5222.
    Xmpp,
}

impl Protocol {
    /// The port it is at, unless somebody says otherwise.
    pub(super) fn port(self) -> u16 {
        match self {
            Self::None => 443,
            Self::Smtp => 25,
            Self::Imap => 143,
            Self::Pop3 => 110,
            Self::Ftp => 21,
            Self::Postgres => 5432,
            Self::Mysql => 3306,
            Self::Ldap => 389,
            Self::Xmpp => 5222,
        }
    }
}

/// The conversation before the handshake.
pub(super) struct Opening<'a> {
    stream: &'a mut TcpStream,
    host: &'a str,
    deadline: Instant,
    heard: Vec<u8>,
}

impl<'a> Opening<'a> {
    pub(super) fn new(stream: &'a mut TcpStream, host: &'a str, deadline: Instant) -> Self {
        Self {
            stream,
            host,
            deadline,
            heard: Vec::new(),
        }
    }

    /// Says and hears all that comes before the handshake; `name` is what the server is called, if not `host`.
    pub(super) async fn hold(mut self, protocol: Protocol, name: Option<&str>) -> Result<(), NetError> {
        match protocol {
            Protocol::None => return Ok(()),
            Protocol::Smtp => self.smtp().await?,
            Protocol::Imap => self.imap().await?,
            Protocol::Pop3 => self.pop3().await?,
            Protocol::Ftp => self.ftp().await?,
            Protocol::Postgres => self.postgres().await?,
            Protocol::Mysql => self.mysql().await?,
            Protocol::Ldap => self.ldap().await?,
            Protocol::Xmpp => self.xmpp(name.unwrap_or(self.host)).await?,
        }
        // Plain text that came before the handshake could be injected by anyone on the way (CVE-2011-0411).
        if self.heard.is_empty() {
            return Ok(());
        }
        Err(NetError::Protocol(format!(
            "{} spoke on before the TLS handshake",
            self.host
        )))
    }

    async fn smtp(&mut self) -> Result<(), NetError> {
        self.reply("SMTP", "220").await?;
        self.say(b"EHLO lapwing\r\n").await?;
        let offers = self.reply("SMTP", "250").await?;
        let offered = |line: &String| {
            let word = line.get(4..).unwrap_or_default().trim_end();
            word.eq_ignore_ascii_case("STARTTLS")
        };
        if !offers.iter().any(offered) {
            return Err(self.not_offered("its EHLO reply does not name it"));
        }
        self.say(b"STARTTLS\r\n").await?;
        self.granted("220").await
    }

    async fn ftp(&mut self) -> Result<(), NetError> {
        self.reply("FTP", "220").await?;
        self.say(b"AUTH TLS\r\n").await?;
        self.granted("234").await
    }

    async fn pop3(&mut self) -> Result<(), NetError> {
        let greeting = self.line().await?;
        if !greeting.starts_with("+OK") {
            return Err(self.another("POP3", greeting.as_bytes()));
        }
        self.say(b"STLS\r\n").await?;
        self.granted("+OK").await
    }

    async fn imap(&mut self) -> Result<(), NetError> {
        let greeting = self.line().await?;
        if !greeting.starts_with("* OK") {
            return Err(self.another("IMAP", greeting.as_bytes()));
        }
        self.say(b"a STARTTLS\r\n").await?;
        loop {
            let line = self.line().await?;
            if let Some(answer) = line.strip_prefix("a ") {
                if answer.starts_with("OK") {
                    return Ok(());
                }
                return Err(self.not_offered(answer));
            }
        }
    }

    async fn postgres(&mut self) -> Result<(), NetError> {
        self.say(&POSTGRES_REQUEST).await?;
        match *self.bytes(1).await? {
            [b'S'] => Ok(()),
            [b'N'] => Err(self.not_offered("it answers `N`")),
            ref other => Err(self.another("PostgreSQL", other)),
        }
    }

    async fn mysql(&mut self) -> Result<(), NetError> {
        let header = self.bytes(4).await?;
        let size = header
            .iter()
            .take(3)
            .rev()
            .fold(0, |size, byte| size << 8 | usize::from(*byte));
        if header.get(3) != Some(&0) || size == 0 || size > MAX_HEARD {
            return Err(self.another("MySQL", &header));
        }
        let greeting = self.bytes(size).await?;
        // An error packet, before anything else: the host is not allowed, or there are too many connections.
        if let Some(error) = greeting.strip_prefix(&[0xff]) {
            let text = quote(error.get(2..).unwrap_or_default());
            return Err(NetError::Protocol(format!("{} refuses: '{text}'", self.host)));
        }
        let Some(flags) = mysql_flags(&greeting) else {
            return Err(self.another("MySQL", &greeting));
        };
        if flags & MYSQL_SSL == 0 {
            return Err(self.not_offered("its greeting does not name it"));
        }
        // Flags, largest packet, character set utf8mb4, filler.
        let mut request = vec![32, 0, 0, 1];
        request.extend(MYSQL_FLAGS.to_le_bytes());
        request.extend([0, 0, 0, 1, 45]);
        request.extend([0; 23]);
        self.say(&request).await
    }

    async fn ldap(&mut self) -> Result<(), NetError> {
        let request = ber::value(0x77, &ber::value(0x80, LDAP_STARTTLS));
        self.say(&ber::nested(ber::SEQUENCE, &[ber::integer(1), request]))
            .await?;
        let (header, size) = loop {
            if let Some((ber::SEQUENCE, size, header)) = ber::header(&self.heard) {
                break (header, size);
            }
            // Tag, and a length of up to five bytes.
            if self.heard.len() >= 6 {
                return Err(self.another("LDAP", &self.heard));
            }
            self.more().await?;
        };
        if size > MAX_HEARD {
            return Err(self.another("LDAP", &self.heard));
        }
        let message = self.bytes(header + size).await?;
        let mut inner = ber::Reader(message.get(header..).unwrap_or_default());
        let code = inner
            .integer()
            .and_then(|_| inner.inside(0x78))
            .and_then(|mut response| response.take(0x0a).and_then(ber::signed));
        match code {
            Some(0) => Ok(()),
            Some(code) => Err(self.not_offered(&format!("result code {code}"))),
            None => Err(self.another("LDAP", &message)),
        }
    }

    async fn xmpp(&mut self, domain: &str) -> Result<(), NetError> {
        let domain = domain
            .replace('&', "&amp;")
            .replace('\'', "&apos;")
            .replace('<', "&lt;");
        let head = format!(
            "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        );
        self.say(head.as_bytes()).await?;
        let features = self
            .until(
                &["</stream:features>", "<stream:features/>", "</stream:stream>"],
                "XMPP",
            )
            .await?;
        if !features.contains(XMPP_TLS) {
            return Err(self.not_offered("its stream features do not name it"));
        }
        self.say(format!("<starttls xmlns='{XMPP_TLS}'/>").as_bytes())
            .await?;
        let answer = self.until(&[">"], "XMPP").await?;
        if answer.trim_start().starts_with("<proceed") {
            return Ok(());
        }
        Err(self.not_offered(&answer))
    }

    /// The lines of one reply, with this code: `250-first`, …, `250 last`.
    async fn reply(&mut self, protocol: &str, code: &str) -> Result<Vec<String>, NetError> {
        let (mut lines, mut heard) = (Vec::new(), 0);
        loop {
            let line = self.line().await?;
            heard += line.len();
            if !line.starts_with(code) {
                return Err(self.another(protocol, line.as_bytes()));
            }
            if heard > MAX_HEARD {
                return Err(self.too_much());
            }
            let last = line.as_bytes().get(3) != Some(&b'-');
            lines.push(line);
            if last {
                return Ok(lines);
            }
        }
    }

    /// The answer to the request for TLS.
    async fn granted(&mut self, word: &str) -> Result<(), NetError> {
        let line = self.line().await?;
        if line.starts_with(word) {
            return Ok(());
        }
        Err(self.not_offered(&line))
    }

    async fn line(&mut self) -> Result<String, NetError> {
        loop {
            if let Some(end) = self.heard.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more().await?;
        }
    }

    /// What comes up to the first of `ends`, and it.
    async fn until(&mut self, ends: &[&str], protocol: &str) -> Result<String, NetError> {
        loop {
            if self
                .heard
                .first()
                .is_some_and(|first| *first != b'<' && !first.is_ascii_whitespace())
            {
                return Err(self.another(protocol, &self.heard));
            }
            let text = String::from_utf8_lossy(&self.heard).into_owned();
            let end = ends
                .iter()
                .filter_map(|end| Some(text.find(end)? + end.len()))
                .min();
            if let Some((taken, rest)) = end.and_then(|end| text.split_at_checked(end)) {
                self.heard = rest.as_bytes().to_vec();
                return Ok(taken.to_owned());
            }
            self.more().await?;
        }
    }

    async fn bytes(&mut self, count: usize) -> Result<Vec<u8>, NetError> {
        while self.heard.len() < count {
            self.more().await?;
        }
        Ok(self.heard.drain(..count).collect())
    }

    fn too_much(&self) -> NetError {
        NetError::Protocol(format!("{} says too much before TLS", self.host))
    }

    async fn more(&mut self) -> Result<(), NetError> {
        if self.heard.len() >= MAX_HEARD {
            return Err(self.too_much());
        }
        let reading = self.stream.read_buf(&mut self.heard);
        match by(self.deadline, reading).await {
            Ok(Ok(0)) => Err(NetError::Closed(format!(
                "{}, before the TLS handshake",
                self.host
            ))),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(NetError::from_io(&error, self.host)),
            Err(_) => Err(NetError::ResponseTimeout(format!(
                "{} does not come to the TLS handshake",
                self.host
            ))),
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> Result<(), NetError> {
        match time::timeout_at(self.deadline, self.stream.write_all(bytes)).await {
            Ok(said) => said.map_err(|error| NetError::from_io(&error, self.host)),
            Err(_) => Err(NetError::ResponseTimeout(format!(
                "{} does not take what is sent",
                self.host
            ))),
        }
    }

    fn another(&self, protocol: &str, heard: &[u8]) -> NetError {
        NetError::Protocol(format!(
            "{} does not speak {protocol}: '{}'",
            self.host,
            quote(heard)
        ))
    }

    fn not_offered(&self, why: &str) -> NetError {
        NetError::Tls(format!(
            "{} does not offer STARTTLS: {}",
            self.host,
            quote(why.as_bytes())
        ))
    }
}

/// The lower capability flags of a greeting of protocol version 10.
fn mysql_flags(greeting: &[u8]) -> Option<u16> {
    let rest = greeting.strip_prefix(&[10])?;
    let version_end = rest.iter().position(|byte| *byte == 0)?;
    // Thread id, first part of the challenge, filler.
    let flags = rest.get(version_end + 1 + 4 + 8 + 1..)?.first_chunk::<2>()?;
    Some(u16::from_le_bytes(*flags))
}
