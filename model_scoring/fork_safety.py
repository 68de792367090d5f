"""When a process may be forked and the fork go on as Python.

A fork has none of its parent's other threads, so a lock that one of them held stays locked for ever. The threads of
OpenBLAS are no danger, it prepares for forks; those of any other library are taken for one.
"""

import threading
from pathlib import Path

__all__ = ["fork_is_safe"]

_THREADS = Path("/proc/self/task")  # Linux; elsewhere nothing is known and nothing is forked


def fork_is_safe() -> bool:
    """Whether this process has no thread but its own and OpenBLAS's."""
    if not _THREADS.is_dir() or threading.active_count() > 1:
        return False
    return len(list(_THREADS.iterdir())) <= 1 + _openblas_threads()


def _openblas_threads() -> int:
    try:
        import threadpoolctl  # scikit-learn brings it
    except ImportError:  # without it no thread is known to be OpenBLAS's
        return 0
    pools = threadpoolctl.threadpool_info()
    return sum(pool["num_threads"] - 1 for pool in pools if pool["internal_api"] == "openblas")
