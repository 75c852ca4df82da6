"""What the network calls share: time, families, TLS."""

from dataclasses import dataclass, field
from typing import Literal

from wit_world.imports import context, net_types

from .outcome import millis

Family = Literal["any", 4, 6]
_FAMILIES = {"any": net_types.IpFamily.ANY, 4: net_types.IpFamily.V4, 6: net_types.IpFamily.V6}

#: Kept back from the budget, so that a check whose call timed out can still tell of it in its own words.
_RESERVE = 50_000_000


def timeout(limit_ms: float | None) -> int:
    """The time a call may take: `limit_ms` if given, and in any case a little less than what is left of the run."""
    remaining = context.remaining()
    usable = remaining - min(_RESERVE, remaining // 10)
    return usable if limit_ms is None else min(usable, max(0, round(limit_ms * 1e6)))


def family(wanted: Family) -> net_types.IpFamily:
    return _FAMILIES[wanted]


@dataclass
class TlsOptions:
    """How to speak TLS. The worker verifies, and reports chain and verification error in either case."""

    #: Name to ask for and to check; the host dialled when None.
    server_name: str | None = None
    #: Whether a chain that does not verify ends the handshake.
    verify: bool = True
    alpn: list[str] = field(default_factory=list)
    #: Name of a granted secret with a client certificate and its key in PEM.
    client_identity: str | None = None

    def lower(self) -> net_types.TlsOptions:
        return net_types.TlsOptions(self.server_name, self.verify, self.alpn, self.client_identity)


@dataclass
class Timing:
    """Milliseconds in each step, as the worker measured them."""

    dns_ms: float | None
    connect_ms: float | None
    tls_ms: float | None
    first_byte_ms: float | None
    total_ms: float


def timing(spent: net_types.Timing) -> Timing:
    steps = (millis(step) for step in (spent.dns, spent.connect, spent.tls, spent.first_byte))
    return Timing(*steps, total_ms=spent.total / 1e6)
