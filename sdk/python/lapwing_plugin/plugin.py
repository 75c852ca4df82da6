"""Between the interface and the functions an author writes: what `describe`, `check` and `validate` of the component do."""

import json
import sys
import traceback
from dataclasses import dataclass, field
from typing import Any, Callable

from componentize_py_types import Err
from wit_world.imports import context as _context
from wit_world.imports import types

from . import log
from .errors import CheckError, Internal, InvalidConfig, NetError, Retryable, SecretError, StateError, Unsupported, of_os
from .outcome import Outcome, down, lower, millis, nanos


@dataclass
class Capability:
    """Something a check needs of the worker, for the operator to grant."""

    #: `net.http`, `net.tcp`, `net.udp`, `net.dns`, `net.wasi-sockets`, `secret` or `state`.
    name: str
    #: Why, for the operator.
    reason: str
    #: Host patterns or secret names; `{config.host}` stands for a value of the monitor's config.
    scope: list[str] = field(default_factory=list)
    optional: bool = False

    def __post_init__(self) -> None:
        _listed("`scope` of a capability", self.scope, str)


def _listed(what: str, values: Any, of: type) -> None:
    # A text is a list of letters, and a pair of parentheses no tuple: the interpreter finds neither amiss until it is too late.
    if not isinstance(values, (list, tuple)) or not all(isinstance(value, of) for value in values):
        raise TypeError(f"{what}: expected a list of {of.__name__}, found {values!r}")


@dataclass
class Context:
    """The run at hand."""

    #: Opaque ids, for logs.
    monitor_id: str
    run_id: str
    #: 1 for the first try.
    attempt: int
    #: The status of the run before, if it is known.
    previous: str | None
    #: Milliseconds the run had when it began.
    budget_ms: float

    def remaining_ms(self) -> float:
        """Milliseconds left. Every network call minds them already."""
        return _context.remaining() / 1e6

    def granted(self, capability: str) -> bool:
        """Whether an optional capability was granted."""
        return _context.granted(capability)


@dataclass
class Problem:
    """Something wrong with a config that fits its schema."""

    message: str
    #: JSON pointer to the value (`/port`); the whole config by default.
    pointer: str = ""


Check = Callable[[Any, Context], Outcome]
Validate = Callable[[Any], list[Problem]]


@dataclass
class _Kind:
    about: types.CheckType
    config: Callable[..., Any]
    check: Check
    validate: Validate | None


class Plugin:
    """A plugin: kinds are added by `kind`, and `export` gives what the module must call `Checker`."""

    def __init__(
        self,
        name: str,
        *,
        version: str,
        summary: str,
        license: str | None = None,
        homepage: str | None = None,
        max_reuse: int = 1,
    ) -> None:
        """`max_reuse`: runs of one monitor that an instance may serve, if the operator allows it; 1 is a fresh instance for
        each. With more of them, what stands outside of the function lasts from run to run.
        """
        self._about = (name, version, summary, license, homepage, max_reuse)
        self._kinds: dict[str, _Kind] = {}

    def kind(
        self,
        name: str,
        *,
        title: str,
        summary: str,
        schema: dict[str, Any],
        example: dict[str, Any],
        config: Callable[..., Any] = dict,
        sensitive: tuple[str, ...] = (),
        capabilities: tuple[Capability, ...] = (),
        validate: Validate | None = None,
        default_interval_ms: float | None = None,
        default_timeout_ms: float | None = None,
    ) -> Callable[[Check], Check]:
        """Makes a kind (`^[a-z][a-z0-9-]{0,31}$`) of a function of config and context that returns an outcome.

        `schema` is the JSON Schema of the config: the worker validates against it before every run, and fills in
        defaults. `config` makes what the function gets of the config's fields: a dict, or a dataclass. `sensitive` are
        JSON pointers to secrets in it. `validate` tells what the schema cannot: everything that is wrong with a config
        that fits it. It is asked when somebody sets up or tries out a monitor, not in its runs, and can use nothing of
        the worker but its log.
        """
        _listed(f"`sensitive` of kind `{name}`", sensitive, str)
        _listed(f"`capabilities` of kind `{name}`", capabilities, Capability)
        about = types.CheckType(
            name=name,
            title=title,
            summary=summary,
            config_schema=json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **schema}),
            example_config=json.dumps(example),
            sensitive=list(sensitive),
            default_interval=nanos(default_interval_ms),
            default_timeout=nanos(default_timeout_ms),
            capabilities=[types.Capability(c.name, list(c.scope), c.optional, c.reason) for c in capabilities],
        )

        def add(check: Check) -> Check:
            self._kinds[name] = _Kind(about, config, check, validate)
            return check

        return add

    def export(self) -> type:
        """The class that the component is made of."""
        plugin = self

        class Checker:
            def describe(self) -> types.PluginInfo:
                return types.PluginInfo(*plugin._about, [kind.about for kind in plugin._kinds.values()])

            def check(self, req: types.Request) -> types.Outcome:
                return plugin._run(req)

            # Of the interface `config-check`: the class that component.py exports calls it.
            def validate(self, check_type: str, config: str) -> list[Problem]:
                return plugin._validate(check_type, config)

        return Checker

    # An exception that is no `Err` of a check-error would end the interpreter, and tell nobody why.
    def _run(self, request: types.Request) -> types.Outcome:
        try:
            kind = self._kinds.get(request.check_type)
            if kind is None:
                raise Unsupported(f"there is no kind `{request.check_type}` in this plugin")
            outcome = kind.check(kind.config(**json.loads(request.config)), _seen(request))
            if not isinstance(outcome, Outcome):
                raise TypeError(f"`{kind.check.__name__}` returned {outcome!r}: return `up(...)`, `degraded(...)` or `down(...)`")
            return lower(outcome)
        except BaseException as raised:  # SystemExit and the like are the plugin's fault too
            return _ended(raised)

    def _validate(self, name: str, config: str) -> list[Problem]:
        kind = self._kinds.get(name)
        if kind is None or kind.validate is None:
            return []
        try:
            return kind.validate(kind.config(**json.loads(config)))
        except InvalidConfig as raised:
            return [Problem(str(raised))]
        except BaseException as raised:
            # The interface has no error here: the interpreter ends without a word, the log has it.
            log.error("".join(traceback.format_exception(raised)))
            raise


def _ended(raised: BaseException) -> types.Outcome:
    """What a run that raised says: an outcome for what the target did, an `Err` for the rest."""
    if isinstance(raised, Outcome):
        return lower(raised)
    failed = of_os(raised) if isinstance(raised, OSError) else raised
    if isinstance(failed, NetError):
        if failed.reason:
            return lower(down(failed.reason, str(failed)))
        # One of the run's quotas is told by the worker, whatever is said here; the rest is the plugin's own bound.
        own = types.CheckError_Internal if failed.tag == "Limit" else types.CheckError_Denied
        raise Err(own(str(failed))) from None
    if isinstance(raised, (SecretError, StateError)):
        raise Err(_WITHHELD.get(raised.tag, types.CheckError_Internal)(str(raised))) from None
    if isinstance(raised, CheckError):
        raise Err(_CHECK_ERRORS[type(raised)](str(raised))) from None
    trace = "".join(traceback.format_exception(raised))
    log.error(trace)
    print(trace, file=sys.stderr)
    raise Err(types.CheckError_Internal(f"{type(raised).__name__}: {raised}{_hint(raised)}")) from None


def _hint(raised: BaseException) -> str:
    # A component has the modules that were imported when it was built, and no files to find others in.
    if isinstance(raised, ImportError):
        return "; import it at the top of plugin.py: a component has what was imported when it was built"
    if isinstance(raised, LookupError) and str(raised).startswith("unknown encoding: "):
        return f"; import encodings.{str(raised).split()[-1].replace('-', '_')} at the top of plugin.py"
    return ""


# A secret or state that the worker refuses or cannot give; what is too large for it is the plugin's own fault.
_WITHHELD: dict[str, Callable[[str], types.CheckError]] = {
    "AccessDenied": types.CheckError_Denied,
    "NotFound": types.CheckError_Denied,
    "Unavailable": types.CheckError_Retryable,
}

_CHECK_ERRORS: dict[type, Callable[[str], types.CheckError]] = {
    InvalidConfig: types.CheckError_InvalidConfig,
    Unsupported: types.CheckError_Unsupported,
    Retryable: types.CheckError_Retryable,
    Internal: types.CheckError_Internal,
    CheckError: types.CheckError_Internal,
}


def _seen(request: types.Request) -> Context:
    previous = request.previous.name.lower() if request.previous is not None else None
    return Context(request.monitor_id, request.run_id, request.attempt, previous, millis(request.budget) or 0.0)
