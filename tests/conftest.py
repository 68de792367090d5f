"""What all tests share."""

import pytest
from hypothesis import HealthCheck, settings

from model_scoring.model_manager import ModelManager

# Property tests run on machines of any speed and load; what they promise has nothing to do with time.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _models_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of this process are, after a test, those that were before: tests run in any order."""
    for name in ("_models", "_specs"):
        monkeypatch.setattr(ModelManager, name, getattr(ModelManager, name))
