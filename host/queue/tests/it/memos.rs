//! Memos in a real Redis, and while there is none.

use crate::fixture::{Redis, eventually};
use lapwing_queue::Memos;
use std::time::Duration;
use tokio::time::Instant;

const WEEK: Duration = Duration::from_hours(7 * 24);

#[tokio::test]
async fn a_memo_is_kept_with_its_time_and_forgotten() {
    let mut redis = Redis::start().await;
    let memos = Memos::new(&redis.server());
    assert_eq!(memos.get("a").await.unwrap(), None);
    memos.set("a", b"\0\xff", WEEK).await.unwrap();
    assert_eq!(memos.get("a").await.unwrap(), Some(b"\0\xff".to_vec()));
    assert_eq!(memos.get("b").await.unwrap(), None);
    let left: u64 = redis.run("TTL lapwing:state:a").await;
    assert!((WEEK.as_secs() - 10..=WEEK.as_secs()).contains(&left), "{left}");
    memos.remove("a").await.unwrap();
    assert_eq!(memos.get("a").await.unwrap(), None);
}

#[tokio::test]
async fn of_what_is_no_memo_no_more_is_read_than_of_one() {
    let redis = Redis::start().await;
    let memos = Memos::new(&redis.server());
    memos.set("a", &vec![7; (1 << 20) + 1], WEEK).await.unwrap();
    assert_eq!(memos.get("a").await.unwrap(), Some(vec![7; 1 << 20]));
}

#[tokio::test]
async fn without_redis_the_answer_is_a_quick_no_and_then_it_is_back() {
    let mut redis = Redis::start().await;
    let memos = Memos::new(&redis.server());
    memos.set("a", b"x", WEEK).await.unwrap();
    redis.server.stop();
    let asked = Instant::now();
    assert!(memos.get("a").await.is_err() && memos.set("a", b"y", WEEK).await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    redis.server.restart();
    eventually(Duration::from_secs(10), "memos are there again", async || {
        memos.set("a", b"z", WEEK).await.is_ok()
    })
    .await;
    assert_eq!(memos.get("a").await.unwrap(), Some(b"z".to_vec()));
}
