"""Which models the job hosts. ``APP_SETTINGS`` names one of these classes, or your own by its dotted path."""

from typing import Any, ClassVar


class Config:
    """The models that every environment hosts."""

    models: ClassVar[list[dict[str, Any]]] = [{"module_name": "iris_model.iris_predict", "class_name": "IrisModel"}]


class ProdConfig(Config):
    """Production; what is used when ``APP_SETTINGS`` is unset."""


class BetaConfig(Config):
    """Beta."""


class TestConfig(Config):
    """Tests."""


class DevConfig(Config):
    """Development."""
