//! ADO.NET connection strings, and the older URL form.

use crate::native::connection::ConnectionUrl;

const EXPECTED: &str = "invalid connection string format. Expected: Server=hostname,port;Database=database;User Id=username;Password=password;...";
const PORT: u16 = 1433;

/// Whether to speak TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encrypt {
    /// Never.
    Disable,
    /// Where the server has it, unverified.
    Optional,
    /// Always.
    Mandatory,
    /// Before anything else (TDS 8.0).
    Strict,
}

/// What a connection string says.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) encrypt: Encrypt,
    pub(super) trust: bool,
}

impl Settings {
    /// Reads `text`; the error says what is wrong without repeating any of it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("connection string cannot be empty".to_owned());
        }
        let pairs = if text.starts_with("sqlserver://") || text.starts_with("mssql://") {
            from_url(text)?
        } else {
            pairs(text).ok_or(EXPECTED)?
        };
        let setting = |names: &[&str]| {
            let known = |(name, _): &&(String, String)| names.contains(&name.as_str());
            let found = pairs.iter().rev().find(known);
            found.map(|(_, value)| value.as_str())
        };
        let server = setting(&["server", "datasource", "address", "addr", "networkaddress"]);
        let (host, port) = server.ok_or(EXPECTED).map(host_and_port)??;
        let user = setting(&["userid", "uid", "user"]).filter(|user| !user.is_empty());
        let password = setting(&["password", "pwd"]).filter(|password| !password.is_empty());
        let database = setting(&["database", "initialcatalog"]).filter(|database| !database.is_empty());
        let (Some(user), Some(password), Some(database)) = (user, password, database) else {
            return Err(EXPECTED.to_owned());
        };
        if let Some(timeout) = setting(&["connectiontimeout", "connecttimeout", "timeout"]) {
            timeout
                .parse::<u32>()
                .map_err(|_| "`Connection Timeout` is not a number of seconds from 0 up")?;
        }
        Ok(Self {
            host,
            port,
            database: database.to_owned(),
            user: user.to_owned(),
            password: password.to_owned(),
            encrypt: encrypt(setting(&["encrypt"]))?,
            trust: truth(setting(&["trustservercertificate"]).unwrap_or("false"))
                .ok_or("`TrustServerCertificate` is not one of true, false, yes, no")?,
        })
    }
}

/// `key=value;…` with keys in lower case and without spaces; values may be quoted.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let (mut pairs, mut rest) = (Vec::new(), text);
    while !rest.trim_matches([';', ' ']).is_empty() {
        rest = rest.trim_start_matches([';', ' ']);
        let (key, value) = rest.split_once('=')?;
        let key: String = key.chars().filter(|letter| !letter.is_whitespace()).collect();
        let value = value.trim_start();
        let quote = value
            .chars()
            .next()
            .filter(|quote| matches!(quote, '\'' | '"' | '{'));
        let (value, after) = if let Some(quote) = quote {
            quoted(value.get(1..)?, if quote == '{' { '}' } else { quote })?
        } else {
            let (value, after) = value.split_once(';').unwrap_or((value, ""));
            (value.trim_end().to_owned(), after)
        };
        pairs.push((key.to_ascii_lowercase(), value));
        rest = after;
    }
    Some(pairs)
}

/// A quoted value, in which the quote is doubled, and what follows.
fn quoted(text: &str, end: char) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once(end)?;
        value.push_str(part);
        match after.strip_prefix(end) {
            Some(after) => {
                value.push(end);
                rest = after;
            }
            None => return Some((value, after)),
        }
    }
}

fn from_url(text: &str) -> Result<Vec<(String, String)>, String> {
    let url = ConnectionUrl::parse(text)?;
    let (host, port) = url.host().cloned().ok_or("connection string must include host")?;
    let mut pairs = vec![
        ("server".to_owned(), format!("{host},{}", port.unwrap_or(PORT))),
        ("userid".to_owned(), url.user.unwrap_or_default()),
        ("password".to_owned(), url.password.unwrap_or_default()),
    ];
    if !url.database.is_empty() {
        pairs.push(("database".to_owned(), url.database));
    }
    let params = url.params.into_iter();
    pairs.extend(params.map(|(key, value)| (key.replace([' ', '+'], "").to_ascii_lowercase(), value)));
    Ok(pairs)
}

/// `host`, `host,port` or `tcp:host,port`.
fn host_and_port(server: &str) -> Result<(String, u16), String> {
    let server = server.trim();
    let server = server.strip_prefix("tcp:").unwrap_or(server);
    if server.contains('\\') {
        return Err("a named instance has no fixed port; give `Server=hostname,port`".to_owned());
    }
    let (host, port) = server.split_once(',').unwrap_or((server, ""));
    let port = match port.trim() {
        "" => Some(PORT),
        port => port.parse().ok().filter(|port| *port != 0),
    };
    match (host.trim(), port) {
        ("", _) => Err(EXPECTED.to_owned()),
        (_, None) => Err("invalid port: expected 1 to 65535".to_owned()),
        ("." | "(local)", Some(port)) => Ok(("localhost".to_owned(), port)),
        (host, Some(port)) => Ok((host.to_owned(), port)),
    }
}

fn encrypt(value: Option<&str>) -> Result<Encrypt, String> {
    match value.unwrap_or("false").to_ascii_lowercase().as_str() {
        "true" | "yes" | "mandatory" => Ok(Encrypt::Mandatory),
        "false" | "no" | "optional" => Ok(Encrypt::Optional),
        "strict" => Ok(Encrypt::Strict),
        "disable" => Ok(Encrypt::Disable),
        _ => Err("`Encrypt` is not one of true, false, yes, no, strict, disable".to_owned()),
    }
}

fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" => Some(true),
        "false" | "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let long = Settings::parse("Server=db4,1434;Database=app;User Id=sa;Password=p@ss;Encrypt=true;TrustServerCertificate=Yes;Connection Timeout=30").unwrap();
        assert_eq!(
            (
                long.host.as_str(),
                long.port,
                long.database.as_str(),
                long.user.as_str(),
                long.password.as_str()
            ),
            ("db4", 1434, "app", "sa", "p@ss")
        );
        assert!(long.encrypt == Encrypt::Mandatory && long.trust);
        for text in [
            "sqlserver://sa:p%40ss@db4:1434/app?encrypt=true&TrustServerCertificate=yes",
            "mssql://sa:p%40ss@db4:1434?database=app&encrypt=yes&trustservercertificate=true",
            "pwd='p@ss';uid={sa};initial catalog=\"app\"; data source = tcp:db4,1434 ;encrypt=mandatory;trust server certificate=true;",
        ] {
            assert!(
                Settings::parse(text).is_ok_and(|settings| settings == long),
                "{text}"
            );
        }
        let short = Settings::parse("server=.;database=m;user id=u;password=\"a;b\"\"c\"").unwrap();
        assert_eq!(
            (short.host.as_str(), short.port, short.password.as_str()),
            ("localhost", 1433, "a;b\"c")
        );
        assert!(short.encrypt == Encrypt::Optional && !short.trust);
    }

    #[test]
    fn what_is_wrong_is_told_without_the_password() {
        let full = "Server=h;Database=d;User Id=u;Password=hunter2;";
        for (text, part) in [
            (String::new(), "cannot be empty"),
            ("hunter2".to_owned(), "Expected: Server="),
            ("Server=h;Database=d;User Id=u;".to_owned(), "Expected: Server="),
            (full.replace("=h;", "=h,0;"), "invalid port"),
            (full.replace("=h;", "=h\\SQLEXPRESS;"), "named instance"),
            (format!("{full}Encrypt=hunter2"), "`Encrypt`"),
            (
                format!("{full}TrustServerCertificate=1"),
                "`TrustServerCertificate`",
            ),
            (format!("{full}Connection Timeout=-1"), "`Connection Timeout`"),
            ("sqlserver://u:hunter2@h:x/d".to_owned(), "invalid port"),
        ] {
            let error = Settings::parse(&text).map(|_| ()).unwrap_err();
            assert!(
                error.contains(part) && !error.contains("hunter2"),
                "{text}: {error}"
            );
        }
    }
}
