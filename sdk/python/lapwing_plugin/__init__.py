"""Write a Lapwing plugin in Python: one `Plugin`, one function for each kind, one line that exports them.

    from lapwing_plugin import Plugin, down, http, up

    plugin = Plugin("door", version="0.1.0", summary="Is the door open?")

    @plugin.kind("door", title="Door", summary="Asks a door", schema={...}, example={"url": "https://door.example"})
    def check(config, cx):
        response = http.get(config["url"])
        return up("open") if response.ok else down("http_status", f"answered {response.status}")

    Checker = plugin.export()
"""

from . import _interface  # noqa: F401 (first: the others import the interface)
from . import dns, http, log, secrets, state, tcp, udp
from .errors import CheckError, Internal, InvalidConfig, NetError, Retryable, SecretError, StateError, Unsupported
from .outcome import Metric, Outcome, degraded, down, unknown, up
from .plugin import Capability, Context, Plugin, Problem

__all__ = [
    "Capability", "CheckError", "Context", "Internal", "InvalidConfig", "Metric", "NetError", "Outcome", "Plugin", "Problem",
    "Retryable", "SecretError", "StateError", "Unsupported", "degraded", "dns", "down", "http", "log", "secrets", "state", "tcp", "udp",
    "unknown", "up",
]
