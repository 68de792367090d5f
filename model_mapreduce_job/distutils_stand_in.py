"""Imports mrjob without importing all of setuptools.

mrjob 0.7.4 takes two names from ``distutils``: ``find_executable`` and ``LooseVersion``. Python 3.12 has no distutils
any more and setuptools brings it back, at 0.15 s for each process, map tasks included. While mrjob is imported, the two
names come from here; afterwards ``distutils`` is again what it was for everybody else.
"""

import re
import shutil
import sys
import warnings
from functools import total_ordering
from types import ModuleType

__all__ = ["import_mrjob"]


@total_ordering
class LooseVersion:
    """A version such as ``2.7.1`` or ``0.20.2-cdh3``: numbers compare as numbers, the rest as text."""

    def __init__(self, vstring: str) -> None:
        self.vstring = vstring
        self.version = [int(part) if part.isdigit() else part for part in re.findall(r"\d+|[a-z]+", vstring)]

    def __eq__(self, other: object) -> bool:
        return self.version == _loose(other).version

    def __lt__(self, other: object) -> bool:
        return self.version < _loose(other).version

    def __hash__(self) -> int:
        return hash(tuple(self.version))

    def __str__(self) -> str:
        return self.vstring


def _loose(version: object) -> LooseVersion:
    return version if isinstance(version, LooseVersion) else LooseVersion(str(version))


def import_mrjob() -> None:
    """Imports ``mrjob.job``; a process that already has ``distutils`` keeps and uses its own."""
    if "distutils" in sys.modules or "mrjob.util" in sys.modules:
        return
    stand_ins = {name: ModuleType(name) for name in ("distutils", "distutils.spawn", "distutils.version")}
    stand_ins["distutils.spawn"].__dict__["find_executable"] = shutil.which
    stand_ins["distutils.version"].__dict__["LooseVersion"] = LooseVersion
    sys.modules.update(stand_ins)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what mrjob imports, about which nobody here can do anything
            import mrjob.job  # noqa: F401  # imported for its effect
    finally:
        for name in stand_ins:
            del sys.modules[name]
