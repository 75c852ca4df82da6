//! Patterns with `*` (any text, also none) and `?` (one character). No I/O.

/// Whether all of `text` is as `pattern` says; case does not count for ASCII.
///
/// Goes back to the last `*` only, so that the time is at most the product of both lengths.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    // What was left of both when the last `*` was met.
    let mut star = None;
    loop {
        let (mut tail, mut rest) = (pattern.clone(), text.clone());
        match (tail.next(), rest.next()) {
            (Some('*'), _) => {
                star = Some((tail.clone(), text.clone()));
                pattern = tail;
            }
            (Some(wanted), Some(found)) if wanted == '?' || wanted.eq_ignore_ascii_case(&found) => {
                (pattern, text) = (tail, rest);
            }
            (None, None) => return true,
            _ => {
                // The `*` takes one character more.
                let Some((after, held)) = &mut star else {
                    return false;
                };
                if held.next().is_none() {
                    return false;
                }
                (pattern, text) = (after.clone(), held.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks_stand_for_text() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "anything"),
            ("de_dust2", "de_dust2"),
            ("DE_*", "de_dust2"),
            ("de_*2", "de_dust2"),
            ("*dust?", "de_dust2"),
            ("a*b*c", "aXbYbZc"),
            ("*ab", "aab"),
            ("1.2?.*", "1.21.4"),
            ("?", "ä"),
            ("**x**", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "x"),
            ("x", ""),
            ("?", ""),
            ("de_*3", "de_dust2"),
            ("a*b", "abc"),
            ("dust", "de_dust2"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_hostile_text_takes_no_longer_than_its_length_allows() {
        let pattern = format!("{}b", "*a".repeat(100));
        assert!(!matches(&pattern, &"a".repeat(20_000)));
    }
}
