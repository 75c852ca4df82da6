"""Bytes kept for the next run of the same monitor, best effort."""

from wit_world.imports import state as _host

from .errors import StateError, remembering


def get(key: str) -> bytes | None:
    """What was kept under `key`."""
    with remembering(f"state `{key}`", StateError):
        return _host.get(key)


def put(key: str, value: bytes, ttl_seconds: int | None = None) -> None:
    """Keeps `value`; only a run that ends well leaves it behind."""
    with remembering(f"state `{key}`", StateError):
        _host.set(key, value, ttl_seconds)


def delete(key: str) -> None:
    """Forgets `key`."""
    with remembering(f"state `{key}`", StateError):
        _host.delete(key)
