"""Prediction and Failure: what becomes of one record.

Every record that enters the hall leaves it as exactly one of the two. Both are immutable values; a door may keep,
compare and serialise them, and must not subclass them: the hall tells them apart by their exact type.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

__all__ = ["Failure", "Outcome", "Prediction", "Stage"]

Stage = Literal["read", "validate", "predict", "write"]

# An exception's text can hold a whole data set; what is kept of it must fit a line somebody reads.
MESSAGE_LIMIT = 500


class Prediction(NamedTuple):
    """A record and what the model answered for it.

    A named tuple because one is made for each record: creating it costs a third of a frozen dataclass.
    """

    record: Any
    prediction: Any


@dataclass(frozen=True, slots=True)
class Failure:
    """A record that has no prediction, and why.

    ``record`` is the input as it came: the parsed record, or the bytes of what is no record.
    ``error_type`` is a short stable name (``float_type``, ``ValueError``); ``field`` the field to blame, if one is;
    ``base_type`` the built-in exception (or the contract's) that a model's own exception is a kind of.
    """

    record: Any
    stage: Stage
    error_type: str
    message: str
    field: str | None = None
    base_type: str | None = None

    @classmethod
    def from_exception(cls, record: Any, stage: Stage, error: BaseException) -> "Failure":
        """The failure that ``error`` is for ``record``."""
        known = (kind.__name__ for kind in type(error).__mro__ if kind.__module__ in ("builtins", "ml_model_abc"))
        return cls(record, stage, type(error).__name__, describe(error), base_type=next(known))

    @property
    def reason(self) -> str:
        """One line for people."""
        return " ".join(f"{self.stage}: {self.error_type}: {self.message}".splitlines())

    def as_value(self) -> dict[str, str]:
        """What a door writes: stage, error type and message, each a string."""
        return {"stage": self.stage, "error_type": self.error_type, "message": self.message}


Outcome = Prediction | Failure


def describe(error: BaseException) -> str:
    """The text of ``error``, shortened; an exception whose text cannot be made must not hide that it was raised."""
    try:
        text = str(error)
    except (Exception, SystemExit) as broken:  # somebody else's __str__
        text = f"(its text cannot be had: {type(broken).__name__})"
    return shorten(text)


def shorten(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """``text`` cut to ``limit`` characters, saying how much was cut; lone surrogates made printable."""
    if not text.isascii():
        text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit} more characters)"


def printable(text: str) -> str:
    """``text`` for a terminal: what would move its cursor or change its colours is shown as an escape."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def shown(text: bytes) -> str:
    """A record's text in a message: shortened, and safe to be shown."""
    return printable(shorten(text.decode("utf-8", "backslashreplace")))
