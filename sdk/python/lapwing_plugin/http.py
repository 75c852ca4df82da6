"""HTTP exchanges, carried out by the worker: TLS, redirects and decompression are its business."""

import json as _json
from dataclasses import dataclass
from typing import Any, Mapping

from wit_world.imports import http as _host
from wit_world.imports import net_types, types

from .errors import NetError, dialling
from .net import Family, Timing, TlsOptions, family as _family, timeout, timing

MAX_BODY_BYTES = 256 << 10


@dataclass
class Response:
    """What the last hop answered. Every status is a response, not an error."""

    status: int
    #: `HTTP/1.1`, `HTTP/2`.
    version: str
    #: Names in lower case.
    headers: list[tuple[str, str]]
    #: As much of the body as was asked for.
    part: bytes
    #: Whether there was more of it: then `body`, `text` and `json()` raise.
    truncated: bool
    final_url: str
    peer: net_types.Peer
    timing: Timing
    tls: types.TlsInfo | None

    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """The first header of this name, whatever its case."""
        return next((value for key, value in self.headers if key == name.lower()), None)

    @property
    def body(self) -> bytes:
        """The whole body.

        One that was cut is a `NetError` (`Limit`), which ends the run as unknown: ask with a larger `max_body_bytes`.
        """
        # Of a body that was cut nothing can be concluded, least of all that the target is down.
        if self.truncated:
            raise NetError("Limit", "the body is larger than `max_body_bytes`")
        return self.part

    @property
    def text(self) -> str:
        """The body, as for `body`; bytes that are not UTF-8 are replaced by U+FFFD."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """The body read as JSON; one that is something else is a `NetError` (`protocol_error`), one that was cut as for `body`."""
        body = self.body
        try:
            return _json.loads(body)
        except ValueError as error:
            raise NetError.protocol(f"the body of {self.final_url} is no JSON: {error}") from None


def get(url: str, **options: Any) -> Response:
    """`send` with GET."""
    return send("GET", url, **options)


def post(url: str, **options: Any) -> Response:
    """`send` with POST."""
    return send("POST", url, **options)


def send(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    secret_headers: Mapping[str, str] | None = None,
    body: str | bytes | None = None,
    json: Any = None,
    max_redirects: int = 0,
    max_body_bytes: int = MAX_BODY_BYTES,
    timeout_ms: float | None = None,
    family: Family = "any",
    tls: TlsOptions | None = None,
) -> Response:
    """Sends a request and waits for the whole response.

    `secret_headers` are headers whose value is a granted secret, by its name: the worker fills them in, the plugin
    never sees them. `json` is sent as JSON.
    """
    lines: list[tuple[str, _host.HeaderValue]] = [(name, _host.HeaderValue_Text(value)) for name, value in (headers or {}).items()]
    lines += [(name, _host.HeaderValue_Secret(secret)) for name, secret in (secret_headers or {}).items()]
    if json is not None:
        body = _json.dumps(json)
        lines.append(("content-type", _host.HeaderValue_Text("application/json")))
    request = _host.HttpRequest(
        method=method,
        url=url,
        headers=lines,
        body=body.encode() if isinstance(body, str) else body,
        max_redirects=max_redirects,
        max_response_bytes=max_body_bytes,
        timeout=timeout(timeout_ms),
        family=_family(family),
        tls=tls and tls.lower(),
    )
    with dialling():
        got = _host.send(request)
    return Response(
        status=got.status,
        version=got.version,
        headers=[(name.lower(), value.decode(errors="replace")) for name, value in got.headers],
        part=got.body,
        truncated=got.truncated,
        final_url=got.final_url,
        peer=got.peer,
        timing=timing(got.timing),
        tls=got.tls,
    )
