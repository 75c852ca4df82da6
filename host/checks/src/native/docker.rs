//! Kind `docker`: the state of one container, asked of its daemon's API (`GET /containers/{id}/json`).
//!
//! Over a Unix socket or TCP, on the `http` kinds' own engine. Podman answers the same API.

mod daemon;
mod state;

use super::trust::Trust;
use crate::{
    Check, CheckError, Findings, ProbeContext,
    findings::invalid,
    net::{NetError, tls::TlsOptions},
    schema::Fault,
};
use daemon::Daemon;
use lapwing_model::{Observation, Reason};
use schemars::JsonSchema;
use serde::Deserialize;
use state::Container;
use tokio::time::Instant;

/// Kind `docker`.
#[derive(Debug, Clone, Copy)]
pub struct Docker;

/// Configuration of kind `docker`. Peekaping's fields have Peekaping's names and meanings.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DockerConfig {
    /// The container's name, its id, or the beginning of its id that no other container's id has.
    #[schemars(length(min = 1))]
    pub container_id: String,
    /// How the daemon is reached.
    pub connection_type: ConnectionType,
    /// `socket`: the socket's path. `tcp`: `tcp://host:port`.
    #[schemars(length(min = 1))]
    pub docker_daemon: String,
    /// `tcp`: speak TLS.
    #[serde(default)]
    pub tls_enabled: bool,
    /// Whether the daemon's certificate is verified. Default: false, as in Peekaping; what is wrong with it is reported.
    #[serde(default)]
    pub tls_verify: bool,
    /// Client certificate, PEM; needs `tls_key`.
    #[serde(default)]
    pub tls_cert: String,
    /// Key of `tls_cert`, PEM.
    #[serde(default)]
    pub tls_key: String,
    /// Root certificates to trust instead of the system's, PEM.
    #[serde(default)]
    pub tls_ca: String,
}

/// How a daemon is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConnectionType {
    /// A Unix socket of the worker's machine. Who may open it is the file system's to say.
    Socket,
    /// TCP, with TLS if `tls_enabled`.
    Tcp,
}

impl Check for Docker {
    const KIND: &'static str = "docker";
    const SUMMARY: &'static str = "Asks a Docker daemon for the state of a container";
    const EXAMPLE: &'static str =
        r#"{"container_id": "nginx", "connection_type": "socket", "docker_daemon": "/var/run/docker.sock"}"#;
    const SENSITIVE: &'static [&'static str] = &["/tls_key"];
    type Config = DockerConfig;

    fn review(config: DockerConfig, found: &mut Findings) {
        found.take(name(&config.container_id));
        found.take(Daemon::new(&config, TlsOptions::default()));
        if config.speaks_tls() {
            config.trust().review(found);
        }
    }

    async fn probe(&self, config: DockerConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let start = Instant::now();
        let id = name(&config.container_id)?;
        // What is said of TLS is judged where it is spoken.
        let tls = if config.speaks_tls() {
            config.trust().options().map_err(|fault| {
                CheckError::InvalidConfig(format!(
                    "TLS configuration error: both certificate and key must be provided for client authentication: {fault}"
                ))
            })?
        } else {
            TlsOptions::default()
        };
        let daemon = Daemon::new(&config, tls)?;
        let answer = match daemon.inspect(id, cx).await {
            Ok(answer) => answer,
            Err(failure) => {
                return failure
                    .into_verdict(|error| format!("container inspect error: {}", unreached(error, &daemon)));
            }
        };
        let mut seen = if answer.status.is_success() {
            match serde_json::from_slice::<Container>(&answer.body) {
                Ok(container) => container.judge(),
                Err(error) => Observation::down(
                    Reason::ProtocolError,
                    format!(
                        "container inspect error: the answer is not Docker's: {:?} error",
                        error.classify()
                    ),
                ),
            }
        } else {
            refused(answer.status, &daemon::complaint(&answer))?
        };
        seen.phases = answer.timing.phases();
        seen.tls = answer.tls;
        Ok(seen.with_latency(start.elapsed()))
    }
}

impl DockerConfig {
    fn speaks_tls(&self) -> bool {
        self.connection_type == ConnectionType::Tcp && self.tls_enabled
    }

    fn trust(&self) -> Trust<'_> {
        Trust {
            ignore_errors: !self.tls_verify,
            ca: &self.tls_ca,
            cert: &self.tls_cert,
            key: &self.tls_key,
            ..Trust::default()
        }
    }
}

/// A container's name as it stands in the API's path.
fn name(id: &str) -> Result<&str, Fault> {
    let id = id.trim().trim_start_matches('/');
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.chars().all(fits) {
        Ok(id)
    } else {
        Err(invalid(
            "container_id",
            format_args!("`{id}` is neither a container's name nor an id"),
        ))
    }
}

/// The verdict on a daemon that knows no answer.
fn refused(status: http::StatusCode, complaint: &str) -> Result<Observation, CheckError> {
    let text = format!("container inspect error: Error response from daemon: {complaint}");
    let lower = complaint.to_ascii_lowercase();
    // Docker's words, and Podman's.
    if lower.contains("multiple ids found with provided prefix")
        || lower.contains("more than one result for container")
    {
        return Err(CheckError::InvalidConfig(format!(
            "{text}; `container_id` fits more than one container: give its name or its whole id"
        )));
    }
    let reason = match status.as_u16() {
        404 => Reason::AssertionFailed,
        401 | 403 => Reason::AuthFailed,
        _ => Reason::HttpStatus,
    };
    Ok(Observation::down(reason, text).with_attribute("http.status", status.as_u16()))
}

/// Why there is no answer, in Docker's own words where it has some, and what may help.
fn unreached(error: &NetError, daemon: &Daemon) -> String {
    match error {
        NetError::Refused(_) => {
            format!("Cannot connect to the Docker daemon at {daemon}. Is the docker daemon running?")
        }
        NetError::Certificate { message, .. } => format!("{error}. Hint: {}", hint(message)),
        _ => error.to_string(),
    }
}

fn hint(message: &str) -> &'static str {
    if message.contains("UnknownIssuer") || message.contains("unknown") {
        "the authority that signed the daemon's certificate is not trusted; put its certificate into `tls_ca`"
    } else if message.contains("name") || message.contains("Name") {
        "the daemon's certificate does not name the host in `docker_daemon` (a Common Name alone does not count); issue it with a Subject Alternative Name"
    } else {
        "mend the daemon's certificate, or switch `tls_verify` off"
    }
}
