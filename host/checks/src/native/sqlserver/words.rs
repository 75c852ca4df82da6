//! Which words a statement has.

/// The first of `words` that stands in `query` outside of strings, quoted names and comments.
pub(super) fn word_among<'a>(query: &str, words: &[&'a str]) -> Option<&'a str> {
    let mut rest = query;
    while let Some(letter) = rest.chars().next() {
        let length = match letter {
            '\'' | '"' | '`' => quoted(rest, letter),
            '[' => quoted(rest, ']'),
            '-' if rest.starts_with("--") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
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

/// The length of a comment. Comments nest, as nowhere else in SQL.
fn comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(rest) = text.get(at..) {
        let (begin, end) = (rest.find("/*"), rest.find("*/"));
        match (begin, end) {
            (Some(begin), end) if end.is_none_or(|end| begin < end) => {
                depth += 1;
                at += begin + 2;
            }
            (_, Some(end)) => {
                depth -= 1;
                at += end + 2;
            }
            _ => break,
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
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
            ("SELECT 1 /*! ' */ into t --'", Some("into")),
            ("SELECT @into, _into, into1, #delete", None),
            ("WITH x AS (SELECT 1)DELETE FROM x", Some("DELETE")),
            ("SELECT 'unended into", None),
            ("SELECT 1 /* /* */ ' */ INTO t --'", Some("into")),
            ("SELECT 1 /* /* into */ into */", None),
            ("SELECT 1 /*/ into */, 2 into t", Some("into")),
            ("SELECT 1 /**/ into t", Some("into")),
            ("SELECT 1 /* unended /* */ into", None),
        ] {
            assert_eq!(word_among(query, &words), found, "{query}");
        }
    }
}
