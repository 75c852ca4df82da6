//! A2S_INFO, the question every Source and GoldSource server answers (Valve, "Server queries"). No I/O.

use crate::expect::Seen;
use std::fmt;

/// Largest datagram of the protocol is 1400 bytes; some servers send more.
pub(crate) const MAX_DATAGRAM: u32 = 4096;
/// A datagram that is whole, and one that is a part.
const WHOLE: [u8; 4] = [0xff; 4];
const PART: [u8; 4] = [0xfe, 0xff, 0xff, 0xff];
const QUESTION: &[u8] = b"\xff\xff\xff\xffTSource Engine Query\0";

/// The game "The Ship" has fields of its own.
const THE_SHIP: u16 = 2400;

/// The question, with the number the server wants to see again.
pub(crate) fn question(challenge: Option<[u8; 4]>) -> Vec<u8> {
    let mut question = QUESTION.to_vec();
    question.extend(challenge.into_iter().flatten());
    question
}

/// What a server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Ask again with this number: it makes sure that we are who we say we are.
    Challenge([u8; 4]),
    Info(Seen),
}

/// What a server sent that is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer to A2S_INFO: {}", self.0)
    }
}

/// Puts an answer together, datagram by datagram.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Number of the answer whose parts these are, and the parts that came.
    id: [u8; 4],
    parts: Vec<Option<Vec<u8>>>,
}

impl Reader {
    /// Takes a datagram. The answer, if it is whole now.
    pub(crate) fn push(&mut self, datagram: &[u8]) -> Result<Option<Answer>, Malformed> {
        match datagram.split_first_chunk() {
            Some((&WHOLE, answer)) => read(answer).map(Some),
            Some((&PART, part)) => self.part(part),
            _ => Err(Malformed("a datagram of another protocol")),
        }
    }

    fn part(&mut self, part: &[u8]) -> Result<Option<Answer>, Malformed> {
        const SHORT: Malformed = Malformed("a part that ends too early");
        let (id, rest) = part.split_first_chunk::<4>().ok_or(SHORT)?;
        if id[3] & 0x80 != 0 {
            return Err(Malformed("it is compressed, as only the oldest servers do"));
        }
        let (total, number, data) = place(rest).ok_or(SHORT)?;
        if number >= total {
            return Err(Malformed("a part that is not of the whole"));
        }
        if self.id != *id || self.parts.len() != total {
            self.id = *id;
            self.parts = vec![None; total];
        }
        if let Some(slot) = self.parts.get_mut(number) {
            *slot = Some(data.to_vec());
        }
        let parts: Option<Vec<&[u8]>> = self.parts.iter().map(Option::as_deref).collect();
        let Some(parts) = parts else {
            return Ok(None);
        };
        match parts.concat().split_first_chunk() {
            Some((&WHOLE, answer)) => read(answer).map(Some),
            _ => Err(Malformed("parts that make no whole")),
        }
    }
}

/// How many parts there are, the number of this one, and its data.
///
/// GoldSource has the number and the total in one byte, and then the data, which in the first part begin as a whole
/// answer does. Source has a byte each and then the size of the parts; no answer to this question has 16 of them.
fn place(rest: &[u8]) -> Option<(usize, usize, &[u8])> {
    let (&[both], data) = rest.split_first_chunk()?;
    if both >= 0x10 || data.starts_with(&WHOLE) {
        return Some(((both & 0x0f).into(), (both >> 4).into(), data));
    }
    let (&[total, number, ..], data) = rest.split_first_chunk::<4>()?;
    Some((total.into(), number.into(), data))
}

fn read(answer: &[u8]) -> Result<Answer, Malformed> {
    let (&kind, rest) = answer.split_first().ok_or(Malformed("it is empty"))?;
    let mut fields = Fields(rest);
    match kind {
        b'A' => fields.take().map(Answer::Challenge),
        b'I' => source(&mut fields).map(Answer::Info),
        b'm' => goldsource(&mut fields).map(Answer::Info),
        _ => Err(Malformed("an answer to something else")),
    }
}

fn source(fields: &mut Fields<'_>) -> Result<Seen, Malformed> {
    let [_protocol] = fields.take()?;
    let (name, map) = (fields.text()?, fields.text()?);
    let (_folder, _game) = (fields.text()?, fields.text()?);
    let application = u16::from_le_bytes(fields.take()?);
    let [players, max_players, _bots] = fields.take()?;
    let [_kind, _system, _password, _secured] = fields.take()?;
    if application == THE_SHIP {
        let [_mode, _witnesses, _duration] = fields.take()?;
    }
    // What is behind it (port, tags, SourceTV) is of no interest.
    Ok(Seen {
        name,
        map: Some(map),
        version: fields.text()?,
        players: players.into(),
        max_players: max_players.into(),
    })
}

/// The answer of servers from before 2008.
fn goldsource(fields: &mut Fields<'_>) -> Result<Seen, Malformed> {
    let _address = fields.text()?;
    let (name, map) = (fields.text()?, fields.text()?);
    let (_folder, _game) = (fields.text()?, fields.text()?);
    let [players, max_players, protocol] = fields.take()?;
    Ok(Seen {
        name,
        map: Some(map),
        version: format!("protocol {protocol}"),
        players: players.into(),
        max_players: max_players.into(),
    })
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// Text up to a zero; bytes that are not UTF-8 are replaced by U+FFFD.
    fn text(&mut self) -> Result<String, Malformed> {
        let end = self.0.iter().position(|&byte| byte == 0);
        let (text, rest) = end
            .and_then(|end| self.0.split_at_checked(end))
            .ok_or(Malformed("a text without end"))?;
        self.0 = rest.get(1..).unwrap_or_default();
        Ok(String::from_utf8_lossy(text).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Valve's documentation (Counter-Strike: Source).
    const EXAMPLE: &[u8] = b"\xff\xff\xff\xffI\x02game2xs.com Counter-Strike Source #1\0de_dust\0cstrike\0\
        Counter-Strike: Source\0\xf0\x00\x05\x10\x04dl\x00\x001.0.0.22\0";
    /// Its second example, "The Ship", as it came from Valve, extra data included.
    const SHIP: &[u8] =
        b"\xff\xff\xff\xffI\x07Tenny's Ship\0batavier\0ship\0The Ship\0\x60\x09\x01\x05\x00lw\x00\x00\x01\
        \x03\x031.0.0.4\0";

    fn read(datagram: &[u8]) -> Result<Option<Answer>, Malformed> {
        Reader::default().push(datagram)
    }

    fn example() -> Seen {
        Seen {
            name: "game2xs.com Counter-Strike Source #1".into(),
            map: Some("de_dust".into()),
            version: "1.0.0.22".into(),
            players: 5,
            max_players: 16,
        }
    }

    #[test]
    fn the_documented_answers_are_read() {
        assert_eq!(read(EXAMPLE), Ok(Some(Answer::Info(example()))));
        let Ok(Some(Answer::Info(ship))) = read(SHIP) else {
            panic!("not read")
        };
        assert_eq!(
            (ship.version.as_str(), ship.players, ship.max_players),
            ("1.0.0.4", 1, 5)
        );
        assert_eq!(
            read(b"\xff\xff\xff\xffA\x4b\xa1\xd5\x22"),
            Ok(Some(Answer::Challenge([0x4b, 0xa1, 0xd5, 0x22])))
        );
        let old = b"\xff\xff\xff\xffm192.168.0.1:27015\0Name\0crossfire\0valve\0Half-Life\0\x03\x14\x2f";
        let Ok(Some(Answer::Info(old))) = read(old) else {
            panic!("not read")
        };
        assert_eq!(
            (old.map.as_deref(), old.version.as_str()),
            (Some("crossfire"), "protocol 47")
        );
    }

    #[test]
    fn the_question_is_the_documented_one() {
        assert_eq!(question(None).len(), 25);
        assert_eq!(question(Some([1, 2, 3, 4])), [QUESTION, &[1, 2, 3, 4]].concat());
    }

    fn source_part(total: u8, number: u8, data: &[u8]) -> Vec<u8> {
        [
            &b"\xfe\xff\xff\xff\x07\x00\x00\x00"[..],
            &[total, number, 0xe0, 0x04],
            data,
        ]
        .concat()
    }

    #[test]
    fn parts_make_a_whole_in_any_order() {
        let (first, last) = EXAMPLE.split_at(40);
        let mut reader = Reader::default();
        assert_eq!(reader.push(&source_part(2, 1, last)), Ok(None));
        assert_eq!(reader.push(&source_part(2, 1, last)), Ok(None), "twice the same");
        assert_eq!(
            reader.push(&source_part(2, 0, first)),
            Ok(Some(Answer::Info(example())))
        );

        let gold =
            |place: u8, data: &[u8]| [&b"\xfe\xff\xff\xff\x07\x00\x00\x00"[..], &[place], data].concat();
        let mut reader = Reader::default();
        assert_eq!(reader.push(&gold(0x02, first)), Ok(None));
        assert_eq!(reader.push(&gold(0x12, last)), Ok(Some(Answer::Info(example()))));
    }

    #[test]
    fn parts_that_cannot_be_are_refused() {
        for part in [
            &b"\xfe\xff\xff\xff"[..],
            b"\xfe\xff\xff\xff\x07\x00\x00\x00",
            b"\xfe\xff\xff\xff\x07\x00\x00\x00\x02",
            b"\xfe\xff\xff\xff\x07\x00\x00\x80\x02\x00\xe0\x04x",
        ] {
            assert!(read(part).is_err(), "{part:x?}");
        }
        assert!(read(&source_part(0, 0, b"x")).is_err());
        assert!(read(&source_part(200, 0, b"x")).is_err());
        assert!(read(&source_part(1, 0, b"garbage")).is_err());
    }

    #[test]
    fn every_cut_and_every_flipped_byte_is_survived() {
        for cut in 0..EXAMPLE.len() {
            assert!(read(&EXAMPLE[..cut]).is_err(), "{cut}");
        }
        for at in 0..EXAMPLE.len() {
            for bit in 0..8 {
                let mut broken = EXAMPLE.to_vec();
                broken[at] ^= 1 << bit;
                // Right or wrong, it ends.
                let _ = read(&broken);
            }
        }
    }
}
