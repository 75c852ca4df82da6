//! What the queues' dialects count by themselves.

use crate::queues::Queues;
use lapwing_queue::Counts;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::counter::ConstCounter,
};
use std::fmt;
use tokio::sync::watch;

/// The counts of all dialects together.
#[derive(Debug)]
pub(crate) struct Queue(pub(crate) watch::Receiver<Queues>);

impl Collector for Queue {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let all = self.0.borrow().dialects();
        let Counts { archived, recovered } = all.iter().fold(Counts::default(), |sum, dialect| {
            let Counts { archived, recovered } = dialect.counts();
            Counts {
                archived: sum.archived + archived,
                recovered: sum.recovered + recovered,
            }
        });
        for (name, help, count) in [
            (
                "tasks_archived",
                "Messages that are no task, moved to the dead letters",
                archived,
            ),
            (
                "tasks_recovered",
                "Tasks put back because nobody worked at them",
                recovered,
            ),
        ] {
            let counter = ConstCounter::new(count);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        Ok(())
    }
}
