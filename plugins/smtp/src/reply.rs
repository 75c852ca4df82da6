//! Replies of an SMTP server: one or more lines with one code (RFC 5321 §4.2). No I/O.

use std::fmt;

/// Longest line accepted, CR LF included. RFC 5321 §4.5.3.1.5 says 512; real greetings go past it.
pub(crate) const MAX_LINE: u32 = 2048;
/// Most lines of one reply.
const MAX_LINES: usize = 128;

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// 200–599.
    pub(crate) code: u16,
    /// The text of each line, without code and separator; at least one.
    pub(crate) lines: Vec<String>,
}

/// What a server sent that is no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// A line without a code.
    NoCode(String),
    /// A later line with another code than the first.
    CodeChanged { first: u16, then: u16 },
    /// A reply that does not end.
    TooManyLines,
}

/// Puts a reply together, line by line.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    code: Option<u16>,
    lines: Vec<String>,
}

impl Reader {
    /// Takes the next line, without its CR LF. The reply, if that was its last line.
    pub(crate) fn push(&mut self, line: &str) -> Result<Option<Reply>, Malformed> {
        let (code, last, text) = parse(line).ok_or_else(|| Malformed::NoCode(shown(line)))?;
        match self.code {
            Some(first) if first != code => return Err(Malformed::CodeChanged { first, then: code }),
            _ => self.code = Some(code),
        }
        if self.lines.len() == MAX_LINES {
            return Err(Malformed::TooManyLines);
        }
        self.lines.push(text.to_owned());
        Ok(last.then(|| Reply {
            code,
            lines: std::mem::take(&mut self.lines),
        }))
    }
}

impl Reply {
    /// The first line's text.
    pub(crate) fn text(&self) -> &str {
        self.lines.first().map_or("", String::as_str)
    }

    /// Whether the code is 2xx: done as asked.
    pub(crate) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Whether `part` is in one of the lines.
    pub(crate) fn contains(&self, part: &str) -> bool {
        self.lines.iter().any(|line| line.contains(part))
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code, shown(self.text()))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCode(line) => write!(f, "not an SMTP reply: `{line}`"),
            Self::CodeChanged { first, then } => write!(f, "a reply with two codes, {first} and {then}"),
            Self::TooManyLines => write!(f, "a reply of more than {MAX_LINES} lines"),
        }
    }
}

/// Code, whether the line ends its reply, and text. The first digit is 2 to 5, the second 0 to 5, then comes a space,
/// a `-`, or nothing (§4.2.1).
fn parse(line: &str) -> Option<(u16, bool, &str)> {
    let (code, rest) = line.split_at_checked(3)?;
    let plausible = code.starts_with(|c| matches!(c, '2'..='5')) && code.bytes().all(|b| b.is_ascii_digit());
    let code: u16 = code
        .parse()
        .ok()
        .filter(|code| plausible && code / 10 % 10 <= 5)?;
    match rest.strip_prefix('-') {
        Some(text) => Some((code, false, text)),
        None if rest.is_empty() => Some((code, true, "")),
        None => rest.strip_prefix(' ').map(|text| (code, true, text)),
    }
}

/// A server's words, cut to fit a message.
fn shown(text: &str) -> String {
    const MAX: usize = 120;
    let text = text.trim();
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Result<Option<Reply>, Malformed> {
        let mut reader = Reader::default();
        let mut last = Ok(None);
        for line in lines {
            assert_eq!(last, Ok(None), "the reply ended before `{line}`");
            last = reader.push(line);
        }
        last
    }

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply {
            code,
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
        }
    }

    #[test]
    fn a_reply_ends_with_the_line_that_has_a_space() {
        assert_eq!(
            read(&["220 mail.example.com ESMTP"]),
            Ok(Some(reply(220, &["mail.example.com ESMTP"])))
        );
        assert_eq!(
            read(&["250-m", "250-SIZE 10", "250 HELP"]),
            Ok(Some(reply(250, &["m", "SIZE 10", "HELP"])))
        );
        assert_eq!(read(&["250-m", "250-SIZE 10"]), Ok(None));
    }

    #[test]
    fn a_bare_code_is_a_reply() {
        assert_eq!(read(&["250"]), Ok(Some(reply(250, &[""]))));
        assert_eq!(read(&["220-", "220 "]), Ok(Some(reply(220, &["", ""]))));
    }

    #[test]
    fn anything_else_is_malformed() {
        for line in [
            "",
            "22",
            "HTTP/1.1 400",
            "2200 x",
            "220x",
            "120 x",
            "620 x",
            "260 x",
            "2a0 x",
            "+20 x",
            "22é x",
            "€20 x",
        ] {
            assert_eq!(read(&[line]), Err(Malformed::NoCode(line.to_owned())), "{line:?}");
        }
        assert_eq!(
            read(&["250-a", "220 b"]),
            Err(Malformed::CodeChanged {
                first: 250,
                then: 220
            })
        );
    }

    #[test]
    fn an_endless_reply_is_cut_off() {
        let mut reader = Reader::default();
        for _ in 0..MAX_LINES {
            assert_eq!(reader.push("250-more"), Ok(None));
        }
        assert_eq!(reader.push("250-more"), Err(Malformed::TooManyLines));
    }

    #[test]
    fn long_words_of_a_server_are_cut() {
        let Err(error) = read(&[&"ä".repeat(500)]) else {
            panic!("garbage was taken for a reply")
        };
        assert_eq!(
            error.to_string(),
            format!("not an SMTP reply: `{}…`", "ä".repeat(120))
        );
    }
}
