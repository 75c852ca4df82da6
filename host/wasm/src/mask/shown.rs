//! Where texts are in what a run shows.

use super::{MASKED, Mask};
use crate::{
    abi::v1::wit::types,
    outcome::{CHAIN, DNS_NAME, ITEMS, LABELS, MESSAGE, NAME},
    run::{Checked, Ending},
};
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Reason};
use serde_json::Value;
use std::borrow::Cow;

impl Mask {
    fn hide(&self, text: &mut String) {
        if let Cow::Owned(covered) = self.cover(text) {
            *text = covered;
        }
    }

    fn hide_all<'a>(&self, texts: impl IntoIterator<Item = &'a mut String>) {
        texts.into_iter().for_each(|text| self.hide(text));
    }

    pub(super) fn hide_in(&self, value: &mut Value) {
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

    fn fit(&self, text: &mut String, limit: usize) {
        *text = self.line(text, limit);
    }

    /// What the guest said, as far as it is shown. On the guest's thread: it may be much.
    pub(crate) fn ending(&self, ending: &mut Ending<Checked>) {
        if self.is_empty() {
            return;
        }
        match ending {
            Ending::Answered(Ok(outcome)) => self.outcome(outcome),
            Ending::Answered(Err(error)) => match error {
                types::CheckError::InvalidConfig(text)
                | types::CheckError::Unsupported(text)
                | types::CheckError::Denied(text)
                | types::CheckError::Retryable(text)
                | types::CheckError::Internal(text) => self.fit(text, MESSAGE),
            },
            Ending::Trap(text) | Ending::Host(text) => self.fit(text, MESSAGE),
            _ => {}
        }
    }

    fn outcome(&self, outcome: &mut types::Outcome) {
        let name = |name: &mut String| *name = self.line(name.trim(), NAME);
        self.fit(&mut outcome.message, MESSAGE);
        outcome.reason.iter_mut().for_each(name);
        let phases = outcome.phases.iter_mut().take(ITEMS);
        phases.for_each(|phase| name(&mut phase.name));
        for metric in outcome.metrics.iter_mut().take(ITEMS) {
            name(&mut metric.name);
            metric.unit.iter_mut().for_each(|unit| self.fit(unit, NAME));
            for (label, value) in metric.labels.iter_mut().take(LABELS) {
                name(label);
                self.fit(value, NAME);
            }
        }
        for attribute in outcome.attributes.iter_mut().take(ITEMS) {
            name(&mut attribute.key);
            if let types::Value::Text(text) = &mut attribute.value {
                self.fit(text, MESSAGE);
            }
        }
        if let Some(tls) = &mut outcome.tls {
            self.tls(tls);
        }
    }

    fn tls(&self, tls: &mut types::TlsInfo) {
        let line = |text: &mut String| self.fit(text, MESSAGE);
        line(&mut tls.protocol);
        line(&mut tls.cipher);
        let texts = [&mut tls.alpn, &mut tls.server_name, &mut tls.verify_error];
        texts.into_iter().flatten().for_each(line);
        for certificate in tls.chain.iter_mut().take(CHAIN) {
            line(&mut certificate.subject);
            line(&mut certificate.issuer);
            line(&mut certificate.serial);
            line(&mut certificate.sha256);
            let names = certificate.dns_names.iter_mut().take(ITEMS);
            names.for_each(|name| self.fit(name, DNS_NAME));
        }
    }

    /// The result in whole, once it is made fit: with the host's own texts, and with what was JSON.
    pub(crate) fn result(&self, result: &mut Result<Observation, CheckError>) {
        if self.is_empty() {
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
