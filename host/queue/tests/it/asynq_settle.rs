use crate::fixture::{Redis, check, quick, take};
use futures_util::future::join_all;
use lapwing_queue::Lease;

#[tokio::test]
async fn whatever_ends_together_the_rest_stays_listed_in_order() {
    let mut redis = Redis::start().await;
    let asynq = redis.asynq(quick()).await;
    // The oldest ones, of which most go and one stays; then some here and there.
    for ended in ["abd", "abcdefgh", "fh", "ah", "h"] {
        for monitor in 'a'..='h' {
            redis.push(&check("default", &monitor.to_string()), &[]).await;
        }
        let leases = take(&*asynq, 8).await;
        let ends = |id: &str| ended.contains(id.trim_start_matches("healthcheck:"));
        let (going, staying): (Vec<_>, Vec<_>) = leases.into_iter().partition(|lease| ends(lease.id()));
        // The first one travels alone, and the others gather behind it.
        for outcome in join_all(going.into_iter().map(Lease::ack)).await {
            outcome.unwrap();
        }
        let newest_first: Vec<_> = staying.iter().rev().map(|lease| lease.id().to_owned()).collect();
        assert_eq!(
            redis.list("default", "active").await,
            newest_first,
            "without {ended}"
        );
        assert_eq!(redis.zset("default", "lease").await.len(), staying.len());
        for outcome in join_all(staying.into_iter().map(Lease::ack)).await {
            outcome.unwrap();
        }
        assert_eq!(redis.list("default", "active").await, [""; 0]);
    }
}
