//! Server List Ping, by which a Minecraft (Java) client fills its list of servers: the way of 1.7 and later, and the one
//! of 1.4 to 1.6. No I/O.

use crate::expect::Seen;
use lapwing_plugin_sdk::serde_json::{self, Value};
use serde::Deserialize;
use std::fmt;

/// Largest status accepted: the text may have 32767 characters, and some servers put a picture in it.
pub(crate) const MAX_STATUS: usize = 256 << 10;
/// Deepest nesting of a message of the day that is followed.
const MAX_DEPTH: usize = 16;

/// What a server sent that is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Malformed(String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer to Server List Ping: {}", self.0)
    }
}

fn malformed<T>(what: impl Into<String>) -> Result<T, Malformed> {
    Err(Malformed(what.into()))
}

/// Handshake (towards status) and status request. No protocol version is claimed: the server tells its own.
pub(crate) fn question(host: &str, port: u16) -> Vec<u8> {
    let mut handshake = vec![0x00];
    handshake.extend(varint(-1));
    handshake.extend(varint(i32::try_from(host.len()).unwrap_or(i32::MAX)));
    handshake.extend(host.as_bytes());
    handshake.extend(port.to_be_bytes());
    handshake.extend(varint(1));
    [frame(&handshake), frame(&[0x00])].concat()
}

fn frame(packet: &[u8]) -> Vec<u8> {
    let mut frame = varint(i32::try_from(packet.len()).unwrap_or(i32::MAX));
    frame.extend(packet);
    frame
}

/// Seven bits a byte, the lowest first; the bits are those of the number's two's complement.
fn varint(value: i32) -> Vec<u8> {
    let mut rest = value.cast_unsigned();
    let mut bytes = Vec::new();
    loop {
        let [low, ..] = rest.to_le_bytes();
        rest >>= 7;
        if rest == 0 {
            bytes.push(low & 0x7f);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A number from 0 and what is behind it; `None` when more of it must come.
fn read_varint(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return match usize::try_from(value) {
                Ok(value) if value < 1 << 31 => Ok(Some((value, bytes.get(index + 1..).unwrap_or_default()))),
                _ => malformed("a negative length"),
            };
        }
    }
    if bytes.len() < 5 {
        Ok(None)
    } else {
        malformed("a length that does not end")
    }
}

/// The status in `bytes`; `None` when more of it must come.
pub(crate) fn status(bytes: &[u8]) -> Result<Option<Seen>, Malformed> {
    let Some((length, packet)) = read_varint(bytes)? else {
        return Ok(None);
    };
    if length > MAX_STATUS {
        return malformed(format!("a packet of {length} bytes"));
    }
    let Some(packet) = packet.get(..length) else {
        return Ok(None);
    };
    let Some((&0x00, text)) = packet.split_first() else {
        return malformed("another packet than the status");
    };
    match read_varint(text)? {
        Some((length, text)) if length == text.len() => read_status(text).map(Some),
        _ => malformed("a text of another length than its packet"),
    }
}

/// What of the status is of interest.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    version: Version,
    #[serde(default)]
    players: Players,
    /// The message of the day: a text, or a chat component.
    #[serde(default)]
    description: Value,
}

#[derive(Default, Deserialize)]
struct Version {
    #[serde(default)]
    name: String,
}

/// Absent where the server hides them.
#[derive(Default, Deserialize)]
struct Players {
    #[serde(default)]
    max: i64,
    #[serde(default)]
    online: i64,
}

fn read_status(text: &[u8]) -> Result<Seen, Malformed> {
    // Nesting deeper than 128 is refused by the parser.
    let status: Status =
        serde_json::from_slice(text).map_err(|error| Malformed(format!("the status is {error}")))?;
    let mut name = String::new();
    flatten(&status.description, MAX_DEPTH, &mut name);
    Ok(Seen {
        name: plain(&name),
        map: None,
        version: plain(&status.version.name),
        players: status.players.online,
        max_players: status.players.max,
    })
}

/// The text of a chat component: its own, then that of its parts.
fn flatten(component: &Value, depth: usize, text: &mut String) {
    if depth == 0 {
        return;
    }
    match component {
        Value::String(words) => text.push_str(words),
        Value::Array(parts) => parts.iter().for_each(|part| flatten(part, depth - 1, text)),
        Value::Object(fields) => {
            for part in ["text", "translate", "extra"]
                .into_iter()
                .filter_map(|key| fields.get(key))
            {
                flatten(part, depth - 1, text);
            }
        }
        _ => {}
    }
}

/// Without colour codes (`§` and a character), and on one line.
fn plain(text: &str) -> String {
    let mut parts = text.split('§');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.extend(part.chars().skip(1));
    }
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The question of 1.4 and 1.5, which servers of 1.6 and most later ones answer, too.
pub(crate) const LEGACY_QUESTION: [u8; 2] = [0xfe, 0x01];

/// The answer to it in `bytes`: a kick whose text is the status. `None` when more of it must come.
pub(crate) fn legacy_status(bytes: &[u8]) -> Result<Option<Seen>, Malformed> {
    match bytes {
        [] | [0xff] | [0xff, _] => return Ok(None),
        [0xff, ..] => {}
        _ => return malformed("no kick"),
    }
    let (high, low) = (bytes.get(1).copied(), bytes.get(2).copied());
    let units = usize::from(u16::from_be_bytes([high.unwrap_or(0), low.unwrap_or(0)]));
    let Some(text) = bytes.get(3..3 + 2 * units) else {
        return Ok(None);
    };
    let units = text.as_chunks().0.iter().map(|&unit| u16::from_be_bytes(unit));
    let text: String = char::decode_utf16(units)
        .map(|unit| unit.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    let fields: Vec<&str> = text.split('\0').collect();
    let ["§1", _protocol, version, name, players, max_players] = fields[..] else {
        return malformed("a kick that is no status");
    };
    match (players.parse(), max_players.parse()) {
        (Ok(players), Ok(max_players)) => Ok(Some(Seen {
            name: plain(name),
            map: None,
            version: version.to_owned(),
            players,
            max_players,
        })),
        _ => malformed("players that are no numbers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the protocol's documentation.
    const EXAMPLE: &str = r#"{"version":{"name":"1.19.4","protocol":762},"players":{"max":100,"online":5,
        "sample":[{"name":"thinkofdeath","id":"4566e69f-c907-48ee-8d71-d7ba5aa00d20"}]},
        "description":{"text":"Hello, ","extra":[{"text":"§aworld"},"!"]},
        "favicon":"data:image/png;base64,<data>","enforcesSecureChat":false}"#;

    fn answer(json: &str) -> Vec<u8> {
        let text = [&varint(i32::try_from(json.len()).unwrap())[..], json.as_bytes()].concat();
        frame(&[&[0x00], &text[..]].concat())
    }

    #[test]
    fn numbers_are_written_as_documented() {
        for (value, bytes) in [
            (0, &[0x00][..]),
            (127, &[0x7f]),
            (128, &[0x80, 0x01]),
            (25565, &[0xdd, 0xc7, 0x01]),
            (i32::MAX, &[0xff, 0xff, 0xff, 0xff, 0x07]),
            (-1, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            assert_eq!(varint(value), bytes, "{value}");
            if let Ok(value) = usize::try_from(value) {
                assert_eq!(read_varint(bytes), Ok(Some((value, &[][..]))));
            } else {
                assert!(read_varint(bytes).is_err());
            }
        }
        assert!(read_varint(&[0xff; 6]).is_err());
        assert_eq!(read_varint(&[0xff; 4]), Ok(None));
    }

    #[test]
    fn the_question_is_the_documented_one() {
        assert_eq!(
            question("localhost", 25565),
            b"\x13\x00\xff\xff\xff\xff\x0f\x09localhost\x63\xdd\x01\x01\x00"
        );
    }

    #[test]
    fn the_documented_status_is_read() {
        let seen = status(&answer(EXAMPLE)).unwrap().unwrap();
        assert_eq!(
            (seen.name.as_str(), seen.version.as_str()),
            ("Hello, world!", "1.19.4")
        );
        assert_eq!((seen.players, seen.max_players), (5, 100));
        let plain = status(&answer(r#"{"description":"A §lServer\n§rof mine"}"#))
            .unwrap()
            .unwrap();
        assert_eq!(plain.name, "A Server of mine");
    }

    #[test]
    fn a_status_is_awaited_to_its_end() {
        let whole = answer(EXAMPLE);
        for cut in 0..whole.len() {
            assert_eq!(status(&whole[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn hostile_answers_are_refused() {
        let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for bytes in [
            b"HTTP/1.1 400 Bad Request and so on, for as long as the first byte says it is".to_vec(),
            b"\xff\xff\xff\xff\x07".to_vec(),
            b"\xff\xff\xff\xff\xff\xff".to_vec(),
            frame(&[0x01, 0x00]),
            frame(&[]),
            frame(b"\x00\x05{}"),
            answer("{"),
            answer(r#"{"players":{"online":"many"}}"#),
            answer(&format!(r#"{{"description":{nested}}}"#)),
        ] {
            assert!(
                status(&bytes).is_err(),
                "{:?}",
                String::from_utf8_lossy(&bytes[..5.min(bytes.len())])
            );
        }
        let deep = format!(r#"{}"x"{}"#, r#"{"text":"#.repeat(100), "}".repeat(100));
        let seen = status(&answer(&format!(r#"{{"description":{deep}}}"#)))
            .unwrap()
            .unwrap();
        assert_eq!(seen.name, "", "cut, not followed");
    }

    fn kick(text: &str) -> Vec<u8> {
        let units: Vec<u16> = text.encode_utf16().collect();
        let mut bytes = vec![0xff];
        bytes.extend(u16::try_from(units.len()).unwrap().to_be_bytes());
        bytes.extend(units.into_iter().flat_map(u16::to_be_bytes));
        bytes
    }

    #[test]
    fn the_documented_kick_is_read() {
        let whole = kick(&["§1", "127", "1.4.2", "A Minecraft Server", "0", "20"].join("\0"));
        let seen = legacy_status(&whole).unwrap().unwrap();
        assert_eq!(
            (seen.name.as_str(), seen.version.as_str()),
            ("A Minecraft Server", "1.4.2")
        );
        assert_eq!((seen.players, seen.max_players), (0, 20));
        for cut in 0..whole.len() {
            assert_eq!(legacy_status(&whole[..cut]), Ok(None), "{cut}");
        }
        for bytes in [
            kick("You are banned"),
            kick(&["§1", "1", "v", "m", "x", "y"].join("\0")),
            b"HTTP".to_vec(),
        ] {
            assert!(legacy_status(&bytes).is_err());
        }
    }
}
