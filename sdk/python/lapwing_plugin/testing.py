"""Runs a plugin's checks under CPython, against a scripted worker.

    from lapwing_plugin.testing import Reply, Script, run

    ended = run(plugin.Checker, "door", {"url": "https://door.example"}, Script(http=lambda request: Reply(200)))
    assert ended.status == "up"

A call the script does not answer is refused as `access-denied`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Callable

from componentize_py_types import Err
from wit_world.imports import context, dns, http, log, net_types, secrets, state, tcp, types, udp

from .plugin import Problem


def fault(tag: str, text: str | None = None) -> Exception:
    """A failed network call for a script to raise: `fault("Refused")`, `fault("Timeout", "connect: …")`."""
    variant = getattr(net_types, f"NetError_{tag}")
    return Err(variant(text or "") if "value" in variant.__dataclass_fields__ else variant())


@dataclass
class Reply:
    """A scripted HTTP response; `json` is sent as JSON. `took_ms` is what the worker will have measured: nobody waits, but
    it is taken from the run's time, and the call fails as timed out when it may not take so long.
    """

    status: int = 200
    body: bytes | str = b""
    headers: dict[str, str] = field(default_factory=dict)
    json: Any = None
    took_ms: float = 1


@dataclass
class Peer:
    """A scripted server: its greeting, and its answer to each write; `took_ms` as in `Reply`."""

    greeting: bytes | str = b""
    answer: Callable[[bytes], bytes | str | None] = lambda sent: None
    took_ms: float = 1


@dataclass
class Answers:
    """A scripted reply to a DNS question; `took_ms` as in `Reply`."""

    data: list[str] = field(default_factory=list)
    rcode: int = 0
    took_ms: float = 1


_PEER_LIKE = r'`Peer("220 ready\r\n", lambda sent: "250 ok\r\n")`'
#: What a handler may return for each call, and how that looks.
_SHAPES: dict[str, tuple[tuple[type, ...], str]] = {
    "http.send": ((Reply,), '`Reply(200, "…")`'),
    "tcp.connect": ((Peer,), _PEER_LIKE),
    "tcp.write": ((bytes, str, type(None)), "bytes, str or None"),
    "udp.send": ((bytes, str, type(None)), "bytes, str or None"),
    "dns.query": ((list, Answers), '`["192.0.2.1"]` or `Answers(rcode=3)`'),
}


@dataclass
class Script:
    """How the worker answers. Handlers may raise `fault(…)`; what else they raise or return amiss is the test's fault, and
    `run` raises it.
    """

    http: Callable[[http.HttpRequest], Reply] | None = None
    tcp: Callable[[str, int], Peer] | None = None
    #: The reply to a datagram for (host, port); none when None.
    udp: Callable[[str, int, bytes], bytes | str | None] | None = None
    #: The data of the answers to (name, rtype).
    dns: Callable[[str, str], list[str] | Answers] | None = None
    #: Give the same dict to several runs to see what one leaves for the next.
    state: dict[str, bytes] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)
    granted: tuple[str, ...] = ()
    budget_ms: int = 10_000
    previous: str | None = None
    #: Written by the run: its network calls, and its log.
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _spent_ms: float = 0
    _slip: Exception | None = None

    def ask(self, what: str, handler: Callable[..., Any] | None, *asked: Any) -> Any:
        self.calls.append((what, *asked))
        if handler is None:
            raise fault("AccessDenied", f"the test answers no `{what}`")
        try:
            answer = handler(*asked)
            kinds, wanted = _SHAPES.get(what, ((object,), ""))
            if not isinstance(answer, kinds):
                raise TypeError(f"the script answered `{what}` with {answer!r}; expected {wanted}, or `raise fault(...)`")
            return answer
        except Err:
            raise
        except Exception as slip:
            self._slip = slip
            raise

    def wait(self, took_ms: float, limit: int, step: str) -> None:
        """Lets `took_ms` of the run pass in a call that may wait `limit` nanoseconds."""
        allowed = limit / 1e6
        self._spent_ms += min(took_ms, allowed)
        if took_ms > allowed:
            raise fault("Timeout", f"{step}: nothing within {allowed} ms")


@dataclass
class Ended:
    """What became of a run: a verdict, or `error` with the name of a check-error."""

    message: str
    status: str | None = None
    reason: str | None = None
    error: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    details: Any = None


_script = Script()
_PEER = net_types.Peer("192.0.2.1", 0)


def run(checker: type, kind: str, config: Any, script: Script | None = None) -> Ended:
    """One run of a kind. The schema's defaults are filled in as the worker does it; the config is not validated."""
    global _script
    _script = script or Script()
    previous = types.Status[_script.previous.upper()] if _script.previous else None
    request = types.Request(kind, "monitor-1", "run-1", _filled(checker, kind, config), _script.budget_ms * 1_000_000, 1, previous)
    try:
        outcome = checker().check(request)
    except Err as ended:
        if _script._slip:
            raise _script._slip
        return Ended(ended.value.value, error=type(ended.value).__name__.removeprefix("CheckError_"))
    if _script._slip:
        raise _script._slip
    return Ended(
        outcome.message,
        outcome.status.name.lower(),
        outcome.reason,
        attributes={a.key: a.value.value for a in outcome.attributes},
        metrics={m.name: m.value for m in outcome.metrics},
        details=json.loads(outcome.details) if outcome.details else None,
    )


def validate(checker: type, kind: str, config: Any) -> list[Problem]:
    """What a kind finds wrong with a config that fits its schema."""
    global _script
    _script = Script()
    return checker().validate(kind, _filled(checker, kind, config))


def _filled(checker: type, kind: str, config: Any) -> str:
    """The config with the schema's defaults, as the worker gives it: those of its own fields, not of fields within."""
    schemas = (json.loads(about.config_schema) for about in checker().describe().check_types if about.name == kind)
    properties = next(schemas, {}).get("properties", {})
    defaults = {name: about["default"] for name, about in properties.items() if isinstance(about, dict) and "default" in about}
    return json.dumps({**defaults, **config})


def _bytes(data: bytes | str | None) -> bytes:
    return data.encode() if isinstance(data, str) else data or b""


def _timing(took_ms: float) -> net_types.Timing:
    return net_types.Timing(None, None, None, None, round(took_ms * 1e6))


class _Connection:
    def __init__(self, peer: Peer) -> None:
        self._peer, self._unread = peer, _bytes(peer.greeting)

    @classmethod
    def connect(cls, to: net_types.Endpoint, family: net_types.IpFamily, timeout: int) -> "_Connection":
        peer = _script.ask("tcp.connect", _script.tcp, to.host, to.port)
        _script.wait(peer.took_ms, timeout, "connect")
        return cls(peer)

    def start_tls(self, options: net_types.TlsOptions, timeout: int) -> types.TlsInfo:
        _script.ask("tcp.start-tls", lambda _: None, options)
        return types.TlsInfo("TLSv1.3", "TLS13_AES_128_GCM_SHA256", None, options.server_name, True, None, [])

    def write_all(self, data: bytes, timeout: int) -> None:
        self._unread += _bytes(_script.ask("tcp.write", self._peer.answer, data))

    def read(self, max: int, timeout: int) -> bytes:
        taken, self._unread = self._unread[:max], self._unread[max:]
        return taken

    def read_exact(self, n: int, timeout: int) -> bytes:
        if len(self._unread) < n:
            raise fault("Closed")
        return self.read(n, timeout)

    def read_until(self, delimiter: bytes, max: int, timeout: int) -> bytes:
        at = self._unread.find(delimiter)
        if at < 0:
            raise fault("Closed")
        if at + len(delimiter) > max:
            raise fault("Protocol", f"no delimiter within {max} bytes")
        return self.read(at + len(delimiter), timeout)

    def shutdown_write(self) -> None:
        pass

    def peer(self) -> net_types.Peer:
        return _PEER

    def timing(self) -> net_types.Timing:
        return _timing(self._peer.took_ms)

    def __exit__(self, *raised: object) -> None:
        pass


class _Socket:
    def __init__(self, to: net_types.Endpoint) -> None:
        self._to, self._replies = to, list[bytes]()

    @classmethod
    def open(cls, to: net_types.Endpoint, family: net_types.IpFamily) -> "_Socket":
        return cls(to)

    def send(self, data: bytes) -> None:
        reply = _script.ask("udp.send", _script.udp, self._to.host, self._to.port, data)
        if reply is not None:
            self._replies.append(_bytes(reply))

    def receive(self, max: int, timeout: int) -> bytes:
        if not self._replies:
            raise fault("Timeout", "response: nothing came")
        return self._replies.pop(0)[:max]

    def __exit__(self, *raised: object) -> None:
        pass


def _send(request: http.HttpRequest) -> http.HttpResponse:
    reply = _script.ask("http.send", _script.http, request)
    _script.wait(reply.took_ms, request.timeout, "response")
    body = _bytes(json.dumps(reply.json) if reply.json is not None else reply.body)
    headers = [(name, value.encode()) for name, value in reply.headers.items()]
    limit = request.max_response_bytes
    return http.HttpResponse(reply.status, "HTTP/1.1", headers, body[:limit], len(body) > limit, request.url, _PEER, _timing(reply.took_ms), None)


def _query(name: str, rtype: str, server: net_types.Endpoint | None, timeout: int) -> dns.Reply:
    found = _script.ask("dns.query", _script.dns, name, rtype)
    found = found if isinstance(found, Answers) else Answers(found)
    _script.wait(found.took_ms, timeout, "dns")
    answers = [dns.Answer(name, 60, rtype, data) for data in found.data]
    return dns.Reply(found.rcode, False, answers, round(found.took_ms * 1e6))


def _reveal(name: str) -> str:
    if name not in _script.secrets:
        raise Err(secrets.SecretError_AccessDenied())
    return _script.secrets[name]


context.remaining = lambda: round((_script.budget_ms - _script._spent_ms) * 1e6)
context.granted = lambda capability: capability in _script.granted
log.log = lambda level, message: _script.lines.append(f"{level.name.lower()}: {message}")
http.send = _send
tcp.Connection = _Connection
udp.Socket = _Socket
dns.query = _query
secrets.reveal = _reveal
state.get = lambda key: _script.state.get(key)
state.set = lambda key, value, ttl_seconds: _script.state.__setitem__(key, value)
state.delete = lambda key: _script.state.pop(key, None)
