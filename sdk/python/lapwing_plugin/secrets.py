"""Named secrets an operator granted. Prefer `secret_headers` of `http.send`, which never shows them to the plugin."""

from wit_world.imports import secrets as _host

from .errors import SecretError, remembering


def reveal(name: str) -> str:
    """The secret in plain text."""
    with remembering(f"secret `{name}`", SecretError):
        return _host.reveal(name)
