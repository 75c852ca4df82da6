//! The conversation with a MySQL or MariaDB server.

use super::auth::{Greeting, Login};
use crate::{
    CheckError, ProbeContext,
    native::{
        connection::ConnectionUrl,
        session::{Fault, Session, Trace},
        sql::{MOST_BYTES, MOST_ROWS, Rows, TlsMode},
    },
    net::{IpFamily, NetError, tls::TlsOptions},
};
use bytes::{Buf, Bytes};
use lapwing_model::Reason;
use mysql_common::{
    auth::plugins::Response,
    constants::CapabilityFlags,
    packets::{HandshakeResponse, SslRequest},
    proto::MySerialize,
};

const CONNECT: &str = "MySQL query failed: failed to ping MySQL database";
const QUERY: &str = "MySQL query failed: failed to execute query";
const PORT: u16 = 3306;
/// A packet of this length goes on in the next.
const WHOLE: usize = 0xFF_FFFF;
const COM_QUIT: u8 = 1;
const COM_QUERY: u8 = 3;
/// `utf8mb4_general_ci`.
const COLLATION: u8 = 45;
const SYNTAX_ERROR: u16 = 1064;
/// A longer key would keep the processor busy, not the password secret.
const MOST_CHALLENGE: usize = 1024;

/// A connection that is logged in.
pub(super) struct MySql<'a> {
    session: Session<'a>,
    sequence: u8,
}

impl<'a> MySql<'a> {
    /// Connects, speaks TLS if `mode` says so, and authenticates.
    pub(super) async fn connect(
        cx: &'a ProbeContext,
        trace: &'a mut Trace,
        url: &ConnectionUrl,
        family: IpFamily,
        mode: TlsMode,
        tls: &TlsOptions,
    ) -> Result<Self, Fault> {
        let (host, port) = url.host().cloned().unwrap_or_default();
        let session = Session::open(cx, trace, &host, port.unwrap_or(PORT), family).await;
        let session = session.map_err(Fault::at(CONNECT))?;
        let mut server = Self { session, sequence: 0 };
        let packet = server.packet().await.map_err(Fault::at(CONNECT))?;
        admitted(CONNECT, &packet)?;
        let greeting =
            Greeting::parse(packet).ok_or_else(|| server.breach("does not speak MySQL's protocol"))?;
        let capabilities = capabilities(&greeting);
        let server = server.encrypted(&greeting, capabilities, mode, tls).await?;
        server.log_in(&greeting, capabilities, url).await
    }

    async fn encrypted(
        mut self,
        greeting: &Greeting,
        capabilities: CapabilityFlags,
        mode: TlsMode,
        tls: &TlsOptions,
    ) -> Result<Self, Fault> {
        let offered = greeting.capabilities.contains(CapabilityFlags::CLIENT_SSL);
        match (mode, offered) {
            (TlsMode::Never, _) | (TlsMode::WhereOffered, false) => return Ok(self),
            (TlsMode::Always, false) => {
                let host = self.session.host();
                return Err(Fault::at(CONNECT)(NetError::Tls(format!(
                    "{host} does not offer TLS"
                ))));
            }
            _ => {}
        }
        let capabilities = capabilities | CapabilityFlags::CLIENT_SSL;
        self.say(
            CONNECT,
            &serialized(&SslRequest::new(capabilities, 1 << 24, COLLATION)),
        )
        .await?;
        let session = self.session.secure(tls).await.map_err(Fault::at(CONNECT))?;
        Ok(Self { session, ..self })
    }

    async fn log_in(
        mut self,
        greeting: &Greeting,
        mut capabilities: CapabilityFlags,
        url: &ConnectionUrl,
    ) -> Result<Self, Fault> {
        if self.session.is_secure() {
            capabilities |= CapabilityFlags::CLIENT_SSL;
        }
        let password = url.password.clone().unwrap_or_default();
        let mut login = Login::new(greeting, password, self.session.is_secure())?;
        let response = login.answer_first()?;
        let hello = HandshakeResponse::new(
            response.data(),
            (8, 0, 0),
            url.user.as_deref().map(str::as_bytes),
            Some(url.database.as_bytes()),
            Some(login.plugin()),
            capabilities,
            None,
            1 << 24,
        );
        let hello = serialized(&hello);
        self.say(CONNECT, &hello).await?;
        loop {
            let packet = self.packet().await.map_err(Fault::at(CONNECT))?;
            let response = match packet.first() {
                Some(0x00) => return Ok(self),
                Some(0xFE) => login.switch(packet.get(1..).unwrap_or_default())?,
                // A key, at the longest.
                Some(0x01) if packet.len() <= MOST_CHALLENGE => {
                    let answered = login.answer(packet.get(1..).unwrap_or_default());
                    answered?.ok_or_else(|| self.breach("an authentication that does not fit"))?
                }
                _ => {
                    admitted(CONNECT, &packet)?;
                    return Err(self.breach("a packet out of turn"));
                }
            };
            if let Response::Next { packet: Some(packet) } | Response::Last { packet: Some(packet) } =
                response
            {
                self.say(CONNECT, &packet).await?;
            }
        }
    }

    /// Begins a read-only transaction; servers older than such do without.
    pub(super) async fn start_reading(&mut self) -> Result<(), Fault> {
        self.command(COM_QUERY, "START TRANSACTION READ ONLY").await?;
        let packet = self.packet().await.map_err(Fault::at(QUERY))?;
        match error_code(&packet) {
            Some(SYNTAX_ERROR) => Ok(()),
            _ => admitted(QUERY, &packet),
        }
    }

    /// Runs one statement and reads its result, as far as that goes.
    pub(super) async fn query(&mut self, query: &str) -> Result<Rows, Fault> {
        self.command(COM_QUERY, query).await?;
        let mut packet = self.packet().await.map_err(Fault::at(QUERY))?;
        admitted(QUERY, &packet)?;
        let columns = match packet.first() {
            Some(0x00) => return Ok(Rows::default()),
            Some(0xFB) => return Err(self.breach("wants a file of ours")),
            _ => length(&mut packet).ok_or_else(|| self.breach("no count of columns"))?,
        };
        for _ in 0..columns {
            self.packet().await.map_err(Fault::at(QUERY))?;
        }
        let end = self.packet().await.map_err(Fault::at(QUERY))?;
        if !is_end(&end) {
            return Err(self.breach("columns that do not end"));
        }
        let columns = usize::try_from(columns).unwrap_or(usize::MAX);
        self.rows(columns).await
    }

    async fn rows(&mut self, columns: usize) -> Result<Rows, Fault> {
        let (mut rows, mut bytes) = (
            Rows {
                columns,
                ..Rows::default()
            },
            0,
        );
        loop {
            let mut packet = self.packet().await.map_err(Fault::at(QUERY))?;
            admitted(QUERY, &packet)?;
            if is_end(&packet) {
                return Ok(rows);
            }
            bytes += packet.len();
            if rows.count == MOST_ROWS || bytes > MOST_BYTES {
                return Ok(Rows { more: true, ..rows });
            }
            if rows.count == 0 && packet.first() != Some(&0xFB) {
                let whole = packet.len() < WHOLE;
                let length = length(&mut packet).and_then(|length| usize::try_from(length).ok());
                let length = length.ok_or_else(|| self.breach("a value without its length"))?;
                match packet.get(..length) {
                    Some(value) => rows.first = Some(String::from_utf8_lossy(value).into_owned()),
                    None if whole => return Err(self.breach("a value that is cut short")),
                    None => rows.long = true,
                }
            }
            rows.count += 1;
        }
    }

    /// Says goodbye.
    pub(super) async fn leave(self) {
        self.session.part(&[1, 0, 0, 0, COM_QUIT]).await;
    }

    async fn command(&mut self, command: u8, text: &str) -> Result<(), Fault> {
        self.sequence = 0;
        self.say(QUERY, &[&[command], text.as_bytes()].concat()).await
    }

    async fn say(&mut self, stage: &'static str, payload: &[u8]) -> Result<(), Fault> {
        let length = u32::try_from(payload.len())
            .ok()
            .filter(|&length| (length as usize) < WHOLE);
        let length =
            length.ok_or_else(|| CheckError::InvalidConfig("`query`: longer than 16 MiB".to_owned()))?;
        let head = length | (u32::from(self.sequence) << 24);
        self.sequence = self.sequence.wrapping_add(1);
        let packet = [&head.to_le_bytes(), payload].concat();
        self.session.send(&packet).await.map_err(Fault::at(stage))
    }

    /// The next packet; of one that is longer than 16 MiB only the beginning.
    async fn packet(&mut self) -> Result<Bytes, NetError> {
        let mut length = self.head().await?;
        let packet = self.session.take(length).await?.freeze();
        while length == WHOLE {
            length = self.head().await?;
            self.session.skip(length).await?;
        }
        Ok(packet)
    }

    /// The length of the next part of a packet.
    async fn head(&mut self) -> Result<usize, NetError> {
        let mut head = self.session.take(4).await?;
        let (length, sequence) = (head.get_uint_le(3), head.get_u8());
        if sequence != self.sequence {
            return Err(self.session.breach("does not speak MySQL's protocol"));
        }
        self.sequence = sequence.wrapping_add(1);
        Ok(usize::try_from(length).unwrap_or(WHOLE))
    }

    fn breach(&self, what: &str) -> Fault {
        Fault::at(QUERY_OR_CONNECT)(self.session.breach(what))
    }
}

/// Where it does not matter which.
const QUERY_OR_CONNECT: &str = "MySQL query failed";

fn capabilities(greeting: &Greeting) -> CapabilityFlags {
    let wanted = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_CONNECT_WITH_DB
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA;
    wanted & greeting.capabilities
}

fn serialized(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

/// The code of an error packet.
fn error_code(packet: &[u8]) -> Option<u16> {
    match packet {
        [0xFF, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    }
}

/// An error packet as an error: 0xFF, code, `#` and SQL state, text.
fn admitted(stage: &str, packet: &[u8]) -> Result<(), Fault> {
    let Some(code) = error_code(packet) else {
        return Ok(());
    };
    let told = packet.get(3..).unwrap_or_default();
    let (sql_state, message) = match told.strip_prefix(b"#").and_then(|rest| rest.split_at_checked(5)) {
        Some((five, rest)) => (format!(" ({})", String::from_utf8_lossy(five)), rest),
        None => (String::new(), told),
    };
    let message = String::from_utf8_lossy(message);
    // Access denied: to the server, to a database, by the plugin; a password that has expired.
    let reason = match code {
        1044 | 1045 | 1698 | 1820 | 1862 | 3118 | 4151 => Reason::AuthFailed,
        _ => Reason::AssertionFailed,
    };
    Err(Fault::Told(
        reason,
        format!("{stage}: Error {code}{sql_state}: {message}"),
    ))
}

fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xFE) && packet.len() < 9
}

/// A length-encoded integer.
fn length(packet: &mut Bytes) -> Option<u64> {
    let bytes = match packet.try_get_u8().ok()? {
        short @ 0..=0xFA => return Some(short.into()),
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        _ => return None,
    };
    (packet.remaining() >= bytes).then(|| packet.get_uint_le(bytes))
}
