//! Which words a statement has.

use crate::native::sql::is_executable;

/// The first of `words` that stands in `query` outside of strings, quoted names and comments.
pub(super) fn word_among<'a>(query: &str, words: &[&'a str]) -> Option<&'a str> {
    let mut rest = query;
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '\'' | '"' | '`' => quoted(rest, letter),
            '[' => quoted(rest, ']'),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest
                .strip_prefix("/*")
                .is_some_and(|comment| !is_executable(comment)) =>
            {
                rest.find("*/").map_or(rest.len(), |end| end + 2)
            }
            letter if letter.is_alphanumeric() || matches!(letter, '_' | '@' | '#' | '$') => {
                let end = rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '@' | '#' | '$')));
                let word = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
                if let Some(found) = words.iter().find(|known| word.eq_ignore_ascii_case(known)) {
                    return Some(found);
                }
                word.len()
            }
            other => other.len_utf8(),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    None
}

/// The length of a quoted piece that ends with `end`; one that is doubled ends it and begins another, which is the same.
fn quoted(text: &str, end: char) -> usize {
    let inner = text.get(1..).unwrap_or_default();
    inner.find(end).map_or(text.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_the_statement_and_not_in_what_it_quotes() {
        let words = ["into", "DELETE"];
        for (query, found) in [
            ("SELECT 1 delete FROM t", Some("DELETE")),
            ("select * InTo outfile '/x' from t", Some("into")),
            ("SELECT 'it''s into', \"into\", `into`, [into] -- into", None),
            ("SELECT 1 /* into */ -- delete\n", None),
            ("SELECT 1 /*! into */", Some("into")),
            ("SELECT @into, _into, into1, #delete", None),
            ("WITH x AS (SELECT 1)DELETE FROM x", Some("DELETE")),
            ("SELECT 'unended into", None),
        ] {
            assert_eq!(word_among(query, &words), found, "{query}");
        }
    }
}
