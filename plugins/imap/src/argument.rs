//! A user's words as arguments of a command: nothing in them can end the command or begin another. No I/O.

use base64::{
    Engine, alphabet,
    engine::{GeneralPurpose, general_purpose::NO_PAD},
};

/// RFC 3501 §5.1.3: base64 with `,` for `/` and without padding.
const MODIFIED: GeneralPurpose = GeneralPurpose::new(&alphabet::IMAP_MUTF7, NO_PAD);

/// How an argument is sent (RFC 9051 §4.3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Argument {
    /// On the command's own line, quotes included.
    Quoted(String),
    /// As counted bytes, for which the server must ask.
    Literal(Vec<u8>),
}

impl Argument {
    /// Text without NUL, which no argument can carry.
    pub(crate) fn new(text: &str) -> Self {
        if !text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return Self::Literal(text.as_bytes().to_vec());
        }
        Self::Quoted(format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\"")))
    }

    /// A mailbox's name, in the encoding that every server understands.
    pub(crate) fn mailbox(name: &str) -> Self {
        Self::new(&modified_utf7(name))
    }
}

/// RFC 3501 §5.1.3.
fn modified_utf7(name: &str) -> String {
    let mut encoded = String::new();
    let mut wide = Vec::new();
    for c in name.chars() {
        if !matches!(c, ' '..='~') {
            let mut units = [0; 2];
            wide.extend(
                c.encode_utf16(&mut units)
                    .iter()
                    .flat_map(|unit| unit.to_be_bytes()),
            );
            continue;
        }
        shift(&mut encoded, &mut wide);
        encoded.push(c);
        if c == '&' {
            encoded.push('-');
        }
    }
    shift(&mut encoded, &mut wide);
    encoded
}

/// Ends a run of characters that are not ASCII.
fn shift(encoded: &mut String, wide: &mut Vec<u8>) {
    if !wide.is_empty() {
        encoded.push('&');
        MODIFIED.encode_string(&wide, encoded);
        encoded.push('-');
        wide.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> Argument {
        Argument::Quoted(text.to_owned())
    }

    #[test]
    fn plain_text_is_quoted() {
        assert_eq!(Argument::new("user"), quoted("\"user\""));
        assert_eq!(Argument::new(""), quoted("\"\""));
        assert_eq!(Argument::new(r#"pa ss"\word"#), quoted(r#""pa ss\"\\word""#));
        assert_eq!(Argument::new("{5}"), quoted("\"{5}\""));
    }

    #[test]
    fn what_could_end_a_line_is_counted() {
        for text in ["a\r\nL9 LOGOUT", "a\n", "\r", "pässword", "\u{7f}", "\t"] {
            assert_eq!(Argument::new(text), Argument::Literal(text.as_bytes().to_vec()));
        }
    }

    #[test]
    fn mailboxes_are_named_as_rfc_3501_shows() {
        assert_eq!(
            modified_utf7("~peter/mail/台北/日本語"),
            "~peter/mail/&U,BTFw-/&ZeVnLIqe-"
        );
        assert_eq!(modified_utf7("Entwürfe & Co"), "Entw&APw-rfe &- Co");
        assert_eq!(modified_utf7("\r\n"), "&AA0ACg-");
        assert_eq!(modified_utf7("😀"), "&2D3eAA-");
        assert_eq!(modified_utf7("INBOX"), "INBOX");
    }
}
