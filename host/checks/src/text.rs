//! What a peer says, made fit to be read: on a terminal, in a log, on one line.

/// `text` with its control characters written out (`\\n`, `\\u{1b}`): a peer must not move anybody's cursor.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_control_characters_are_written_out() {
        assert_eq!(
            visible("grüße 'x' \u{1b}[31m\r\n\u{9b}"),
            r"grüße 'x' \u{1b}[31m\r\n\u{9b}"
        );
    }
}
