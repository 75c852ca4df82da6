//! Kinds that check nothing: what a load test puts on a queue. Only there where a queue's `load_test` asks for them.

use crate::{Check, CheckError, ProbeContext};
use lapwing_model::Observation;
use schemars::JsonSchema;
use serde::Deserialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Longest time a task may be asked to take, in milliseconds.
const LONGEST_MS: u64 = 600_000;

/// Is up at once.
#[derive(Debug)]
pub(crate) struct Noop;

/// Waits, then is up.
#[derive(Debug)]
pub(crate) struct Sleep;

/// Computes, then is up.
#[derive(Debug)]
pub(crate) struct Cpu;

/// Nothing to set.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// How long.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Span {
    /// Milliseconds, at most ten minutes.
    #[schemars(range(max = LONGEST_MS))]
    ms: u64,
}

impl Default for Span {
    fn default() -> Self {
        Self { ms: 100 }
    }
}

impl Check for Noop {
    const KIND: &'static str = "noop";
    const SUMMARY: &'static str = "Load test: nothing at all";
    const EXAMPLE: &'static str = "{}";
    type Config = Nothing;

    async fn probe(&self, _: Nothing, _: &ProbeContext) -> Result<Observation, CheckError> {
        Ok(Observation::up("nothing was done"))
    }
}

impl Check for Sleep {
    const KIND: &'static str = "sleep";
    const SUMMARY: &'static str = "Load test: waits, as a check does for a slow target";
    const EXAMPLE: &'static str = r#"{"ms":100}"#;
    type Config = Span;

    async fn probe(&self, Span { ms }: Span, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let span = within(ms, cx)?;
        tokio::time::sleep(span).await;
        Ok(Observation::up(format!("waited {ms} ms")).with_latency(span))
    }
}

impl Check for Cpu {
    const KIND: &'static str = "cpu";
    const SUMMARY: &'static str = "Load test: computes, and lets nothing else use the processor meanwhile";
    const EXAMPLE: &'static str = r#"{"ms":100}"#;
    type Config = Span;

    async fn probe(&self, Span { ms }: Span, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let span = within(ms, cx)?;
        let dropped = Dropped(Arc::default());
        let (flag, start) = (dropped.0.clone(), Instant::now());
        let burn = move || {
            let mut rounds = 0_u64;
            while start.elapsed() < span && !flag.load(Ordering::Relaxed) {
                rounds = std::hint::black_box(rounds.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        };
        let burned = tokio::task::spawn_blocking(burn).await;
        burned.map_err(|error| CheckError::Internal(format!("the computation ended early: {error}")))?;
        Ok(Observation::up(format!("computed for {ms} ms")).with_latency(start.elapsed()))
    }
}

/// Stops the computation when its run is given up.
struct Dropped(Arc<AtomicBool>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The time asked for, if the run may take it.
fn within(ms: u64, cx: &ProbeContext) -> Result<Duration, CheckError> {
    let span = Duration::from_millis(ms);
    if span <= cx.remaining() {
        return Ok(span);
    }
    Err(CheckError::InvalidConfig(format!(
        "`ms`: {ms} is more than the {} ms that the run may take",
        cx.remaining().as_millis()
    )))
}
