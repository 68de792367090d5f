"""The image of a node: the programs that an EMR release on Amazon Linux 2023 has, where this machine's are not those.

Python there is an interpreter with pip and venv and nothing else installed.
"""

import hashlib
import shutil
import site
import socket
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path
from textwrap import dedent

from tests.engines.emr.hdfs import USER
from tests.engines.emr.settings import CREDENTIALS, REGION, AwsError, Place
from tests.engines.hadoop.installation import java_home

PYTHON = f"python{sys.version_info[0]}.{sys.version_info[1]}"
PACKAGES = "usr/local/aws-cli/packages"
SETPRIV = "usr/libexec/stand-in/setpriv"
STEP_LOG4J = "/emr/step-log4j.properties"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
USERS = {"root": (0, "/root"), "nobody": (65534, "/"), "hadoop": (996, "/home/hadoop"), "yarn": (995, "/var/lib/yarn")}
# What a node's Python can do without, and what is not Python's own.
LEFT_OUT = (
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "tkinter",
    "__pycache__",
    "config-*",
)

# As EMR logs a step's client, and mrjob reads it.
LOG4J = """\
log4j.rootLogger=INFO,syslog
log4j.appender.syslog=org.apache.log4j.FileAppender
log4j.appender.syslog.File=${step.syslog}
log4j.appender.syslog.layout=org.apache.log4j.PatternLayout
log4j.appender.syslog.layout.ConversionPattern=%d{ISO8601} %p %c (%t): %m%n
log4j.logger.org.apache.hadoop.util.NativeCodeLoader=ERROR
"""

SUDO = f"""\
#!/bin/sh
# Stand-in for sudo: the command as root, or -u another, in an environment of its own as sudo's is.
user=root
while [ $# -gt 0 ]; do
    case "$1" in
        -u) user=$2; shift 2 ;;
        -[EHnSi]) shift ;;
        --) shift; break ;;
        -*) echo "sudo: the stand-in does not know $1" >&2; exit 1 ;;
        *) break ;;
    esac
done
exec /{SETPRIV} --reuid "$user" --regid "$user" --clear-groups -- env -i PATH={PATH} LANG=C.UTF-8 \\
    HOME="$(getent passwd "$user" | cut -d: -f6)" USER="$user" LOGNAME="$user" SUDO_USER=hadoop TERM=dumb "$@"
"""

DNF = """\
#!/bin/sh
# Stand-in for dnf: notes its calls, and takes for installed what is here.
echo "$@" >> /mnt/var/log/dnf-calls
[ "$(id -u)" = 0 ] || { echo "Error: This command has to be run with superuser privileges" >&2; exit 1; }
verb=
for each in "$@"; do
    case "$each" in -*) continue ;; esac
    if [ -z "$verb" ]; then verb=$each; continue; fi
    [ "$verb" = install ] || continue
    command -v "$each" >/dev/null && continue
    case "$each" in PYTHON-pip) continue ;; esac
    echo "No match for argument: $each" >&2
    echo "Error: Unable to find a match: $each" >&2
    exit 1
done
""".replace("PYTHON", PYTHON)

# As root in a node of this machine they must not reach further than it.
POWER = '#!/bin/sh\necho "$(basename "$0") $*" >> /mnt/var/log/power-calls\n'


def build(place: Place) -> None:
    """Lays the image out, unless it is there as it would be."""
    image = place.image
    stamp = place.folder / "image.stamp"
    made_of = f"{sys.version} {sys.base_prefix} {socket.gethostname()} {image} {hash_of(Path(__file__))}"
    if stamp.exists() and stamp.read_text() == made_of:
        return
    stamp.unlink(missing_ok=True)
    shutil.rmtree(image, ignore_errors=True)
    _lay(place)
    stamp.write_text(made_of)


def _lay(place: Place) -> None:
    image = place.image
    for folder in ("usr/bin", "usr/sbin", "etc", "emr", "home/hadoop", "var/lib/yarn", PACKAGES):
        (image / folder).mkdir(parents=True)
    _lay_python(image)
    _lay_programs(place)
    for name, text in _settings().items():
        (image / "etc" / name).write_text(text)
    (image / "usr/bin/sh").symlink_to("bash")  # Debian's is another shell
    (image / STEP_LOG4J.lstrip("/")).write_text(LOG4J)
    for user in ("hadoop", "yarn"):
        number, home = USERS[user]
        shutil.chown(image / home.lstrip("/"), number, number)
    # Sets the user for sudo, which is a script and cannot.
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise AwsError("setpriv is missing; on Debian: apt-get install util-linux")
    (image / SETPRIV).parent.mkdir(parents=True)
    shutil.copy(setpriv, image / SETPRIV)
    (image / SETPRIV).chmod(0o4755)


def hash_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def awscli_packages() -> Path:
    """The folder of the packages that the tests' Python has, awscli among them."""
    return Path(str(distribution("awscli").locate_file("")))


def _lay_python(image: Path) -> None:
    base = Path(sys.base_prefix)
    library = f"lib/{PYTHON}"
    shutil.copy(Path(sys.base_exec_prefix, "bin", PYTHON).resolve(), image / f"usr/bin/{PYTHON}")
    shutil.copytree(base / library, image / "usr" / library, symlinks=True, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (image / "usr" / library / "site-packages").mkdir()
    if base != Path("/usr"):  # where the interpreter looks for its library
        for each in (base / "lib").glob("libpython*.so*"):
            (image / str(base / "lib").lstrip("/")).mkdir(parents=True, exist_ok=True)
            shutil.copy(each, image / str(each).lstrip("/"), follow_symlinks=False)
    packages = image / site.getsitepackages(["/usr"])[0].lstrip("/")
    packages.mkdir(parents=True, exist_ok=True)
    for file in distribution("pip").files or ():
        if file.parts[0].startswith("pip") and file.suffix != ".pyc":
            target = packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(file.locate()), target)
    # Its users cannot write there: without this, each start of Python would compile.
    command = [sys.executable, "-m", "compileall", "-q", "-j", "0", str(image / "usr/lib" / PYTHON), str(packages)]
    subprocess.run(command, check=True, timeout=300, capture_output=True)


def _lay_programs(place: Place) -> None:
    hadoop = place.hadoop.installation
    in_hadoop = dedent(f"""\
        #!/bin/sh
        export HADOOP_HOME={hadoop.home} HADOOP_CONF_DIR={hadoop.configuration}
        export JAVA_HOME={java_home()} HADOOP_USER_NAME={USER}
        """)
    programs = {
        name: f'{in_hadoop}exec {hadoop.home}/bin/{name} "$@"\n' for name in ("hadoop", "hdfs", "yarn", "mapred")
    }
    programs["hadoop-streaming"] = f'#!/bin/sh\nexec hadoop jar {hadoop.streaming_jar} "$@"\n'
    aws = "\n".join(f"export {name}={value}" for name, value in CREDENTIALS.items())
    # The credentials are the program's, as on an instance: nothing else finds them in the environment.
    programs["aws"] = (
        f"#!/bin/sh\n{aws}\nexport AWS_DEFAULT_REGION={REGION} AWS_ENDPOINT_URL={place.endpoint}\n"
        "export AWS_EC2_METADATA_DISABLED=true\n"
        f"export PYTHONPATH=/{PACKAGES} PYTHONDONTWRITEBYTECODE=1 PYTHONNOUSERSITE=1\n"
        f"exec /usr/bin/{PYTHON} -c 'import sys; from awscli.clidriver import main; sys.exit(main())' \"$@\"\n"
    )
    programs |= {"sudo": SUDO, "dnf": DNF, "yum": DNF}
    programs[PYTHON.replace("python", "pip")] = f'#!/bin/sh\nexec /usr/bin/{PYTHON} -m pip "$@"\n'
    for name, text in programs.items():
        _write_program(place.image / "usr/bin" / name, text)
    for name in ("shutdown", "reboot", "halt", "poweroff"):
        _write_program(place.image / "usr/sbin" / name, POWER)


def _write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def _settings() -> dict[str, str]:
    return {
        "passwd": "".join(f"{name}:x:{n}:{n}::{home}:/bin/sh\n" for name, (n, home) in USERS.items()),
        "group": "".join(f"{name}:x:{n}:\n" for name, (n, _) in USERS.items()),
        "hosts": f"127.0.0.1 localhost {socket.gethostname()}\n",
        # No names are known, and the index that pip asks is a port where nobody listens.
        "resolv.conf": "",
        "pip.conf": "[global]\nindex-url = http://127.0.0.1:9/simple\nretries = 0\ntimeout = 2\n"
        "disable-pip-version-check = true\n",
    }
