//! A real cluster of three masters.

use crate::fixture::eventually;
use futures_util::StreamExt;
use lapwing_queue::{
    Memos, QueueError, Server, ServerSettings, TlsSettings,
    testing::{Certificates, Probe, RedisCluster},
};
use std::time::Duration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(1);
const LIMIT: Duration = Duration::from_secs(20);
/// Keys on the first, the second and the third node.
const KEYS: [(&str, u16); 3] = [("{b}:x", 3300), ("{c}:x", 7365), ("{a}:x", 15495)];

fn probe(cluster: &RedisCluster) -> Probe {
    Probe::new(&Server::open(&cluster.url()).unwrap(), PATIENCE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_pipelines_and_scripts_go_where_their_keys_are() {
    let cluster = RedisCluster::start();
    let probe = probe(&cluster);
    let script = "return redis.call('INCRBY', KEYS[1], ARGV[1]) + redis.call('EXISTS', KEYS[2])";
    for (key, slot) in KEYS {
        assert_eq!(
            probe.run::<u16>(&format!("CLUSTER KEYSLOT {key}")).await.unwrap(),
            slot
        );
        probe.run::<()>(&format!("SET {key} 1")).await.unwrap();
        let other = key.replace('x', "y");
        for atomic in [false, true] {
            let mut pipe = redis::pipe();
            if atomic {
                pipe.atomic();
            }
            pipe.cmd("INCR").arg(key).cmd("SET").arg(&other).arg(1).ignore();
            assert_eq!(probe.pipeline::<Vec<i64>>(&pipe).await.unwrap().len(), 1);
        }
        let sum: i64 = probe.script(script, &[key, &other], &["10"]).await.unwrap();
        assert_eq!(sum, 14, "{key}");
    }
    let error = probe.script::<()>(script, &["a", "b"], &["1"]).await.unwrap_err();
    assert!(error.to_string().contains("CROSSSLOT"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_away_takes_only_its_own_keys_with_it() {
    let mut cluster = RedisCluster::start();
    let probe = probe(&cluster);
    let memos = Memos::new(&Server::open(&cluster.url()).unwrap());
    for (key, _) in KEYS {
        probe.run::<()>(&format!("SET {key} 1")).await.unwrap();
        memos.set(key, b"x", LIMIT).await.unwrap();
    }
    let (gone, slot) = KEYS[1];
    cluster.with_slot(slot).stop();
    assert!(probe.run::<i64>(&format!("INCR {gone}")).await.is_err());
    // New scripts, too: they are sent to no node but the one that needs them.
    let script = "return redis.call('GET', KEYS[1]) + 1";
    for (key, _) in [KEYS[0], KEYS[2]] {
        eventually(LIMIT, "the others are well", async || {
            probe.run::<i64>(&format!("INCR {key}")).await.is_ok()
        })
        .await;
        // The second call is by its hash.
        for _ in 0..2 {
            assert_eq!(probe.script::<i64>(script, &[key], &[]).await.unwrap(), 3);
        }
        assert_eq!(memos.get(key).await.unwrap(), Some(b"x".to_vec()));
    }
    assert!(probe.time().await.is_ok());
    cluster.with_slot(slot).restart();
    eventually(LIMIT, "the node is back", async || {
        probe.run::<i64>(&format!("INCR {gone}")).await.is_ok()
    })
    .await;
    let answer: i64 = probe.script(script, &[gone], &[]).await.unwrap();
    assert!(answer >= 3);
    assert_eq!(memos.get(gone).await.unwrap(), Some(b"x".to_vec()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_was_away_as_a_whole_is_back_soon() {
    let mut cluster = RedisCluster::start();
    let probe = probe(&cluster);
    for (key, _) in KEYS {
        probe.run::<()>(&format!("SET {key} 1")).await.unwrap();
    }
    cluster
        .nodes
        .iter_mut()
        .for_each(lapwing_queue::testing::RedisServer::stop);
    assert!(matches!(
        probe.run::<()>("INCR a").await,
        Err(QueueError::Unavailable(_))
    ));
    cluster
        .nodes
        .iter_mut()
        .for_each(lapwing_queue::testing::RedisServer::restart);
    for (key, _) in KEYS {
        eventually(LIMIT, key, async || {
            probe.run::<i64>(&format!("INCR {key}")).await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_moved_is_followed() {
    let cluster = RedisCluster::start();
    let probe = probe(&cluster);
    let (key, slot) = KEYS[0];
    assert_eq!(
        probe.run::<Option<String>>(&format!("GET {key}")).await.unwrap(),
        None
    );
    let id = cluster.nodes[1].cli("CLUSTER MYID");
    for node in [1, 0, 2] {
        cluster.nodes[node].cli(&format!("CLUSTER SETSLOT {slot} NODE {id}"));
    }
    probe.run::<()>(&format!("SET {key} 7")).await.unwrap();
    assert_eq!(cluster.nodes[1].cli(&format!("GET {key}")), "7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_published_at_one_node_are_heard_at_another() {
    let cluster = RedisCluster::start();
    let server = Server::open(&cluster.url()).unwrap();
    let mut messages = server.subscribe(&["channel"]).await.unwrap();
    for node in &cluster.nodes {
        node.cli("PUBLISH channel x");
        let message = timeout(LIMIT, messages.next()).await.unwrap().unwrap();
        assert_eq!(message.get_channel_name(), "channel");
    }
    probe(&cluster).run::<()>("PUBLISH channel y").await.unwrap();
    assert!(timeout(LIMIT, messages.next()).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_is_always_that_of_one_node() {
    let cluster = RedisCluster::start();
    let probe = probe(&cluster);
    for _ in 0..20 {
        probe.time().await.unwrap();
    }
    let asked = |node: usize| {
        cluster.nodes[node]
            .cli("INFO commandstats")
            .contains("cmdstat_time:calls=20,")
    };
    assert_eq!([0, 1, 2].map(asked), [true, false, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_dies_is_replaced_by_its_replica() {
    let mut cluster = RedisCluster::start();
    let replica = cluster.add_replica();
    let probe = probe(&cluster);
    let (key, slot) = KEYS[0];
    probe.run::<()>(&format!("SET {key} 1")).await.unwrap();
    cluster.with_slot(slot).stop();
    eventually(LIMIT, "the replica serves", async || {
        probe.run::<i64>(&format!("INCR {key}")).await.is_ok()
    })
    .await;
    assert!(replica.cli("ROLE").starts_with("master"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hangs_does_not_keep_the_others_from_serving() {
    let mut cluster = RedisCluster::start();
    let probe = probe(&cluster);
    for (key, _) in KEYS {
        probe.run::<()>(&format!("SET {key} 1")).await.unwrap();
    }
    let (gone, slot) = KEYS[1];
    cluster.with_slot(slot).pause();
    let waiting = async {
        for _ in 0..3 {
            assert!(probe.run::<i64>(&format!("INCR {gone}")).await.is_err());
        }
    };
    let others = async {
        let mut served = 0;
        for (key, _) in [KEYS[0], KEYS[2]].iter().cycle().take(60) {
            served += u32::from(probe.run::<i64>(&format!("INCR {key}")).await.is_ok());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        served
    };
    let ((), served) = tokio::join!(waiting, others);
    cluster.with_slot(slot).resume();
    assert!(served >= 55, "{served} of 60");
    eventually(LIMIT, "the node is back", async || {
        probe.run::<i64>(&format!("INCR {gone}")).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_wants_a_password_too() {
    let cluster = RedisCluster::start_with(&["--user", "lap", "on", ">sesame", "~*", "&*", "+@all"]);
    let settings = |password: &str| ServerSettings {
        username: Some("lap".to_owned()),
        password: Some(password.to_owned()),
        ..ServerSettings::at(&cluster.url())
    };
    let server = Server::new(settings("sesame")).unwrap();
    let probe = Probe::new(&server, PATIENCE);
    for (key, _) in KEYS {
        probe.run::<()>(&format!("SET {key} 1")).await.unwrap();
    }
    assert_eq!(probe.run::<String>("ACL WHOAMI").await.unwrap(), "lap");
    server.subscribe(&["a"]).await.unwrap();
    let error = Probe::new(&Server::new(settings("wrong")).unwrap(), PATIENCE)
        .run::<()>("GET a")
        .await
        .unwrap_err();
    assert!(matches!(error, QueueError::Denied(_)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_is_away_is_not_asked_all_the_time() {
    let mut cluster = RedisCluster::start();
    let probe = probe(&cluster);
    let (key, slot) = KEYS[1];
    probe.run::<()>(&format!("SET {key} 1")).await.unwrap();
    cluster.with_slot(slot).stop();
    let commands = |cluster: &RedisCluster| -> u64 {
        let counts = cluster.nodes.iter().map(|node| {
            let info = node.cli("INFO stats");
            let count = info
                .lines()
                .find_map(|line| line.strip_prefix("total_commands_processed:"));
            count.map_or(0, |count| count.parse().unwrap())
        });
        counts.sum()
    };
    let before = commands(&cluster);
    let start = tokio::time::Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        let _ = probe.run::<i64>(&format!("INCR {key}")).await;
        // As dialects do after an error, at their longest.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let rate = (commands(&cluster) - before) / 4;
    assert!(rate < 50, "{rate} commands/s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_behind_tls_is_spoken_to_at_every_node() {
    let certificates = Certificates::new();
    let cluster = RedisCluster::start_tls(&certificates);
    let settings = ServerSettings {
        tls: TlsSettings {
            enabled: true,
            ca: Some(certificates.file("ca.pem")),
            certificate: Some(certificates.file("client.pem")),
            key: Some(certificates.file("client.key")),
            ..TlsSettings::default()
        },
        ..ServerSettings::at(&cluster.url())
    };
    let server = Server::new(settings).unwrap();
    let probe = Probe::new(&server, PATIENCE);
    for (key, _) in KEYS {
        probe.run::<()>(&format!("SET {key} 1")).await.unwrap();
    }
    server.subscribe(&["a"]).await.unwrap();
}
