"""What the README and older documents tell a user to type, as whole processes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.model_mapreduce_job_tests.jobs import DATA, GOLDEN, IRIS, ROOT, run_command

PROD = {"APP_SETTINGS": "ProdConfig"}


def test_the_documented_command_gives_the_documented_output() -> None:
    ran = run_command(*IRIS, "./data/input.ldjson", environment=PROD)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == (GOLDEN / "input.pairs").read_bytes()
    lines = ran.stdout.splitlines()
    assert len(lines) == 15
    assert lines[0].endswith(b'\t{"species": "setosa"}')
    assert lines[-1].endswith(b'"asd"}\tnull')


def test_app_settings_unset_means_prod_config() -> None:
    ran = run_command(*IRIS, "./data/input.ldjson")
    assert (ran.returncode, ran.stdout) == (0, (GOLDEN / "input.pairs").read_bytes())


def test_the_module_and_the_installed_command_do_the_same() -> None:
    as_module = run_command(*IRIS, "./data/input.ldjson", command=("-m", "model_mapreduce_job"))
    assert as_module.stdout == (GOLDEN / "input.pairs").read_bytes()
    installed = Path(sys.executable).with_name("model-mapreduce-job")
    ran = subprocess.run([installed, *IRIS, DATA / "input.ldjson"], capture_output=True, check=True)
    assert ran.stdout == as_module.stdout


def test_help_works_by_itself_even_where_the_settings_do_not() -> None:
    for command in ((), ("-m", "model_mapreduce_job")):
        ran = run_command(
            "--help", environment={"APP_SETTINGS": "NoSuchConfig"}, **({"command": command} if command else {})
        )
        assert ran.returncode == 0, ran.stderr
        for option in ("--model_qualified_name", "--on_failure", "--max_failure_ratio", "--key_field", "--preflight"):
            assert option in ran.stdout.decode()


def test_summary_on_standard_error_and_as_json(tmp_path: Path) -> None:
    ran = run_command(*IRIS, "data/input.ldjson", "--summary_file", tmp_path / "summary.json")
    text = ran.stderr.decode()
    assert "iris_model 0.1" in text
    assert "validate petal_width" in text
    assert "Input should be a valid number" in text
    assert "█" in text
    assert "records/s" in text
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["status"] == "succeeded"
    assert (summary["records"], summary["predictions"], summary["failures"]) == (15, 14, 1)
    assert summary["failures_by_kind"] == {"validate petal_width": 1}
    assert summary["labels"] == {"species=setosa": 5, "species=versicolor": 5, "species=virginica": 4}
    assert summary["examples"]["validate petal_width"]["source"].endswith("data/input.ldjson")
    assert summary["seconds"] > 0
    assert list(tmp_path.iterdir()) == [tmp_path / "summary.json"]


@pytest.mark.parametrize("runner", ["inline", "local"])
def test_standard_input(runner: str) -> None:
    data = (DATA / "input.ldjson").read_bytes()
    ran = run_command(*IRIS, "-r", runner, stdin=data)
    assert (ran.returncode, ran.stdout) == (0, (GOLDEN / "input.pairs").read_bytes())


def test_nothing_but_errors_is_said_with_quiet() -> None:
    ran = run_command(*IRIS, "-q", "data/input.ldjson")
    assert ran.stderr == b""


def test_examples_run_on_both_runners() -> None:
    doubled = (DATA / "input.ldjson").read_bytes() * 2
    for runner in ("inline", "local"):
        statistics = run_command(*IRIS, "-r", runner, command=("examples/species_statistics.py",), stdin=doubled)
        found = dict(map(json.loads, line.split(b"\t")) for line in statistics.stdout.splitlines())
        assert {species: value["records"] for species, value in found.items()} == {
            "setosa": 10,
            "versicolor": 10,
            "virginica": 8,
        }
        assert found["setosa"]["mean_petal_length"] == pytest.approx(1.36)
        assert b"records                   30" in statistics.stderr
        unique = run_command(*IRIS, "-r", runner, command=("examples/unique_records.py",), stdin=doubled)
        assert sorted(unique.stdout.splitlines()) == sorted((GOLDEN / "input.pairs").read_bytes().splitlines())


def test_every_example_is_tested_here() -> None:
    tested = Path(__file__).read_text()
    assert all(example.name in tested for example in (ROOT / "examples").glob("*.py"))
