"""What the lives of clusters share: where they are, what they ask of AWS, and how they may end."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.engines.emr.nodes import Node
from tests.engines.emr.settings import Place


@dataclass(frozen=True)
class End:
    """How a cluster ends: its last state, and the code and message of the reason."""

    state: str
    code: str
    message: str


@dataclass
class Stage:
    """What the clusters share."""

    place: Place
    s3: Any
    iam: Callable[[str, str], bool]  # whether there is an instance profile (or role) of this name
    make_nodes: Callable[[Place, Sequence[str]], Sequence[Node]]
    # One cluster at a time has nodes.
    free: threading.Lock = field(default_factory=threading.Lock)
    errors: list[str] = field(default_factory=list)


BY_USER = End("TERMINATED", "USER_REQUEST", "Terminated by user request")
