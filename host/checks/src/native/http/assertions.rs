//! What an answer must be beyond its status.

use super::{
    config::{HeaderRule, HttpConfig},
    query::{Query, Unmet},
};
use crate::{findings::invalid, native::pattern::Pattern, net::http::Response, schema::Fault};
use http::HeaderName;
use regex::bytes::Regex;

/// Every condition of one check.
pub(super) struct Assertions {
    keyword: Option<(String, bool)>,
    body: Vec<(Regex, bool)>,
    headers: Vec<(HeaderName, Regex, bool)>,
    query: Option<Query>,
}

impl Assertions {
    /// Takes the conditions out of `config`; the JSON query only where the kind has one.
    pub(super) fn new(config: &mut HttpConfig, json: bool) -> Result<Self, Fault> {
        let patterns = |list: &mut Vec<Pattern>, wanted: bool| -> Vec<(Regex, bool)> {
            std::mem::take(list)
                .into_iter()
                .map(|pattern| (pattern.0, wanted))
                .collect()
        };
        let rules = |list: &mut Vec<HeaderRule>, field: &str, wanted: bool| -> Result<Vec<_>, Fault> {
            let rule = |rule: HeaderRule| {
                let name = HeaderName::try_from(rule.header.as_str());
                let name =
                    name.map_err(|_| invalid(field, format!("`{}` is no header name", rule.header)))?;
                Ok((name, rule.pattern.0, wanted))
            };
            std::mem::take(list).into_iter().map(rule).collect()
        };
        let mut body = patterns(&mut config.body_must_match, true);
        body.extend(patterns(&mut config.body_must_not_match, false));
        let mut headers = rules(&mut config.header_must_match, "header_must_match", true)?;
        headers.extend(rules(
            &mut config.header_must_not_match,
            "header_must_not_match",
            false,
        )?);
        Ok(Self {
            keyword: (!config.keyword.is_empty()).then(|| (config.keyword.clone(), !config.invert_keyword)),
            body,
            headers,
            query: if json { Query::new(config)? } else { None },
        })
    }

    /// Whether any condition looks at the body.
    pub(super) fn need_body(&self) -> bool {
        self.keyword.is_some() || !self.body.is_empty() || self.query.is_some()
    }

    /// Whether a query or a pattern looks at the body: that may take a while.
    pub(super) fn search_body(&self) -> bool {
        self.query.is_some() || !self.body.is_empty()
    }

    /// The first condition that does not hold.
    pub(super) fn check(&self, response: &Response) -> Result<(), Unmet> {
        self.check_texts(response).map_err(Unmet::Otherwise)?;
        let query = self.query.as_ref();
        query.map_or(Ok(()), |query| query.check(&response.body))
    }

    fn check_texts(&self, response: &Response) -> Result<(), String> {
        for (name, pattern, wanted) in &self.headers {
            let values = response.headers.get_all(name);
            if values.iter().any(|value| pattern.is_match(value.as_bytes())) != *wanted {
                let verb = if *wanted { "does not match" } else { "matches" };
                return Err(format!("Header check failed: header '{name}' {verb} '{pattern}'"));
            }
        }
        if let Some((keyword, wanted)) = &self.keyword {
            match (String::from_utf8_lossy(&response.body).contains(keyword), wanted) {
                (false, true) => {
                    return Err(format!(
                        "Keyword check failed: keyword '{keyword}' not found in response"
                    ));
                }
                (true, false) => {
                    return Err(format!(
                        "Keyword check failed: keyword '{keyword}' found in response (expected absent)"
                    ));
                }
                _ => {}
            }
        }
        for (pattern, wanted) in &self.body {
            if pattern.is_match(&response.body) != *wanted {
                let verb = if *wanted { "does not match" } else { "matches" };
                return Err(format!("Body check failed: response {verb} '{pattern}'"));
            }
        }
        Ok(())
    }
}
