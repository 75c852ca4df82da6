//! Makes a guest's text fit to be shown: no control characters, no terminal escapes, no reordering marks, no floods.

use lapwing_checks::text::disturbs;

/// At most `limit` characters of `text`, on one line: line ends and tabs become spaces, escape sequences and other
/// control characters vanish, and so do the marks that reorder text (Unicode's bidirectional controls).
pub(crate) fn line(text: &str, limit: usize) -> String {
    let mut kept = String::with_capacity(text.len().min(limit));
    let mut room = limit;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let c = match c {
            '\u{1b}' => {
                skip_escape(&mut chars);
                continue;
            }
            '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => ' ',
            c if disturbs(c) => continue,
            c => c,
        };
        if room == 0 {
            kept.push('…');
            break;
        }
        room -= 1;
        kept.push(c);
    }
    kept
}

/// The rest of an ECMA-48 control sequence (`[`, parameters, one final byte); other escapes are one character long.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if chars.next_if_eq(&'[').is_some() {
        while chars.next_if(|c| matches!(c, ' '..='?')).is_some() {}
        chars.next_if(|c| matches!(c, '@'..='~'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controls_vanish_and_words_stay() {
        assert_eq!(line("\u{1b}[31mred\u{1b}[0m\r\nnext\0\u{7}", 100), "red  next");
        assert_eq!(line("one\u{2028}two\u{2029}three", 100), "one two three");
        assert_eq!(line("user\u{202e}gnp.exe", 100), "usergnp.exe");
        assert_eq!(line("Grüße, 世界 ✓", 100), "Grüße, 世界 ✓");
    }

    #[test]
    fn long_text_is_cut_with_a_mark() {
        assert_eq!(line("äöüß", 3), "äöü…");
        assert_eq!(line("äöü", 3), "äöü");
    }

    #[test]
    fn an_unfinished_escape_ends_with_the_text() {
        assert_eq!(line("a\u{1b}[12;", 10), "a");
        assert_eq!(line("a\u{1b}", 10), "a");
    }
}
