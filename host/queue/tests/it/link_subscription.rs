//! Listening to channels of a real Redis.

use crate::fixture::{Redis, eventually};
use futures_util::StreamExt;
use std::time::Duration;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn messages_come_with_their_channel_until_the_connection_ends() {
    let mut redis = Redis::start().await;
    let mut messages = redis.server().subscribe(&["a", "b"]).await.unwrap();
    for channel in ["a", "c", "b"] {
        let heard: u32 = redis.run(&format!("PUBLISH {channel} of-{channel}")).await;
        assert_eq!(heard, u32::from(channel != "c"));
    }
    for channel in ["a", "b"] {
        let message = timeout(SOON, messages.next()).await.unwrap().unwrap();
        assert_eq!(message.get_channel_name(), channel);
        assert_eq!(message.get_payload::<String>().unwrap(), format!("of-{channel}"));
    }
    redis.server.stop();
    assert!(timeout(SOON, messages.next()).await.unwrap().is_none());
    assert!(redis.server().subscribe(&["a"]).await.is_err());
}

#[tokio::test]
async fn a_dropped_subscription_leaves_no_connection() {
    let mut redis = Redis::start().await;
    let messages = redis.server().subscribe(&["a"]).await.unwrap();
    assert_eq!(redis.run::<u32>("PUBLISH a x").await, 1);
    drop(messages);
    eventually(SOON, "the server is rid of it", async || {
        redis.run::<String>("CLIENT LIST").await.lines().count() == 1
    })
    .await;
}
