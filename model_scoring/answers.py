"""What a model's own code gave when it was called, had without fear and compared without haste; for check_model()."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from model_scoring.outcome import describe, shorten

__all__ = ["Raised", "attempt", "same", "shown"]


@dataclass(frozen=True)
class Raised:
    """What was raised instead of an answer."""

    name: str
    message: str

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """What ``function`` answers, or a ``Raised``. A ``MemoryError`` goes out."""
    try:
        return function(*arguments)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:  # the model's own code, or a library's with its schema: it is reported
        return Raised(type(error).__name__, describe(error))


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same: NumPy's taken for Python's, floats equal to nine digits, True not 1."""
    one, other = _as_python(one), _as_python(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return _close(one, other)
    if type(one) is not type(other):
        return False
    equality: Any = type(one).__eq__
    if equality is object.__eq__:
        return True  # objects that nothing can tell apart
    return attempt(lambda: bool(one == other)) is True


def _as_python(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def _close(one: Any, other: Any) -> bool:
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other)):
        return False
    try:
        return math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    except OverflowError:  # an integer beyond every float
        return False


def shown(value: Any) -> str:
    """``value`` for people, shortened."""
    try:
        text = str(value) if isinstance(value, Raised) else repr(value)
    except Exception as broken:  # somebody else's __repr__
        text = f"a {type(value).__name__} (its repr raises {type(broken).__name__})"
    return shorten(text, 200)
