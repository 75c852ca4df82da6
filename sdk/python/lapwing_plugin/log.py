"""Lines for the plugin's author and the operator. They never fail and never wait. Never log credentials."""

from wit_world.imports import log as _host


def trace(message: object) -> None:
    _host.log(_host.Level.TRACE, str(message))


def debug(message: object) -> None:
    _host.log(_host.Level.DEBUG, str(message))


def info(message: object) -> None:
    _host.log(_host.Level.INFO, str(message))


def warn(message: object) -> None:
    _host.log(_host.Level.WARN, str(message))


def error(message: object) -> None:
    _host.log(_host.Level.ERROR, str(message))
