//! Texts of others, made fit: a peer's for a terminal or a log, and what a person may have meant to type.

/// `text` with what disturbs written out (`\\n`, `\\u{1b}`): a peer must not move anybody's cursor, nor turn its text around.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if disturbs(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether `c` could break a line, move a cursor, or reorder the text around it (Unicode's bidirectional controls).
pub fn disturbs(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` in at most `most` bytes, and an ellipsis where some of it is left out.
pub(crate) fn clipped(mut text: String, most: usize) -> String {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most.saturating_sub('…'.len_utf8())));
        text.push('…');
    }
    text
}

/// The one of `known` that `word` may be a slip of the fingers for.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distances = known.into_iter().map(|name| (distance(word, name), name));
    let (slips, name) = distances.min()?;
    (slips <= 1 + word.chars().count() / 4).then_some(name)
}

/// How many letters must be left out, put in, changed or swapped with the next to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, c) in a.chars().take(64).enumerate() {
        let mut next = vec![i + 1];
        for (j, (d, costs)) in b.iter().zip(row.windows(2)).enumerate() {
            let &[diagonal, above] = costs else { continue };
            let mut cost = (diagonal + usize::from(c != *d))
                .min(above + 1)
                .min(next.last().map_or(i, |left| left + 1));
            let swapped = j > 0 && last == Some(*d) && b.get(j - 1) == Some(&c);
            if let Some(two_ago) = before.get(j.wrapping_sub(1)).filter(|_| swapped) {
                cost = cost.min(two_ago + 1);
            }
            next.push(cost);
        }
        before = std::mem::replace(&mut row, next);
        last = Some(c);
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_disturbs_is_written_out() {
        assert_eq!(
            visible("grüße 'x' \u{1b}[31m\r\n\u{9b}a\u{202e}b"),
            r"grüße 'x' \u{1b}[31m\r\n\u{9b}a\u{202e}b"
        );
    }

    #[test]
    fn a_long_text_is_clipped_between_characters() {
        assert_eq!(clipped("grüße".to_owned(), 7), "grüße");
        assert_eq!(clipped("grüße".to_owned(), 6), "gr…");
        let long = clipped("ü".repeat(9_000_000), 2048);
        assert!(long.len() <= 2048 && long.len() > 2040 && long.ends_with('…'));
    }

    #[test]
    fn a_slip_of_the_fingers_is_forgiven_and_a_guess_is_not() {
        let known = ["http", "http-keyword", "tcp", "smtp"];
        for (word, meant) in [
            ("htpt", Some("http")),
            ("htttp", Some("http")),
            ("tpc", Some("tcp")),
            ("http-keywrd", Some("http-keyword")),
            ("telepathy", None),
            ("", None),
            ("websockets", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(distance("abc", ""), 3);
    }
}
