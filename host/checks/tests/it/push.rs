//! Kind `push`.

use crate::support::{Probe, reason, registry};
use jiff::{SignedDuration, Timestamp};
use lapwing_checks::ProbeContext;
use lapwing_model::{Clock, Heartbeat, Observation, Status};
use std::sync::Arc;

/// A clock that stands still.
#[derive(Debug)]
struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// The verdict on a monitor of 60 s whose last stored result was `status`, `age` seconds ago.
pub(crate) async fn seen(last: Option<(i64, i64)>) -> Observation {
    let now: Timestamp = "2026-04-11T08:15:00Z".parse().unwrap();
    let cx = Probe::new().context();
    let mut task = (*cx.task).clone();
    task.last_heartbeat = last.map(|(status, age)| Heartbeat {
        status,
        time: Some(now - SignedDuration::from_secs(age)),
        ..Heartbeat::default()
    });
    let cx = ProbeContext {
        task: Arc::new(task),
        clock: Arc::new(At(now)),
        ..cx
    };
    let registry = registry();
    let executor = registry.executor("push").unwrap();
    executor.execute(r#"{"pushToken": "t"}"#, &cx).await.unwrap()
}

#[tokio::test]
async fn in_time_is_no_news_and_late_is_down() {
    for (last, status, untold, message) in [
        (None, Status::Down, false, "No push received yet"),
        (Some((1, 60)), Status::Up, true, "Push received 60 s ago"),
        (Some((1, -5)), Status::Up, true, "Push received 0 s ago"),
        (Some((1, 61)), Status::Down, false, "No push received in time"),
        // The newest stored result is ours: down, until the next push.
        (Some((0, 5)), Status::Down, false, "No push received in time"),
    ] {
        let seen = seen(last).await;
        assert_eq!(
            (seen.status, seen.untold, &*seen.message),
            (status, untold, message)
        );
        assert_eq!(reason(&seen), if status == Status::Down { "no_push" } else { "" });
        assert_eq!(seen.latency, None);
    }
}

#[tokio::test]
async fn a_config_that_does_not_fit_is_of_no_account() {
    for config in ["", "no JSON", r#"{"pushToken": 7, "old": 1}"#] {
        let cx = Probe::new().context();
        let seen = registry()
            .executor("push")
            .unwrap()
            .execute(config, &cx)
            .await
            .unwrap();
        assert_eq!(seen.message, "No push received yet", "{config}");
    }
}
