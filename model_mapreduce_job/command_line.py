"""The job's options, its exit codes, and how an error reaches the user.

| exit code | meaning |
|---|---|
| 0 | every record came out, with its prediction or with the reason why there is none |
| 1 | infrastructure: a step failed, files could not be written, counts do not add up |
| 2 | the command line cannot be used: an option, missing input, existing output, a package that is not installed |
| 3 | bad data: too many records failed, ``--on_failure stop`` met one, a file is damaged, columns differ |
| 4 | the settings or the model are broken: nothing was or could be predicted, or a record ends the model's process |
| 130 | interrupted; 143 where SIGTERM has ended it, 129 where SIGHUP has |
"""

import math
import os
import signal
import sys
import threading
import traceback
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from model_scoring.errors import InputError, MissingPackageError, ModelError, ScoringError, SettingsError
from model_scoring.formats.json_text import key_reader
from model_scoring.formats.registry import INPUT_FORMATS
from model_scoring.formats.rows import HeaderError, parse_row
from model_scoring.scoring import BATCH_SIZE

__all__ = [
    "CommandLineError",
    "TaskFailedError",
    "add_options",
    "asks_for_help",
    "check_configuration",
    "check_options",
    "reported_errors",
]

INFRASTRUCTURE = 1
# Formats of the output whose lines are whole outcomes, without a key.
OUTCOME_FORMATS = ("ldjson", "csv", "tsv")
# What sys.argv[0] ends with where ``__main__.py`` has been started.
COMMANDS = ("model-mapreduce-job", "__main__.py")
# Runners whose tasks cost money or a queue's place; there the launcher tries some records first.
CLUSTER_RUNNERS = ("hadoop", "emr", "dataproc", "spark")
PREFLIGHT_RECORDS = 1000
# Files of a cluster's storage that are looked into for them: each may take a second.
FIRST_FILES = 5


class CommandLineError(ScoringError):
    """What the command line asks for cannot be done."""


class TaskFailedError(ScoringError):
    """A task ended with an exit code of ours; its own message is already on standard error."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def exit_code_of(error: BaseException) -> int:
    """The exit code that an error ends the process with."""
    if isinstance(error, TaskFailedError):
        return error.exit_code
    for kind, code in (
        (CommandLineError, 2),
        (MissingPackageError, 2),
        (InputError, 3),
        (SettingsError, 4),
        (ModelError, 4),
    ):
        if isinstance(error, kind):
            return code
    return INFRASTRUCTURE


@contextmanager
def reported_errors(owns_process: bool) -> Iterator[None]:
    """Ends the process with the error's message and exit code; where the process is somebody else's, raises on.

    Errors of ours are told in a line, anything else with its traceback: it is a defect, of a subclass or of ours.
    """
    if not owns_process:
        yield
        return
    try:
        yield
    except ScoringError as error:
        print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(exit_code_of(error))
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more while closing it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(INFRASTRUCTURE)
    except KeyboardInterrupt as interrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(128 + (interrupt.args[0] if interrupt.args else signal.SIGINT))
    except Exception:
        # A defect, or the machine's doing: the traceback says where. Told here for its exit code, and because Python
        # would write it to a stream that a runner may have replaced.
        traceback.print_exc()
        sys.exit(INFRASTRUCTURE)


@contextmanager
def signals_interrupt(wanted: bool) -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end a launcher as Ctrl-C does: its tasks ended, nothing half done left behind."""
    if not wanted:
        yield
        return

    def interrupt(number: int, _frame: Any) -> None:
        raise KeyboardInterrupt(number)

    # Who ignores one of them, as nohup does, wants to.
    wanted_ones = [each for each in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(each) != signal.SIG_IGN]
    with _handled(wanted_ones, interrupt):
        yield


@contextmanager
def undisturbed() -> Iterator[None]:
    """Lets no second Ctrl-C end what ends a job on a cluster; it takes seconds, and the cluster is paid for."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN):
        yield


@contextmanager
def _handled(numbers: Iterable[signal.Signals], handler: Any) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


@contextmanager
def exits_are_errors() -> Iterator[None]:
    """Takes an exit of a model or a subclass for what it is: with status 0 it would pass for success."""
    leave, owner = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() == owner:  # and no child of the model's
            message = f"\nModelError: the job's code ended the process itself, with os._exit({status!r})\n"
            os.write(2, message.encode())
            status = 4
        leave(status)

    os._exit = refuse
    try:
        yield
    except SystemExit as error:
        raise ModelError(f"the job's code ended the process itself, with sys.exit({error.code!r})") from error
    finally:
        os._exit = leave


def asks_for_help(is_command: bool) -> bool:
    """Whether this process is the job's own command and wants help, for which no model needs to be loaded."""
    is_command = is_command or Path(sys.argv[0]).name in COMMANDS
    return is_command and any(argument in ("--help", "-h") for argument in sys.argv[1:])


def add_options(job: Any) -> None:
    """Adds the options of the prediction step; all but the launcher's own travel to the tasks."""
    job.add_passthru_arg("--model_qualified_name", type=str, help="Qualified name of the model. Required.")
    job.add_passthru_arg(
        "--on_failure",
        choices=("null", "detail", "stop"),
        help="What a failed record gives: null (its reason is counted), detail (an object with stage, error_type and "
        "message), or stop (the end of the job, naming the record and its file). Default: null with --output_format "
        "pairs, else detail.",
    )
    job.add_passthru_arg(
        "--max_failure_ratio",
        type=_ratio,
        metavar="R",
        help="Fail the job when more than this share of the records failed, from 0 to 1. Default: fail only when "
        "nothing could be predicted; a task whose first 10,000 records all fail ends early.",
    )
    job.add_passthru_arg(
        "--key_field",
        metavar="F",
        help="Use this field of the record as the output's key. A failed record's key is the whole record, as far as "
        "it was read.",
    )
    job.add_passthru_arg(
        "--input_format",
        choices=tuple(INPUT_FORMATS),
        default="ldjson",
        help="What the input files are. Default: ldjson.",
    )
    job.add_passthru_arg(
        "--columns",
        type=_names,
        metavar="A,B,C",
        help="The columns of CSV or TSV input without a line that names them; of other input, the fields of the record "
        "that --output_format csv and tsv write.",
    )
    job.add_passthru_arg(
        "--output_format",
        choices=("pairs", *OUTCOME_FORMATS),
        default="pairs",
        help="pairs: record, tab, prediction. ldjson: one object a line with record, raw, prediction, error, model "
        "and version. csv, tsv: the record's columns, the prediction's, and error. Default: pairs.",
    )
    # What the launcher has settled for the tasks; see layout.py.
    job.add_passthru_arg("--layout", help=SUPPRESS)
    job.add_passthru_arg(
        "--batch_size",
        type=_positive,
        default=BATCH_SIZE,
        metavar="N",
        help="Records in one call of the model. Default: 4096.",
    )
    job.add_passthru_arg(
        "--isolate",
        action="store_true",
        help="Run the model in a process of its own. A record that ends that process fails alone, and the process is "
        "replaced.",
    )
    job.add_passthru_arg(
        "--record_timeout",
        type=_seconds,
        metavar="S",
        help="A record for which the model takes longer than S seconds fails. Implies --isolate. Default: no limit.",
    )
    job.add_passthru_arg(
        "--partition_fields",
        action="store_true",
        help="Put what stands in the folders of the input's path (dt=2026-01-01/part-0) into each record. A record "
        "that has a field of that name keeps its own.",
    )
    job.arg_parser.add_argument(
        "--preflight",
        type=_natural,
        metavar="N",
        help="Score the first N records before anything is submitted. Default: 1000 on a cluster, 0 elsewhere.",
    )
    job.arg_parser.add_argument(
        "--summary_file", metavar="F", help="Write the summary that ends a job to this file, as JSON."
    )


def check_configuration(runner: str | None, paths: list[str] | None) -> None:
    """Raises ``CommandLineError`` for a file of ``--conf-path`` that is not there or cannot be read.

    mrjob reads them once more; ``None`` for ``paths`` are the places where it looks by itself.
    """
    import yaml  # for launchers only
    from mrjob.conf import load_opts_from_mrjob_conf

    for path in [None] if paths is None else paths:
        told = f"--conf-path {path}" if path else "mrjob's configuration (--no-conf leaves it out)"
        try:
            loaded = load_opts_from_mrjob_conf(runner or "inline", path)
        except OSError as error:
            raise CommandLineError(f"{told} cannot be read: {error.filename}: {error.strerror}") from error
        except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
            raise CommandLineError(f"{told} is no configuration: {' '.join(str(error).split())}") from error
        if not all(isinstance(options, dict) for _, options in loaded):
            raise CommandLineError(f"{told} is no configuration: the section {runner} names no options")


def check_options(job: Any) -> None:
    """Refuses combinations that cannot be and fills in the defaults that depend on other options."""
    options = job.options
    if not options.model_qualified_name:
        job.arg_parser.error("--model_qualified_name is required: the qualified name of a model of the settings")
    if options.on_failure is None:
        options.on_failure = "detail" if options.output_format in OUTCOME_FORMATS else "null"
    if options.preflight is None:
        options.preflight = PREFLIGHT_RECORDS if options.runner in CLUSTER_RUNNERS else 0
    options.isolate = options.isolate or options.record_timeout is not None
    _check_key_field(job)
    if options.output_format in OUTCOME_FORMATS and not _ends_with_mapper(job):
        job.arg_parser.error(
            f"--output_format {options.output_format} is for jobs that end with the prediction; this one goes on"
        )
    _check_formats(job)
    if list(options.args).count("-") > 1:
        job.arg_parser.error("-, standard input, is named twice and can be read once")
    _check_summary_file(job)


def _check_formats(job: Any) -> None:
    options = job.options
    row = INPUT_FORMATS[options.input_format]
    if options.columns is not None and not row.has_columns and options.output_format not in ("csv", "tsv"):
        job.arg_parser.error("--columns is for CSV and TSV, and neither input nor output is that")
    if not row.by_line and "-" in options.args:
        job.arg_parser.error(f"--input_format {options.input_format}: such a file cannot be read from standard input")
    if not row.by_line and options.runner in ("spark", "dataproc"):
        job.arg_parser.error(
            f"-r {options.runner} hands tasks lines, and {options.input_format} has none. Use another runner, or let "
            "Spark write the files as LDJSON."
        )


def _check_key_field(job: Any) -> None:
    options = job.options
    if options.key_field is not None:
        if options.output_format in OUTCOME_FORMATS:
            job.arg_parser.error(
                f"--key_field goes with --output_format pairs: {options.output_format} lines have no key"
            )
        try:
            key_reader(options.key_field)
        except ValueError:
            job.arg_parser.error(
                "--key_field: a field name with a quote, backslash or control character cannot be used"
            )


def _check_summary_file(job: Any) -> None:
    options = job.options
    if options.summary_file and Path(options.summary_file).is_dir():
        job.arg_parser.error(f"--summary_file {options.summary_file}: this is a folder")
    if options.summary_file and not Path(options.summary_file).absolute().parent.is_dir():
        job.arg_parser.error(f"--summary_file {options.summary_file}: its folder does not exist")


def _ends_with_mapper(job: Any) -> bool:
    steps = [step.description(number) for number, step in enumerate(job.steps())]
    return len(steps) == 1 and not {"combiner", "reducer"} & steps[0].keys()


def _names(text: str) -> list[str]:
    try:
        return parse_row(text.encode("utf-8", "surrogateescape"), b",")
    except HeaderError as error:
        raise ArgumentTypeError(f"{text!r} does not name columns: {error}") from error


def _ratio(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return value


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _positive(text: str) -> int:
    value = _natural(text)
    if value < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return value
