"""What all tests share."""

import signal

import pytest
from hypothesis import HealthCheck, settings

from model_scoring.model_manager import ModelManager

# Property tests run on machines of any speed and load; what they promise has nothing to do with time.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

# Tests send these to jobs. Whoever runs the tests in the background, or under nohup, hands down that they are ignored,
# and a job leaves that as it is; what is handled here is not ignored in the programs that are started from here.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)


@pytest.fixture(autouse=True)
def _models_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """The models of this process are, after a test, those that were before: tests run in any order."""
    for name in ("_models", "_specs"):
        monkeypatch.setattr(ModelManager, name, getattr(ModelManager, name))
