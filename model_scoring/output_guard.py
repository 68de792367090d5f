"""Keeps what a model prints out of a door's output.

Three ways lead from a model to standard output: Python's ``sys.stdout``, file descriptor 1 (native code, child
processes) and the C library's own buffer, which is written to descriptor 1 whenever it pleases. While the guard is up
all three end at standard error. A host may also have replaced ``sys.stdout`` or ``sys.stderr`` by binary streams, on
which ``print`` and ``warnings`` raise: while the guard is up both are text.
"""

import codecs
import ctypes
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TextIO, cast

__all__ = ["claim_stdin", "claim_stdout", "disown_streams", "flush_output", "model_output_to_stderr"]


class _Guard:
    """The state of the guard, of which a process has one. Python's streams and the descriptor are counted apart: a
    door may have claimed the descriptor while a host goes on replacing ``sys.stdout``."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._streams_depth = 0
        self._streams: tuple[Any, Any] = (None, None)
        self._descriptor_depth = 0
        self._descriptor = -1
        self.claimed: list[int] = []

    def enter(self) -> None:
        with self._lock:
            if self._streams_depth == 0:
                _flush(sys.stdout, sys.__stdout__)
                self._streams = sys.stdout, sys.stderr
                sys.stderr = _as_text(sys.stderr)
                sys.stdout = sys.stderr
            self._streams_depth += 1
            if self._descriptor_depth == 0:
                self._descriptor = _redirect_descriptor()
            self._descriptor_depth += 1

    def leave(self) -> None:
        with self._lock:
            self._streams_depth -= 1
            if self._streams_depth == 0:
                # A model may have kept a stream of its host's, and what it wrote there is not yet in the descriptor.
                _flush(sys.stderr, self._streams[0], sys.__stdout__)
                sys.stdout, sys.stderr = self._streams
            self._descriptor_depth -= 1
            if self._descriptor_depth == 0 and self._descriptor >= 0:
                _flush_c_buffers()
                os.dup2(self._descriptor, 1)
                os.close(self._descriptor)

    def claim(self) -> BinaryIO:
        _open_closed_descriptors()
        if sys.stdin is None:
            sys.stdin = open(0, closefd=False)  # noqa: SIM115
        if sys.stderr is None:
            sys.stderr = open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115
        if sys.stdout is not None:
            sys.stdout.flush()
        _flush_c_buffers()
        output = os.dup(1)
        os.dup2(2, 1)
        with self._lock:
            self._descriptor_depth += 1
        sys.stdout = _as_text(sys.stderr)
        self.claimed.append(output)
        return os.fdopen(output, "wb")


_guard = _Guard()


@contextmanager
def model_output_to_stderr() -> Iterator[None]:
    """While it is entered, whatever this process prints goes to standard error.

    Process-wide, as descriptors are: another thread's prints go there too. May be nested and entered by several
    threads; the last one out restores. Costs about 10 µs, so it stands around batches, not records.
    """
    _guard.enter()
    try:
        with _warnings_that_warn():
            yield
    finally:
        _guard.leave()


@contextmanager
def _warnings_that_warn() -> Iterator[None]:
    """A warning is no failure, whatever the process does with warnings of its own."""
    if not any(action == "error" for action, *_ in warnings.filters):
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def claim_stdout() -> BinaryIO:
    """Takes standard output away for the life of the process and returns the one way left to write to it.

    For a door that owns its process: threads, ``atexit`` functions and C buffers of a model write to standard error
    until the very end. Call once, before any model is loaded.
    """
    return _guard.claim()


def claim_stdin() -> BinaryIO:
    """Takes standard input away for the life of the process and returns the one way left to read it.

    For a door that reads its records there: a child process of the model, or a debugger, would read some of them.
    """
    _open_closed_descriptors()
    source = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    return os.fdopen(source, "rb")


def disown_streams(private: Iterable[int] = ()) -> None:
    """Leaves this process, a child of a door's, without its parent's input and output: standard input is empty,
    standard output is standard error, and what has been claimed leads nowhere, as do the descriptors ``private``.

    They are not closed: their numbers would be given to other files, and objects of the parent's still hold them.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (*private, *_guard.claimed, 0):
        with suppress(OSError):  # closed by the parent since
            os.fstat(descriptor)
            os.dup2(nowhere, descriptor)
    os.close(nowhere)
    try:
        sys.stderr.fileno()
    except (AttributeError, ValueError, OSError):  # memory of the parent's, where nobody would find what is written
        sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    claim_stdout().close()
    _guard.claimed.clear()


def _open_closed_descriptors() -> None:
    """A process started without standard streams would give their numbers to the next files it opens."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _redirect_descriptor() -> int:
    """Points descriptor 1 at standard error; returns a copy of what it was, -1 where there is nothing to redirect."""
    _flush_c_buffers()
    try:
        saved = os.dup(1)
    except OSError:  # a process without standard output has none that could be spoilt
        return -1
    if saved == 2:  # there was no standard error: what would go there goes nowhere
        saved = os.dup(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    os.dup2(2, 1)
    return saved


def _flush(*streams: Any) -> None:
    for stream in streams:
        with suppress(AttributeError, ValueError, OSError):  # no stream, or a closed one
            stream.flush()


def _as_text(stream: Any) -> TextIO:
    with suppress(AttributeError, ValueError, OSError):  # no stream, or a closed one
        try:
            stream.write("")
        except TypeError:  # binary
            # Unlike TextIOWrapper, a StreamWriter does not close the stream when it is collected.
            writer: Any = codecs.getwriter("utf-8")(stream, "backslashreplace")
            writer.buffer = stream
            return cast(TextIO, writer)
    return cast(TextIO, stream)


_libc = ctypes.CDLL(None) if os.name == "posix" else None


def flush_output() -> None:
    """Writes out what Python's and C's buffers of standard output and error hold; for a process about to fork or exit
    without Python's own end."""
    _flush(sys.stdout, sys.stderr)
    _flush_c_buffers()


def _flush_c_buffers() -> None:
    if _libc is not None:
        _libc.fflush(None)
