"""Paths of this machine on their way to a cluster."""

import os
from pathlib import Path

import pytest

from model_mapreduce_job.command_line import CommandLineError
from model_mapreduce_job.local_input import quoted_special, safe_names, single_files
from model_scoring.formats.partitions import partition_fields


def test_uploaded_names_mean_themselves_and_nothing_else() -> None:
    names = {"/x/a1": "a1", "/x/a[1]": "a[1]", "/x/a?1?": "a?1?", "/y/a-1-": "a-1-", "/y/b#c": "b#c", "/y/d,e": "d,e"}
    safe_names(names)
    assert names["/x/a1"] == "a1"
    assert names["/y/a-1-"] == "a-1-"
    assert len(set(names.values())) == len(names)
    assert not any(set(name) & set("[]{}*?\\#,:") for name in names.values())


def test_fields_survive_the_names_of_their_folders() -> None:
    folder = quoted_special("at=10:00, [x]")
    assert not set(folder) & set("[]:,")
    assert partition_fields(f"{folder}/part-0") == {"at": "10:00, [x]"}


def test_folders_become_files_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    for name in ("b", "sub/a", "_hidden", ".hidden"):
        (tmp_path / "in" / name).touch()
    (tmp_path / "empty").mkdir()
    found = single_files([str(tmp_path / "in"), "-", "s3://bucket/in", str(tmp_path / "empty")])
    assert found == [str(tmp_path / "in/b"), str(tmp_path / "in/sub/a"), "-", "s3://bucket/in", os.devnull]
    with pytest.raises(CommandLineError, match="does not exist"):
        single_files([str(tmp_path / "nothing")])
