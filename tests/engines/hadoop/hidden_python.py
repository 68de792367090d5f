"""Processes for which this machine has no Python: a node without one, for what a job ships to be all there is.

They get a mount namespace of their own, in which each Python that can be found is covered by something empty.
"""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tests.engines.hadoop.installation import HadoopError

PROGRAM_FOLDERS = ("/usr/local/bin", "/usr/local/sbin", "/usr/bin", "/usr/sbin", "/bin", "/sbin")
LIBRARY_FOLDERS = ("/usr/lib", "/usr/local/lib", "/usr/lib64", "/usr/local/lib64")
# Where version managers keep theirs, in the home of the user.
MANAGERS = (".pyenv", ".local/share/uv/python", ".local/share/pypoetry", "miniconda3", "anaconda3", ".rye/py", ".asdf")


def wrapped(command: Sequence[str], repository: Path) -> list[str]:
    """The command that runs this one, as the same process, without Python."""
    unshare = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        unshare[1:1] = ["--map-root-user"]
    tried = subprocess.run([*unshare, "true"], capture_output=True, text=True, timeout=30, check=False)
    if tried.returncode != 0:
        raise HadoopError(
            "hiding Python needs a mount namespace (root, or user namespaces), and that was refused: "
            + tried.stderr.strip()
        )
    # On a file system of the namespace's own, so that nothing is left of it.
    lines = ["set -eu", "empty=$(mktemp -d)", 'mount -t tmpfs none "$empty"', 'mkdir "$empty/folder"']
    lines += [': > "$empty/file"', 'chmod 000 "$empty/file"']
    for path in sorted(pythons(repository)):
        kind = "folder" if path.is_dir() else "file"
        lines.append(f'mount --bind "$empty/{kind}" {shlex.quote(str(path))}')
    # The mounts keep what they show; the name goes.
    lines += ['umount -l "$empty"', 'rmdir "$empty"', 'exec "$@"']
    return [*unshare, "sh", "-c", "\n".join(lines), "sh", *command]


def pythons(repository: Path) -> set[Path]:
    """The files and folders to cover, none inside another; of links what they lead to, since a mount covers that."""
    found = {path.resolve() for path in candidates(repository) if os.access(path, os.F_OK)}
    # Those cannot be covered without everything else that is in them.
    found -= {Path("/"), Path("/usr"), Path("/usr/local"), Path.home(), repository}
    return {path for path in found if not any(parent in found for parent in path.parents)}


def candidates(repository: Path) -> Iterator[Path]:
    yield repository / ".venv"
    yield Path(sys.prefix)
    yield Path(sys.base_prefix)
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "PYENV_ROOT"):
        if value := os.environ.get(name):
            yield Path(value)
    for name in MANAGERS:
        yield Path.home() / name
    yield from programs()
    yield from matching(LIBRARY_FOLDERS, ("python3*", "libpython3*", "*-linux-gnu*/libpython3*"))


def programs() -> Iterator[Path]:
    yield Path(sys.executable)
    folders = {*PROGRAM_FOLDERS, *filter(None, os.environ.get("PATH", "").split(":"))}
    yield from matching(folders, ("python", "python[0-9]*", "pypy*"))


def matching(folders: Iterable[str], patterns: Sequence[str]) -> Iterator[Path]:
    for folder in folders:
        if os.access(folder, os.R_OK | os.X_OK):  # what this user cannot read, its daemons cannot run
            for pattern in patterns:
                yield from Path(folder).glob(pattern)
