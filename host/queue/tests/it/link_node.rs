//! The connection to one real Redis: how it is set up, and what becomes of it when the server is slow or full.

use crate::fixture::{Redis, eventually};
use futures_util::future::join_all;
use lapwing_queue::{
    Memos, QueueError, Server, ServerSettings,
    testing::{Probe, RedisServer},
};
use std::{error::Error, process::Command, time::Duration};
use tokio::time::sleep;

const MS: Duration = Duration::from_millis(1);

/// The connections of other clients, as `CLIENT LIST` shows them.
fn clients(redis: &RedisServer) -> Vec<String> {
    let list = redis.cli("CLIENT LIST");
    list.lines()
        .filter(|line| !line.contains("cmd=client|list"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn a_stall_of_two_seconds_is_survived_by_the_patient_and_told_to_the_others() {
    let redis = Redis::start().await;
    let [patient, hasty] = [4000, 500].map(|ms| Probe::new(&redis.server(), MS * ms));
    for probe in [&patient, &hasty] {
        probe.run::<String>("SET a 1").await.unwrap();
    }
    redis.server.pause();
    let (answer, refused, ()) = tokio::join!(
        patient.run::<i64>("INCR a"),
        hasty.run::<i64>("INCR secret"),
        async {
            sleep(MS * 2000).await;
            redis.server.resume();
        }
    );
    assert_eq!(answer.unwrap(), 2);
    let error = refused.unwrap_err();
    assert!(matches!(error, QueueError::Unavailable(_)), "{error:?}");
    let told = error.source().unwrap().to_string();
    assert_eq!(told, "no answer to `INCR` within 500ms");
    eventually(Duration::from_secs(5), "the hasty one goes on", async || {
        hasty.run::<i64>("INCR a").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn silence_tells_which_commands_were_not_answered() {
    let redis = Redis::start().await;
    let probe = Probe::new(&redis.server(), MS * 200);
    probe.run::<String>("PING").await.unwrap();
    redis.server.pause();
    let error = probe
        .pipeline::<()>(redis::pipe().cmd("GET").arg("a").cmd("DEL").arg("a"))
        .await
        .unwrap_err();
    redis.server.resume();
    assert_eq!(
        error.source().unwrap().to_string(),
        "no answer to `GET`, `DEL` within 200ms"
    );
}

#[tokio::test]
async fn a_server_full_of_clients_is_unavailable_until_there_is_room() {
    let mut redis = Redis::start().await;
    let probe = Probe::new(&redis.server(), MS * 500);
    let memos = Memos::new(&redis.server());
    let () = redis.run("CONFIG SET maxclients 1").await;
    let error = probe.run::<String>("PING").await.unwrap_err();
    assert!(matches!(error, QueueError::Unavailable(_)), "{error:?}");
    assert!(memos.get("a").await.is_err());
    assert!(redis.server().subscribe(&["a"]).await.is_err());
    let () = redis.run("CONFIG SET maxclients 100").await;
    eventually(Duration::from_secs(5), "there is room", async || {
        probe.run::<String>("PING").await.is_ok() && memos.get("a").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn the_kernel_watches_over_every_connection() {
    let redis = RedisServer::start();
    let server = Server::new(ServerSettings {
        keepalive: Duration::from_secs(600),
        ..ServerSettings::at(&redis.url())
    })
    .unwrap();
    let probe = Probe::new(&server, MS * 1000);
    probe.run::<String>("PING").await.unwrap();
    let _subscription = server.subscribe(&["a"]).await.unwrap();
    let filter = format!("( dport = :{} )", redis.port());
    let output = Command::new("ss")
        .args(["-tno", "state", "established", &filter])
        .output()
        .unwrap();
    let sockets = String::from_utf8(output.stdout).unwrap();
    let watched = sockets
        .lines()
        .filter(|line| line.contains("timer:(keepalive,9min"))
        .count();
    assert_eq!(watched, 2, "{sockets}");
}

#[tokio::test]
async fn connections_bear_the_clients_name() {
    let redis = RedisServer::start();
    let server = Server::new(ServerSettings {
        client_name: Some("lapwing-1".to_owned()),
        ..ServerSettings::at(&redis.url())
    })
    .unwrap();
    let probe = Probe::new(&server, MS * 1000);
    probe.run::<String>("PING").await.unwrap();
    let _subscription = server.subscribe(&["a"]).await.unwrap();
    let clients = clients(&redis);
    assert_eq!(clients.len(), 2);
    assert!(
        clients.iter().all(|client| client.contains(" name=lapwing-1 ")),
        "{clients:?}"
    );
}

#[tokio::test]
async fn a_second_connection_is_opened_only_for_calls_at_the_same_time_and_no_more_than_allowed() {
    let redis = RedisServer::start();
    let server = Server::new(ServerSettings {
        connections: 3,
        ..ServerSettings::at(&redis.url())
    })
    .unwrap();
    let probe = Probe::new(&server, MS * 2000);
    for _ in 0..10 {
        probe.run::<String>("PING").await.unwrap();
    }
    assert_eq!(clients(&redis).len(), 1);
    for outcome in join_all((0..20).map(|_| probe.run::<String>("PING"))).await {
        outcome.unwrap();
    }
    assert_eq!(clients(&redis).len(), 3);
    // One of them waits; the others go around it.
    let (popped, ()) = tokio::join!(probe.run::<Option<(String, String)>>("BLPOP never 1"), async {
        sleep(MS * 50).await;
        for _ in 0..10 {
            tokio::time::timeout(MS * 500, probe.run::<String>("PING"))
                .await
                .unwrap()
                .unwrap();
        }
    });
    assert_eq!(popped.unwrap(), None);
}

#[tokio::test]
async fn a_local_socket_serves_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("redis.sock");
    let _redis = RedisServer::start_with(&["--unixsocket", path.to_str().unwrap()]);
    let server = Server::open(&format!("unix://{}", path.display())).unwrap();
    let probe = Probe::new(&server, MS * 1000);
    assert_eq!(probe.run::<String>("PING").await.unwrap(), "PONG");
    server.subscribe(&["a"]).await.unwrap();
}
