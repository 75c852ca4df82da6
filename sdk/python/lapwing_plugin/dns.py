"""DNS questions, asked by the worker. NXDOMAIN and an empty answer are replies, not errors."""

from wit_world.imports import dns as _host
from wit_world.imports import net_types

from .errors import dialling
from .net import timeout

Answer, Reply = _host.Answer, _host.Reply


def query(name: str, rtype: str, *, server: tuple[str, int] | None = None, timeout_ms: float | None = None) -> Reply:
    """Asks the worker's resolvers, or `server`, for the `rtype` records (`A`, `MX`, `TXT`) of `name`."""
    with dialling(name):
        return _host.query(name, rtype, net_types.Endpoint(*server) if server else None, timeout(timeout_ms))
