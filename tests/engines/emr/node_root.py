"""The root of a node: a shell script for the first process of a mount and process namespace."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from tests.engines.emr import image
from tests.engines.emr.settings import Place
from tests.engines.hadoop import hidden_python
from tests.engines.hadoop.cluster import TOP
from tests.engines.hadoop.installation import java_home

# Of the root folder, what is the system's. Everything else (homes, caches, repositories) a node has empty.
SYSTEM = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "sys", "usr", "var")


def root_script(place: Place, folder: Path) -> Iterator[str]:
    """The shell script of a node's first process."""
    quoted = shlex.quote
    yield "set -eu"
    yield f"cd {quoted(str(folder))}"
    yield "mount -t tmpfs -o mode=755 none layers"
    yield "mkdir layers/upper layers/work"
    yield f"layers={quoted(str(folder / 'layers'))}"
    yield 'mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" root'
    yield "cd root"
    yield "for each in *; do"
    yield f'    case "$each" in {"|".join(SYSTEM)}) continue ;; esac'
    yield '    if [ -d "$each" ] && [ ! -L "$each" ]; then mount -t tmpfs -o mode=755 none "$each"; fi'
    yield "done"
    yield "mkdir -p mnt home tmp run root .outside; chmod 1777 tmp; chmod 700 root"
    yield "mount -t proc proc proc; mount --rbind /dev dev; mount -t tmpfs none dev/shm; mount --rbind /sys sys"
    for path in sorted(hidden_python.pythons(TOP)):
        here = quoted(f".{path}")
        yield f"if [ -d {here} ]; then mount -t tmpfs -o mode=755 none {here}; else rm -f {here}; fi"
    for program_folder in hidden_python.PROGRAM_FOLDERS:
        yield f"rm -f .{program_folder}/python[0-9]* .{program_folder}/python .{program_folder}/pip*"
    yield f"cp -a --remove-destination {quoted(str(place.image))}/. ."
    yield from _shown(place, folder)
    yield "pivot_root . .outside"
    yield "exec chroot . /bin/sh -c 'umount -l /.outside && rmdir /.outside && echo ready && exec >/dev/null 2>&1"
    yield "while :; do sleep 3600 & wait $!; done'"


def _shown(place: Place, folder: Path) -> Iterator[str]:
    hadoop = place.hadoop
    seen = [hadoop.installation.home, hadoop.folder / "conf", folder / "conf", java_home()]
    for source, target, mode in (
        (folder / "mnt", "mnt", "rw"),
        (image.awscli_packages(), image.PACKAGES, "ro"),
        *((path, str(path).lstrip("/"), "ro") for path in seen),
    ):
        here = shlex.quote(target)
        yield f"mkdir -p {here}; mount --bind {shlex.quote(str(source))} {here}"
        if mode == "ro":
            yield f"mount -o remount,bind,ro {here}"
    temporary = shlex.quote(str(hadoop.folder / "tmp").lstrip("/"))
    yield f"mkdir -p {temporary}/s3a; chmod 1777 {temporary} {temporary}/s3a"
