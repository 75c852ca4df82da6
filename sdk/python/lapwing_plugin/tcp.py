"""Connections, in plain text or with TLS."""

from typing import Self

from wit_world.imports import net_types, types
from wit_world.imports import tcp as _host

from .errors import dialling
from .net import Family, Timing, TlsOptions, family as _family, timeout, timing


class Connection:
    """An open connection, closed at the end of a `with`. Text that is given is sent as UTF-8."""

    def __init__(self, inner: _host.Connection, timeout_ms: float | None) -> None:
        self._inner = inner
        self._limit = timeout_ms

    def start_tls(self, options: TlsOptions | None = None) -> types.TlsInfo:
        """Handshakes, at the start or after the protocol's own STARTTLS."""
        with dialling():
            return self._inner.start_tls((options or TlsOptions()).lower(), timeout(self._limit))

    def write(self, data: str | bytes) -> None:
        """Sends all of it."""
        with dialling():
            self._inner.write_all(_bytes(data), timeout(self._limit))

    def read(self, max: int) -> bytes:
        """Some bytes, at most `max`; none when the peer has closed."""
        with dialling():
            return self._inner.read(max, timeout(self._limit))

    def read_exact(self, n: int) -> bytes:
        """Exactly `n` bytes."""
        with dialling():
            return self._inner.read_exact(n, timeout(self._limit))

    def read_until(self, delimiter: str | bytes, max: int) -> bytes:
        """Up to and with the delimiter; more than `max` bytes without it break the protocol."""
        with dialling():
            return self._inner.read_until(_bytes(delimiter), max, timeout(self._limit))

    def read_line(self, max: int = 1024) -> str:
        """One line without its end. Bytes that are not UTF-8 are replaced by U+FFFD."""
        return self.read_until(b"\n", max).removesuffix(b"\n").removesuffix(b"\r").decode(errors="replace")

    def shutdown_write(self) -> None:
        """Tells the peer that nothing more will be sent."""
        self._inner.shutdown_write()

    @property
    def peer(self) -> net_types.Peer:
        """The address the connection was made to."""
        return self._inner.peer()

    @property
    def timing(self) -> Timing:
        """Time spent until now."""
        return timing(self._inner.timing())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._inner.__exit__(None, None, None)


def connect(host: str, port: int, *, family: Family = "any", timeout_ms: float | None = None) -> Connection:
    """Resolves `host` and connects. No call on the connection, this one included, takes longer than `timeout_ms`."""
    with dialling(f"{host}:{port}"):
        inner = _host.Connection.connect(net_types.Endpoint(host, port), _family(family), timeout(timeout_ms))
    return Connection(inner, timeout_ms)


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data
