"""What ``make emr-preflight`` knows before it asks AWS; the rest is rehearsed in tests/engines."""

import subprocess
from pathlib import Path

import pytest

from model_mapreduce_job.emr_preflight import _options, main
from tests.model_mapreduce_job_tests.jobs import ROOT


def conf(path: Path, text: str) -> str:
    path.write_text(f"runners: {{emr: {{{text}}}}}")
    return str(path)


def test_configurations_are_combined_as_mrjob_combines_them(tmp_path: Path) -> None:
    first = conf(tmp_path / "first", "region: us-west-2, bootstrap: [a, b], tags: {x: 1}")
    second = conf(tmp_path / "second", "region: eu-west-1, bootstrap: [c], tags: {y: 2}")
    assert _options([first, second]) == {"region": "eu-west-1", "bootstrap": ["a", "b", "c"], "tags": {"x": 1, "y": 2}}
    assert _options([first, conf(tmp_path / "third", "bootstrap: !clear [d]")])["bootstrap"] == ["d"]


def test_a_configuration_that_is_none_ends_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--conf-path", str(tmp_path / "none.conf")]) == 2
    assert "none.conf: No such file or directory" in capsys.readouterr().err


def test_make_hands_on_the_configuration_and_the_paths() -> None:
    command = ["make", "--dry-run", "emr-preflight", "CONF=mrjob.conf mine.conf", "PATHS=s3://bucket/input"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--conf-path mrjob.conf --conf-path mine.conf s3://bucket/input" in told
