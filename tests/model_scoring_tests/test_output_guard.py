"""What a model prints ends at stderr, by whatever way; results on stdout stay whole. Seen from outside."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOISE = """
import ctypes, io, os, subprocess, sys, threading
from model_scoring.output_guard import claim_stdout, model_output_to_stderr

kept = sys.stdout
libc = ctypes.CDLL(None)

def noise():
    print("noise from print")
    sys.__stdout__.write("noise by the original stream\\n")
    kept.write("noise by a stream kept\\n")
    os.write(1, b"noise to descriptor 1\\n")
    libc.printf(b"noise from C\\n")
    subprocess.run([sys.executable, "-c", "print('noise of a child')"], check=True)
"""
WAYS = ("from print", "by the original stream", "by a stream kept", "to descriptor 1", "from C", "of a child")


def run(program, *, closed=(), buffered=True):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    environment |= {"PYTHONPATH": str(ROOT)} | ({} if buffered else {"PYTHONUNBUFFERED": "1"})
    command = [sys.executable, "-c", NOISE + textwrap.dedent(program)]
    if closed:
        redirections = " ".join(f"{descriptor}>&-" for descriptor in closed)
        command = ["/bin/sh", "-c", f'exec "$@" {redirections}', "sh", *command]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("buffered", [True, False])
def test_noise_of_every_kind_lands_on_stderr_only(buffered):
    done = run(
        """
        for number in range(3):
            print("result", number)
            libc.printf(b"result of C %d\\n", number)
            with model_output_to_stderr():
                noise()
        print("result 3")
        """,
        buffered=buffered,
    )
    assert done.returncode == 0, done.stderr
    expected = [f"result {number}" for number in range(4)] + [f"result of C {number}" for number in range(3)]
    assert sorted(done.stdout.splitlines()) == sorted(expected)
    assert sorted(done.stderr.splitlines()) == sorted(f"noise {way}" for way in WAYS for _ in range(3))


def test_a_claimed_stdout_is_the_only_way_left():
    done = run(
        """
        import atexit, warnings
        output = claim_stdout()
        atexit.register(noise)
        output.write(b"result 1\\n")
        with model_output_to_stderr():
            noise()
        noise()
        warnings.warn("noise of a warning")
        output.write(b"result 2\\n")
        output.flush()
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "result 1\nresult 2\n"
    for way in WAYS:
        assert done.stderr.count(f"noise {way}") == 3
    assert "noise of a warning" in done.stderr


def test_nested_use_restores_at_the_end():
    done = run(
        """
        with model_output_to_stderr():
            with model_output_to_stderr():
                noise()
            noise()
            assert sys.stdout is not kept
        assert sys.stdout is kept
        print("result")
        """
    )
    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr


def test_it_restores_when_the_model_raises_or_replaces_streams():
    done = run(
        """
        errors = sys.stderr
        try:
            with model_output_to_stderr():
                sys.stdout = sys.stderr = io.StringIO()
                noise()
                raise KeyError("x")
        except KeyError:
            print("result")
        assert (sys.stdout, sys.stderr) == (kept, errors)
        """
    )
    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr


def test_threads_may_enter_and_leave_in_any_order():
    done = run(
        """
        barrier = threading.Barrier(4)

        def work(number):
            for _ in range(200):
                with model_output_to_stderr():
                    print("noise", number)
                    os.write(1, b"noise\\n")
            barrier.wait()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert sys.stdout is kept
        assert len(os.listdir("/dev/fd")) < 10
        print("result")
        os.write(1, b"")
        """
    )
    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr
    assert done.stderr.count("noise") == 1600


def test_binary_streams_are_text_while_the_guard_is_up():
    done = run(
        """
        import warnings
        out, err = io.BytesIO(), io.BytesIO()
        sys.stdout, sys.stderr = out, err
        with model_output_to_stderr():
            print("noise é \\ud800")
            sys.stdout.buffer.write(b"noise in bytes\\n")
            warnings.warn("noise of a warning")
            with model_output_to_stderr():
                print("noise inside")
        assert (sys.stdout, sys.stderr) == (out, err)
        assert not out.closed and not err.closed
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        assert out.getvalue() == b"", out.getvalue()
        lines = err.getvalue().decode().splitlines()
        assert lines[:2] == ["noise é \\\\ud800", "noise in bytes"], lines
        assert "noise of a warning" in lines[2] and lines[-1] == "noise inside", lines
        print("result")
        """
    )
    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr


def test_a_stream_of_the_hosts_own_that_takes_text_is_left_as_it_is():
    done = run(
        """
        class Tee:
            def __init__(self): self.parts = []
            def write(self, text): self.parts.append("" + text)

        sys.stderr = tee = Tee()
        with model_output_to_stderr():
            print("noise")
        assert sys.stderr is tee
        sys.stderr = sys.__stderr__
        assert "".join(tee.parts) == "noise\\n", tee.parts
        print("result")
        """
    )
    assert (done.returncode, done.stdout) == (0, "result\n"), done.stderr


@pytest.mark.parametrize("closed", [(2,), (1,), (1, 2)])
def test_without_standard_streams_noise_goes_nowhere(closed):
    done = run(
        """
        import contextlib
        with model_output_to_stderr():
            print("noise from print")
            libc.printf(b"noise from C\\n")
            for descriptor in (1, 2):
                with contextlib.suppress(OSError):
                    os.write(descriptor, b"noise to a descriptor\\n")
        print("result")
        """,
        closed=closed,
    )
    assert done.returncode == 0
    assert done.stdout == ("" if 1 in closed else "result\n")


def test_scoring_keeps_a_models_prints_out_of_stdout():
    done = run(
        """
        from model_scoring import score
        from model_scoring.testing import FailingModel
        for outcome in score(FailingModel(), [{"value": 1.0, "fail": "print"}] * 2):
            print(outcome.prediction)
        """
    )
    assert done.stdout == "{'double': 2.0}\n" * 2, done.stderr
    assert sorted(done.stderr.splitlines()) == sorted(
        ["told to print, from Python", "told to print, to descriptor 1", "told to print, from C"] * 2
    )
