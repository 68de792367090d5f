"""Typed, frozen settings and model specs; the only reader of ``APP_SETTINGS``.

A user writes a class with one attribute, ``models``: a list of ``{"module_name": …, "class_name": …}``, each
optionally with ``"parameters"``, keyword arguments for the model's class. ``APP_SETTINGS`` names the class, either
one of the door's own configuration module (``ProdConfig``) or by a dotted path (``my_project.settings.Nightly``).
"""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from model_scoring.errors import SettingsError
from model_scoring.output_guard import model_output_to_stderr

__all__ = ["APP_SETTINGS", "DEFAULT_SETTINGS", "ModelSpec", "Settings", "find_settings"]

APP_SETTINGS = "APP_SETTINGS"
DEFAULT_SETTINGS = "ProdConfig"

# The launcher hands its choice to its tasks under a name of our own, which wins over APP_SETTINGS: a task's
# environment is also written to by configuration files and set-up scripts, which know only the public name.
LAUNCHER_SETTINGS = "MODEL_SCORING_LAUNCHER_SETTINGS"

_KEYS = ("module_name", "class_name", "parameters")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Where a model's class is and what it is called with."""

    module_name: str
    class_name: str
    parameters: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def from_entry(cls, entry: Any, number: int = 1) -> "ModelSpec":
        """A spec from one entry of a configuration; ``number`` counts from 1 and is named in errors."""
        if isinstance(entry, ModelSpec):
            return entry
        where = f"entry {number} of models, {entry!r}"
        if not isinstance(entry, Mapping):
            raise SettingsError(f"{where}: is not a mapping. Write {{'module_name': …, 'class_name': …}}.")
        unknown = [str(key) for key in entry if key not in _KEYS]
        if unknown:
            raise SettingsError(f"{where}: unknown key(s) {', '.join(unknown)}. Known keys: {', '.join(_KEYS)}.")
        for key in _KEYS[:2]:
            if not isinstance(entry.get(key), str) or not entry[key]:
                raise SettingsError(f"{where}: {key!r} is missing or not a string.")
        parameters = entry.get("parameters", {})
        if not isinstance(parameters, Mapping) or not all(isinstance(name, str) for name in parameters):
            raise SettingsError(f"{where}: 'parameters' is not a mapping of keyword arguments.")
        return cls(entry["module_name"], entry["class_name"], MappingProxyType(dict(parameters)))


@dataclass(frozen=True, slots=True)
class Settings:
    """What was chosen, and the models it names."""

    name: str
    models: tuple[ModelSpec, ...]


def find_settings(default_module: str) -> Settings:
    """The settings that the environment chooses.

    ``default_module`` holds the classes that can be named without a dot. Unset or empty means ``ProdConfig``.
    Raises ``SettingsError`` naming what is missing and what is there.
    """
    name = os.environ.get(LAUNCHER_SETTINGS) or os.environ.get(APP_SETTINGS) or DEFAULT_SETTINGS
    module_name, _, class_name = name.rpartition(".")
    module_name = module_name or default_module
    try:
        with model_output_to_stderr():
            module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{APP_SETTINGS}={name}: module {error.name!r} is not found. Is its folder on PYTHONPATH, or installed?"
        ) from error
    except (Exception, SystemExit) as error:  # the user's own module: whatever it raises, say that it came from there
        raise SettingsError(
            f"{APP_SETTINGS}={name}: module {module_name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    chosen = getattr(module, class_name, None)
    if chosen is None:
        known = sorted(key for key, value in vars(module).items() if hasattr(value, "models"))
        raise SettingsError(
            f"{APP_SETTINGS}={name}: module {module_name!r} has no {class_name!r}. "
            f"It has: {', '.join(known) or 'no class with models'}."
        )
    models = getattr(chosen, "models", None)
    if not isinstance(models, list | tuple):
        raise SettingsError(f"{APP_SETTINGS}={name}: the class needs an attribute 'models', a list of model entries.")
    return Settings(name, tuple(ModelSpec.from_entry(entry, number) for number, entry in enumerate(models, 1)))
