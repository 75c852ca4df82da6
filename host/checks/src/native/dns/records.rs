//! The records of an answer: in Peekaping's words for people, and as in a zone file for conditions.

use super::config::RecordKind;
use hickory_resolver::proto::{
    op::Message,
    rr::{Name, RData, rdata::CAA},
};
use regex::bytes::Regex;

/// Longest chain of aliases that is followed.
const MAX_CHAIN: usize = 16;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    /// Decides the order, before the order of the answer.
    order: (u16, u16),
    /// For people.
    shown: String,
    /// As in a zone file.
    value: String,
}

/// The records of an answer that were asked for.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Where the name led to; of SRV records that is told.
    owner: String,
    records: Vec<Record>,
}

impl Records {
    pub(super) fn of(kind: RecordKind, name: &Name, answer: &Message) -> Self {
        let owner = end_of_chain(name, answer);
        let records = if kind == RecordKind::Cname {
            let has_address = answer
                .answers
                .iter()
                .any(|record| record.name == owner && matches!(record.data, RData::A(_) | RData::AAAA(_)));
            let own = Record::plain(owner.to_ascii());
            // Go's rule: an alias is an answer, and so is a name with addresses of its own.
            (has_address || owner != *name)
                .then_some(own)
                .into_iter()
                .collect()
        } else {
            let of_kind = answer
                .answers
                .iter()
                .filter(|record| record.name == owner && record.record_type() == kind.rtype());
            of_kind.filter_map(|record| Record::of(&record.data)).collect()
        };
        let mut found = Self {
            owner: owner.to_ascii(),
            records,
        };
        found.records.sort_by_key(|record| record.order);
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// As in a zone file.
    pub(super) fn values(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.value.as_str()).collect()
    }

    /// Peekaping's message for records of this kind.
    pub(super) fn message(&self, kind: RecordKind) -> String {
        let separator = match kind {
            RecordKind::Txt | RecordKind::Caa | RecordKind::Soa => "; ",
            _ => ", ",
        };
        let shown: Vec<&str> = self.records.iter().map(|record| record.shown.as_str()).collect();
        let shown = shown.join(separator);
        match kind {
            RecordKind::Cname | RecordKind::Soa => format!("{kind}: {shown}"),
            RecordKind::Srv => format!("SRV records (cname: {}): {shown}", self.owner),
            _ => format!("{kind} records: {shown}"),
        }
    }
}

/// The name that the aliases of an answer lead to.
fn end_of_chain(name: &Name, answer: &Message) -> Name {
    let mut at = name.clone();
    for _ in 0..MAX_CHAIN {
        let next = answer.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(alias) if record.name == at => Some(alias.0.clone()),
            _ => None,
        });
        match next {
            Some(next) => at = next,
            None => break,
        }
    }
    at
}

impl Record {
    fn plain(text: String) -> Self {
        Self {
            order: (0, 0),
            shown: text.clone(),
            value: text,
        }
    }

    fn of(data: &RData) -> Option<Self> {
        let texts = |shown: String, value: String| Self {
            order: (0, 0),
            shown,
            value,
        };
        Some(match data {
            RData::A(address) => Self::plain(address.0.to_string()),
            RData::AAAA(address) => Self::plain(address.0.to_string()),
            RData::NS(name) => Self::plain(name.0.to_ascii()),
            RData::PTR(name) => Self::plain(name.0.to_ascii()),
            RData::TXT(text) => Self::plain(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            RData::MX(mx) => Self {
                order: (mx.preference, 0),
                shown: format!("{} (priority: {})", mx.exchange.to_ascii(), mx.preference),
                value: format!("{} {}", mx.preference, mx.exchange.to_ascii()),
            },
            RData::SRV(srv) => {
                let (target, port) = (srv.target.to_ascii(), srv.port);
                Self {
                    // Of equal priority, the heavier ones first.
                    order: (srv.priority, u16::MAX - srv.weight),
                    shown: format!(
                        "{target}:{port} (priority: {}, weight: {})",
                        srv.priority, srv.weight
                    ),
                    value: format!("{} {} {port} {target}", srv.priority, srv.weight),
                }
            }
            RData::CAA(caa) => Self::plain(authorization(caa)),
            RData::SOA(soa) => {
                let (ns, mbox) = (soa.mname.to_ascii(), soa.rname.to_ascii());
                let (serial, refresh, retry) = (soa.serial, soa.refresh, soa.retry);
                let (expire, minimum) = (soa.expire, soa.minimum);
                texts(
                    format!(
                        "Primary NS: {ns}, Admin: {mbox}, Serial: {serial}, Refresh: {refresh}, Retry: {retry}, \
                         Expire: {expire}, Min TTL: {minimum}"
                    ),
                    format!("{ns} {mbox} {serial} {refresh} {retry} {expire} {minimum}"),
                )
            }
            _ => return None,
        })
    }
}

fn authorization(caa: &CAA) -> String {
    format!(
        "{} {} \"{}\"",
        caa.flags(),
        caa.tag,
        String::from_utf8_lossy(&caa.value)
    )
}

/// What must hold of the records.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) allow_empty: bool,
    pub(super) contain: Vec<String>,
    pub(super) equal: Vec<String>,
    pub(super) matching: Option<Regex>,
    pub(super) at_least: usize,
}

impl Conditions {
    /// The first one that does not hold; of an empty answer only where it is no answer that was asked for.
    pub(super) fn fault(&self, records: &Records) -> Option<String> {
        let values = records.values();
        if values.is_empty() && !self.allow_empty {
            return None;
        }
        let found = || values.join(", ");
        let has = |values: &[&str], wanted: &str| values.iter().any(|value| is_same(value, wanted));
        if let Some(missing) = self.contain.iter().find(|wanted| !has(&values, wanted)) {
            return Some(format!("`{missing}` is not among {}", found()));
        }
        let wanted: Vec<&str> = self.equal.iter().map(String::as_str).collect();
        if !wanted.is_empty() {
            let missing = wanted.iter().find(|wanted| !has(&values, wanted));
            let extra = values.iter().find(|value| !has(&wanted, value));
            if missing.is_some() || extra.is_some() {
                return Some(format!("expected {}, found {}", wanted.join(", "), found()));
            }
        }
        if values.len() < self.at_least {
            return Some(format!(
                "expected at least {}, found {}: {}",
                self.at_least,
                values.len(),
                found()
            ));
        }
        let pattern = self.matching.as_ref()?;
        let unmatched = !values.iter().any(|value| pattern.is_match(value.as_bytes()));
        unmatched.then(|| format!("none matches '{pattern}': {}", found()))
    }
}

/// Whether two records are one: without regard to case and to the last dot of each of their words.
fn is_same(one: &str, other: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        let words = text.split_whitespace();
        words
            .map(|word| word.trim_end_matches('.').to_ascii_lowercase())
            .collect()
    };
    words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(values: &[&str]) -> Records {
        Records {
            owner: String::new(),
            records: values
                .iter()
                .map(|value| Record::plain((*value).to_owned()))
                .collect(),
        }
    }

    #[test]
    fn only_records_that_the_question_leads_to_are_an_answer() {
        use hickory_resolver::proto::{
            op::{MessageType, OpCode},
            rr::{self, rdata},
        };
        let name = |text: &str| Name::from_ascii(text).unwrap();
        let address =
            |owner: &str| rr::Record::from_rdata(name(owner), 60, RData::A(rdata::A::new(192, 0, 2, 1)));
        let mut answer = Message::new(1, MessageType::Response, OpCode::Query);
        answer.add_answer(address("other.test."));
        let asked = name("example.com.");
        for kind in [RecordKind::A, RecordKind::Cname] {
            assert!(Records::of(kind, &asked, &answer).is_empty());
        }
        let alias = RData::CNAME(rdata::CNAME(name("OTHER.test.")));
        answer.add_answer(rr::Record::from_rdata(asked.clone(), 60, alias));
        answer.add_answer(address("third.test."));
        assert_eq!(
            Records::of(RecordKind::A, &asked, &answer).values(),
            ["192.0.2.1"]
        );
    }

    #[test]
    fn each_condition_can_fail_and_says_so() {
        let two = records(&["10 Mail.example.com.", "20 b.example.com."]);
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        let contain = |wanted: &[&str]| Conditions {
            contain: texts(wanted),
            ..Conditions::default()
        };
        let equal = |wanted: &[&str]| Conditions {
            equal: texts(wanted),
            ..Conditions::default()
        };
        let matching = |pattern: &str| Conditions {
            matching: Regex::new(pattern).ok(),
            ..Conditions::default()
        };
        let at_least = |at_least| Conditions {
            at_least,
            ..Conditions::default()
        };
        for (conditions, says) in [
            (contain(&["10 mail.example.com"]), None),
            (
                contain(&["10 mail.example.net"]),
                Some("`10 mail.example.net` is not among"),
            ),
            (equal(&["20 B.example.com", "10 mail.example.com"]), None),
            (
                equal(&["20 b.example.com"]),
                Some("expected 20 b.example.com, found 10"),
            ),
            (matching("^20 "), None),
            (matching("^30 "), Some("none matches '^30 '")),
            (at_least(2), None),
            (at_least(3), Some("expected at least 3, found 2")),
        ] {
            let fault = conditions.fault(&two);
            match says {
                None => assert_eq!(fault, None),
                Some(says) => assert!(
                    fault.as_ref().is_some_and(|fault| fault.contains(says)),
                    "{fault:?}"
                ),
            }
        }
    }

    #[test]
    fn an_empty_answer_that_is_allowed_must_still_hold_what_is_asked() {
        let conditions = |allow_empty| Conditions {
            allow_empty,
            at_least: 1,
            ..Conditions::default()
        };
        assert!(conditions(true).fault(&records(&[])).is_some());
        assert_eq!(
            conditions(false).fault(&records(&[])),
            None,
            "told as an empty answer"
        );
    }
}
