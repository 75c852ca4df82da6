//! RESP2, as far as simple answers go.

use crate::{native::session::Session, net::NetError};

/// Longest line to wait for.
const MOST_LINE: usize = 64 * 1024;

/// What a server answers.
pub(super) enum Reply {
    Said(String),
    Refused(String),
}

/// A command on the wire.
pub(super) fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// Sends a command and hears the answer to it.
pub(super) async fn ask(session: &mut Session<'_>, words: &[&str]) -> Result<Reply, NetError> {
    session.send(&command(words)).await?;
    let kind = session.take(1).await?;
    if !matches!(kind.as_ref(), b"+" | b"-" | b":" | b"$") {
        return Err(session.breach("does not speak Redis' protocol"));
    }
    let line = session.line(MOST_LINE).await?;
    let line = String::from_utf8_lossy(&line).into_owned();
    match kind.as_ref() {
        b"-" => Ok(Reply::Refused(line)),
        b"$" => {
            let length = line.parse::<usize>().ok().filter(|length| *length <= MOST_LINE);
            let length = length.ok_or_else(|| session.breach("a text of no believable length"))?;
            let text = session.take(length + 2).await?;
            let text = text.get(..length).unwrap_or_default();
            Ok(Reply::Said(String::from_utf8_lossy(text).into_owned()))
        }
        _ => Ok(Reply::Said(line)),
    }
}
