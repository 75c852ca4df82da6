//! Refusals and failures in the words of `wasi:sockets`.

use crate::abi::v1::wit::net_types::NetError as GuestError;
use lapwing_checks::net::NetError;
pub(super) use wasmtime_wasi::p2::bindings::sockets::network::ErrorCode as Code;

/// What a function of the interface answers: the outer error ends the run, the inner one is the guest's.
pub(super) type Said<T> = wasmtime::Result<Result<T, Code>>;

/// A refusal or a failure, as the guest is told it and as the trace tells it.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) why: String,
}

impl From<Code> for Fault {
    fn from(code: Code) -> Self {
        Self {
            code,
            why: format!("{code:?}"),
        }
    }
}

impl From<GuestError> for Fault {
    fn from(refusal: GuestError) -> Self {
        Self {
            code: of_refusal(&refusal),
            why: refusal.to_string(),
        }
    }
}

/// A missing right, or a quota.
pub(super) fn of_refusal(refusal: &GuestError) -> Code {
    match refusal {
        GuestError::Limit(_) => Code::NewSocketLimit,
        _ => Code::AccessDenied,
    }
}

/// A look-up that failed.
pub(super) fn of_look_up(error: &GuestError) -> Code {
    match error {
        GuestError::AccessDenied(_) => Code::AccessDenied,
        GuestError::NameNotFound => Code::NameUnresolvable,
        GuestError::Other(_) => Code::InvalidArgument,
        _ => Code::TemporaryResolverFailure,
    }
}

/// A connection that failed.
pub(super) fn of(error: &NetError) -> Code {
    match error {
        NetError::Denied(_) => Code::AccessDenied,
        NetError::Refused(_) => Code::ConnectionRefused,
        NetError::Unreachable(_) => Code::RemoteUnreachable,
        NetError::Reset(_) => Code::ConnectionReset,
        NetError::Closed(_) => Code::ConnectionAborted,
        NetError::ConnectTimeout(_) => Code::Timeout,
        _ => Code::Unknown,
    }
}
