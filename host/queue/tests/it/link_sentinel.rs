//! A master that Sentinels name, and its end.

use crate::fixture::eventually;
use futures_util::StreamExt;
use lapwing_queue::{
    Memos, QueueError, SentinelSettings, Server, ServerSettings,
    testing::{Probe, RedisServer, Watched},
};
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(1);
/// Far more than a failover takes.
const LIMIT: Duration = Duration::from_secs(30);

async fn port(probe: &Probe) -> Result<u16, QueueError> {
    let (_, port): (String, u16) = probe.run("CONFIG GET port").await?;
    Ok(port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_master_dies_calls_reach_the_new_one() {
    let mut watched = Watched::start();
    let server = Server::open(&watched.url()).unwrap();
    let (probe, memos) = (Probe::new(&server, PATIENCE), Memos::new(&server));
    let [master, replica] = &mut watched.servers;
    assert_eq!(port(&probe).await.unwrap(), master.port());
    probe.run::<()>("SET a 1").await.unwrap();
    memos.set("a", b"x", LIMIT).await.unwrap();
    assert_eq!(probe.run::<u32>("WAIT 1 5000").await.unwrap(), 1);
    let mut messages = server.subscribe(&["channel"]).await.unwrap();
    master.stop();
    assert!(timeout(LIMIT, messages.next()).await.unwrap().is_none());
    eventually(LIMIT, "writes succeed again", async || {
        probe.run::<i64>("INCR a").await.is_ok()
    })
    .await;
    assert_eq!(port(&probe).await.unwrap(), replica.port());
    eventually(LIMIT, "memos are there again", async || {
        memos
            .get("a")
            .await
            .is_ok_and(|memo| memo.as_deref() == Some(b"x"))
    })
    .await;
    let mut messages = server.subscribe(&["channel"]).await.unwrap();
    assert_eq!(probe.run::<u32>("PUBLISH channel x").await.unwrap(), 1);
    assert!(timeout(LIMIT, messages.next()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_turned_read_only_is_left_for_the_one_that_is_named_now() {
    let watched = Watched::start();
    let probe = Probe::new(&Server::open(&watched.url()).unwrap(), PATIENCE);
    assert_eq!(port(&probe).await.unwrap(), watched.servers[0].port());
    // What a master that was demoted says, and what proxies make of it.
    let refusals = ["READONLY You can't write", "ERR READONLY You can't write"];
    let others = [RedisServer::start(), RedisServer::start()];
    for (other, refusal) in others.iter().zip(refusals) {
        watched.sentinel.cli("SENTINEL REMOVE lapwing");
        watched
            .sentinel
            .cli(&format!("SENTINEL MONITOR lapwing 127.0.0.1 {} 1", other.port()));
        assert_ne!(port(&probe).await.unwrap(), other.port());
        let script = "return redis.error_reply(ARGV[1])";
        let error = probe.script::<()>(script, &[], &[refusal]).await.unwrap_err();
        assert!(
            matches!(error, QueueError::Unavailable(_)),
            "{refusal}: {error:?}"
        );
        assert_eq!(port(&probe).await.unwrap(), other.port(), "{refusal}");
    }
}

#[tokio::test]
async fn a_sentinel_that_is_away_or_wrong_is_passed_over() {
    let mut watched = Watched::start();
    let [master, replica] = &watched.servers;
    // Names the replica, which knows better.
    let wrong = format!("sentinel monitor lapwing 127.0.0.1 {} 1", replica.port());
    let mut gone = RedisServer::start();
    gone.stop();
    let liar = Watched::sentinel_of(&wrong);
    let settings = ServerSettings {
        sentinels: SentinelSettings {
            addresses: [gone.port(), liar.port(), watched.sentinel.port()]
                .map(|port| format!("127.0.0.1:{port}"))
                .to_vec(),
            master: Some("lapwing".to_owned()),
            ..SentinelSettings::default()
        },
        ..ServerSettings::default()
    };
    let probe = Probe::new(&Server::new(settings.clone()).unwrap(), PATIENCE);
    assert_eq!(port(&probe).await.unwrap(), master.port());
    watched.sentinel.stop();
    let error = Probe::new(&Server::new(settings).unwrap(), PATIENCE)
        .run::<()>("PING")
        .await
        .unwrap_err();
    let QueueError::Unavailable(why) = error else {
        panic!("{error:?}")
    };
    for part in ["Connection refused", "which is a replica"] {
        assert!(why.to_string().contains(part), "{why}");
    }
}

#[tokio::test]
async fn an_unknown_master_is_told_by_its_name() {
    let watched = Watched::start();
    let url = format!("redis-sentinel://127.0.0.1:{}/nobody", watched.sentinel.port());
    let error = Probe::new(&Server::open(&url).unwrap(), PATIENCE)
        .run::<()>("PING")
        .await
        .unwrap_err();
    assert!(
        matches!(&error, QueueError::Unavailable(why) if why.to_string().contains("no master `nobody`")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_sentinel_that_is_silent_is_passed_over_by_the_next_call() {
    let watched = Watched::start();
    let silent = Watched::sentinel_of("sentinel monitor lapwing 127.0.0.1 1 1");
    silent.pause();
    let url = format!(
        "redis-sentinel://127.0.0.1:{},127.0.0.1:{}/lapwing",
        silent.port(),
        watched.sentinel.port()
    );
    // Less patient than one step of connecting.
    let probe = Probe::new(&Server::open(&url).unwrap(), Duration::from_millis(500));
    let first = port(&probe).await;
    assert!(first.is_err(), "{first:?}");
    assert_eq!(port(&probe).await.unwrap(), watched.servers[0].port());
}

#[tokio::test]
async fn sentinels_have_a_password_of_their_own() {
    let master = RedisServer::start_with(&["--requirepass", "sesame"]);
    let number = master.port();
    let lines = format!(
        "requirepass poppy\nsentinel monitor lapwing 127.0.0.1 {number} 1\nsentinel auth-pass lapwing sesame"
    );
    let sentinel = Watched::sentinel_of(&lines);
    let settings = |password: &str| ServerSettings {
        password: Some("sesame".to_owned()),
        sentinels: SentinelSettings {
            addresses: vec![format!("127.0.0.1:{}", sentinel.port())],
            master: Some("lapwing".to_owned()),
            password: Some(password.to_owned()),
            ..SentinelSettings::default()
        },
        ..ServerSettings::default()
    };
    let probe = |password: &str| Probe::new(&Server::new(settings(password)).unwrap(), PATIENCE);
    assert_eq!(port(&probe("poppy")).await.unwrap(), master.port());
    let error = port(&probe("sesame")).await.unwrap_err();
    assert!(matches!(error, QueueError::Denied(_)), "{error:?}");
}
