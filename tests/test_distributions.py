"""The distributions agree on versions, and each wheel holds its own files alone."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

TOP = Path(__file__).parents[1]
MODEL_METADATA = json.loads((TOP / "iris_model/model_files/svc_model.json").read_text())
MODEL_PROJECT = tomllib.loads((TOP / "iris_model/pyproject.toml").read_text())["project"]
REQUIREMENTS = (TOP / "requirements.txt").read_text().splitlines()


@pytest.fixture
def wheel_of(tmp_path):
    """Return a function that builds one of the projects here and gives the files in its wheel."""

    def build(project):
        copy = tmp_path / "project"
        shutil.copytree(TOP / project, copy, ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation"]
        subprocess.run([*command, "--quiet", "--wheel-dir", tmp_path, copy], check=True)
        (wheel,) = tmp_path.glob("*.whl")
        with ZipFile(wheel) as archive:
            return {name: archive.read(name) for name in archive.namelist() if ".dist-info/" not in name}

    return build


def test_scikit_learn_is_the_same_wherever_it_is_stated():
    stated = f"scikit-learn=={MODEL_METADATA['scikit_learn']}"
    assert stated in REQUIREMENTS
    assert stated in MODEL_PROJECT["dependencies"]


def test_what_the_model_requires_is_what_the_job_requires():
    assert set(MODEL_PROJECT["dependencies"]) - set(REQUIREMENTS) == {"ml_model_abc>=0.1,<1"}


def test_the_wheel_of_the_model_holds_the_model_alone(wheel_of):
    modules = {path.relative_to(TOP).as_posix() for path in (TOP / "iris_model").glob("*.py")}
    model_files = {f"iris_model/model_files/{name}" for name in ("svc_model.json", MODEL_METADATA["file"])}
    assert set(wheel_of("iris_model")) == {*modules, *model_files, "iris_model/py.typed"}


def test_the_wheel_of_the_contract_holds_the_contract(wheel_of):
    assert wheel_of("packaging/ml_model_abc") == {"ml_model_abc.py": (TOP / "ml_model_abc.py").read_bytes()}


def test_make_lists_its_targets():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(["make"], cwd=TOP, capture_output=True, text=True, check=True, env=environment)
    listed = {line.split()[1] for line in done.stdout.splitlines()}
    expected = "help venv run test check format train dist archive bench test-engines test-hadoop clean"
    expected += " hadoop-up hadoop-down hadoop-status test-emr test-formats test-spark nodes emr-preflight"
    assert listed == set(expected.split())
