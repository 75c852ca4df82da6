"""Finds the interface: in a component it is there; elsewhere its types are those of the `bindings` folder beside this package."""

import importlib.util
import pathlib
import sys

if importlib.util.find_spec("wit_world") is None:
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bindings"))
