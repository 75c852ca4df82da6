//! The question, and waiting for its answer. It tells what was seen; judging that is `verdict`'s business.

use crate::{
    config::{Config, Credentials, Request as Kind},
    packet::{ACCESS_REQUEST, Answer, MAX_PACKET, NAS_IDENTIFIER, Request, STATUS_SERVER, USER_NAME, Unfit},
};
use lapwing_plugin_sdk::{Failure, NetError, log, net::Fault, udp::Socket};
use std::array;

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    Answer(Answer),
    /// Nothing but datagrams that are no answer of this server; why the last of them is not.
    Unfit(Unfit),
}

/// A request as the configuration wants it, with fresh random numbers.
pub(crate) fn request<'a>(config: &'a Config, who: Option<Credentials<'_>>) -> Result<Request<'a>, Failure> {
    // Identifier, CHAP identifier, request authenticator, challenge.
    let mut random = [0; 34];
    getrandom::fill(&mut random)
        .map_err(|error| Failure::retryable(format!("no random numbers: {error}")))?;
    let mut numbers = random.into_iter();
    let mut number = || numbers.next().unwrap_or_default();
    let (identifier, chap) = (number(), number());
    let authenticator = array::from_fn(|_| number());
    let code = match config.request {
        Kind::Status => STATUS_SERVER,
        Kind::Pap | Kind::Chap => ACCESS_REQUEST,
    };
    let mut request = Request::new(code, identifier, authenticator, &config.secret);
    request.push(NAS_IDENTIFIER, config.nas_identifier.as_bytes());
    if let Some(Credentials { username, password }) = who {
        request.push(USER_NAME, username.as_bytes());
        if config.request == Kind::Chap {
            request.push_chap(chap, &array::from_fn(|_| number()), password);
        } else {
            request.push_pap(password);
        }
    }
    Ok(request)
}

/// Asks until it is answered. An answer that does not fit is passed over, as the protocol wants, and told of when no
/// other comes.
pub(crate) fn hold(socket: &Socket, request: &Request<'_>, config: &Config) -> Result<Seen, NetError> {
    let mut unfit = None;
    let limit = u32::try_from(MAX_PACKET).unwrap_or(u32::MAX);
    let answer = socket.exchange(&request.bytes(), limit, config.retry(), |datagram| match request
        .answer(datagram)
    {
        Ok(answer) => Ok(answer),
        Err(why) => {
            log::debug!("passed over: {why:?}");
            unfit = Some(why);
            Ok(None)
        }
    });
    match (answer, unfit) {
        (Ok(answer), _) => Ok(Seen::Answer(answer)),
        (Err(error), Some(why)) if matches!(error.fault, Fault::Timeout(_) | Fault::Protocol(_)) => {
            Ok(Seen::Unfit(why))
        }
        (Err(error), _) => Err(error.during("RADIUS (a server is silent to clients it does not know)")),
    }
}
