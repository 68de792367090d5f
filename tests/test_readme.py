"""The README does what it says: its console blocks are run, in order, as one session.

A fence says what its block is. ``console``: lines after ``$`` are commands, the others what they print, to standard
output or error; ``…`` stands for what may be anything. A language and a file name: that file, written where the session
is then. ``sh``: commands that build or install, too slow for a test; of these, only that make knows its targets.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from model_mapreduce_job import command_line

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

MARK = "=== end of a command ==="
TIMES = (
    (re.compile(r"[\d.]+ s, [\d,]+ records/s"), "S s, N records/s"),
    (re.compile(r'"(seconds|records_per_second)": [\d.]+'), r'"\1": N'),
)


def steps() -> tuple[list[str], list[tuple[str, str]]]:
    """The session as lines of a shell script, and its commands with what they must print."""
    script: list[str] = [f"mark() {{ local code=$?; echo '{MARK}'; return $code; }}"]
    commands: list[tuple[str, str]] = []
    for language, name, body in BLOCKS:
        if name:
            script += [f"cat > {name} <<'END OF FILE'", body + "END OF FILE"]
        elif language == "console":
            for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
                command, _, printed = part.partition("\n")
                commands.append((command, printed))
                script += [command, "mark"]
    return script, commands


def matches(expected: str, printed: str) -> bool:
    for pattern, replacement in TIMES:
        expected, printed = pattern.sub(replacement, expected), pattern.sub(replacement, printed)
    lines = expected.splitlines(keepends=True)
    pattern = "".join(r"(?:.*\n)*?" if line == "…\n" else re.escape(line).replace("…", ".*") for line in lines)
    return re.fullmatch(pattern, printed) is not None


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The repository as a user has it, with a ``data`` of its own to write into."""
    copy = tmp_path / "repository"
    (copy / "data").mkdir(parents=True)
    (copy / "data" / "input.ldjson").write_bytes((ROOT / "data" / "input.ldjson").read_bytes())
    for name in ("examples", "iris_model", "ml_model_abc.py", "model_mapreduce_job", "model_scoring"):
        (copy / name).symlink_to(ROOT / name)
    return copy


def test_the_session_prints_what_the_readme_shows(repository: Path) -> None:
    script, commands = steps()
    environment = {name: value for name, value in os.environ.items() if name not in ("APP_SETTINGS", "PYTHONPATH")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    ran = subprocess.run(
        ["bash"],
        input="\n".join(script).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=repository,
        env=environment,
        check=True,
    )
    *printed, rest = ran.stdout.decode().split(f"{MARK}\n")
    assert rest == ""
    for (command, expected), found in zip(commands, printed, strict=True):
        assert matches(expected, found), f"$ {command}\n{found}\n--- the README shows:\n{expected}"


def test_a_difference_is_noticed() -> None:
    assert matches("…\na\n  0.1 s, 5 records/s\n", "anything\nat all\na\n  2.0 s, 1,000 records/s\n")
    assert not matches("a\n", "a\nb\n")
    assert not matches("…\nfailures 1\n", "x\nfailures 2\n")


def test_make_has_the_targets() -> None:
    listed = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)
    assert len(named) >= 4
    assert set(named) <= set(listed)


def test_the_table_of_options_is_that_of_help() -> None:
    command = [sys.executable, "-m", "model_mapreduce_job", "--help"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = printed.partition("--help")[2].partition("To see help")[0]
    assert re.findall(r"^\| `(--\w+)", README, re.MULTILINE) == re.findall(r"^  (--\w+)", ours, re.MULTILINE)


def test_the_exit_codes_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| \d+ \| .*$", README, re.MULTILINE)
    documented = re.findall(r"^\| \d+ \| .*$", command_line.__doc__ or "", re.MULTILINE)
    assert [row.replace("`", "") for row in rows] == [row.replace("`", "") for row in documented]


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {"#" + re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", README):
        assert target in anchors or (ROOT / target).is_file(), target
