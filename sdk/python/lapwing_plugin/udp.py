"""Datagrams to and from one peer."""

from typing import Self

from wit_world.imports import net_types
from wit_world.imports import udp as _host

from .errors import dialling
from .net import Family, family as _family, timeout


class Socket:
    """A socket that speaks with one peer only, closed at the end of a `with`."""

    def __init__(self, inner: _host.Socket, timeout_ms: float | None) -> None:
        self._inner = inner
        self._limit = timeout_ms

    def send(self, datagram: bytes) -> None:
        """Sends one datagram."""
        with dialling():
            self._inner.send(datagram)

    def receive(self, max: int = 1500) -> bytes:
        """Waits for one datagram; what is longer than `max` is cut."""
        with dialling():
            return self._inner.receive(max, timeout(self._limit))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._inner.__exit__(None, None, None)


def open(host: str, port: int, *, family: Family = "any", timeout_ms: float | None = None) -> Socket:
    """Resolves `host` and connects a socket to it. No packet is sent."""
    with dialling(f"{host}:{port}"):
        inner = _host.Socket.open(net_types.Endpoint(host, port), _family(family))
    return Socket(inner, timeout_ms)
