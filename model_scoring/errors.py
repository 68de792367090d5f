"""What can go wrong in the hall, as one tree.

    ScoringError
    ├── SettingsError (also a ValueError)   settings or model specs that cannot be used
    │   └── UnknownModelError               a qualified name that no loaded model has
    ├── ModelError                          a model that is broken rather than unlucky
    │   ├── ModelCheckError                 check_model() found something
    │   └── ModelCrashedError               a record ended the model's process
    ├── InputError                          input that cannot be read whole, or too much of it bad
    │   ├── CorruptInputError               a file that is truncated or damaged
    │   ├── RecordFailedError               a record failed and the user asked to stop there
    │   └── TooManyFailuresError            more records failed than the user allows
    ├── MissingPackageError                 a format's package that is not installed
    └── LostRecordsError                    what went in and what came out do not add up

A failed record is not an exception: it is a ``Failure``, see ``outcome.py``. Every message names the thing, the
reason and what would have worked. A door turns the four branches into its own exit codes or answers.
"""

from socket import gethostname

__all__ = [
    "CorruptInputError",
    "InputError",
    "LostRecordsError",
    "MissingPackageError",
    "ModelCheckError",
    "ModelCrashedError",
    "ModelError",
    "RecordFailedError",
    "ScoringError",
    "SettingsError",
    "TooManyFailuresError",
    "UnknownModelError",
]


class ScoringError(Exception):
    """Base of all errors that this project raises itself."""


class SettingsError(ScoringError, ValueError):
    """Settings, or an entry of them, that cannot be used."""


class UnknownModelError(SettingsError):
    """A qualified name that no loaded model has."""

    def __init__(self, qualified_name: str | None, known: list[str]) -> None:
        names = ", ".join(known) or "none"
        super().__init__(f"'{qualified_name}' not found in the ModelManager instance. Known models: {names}.")


class ModelError(ScoringError):
    """A model that cannot be loaded or that fails on everything."""


class ModelCheckError(ModelError):
    """What ``check_model()`` found; ``problems`` holds one sentence for each."""

    def __init__(self, model: str, problems: list[str]) -> None:
        self.problems = problems
        listed = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{model}: {len(problems)} problem(s){listed}")


class ModelCrashedError(ModelError):
    """A record ended the model's process, and the user has not asked to go on without it."""

    def __init__(self, source: str, record: str, reason: str) -> None:
        super().__init__(
            f"a record of {source} ends the model: {reason}. --isolate goes on without such records. "
            f"The record: {record}"
        )


class InputError(ScoringError):
    """Input that cannot be scored as asked."""


class CorruptInputError(InputError):
    """A file that is truncated or damaged."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(
            f"{path}: {reason.rstrip('.')}. Nothing of it can be trusted to be whole; replace the file and run the job "
            "again."
        )


class RecordFailedError(InputError):
    """A record failed and the user asked to stop there."""

    def __init__(self, source: str, record: str, reason: str) -> None:
        super().__init__(f"a record of {source} failed: {reason}. The record: {record}")


class TooManyFailuresError(InputError):
    """More records failed than the user allows."""


class MissingPackageError(ScoringError):
    """A format needs a package that is not installed; ``extra`` of this project brings it, unless it is None."""

    def __init__(self, what: str, package: str, extra: str | None) -> None:
        wanted = package if extra is None else f"'model-mapreduce-job[{extra}]'"
        super().__init__(
            f"{what} needs the package {package}, which is not installed on {gethostname()}. Install it: "
            f"pip install {wanted}"
        )


class LostRecordsError(ScoringError):
    """What went in and what came out do not add up: a defect, never bad data."""
