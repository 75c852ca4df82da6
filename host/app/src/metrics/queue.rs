//! What the Asynq dialect counts by itself.

use lapwing_queue::asynq;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::counter::ConstCounter,
};
use std::{fmt, sync::Arc};

/// The counts of one connection to Redis.
#[derive(Debug)]
pub(crate) struct Asynq(pub(crate) Arc<asynq::Asynq>);

impl Collector for Asynq {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let counts = self.0.counts();
        for (name, help, count) in [
            (
                "tasks_archived",
                "Messages that are no task, moved to the dead letters",
                counts.archived,
            ),
            (
                "tasks_recovered",
                "Tasks put back because nobody worked at them",
                counts.recovered,
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
