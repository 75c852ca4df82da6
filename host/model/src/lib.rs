#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod clock;
pub mod gojson;
pub mod heartbeat;
pub mod monitor;
pub mod observation;
pub mod peekaping;
pub mod reason;
pub mod result;
pub mod task;
pub mod tls;
pub mod wire;

pub use clock::{Clock, SystemClock};
pub use heartbeat::Heartbeat;
pub use monitor::{Monitor, Proxy};
pub use observation::{Metric, Observation, Phase, Status};
pub use reason::Reason;
pub use result::{CheckResult, WorkerIdentity};
pub use task::{ParseError, Task};
pub use tls::{Certificate, TlsInfo};
pub use wire::TaskMessage;
