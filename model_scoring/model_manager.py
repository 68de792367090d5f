"""ModelManager: specs in, loaded models out; one set of models for each process."""

import importlib
from collections.abc import Iterable
from typing import Any, ClassVar

from ml_model_abc import MLModel
from model_scoring.errors import ModelError, SettingsError
from model_scoring.output_guard import model_output_to_stderr
from model_scoring.record_schema import RecordSchema, json_schema
from model_scoring.settings import ModelSpec

__all__ = ["ModelManager", "load_model"]


class ModelManager:
    """Loads, holds and describes the models of this process.

    Every instance shows the same models: loading is dear and a process needs each model once.
    """

    _models: ClassVar[dict[str, MLModel]] = {}
    _specs: ClassVar[dict[str, ModelSpec]] = {}

    @classmethod
    def load_models(cls, configuration: Iterable[Any]) -> None:
        """Loads the models of ``configuration``, in order, after dropping those loaded before.

        Each entry is a ``ModelSpec`` or a mapping as in ``settings.py``. Raises ``SettingsError`` naming the entry
        when it cannot be used and ``ModelError`` when the model's own constructor raises; no model is held then.
        """
        ModelManager._models = {}
        models: dict[str, MLModel] = {}
        specs: dict[str, ModelSpec] = {}
        for number, entry in enumerate(configuration, 1):
            spec = ModelSpec.from_entry(entry, number)
            model = load_model(spec)
            name = model.qualified_name
            where = f"{spec.module_name}.{spec.class_name}"
            if not isinstance(name, str) or not name:
                raise SettingsError(f"{where}: its qualified name is {name!r}. It must be a string that is not empty.")
            if name in models:
                raise SettingsError(
                    f"{where}: its qualified name {name!r} is already that of "
                    f"{_path(models[name])}. Qualified names must differ; remove one of the two entries."
                )
            models[name] = model
            specs[name] = spec
        ModelManager._models, ModelManager._specs = models, specs

    @classmethod
    def get_models(cls) -> list[dict[str, Any]]:
        """Name, description and version of each model, in the order they were loaded."""
        return [_description(model) for model in cls._models.values()]

    @classmethod
    def get_model_metadata(cls, qualified_name: str) -> dict[str, Any] | None:
        """The model's description and both its schemas as JSON Schema; None for an unknown name."""
        model = cls._models.get(qualified_name)
        if model is None:
            return None
        return _description(model) | {
            "input_schema": json_schema(model.input_schema, "input"),
            "output_schema": json_schema(model.output_schema, "output"),
        }

    @classmethod
    def get_model(cls, qualified_name: str) -> MLModel | None:
        """The model itself; None for an unknown name."""
        return cls._models.get(qualified_name)

    @classmethod
    def get_spec(cls, qualified_name: str) -> ModelSpec | None:
        """What the model was loaded from; None for an unknown name."""
        return cls._specs.get(qualified_name)


def load_model(spec: ModelSpec) -> MLModel:
    """The model that ``spec`` names, held by nobody. Raises ``SettingsError`` and ``ModelError``."""
    where = f"{spec.module_name}.{spec.class_name}"
    with model_output_to_stderr():
        try:
            module = importlib.import_module(spec.module_name)
        except ModuleNotFoundError as error:
            raise SettingsError(
                f"{where}: module {error.name!r} is not found. Install the model's package or put its folder on "
                f"PYTHONPATH."
            ) from error
        except (Exception, SystemExit) as error:  # somebody else's module: whatever it raises, say which one it was
            raise ModelError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
        model_class = getattr(module, spec.class_name, None)
        if model_class is None:
            known = ", ".join(sorted(name for name, value in vars(module).items() if _is_model_class(value)))
            raise SettingsError(
                f"{where}: module {spec.module_name!r} has no class {spec.class_name!r}. "
                f"Models there: {known or 'none'}."
            )
        if isinstance(model_class, type) and not issubclass(model_class, MLModel):
            raise SettingsError(NOT_A_MODEL)
        try:
            model = model_class(**spec.parameters)
        except (Exception, SystemExit) as error:  # the model's own code: whatever it raises, say which model it was
            raise ModelError(f"{where} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(model, MLModel):
        raise SettingsError(NOT_A_MODEL)
    try:
        _description(model)
        RecordSchema(model.input_schema)
    except (Exception, SystemExit) as error:  # the model's own properties, or a schema that is none
        raise ModelError(
            f"{where} cannot be used: its description or input schema raises {type(error).__name__}: {error}"
        ) from error
    return model


# Users' code and tests compare this text.
NOT_A_MODEL = "The ModelManager can only hold references to objects of type MLModel."


def _is_model_class(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, MLModel) and value is not MLModel


def _path(model: MLModel) -> str:
    return f"{type(model).__module__}.{type(model).__qualname__}"


def _description(model: MLModel) -> dict[str, Any]:
    return {
        "display_name": model.display_name,
        "qualified_name": model.qualified_name,
        "description": model.description,
        "major_version": model.major_version,
        "minor_version": model.minor_version,
    }
