//! `POST /api/v1/tasks/examples/load-test-{small,medium,large}`: many tasks that check nothing, and how fast they go.
//!
//! The figures come from the results that the queue keeps, so they hold whichever worker ran the tasks.

use crate::{
    admin::{
        State,
        error::{ApiError, Asked, Envelope, InPath},
        openapi::refer,
        queues,
    },
    enqueue::Order,
    queues::Open,
};
use axum::{Json, extract, http::StatusCode};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// Questions to the queue under way at once.
const AT_ONCE: usize = 256;
/// Load tests remembered; the oldest go first.
const REMEMBERED: usize = 16;

/// What is put on the queue.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LoadRequest {
    /// The queue, one with `load_test = true`. Default: the first of these.
    queue_type: Option<String>,
    /// `noop` (the default), `sleep` or `cpu`.
    task_name: Option<String>,
    /// Its configuration, such as `{"ms": 50}`.
    kwargs: Map<String, Value>,
}

/// A load test that has begun.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LoadAnswer {
    /// What `GET /api/v1/tasks/status/{id}` takes.
    task_id: String,
    queue_type: String,
    /// How many tasks were put on the queue.
    count: usize,
}

/// How far a load test has come.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Progress {
    /// The load test's id.
    run_id: String,
    queue_type: String,
    count: usize,
    /// Tasks with a result.
    done: usize,
    /// Of these, the ones whose result is no `up`.
    failed: usize,
    /// Tasks a second, from the first enqueued to the last done.
    throughput: Option<f64>,
    /// From when a task was enqueued until it began.
    wait: Option<Percentiles>,
    /// From when a task began until it ended.
    run: Option<Percentiles>,
}

/// Of all tasks done, in milliseconds.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(clippy::struct_field_names, reason = "the unit is in the name")]
pub(crate) struct Percentiles {
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

/// The load tests that this process began, newest last.
#[derive(Default)]
pub(crate) struct Loads(Mutex<VecDeque<Arc<Load>>>);

struct Load {
    id: String,
    open: Arc<Open>,
    started: Timestamp,
    count: usize,
    state: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    waiting: HashSet<String>,
    failed: usize,
    last: Option<Timestamp>,
    waits_ms: Vec<f64>,
    runs_ms: Vec<f64>,
}

/// Puts 100 (small), 1,000 (medium) or 10,000 (large) tasks on a queue.
#[utoipa::path(post, path = "/api/v1/tasks/examples/{size}", tag = "tasks", request_body(content = ref(refer::<LoadRequest>())), responses(
    (status = 202, description = "They are on the queue", body = ref(refer::<LoadAnswer>())),
    (status = 404, description = "No such size or queue", body = ref(refer::<Envelope>())),
    (status = 409, description = "`no_load_test`: no queue runs load tests, or this one does not, or keeps no results", body = ref(refer::<Envelope>()))
))]
pub(crate) async fn start(
    extract::State(state): extract::State<State>,
    InPath(size): InPath<String>,
    Asked(request): Asked<LoadRequest>,
) -> Result<(StatusCode, Json<LoadAnswer>), ApiError> {
    let count = match size.as_str() {
        "load-test-small" => 100,
        "load-test-medium" => 1000,
        "load-test-large" => 10_000,
        _ => {
            let message = "there are load-test-small, load-test-medium and load-test-large";
            return Err(ApiError::new(StatusCode::NOT_FOUND, "not_found", message));
        }
    };
    let open = queue(&state, request.queue_type.as_deref())?;
    let name = request.task_name.as_deref().unwrap_or("noop");
    let kinds = &state.prober.kinds;
    if kinds.load().get(name).is_none() {
        let message = format!("`task_name`: `{name}` is not one of noop, sleep, cpu");
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_request",
            message,
        ));
    }
    let invalid = |error: String| ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_request", error);
    let order = Order::of(name, request.kwargs).map_err(|error| invalid(error.to_string()))?;
    let started = state.prober.clock.now();
    let pattern = order.review(kinds, true, started).await?;
    let tasks = stream::iter(0..count).map(|number| {
        let (mut task, open) = (pattern.clone(), open.clone());
        task.monitor.id = format!("{}-{number}", pattern.monitor.id);
        let clock = state.prober.clock.clone();
        async move {
            task.scheduled_at = Some(clock.now());
            open.producer.enqueue(&task).await?;
            Ok::<_, ApiError>(open.producer.task_id(&task))
        }
    });
    let waiting = tasks.buffer_unordered(AT_ONCE).try_collect().await?;
    let id = format!("load-test-{}", pattern.monitor.id);
    let queue_type = open.settings.name.clone();
    let tasks = Tasks {
        waiting,
        ..Tasks::default()
    };
    state.loads.remember(Load {
        id: id.clone(),
        open,
        started,
        count,
        state: Mutex::new(tasks),
    });
    let answer = LoadAnswer {
        task_id: id,
        queue_type,
        count,
    };
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

fn queue(state: &State, name: Option<&str>) -> Result<Arc<Open>, ApiError> {
    let conflict = |message: String| ApiError::new(StatusCode::CONFLICT, "no_load_test", message);
    let open = if let Some(name) = name {
        queues::find(state, name)?
    } else {
        let queues = state.queues.borrow();
        let found = queues.iter().find(|open| open.settings.load_test).cloned();
        found
            .ok_or_else(|| conflict("no queue runs load tests; set `load_test = true` for one".to_owned()))?
    };
    let name = &open.settings.name;
    if !open.settings.load_test {
        return Err(conflict(format!(
            "queue `{name}` runs no load tests; set `load_test = true` for it"
        )));
    }
    if open.settings.keep_result.is_zero() {
        return Err(conflict(format!(
            "queue `{name}` keeps no results, which the figures are made of; set `keep_result` for it"
        )));
    }
    Ok(open)
}

/// How far the load test called `id` has come; `None` when there is none of that name.
pub(super) async fn progress(state: &State, id: &str) -> Result<Option<Progress>, ApiError> {
    let Some(load) = state.loads.find(id) else {
        return Ok(None);
    };
    let waiting = load.tasks().waiting.clone();
    let asked = waiting.into_iter().map(|task| {
        let open = load.open.clone();
        async move {
            let result = open.dialect.result(&open.settings.name, &task).await?;
            Ok::<_, ApiError>(result.map(|result| (task, result.value)))
        }
    });
    let results: Vec<_> = stream::iter(asked)
        .buffer_unordered(AT_ONCE)
        .try_filter_map(|result| std::future::ready(Ok(result)))
        .try_collect()
        .await?;
    let mut tasks = load.tasks();
    for (task, result) in results {
        if tasks.waiting.remove(&task) {
            tasks.add(&result);
        }
    }
    let done = load.count - tasks.waiting.len();
    let throughput = tasks.last.map(|last| {
        let span = last.duration_since(load.started).as_secs_f64();
        f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / span.max(f64::EPSILON)
    });
    Ok(Some(Progress {
        run_id: load.id.clone(),
        queue_type: load.open.settings.name.clone(),
        count: load.count,
        done,
        failed: tasks.failed,
        throughput,
        wait: percentiles(&mut tasks.waits_ms),
        run: percentiles(&mut tasks.runs_ms),
    }))
}

impl Loads {
    fn remember(&self, load: Load) {
        let mut loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if loads.len() >= REMEMBERED {
            loads.pop_front();
        }
        loads.push_back(Arc::new(load));
    }

    fn find(&self, id: &str) -> Option<Arc<Load>> {
        let loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        loads.iter().find(|load| load.id == id).cloned()
    }
}

impl Load {
    fn tasks(&self) -> std::sync::MutexGuard<'_, Tasks> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    /// Counts a result, as [`lapwing_model::CheckResult`] is written.
    fn add(&mut self, result: &Value) {
        let time = |name: &str| -> Option<Timestamp> { result.get(name)?.as_str()?.parse().ok() };
        let (due, began, ended) = (time("scheduled_at"), time("started_at"), time("ended_at"));
        self.failed += usize::from(result.get("status").and_then(Value::as_str) != Some("up"));
        let span = |from: Option<Timestamp>, to: Option<Timestamp>| {
            Some(to?.duration_since(from?).as_secs_f64() * 1000.0)
        };
        self.waits_ms.extend(span(due, began));
        self.runs_ms.extend(span(began, ended));
        self.last = self.last.max(ended);
    }
}

fn percentiles(values: &mut [f64]) -> Option<Percentiles> {
    values.sort_by(f64::total_cmp);
    // By the nearest rank.
    let at = |percent: usize| {
        let rank = (values.len() * percent).div_ceil(100);
        values.get(rank.saturating_sub(1)).copied()
    };
    Some(Percentiles {
        p50_ms: at(50)?,
        p95_ms: at(95)?,
        p99_ms: at(99)?,
        max_ms: at(100)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_nearest_rank() {
        let mut values: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        let told = serde_json::to_value(percentiles(&mut values)).unwrap();
        let expected =
            serde_json::json!({"p50_ms": 100.0, "p95_ms": 190.0, "p99_ms": 198.0, "max_ms": 200.0});
        assert_eq!(told, expected);
        assert!(percentiles(&mut []).is_none());
    }

    #[test]
    fn a_result_tells_how_long_its_task_waited_and_ran() {
        let mut tasks = Tasks::default();
        tasks.add(&serde_json::json!({
            "status": "up", "scheduled_at": "2026-04-11T08:15:20Z",
            "started_at": "2026-04-11T08:15:20.02Z", "ended_at": "2026-04-11T08:15:20.07Z",
        }));
        tasks.add(&serde_json::json!("it failed"));
        assert_eq!((tasks.waits_ms, tasks.runs_ms), (vec![20.0], vec![50.0]));
        assert_eq!(tasks.failed, 1);
    }
}
