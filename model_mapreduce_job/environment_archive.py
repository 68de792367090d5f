"""Packs the environment, the hosted models and the settings into one archive, with the interpreter.

    python -m model_mapreduce_job.environment_archive [--output_dir dist]

writes ``dist/environment-<hash>.tar.gz``, named by what is in it, and the link ``dist/environment.tar.gz`` to it. A
node needs a C library not older than this machine's and a shell. ``APP_SETTINGS`` names the settings, as everywhere.
What goes in is found in ``environment_contents.py``; here it is hashed, laid out, compiled, tried and packed.

    bin/python              a shell script: starts the interpreter with the libraries that lie beside it
    bin/python3.11          the interpreter
    lib/                    shared libraries; lib/python3.11 has the standard library and site-packages
    environment.json        the manifest, the first in the archive
"""

import argparse
import gzip
import hashlib
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from model_mapreduce_job.command_line import reported_errors, signals_interrupt
from model_mapreduce_job.environment_contents import (
    ArchiveError,
    Contents,
    Entry,
    environment_contents,
    is_c_library,
    package_files,
)
from model_scoring.model_manager import ModelManager
from model_scoring.settings import LAUNCHER_SETTINGS, Settings, find_settings

__all__ = ["Manifest", "build", "main", "read_manifest", "stale_packages"]

LINK = "environment.tar.gz"
MANIFEST = "environment.json"
DEFAULT_MODULE = "model_mapreduce_job.config"
# Measured: level 6 takes ten seconds of CPU time more and saves a ninth. An archive is built more often than shipped.
COMPRESSION_LEVEL = 1
# A block is compressed on its own, so that all cores take part; the size is fixed, so that the bytes are.
BLOCK_BYTES = 1 << 22
# For the same reason: what a process has compiled before has an influence on the bytecode's bytes.
COMPILING_PROCESSES = 8
HASH_DIGITS = 16

# The name is resolved first: YARN puts a link to the unpacked folder into the task's own.
START = """\
#!/bin/sh
self=$0
[ -L "$self" ] && self=$(readlink -f -- "$self")
root=$(CDPATH= cd -P -- "${self%/*}/.." && pwd -P) || exit 127
ENVIRONMENT_OUTER_LD_LIBRARY_PATH=${LD_LIBRARY_PATH-}
LD_LIBRARY_PATH=$root/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export ENVIRONMENT_OUTER_LD_LIBRARY_PATH LD_LIBRARY_PATH
unset PYTHONHOME PYTHONPLATLIBDIR PYTHONEXECUTABLE
exec "$root/bin/INTERPRETER" -s -X utf8 "$@"
"""
STARTED_NAME = "_environment_started"
STARTED = '''\
"""Runs at each start of the packed interpreter, before anything else.

The libraries beside the interpreter are for it alone: a program that a model starts must find its own.
"""

import os
import sys

sys.executable = os.path.join(sys.prefix, "bin", "python")
_outer = os.environ.pop("ENVIRONMENT_OUTER_LD_LIBRARY_PATH", None)
if _outer:
    os.environ["LD_LIBRARY_PATH"] = _outer
elif _outer is not None:
    os.environ.pop("LD_LIBRARY_PATH", None)
'''


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive holds. ``packages``: a hash for each package that the settings or a model come from."""

    hash: str
    python: str
    platform: str
    c_library: str
    settings: str
    models: tuple[Mapping[str, str], ...]
    packages: Mapping[str, str]
    distributions: Mapping[str, str]


# --- for the launcher


def read_manifest(archive_path: Path | str) -> Manifest:
    """The manifest of an archive; it is the first thing in it, so this takes no time."""
    try:
        with tarfile.open(archive_path, "r|gz") as archive:
            first = archive.next()
            content = archive.extractfile(first) if first is not None and first.name == MANIFEST else None
            if content is None:
                raise ArchiveError(f"{archive_path} does not begin with {MANIFEST}: make archive has not built it.")
            fields = json.load(content)
        return Manifest(**{**fields, "models": tuple(fields["models"])})
    except (OSError, EOFError, tarfile.TarError, ValueError, TypeError, KeyError) as error:
        raise ArchiveError(
            f"{archive_path} cannot be read as an environment archive: {error}. Build it anew."
        ) from error


def stale_packages(manifest: Manifest, settings: Settings) -> list[str]:
    """The packages of settings and models that are not in the archive as they are here."""
    return [top for top, digest in _package_hashes(_modules(settings)).items() if manifest.packages.get(top) != digest]


# --- the command


def main(args: list[str] | None = None) -> None:
    """Builds the archive, unless one with the same content is there, and says which one is current."""
    parser = argparse.ArgumentParser(
        prog="python -m model_mapreduce_job.environment_archive",
        description="Packs interpreter, installed packages, hosted models and settings into one archive for nodes.",
    )
    parser.add_argument("--output_dir", type=Path, default=Path("dist"), metavar="D", help="Default: dist.")
    options = parser.parse_args(args)
    with reported_errors(True), signals_interrupt(True):
        build(options.output_dir)


def build(output_dir: Path) -> Path:
    """The archive of what is installed and hosted here, built unless it is there; prints what it has done."""
    _check_machine()
    settings = find_settings(DEFAULT_MODULE)
    ModelManager.load_models(settings.models)  # what does not load here need not be packed
    modules = _modules(settings)
    contents = environment_contents(modules, Path.cwd())
    interpreter = f"python{sysconfig.get_python_version()}"
    contents.root["bin/python"] = Entry(START.replace("INTERPRETER", interpreter).encode(), executable=True)
    contents.site[f"{STARTED_NAME}.py"] = Entry(STARTED.encode())
    contents.site[f"{STARTED_NAME}.pth"] = Entry(f"import {STARTED_NAME}\n".encode())
    manifest = _manifest(settings, modules, contents)
    for note in contents.notes:
        print(f"Note: {note}")

    output_dir.mkdir(parents=True, exist_ok=True)
    archive = output_dir / f"environment-{manifest.hash}.tar.gz"
    if archive.exists():
        print(f"{archive}: unchanged.")
    else:
        with tempfile.TemporaryDirectory(prefix=".environment-", dir=output_dir) as folder:
            _build(manifest, contents, Path(folder), archive)
        models = ", ".join(f"{model['qualified_name']} {model['version']}" for model in manifest.models) or "none"
        print(
            f"{archive}: built, {archive.stat().st_size / 1e6:.1f} MB; Python {manifest.python}, "
            f"{len(manifest.distributions)} distributions, models: {models}. "
            f"Nodes need the GNU C library {manifest.c_library} or newer."
        )
    _link(output_dir / LINK, archive.name)
    older = sorted(path.name for path in output_dir.glob("environment-*.tar.gz") if path.name != archive.name)
    stay = f" Older ones stay, jobs may be using them: {', '.join(older)}." if older else ""
    print(f"{output_dir / LINK} is {archive.name}.{stay}")
    return archive


def _check_machine() -> None:
    if not sys.platform.startswith("linux"):
        raise ArchiveError(f"this is {sys.platform}: an archive for a cluster's nodes can be built on Linux only.")
    if not _c_library():
        raise ArchiveError(
            "this machine's C library is not GNU's: an archive from here would run on nodes like it only."
        )


def _c_library() -> str:
    try:
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").removeprefix("glibc ")
    except ValueError:
        return ""


def _modules(settings: Settings) -> list[str]:
    chosen = settings.name.rpartition(".")[0] or DEFAULT_MODULE
    return [chosen, *(spec.module_name for spec in settings.models)]


def _link(link: Path, target: str) -> None:
    new = link.with_name(f".{link.name}.{os.getpid()}")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


# --- the manifest and its hash


def _manifest(settings: Settings, modules: list[str], contents: Contents) -> Manifest:
    described = ModelManager.get_models()
    fields: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": sysconfig.get_platform(),
        "c_library": _c_library(),
        "settings": settings.name,
        "models": tuple(
            {
                "qualified_name": str(model["qualified_name"]),
                "version": f"{model['major_version']}.{model['minor_version']}",
                "class": f"{spec.module_name}.{spec.class_name}",
            }
            for model, spec in zip(described, settings.models, strict=True)
        ),
        "packages": _package_hashes(modules),
        "distributions": contents.versions,
    }
    parts = [json.dumps(fields, sort_keys=True), _hash(contents.root), _hash(contents.site)]
    return Manifest(hash=hashlib.sha256("\n".join(parts).encode()).hexdigest()[:HASH_DIGITS], **fields)


def _package_hashes(modules: Iterable[str]) -> dict[str, str]:
    tops = sorted({module.partition(".")[0] for module in modules})
    return {top: _hash(package_files(top)[0]) for top in tops}


def _hash(entries: dict[str, Entry]) -> str:
    """Of names, modes and bytes."""

    def line(name: str) -> bytes:
        entry = entries[name]
        return f"{name}\0{entry.executable}\0{hashlib.sha256(entry.read()).hexdigest()}\n".encode()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return hashlib.sha256(b"".join(pool.map(line, sorted(entries)))).hexdigest()


# --- laying out, compiling, trying, packing


def _build(manifest: Manifest, contents: Contents, folder: Path, archive: Path) -> None:
    root = folder / "env"
    for name, entry in contents.root.items():
        _place(entry, root / name)
    site_packages = _site_packages(root)
    for name, entry in contents.site.items():
        _place(entry, site_packages / name)
    _compile(root)
    text = json.dumps(asdict(manifest), indent=2, sort_keys=True) + "\n"
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))
    executables = {name for name, entry in contents.root.items() if entry.executable}
    prefix = site_packages.relative_to(root).as_posix()
    executables |= {f"{prefix}/{name}" for name, entry in contents.site.items() if entry.executable}
    _try(root, manifest)
    packed = folder / archive.name
    with _packing(packed) as tar:
        _add(tar, MANIFEST, text.encode())
        for name in names:
            path = root / name
            _add(tar, name, None if path.is_dir() else path, executable=name in executables)
    packed.replace(archive)


def _place(entry: Entry, target: Path) -> None:
    """Puts a file into its place, as a link where it can be one: what goes in is the size of a small disk."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # to write into a link would be to write into what is installed
    if isinstance(entry.source, bytes):
        target.write_bytes(entry.source)
        target.chmod(0o755 if entry.executable else 0o644)
        return
    source = os.path.realpath(entry.source)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one that has no such links
        shutil.copy(source, target)


def _run(root: Path, *args: str, stdin: str = "", settings: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the interpreter that is to be packed, with nothing of this machine's environment; it changes no file."""
    environment = {"PYTHONHASHSEED": "0", **({LAUNCHER_SETTINGS: settings} if settings else {})}
    return subprocess.run(  # noqa: S603  # the interpreter that has just been laid out
        [str(root.absolute() / "bin/python"), "-B", *args],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env=environment,
    )


def _site_packages(root: Path) -> Path:
    """Where the packed interpreter looks for packages; systems differ in that."""
    done = _run(root, "-I", "-c", "import json, site; print(json.dumps(site.getsitepackages()))")
    if done.returncode:
        raise ArchiveError(f"the interpreter does not start from another folder: {_last_line(done.stderr)}")
    place = root.resolve()
    for folder in json.loads(done.stdout):
        if Path(folder).is_relative_to(place):
            return root / Path(folder).relative_to(place)
    raise ArchiveError(
        f"the interpreter looks for packages in {done.stdout.strip()} wherever it is, so it cannot be packed. "
        "Make the environment with a Python from python.org, from your system's packages or from uv."
    )


def _compile(root: Path) -> None:
    """Compiles all but tests, which no task imports, into bytecode that is used without a look at its source."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.py"))
    names = [name for name in names if "/tests/" not in name and "/test/" not in name]

    def run(shard: int) -> None:
        # Its exit code says that a file is no valid Python. Some packages have such files, as templates.
        listed = "\n".join(names[shard::COMPILING_PROCESSES])
        options = ("-q", "-q", "--invalidation-mode", "unchecked-hash", "-i", "-")
        _run(root, "-I", "-S", "-m", "compileall", *options, stdin=listed)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(run, range(COMPILING_PROCESSES)))


def _try(root: Path, manifest: Manifest) -> None:
    """Imports the job and loads the models in the packed interpreter."""
    done = _run(
        root, "-c", "from model_mapreduce_job import environment_archive as a; a.report()", settings=manifest.settings
    )
    try:
        report = json.loads(done.stdout)
    except ValueError:
        report = {"error": _last_line(done.stderr) or f"it ended with exit code {done.returncode}"}
    if "error" in report:
        raise ArchiveError(
            f"nothing was built, for in the packed environment the job does not load: "
            f"{report['error'].rstrip('.')}. What is packed are the installed distributions, and the packages that the "
            "settings and the models are in, or their module alone where it is in none. A module or file elsewhere, "
            "beside such a module too, has to become part of a package (a folder with __init__.py), or be installed."
        )
    expected = [model["qualified_name"] for model in manifest.models]
    if report["models"] != expected:
        raise ArchiveError(
            f"nothing was built: the packed environment hosts {report['models']}, this one {expected}. Settings that "
            "depend on the machine or its environment variables cannot be packed."
        )
    if report["outside"]:
        raise ArchiveError(
            f"nothing was built: the packed interpreter imports {', '.join(report['outside'][:3])} from this machine."
        )
    for library in report["libraries"]:
        print(f"Note: the models load {library} from this machine by themselves. It is not packed; each node needs it.")


def report() -> None:
    """Runs in the packed interpreter: prints what it hosts, and what it has loaded that is not packed."""
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # models print
    try:
        from model_mapreduce_job.ml_model_map_reduce_job import model_manager

        found: dict[str, Any] = {"models": [each["qualified_name"] for each in model_manager.get_models()]}
    except (Exception, SystemExit) as error:  # of modules that are missing, ours among them, and of users' code
        found = {"error": f"{type(error).__name__}: {error}"}
    files = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    found["outside"] = sorted(file for file in files if file and not _is_below(file, sys.prefix))
    mapped = {line.split(maxsplit=5)[-1].strip() for line in Path("/proc/self/maps").read_text().splitlines()}
    libraries = {path for path in mapped if path.startswith("/") and ".so" in Path(path).name}
    found["libraries"] = sorted(
        path for path in libraries if not _is_below(path, sys.prefix) and not is_c_library(Path(path).name)
    )
    json.dump(found, output)
    output.close()


def _is_below(path: str, folder: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]


@contextmanager
def _packing(path: Path) -> Iterator[tarfile.TarFile]:
    with (
        path.open("wb") as file,
        _Compressor(file) as compressor,
        tarfile.open(fileobj=compressor, mode="w|", format=tarfile.GNU_FORMAT) as tar,
    ):
        yield tar


def _add(tar: tarfile.TarFile, name: str, content: Path | bytes | None, *, executable: bool = False) -> None:
    # The same content gives the same bytes: no time, no user, no umask of this machine is in them.
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if executable or content is None else 0o644
    if content is None:
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
        return
    data = content if isinstance(content, bytes) else content.read_bytes()
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


class _Compressor(io.RawIOBase):
    """Compresses in blocks, each a gzip member of its own, on all cores; gzip and tar read members as one file."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self._buffer = bytearray()
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._waiting: deque[Future[bytes]] = deque()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._buffer += data
        while len(self._buffer) >= BLOCK_BYTES:
            self._compress(bytes(self._buffer[:BLOCK_BYTES]))
            del self._buffer[:BLOCK_BYTES]
        return len(data)

    def _compress(self, block: bytes) -> None:
        self._waiting.append(self._pool.submit(gzip.compress, block, COMPRESSION_LEVEL, mtime=0))
        while len(self._waiting) > 2 * (os.cpu_count() or 1):
            self._file.write(self._waiting.popleft().result())

    def close(self) -> None:
        if not self.closed:
            self._compress(bytes(self._buffer))
            for block in self._waiting:
                self._file.write(block.result())
            self._pool.shutdown()
        super().close()


if __name__ == "__main__":
    main()
