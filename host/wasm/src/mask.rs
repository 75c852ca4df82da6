//! Keeps secrets out of everything a run shows: result, log, trace, output.
//!
//! By value: the sensitive values of the configuration, and every secret that was revealed to the guest or filled in
//! for it (its target may have sent it back). It guards against accidents; who may read a secret can always spell it
//! another way, which is why reading takes a grant of its own.

use crate::{
    abi::v1::wit::types,
    run::{Checked, Ending},
    text,
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Reason};
use serde_json::Value;
use std::{borrow::Cow, fmt, sync::Arc};

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
pub(crate) struct Mask(Vec<Arc<str>>);

impl Mask {
    /// Adds a secret, as it is and as it is commonly spelled in texts.
    pub(crate) fn add(&mut self, secret: &str) {
        let secret = secret.trim();
        self.add_word(secret);
        self.add_word(&text::line(secret, usize::MAX));
        self.add_word(Value::from(secret).to_string().trim_matches('"'));
        self.add_word(&url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>());
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

    fn add_word(&mut self, word: &str) {
        if word.chars().count() < SHORTEST || self.0.len() >= WORDS {
            return;
        }
        // What contains another goes first, or its rest would stay.
        let place = |known: &Arc<str>| (word.len(), word).cmp(&(known.len(), known));
        if let Err(place) = self.0.binary_search_by(place) {
            self.0.insert(place, word.into());
        }
    }

    /// `text` without what must not be shown.
    pub(crate) fn cover<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut covered = Cow::Borrowed(text);
        for word in self.0.iter().filter(|word| text.contains(&***word)) {
            covered = covered.replace(&**word, MASKED).into();
        }
        covered
    }

    fn hide(&self, text: &mut String) {
        if let Cow::Owned(covered) = self.cover(text) {
            *text = covered;
        }
    }

    fn hide_all<'a>(&self, texts: impl IntoIterator<Item = &'a mut String>) {
        texts.into_iter().for_each(|text| self.hide(text));
    }

    fn hide_in(&self, value: &mut Value) {
        match value {
            Value::String(text) => self.hide(text),
            Value::Number(number) => {
                if matches!(self.cover(&number.to_string()), Cow::Owned(_)) {
                    *value = MASKED.into();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.hide_in(item)),
            Value::Object(fields) => {
                *fields = std::mem::take(fields)
                    .into_iter()
                    .map(|(name, mut value)| {
                        self.hide_in(&mut value);
                        (self.cover(&name).into_owned(), value)
                    })
                    .collect();
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// What the guest said, before any of it is cut: half a secret is still one.
    pub(crate) fn ending(&self, ending: &mut Ending<Checked>) {
        if self.0.is_empty() {
            return;
        }
        match ending {
            Ending::Answered(Ok(outcome)) => self.outcome(outcome),
            Ending::Answered(Err(error)) => match error {
                types::CheckError::InvalidConfig(text)
                | types::CheckError::Unsupported(text)
                | types::CheckError::Denied(text)
                | types::CheckError::Retryable(text)
                | types::CheckError::Internal(text) => self.hide(text),
            },
            Ending::Trap(text) | Ending::Host(text) => self.hide(text),
            _ => {}
        }
    }

    fn outcome(&self, outcome: &mut types::Outcome) {
        self.hide(&mut outcome.message);
        self.hide_all(&mut outcome.reason);
        self.hide_all(outcome.phases.iter_mut().map(|phase| &mut phase.name));
        for metric in &mut outcome.metrics {
            self.hide(&mut metric.name);
            self.hide_all(&mut metric.unit);
            self.hide_all(metric.labels.iter_mut().flat_map(|(name, value)| [name, value]));
        }
        for attribute in &mut outcome.attributes {
            self.hide(&mut attribute.key);
            if let types::Value::Text(text) = &mut attribute.value {
                self.hide(text);
            }
        }
    }

    /// The result in whole, once it is made fit: what was taken out of a text may have been in the midst of a secret.
    pub(crate) fn result(&self, result: &mut Result<Observation, CheckError>) {
        if self.0.is_empty() {
            return;
        }
        match result {
            Ok(observation) => self.observation(observation),
            Err(
                CheckError::InvalidConfig(text)
                | CheckError::Denied(text)
                | CheckError::PermissionDenied(text)
                | CheckError::Internal(text)
                | CheckError::Plugin { message: text, .. },
            ) => self.hide(text),
            Err(CheckError::UnknownKind { .. }) => {}
        }
    }

    pub(crate) fn observation(&self, observation: &mut Observation) {
        self.hide(&mut observation.message);
        if let Some(Reason::Reported(word)) = &observation.reason
            && let Cow::Owned(_) = self.cover(word)
        {
            observation.reason = Some(Reason::Reported("masked".into()));
        }
        self.hide_all(observation.phases.iter_mut().map(|phase| &mut phase.name));
        for metric in &mut observation.metrics {
            self.hide(&mut metric.name);
            self.hide_all(&mut metric.unit);
            let labels = std::mem::take(&mut metric.labels).into_iter();
            metric.labels = labels
                .map(|(name, value)| (self.cover(&name).into_owned(), self.cover(&value).into_owned()))
                .collect();
        }
        observation.attributes = std::mem::take(&mut observation.attributes)
            .into_iter()
            .map(|(name, mut value)| {
                self.hide_in(&mut value);
                (self.cover(&name).into_owned(), value)
            })
            .collect();
        if let Some(tls) = &mut observation.tls {
            self.hide_all([&mut tls.protocol, &mut tls.cipher]);
            self.hide_all(
                [&mut tls.alpn, &mut tls.server_name, &mut tls.verify_error]
                    .into_iter()
                    .flatten(),
            );
            for certificate in &mut tls.chain {
                self.hide_all([
                    &mut certificate.subject,
                    &mut certificate.issuer,
                    &mut certificate.serial,
                ]);
                self.hide_all(&mut certificate.dns_names);
            }
        }
        if let Some(details) = &mut observation.details {
            self.hide_in(details);
        }
    }
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
}
