//! Kind `websocket`: the handshake of RFC 6455, and, where steps are given, the expected conversation.
//!
//! The way there is the `http` kinds' own (policy, proxy, TLS); the protocol is tungstenite's.

mod talk;

use super::{
    http::{
        auth::basic,
        config::{self, TlsVersion},
        fields::Headers,
    },
    trust::{Trust, trust},
};
use crate::{
    Check, CheckError, Findings, ProbeContext,
    findings::invalid,
    net::{
        IpFamily, NetError,
        http::{HttpVersion, Opened, Request},
    },
    schema,
};
use http::{HeaderName, HeaderValue, header};
use lapwing_model::{Observation, Reason};
use percent_encoding::percent_decode_str;
use schemars::JsonSchema;
use serde::Deserialize;
use talk::{Fault, Step, Talk};
use tokio::time::{self, Instant};
use tokio_tungstenite::tungstenite::{
    Error,
    client::IntoClientRequest,
    error::{ProtocolError, SubProtocolError},
    protocol::WebSocketConfig as Limits,
};
use url::Url;

/// Kind `websocket`.
#[derive(Debug, Clone, Copy)]
pub struct WebSocket;

/// Configuration of kind `websocket`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebSocketConfig {
    /// Where to connect: `ws://…` or `wss://…`. Userinfo becomes basic authentication.
    #[schemars(length(min = 1))]
    pub url: String,
    /// Headers of the handshake. Those of the protocol itself are Lapwing's.
    #[serde(default)]
    pub headers: Headers,
    /// Subprotocols to offer; the server must choose one of them. Default: none.
    #[serde(default)]
    pub subprotocols: Vec<String>,
    /// What to say and what to hear once connected, in this order. Default: nothing.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Largest message to accept, in bytes. Default: 1048576.
    #[serde(default = "one_mebibyte")]
    #[schemars(range(min = 1, max = 67_108_864))]
    pub max_message_bytes: usize,
    /// Accept any certificate; what is wrong with it is still reported.
    #[serde(default)]
    pub ignore_tls_errors: bool,
    /// Root certificates to trust instead of the system's, PEM. A server's own certificate may be among them.
    #[serde(default)]
    pub tls_ca: String,
    /// Client certificate, PEM; needs `tls_key`.
    #[serde(default)]
    pub tls_cert: String,
    /// Key of `tls_cert`, PEM.
    #[serde(default)]
    pub tls_key: String,
    /// Name for SNI and for the certificate's verification. Default: the URL's host.
    #[serde(default)]
    pub server_name: String,
    /// Oldest TLS version to speak. Default: `1.2`.
    #[serde(default)]
    pub min_tls_version: TlsVersion,
    /// Address family to use. Default: `any`.
    #[serde(default)]
    pub ip_family: IpFamily,
}

fn one_mebibyte() -> usize {
    1024 * 1024
}

/// What the protocol says of itself.
const OURS: [HeaderName; 6] = [
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_PROTOCOL,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

impl Check for WebSocket {
    const KIND: &'static str = "websocket";
    const SUMMARY: &'static str = "Opens a WebSocket, and may hold a conversation there";
    const EXAMPLE: &'static str =
        r#"{"url": "wss://example.com/socket", "steps": [{"send": "ping"}, {"expect": "pong"}]}"#;
    const SENSITIVE: &'static [&'static str] = &["/headers", "/tls_key"];
    type Config = WebSocketConfig;

    fn review(config: WebSocketConfig, found: &mut Findings) {
        found.take(talk::review(&config.steps));
        let Some(url) = found.take(config::url("url", &config.url, &SCHEMES)) else {
            return;
        };
        found.take(credentials(&url));
        found.take(handshake(&url, &config, None));
        if url.scheme() == "wss" {
            config.trust().review(found);
        }
    }

    async fn probe(&self, config: WebSocketConfig, cx: &ProbeContext) -> Result<Observation, CheckError> {
        let start = Instant::now();
        let Plan {
            way,
            handshake,
            limits,
        } = Plan::new(&config, cx)?;
        let Opened {
            stream,
            peer,
            target,
            tls,
            mut timing,
        } = match cx.net.open(&way, cx.deadline).await {
            Ok(opened) => opened,
            Err(failure) => {
                return failure.into_verdict(|error| format!("WebSocket connection failed: {error}"));
            }
        };
        let greeting = Instant::now();
        let shake = tokio_tungstenite::client_async_with_config(handshake, stream, Some(limits));
        let shaken = time::timeout_at(cx.deadline, shake).await;
        timing.first_byte = greeting.elapsed();
        timing.to_head = start.elapsed();
        let mut seen = match shaken {
            Err(_) => refused(NetError::ResponseTimeout(format!("{target} did not answer")))?,
            Ok(Err(error)) => not_shaken(error, &target)?,
            Ok(Ok((socket, response))) => {
                let mut talk = Talk::new(socket, &target, cx.deadline);
                let held = talk.hold(&config.steps).await;
                timing.receive = start.elapsed().saturating_sub(timing.to_head);
                let seen = held.map_or_else(Fault::verdict, |()| Ok(Observation::up("WebSocket is open")))?;
                talk.leave(seen)
                    .with_attribute("http.status", response.status().as_u16())
            }
        };
        seen.latency = Some(timing.to_head);
        seen.phases = timing.phases();
        seen.tls = tls;
        Ok(seen.with_attribute("peer", peer.to_string()))
    }
}

/// The schemes of WebSockets.
const SCHEMES: [&str; 2] = ["ws", "wss"];

impl WebSocketConfig {
    fn trust(&self) -> Trust<'_> {
        Trust {
            min_version: self.min_tls_version,
            ..trust!(self, self.ignore_tls_errors)
        }
    }
}

/// A configuration made ready.
struct Plan {
    way: Request,
    handshake: http::Request<()>,
    limits: Limits,
}

impl Plan {
    fn new(config: &WebSocketConfig, cx: &ProbeContext) -> Result<Self, CheckError> {
        let mut url = config::url("url", &config.url, &SCHEMES)?;
        let scheme = if url.scheme() == "wss" { "https" } else { "http" };
        talk::review(&config.steps)?;
        let credentials = credentials(&url)?;
        // None can fail for a URL with a host and one of these schemes.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url.set_fragment(None);
        let handshake = handshake(&url, config, credentials)?;
        let _ = url.set_scheme(scheme);
        Ok(Self {
            way: Request {
                tls: config.trust().options()?,
                version: HttpVersion::Http11,
                family: config.ip_family,
                proxy: cx.task.proxy.clone(),
                ..Request::get(url)
            },
            handshake,
            limits: limits(config),
        })
    }
}

/// Bytes read at a time: the frames among them are taken without a look at the clock, and the least has two bytes.
const READ: usize = 4 << 10;
/// Unsent bytes beyond the largest message that is to be sent: answers to pings pile up when nobody takes them.
const UNSENT: usize = 64 << 10;

fn limits(config: &WebSocketConfig) -> Limits {
    let largest = config.steps.iter().map(Step::size).max().unwrap_or_default();
    Limits::default()
        .max_message_size(Some(config.max_message_bytes))
        .max_frame_size(Some(config.max_message_bytes))
        .read_buffer_size(READ)
        .write_buffer_size(READ)
        .max_write_buffer_size(largest + UNSENT)
}

/// The URL's userinfo as a header.
fn credentials(url: &Url) -> Result<Option<HeaderValue>, schema::Fault> {
    if url.username().is_empty() {
        return Ok(None);
    }
    let plain = |text| percent_decode_str(text).decode_utf8_lossy();
    basic(&plain(url.username()), &plain(url.password().unwrap_or_default())).map(Some)
}

/// The request of the handshake, with a key of its own.
fn handshake(
    url: &Url,
    config: &WebSocketConfig,
    credentials: Option<HeaderValue>,
) -> Result<http::Request<()>, schema::Fault> {
    let mut request = url
        .as_str()
        .into_client_request()
        .map_err(|error| invalid("url", error))?;
    let headers = request.headers_mut();
    headers.insert(
        header::USER_AGENT,
        HeaderValue::from_static(concat!("lapwing/", env!("CARGO_PKG_VERSION"))),
    );
    if let Some(credentials) = credentials {
        headers.insert(header::AUTHORIZATION, credentials);
    }
    for name in config.headers.0.keys() {
        if OURS.contains(name) {
            let instead = match name.as_str() {
                "sec-websocket-protocol" => "; `subprotocols` sets it",
                _ => "",
            };
            return Err(invalid(
                "headers",
                format_args!("`{name}` is the protocol's own{instead}"),
            ));
        }
        headers.remove(name);
        headers.extend(
            config
                .headers
                .0
                .get_all(name)
                .iter()
                .map(|value| (name.clone(), value.clone())),
        );
    }
    if !config.subprotocols.is_empty() {
        let is_token = |name: &String| HeaderName::from_bytes(name.as_bytes()).is_ok();
        if let Some(odd) = config.subprotocols.iter().find(|name| !is_token(name)) {
            return Err(invalid(
                "subprotocols",
                format_args!("`{odd}` is no subprotocol's name"),
            ));
        }
        let list = HeaderValue::from_str(&config.subprotocols.join(", "));
        let list = list.map_err(|error| invalid("subprotocols", error))?;
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, list);
    }
    Ok(request)
}

/// The verdict on a handshake that failed.
fn not_shaken(error: Error, target: &str) -> Result<Observation, CheckError> {
    let protocol = |text: String| NetError::Protocol(format!("{target}: {text}"));
    refused(match error {
        Error::Http(response) => return Ok(answered(&response)),
        Error::Io(error) => NetError::from_io(&error, target),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            NetError::Closed(format!("{target}, before the handshake was complete"))
        }
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(error)) => protocol(
            match error {
                SubProtocolError::NoSubProtocol => "chose none of the subprotocols",
                SubProtocolError::InvalidSubProtocol => "chose a subprotocol that was not offered",
                SubProtocolError::ServerSentSubProtocolNoneRequested => {
                    "chose a subprotocol, though none was offered"
                }
            }
            .to_owned(),
        ),
        Error::Protocol(ProtocolError::SecWebSocketAcceptKeyMismatch) => protocol(
            "its accept key does not belong to our key: it is no WebSocket server, or a cache".to_owned(),
        ),
        Error::AttackAttempt => protocol("the answer is too long, or comes in too small pieces".to_owned()),
        other => protocol(other.to_string()),
    })
}

fn refused(error: NetError) -> Result<Observation, CheckError> {
    error.into_verdict(|error| format!("WebSocket handshake failed: {error}"))
}

/// The verdict on an answer that is no upgrade.
fn answered<B>(response: &http::Response<B>) -> Observation {
    let status = response.status().as_u16();
    let reason = match status {
        401 | 407 => Reason::AuthFailed,
        _ => Reason::HttpStatus,
    };
    let text = format!("WebSocket handshake failed with status: {status}");
    Observation::down(reason, text).with_attribute("http.status", status)
}
