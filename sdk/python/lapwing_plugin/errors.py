"""How calls fail and how runs end early. What else a check raises counts as the plugin's own fault (plugin.py)."""

import errno
import socket
from contextlib import contextmanager
from typing import Iterator

from componentize_py_types import Err
from wit_world.imports import net_types


class CheckError(Exception):
    """A run that ends without a verdict on its target. Raise one of its subclasses."""


class InvalidConfig(CheckError):
    """The config asks for what cannot be, beyond what the schema can say."""


class Unsupported(CheckError):
    """The plugin cannot do what is asked."""


class Retryable(CheckError):
    """Trouble on the probing side that may be over at once; the worker tries once more if there is time."""


class Internal(CheckError):
    """The plugin's own fault."""


# Reason and words of each failed call; those of a time-out and of TLS depend on the host's text.
_FAULTS = {
    "NameNotFound": ("dns_not_found", "name not found"),
    "ResolverFailed": ("dns_failed", "name lookup failed: {}"),
    "Refused": ("connection_refused", "connection refused"),
    "Unreachable": ("network_unreachable", "network unreachable"),
    "Reset": ("connection_reset", "connection reset"),
    "Closed": ("connection_closed", "connection closed"),
    "Protocol": ("protocol_error", "protocol error: {}"),
    "Other": ("protocol_error", "{}"),
    "AccessDenied": (None, "access denied: {}"),
    "Limit": (None, "limit reached: {}"),
}
# The host puts the step that took too long first.
_TIMEOUTS = {
    "dns": ("dns_timeout", "name lookup timed out"),
    "connect": ("connection_timeout", "connection timed out"),
    "tls": ("tls_timeout", "TLS handshake timed out"),
}


class NetError(Exception):
    """A failed network call. Not catching it is right: it ends the run as down, or as unknown when the worker refused.

    `tag` is that of `net-error` in the interface, as in `Refused`. `reason` is Lapwing's word for what the target did,
    and None when the worker refused the call or a quota of the run is used up.
    """

    def __init__(self, tag: str, text: str = "", during: str | None = None) -> None:
        if tag == "Timeout":
            self.reason, words = _TIMEOUTS.get(text.split(":")[0], ("response_timeout", "no answer in time"))
        elif tag == "Tls":
            self.reason, words = "tls_certificate" if text.startswith("certificate") else "tls_failed", text
        else:
            self.reason, words = _FAULTS[tag]
            words = words.format(text)
        self.tag = tag
        super().__init__(f"{during}: {words}" if during else words)

    @classmethod
    def protocol(cls, message: str) -> "NetError":
        """The peer sent what its protocol does not allow."""
        return cls("Protocol", message)


class _Withheld(Exception):
    """Not catching it is right: it ends the run as unknown, as the worker's refusal or trouble. `tag` as in the interface."""

    def __init__(self, tag: str, message: str) -> None:
        self.tag = tag
        super().__init__(message)


class SecretError(_Withheld):
    """A secret that was not revealed: `AccessDenied`, `NotFound` or `Unavailable`."""


class StateError(_Withheld):
    """State that could not be read or kept: `AccessDenied`, `TooLarge`, `QuotaExceeded` or `Unavailable`."""


def _payload(fault: object) -> tuple[str, str]:
    return type(fault).__name__.split("_", 1)[1], getattr(fault, "value", "")


@contextmanager
def dialling(during: str | None = None) -> Iterator[None]:
    """Turns what a host call raises into a `NetError`; `during` leads the message."""
    try:
        yield
    except Err as failed:
        raise NetError(*_payload(failed.value), during) from None


@contextmanager
def remembering(what: str, wrap: type[_Withheld]) -> Iterator[None]:
    """The same for state and secrets."""
    try:
        yield
    except Err as failed:
        tag, text = _payload(failed.value)
        raise wrap(tag, f"{what}: {text or tag}") from None


def of_os(error: OSError) -> NetError | None:
    """What a failed call of `socket`, `http.client` or `urllib` says of the target; None when it says nothing of a network."""
    inner = getattr(error, "reason", None)
    if isinstance(inner, OSError):
        return of_os(inner)
    if isinstance(error, socket.gaierror):
        return NetError("NameNotFound") if error.errno == socket.EAI_NONAME else NetError("ResolverFailed", str(error))
    if isinstance(error, TimeoutError):
        return NetError("Timeout", "response")
    tag = {
        errno.ECONNREFUSED: "Refused",
        errno.ECONNRESET: "Reset",
        errno.ECONNABORTED: "Reset",
        errno.EPIPE: "Closed",
        errno.EHOSTUNREACH: "Unreachable",
        errno.ENETUNREACH: "Unreachable",
        errno.EACCES: "AccessDenied",
        errno.EPERM: "AccessDenied",
    }.get(error.errno)
    return NetError(tag, "wasi:sockets" if tag == "AccessDenied" else "") if tag else None
