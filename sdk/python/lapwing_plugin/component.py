"""What a component is made of: `Checker` of the author's plugin.py, and the interface `config-check` beside it."""

import importlib
import pkgutil

import encodings
from wit_world.exports import config_check

from plugin import Checker

# Codecs are imported by name when a text first needs them; a component has no files to import from by then. `socket` looks
# up names by `idna`. The large tables of East Asia's are left to plugins that want them.
_CODECS = ("ascii", "charmap", "cp1", "cp4", "cp7", "cp8", "idna", "iso8859", "koi8", "latin", "mac_", "punycode", "tis", "utf")
for _module in pkgutil.iter_modules(encodings.__path__):
    if _module.name.startswith(_CODECS):
        importlib.import_module(f"encodings.{_module.name}")

__all__ = ["Checker", "ConfigCheck"]


class ConfigCheck:
    """Tells what a plugin finds wrong with a config that fits its schema."""

    def validate(self, check_type: str, config: str) -> list[config_check.Problem]:
        validate = getattr(Checker(), "validate", None)
        found = validate(check_type, config) if validate else []
        return [config_check.Problem(problem.pointer, problem.message) for problem in found]
