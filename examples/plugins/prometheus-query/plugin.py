"""Asks a Prometheus an instant query and compares what it answers with thresholds.

The HTTP API is that of https://prometheus.io/docs/prometheus/latest/querying/api/; Thanos, Mimir and VictoriaMetrics speak it.
"""

import math
import operator
from dataclasses import dataclass
from urllib.parse import urlencode

from lapwing_plugin import Capability, Context, InvalidConfig, Metric, NetError, Plugin, degraded, down, http, unknown, up

OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne}
SHOWN = 5
# Some ten thousand series.
MAX_BODY_BYTES = 2 << 20

SCHEMA = {
    "type": "object",
    "properties": {
        "url": {"type": "string", "format": "uri", "description": "The server, without `/api/v1`.", "x-lapwing-target": "url"},
        "query": {"type": "string", "minLength": 1, "description": "PromQL that gives a scalar or a vector."},
        "op": {"enum": list(OPERATORS), "default": ">", "description": "A value is bad when it is OP a threshold."},
        "warning": {"type": "number", "description": "Threshold past which the result is degraded."},
        "critical": {"type": "number", "description": "Threshold past which it is down."},
        "empty": {
            "enum": ["up", "degraded", "down"],
            "default": "down",
            "description": "What no series at all counts as.",
        },
        "token": {"type": "string", "description": "Name of a granted secret, sent as the Authorization header."},
    },
    "required": ["url", "query"],
    "anyOf": [{"required": ["warning"]}, {"required": ["critical"]}],
    "additionalProperties": False,
}

plugin = Plugin(
    "prometheus-query", version="0.1.0", summary="Thresholds on a Prometheus query", license="Apache-2.0", max_reuse=100
)


@dataclass
class Config:
    """A monitor's settings; see `SCHEMA`."""

    url: str
    query: str
    op: str = ">"
    warning: float | None = None
    critical: float | None = None
    empty: str = "down"
    token: str | None = None


@dataclass
class Sample:
    """One value, and the series it is of."""

    labels: dict[str, str]
    value: float

    def __str__(self) -> str:
        name = self.labels.get("__name__", "")
        labels = ", ".join(f'{key}="{value}"' for key, value in self.labels.items() if key != "__name__")
        series = f"{name}{{{labels}}}" if labels else name
        return f"{series or 'value'} = {self.value:g}"


@plugin.kind(
    "prometheus-query",
    title="Prometheus query",
    summary="Compares the answer of an instant query with thresholds",
    schema=SCHEMA,
    example={"url": "http://prometheus.example:9090", "query": 'up{job="node"}', "op": "<", "critical": 1},
    config=Config,
    capabilities=(
        Capability("net.http", "asks the server", scope=["{config.url}"]),
        Capability("secret", "the Authorization header", scope=["{config.token}"], optional=True),
    ),
)
def check(config: Config, cx: Context):
    samples, latency = ask(config)
    facts = {"latency_ms": latency, "attributes": {"prometheus.series": len(samples)}}
    if not samples:
        verdict = {"up": up, "degraded": degraded, "down": down}[config.empty]
        return verdict(*([] if verdict is up else ["prometheus_no_data"]), "no series answers the query", **facts)
    facts["metrics"] = [Metric("prometheus.value", samples[0].value)] if len(samples) == 1 else []
    for verdict, threshold in ((down, config.critical), (degraded, config.warning)):
        bad = [] if threshold is None else [sample for sample in samples if OPERATORS[config.op](sample.value, threshold)]
        if bad:
            return verdict("prometheus_threshold", f"{show(bad)} ({config.op} {threshold:g})", **facts)
    return up(show(samples), **facts)


def show(samples: list[Sample]) -> str:
    more = f" and {len(samples) - SHOWN} more" if len(samples) > SHOWN else ""
    return "; ".join(str(sample) for sample in samples[:SHOWN]) + more


def ask(config: Config) -> tuple[list[Sample], float]:
    url = f"{config.url.rstrip('/')}/api/v1/query?{urlencode({'query': config.query})}"
    secret = {"authorization": config.token} if config.token else None
    response = http.get(url, secret_headers=secret, headers={"accept": "application/json"}, max_body_bytes=MAX_BODY_BYTES)
    # 400 and 422 come with JSON that tells what is wrong with the query.
    if response.status in (400, 422):
        raise InvalidConfig(f"the server refuses the query: {told(response)}")
    if not response.ok:
        raise down("http_status", f"answered {response.status}, expected 200")
    return read(response.json()), response.timing.total_ms


def told(response: http.Response) -> str:
    try:
        return str(response.json()["error"])
    except (NetError, LookupError, TypeError):
        return f"status {response.status}"


def read(answer: object) -> list[Sample]:
    """The samples of an answer; one of another shape breaks the protocol."""
    try:
        data = answer["data"]
        kind, result = data["resultType"], data["result"]
        if kind == "scalar":
            return [Sample({}, number(result[1]))]
        if kind == "vector":
            return [Sample(dict(series["metric"]), number(series["value"][1])) for series in result]
    except (LookupError, TypeError, ValueError) as error:
        raise NetError.protocol(f"the answer is none of Prometheus's: {error!r}") from None
    raise InvalidConfig(f"the query gives a {kind}; it must give a scalar or a vector")


def number(text: str) -> float:
    value = float(text)
    # NaN (0/0) is past no threshold, and would pass for well.
    if math.isnan(value):
        raise unknown("prometheus_nan", "a value is not a number (NaN)")
    return value


Checker = plugin.export()
