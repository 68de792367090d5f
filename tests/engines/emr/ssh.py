"""ssh.py HOSTS [options] user@host command...: runs the command in a node; a stand-in for ssh and the nodes' sshd.

HOSTS is a file of the stand-in's that knows the nodes by name. There are no keys and no tunnels. Of a command that is
this program again (mrjob goes to workers by way of the master) only the last host counts.
"""

import json
import subprocess
import sys
from pathlib import Path

WITH_VALUE = ("-i", "-o", "-l", "-p", "-F")
UNREACHABLE = 255  # ssh's own


def parse(arguments: list[str]) -> tuple[str, list[str]]:
    """The host and the command."""
    rest = list(arguments)
    while rest and rest[0].startswith("-"):
        option = rest.pop(0)
        if option in ("-L", "-R", "-D", "-N"):
            raise SystemExit(f"ssh: the stand-in has no tunnels ({option})")
        if option in WITH_VALUE:
            rest.pop(0)
    if not rest:
        raise SystemExit(f"ssh: no host\n{__doc__}")
    return rest[0].rpartition("@")[2], rest[1:]


def main(hosts: str, arguments: list[str]) -> int:
    host, command = parse(arguments)
    own = [sys.executable, __file__, hosts]
    while command[: len(own)] == own:
        host, command = parse(command[len(own) :])
    try:
        known = json.loads(Path(hosts).read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = {}
    if host not in known:
        print(f"ssh: connect to host {host} port 22: Connection timed out", file=sys.stderr)
        return UNREACHABLE
    # As sshd does: one line for the user's shell.
    return subprocess.run([*known[host], "/bin/sh", "-c", " ".join(command)], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
