//! A Lapwing plugin: fetches a page and looks for a text on it.

use lapwing_plugin_sdk::{Capability, Checker, Context, Failure, Outcome, export_checker, http};
use schemars::JsonSchema;
use serde::Deserialize;

/// What a monitor sets. The worker validates it before every run; these words become the schema's.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Page to fetch.
    // What the monitor is about: a run may reach that, and nothing else.
    #[schemars(extend("format" = "uri", "x-lapwing-target" = "url"))]
    url: String,
    /// Text that must be on it.
    #[schemars(length(min = 1))]
    contains: String,
}

struct TextOnAPage;

impl Checker for TextOnAPage {
    const KIND: &'static str = "{{name}}";
    const TITLE: &'static str = "Text on a page";
    const SUMMARY: &'static str = "Fetches a page and looks for a text on it";
    const EXAMPLE: &'static str = r#"{"url":"https://example.com/","contains":"Example"}"#;
    const CAPABILITIES: &'static [Capability] = &[Capability {
        name: "net.http",
        scope: &["{config.url}"],
        optional: false,
        reason: "fetches the page",
    }];
    type Config = Config;

    /// One run. `?` on a failed call ends it as it should end: as down, with the fitting reason.
    fn check(config: Config, _: &Context) -> Result<Outcome, Failure> {
        let text = config.contains;
        let page = http::Request::new("GET", &config.url).follow_redirects(3).send()?;
        if !(200..300).contains(&page.status) {
            let message = format!("answered {}, expected 200 to 299", page.status);
            return Ok(Outcome::down("http_status", message));
        }
        if !page.text()?.contains(&text) {
            return Ok(Outcome::down("assertion_failed", format!("`{text}` is not on the page")));
        }
        let bytes = i64::try_from(page.body.len()).unwrap_or(i64::MAX);
        Ok(Outcome::up(format!("`{text}` is on the page"))
            .with_latency(page.timing.total)
            .with_attribute("page.bytes", bytes))
    }
}

export_checker!(TextOnAPage);

#[cfg(test)]
mod tests {
    use super::TextOnAPage;
    use lapwing_plugin_sdk::{
        Outcome, Status,
        harness::{self, CheckError, Host, Reply},
        net::Fault,
    };

    fn look(answer: fn() -> Result<Reply, Fault>) -> Result<Outcome, CheckError> {
        let config = r#"{"url":"http://page.test/","contains":"open"}"#;
        harness::check::<TextOnAPage>(config, &Host::new().http(move |_| answer()))
    }

    #[test]
    fn a_page_with_the_text_is_up() {
        let outcome = look(|| Ok(Reply::new(200, "we are open"))).unwrap();
        assert_eq!(outcome.status, Status::Up, "{outcome:?}");
    }

    #[test]
    fn a_page_without_the_text_is_down() {
        let outcome = look(|| Ok(Reply::new(200, "gone fishing"))).unwrap();
        assert_eq!(outcome.reason.as_deref(), Some("assertion_failed"));
    }

    #[test]
    fn a_page_of_which_only_a_part_came_says_nothing() {
        let cut = look(|| Ok(Reply::new(200, " ".repeat(300_000) + "open")));
        assert!(matches!(cut, Err(CheckError::Internal(_))), "{cut:?}");
    }

    #[test]
    fn a_server_that_refuses_is_down_and_a_call_that_the_worker_refuses_is_not() {
        let outcome = look(|| Err(Fault::Refused)).unwrap();
        assert_eq!(outcome.reason.as_deref(), Some("connection_refused"));
        let refused = look(|| Err(Fault::AccessDenied("no rule".into())));
        assert!(matches!(refused, Err(CheckError::Denied(_))), "{refused:?}");
    }
}
