"""The environment archive: what is in it, when it is built anew, and that it runs where there is no Python."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from model_mapreduce_job.environment_archive import ArchiveError, read_manifest, stale_packages
from model_mapreduce_job.environment_contents import is_c_library
from model_scoring.settings import find_settings

TOP = Path(__file__).parents[1]
INPUT = (TOP / "data/input.ldjson").read_bytes()
EXPECTED = (TOP / "data/golden/input.pairs").read_bytes()
TASK = ("--mapper", "--step-num=0", "--model_qualified_name")

# The command in an environment that is small, so that it is packed in seconds.
SMALL = """
from model_mapreduce_job import environment_archive, environment_contents as contents
installed = contents._installed
wanted = ["mrjob", "pyyaml", "pydantic", "pydantic-core", "annotated-types", "typing-extensions", "typing-inspection",
          "msgspec", "tqdm", "standard-pipes", "model-mapreduce-job", "ml-model-abc", "pip", "pytest"]
contents._installed = lambda: {name: found for name, found in installed().items() if name in wanted}
environment_archive.main()
"""
MODEL = """
import json
from pathlib import Path
from typing import Any
from ml_model_abc import MLModel

class Factor(MLModel):
    display_name = qualified_name = "factor"
    description = "Multiplies."
    major_version = 2
    minor_version = 1
    input_schema = output_schema = None

    def __init__(self) -> None:
        print("a model prints")
        self._factor = json.loads((Path(__file__).with_name("files") / "factor.json").read_text())

    def predict(self, data: Any) -> Any:
        return {"product": data["value"] * self._factor}
"""
SETTINGS = """
class Nightly:
    models = [{"module_name": "own_models.factor", "class_name": "Factor"}]

class Iris:
    models = [{"module_name": "iris_model.iris_predict", "class_name": "IrisModel"}]
"""


def write_project(folder: Path) -> Path:
    """A user's folder: a package with a model, a module with settings, and things that are nobody else's business."""
    for name, text in {
        "own_models/__init__.py": "",
        "own_models/factor.py": MODEL,
        "own_models/files/factor.json": "3",
        "own_models/files/.factor.json.swp": "half",
        "own_models/tests/test_factor.py": "",
        "own_models/.git/HEAD": "",
        "own_models/.venv/pyvenv.cfg": "",
        "own_settings.py": SETTINGS,
        "requirements-dev.txt": "# tests\npytest>=9,<10\n",
        "notes.txt": "",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def archive_command(
    project: Path, *command: str, settings: str = "own_settings.Nightly"
) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["APP_SETTINGS"] = settings
    command = command or ("-c", SMALL)
    command = (sys.executable, *command)
    return subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def small(project):
    """The archive of a user's project, and what building it has said."""
    ran = archive_command(project)
    assert ran.returncode == 0, ran.stderr
    return (project / "dist/environment.tar.gz").resolve(), ran.stdout


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """What `make archive` packs here, unpacked in a folder of another name."""
    output = tmp_path_factory.mktemp("output")
    command = ("-m", "model_mapreduce_job.environment_archive", "--output_dir", str(output))
    ran = archive_command(TOP, *command, settings="ProdConfig")
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path_factory.mktemp("filecache") / "environment-0.tar.gz"
    folder.mkdir()
    subprocess.run(["tar", "-xzf", output / "environment.tar.gz", "-C", folder], check=True)
    shutil.rmtree(output)
    return folder


@pytest.fixture
def work(tmp_path, unpacked):
    """A task's working folder, with the archive as YARN puts it there."""
    (tmp_path / "env").symlink_to(unpacked)
    return tmp_path


def packed_python(work: Path, code: str, **environment: str) -> str:
    command = ["env/bin/python", "-c", code]
    return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=True).stdout


def test_a_users_own_model_and_settings_travel(project, small):
    archive, said = small
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    names = [member.name for member in members]
    # Debian's Python calls the folder dist-packages.
    own = {name.partition("-packages/")[2] for name in names if "/own_" in name and "__pycache__" not in name}
    assert own - {"own_models", "own_models/files"} == {
        *("own_models/__init__.py", "own_models/factor.py", "own_models/files/factor.json", "own_settings.py")
    }
    assert names[0] == "environment.json"
    assert names[1:] == sorted(names[1:])
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 0)}
    assert {oct(member.mode) for member in members} == {"0o644", "0o755"}
    assert not [name for name in names if re.search(r"/(_?pytest|pip|idlelib|tkinter|\.git|\.venv)(/|$)", name)]
    assert "factor 2.1" in said
    assert (project / "dist/environment.tar.gz").readlink() == Path(archive.name)
    assert sorted(path.name for path in (project / "dist").iterdir()) == [archive.name, "environment.tar.gz"]


def test_the_manifest_says_what_is_in_it(small):
    archive, _ = small
    manifest = read_manifest(archive)
    assert archive.name == f"environment-{manifest.hash}.tar.gz"
    assert manifest.settings == "own_settings.Nightly"
    assert manifest.python == sys.version.split()[0]
    assert re.fullmatch(r"2\.\d+", manifest.c_library)
    assert manifest.models == ({"qualified_name": "factor", "version": "2.1", "class": "own_models.factor.Factor"},)
    assert manifest.distributions["mrjob"] == "0.7.4"
    assert "pytest" not in manifest.distributions
    assert set(manifest.packages) == {"own_models", "own_settings"}


def test_what_is_no_archive_is_told(tmp_path):
    for name, content in {"missing": None, "text": b"text"}.items():
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ArchiveError, match=name):
            read_manifest(tmp_path / name)
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as tar:
        tar.add(__file__, "file.py")
    with pytest.raises(ArchiveError, match=r"does not begin with environment\.json"):
        read_manifest(tmp_path / "other.tar.gz")


def test_unchanged_content_builds_nothing(project, small):
    archive, _ = small
    before = archive.stat()
    os.utime(project / "own_models/factor.py")
    (project / "dist/environment.tar.gz").unlink()
    ran = archive_command(project)
    assert f"{archive.name}: unchanged." in ran.stdout
    after = archive.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert (project / "dist/environment.tar.gz").resolve() == archive


def test_the_same_content_gives_the_same_bytes_and_a_changed_model_another_archive(tmp_path, small, monkeypatch):
    archive, _ = small
    project = write_project(tmp_path / "elsewhere")
    assert archive_command(project).returncode == 0
    again = (project / "dist/environment.tar.gz").resolve()
    assert again.name == archive.name
    assert again.read_bytes() == archive.read_bytes()

    monkeypatch.syspath_prepend(project)
    monkeypatch.setenv("APP_SETTINGS", "own_settings.Nightly")
    settings = find_settings("model_mapreduce_job.config")
    assert stale_packages(read_manifest(again), settings) == []
    (project / "own_models/files/factor.json").write_text("4")
    assert stale_packages(read_manifest(again), settings) == ["own_models"]
    ran = archive_command(project)
    newest = (project / "dist/environment.tar.gz").resolve()
    assert newest.name != again.name
    assert again.exists()
    assert f"Older ones stay, jobs may be using them: {again.name}." in ran.stdout


def test_what_does_not_work_packed_is_not_built(tmp_path):
    project = write_project(tmp_path)
    (project / "helpers.py").write_text("")
    (project / "own_models/__init__.py").write_text("import helpers\n")
    ran = archive_command(project)
    assert ran.returncode == 1
    assert "own_models.factor.Factor: module 'helpers' is not found" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert list((project / "dist").iterdir()) == []


def test_settings_and_models_that_are_broken_end_it_as_they_end_the_job(tmp_path):
    project = write_project(tmp_path)
    ran = archive_command(project, settings="no_settings.Nightly")
    assert ran.returncode == 4
    assert "module 'no_settings' is not found" in ran.stderr
    (project / "own_models/files/factor.json").unlink()
    ran = archive_command(project)
    assert ran.returncode == 4
    assert "factor.json" in ran.stderr
    assert not (project / "dist").exists()


def test_the_environment_is_packed_without_what_only_development_needs(unpacked):
    manifest = json.loads((unpacked / "environment.json").read_text())
    assert {"scikit-learn", "model-mapreduce-job", "ml-model-abc", "iris-model"} <= set(manifest["distributions"])
    assert not {"pip", "pytest", "mypy", "ruff", "hypothesis"} & set(manifest["distributions"])
    assert [model["qualified_name"] for model in manifest["models"]] == ["iris_model"]


def test_the_interpreter_is_whole(work, unpacked):
    where = "import sys; print(sys.executable, sys.prefix, *[path for path in sys.path if path])"
    for path in packed_python(work, where).split():
        assert Path(path).is_relative_to(unpacked)
    assert packed_python(
        work, "import ssl, sqlite3, bz2, lzma, ctypes, zlib, hashlib; print(ssl.create_default_context())"
    )
    # A child has no environment, so it must find everything by its own path.
    child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import sklearn, lzma; print(6)'], env={})"
    assert packed_python(work, child) == "6\n"
    spawn = "import multiprocessing; print(multiprocessing.get_context('spawn').Pool(1).map(abs, [-7]))"
    assert packed_python(work, spawn) == "[7]\n"


def test_nothing_of_the_nodes_environment_leaks_in_and_nothing_out(work):
    see = "import os, sys; print(os.environ.get('LD_LIBRARY_PATH'), sys.flags.no_user_site, sys.flags.utf8_mode)"
    assert packed_python(work, see) == "None 1 1\n"
    node = {"LD_LIBRARY_PATH": "/node/lib", "PYTHONHOME": "/node", "LC_ALL": "C"}
    assert packed_python(work, see, **node) == "/node/lib 1 1\n"
    # The job's own way to add to the path.
    assert packed_python(work, "import sys; print(sys.path[1])", PYTHONPATH="/job") == "/job\n"


def test_bytecode_is_used_as_it_is(work):
    code = (
        "import importlib.util as util, pathlib, sklearn.svm, iris_model, json, sys\n"
        "for module in (sklearn.svm, iris_model, json):\n"
        "    print(pathlib.Path(util.cache_from_source(module.__file__)).read_bytes()[4])\n"
    )
    assert packed_python(work, code).split() == ["1", "1", "1"]  # by hash, unchecked


def hiding(unpacked: Path) -> str:
    """Shell commands that hide this machine's Python, its libraries and this repository, and forbid writing."""
    shell = subprocess.run(["ldd", os.path.realpath("/bin/sh")], capture_output=True, text=True, check=False).stdout
    packed = {path.name for path in (unpacked / "lib").iterdir() if path.is_file() and path.name not in shell}
    python = [sys.base_prefix, sys.prefix, *map(str, Path("/usr").glob("lib*/python3*"))]
    python += map(str, Path("/usr/local").glob("lib*/python3*"))
    folders = [str(TOP), *(folder for folder in python if folder not in ("/usr", "/usr/local"))]
    programs = [*Path("/usr/bin").glob("python3*"), *Path("/usr/local/bin").glob("python3*")]
    libraries = [path for folder in Path("/usr").glob("lib*") for path in (folder, *folder.glob("*-linux-gnu"))]
    files = [*programs, *(folder / name for folder in libraries for name in sorted(packed))]
    commands = ["set -e"]
    for each in dict.fromkeys(folders):
        quoted = shlex.quote(each)
        commands.append(f"if [ -d {quoted} ]; then mount -t tmpfs none {quoted}; fi")
    place = shlex.quote(str(unpacked))
    commands += [f"mount --bind {place} {place}", f"mount -o remount,bind,ro {place}"]
    for path in dict.fromkeys(os.path.realpath(path) for path in files if path.is_file()):
        if not Path(path).is_relative_to(sys.base_prefix) or sys.base_prefix == "/usr":
            commands.append(f"mount --bind /dev/null {shlex.quote(path)}")
    return "\n".join(commands)


def test_it_scores_where_there_is_no_python(work, unpacked):
    place = packed_python(work, "import model_mapreduce_job as job; print(job.__path__[0])").strip()
    script = Path("env", Path(place).relative_to(unpacked), "ml_model_map_reduce_job.py")
    run = f"exec env -i env/bin/python {script} {' '.join(TASK)} iris_model"
    command = ["sh", "-c", run]
    # Root may hide files from a process, and so may others where the system lets them; elsewhere an empty environment
    # and the list of mapped files have to do.
    for unshare in (["unshare", "--mount"], ["unshare", "--mount", "--map-root-user"]):
        if shutil.which("unshare") and not subprocess.call([*unshare, "true"], stderr=subprocess.DEVNULL):
            hidden = f"if {shlex.quote(sys.executable)} -c pass || [ -e {shlex.quote(str(TOP / 'setup.py'))} ]"
            command = [*unshare, "sh", "-c", f"{hiding(unpacked)}\n{hidden}; then exit 99; fi\n{run}"]
            break
    task = subprocess.Popen(command, cwd=work, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    mapped = set()
    while task.poll() is None and not any("/sklearn/svm/" in path for path in mapped):
        mapped |= mapped_files(task.pid)
        time.sleep(0.02)
    time.sleep(0.5)  # it reads its input now, with the model loaded
    mapped = mapped_files(task.pid)
    stdout, stderr = task.communicate(INPUT)
    assert (task.returncode, stdout) == (0, EXPECTED), stderr.decode()
    assert b"reporter:counter:model scoring,predictions,14" in stderr
    # In a container the kernel may tell the path as it is outside.
    outside = {path for path in mapped if f"{unpacked}/" not in path}
    assert any("/sklearn/svm/" in path for path in mapped)
    assert {path for path in outside if not is_c_library(Path(path).name)} == set()


def mapped_files(pid: int) -> set[str]:
    """The programs and libraries that a process has mapped, at the moment."""
    try:
        lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return set()
    fields = [line.split(maxsplit=5) for line in lines]
    # What can be executed: a locale's tables are mapped too.
    return {field[5] for field in fields if len(field) == 6 and field[5].startswith("/") and "x" in field[1]}
