//! The way to a daemon, and the one question it is asked.

use super::{ConnectionType, DockerConfig};
use crate::{
    ProbeContext,
    findings::invalid,
    net::{
        http::{Answer, Failure, HttpVersion, Request},
        tls::TlsOptions,
    },
    schema::Fault,
};
use serde::Deserialize;
use std::{fmt, path::PathBuf};
use url::Url;

/// The newest version of the API that is understood here. (The fields used are in every one since 1.24.)
const NEWEST: (u32, u32) = (1, 51);
/// Largest answer to accept, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A daemon.
pub(super) struct Daemon {
    /// `None`: over TCP.
    socket: Option<PathBuf>,
    /// The request but for its path.
    request: Request,
    shown: String,
}

impl Daemon {
    pub(super) fn new(config: &DockerConfig, tls: TlsOptions) -> Result<Self, Fault> {
        let place = config.docker_daemon.trim();
        let unfit = |why: &dyn fmt::Display| invalid("docker_daemon", why);
        let (socket, shown, url) = match config.connection_type {
            ConnectionType::Socket => {
                let path = place.strip_prefix("unix://").unwrap_or(place);
                if !path.starts_with('/') || path.contains('\0') {
                    return Err(unfit(&"expected the path of a socket"));
                }
                // The host is for the `Host` header only: any will do.
                (
                    Some(PathBuf::from(path)),
                    format!("unix://{path}"),
                    "http://localhost/".to_owned(),
                )
            }
            ConnectionType::Tcp => {
                let host = ["tcp://", "http://", "https://"]
                    .iter()
                    .find_map(|scheme| place.strip_prefix(scheme));
                let host = host
                    .ok_or_else(|| unfit(&"expected `tcp://host:port`"))?
                    .trim_end_matches('/');
                let (scheme, port) = if config.tls_enabled {
                    ("https", 2376)
                } else {
                    ("http", 2375)
                };
                let has_port = host
                    .rsplit_once(':')
                    .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
                let port = if has_port {
                    String::new()
                } else {
                    format!(":{port}")
                };
                (
                    None,
                    format!("tcp://{host}{port}"),
                    format!("{scheme}://{host}{port}/"),
                )
            }
        };
        let url = Url::parse(&url).map_err(|error| unfit(&error))?;
        let login = !url.username().is_empty() || url.password().is_some();
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() || login {
            return Err(unfit(&"expected a host and a port, and nothing more"));
        }
        Ok(Self {
            socket,
            shown,
            request: Request {
                version: HttpVersion::Http11,
                tls,
                max_body_bytes: Some(MAX_ANSWER),
                ..Request::get(url)
            },
        })
    }

    /// What the daemon says of container `id`, in a version of the API that both sides know.
    pub(super) async fn inspect(&self, id: &str, cx: &ProbeContext) -> Result<Answer, Box<Failure>> {
        let greeting = self.ask(&["_ping"], cx).await?;
        let theirs = greeting
            .headers
            .get("api-version")
            .and_then(|version| version.to_str().ok());
        let theirs = theirs.and_then(|version| {
            let (major, minor) = version.split_once('.')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
        // A daemon that does not tell takes its own newest where none is named.
        match theirs.map(|theirs| NEWEST.min(theirs)) {
            None => self.ask(&["containers", id, "json"], cx).await,
            Some((major, minor)) => {
                let version = format!("v{major}.{minor}");
                self.ask(&[&version, "containers", id, "json"], cx).await
            }
        }
    }

    async fn ask(&self, path: &[&str], cx: &ProbeContext) -> Result<Answer, Box<Failure>> {
        let mut request = self.request.clone();
        if let Ok(mut segments) = request.url.path_segments_mut() {
            segments.clear().extend(path);
        }
        match &self.socket {
            Some(socket) => cx.net.send_socket(socket, &request, cx.deadline).await,
            None => cx.net.send(&request, cx.deadline).await.map(Answer::from),
        }
    }
}

impl fmt::Display for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The daemon's own words for a failure.
pub(super) fn complaint(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Complaint {
        message: String,
    }
    match serde_json::from_slice::<Complaint>(&answer.body) {
        Ok(Complaint { message }) => message,
        Err(_) => format!("status {}", answer.status.as_u16()),
    }
}
