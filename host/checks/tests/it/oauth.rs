//! OAuth 2.0 client credentials: tokens fetched, kept, refreshed, and never anybody else's fault.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    reason,
    server::{Server, ok, redirect, status},
    with,
};
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time;

fn config(target: &Server, tokens: &Server, more: Value) -> Value {
    let config = json!({
        "url": target.url("/"), "authMethod": "oauth2-cc", "oauth_token_url": tokens.url("/token"),
        "oauth_client_id": "id", "oauth_client_secret": "s&cret", "oauth_scopes": "read write",
    });
    with(config, more)
}

/// Hands out `t1`, `t2`, …
async fn issuer(lasts: u64) -> Server {
    let count = AtomicUsize::new(0);
    Server::http(move |_| {
        let number = count.fetch_add(1, Ordering::SeqCst) + 1;
        ok(
            json!({ "access_token": format!("t{number}"), "token_type": "Bearer", "expires_in": lasts })
                .to_string(),
        )
    })
    .await
}

#[tokio::test]
async fn a_token_is_fetched_once_and_kept_for_all_checks_that_ask_alike() {
    let (target, tokens) = (Server::http(|_| ok("")).await, issuer(3600).await);
    let probe = Probe::new();
    for kind in ["http", "http-keyword", "http"] {
        assert_eq!(
            probe.seen(kind, config(&target, &tokens, json!({}))).await.status,
            Status::Up
        );
    }
    assert_eq!(tokens.requests().len(), 1);
    let asked = tokens.requests().remove(0);
    assert_eq!(
        asked.body,
        "grant_type=client_credentials&client_id=id&client_secret=s%26cret&scope=read+write"
    );
    assert_eq!(
        (asked.method.as_str(), asked.header("content-type")),
        ("POST", "application/x-www-form-urlencoded")
    );
    assert!(
        target
            .requests()
            .iter()
            .all(|seen| seen.header("authorization") == "Bearer t1")
    );
    probe
        .seen(
            "http",
            config(&target, &tokens, json!({ "oauth_scopes": "other" })),
        )
        .await;
    assert_eq!(tokens.requests().len(), 2, "another scope is another token");
}

#[tokio::test]
async fn the_secret_may_also_be_shown_as_basic_authentication() {
    let (target, tokens) = (Server::http(|_| ok("")).await, issuer(3600).await);
    Probe::new()
        .seen(
            "http",
            config(
                &target,
                &tokens,
                json!({ "oauth_auth_method": "client_secret_basic" }),
            ),
        )
        .await;
    assert_eq!(tokens.requests()[0].header("authorization"), "Basic aWQ6cyZjcmV0");
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_only_once() {
    let target = Server::http(|seen| {
        if seen.header("authorization") == "Bearer t2" {
            ok("")
        } else {
            status(401)
        }
    })
    .await;
    let tokens = issuer(3600).await;
    let probe = Probe::new();
    assert_eq!(
        probe
            .seen("http", config(&target, &tokens, json!({})))
            .await
            .status,
        Status::Up
    );
    assert_eq!((target.requests().len(), tokens.requests().len()), (2, 2));

    let closed = Server::http(|_| status(401)).await;
    let seen = Probe::new()
        .seen("http", config(&closed, &tokens, json!({})))
        .await;
    assert_eq!((seen.status, reason(&seen)), (Status::Down, "http_status"));
    assert_eq!(closed.requests().len(), 2);
}

#[tokio::test]
async fn a_token_past_its_end_is_not_used() {
    let (target, tokens) = (Server::http(|_| ok("")).await, issuer(60).await);
    let probe = Probe::new();
    probe.seen("http", config(&target, &tokens, json!({}))).await;
    time::pause();
    time::advance(Duration::from_secs(55)).await;
    time::resume();
    probe.seen("http", config(&target, &tokens, json!({}))).await;
    let shown: Vec<String> = target
        .requests()
        .iter()
        .map(|seen| seen.header("authorization").to_owned())
        .collect();
    assert_eq!(
        shown,
        ["Bearer t1", "Bearer t2"],
        "a token is given up some seconds before its end"
    );
}

#[tokio::test]
async fn no_token_is_an_authentication_failure_and_the_target_is_not_asked() {
    let target = Server::http(|_| ok("")).await;
    let run = async |tokens: Server| -> Observation {
        Probe::new()
            .seen("http", config(&target, &tokens, json!({})))
            .await
    };
    let leak = Arc::new(AtomicUsize::new(0));
    for (answer, message) in [
        (
            Server::http(|_| status(403)).await,
            "oauth2 token endpoint returned status: 403",
        ),
        (
            Server::http(|_| ok("<html>")).await,
            "failed to parse oauth2 token response",
        ),
        (
            Server::http(|_| ok(r#"{"access_token":""}"#)).await,
            "failed to parse oauth2 token response",
        ),
        (
            Server::http(|_| redirect(307, "http://thief.example/")).await,
            "oauth2 token endpoint returned status: 307",
        ),
        (
            Server::raw(|_| async {}).await,
            "failed to get oauth2 token: connection",
        ),
    ] {
        let seen = run(answer).await;
        assert_eq!(
            (seen.status, reason(&seen)),
            (Status::Down, "auth_failed"),
            "{}",
            seen.message
        );
        assert!(seen.message.starts_with(message), "{}", seen.message);
        assert!(!seen.message.contains("cret"), "the secret is not told");
        leak.fetch_add(1, Ordering::SeqCst);
    }
    assert_eq!((target.accepted(), leak.load(Ordering::SeqCst)), (0, 5));
}

#[tokio::test]
async fn the_token_endpoint_is_trusted_by_either_name_of_the_setting() {
    let authority = Authority::new();
    let acceptor = authority.issue(&Leaf::default()).acceptor();
    let tokens = Server::https(acceptor, |_| ok(r#"{"access_token":"t","expires_in":60}"#)).await;
    let target = Server::http(|_| ok("")).await;
    let place = json!({ "oauth_token_url": format!("https://127.0.0.1:{}/token", tokens.port()) });
    for field in ["tlsCa", "tls_ca"] {
        let more = with(place.clone(), json!({ field: authority.pem() }));
        let seen = Probe::new().seen("http", config(&target, &tokens, more)).await;
        assert_eq!(seen.status, Status::Up, "{field}: {}", seen.message);
    }
    let seen = Probe::new().seen("http", config(&target, &tokens, place)).await;
    assert_eq!(reason(&seen), "auth_failed");
}
