"""Input paths on this machine: what they match, and what is refused before a job begins."""

import glob
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

from mrjob.parse import is_uri

from model_mapreduce_job.command_line import CommandLineError
from model_scoring.formats.lines import is_compressed

__all__ = [
    "check_cluster_name",
    "check_local_input",
    "check_whole_file",
    "files_below",
    "left_out",
    "matching_paths",
    "quoted_special",
    "safe_names",
    "single_files",
]

# Text that would be scored as one long bad record.
UNKNOWN_COMPRESSION = (".xz", ".lzo", ".lz4", ".z", ".zip", ".snappy")


# In names of uploaded files Hadoop would take these for patterns, lists or parts of a URI.
SPECIAL = re.compile(r"[\[\]{}*?\\#,: '\"$&;|<>()`!^\n\t]")


# And these the shell of a task that is given the name of a file.
ODD = re.compile(r"[^\w./=:+,@%~-]", re.ASCII)
# Or in the name of an uploaded one: what mktemp takes for its own, too.
ODD_UPLOADED = re.compile(r"[^\w./=+@%~-]|X", re.ASCII)


def matching_paths(path: str) -> list[str]:
    """What the path or pattern names, in order; a name with glob characters that exists as it is means itself."""
    path = path.removeprefix("file://")
    return [path] if os.path.lexists(path) else sorted(glob.glob(path))


def files_below(path: str) -> Iterator[str]:
    """The files that a path or pattern names, absolute: folders are walked by name, hidden names left out."""
    for match in matching_paths(path):
        if not Path(match).is_dir():
            yield str(Path(match).absolute())
            continue
        for folder, folders, files in os.walk(match, followlinks=True):
            folders[:] = sorted(name for name in folders if not left_out([name]))
            for name in sorted(files):
                if not left_out([name]):
                    yield str(Path(folder, name).absolute())


def left_out(names: Iterable[str]) -> bool:
    """Whether a file whose path below what was named has these parts is no input, by Hadoop's rule."""
    return any(name.startswith(("_", ".")) for name in names)


def check_cluster_name(path: str) -> None:
    """Raises ``CommandLineError`` for a path that Hadoop would take for two, or leave out although it is named."""
    if "," in re.sub(r"\{[^}]*\}", "", path):
        raise CommandLineError(f"input {path}: Hadoop takes a comma for the end of a path. Rename it.")
    if left_out([path.rstrip("/").rpartition("/")[2]]):
        raise CommandLineError(
            f"input {path}: Hadoop leaves out names that begin with _ or a dot, also when they are named. Rename it."
        )


def check_whole_file(path: str, *, fetched: bool) -> None:
    """Raises ``CommandLineError`` for a file of a format that is read whole which a task could not get or read."""
    if is_compressed(path):
        raise CommandLineError(f"input {path}: such a file compresses its own blocks and is not read compressed.")
    if fetched and (found := ODD.search(path)):
        raise CommandLineError(f"input {path}: the shell that fetches it would misread {found[0]!r}. Rename it.")
    if fetched and "X" in path.rpartition("/")[2].partition(".")[2]:
        raise CommandLineError(
            f"input {path}: mktemp, by which it is fetched, takes X behind a dot for its own. Rename it."
        )


def safe_names(names: dict[str, str], special: re.Pattern[str] = SPECIAL) -> None:
    """Gives what is to be uploaded names, by path, that no glob, URI or list of paths takes for something else."""
    for path, name in list(names.items()):
        if special.search(name):
            safe = special.sub("-", name)
            while safe in names.values():
                safe = f"-{safe}"
            names[path] = safe


def quoted_special(name: str) -> str:
    """The name with what is special percent-encoded; what reads fields from paths decodes it."""
    return quote(name, safe="=+@~")


def single_files(paths: Iterable[str]) -> list[str]:
    """The files that these paths name, those of this machine one by one, for a runner that uploads nothing else."""
    found: list[str] = []
    for path in paths:
        if path == "-" or is_uri(path):
            found.append(path)
            continue
        check_local_input(path)
        # An empty folder is no record; without any path a runner would read standard input.
        found += list(files_below(path)) or [os.devnull]
    return found


def check_local_input(path: str) -> None:
    """Raises ``CommandLineError`` for what is not there, is neither file nor folder, or cannot be decompressed."""
    if path == "-":
        return
    local = Path(path.removeprefix("file://"))
    if not local.exists() and not any(map(os.path.exists, glob.glob(str(local)))):
        raise CommandLineError(f"input {path} does not exist. Name a file, a folder or a pattern that matches one.")
    if local.exists() and not (local.is_file() or local.is_dir()):
        raise CommandLineError(f"input {path} is neither a file nor a folder. Use - to read standard input.")
    if local.suffix.lower() in UNKNOWN_COMPRESSION:
        raise CommandLineError(
            f"input {path} is compressed in a way that cannot be read here; gzip, bzip2 and zstandard can."
        )
