"""``make nodes``: packs the wheels that nodes of EMR install, ``dist/nodes``, into one file, ``dist/nodes.tar``.

mrjob would pack the folder itself, anew for each job and with the time in it: a cluster of a pool is joined only where
the bootstrap's files are the same to the byte, and ``mrjob create-cluster`` leaves the packing out.
"""

import re
import tarfile
from collections.abc import Iterable
from pathlib import Path

from model_mapreduce_job.command_line import CommandLineError

__all__ = ["NAME", "check_wheels", "pack"]

NAME = "nodes.tar"
# What no job can do without, by the beginnings of the wheels' names; `make dist` puts them there.
NEEDED = ("pip", "mrjob", "model_mapreduce_job", "ml_model_abc")
# Of Amazon's instance types, those with Graviton: m7g, c6gn, g5g, but not g5 or g4dn.
GRAVITON = re.compile(r"(a1|[a-z]+\d+g[a-z]*)\.")


def pack(folder: Path) -> Path:
    """Packs the wheels of the folder into a file beside it. The same wheels give the same bytes."""
    packed = folder.with_name(f"{folder.name}.tar")
    unfinished = packed.with_name(f"{packed.name}.new")
    with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as archive:  # wheels are compressed already
        for wheel in sorted(folder.glob("*.whl")):
            # No time, no user, no umask of this machine.
            entry = tarfile.TarInfo(wheel.name)
            entry.size = wheel.stat().st_size
            with wheel.open("rb") as content:
                archive.addfile(entry, content)
    return unfinished.replace(packed)


def check_wheels(packed: Path, instance_types: Iterable[str]) -> None:
    """Raises ``CommandLineError`` where nodes of these types could not install what has been packed."""
    try:
        with tarfile.open(packed, "r:") as archive:
            wheels = archive.getnames()
    except tarfile.TarError as error:
        raise CommandLineError(f"{packed} cannot be read: {error}. Build it: make dist") from error
    folder = packed.with_suffix("")
    unpacked = {wheel.name: wheel.stat().st_mtime for wheel in folder.glob("*.whl")}
    if unpacked and (unpacked.keys() != set(wheels) or max(unpacked.values()) > packed.stat().st_mtime):
        raise CommandLineError(f"{folder} has changed since {packed} was packed. Pack it: make nodes")
    missing = [name for name in NEEDED if not any(wheel.startswith(f"{name}-") for wheel in wheels)]
    if missing:
        raise CommandLineError(f"{packed} has no wheel of {', '.join(missing)}. Build it: make dist")
    for each in instance_types:
        wanted, other = ("aarch64", "x86_64") if GRAVITON.match(each) else ("x86_64", "aarch64")
        if any(wheel.endswith(f"_{other}.whl") for wheel in wheels):
            raise CommandLineError(
                f"{packed} has wheels for {other}, and {each} is {wanted}. Build it: make dist ARCH={wanted}"
            )


if __name__ == "__main__":
    print(pack(Path("dist/nodes")))
