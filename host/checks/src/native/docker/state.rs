//! What a container's state means.

use lapwing_model::{Observation, Reason};
use serde::Deserialize;

/// The part of an inspected container that matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Container {
    state: Option<State>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    /// `created`, `running`, `paused`, `restarting`, `removing`, `exited` or `dead`.
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    health: Option<Health>,
}

/// Podman sends one without words where there is no health check.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    #[serde(default)]
    status: String,
}

impl Container {
    pub(super) fn judge(self) -> Observation {
        let Some(state) = self.state else {
            return Observation::down(Reason::ProtocolError, "container state is nil");
        };
        let health = state
            .health
            .map(|health| health.status)
            .filter(|status| !matches!(status.as_str(), "" | "none"));
        let mut seen = match (state.status.as_str(), health.as_deref()) {
            ("restarting", _) => Observation::unknown(Reason::Starting, "container state is restarting"),
            ("running", None) => Observation::up("running"),
            ("running", Some("healthy")) => Observation::up("healthy"),
            ("running", Some("starting")) => Observation::unknown(Reason::Starting, "starting"),
            ("running", Some("unhealthy")) => down("container is unhealthy: unhealthy".to_owned()),
            ("running", Some(other)) => down(format!("container health status: {other}")),
            (other, _) => down(format!("container state is {other}")),
        };
        if matches!(state.status.as_str(), "exited" | "dead") {
            seen = seen.with_attribute("docker.exit_code", state.exit_code);
        }
        if let Some(health) = health {
            seen = seen.with_attribute("docker.health", health);
        }
        seen.with_attribute("docker.state", state.status)
    }
}

fn down(text: String) -> Observation {
    Observation::down(Reason::AssertionFailed, text)
}
