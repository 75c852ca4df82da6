"""What a component is made of: `Checker` of the author's plugin.py, and the interface `config-check` beside it."""

from wit_world.exports import config_check

from plugin import Checker

__all__ = ["Checker", "ConfigCheck"]


class ConfigCheck:
    """Tells what a plugin finds wrong with a config that fits its schema."""

    def validate(self, check_type: str, config: str) -> list[config_check.Problem]:
        validate = getattr(Checker(), "validate", None)
        found = validate(check_type, config) if validate else []
        return [config_check.Problem(problem.pointer, problem.message) for problem in found]
