"""The wheels for nodes of EMR: packed the same each time, and refused where nodes could not install them."""

import os
import re
import tarfile
from pathlib import Path

import pytest
import yaml
from mrjob.emr import EMRJobRunner

from model_mapreduce_job.command_line import CommandLineError
from model_mapreduce_job.node_wheels import NEEDED, check_wheels, pack
from model_mapreduce_job.shipping import bootstrap_files
from tests.model_mapreduce_job_tests.jobs import ROOT

X86 = ("m6i.xlarge", "g4dn.xlarge", "g5.xlarge", "c5d.large")
GRAVITON = ("m7g.xlarge", "c6gn.large", "g5g.xlarge", "a1.large")


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    folder = tmp_path / "dist/nodes"
    folder.mkdir(parents=True)
    for name in NEEDED:
        (folder / f"{name}-1.0-py3-none-any.whl").write_bytes(name.encode())
    (folder / "numpy-2.4.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl").write_bytes(b"code")
    return folder


def test_the_same_wheels_give_the_same_bytes(nodes: Path) -> None:
    packed = pack(nodes)
    first = packed.read_bytes()
    for wheel in sorted(nodes.iterdir(), reverse=True):
        content = wheel.read_bytes()
        wheel.unlink()
        wheel.write_bytes(content)
        os.utime(wheel, (1, 1))
    assert pack(nodes).read_bytes() == first
    with tarfile.open(packed) as archive:
        assert set(archive.getnames()) == {wheel.name for wheel in nodes.iterdir()}


def test_wheels_for_another_processor_are_refused(nodes: Path) -> None:
    packed = pack(nodes)
    check_wheels(packed, X86)
    for name in GRAVITON:
        with pytest.raises(CommandLineError, match=rf"for x86_64, and {name} is aarch64.*make dist ARCH=aarch64"):
            check_wheels(packed, [name])
    (other,) = nodes.glob("numpy*")
    other.rename(nodes / "numpy-2.4.0-cp311-cp311-manylinux_2_28_aarch64.whl")
    check_wheels(pack(nodes), GRAVITON)
    for name in X86:
        with pytest.raises(CommandLineError, match=f"for aarch64, and {name} is x86_64"):
            check_wheels(packed, [name])


def test_wheels_that_are_missing_new_or_unreadable(nodes: Path) -> None:
    packed = pack(nodes)
    (nodes / "parcels-1.0-py3-none-any.whl").write_bytes(b"mine")
    with pytest.raises(CommandLineError, match=r"has changed since .* was packed\. Pack it: make nodes"):
        check_wheels(packed, [])
    check_wheels(pack(nodes), [])
    for wheel in nodes.glob("pip-*"):
        wheel.unlink()
    with pytest.raises(CommandLineError, match=r"has no wheel of pip\. Build it: make dist"):
        check_wheels(pack(nodes), [])
    for wheel in nodes.iterdir():
        wheel.unlink()
    with pytest.raises(CommandLineError, match="has no wheel of pip, mrjob"):
        check_wheels(pack(nodes), [])
    packed.write_bytes(b"half of a download")
    with pytest.raises(CommandLineError, match=r"cannot be read.*make dist"):
        check_wheels(packed, [])


def test_the_configuration_names_what_is_packed(nodes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(nodes)
    options = yaml.safe_load((ROOT / "mrjob.conf").read_text())["runners"]["emr"]
    monkeypatch.chdir(nodes.parent.parent)
    assert bootstrap_files(options) == ["dist/nodes.tar"]
    with pytest.raises(CommandLineError, match=r"m7g\.xlarge is aarch64"):
        bootstrap_files(options | {"core_instance_type": "m7g.xlarge"})


def test_two_jobs_want_the_same_pool(nodes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(nodes.parent.parent)
    hashes = set()
    for _ in range(2):
        pack(nodes)
        conf_paths = [str(ROOT / "mrjob.conf")]
        runner = EMRJobRunner(conf_paths=conf_paths, pool_clusters=True, cloud_tmp_dir="s3://bucket/tmp/")
        hashes.add(runner._pool_hash())
    assert len(hashes) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", hashes.pop())
