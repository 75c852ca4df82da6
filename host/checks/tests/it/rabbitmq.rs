//! Kind `rabbitmq`: against a real node, and against stand-ins for what a cluster does when it fails.

use crate::support::{
    Probe,
    certificates::{Authority, Leaf},
    eventually, paused_from,
    rabbitmq::RabbitMq,
    reason,
    server::{Server, closed_port, ok, redirect, status},
    with,
};
use http::StatusCode;
use lapwing_checks::CheckError;
use lapwing_model::{Observation, Status};
use serde_json::{Value, json};
use std::{future::pending, time::Duration};

fn config(nodes: &Value) -> Value {
    json!({ "nodes": nodes, "username": "guest", "password": "guest" })
}

async fn seen(nodes: Value) -> Observation {
    Probe::new().seen("rabbitmq", config(&nodes)).await
}

/// One node for all: it takes ten seconds to start.
#[tokio::test]
async fn a_real_node_is_up_until_it_has_an_alarm() {
    let Some(node) = RabbitMq::start().await else {
        return;
    };
    let address = format!("http://{}", node.management);
    let up = seen(json!([address])).await;
    assert_eq!((up.status, up.message.as_str()), (Status::Up, "OK"));
    let stranger = with(config(&json!([address])), json!({ "password": "wrong" }));
    let down = Probe::new().seen("rabbitmq", stranger).await;
    assert_eq!((down.status, reason(&down)), (Status::Down, "auth_failed"));
    assert_eq!(
        down.message,
        "All RabbitMQ nodes failed: unexpected status code: 401"
    );

    node.control(&["set_vm_memory_high_watermark", "0.0000001"]);
    let alarmed = seen(json!([address])).await;
    assert_eq!(
        (alarmed.status, reason(&alarmed)),
        (Status::Down, "assertion_failed")
    );
    assert_eq!(
        alarmed.message,
        "All RabbitMQ nodes failed: RabbitMQ health check failed: There are alarms in effect in the cluster"
    );
    assert_eq!(alarmed.attributes["http.status"], 503);
}

#[tokio::test]
async fn the_question_is_the_one_peekaping_asks() {
    let server = Server::http(|_| ok("{}")).await;
    let seen = seen(json!([format!("{}/", server.url(""))])).await;
    assert_eq!(seen.status, Status::Up);
    let asked = server.requests().remove(0);
    assert_eq!(
        (asked.method.as_str(), asked.uri.as_str()),
        ("GET", "/api/health/checks/alarms/")
    );
    assert_eq!(asked.header("accept"), "application/json");
    assert_eq!(asked.header("authorization"), "Basic Z3Vlc3Q6Z3Vlc3Q=");
}

#[tokio::test]
async fn a_node_that_leads_where_nobody_may_go_does_not_end_the_search() {
    let astray = Server::http(|_| redirect(302, "http://127.0.0.9/")).await;
    let (bad, good) = (
        Server::http(|_| status(503)).await,
        Server::http(|_| ok("{}")).await,
    );
    let probe = Probe::under(json!({ "mode": "open", "deny": ["127.0.0.9"] }));
    let up = probe
        .seen("rabbitmq", config(&json!([astray.url(""), good.url("")])))
        .await;
    assert_eq!(up.status, Status::Up, "{}", up.message);
    for nodes in [[&astray, &bad], [&bad, &astray]] {
        let nodes = json!(nodes.map(|node| node.url("")));
        let error = probe.run("rabbitmq", config(&nodes)).await.unwrap_err();
        assert!(
            error.to_string().contains("127.0.0.9"),
            "nobody knows of the other: {error}"
        );
    }
}

#[tokio::test]
async fn nodes_are_asked_in_order_until_one_is_well() {
    let bad = Server::http(|_| status(503)).await;
    let good = Server::http(|_| ok("{}")).await;
    let gone = format!("http://127.0.0.1:{}", closed_port().await);
    let up = seen(json!([bad.url(""), gone, good.url(""), bad.url("")])).await;
    assert_eq!(up.status, Status::Up, "{}", up.message);
    assert_eq!(up.attributes["rabbitmq.node"], good.url(""));
    assert_eq!((bad.requests().len(), good.requests().len()), (1, 1));
    let down = seen(json!([gone, bad.url("")])).await;
    assert_eq!(
        down.message,
        "All RabbitMQ nodes failed: RabbitMQ health check failed: service unavailable"
    );
    let down = seen(json!([gone])).await;
    assert_eq!(reason(&down), "connection_refused");
    let start =
        format!("All RabbitMQ nodes failed: request failed: Get \"{gone}/api/health/checks/alarms/\": ");
    assert!(down.message.starts_with(&start), "{}", down.message);
}

#[tokio::test]
async fn a_node_that_hangs_leaves_time_for_the_next() {
    let mute = Server::raw(|stream| async move {
        let _held = stream;
        pending::<()>().await;
    })
    .await;
    let good = Server::http(|_| ok("{}")).await;
    let probe = Probe::new().within(Duration::from_secs(4));
    let up = probe
        .seen("rabbitmq", config(&json!([mute.url(""), good.url("")])))
        .await;
    assert_eq!(up.status, Status::Up, "{}", up.message);

    let hung = eventually("connected", || mute.accepted() == 2);
    let probe = Probe::new().within(Duration::from_secs(60));
    let down = paused_from(hung, probe.seen("rabbitmq", config(&json!([mute.url("")])))).await;
    assert_eq!((down.status, reason(&down)), (Status::Down, "response_timeout"));
    assert_eq!(down.message, "Health check timed out after 60s");
}

#[tokio::test]
async fn redirects_are_followed_and_other_statuses_told() {
    let good = Server::http(|_| ok("{}")).await;
    let place = good.url("/elsewhere");
    let moved = Server::http(move |_| redirect(301, &place)).await;
    assert_eq!(seen(json!([moved.url("")])).await.status, Status::Up);
    assert!(
        good.requests()[0].header("authorization").is_empty(),
        "not for another origin"
    );
    let odd = Server::http(|_| status(StatusCode::IM_A_TEAPOT.as_u16())).await;
    let down = seen(json!([odd.url("")])).await;
    assert_eq!(
        (reason(&down), down.message.as_str()),
        (
            "http_status",
            "All RabbitMQ nodes failed: unexpected status code: 418"
        )
    );
}

#[tokio::test]
async fn https_nodes_are_verified_by_the_authority_given() {
    let authority = Authority::new();
    let server = Server::https(authority.issue(&Leaf::default()).acceptor(), |_| ok("{}")).await;
    let node = json!([format!("https://127.0.0.1:{}", server.port())]);
    let run = async |more| Probe::new().seen("rabbitmq", with(config(&node), more)).await;
    assert_eq!(run(json!({ "tls_ca": authority.pem() })).await.status, Status::Up);
    assert_eq!(reason(&run(json!({})).await), "tls_certificate");
    assert_eq!(run(json!({ "ignore_tls_errors": true })).await.status, Status::Up);
}

#[tokio::test]
async fn an_unfit_configuration_is_told() {
    for (more, why) in [
        (json!({ "nodes": [] }), "`nodes`"),
        (json!({ "nodes": ["mq 1"] }), "`nodes`: not all are URLs"),
        (json!({ "nodes": ["http://u:hunter2@mq:99999"] }), "invalid port"),
        (json!({ "nodes": ["http://mq1:15672/#/"] }), "without `?` and `#`"),
        (
            json!({ "nodes": ["http://mq1:15672/?a=b"] }),
            "without `?` and `#`",
        ),
        (json!({ "nodes": ["mq1:15672"] }), "scheme `mq1`"),
        (json!({ "nodes": ["amqp://mq1"] }), "scheme `amqp`"),
        (json!({ "username": "a:b" }), "`username`"),
    ] {
        let config = with(config(&json!(["http://127.0.0.1:9"])), more);
        let error = Probe::new().run("rabbitmq", config).await.unwrap_err();
        assert!(
            matches!(&error, CheckError::InvalidConfig(text) if text.contains(why) && !text.contains("hunter2")),
            "{error:?}"
        );
    }
}
