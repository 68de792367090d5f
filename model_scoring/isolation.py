"""IsolatedScorer: scores as ``BatchScorer`` does, with the model in a process of its own.

A model can take its process with it: a fault in native code, ``os._exit``, more memory than there is. It can also never
answer. Here it does so in a child, which is replaced; only the record that was its end has no prediction. The child
runs a whole ``BatchScorer``, so that every other outcome is what it would have been without it.

The child is a fork where that is safe, for the model is loaded already, and its memory shared; otherwise a new process
that loads the model from its spec. Either way each replacement starts from a model that has scored nothing. Records and
outcomes are pickled: for small records that costs less than their JSON texts would, and values stay what they are.
"""

import ctypes
import math
import os
import pickle
import signal
import socket
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from ml_model_abc import MLModel
from model_scoring.errors import ModelError
from model_scoring.fork_safety import fork_is_safe
from model_scoring.model_manager import load_model
from model_scoring.outcome import Failure, describe
from model_scoring.output_guard import disown_streams, flush_output
from model_scoring.scoring import LOUD, BatchScorer, Scored, score_records_of
from model_scoring.settings import ModelSpec

__all__ = ["IsolatedScorer", "is_crash", "serve_spawned"]

# The error types of records that have ended the model's process, or would not have ended at all.
CRASHED = "ModelCrashed"
TIMED_OUT = "RecordTimeout"

# A batch that the child does not survive is cut into so many pieces, and so is the piece that it does not survive: of
# 4,096 records the culprit is found with three children lost.
PIECES = 64
# How long the child may take to end where it ought to end by itself.
GRACE_SECONDS = 3.0
# How often a parent that waits looks whether its child still lives, and calls ``while_waiting``.
TICK_SECONDS = 0.2

# What an answer starts with: outcomes follow, an exception to raise, or why the outcomes could not be pickled.
_SCORED, _RAISED, _UNPICKLABLE = b"S", b"R", b"U"
_LENGTH = struct.Struct("!Q")
# A model may be loaded with paths relative to where the process was started; a door may have moved on since.
try:
    _STARTED_IN = str(Path.cwd())
except OSError:  # the folder has been removed; nothing relative can have been meant
    _STARTED_IN = os.sep


def is_crash(failure: Failure) -> bool:
    """Whether its record has ended the model's process or taken too long."""
    # An exception of the model's own may have such a name, but then it has a base too.
    return failure.base_type is None and failure.stage == "predict" and failure.error_type in (CRASHED, TIMED_OUT)


class IsolatedScorer:
    """A model, ready to score batches in a process of its own. To be closed; the next batch would start it anew.
    For one thread, which must outlive it: the child ends with the thread that has started it.

    ``spec`` is what the model was loaded from. A piece of a batch may take ``record_timeout`` seconds; when it takes
    longer it is cut, and a single record that takes longer is a ``Failure``. The child gets none of the descriptors
    that ``private`` returns. ``while_waiting`` is called several times a second while the child works.
    Raises ``ModelError`` when the model cannot be loaded in the child, and otherwise what ``BatchScorer`` raises.
    """

    def __init__(
        self,
        model: MLModel,
        spec: ModelSpec,
        *,
        record_timeout: float | None = None,
        private: Callable[[], Iterable[int]] = tuple,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._child: _Child | None = None
        self._scorer = BatchScorer(model)
        self._spec = spec
        self._timeout = record_timeout
        self._private = private
        self._while_waiting = while_waiting
        self._unanswered = 0
        self._largest_piece = sys.maxsize

    def score_batch(self, items: list[Any]) -> Scored:
        """What ``BatchScorer.score_batch`` returns, and a ``Failure`` for each record that ended the model's process
        or took too long."""
        return score_records_of(items, lambda records: self._score_pieces(records, len(records)))

    def close(self) -> None:
        """Ends the child."""
        if self._child is not None:
            self._child.end(GRACE_SECONDS)
            self._child = None

    def __enter__(self) -> "IsolatedScorer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_child", None) is not None:
            self.close()

    def _score_pieces(self, records: list[Any], size: int) -> Scored:
        predictions: list[Any] = []
        failures: dict[int, Failure] = {}
        while (start := len(predictions)) < len(records):
            more_predictions, more_failures = self._score_piece(records[start : start + min(size, self._largest_piece)])
            predictions += more_predictions
            failures.update((start + place, failure) for place, failure in more_failures.items())
        return predictions, failures

    def _score_piece(self, records: list[Any]) -> Scored:
        try:
            return self._ask(records)
        except _UnansweredError as error:
            self._unanswered += 1
            if len(records) == 1:
                return [None], {0: Failure(records[0], "predict", error.error_type, str(error))}
            size = -(-len(records) // PIECES)
            unanswered = self._unanswered
            scored = self._score_pieces(records, size)
            if error.may_be_size and self._unanswered == unanswered:
                # No record is to blame, there were too many at once; later batches must not pay for that again.
                self._largest_piece = min(size, self._largest_piece)
            return scored

    def _ask(self, records: list[Any]) -> Scored:
        request = _pickled(records, "the record")
        try:
            if self._child is None or self._child.has_ended():
                self.close()
                self._start()
            assert self._child is not None
            answer = self._child.ask(request, self._timeout)
            if answer[:1] == _RAISED:
                raise pickle.loads(answer[1:])  # noqa: S301  # a child of ours pickled it
        except BaseException:  # the child is ended or in the middle of something; its answer would be taken for another
            if self._child is not None:
                self._child.end(0)
                self._child = None
            raise
        if answer[:1] == _UNPICKLABLE:
            raise _UnansweredError(*pickle.loads(answer[1:]))  # noqa: S301  # a child of ours pickled it
        predictions, failures = _unpickled(answer[1:], "the prediction")
        return predictions, {place: replace(failure, record=records[place]) for place, failure in failures.items()}

    def _start(self) -> None:
        spec = self._spec
        try:
            if fork_is_safe():
                request = b""  # a fork has the model
                self._child = _fork(self._scorer, self._private())
            else:
                request = _pickled((spec.module_name, spec.class_name, dict(spec.parameters)), "a parameter")
                self._child = _spawn()
            self._child.while_waiting = self._while_waiting
            answer = self._child.ask(request, None)
        except _UnansweredError as error:  # before the first batch, so it is no record's fault
            where = f"{spec.module_name}.{spec.class_name}"
            raise ModelError(f"{where} cannot be loaded in a process of its own: {error}") from error
        if answer[:1] == _RAISED:
            raise pickle.loads(answer[1:])  # noqa: S301  # a child of ours pickled it


class _UnansweredError(Exception):
    """A piece of a batch has no outcomes; why, and whether its size may be the reason."""

    def __init__(self, error_type: str, message: str, may_be_size: bool = False) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.may_be_size = may_be_size


class _Child:
    """The process that the model runs in, as its parent sees it."""

    def __init__(self, process: int, connection: socket.socket) -> None:
        self.while_waiting: Callable[[], None] = lambda: None
        self._parent = os.getpid()
        self._process = process
        self._connection = connection
        self._status: int | None = None

    def ask(self, request: bytes, timeout: float | None) -> memoryview:
        """The answer to a request. Raises ``_UnansweredError`` when there is none; the child has ended then."""
        deadline = time.monotonic() + (math.inf if timeout is None else timeout)
        length = bytearray(_LENGTH.size)
        try:
            self._move(memoryview(_LENGTH.pack(len(request)) + request), self._connection.send, deadline)
            self._move(memoryview(length), self._connection.recv_into, deadline)
            answer = memoryview(bytearray(_LENGTH.unpack(length)[0]))
            self._move(answer, self._connection.recv_into, deadline)
        except TimeoutError as error:
            self.end(0)
            raise _UnansweredError(TIMED_OUT, f"the model took longer than {timeout:g} s", may_be_size=True) from error
        return answer

    def _move(self, data: memoryview, move: Callable[[memoryview], int], deadline: float) -> None:
        while data:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._connection.settimeout(min(TICK_SECONDS, left))
            try:
                moved = move(data)
            except TimeoutError:
                self.while_waiting()
                if not self.has_ended():
                    continue
                moved = 0  # a process that the model has started may hold the other end, which would hide the end
            except OSError:
                moved = 0
            if not moved:
                raise self._crash()
            data = data[moved:]

    def _crash(self) -> _UnansweredError:
        self.end(GRACE_SECONDS)
        if self._status is None:
            return _UnansweredError(CRASHED, "the model's process was ended")
        code = os.waitstatus_to_exitcode(self._status)
        if code >= 0:
            return _UnansweredError(CRASHED, f"the model's process ended itself with exit code {code}")
        # SIGKILL is what the system sends where memory runs out, and fewer records may need less.
        return _UnansweredError(CRASHED, f"the model's process was ended by {_signal(-code)}", -code == signal.SIGKILL)

    def has_ended(self) -> bool:
        """Whether the process is no more."""
        return self._process == 0 or self._reaped(os.WNOHANG)

    def end(self, grace: float) -> None:
        """Ends the process, by force when it has not ended by itself within ``grace`` seconds."""
        if os.getpid() != self._parent:  # a fork of the parent's: the child is not its own
            return
        with suppress(OSError):  # it has gone already
            # Not only closed: another process may hold a copy of this end, and the child would not see it closed.
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        deadline = time.monotonic() + grace
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(0.001)
        if self._process:
            os.kill(self._process, signal.SIGKILL)
            self._reaped(0)

    def _reaped(self, options: int) -> bool:
        try:
            ended, status = os.waitpid(self._process, options)
        except ChildProcessError:  # the host has waited for all of its children
            self._process = 0
            return True
        if ended:
            self._process, self._status = 0, status
        return bool(ended)


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _pickled(value: Any, what: str) -> bytes:
    with _said_of(what):
        return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _unpickled(data: bytes | bytearray | memoryview, what: str) -> Any:
    with _said_of(what):
        return pickle.loads(data)  # noqa: S301  # pickled by our parent or child


@contextmanager
def _said_of(what: str) -> Iterator[None]:
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # somebody else's classes
        message = f"{what} cannot be pickled, to be handed from one process to the other: {describe(error)}"
        raise _UnansweredError(type(error).__name__, message) from error


# --- starting a child


def _fork(scorer: BatchScorer, private: Iterable[int]) -> _Child:
    ours, theirs = socket.socketpair()
    parent = os.getpid()
    flush_output()
    with warnings.catch_warnings():
        # Python 3.12 warns of every thread; fork_is_safe() has looked at whose they are.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process:
        theirs.close()
        return _Child(process, ours)
    try:
        ours.close()
        _prepare(parent, private)
        _serve(theirs, lambda _: scorer)
    except BaseException:  # this process ends here, whatever it is
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(1)


def _spawn() -> _Child:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.set_inheritable(True)
        code = (
            f"import sys; sys.path[:] = {sys.path!r}; from model_scoring.isolation import serve_spawned; "
            f"serve_spawned({theirs.fileno()}, {os.getpid()}, {_STARTED_IN!r})"
        )
        process = os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)
    return _Child(process, ours)


# --- in the child


def serve_spawned(descriptor: int, parent: int, folder: str) -> NoReturn:
    """What a new process does: it loads the model, with ``folder`` as its working folder, and answers."""
    connection = socket.socket(fileno=descriptor)
    _prepare(parent, ())

    def load(request: bytearray) -> BatchScorer:
        module_name, class_name, parameters = pickle.loads(request)  # noqa: S301  # from the parent
        here = os.open(os.curdir, os.O_RDONLY)
        with suppress(OSError):  # it has been removed since
            os.chdir(folder)
        scorer = BatchScorer(load_model(ModelSpec(module_name, class_name, parameters)))
        os.fchdir(here)
        os.close(here)
        return scorer

    try:
        _serve(connection, load)
    except BaseException:  # this process ends here, whatever it is
        os.write(2, traceback.format_exc().encode("utf-8", "backslashreplace"))
    finally:
        os._exit(1)


def _prepare(parent: int, private: Iterable[int]) -> None:
    """Makes of this process a child that ends with its parent and has nothing of its parent's input and output."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: a model that hangs would not see the end
        with suppress(OSError):  # where memory runs out the model is to go, not the task
            Path("/proc/self/oom_score_adj").write_text("1000")
    if os.getppid() != parent:
        os._exit(1)
    disown_streams(private)
    # Ctrl-C is meant for the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _serve(connection: socket.socket, load: Callable[[bytearray], BatchScorer]) -> NoReturn:
    """Answers requests until there are no more: the first with the model, the others with its outcomes."""
    with suppress(OSError):  # the parent has gone
        scorer = None
        while (request := _receive(connection)) is not None:
            try:
                if scorer is None:
                    scorer = load(request)
                    answer = _SCORED
                else:
                    answer = _answer(scorer, request)
            except BaseException as error:  # not a record's failure: it is for the parent to raise
                answer = _RAISED + _portable(error)
            flush_output()
            connection.sendall(_LENGTH.pack(len(answer)) + answer)
    flush_output()
    os._exit(0)


def _answer(scorer: BatchScorer, request: bytearray) -> bytes:
    try:
        predictions, failures = scorer.score_batch(_unpickled(request, "the record"))
        failures = {place: replace(failure, record=None) for place, failure in failures.items()}
        return _SCORED + _pickled((predictions, failures), "the prediction")
    except _UnansweredError as error:  # the parent asks again for fewer records, to find out which one it is
        return _UNPICKLABLE + pickle.dumps((error.error_type, str(error)))


def _receive(connection: socket.socket) -> bytearray | None:
    length = connection.recv(_LENGTH.size, socket.MSG_WAITALL)
    if len(length) < _LENGTH.size:
        return None
    request = bytearray(_LENGTH.unpack(length)[0])
    with memoryview(request) as view:
        received = 0
        while received < len(request):
            more = connection.recv_into(view[received:], 0, socket.MSG_WAITALL)
            if not more:
                return None
            received += more
    return request


def _portable(error: BaseException) -> bytes:
    """``error`` pickled, or one like it where it cannot be."""
    try:
        pickled = pickle.dumps(error)
        pickle.loads(pickled)  # noqa: S301  # our own
    except Exception:
        kind = next((kind for kind in LOUD if isinstance(error, kind)), RuntimeError)
        return pickle.dumps(kind(f"{type(error).__name__}: {describe(error)}"))
    return pickled
