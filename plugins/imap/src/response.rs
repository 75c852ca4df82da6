//! A server's responses (RFC 9051 §7, which reads RFC 3501's too). No I/O.

/// One response: a line, and the literals that its `{n}` stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Response {
    /// `+`: the server waits for the rest of the command.
    Continue,
    /// `* OK`, `* NO`, `* BAD`, `* BYE`, `* PREAUTH`.
    Status(Status),
    /// `* CAPABILITY …`, `* STATUS …`: the word in capitals, and what follows.
    Data(String, String),
    /// The end of the command with this tag.
    Done(String, Status),
}

/// How something went, and the server's words on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) word: Word,
    /// What stands in brackets: `CAPABILITY IMAP4rev1 …`, `UNAVAILABLE`.
    pub(crate) code: Option<String>,
    pub(crate) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Ok,
    No,
    Bad,
    Bye,
    Preauth,
}

/// The messages of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) messages: u32,
    pub(crate) unseen: u32,
}

impl Response {
    /// Reads a line without its CR LF. `None` for what is no response.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        if line == "+" || line.starts_with("+ ") {
            return Some(Self::Continue);
        }
        let (tag, rest) = line.split_once(' ')?;
        if tag == "*" {
            if let Some(status) = Status::parse(rest) {
                return Some(Self::Status(status));
            }
            let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let plausible = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
            return plausible.then(|| Self::Data(word.to_ascii_uppercase(), rest.to_owned()));
        }
        let plausible = !tag.is_empty() && tag.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let status =
            Status::parse(rest).filter(|status| matches!(status.word, Word::Ok | Word::No | Word::Bad))?;
        plausible.then(|| Self::Done(tag.to_owned(), status))
    }

    /// The length of the literal that comes behind this line. Only data have literals: a server's prose may end in
    /// braces.
    pub(crate) fn literal(line: &str) -> Option<u32> {
        if !matches!(Self::parse(line)?, Self::Data(..)) {
            return None;
        }
        let (_, length) = line.strip_suffix('}')?.rsplit_once('{')?;
        length.parse().ok()
    }
}

impl Status {
    fn parse(text: &str) -> Option<Self> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let word = [
            ("OK", Word::Ok),
            ("NO", Word::No),
            ("BAD", Word::Bad),
            ("BYE", Word::Bye),
            ("PREAUTH", Word::Preauth),
        ]
        .into_iter()
        .find_map(|(name, known)| name.eq_ignore_ascii_case(word).then_some(known))?;
        let coded = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (code, text) = match coded {
            Some((code, text)) => (Some(code.to_owned()), text),
            None => (None, rest),
        };
        Some(Self {
            word,
            code,
            text: text.trim().to_owned(),
        })
    }

    /// Whether the code begins with this word.
    pub(crate) fn has_code(&self, word: &str) -> bool {
        let code = self.code.as_deref().and_then(|code| code.split(' ').next());
        code.is_some_and(|code| code.eq_ignore_ascii_case(word))
    }

    /// The capabilities told in brackets, as servers do to spare a command.
    pub(crate) fn capabilities(&self) -> Option<Vec<String>> {
        let (word, rest) = self.code.as_deref()?.split_once(' ')?;
        word.eq_ignore_ascii_case("CAPABILITY").then(|| words(rest))
    }

    /// The server's words, cut to fit a message.
    pub(crate) fn shown(&self) -> String {
        let word = match self.word {
            Word::Ok => "OK",
            Word::No => "NO",
            Word::Bad => "BAD",
            Word::Bye => "BYE",
            Word::Preauth => "PREAUTH",
        };
        let code = self.code.as_ref().filter(|_| !self.has_code("CAPABILITY"));
        let code = code.map(|code| format!(" [{code}]")).unwrap_or_default();
        shown(format!("{word}{code} {}", self.text).trim())
    }
}

impl Counts {
    /// Reads `INBOX (MESSAGES 5 UNSEEN 2)`. The list is last; a mailbox's name may have parentheses too.
    pub(crate) fn parse(data: &str) -> Option<Self> {
        let (_, list) = data.trim_end().strip_suffix(')')?.rsplit_once('(')?;
        let words = words(list);
        let number = |name: &str| {
            let at = words.iter().position(|word| word.eq_ignore_ascii_case(name))?;
            words.get(at + 1)?.parse().ok()
        };
        Some(Self {
            messages: number("MESSAGES")?,
            unseen: number("UNSEEN")?,
        })
    }
}

/// Words with spaces between them.
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(' ')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Foreign text, cut to fit a message.
pub(crate) fn shown(text: &str) -> String {
    const MAX: usize = 120;
    match text.char_indices().nth(MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(word: Word, code: Option<&str>, text: &str) -> Status {
        Status {
            word,
            code: code.map(str::to_owned),
            text: text.to_owned(),
        }
    }

    #[test]
    fn each_kind_of_response_is_known() {
        let cases = [
            ("+", Response::Continue),
            ("+ idling", Response::Continue),
            ("* ok hello", Response::Status(status(Word::Ok, None, "hello"))),
            ("* BYE", Response::Status(status(Word::Bye, None, ""))),
            (
                "* PREAUTH [CAPABILITY IMAP4rev1] in",
                Response::Status(status(Word::Preauth, Some("CAPABILITY IMAP4rev1"), "in")),
            ),
            (
                "* capability A B",
                Response::Data("CAPABILITY".into(), "A B".into()),
            ),
            ("* 5 EXISTS", Response::Data("5".into(), "EXISTS".into())),
            (
                "L1 NO [UNAVAILABLE] later",
                Response::Done("L1".into(), status(Word::No, Some("UNAVAILABLE"), "later")),
            ),
        ];
        for (line, response) in cases {
            assert_eq!(Response::parse(line), Some(response), "{line}");
        }
    }

    #[test]
    fn anything_else_is_no_response() {
        for line in [
            "",
            " ",
            "*",
            "* ",
            "220 mail ESMTP",
            "HTTP/1.1 400 Bad Request",
            "L1",
            "L1 ",
            "L1 BYE x",
            "L1 MAYBE x",
            "+OK POP3",
            " OK x",
            "* \u{1b}[31m x",
            "ä OK x",
            "* [x] y",
        ] {
            assert_eq!(Response::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn only_data_have_literals() {
        assert_eq!(Response::literal("* STATUS {5}"), Some(5));
        assert_eq!(Response::literal("* STATUS ~{5}"), Some(5));
        for line in [
            "* OK hello {5}",
            "L1 OK {5}",
            "+ {5}",
            "* STATUS x",
            "* STATUS {}",
            "* STATUS {-1}",
            "* STATUS {99999999999}",
            "{5}",
        ] {
            assert_eq!(Response::literal(line), None, "{line}");
        }
    }

    #[test]
    fn counts_are_found_behind_any_name() {
        let counts = Some(Counts {
            messages: 5,
            unseen: 2,
        });
        assert_eq!(Counts::parse("INBOX (MESSAGES 5 UNSEEN 2)"), counts);
        assert_eq!(
            Counts::parse(r#""a (MESSAGES 1 UNSEEN 1) b" (unseen 2 RECENT 9 messages 5) "#),
            counts
        );
        assert_eq!(Counts::parse("{3} (UNSEEN 2 MESSAGES 5)"), counts);
        for data in [
            "",
            "INBOX",
            "INBOX ()",
            "INBOX (MESSAGES 5)",
            "INBOX (MESSAGES x UNSEEN 1)",
            "x (MESSAGES 4294967296 UNSEEN 1)",
        ] {
            assert_eq!(Counts::parse(data), None, "{data}");
        }
    }

    #[test]
    fn capabilities_are_told_in_brackets() {
        let Some(Response::Status(greeting)) = Response::parse("* OK [CAPABILITY IMAP4rev1  AUTH=PLAIN] hi")
        else {
            panic!("no status")
        };
        assert_eq!(greeting.capabilities().unwrap(), ["IMAP4rev1", "AUTH=PLAIN"]);
        assert_eq!(greeting.shown(), "OK hi");
        assert!(greeting.has_code("capability"));
        assert_eq!(status(Word::No, Some("ALERT"), "x").shown(), "NO [ALERT] x");
        assert_eq!(
            status(Word::No, None, &"ä".repeat(500)).shown().chars().count(),
            121
        );
    }
}
