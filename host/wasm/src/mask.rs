//! Keeps secrets out of everything a run shows: result, log, trace, output.
//!
//! By value: the sensitive values of the configuration, and every secret that was revealed to the guest or filled in
//! for it (its target may have sent it back). It guards against accidents; who may read a secret can always spell it
//! another way, which is why reading takes a grant of its own.
//!
//! The search takes time in proportion to the text, however many secrets there are: texts and secrets may both be made
//! to keep the worker busy.

mod shown;
mod words;

use crate::text;
use serde_json::Value;
use std::{borrow::Cow, fmt, sync::Arc};
use url::Url;
use words::{LEAD, Words};

/// Shorter ones would blot out innocent text.
const SHORTEST: usize = 6;
/// Of a secret of several lines (a key), lines of this length are told apart from others.
const LINE: usize = 16;
/// How many of its lines: an RSA key of 16 Kibit has some 200.
const LINES: usize = 256;
/// Most spellings looked for. A configuration with half as many secrets is one made to keep the worker busy.
const WORDS: usize = 2048;
const MASKED: &str = "***";

/// What must not be shown.
#[derive(Clone, Default)]
pub(crate) struct Mask(Arc<Words>);

impl Mask {
    /// Adds a secret, as it is and as it is commonly spelled in texts.
    pub(crate) fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        self.add_word(secret);
        self.add_word(&text::line(secret, usize::MAX));
        self.add_word(Value::from(secret).to_string().trim_matches('"'));
        self.add_word(&url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>());
        for spelling in in_urls(secret) {
            self.add_word(&spelling);
        }
        let lines = secret.lines().map(str::trim);
        let lines = lines.filter(|line| line.len() >= LINE && *line != secret && !line.starts_with("-----"));
        for line in lines.take(LINES) {
            self.add_word(line);
        }
    }

    /// Adds every text and number within a value.
    pub(crate) fn add_value(&mut self, value: &Value) {
        match value {
            // The rest of the room is for what the host reveals.
            _ if self.is_half_full() => {}
            Value::String(text) => self.add(text),
            Value::Number(number) => self.add(&number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| self.add_value(item)),
            Value::Object(fields) => fields.values().for_each(|value| self.add_value(value)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Adds all that another hides.
    pub(crate) fn join(&mut self, other: &Self) {
        other.0.iter().for_each(|word| self.add_word(word));
    }

    /// Whether it has come to where new secrets may find no room.
    pub(crate) fn is_half_full(&self) -> bool {
        self.0.len() > WORDS / 2
    }

    /// Whether there is nothing to hide.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    fn add_word(&mut self, word: &str) {
        if word.chars().count() >= SHORTEST && self.0.len() < WORDS && !self.0.has(word) {
            Arc::make_mut(&mut self.0).add(word);
        }
    }

    /// `text` without what must not be shown.
    pub(crate) fn cover<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let (mut covered, mut done) = (String::new(), 0);
        for found in self.0.spans(text.as_bytes()) {
            covered.push_str(text.get(done..found.start).unwrap_or_default());
            covered.push_str(MASKED);
            // Of a long secret it may be a part, which ends anywhere.
            done = text.ceil_char_boundary(found.end);
        }
        if done == 0 {
            return text.into();
        }
        covered.push_str(text.get(done..).unwrap_or_default());
        covered.into()
    }

    /// At most `limit` characters of `text` on one line, as [`text::line`], without what must not be shown. Made fit
    /// first, as what is taken out may be in the midst of a secret; covered before it is cut, as half a secret is one.
    pub(crate) fn line(&self, text: &str, limit: usize) -> String {
        if self.is_empty() {
            return text::line(text, limit);
        }
        let looked_at = text::line(text, limit + LEAD);
        let mut covered = self.cover(&looked_at).into_owned();
        if looked_at.chars().count() > limit + LEAD {
            // Cut, and so it may end in the beginning of a secret; what was covered before has moved that nearer.
            let sure = covered.rfind(MASKED).map_or(0, |at| at + MASKED.len());
            let end = covered.char_indices().rev().nth(LEAD).map_or(0, |(at, _)| at);
            covered.truncate(end.max(sure));
            covered.push('…');
        }
        text::line(&covered, limit)
    }

    /// The last `bytes` of what was `written`, without what must not be shown; what is not UTF-8 is replaced. `lost`
    /// says that there was more before it, so that it may begin with half a secret.
    pub(crate) fn tail(&self, written: &[u8], bytes: usize, lost: bool) -> String {
        let doubtful = if lost { self.0.longest() } else { 0 };
        let from = written.len().saturating_sub(bytes).max(doubtful);
        let before = self.0.spans(written).take_while(|found| found.start < from);
        let (split, from) = match before.last() {
            Some(found) if found.end > from => (MASKED, found.end),
            _ => ("", from),
        };
        let text = String::from_utf8_lossy(written.get(from..).unwrap_or_default());
        format!("{split}{}", self.cover(&text))
    }

    /// Whether something that must not be shown is in `bytes`.
    pub(crate) fn is_in(&self, bytes: &[u8]) -> bool {
        self.0.spans(bytes).next().is_some()
    }
}

/// A secret as URLs have it in their path, query and password, which spell what is special each in its own way.
fn in_urls(secret: &str) -> Vec<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut spellings = Vec::new();
    if let (false, Ok(mut url)) = (secret.bytes().all(plain), Url::parse("http://user@host/")) {
        url.set_path(secret);
        spellings.push(url.path().trim_start_matches('/').to_owned());
        url.set_query(Some(secret));
        spellings.extend(url.query().map(ToOwned::to_owned));
        let _ = url.set_password(Some(secret));
        spellings.extend(url.password().map(ToOwned::to_owned));
    }
    spellings
}

/// Its words are secrets.
impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} words)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{abi::v1::wit::types, run::Ending};
    use serde_json::json;

    fn mask(secrets: &[&str]) -> Mask {
        let mut mask = Mask::default();
        for secret in secrets {
            mask.add(secret);
        }
        mask
    }

    #[test]
    fn a_secret_of_very_many_lines_is_no_work_for_long() {
        let lines: Vec<String> = (0..50_000).map(|n| format!("{n:05} of a long list")).collect();
        let mask = mask(&[&lines.join("\n")]);
        assert!(mask.0.len() <= WORDS, "{}", mask.0.len());
        assert_eq!(mask.cover("it said 00007 of a long list"), "it said ***");
    }

    #[test]
    fn common_spellings_are_covered_and_short_words_are_not() {
        let mask = mask(&["p\"ss w/rd", "12345", " trimmed-secret\n"]);
        for text in ["p\"ss w/rd", r#"p\"ss w/rd"#, "p%22ss+w%2Frd", "trimmed-secret"] {
            assert_eq!(mask.cover(&format!("a {text} b")), "a *** b", "{text}");
        }
        for text in ["p%22ss%20w/rd", "p%22ss%20w%2Frd"] {
            assert_eq!(
                mask.cover(&format!("http://a/{text}?b")),
                "http://a/***?b",
                "{text}"
            );
        }
        assert_eq!(mask.cover("12345"), "12345");
        assert!(matches!(mask.cover("nothing here"), Cow::Borrowed(_)));
    }

    #[test]
    fn a_secret_within_another_leaves_no_rest() {
        assert_eq!(
            mask(&["secret", "secret-and-more"]).cover("x secret-and-more y"),
            "x *** y"
        );
    }

    #[test]
    fn a_key_is_covered_line_by_line() {
        let key = "-----BEGIN KEY-----\nAAAABBBBCCCCDDDDEEEE\nFFFFGGGGHHHHIIII\n-----END KEY-----";
        let mask = mask(&[key]);
        assert_eq!(mask.cover("got FFFFGGGGHHHHIIII?"), "got ***?");
        assert_eq!(mask.cover(&text::line(key, 1000)), "***");
    }

    #[test]
    fn values_are_covered_at_any_depth() {
        let mut value = json!({ "a": [{ "hunter2!": "x hunter2! y" }], "n": 12_345_678, "ok": 1 });
        let mut mask = mask(&["hunter2!"]);
        mask.add_value(&json!({ "pin": 12_345_678, "other": [null, true] }));
        mask.hide_in(&mut value);
        assert_eq!(value, json!({ "a": [{ "***": "x *** y" }], "n": "***", "ok": 1 }));
    }

    #[test]
    fn many_secrets_in_a_long_text_are_no_work_for_long() {
        let secrets: Vec<String> = (0..WORDS)
            .map(|n| format!("{}{n:04}", "a".repeat(60 + n)))
            .collect();
        let mask = mask(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
        let secret = secrets.last().unwrap();
        let text = format!("{} {secret} ", format!("{}-", "a".repeat(50)).repeat(2000));
        assert_eq!(mask.cover(&text), text.replace(secret, MASKED));
        assert_eq!(mask.cover(&"a".repeat(1 << 20)).replace(MASKED, ""), "");
    }

    #[test]
    fn half_a_secret_is_not_left_where_a_text_is_cut() {
        let long = "0123456789".repeat(30);
        let mask = mask(&["hunter2-hunter2", &long]);
        assert_eq!(mask.line("it is hunter2-hunter2", 12), "it is ***");
        assert_eq!(mask.line(&format!("it is {long}"), 12), "it is ***…");
        assert_eq!(mask.line("it is hun\u{7}ter2-hunter2", 30), "it is ***");
        for limit in 10..100 {
            for before in 0..30 {
                let said = format!("{}{}", "x".repeat(before), "hunter2-hunter2 ".repeat(30));
                let line = mask.line(&said, limit);
                assert!(!line.contains('h'), "{limit}, {before}: {line}");
            }
        }
    }

    #[test]
    fn only_what_is_shown_of_an_outcome_is_kept_of_its_texts() {
        let mut ending = Ending::Answered(Ok(types::Outcome {
            status: types::Status::Up,
            reason: None,
            message: "x ".repeat(2 << 20),
            latency: None,
            phases: Vec::new(),
            metrics: Vec::new(),
            attributes: vec![types::Attribute {
                key: "k".repeat(1 << 20),
                value: types::Value::Text("is hunter2-hunter2".into()),
            }],
            tls: None,
            details: None,
        }));
        mask(&["hunter2-hunter2"]).ending(&mut ending);
        let Ending::Answered(Ok(outcome)) = ending else {
            unreachable!()
        };
        let attribute = &outcome.attributes[0];
        let lengths = [&outcome.message, &attribute.key].map(|text| text.chars().count());
        assert_eq!(lengths, [1025, 65]);
        assert!(matches!(&attribute.value, types::Value::Text(text) if text == "is ***"));
    }
}
