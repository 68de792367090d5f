"""What goes into the environment archive: the interpreter, installed distributions, packages of models and settings.

Nothing is copied here. ``environment_contents()`` says which file goes where; names that do not depend on this machine
take the place of its paths. In doubt a file travels: one too many costs a little space, one missing a job.
"""

import csv
import importlib.util
import io
import os
import re
import site
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path

from model_scoring.errors import ScoringError

__all__ = ["ArchiveError", "Contents", "Entry", "environment_contents", "is_c_library", "package_files"]

# Of the standard library; config-… holds what is needed to embed Python, sitecustomize belongs to the machine.
LEFT_OUT_OF_STDLIB = {
    *("test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "site-packages", "dist-packages"),
    *("sitecustomize.py", "usercustomize.py", "EXTERNALLY-MANAGED"),
}
_LEFT_OUT_PATTERN = re.compile(r"config-|_tkinter\.|_test\w*\.|_xxtestfuzz|_ctypes_test|xxlimited|.*\.a$")
# How a distribution came here, with paths of this machine; not what it is.
LEFT_OUT_OF_METADATA = {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
_C_LIBRARY = re.compile(
    r"(ld-linux|linux-vdso|linux-gate|ld64|"
    r"lib(c|m|mvec|dl|pthread|rt|resolv|util|anl|nsl|thread_db|BrokenLocale|c_malloc_debug|nss_\w+)\.so)"
)
# libnsl.so.1 is the C library's; libnsl.so.2 is a library of its own.
_NOT_C_LIBRARY = "libnsl.so.2"
_SHARED_LIBRARY = re.compile(r".*\.so(\.\d+)*$")
_LDD_LINE = re.compile(r"^\s+(\S+) => (/.+) \(0x[0-9a-f]+\)$", re.MULTILINE)
_REQUIREMENT = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"""extra\s*==\s*['"]([^'"]+)['"]""")


class ArchiveError(ScoringError):
    """The environment archive cannot be built, or is none."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of this machine or text of ours, and whether it can be executed."""

    source: Path | bytes
    executable: bool = False

    def read(self) -> bytes:
        """The bytes."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


@dataclass(slots=True)
class Contents:
    """``root``: by name from the archive's root. ``site``: by name from the folder that holds installed packages."""

    root: dict[str, Entry] = field(default_factory=dict)
    site: dict[str, Entry] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


# What the launcher alone needs, to speak with AWS or to be Spark itself; a third of all files and more. A model that
# requires it brings it along.
_OWN = "model-mapreduce-job"
_LAUNCHERS: list[tuple[str, frozenset[str]]] = [("boto3", frozenset()), ("pyspark", frozenset())]


def environment_contents(modules: Iterable[str], folder: Path) -> Contents:
    """The interpreter, the distributions, and the top-level packages of ``modules``.

    ``folder`` may hold requirements-dev.txt: what nothing but its lines brings stays out.
    """
    contents = Contents()
    _add_interpreter(contents)
    for distribution in _travelling(_installed(), folder):
        contents.versions[_name(distribution)] = distribution.version
        _add_distribution(contents, distribution)
    for module in modules:
        # These are imported from wherever the launcher finds them, which may not be where they are installed.
        top = module.partition(".")[0]
        files, is_whole = package_files(top)
        if is_whole:
            contents.site = {name: entry for name, entry in contents.site.items() if not _is_of(name, top)}
        contents.site = {**files, **contents.site}
    _add_shared_libraries(contents)
    return contents


def is_c_library(library: str) -> bool:
    """Whether a library's file name is one of the C library's own family, which every node has."""
    return _C_LIBRARY.match(library) is not None and library != _NOT_C_LIBRARY


# --- the interpreter


def _add_interpreter(contents: Contents) -> None:
    binary = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    contents.root[f"bin/python{sysconfig.get_python_version()}"] = Entry(binary, executable=True)
    library = Path(sysconfig.get_path("stdlib"))
    try:
        place = library.relative_to(sys.base_prefix).as_posix()
    except ValueError:
        raise ArchiveError(
            f"{library}, the standard library, is not below {sys.base_prefix}, so this Python cannot be moved to "
            "another folder. Use one from python.org, from your system's packages or from uv."
        ) from None
    for path in _walk(library, _is_left_out_of_stdlib):
        contents.root[f"{place}/{path.relative_to(library).as_posix()}"] = _file(path)


def _is_left_out_of_stdlib(path: Path) -> bool:
    return path.name in LEFT_OUT_OF_STDLIB or _LEFT_OUT_PATTERN.match(path.name) is not None


def _add_shared_libraries(contents: Contents) -> None:
    """Adds what the binaries need of this machine; a package's own libraries are in its folder already."""
    entries = [*contents.root.items(), *contents.site.items()]
    files = [
        str(entry.source)
        for name, entry in entries
        if isinstance(entry.source, Path) and (entry.executable or _SHARED_LIBRARY.match(name))
    ]
    packed = {os.path.realpath(path) for path in files}
    try:
        # Its exit code says only that some file is no dynamic executable.
        listing = subprocess.run(["ldd", *files], capture_output=True, text=True, check=False).stdout  # noqa: S603, S607  # the system's ldd
    except FileNotFoundError:
        raise ArchiveError("ldd, which lists the libraries that Python needs, is not on PATH. Install it.") from None
    for name, path in sorted(set(_LDD_LINE.findall(listing))):
        if not is_c_library(name) and os.path.realpath(path) not in packed:
            contents.root.setdefault(f"lib/{name}", Entry(Path(path), executable=True))


# --- distributions


def _installed() -> dict[str, Distribution]:
    """By name, as the interpreter finds them; metadata that merely lies in the working folder is none."""
    folders = [Path(folder) for folder in [*site.getsitepackages(), site.getusersitepackages()]]
    folders = [folder for folder in folders if str(folder) in sys.path]
    found: dict[str, Distribution] = {}
    for distribution in distributions(path=[str(folder) for folder in folders]):
        found.setdefault(_name(distribution), distribution)
    # What `setup.py develop` has linked keeps its metadata in its own folder.
    linked = {_normalised(link.stem) for folder in folders for link in folder.glob("*.egg-link")}
    for distribution in distributions() if linked else ():
        if _name(distribution) in linked:
            found.setdefault(_name(distribution), distribution)
    return found


def _travelling(installed: dict[str, Distribution], folder: Path) -> list[Distribution]:
    """All but pip and what only requirements-dev.txt or the launcher brings."""
    left_out = _closure([*_LAUNCHERS, *_file_requirements(folder / "requirements-dev.txt")], installed, certain=True)
    roots = [(name, frozenset[str]()) for name in installed if name not in left_out]
    files = [each for each in _file_requirements(folder / "requirements.txt") if each not in _LAUNCHERS]
    kept = _closure([*roots, *files], installed, certain=False)
    return [installed[name] for name in sorted(kept) if name != "pip"]


def _closure(
    roots: Iterable[tuple[str, frozenset[str]]], installed: dict[str, Distribution], *, certain: bool
) -> set[str]:
    """The installed among ``roots`` and all that they require.

    Conditions other than extras are not evaluated: they are taken as not met where ``certain``, else as met.
    """
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(roots)
    while waiting:
        name, extras = each = waiting.pop()
        if each in seen or name not in installed:
            continue
        seen.add(each)
        for line in installed[name].requires or ():
            required, _, condition = line.partition(";")
            extra = _EXTRA.search(condition)
            is_met = extra[1] in extras if extra else not (condition and certain)
            found = _requirement(required) if is_met else []
            waiting += [other for other in found if not (name == _OWN and other in _LAUNCHERS)]
    return {name for name, _ in seen}


def _file_requirements(path: Path) -> list[tuple[str, frozenset[str]]]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [requirement for line in lines for requirement in _requirement(line.strip())]


def _requirement(line: str) -> list[tuple[str, frozenset[str]]]:
    found = _REQUIREMENT.match(line)
    extras = found[2].split(",") if found and found[2] else ()
    return [(_normalised(found[1]), frozenset(extra.strip() for extra in extras))] if found else []


def _add_distribution(contents: Contents, distribution: Distribution) -> None:
    files = list(distribution.files or ())
    if not files or _is_editable(distribution, files):
        _add_by_name(contents, distribution, files)
        return
    base = os.path.normpath(str(distribution.locate_file("")))
    for file in files:
        path = Path(os.path.normpath(str(file.locate())))
        if "__pycache__" in file.parts or path.suffix == ".pyc" or not path.is_file():
            continue
        if path.is_relative_to(base):
            name = path.relative_to(base).as_posix()
            entry = _metadata(path) if _is_metadata(name) else _file(path)
            contents.site.update({name: entry} if entry else {})
        elif path.is_relative_to(sys.prefix) and path.relative_to(sys.prefix).parts[0] != "bin":
            # Data and libraries that lie beside Python's own. Commands stay out: they begin with this machine's path.
            contents.root.setdefault(path.relative_to(sys.prefix).as_posix(), _file(path))


def _add_by_name(contents: Contents, distribution: Distribution, files: list[PackagePath]) -> None:
    """Adds a distribution whose files lie elsewhere, or are not listed, by the names that it is imported by."""
    tops = (distribution.read_text("top_level.txt") or "").split() or list(_linked_names(distribution, files))
    for top in tops:
        contents.site.update(package_files(top)[0])
    if not tops:
        contents.notes.append(
            f"{_name(distribution)} does not say which files it consists of, and stays out. Where it is needed, "
            "install it anew with pip."
        )
    folder = f"{_name(distribution).replace('-', '_')}-{distribution.version}.dist-info"
    metadata = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO")
    entry_points = distribution.read_text("entry_points.txt")
    for name, text in (("METADATA", metadata), ("entry_points.txt", entry_points), ("top_level.txt", "\n".join(tops))):
        if text:
            contents.site[f"{folder}/{name}"] = Entry(text.encode())


def _is_editable(distribution: Distribution, files: list[PackagePath]) -> bool:
    url = distribution.read_text("direct_url.json") or ""
    return bool(re.search(r'"editable":\s*true', url)) or any(file.name.startswith("__editable__") for file in files)


def _linked_names(distribution: Distribution, files: list[PackagePath]) -> Iterator[str]:
    """The packages and modules in the folders that an editable distribution's .pth files name."""
    for link in (file for file in files if file.suffix == ".pth" and len(file.parts) == 1):
        for line in Path(str(distribution.locate_file(link))).read_text(encoding="utf-8").splitlines():
            for path in sorted(Path(line).iterdir()) if Path(line).is_dir() else ():
                if (path / "__init__.py").is_file() and path.name not in ("test", "tests"):
                    yield path.name
                elif path.suffix == ".py" and path.name not in ("setup.py", "conftest.py"):
                    yield path.stem


def _is_metadata(name: str) -> bool:
    return name.partition("/")[0].endswith((".dist-info", ".egg-info"))


def _metadata(path: Path) -> Entry | None:
    if path.name in LEFT_OUT_OF_METADATA:
        return None
    if path.name != "RECORD":
        return _file(path)
    # The list names scripts by hashes that depend on this machine's path, and bytecode that is made anew.
    kept = io.StringIO()
    writer = csv.writer(kept, lineterminator="\n")
    for row in csv.reader(path.read_text(encoding="utf-8").splitlines()):
        left_out = row and Path(row[0]).name in LEFT_OUT_OF_METADATA and _is_metadata(row[0])
        if row and not left_out and "__pycache__" not in row[0] and not row[0].startswith(("../", "/")):
            writer.writerow(row)
    return Entry(kept.getvalue().encode())


def _name(distribution: Distribution) -> str:
    return _normalised(distribution.metadata["Name"] or "")


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- packages of models and settings


def package_files(top: str) -> tuple[dict[str, Entry], bool]:
    """The files of a top-level package or module, from where it is imported; and whether these are all there can be.

    A namespace package may have more parts, in other distributions.
    """
    try:
        spec = importlib.util.find_spec(top)
    except ValueError:
        spec = None
    if spec is None:
        raise ArchiveError(f"{top}: no package or module of that name is found. Install it, or put it on PYTHONPATH.")
    if spec.submodule_search_locations is None:
        path = Path(spec.origin or "")
        if not path.is_file():
            raise ArchiveError(f"{top}: it is no file but {spec.origin}. Install it as a file.")
        return {path.name: _file(path)}, True
    files: dict[str, Entry] = {}
    for location in spec.submodule_search_locations:
        folder = Path(location)
        for path in _walk(folder, _is_no_part_of_a_package) if folder.is_dir() else ():
            files.setdefault(f"{top}/{path.relative_to(folder).as_posix()}", _file(path))
    if not files:
        raise ArchiveError(f"{top}: {', '.join(spec.submodule_search_locations)} is no folder. Install it as one.")
    return files, spec.origin is not None


def _is_no_part_of_a_package(path: Path) -> bool:
    """Whether a file or folder in a package's folder is there for other reasons; the folder may be a project's."""
    if path.name.startswith("."):
        return True
    if not path.is_dir():
        return False
    return (
        path.name in ("test", "tests", "node_modules")
        or path.name.endswith((".egg-info", ".dist-info"))
        or (path / "pyvenv.cfg").exists()
        or (path.name == "build" and any((path / name).exists() for name in ("lib", "bdist.linux-x86_64")))
    )


def _is_of(name: str, top: str) -> bool:
    return name.startswith(f"{top}/") or bool(re.fullmatch(rf"{re.escape(top)}(\.[\w-]+)*\.(py|pyi|so)", name))


# --- files


def _walk(folder: Path, is_left_out: Callable[[Path], bool]) -> Iterator[Path]:
    """The files below a folder, links followed, without compiled ones."""
    for path in sorted(folder.iterdir()):
        if path.name == "__pycache__" or path.suffix == ".pyc" or is_left_out(path):
            continue
        if path.is_dir():
            yield from _walk(path, is_left_out)
        elif path.is_file():  # a link may lead nowhere
            yield path


def _file(path: Path) -> Entry:
    return Entry(path, os.access(path, os.X_OK) or bool(_SHARED_LIBRARY.match(path.name)))
