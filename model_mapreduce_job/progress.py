"""A progress bar for jobs that run on this machine, on a terminal only.

Tasks write their counters to a file of standard error each; a thread reads what has been added and moves the bar. So
the tasks know nothing of it.
"""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from model_mapreduce_job.counters import GROUP, LINES
from model_mapreduce_job.runners import LocalInputRunner
from model_scoring.formats.lines import BLOCK_BYTES, is_compressed, read_blocks
from model_scoring.formats.registry import INPUT_FORMATS

__all__ = ["progress_bar"]

SECONDS_BETWEEN = 0.5
_COUNTED = re.compile(rf"^reporter:counter:{GROUP},{LINES},(\d+)$".encode(), re.MULTILINE)


@contextmanager
def progress_bar(runner: Any, stderr: BinaryIO) -> Iterator[None]:
    """Shows records and records/s while it is entered; nothing where ``stderr`` is no terminal."""
    if not isinstance(runner, LocalInputRunner) or not stderr.isatty():
        yield
        return
    from tqdm import tqdm

    tqdm.monitor_interval = 0  # a thread that would watch over ours
    done = threading.Event()
    with tqdm(total=_estimated_lines(runner), unit=" records", unit_scale=True, smoothing=0.1) as bar:
        watcher = threading.Thread(target=_watch, args=(runner, bar, done), daemon=True)
        runner.when_started = watcher.start  # after the forks: see forking.py
        try:
            yield
        finally:
            done.set()
            if watcher.is_alive():
                watcher.join()
            bar.total = bar.n  # it was an estimate
            bar.refresh()


def _watch(runner: Any, bar: Any, done: threading.Event) -> None:
    read: dict[Path, int] = {}
    ended = False
    while not ended:
        ended = done.wait(SECONDS_BETWEEN)
        for path in Path(runner._get_local_tmp_dir()).glob("step/000/mapper/*/stderr"):
            with path.open("rb") as file:
                file.seek(read.get(path, 0))
                added = file.read()
            whole = added.rfind(b"\n") + 1
            read[path] = read.get(path, 0) + whole
            bar.update(sum(map(int, _COUNTED.findall(added[:whole]))))


def _estimated_lines(runner: Any) -> int | None:
    """The number of lines of the input, from its size and the lines of its first block; None where it is compressed."""
    files = runner.input_files()
    by_line = INPUT_FORMATS[runner._job.options.input_format].by_line
    if not by_line or not files or any(map(is_compressed, files)):
        return None
    total = sum(Path(file).stat().st_size for file in files)
    block = next(read_blocks(files[0], 0, BLOCK_BYTES), b"")
    lines = block.count(b"\n")
    return total * lines // len(block) if lines else None
