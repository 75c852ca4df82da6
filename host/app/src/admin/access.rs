//! Who may use the API.
//!
//! With a token: whoever sends it. Without one the API listens on loopback only, and this keeps out the one stranger
//! who can still reach it, a web page in the operator's browser: pages of other sites announce themselves by `Origin`,
//! and a page that had its own name point here (DNS rebinding) shows it in `Host`.

use super::{State, error::ApiError};
use axum::{
    extract,
    http::{HeaderMap, StatusCode, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};
use std::net::IpAddr;

/// Lets the request through, or answers 401 or 403.
pub(crate) async fn authorize(
    extract::State(state): extract::State<State>,
    request: extract::Request,
    next: Next,
) -> Response {
    let refused = match &state.token {
        Some(token) => (!bears(request.headers(), token.reveal())).then(|| {
            ApiError::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "send the admin token as `Authorization: Bearer …`",
            )
        }),
        None => (!is_local(request.headers())).then(|| {
            let message =
                "without a token the API answers only local clients; set LAPWING_ADMIN_TOKEN to open it";
            ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
        }),
    };
    match refused {
        Some(error) => error.into_response(),
        None => next.run(request).await,
    }
}

/// Whether a plugin may be uploaded: never without its own token, whoever asks.
pub(super) fn authorize_upload(state: &State, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(token) = &state.upload_token else {
        let message =
            "plugins cannot be uploaded here; `admin.upload = true` and `admin.upload_token` allow it";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "upload_disabled", message));
    };
    if bears(headers, token.reveal()) {
        return Ok(());
    }
    let message = "send the upload token (not the admin token) as `Authorization: Bearer …`";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message))
}

fn bears(headers: &HeaderMap, token: &str) -> bool {
    let sent = headers
        .get(header::AUTHORIZATION)
        .map(axum::http::HeaderValue::as_bytes)
        .unwrap_or_default();
    let (scheme, sent) = sent.split_at_checked(7).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer ") && same(sent, token.as_bytes())
}

/// Takes the same time wherever the difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

fn is_local(headers: &HeaderMap) -> bool {
    if headers.contains_key(header::ORIGIN) {
        return false;
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("");
    let Ok(host) = host.parse::<Authority>() else {
        return false;
    };
    let name = host.host();
    let address = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(name)
        .parse::<IpAddr>();
    name.trim_end_matches('.').eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_the_whole_token_opens() {
        assert!(bears(&headers(&[("authorization", "bearer s3cret")]), "s3cret"));
        for sent in [
            "Bearer s3cre",
            "Bearer s3crets",
            "Basic s3cret",
            "s3cret",
            "Bearer ",
        ] {
            assert!(!bears(&headers(&[("authorization", sent)]), "s3cret"), "{sent}");
        }
        assert!(!bears(&HeaderMap::new(), "s3cret"));
    }

    #[test]
    fn a_web_page_is_not_local() {
        for host in [
            "LOCALHOST:8085",
            "localhost.",
            "127.0.0.1:8085",
            "localhost:8085",
            "[::1]:8085",
            "[::1]",
            "127.0.0.1",
        ] {
            assert!(is_local(&headers(&[("host", host)])), "{host}");
        }
        for host in [
            "rebound.example:8085",
            "",
            "localhost.example",
            "[[[[127.0.0.1]",
            "127.0.0.1@rebound.example",
            "10.0.0.1:8085",
        ] {
            assert!(!is_local(&headers(&[("host", host)])), "{host}");
        }
        assert!(!is_local(&headers(&[
            ("host", "127.0.0.1"),
            ("origin", "https://example.com")
        ])));
    }
}
