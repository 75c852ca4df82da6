//! What is particular to the queue in memory: its bounds.

use crate::fixture::{result, room, take, task};
use lapwing_queue::{
    Enqueued, Inspect, Policy, Queue, QueueError, Sink, Source,
    memory::{Memory, Results},
};
use tokio::sync::mpsc;

#[tokio::test]
async fn a_full_queue_says_so_until_a_task_is_done() {
    let memory = Memory::new(2, Policy::default());
    memory.enqueue(&task("a")).await.unwrap();
    memory.enqueue(&task("b")).await.unwrap();
    assert!(matches!(
        memory.enqueue(&task("c")).await,
        Err(QueueError::Full(2))
    ));
    let lease = take(&memory, 1).await.remove(0);
    assert!(
        matches!(memory.enqueue(&task("c")).await, Err(QueueError::Full(2))),
        "one in work counts"
    );
    lease.ack().await.unwrap();
    assert_eq!(memory.enqueue(&task("c")).await.unwrap(), Enqueued::Added);
}

#[tokio::test]
async fn the_oldest_dead_letters_make_room() {
    let memory = Memory::new(1, Policy::default());
    for number in 0..1001 {
        memory.enqueue(&task(&number.to_string())).await.unwrap();
        take(&memory, 1).await.remove(0).archive("why").await.unwrap();
    }
    let dead = memory.dead("memory", 0, 2000).await.unwrap();
    assert_eq!((dead.len(), dead[999].id.as_str()), (1000, "1"));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_reservation_is_woken_by_the_next_task() {
    let memory = Memory::new(1, Policy::default());
    let start = tokio::time::Instant::now();
    let (leases, added) = tokio::join!(memory.reserve(room(1)), async {
        tokio::task::yield_now().await;
        memory.enqueue(&task("a")).await
    });
    assert_eq!((leases.unwrap().len(), added.unwrap()), (1, Enqueued::Added));
    assert!(
        start.elapsed().is_zero(),
        "without waiting: {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_result_that_nobody_takes_is_an_error_not_an_endless_retry() {
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let error = Results::new(sender)
        .publish(&task("a"), &result(&task("a")))
        .await
        .unwrap_err();
    assert!(matches!(error, QueueError::Protocol(_)));
    assert!(!error.is_temporary());
}
