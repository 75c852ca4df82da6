//! What an RDAP server says of a domain (RFC 9083 §5.3). No I/O.

use lapwing_plugin_sdk::serde_json::{self, Value};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Most status words kept.
const MAX_STATUS: usize = 32;

/// What of it is of interest, as kept between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// When it ends, as the server writes it.
    pub(crate) expires: Option<String>,
    /// Status words, as the server writes them.
    pub(crate) status: Vec<String>,
    /// The registrar's name.
    pub(crate) registrar: Option<String>,
}

/// An answer; fields that are not read here are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Domain {
    object_class_name: Option<String>,
    ldh_name: Option<String>,
    #[serde(default)]
    status: Vec<String>,
    #[serde(default)]
    events: Vec<Event>,
    #[serde(default)]
    entities: Vec<Entity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(default)]
    event_action: String,
    event_date: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entity {
    #[serde(default)]
    roles: Vec<String>,
    handle: Option<String>,
    /// jCard (RFC 7095): `["vcard", [[name, parameters, type, value], …]]`.
    #[serde(default)]
    vcard_array: Value,
}

/// Reads the answer to a question about `domain`; the error says why it is none.
pub(crate) fn read(body: &[u8], domain: &str) -> Result<Registration, String> {
    let answer: Domain = serde_json::from_slice(body).map_err(|error| format!("the answer is {error}"))?;
    if answer.object_class_name.as_deref() != Some("domain") {
        return Err("the answer is about no domain".to_owned());
    }
    let name = answer.ldh_name.unwrap_or_default();
    if !name.trim_end_matches('.').eq_ignore_ascii_case(domain) {
        return Err(format!("the answer is about `{}`", shown(&name)));
    }
    let expiration = answer
        .events
        .into_iter()
        .find(|event| event.event_action.eq_ignore_ascii_case("expiration"));
    let registrar = answer.entities.iter().find(|entity| {
        entity
            .roles
            .iter()
            .any(|role| role.eq_ignore_ascii_case("registrar"))
    });
    Ok(Registration {
        expires: expiration.and_then(|event| event.event_date),
        status: answer.status.into_iter().take(MAX_STATUS).collect(),
        registrar: registrar.and_then(Entity::name),
    })
}

impl Entity {
    /// Its formatted name, else its handle.
    fn name(&self) -> Option<String> {
        let properties = self.vcard_array.get(1).and_then(Value::as_array);
        let name = properties.and_then(|properties| {
            properties
                .iter()
                .find(|property| property.get(0).and_then(Value::as_str) == Some("fn"))?
                .get(3)?
                .as_str()
        });
        let name = name.filter(|name| !name.trim().is_empty());
        name.map(str::to_owned).or_else(|| self.handle.clone())
    }
}

impl Registration {
    /// When it ends, in seconds since 1970; `None` when the server does not tell, `Err` when it is no time (RFC 3339).
    pub(crate) fn end(&self) -> Result<Option<i64>, String> {
        let Some(text) = &self.expires else {
            return Ok(None);
        };
        match OffsetDateTime::parse(text.trim(), &Rfc3339) {
            Ok(time) => Ok(Some(time.unix_timestamp())),
            Err(_) => Err(format!("the time of expiration is `{}`", shown(text))),
        }
    }

    /// Whether it has a status, in RDAP's words (`client hold`) or EPP's (`clientHold`; RFC 8056).
    pub(crate) fn has(&self, status: &str) -> bool {
        let same = |one: &str, other: &str| {
            let letters = |text: &'_ str| -> String {
                let letters = text.chars().filter(char::is_ascii_alphanumeric);
                letters.map(|letter| letter.to_ascii_lowercase()).collect()
            };
            letters(one) == letters(other)
        };
        self.status.iter().any(|found| same(found, status))
    }
}

/// A server's words, cut to what fits a line.
pub(crate) fn shown(words: &str) -> String {
    words.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After RFC 9083 §5.3, with what registries of generic domains send (status words, two kinds of expiration).
    const ANSWER: &str = r#"{"rdapConformance":["rdap_level_0"],"objectClassName":"domain","handle":"XXXX",
        "ldhName":"EXAMPLE.COM","status":["client transfer prohibited","client hold"],
        "events":[{"eventAction":"registration","eventDate":"1995-08-14T04:00:00Z"},
            {"eventAction":"registrar expiration","eventDate":"2030-01-01T00:00:00Z"},
            {"eventAction":"expiration","eventDate":"2027-08-13T06:00:00.5+02:00"},
            {"eventAction":"last update of RDAP database"}],
        "entities":[{"objectClassName":"entity","handle":"1","roles":["registrant"]},
            {"objectClassName":"entity","handle":"376","roles":["registrar"],
            "vcardArray":["vcard",[["version",{},"text","4.0"],["fn",{},"text","Reserved Registrar"]]]}]}"#;

    #[test]
    fn an_answer_is_read() {
        let registration = read(ANSWER.as_bytes(), "example.com").unwrap();
        assert_eq!(registration.registrar.as_deref(), Some("Reserved Registrar"));
        assert_eq!(
            registration.end(),
            Ok(Some(1_818_129_600)),
            "2027-08-13T04:00:00Z"
        );
        assert!(registration.has("clientHold") && registration.has("CLIENT HOLD"));
        assert!(!registration.has("serverHold") && !registration.has("hold"));
    }

    #[test]
    fn what_a_server_may_leave_out_may_be_missing() {
        let bare = read(br#"{"objectClassName":"domain","ldhName":"a.de."}"#, "a.de").unwrap();
        assert_eq!(bare.end(), Ok(None));
        assert_eq!(bare.registrar, None);
        let handle = br#"{"objectClassName":"domain","ldhName":"a.de","entities":[{"roles":["registrar"],"handle":"R-1",
            "vcardArray":["vcard"]}]}"#;
        assert_eq!(read(handle, "a.de").unwrap().registrar.as_deref(), Some("R-1"));
    }

    #[test]
    fn anything_else_is_refused() {
        for (body, part) in [
            ("", "EOF"),
            ("<html>", "expected value"),
            ("[]", "the answer is "),
            ("{}", "about no domain"),
            (r#"{"objectClassName":"ip network"}"#, "about no domain"),
            (r#"{"objectClassName":"domain","ldhName":"b.de"}"#, "about `b.de`"),
            (r#"{"objectClassName":"domain"}"#, "about ``"),
            (
                r#"{"objectClassName":"domain","ldhName":"a.de","events":{}}"#,
                "the answer is ",
            ),
        ] {
            let error = read(body.as_bytes(), "a.de").unwrap_err();
            assert!(error.contains(part), "{body}: {error}");
        }
        let odd = Registration {
            expires: Some("13.08.2027".into()),
            status: Vec::new(),
            registrar: None,
        };
        assert!(odd.end().unwrap_err().contains("`13.08.2027`"));
    }
}
