"""A Lapwing plugin: fetches a page and looks for a text on it."""

from lapwing_plugin import Capability, Plugin, down, http, up

# Starting the interpreter costs more than a run: one instance may serve many, as nothing outside of `check` is changed by it.
plugin = Plugin("{{name}}", version="0.1.0", summary="Is a text on a page?", max_reuse=100)

SCHEMA = {
    "type": "object",
    "properties": {
        # `x-lapwing-target` names what the monitor is about: a run may reach that, and nothing else.
        "url": {"type": "string", "format": "uri", "description": "Page to fetch.", "x-lapwing-target": "url"},
        "contains": {"type": "string", "minLength": 1, "description": "Text that must be on it."},
    },
    "required": ["url", "contains"],
    "additionalProperties": False,
}


@plugin.kind(
    "{{name}}",
    title="Text on a page",
    summary="Fetches a page and looks for a text on it",
    schema=SCHEMA,
    example={"url": "https://example.com/", "contains": "Example"},
    capabilities=(Capability("net.http", "fetches the page", scope=["{config.url}"]),),
)
def check(config, cx):
    """One run. A call that fails raises, and the run ends as down with the fitting reason: nothing to catch."""
    page = http.get(config["url"], max_redirects=3)
    text = config["contains"]
    if not page.ok:
        return down("http_status", f"answered {page.status}, expected 200 to 299")
    if text not in page.text:
        return down("assertion_failed", f"`{text}` is not on the page")
    return up(f"`{text}` is on the page", latency_ms=page.timing.total_ms, attributes={"page.bytes": len(page.body)})


Checker = plugin.export()
