"""A verdict and what supports it."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal

from wit_world.imports import types

Status = Literal["up", "degraded", "down", "unknown"]


@dataclass
class Metric:
    """A number measured."""

    name: str
    value: float
    unit: str | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Outcome(Exception):
    """What a run says of its target: returned, or raised to leave a deeper function."""

    status: Status
    reason: str | None
    message: str
    #: Milliseconds the target took to answer.
    latency_ms: float | None = None
    #: Facts such as `redis.role`.
    attributes: dict[str, str | int | float | bool] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)
    #: The TLS session the verdict rests on, as `start_tls` or a response gave it.
    tls: types.TlsInfo | None = None
    #: Anything else that can be JSON.
    details: Any = None


def up(message: str, **facts: Any) -> Outcome:
    """The target answered as asked. `facts` are the further fields of `Outcome`."""
    return Outcome("up", None, message, **facts)


def degraded(reason: str, message: str, **facts: Any) -> Outcome:
    """It did, but `reason` (a stable `snake_case` word) wants mending soon."""
    return Outcome("degraded", reason, message, **facts)


def down(reason: str, message: str, **facts: Any) -> Outcome:
    """It did not."""
    return Outcome("down", reason, message, **facts)


def unknown(reason: str, message: str, **facts: Any) -> Outcome:
    """Nothing can be said of the target."""
    return Outcome("unknown", reason, message, **facts)


def nanos(ms: float | None) -> int | None:
    """Milliseconds as the interface's nanoseconds; None for what is no span of time."""
    return round(ms * 1e6) if ms is not None and 0 <= ms < 1e12 else None


def millis(nanos: int | None) -> float | None:
    """The interface's nanoseconds as milliseconds."""
    return None if nanos is None else nanos / 1e6


def lower(outcome: Outcome) -> types.Outcome:
    """As the interface wants it."""
    return types.Outcome(
        status=types.Status[outcome.status.upper()],
        reason=outcome.reason,
        message=str(outcome.message),
        latency=nanos(outcome.latency_ms),
        phases=[],
        metrics=[types.Metric(m.name, float(m.value), m.unit, [(k, str(v)) for k, v in m.labels.items()]) for m in outcome.metrics],
        attributes=[types.Attribute(key, _value(value)) for key, value in outcome.attributes.items() if value is not None],
        tls=outcome.tls,
        details=None if outcome.details is None else json.dumps(outcome.details),
    )


def _value(value: Any) -> types.Value:
    if isinstance(value, bool):
        return types.Value_Boolean(value)
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return types.Value_Int(value)
    if isinstance(value, float):
        return types.Value_Float(value)
    return types.Value_Text(str(value))
