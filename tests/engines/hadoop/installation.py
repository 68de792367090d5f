"""Hadoop's programs on disk: the jars from Maven Central, laid out as an unpacked Hadoop release is.

Tools that are told HADOOP_HOME and nothing else (mrjob among them) find bin/hadoop, the streaming jar and etc/hadoop.
"""

import os
import shutil
import subprocess
import tempfile
import zipfile
from pathlib import Path

VERSION = "3.4.2"
POM = Path(__file__).with_name("pom.xml")
DOWNLOAD_SECONDS = 900
JDK = "openjdk-17-jdk-headless"

# Hadoop reaches into the JDK by reflection, which Java 17 refuses unless told otherwise.
JAVA_17 = (
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
    "--add-opens=java.base/java.util=ALL-UNNAMED",
    "--add-opens=java.base/java.net=ALL-UNNAMED",
    "--add-exports=java.base/sun.net.dns=ALL-UNNAMED",
    "--add-exports=java.base/sun.net.util=ALL-UNNAMED",
)
# Commands, daemons and containers live for seconds or minutes: starting soon is worth more than running fast.
QUICK_START = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")

# What these are for stands in them.
AGENT = Path(__file__).with_name("LoopbackAgent.java")
LOCAL_FS = Path(__file__).with_name("QuickLocalFs.java")
AGENT_EXPORT = "--add-exports=java.base/jdk.internal.org.objectweb.asm=ALL-UNNAMED"

# The classes behind the verbs of the commands, as in the scripts of a Hadoop release.
COMMANDS = {
    "hadoop": {
        "fs": "org.apache.hadoop.fs.FsShell",
        "jar": "org.apache.hadoop.util.RunJar",
        "version": "org.apache.hadoop.util.VersionInfo",
        "checknative": "org.apache.hadoop.util.NativeLibraryChecker",
    },
    "hdfs": {
        "dfs": "org.apache.hadoop.fs.FsShell",
        "dfsadmin": "org.apache.hadoop.hdfs.tools.DFSAdmin",
        "fsck": "org.apache.hadoop.hdfs.tools.DFSck",
        "version": "org.apache.hadoop.util.VersionInfo",
    },
    "yarn": {
        "application": "org.apache.hadoop.yarn.client.cli.ApplicationCLI",
        "app": "org.apache.hadoop.yarn.client.cli.ApplicationCLI",
        "applicationattempt": "org.apache.hadoop.yarn.client.cli.ApplicationCLI",
        "container": "org.apache.hadoop.yarn.client.cli.ApplicationCLI",
        "logs": "org.apache.hadoop.yarn.client.cli.LogsCLI",
        "node": "org.apache.hadoop.yarn.client.cli.NodeCLI",
        "jar": "org.apache.hadoop.util.RunJar",
        "version": "org.apache.hadoop.util.VersionInfo",
    },
    "mapred": {
        "job": "org.apache.hadoop.mapred.JobClient",
        "version": "org.apache.hadoop.util.VersionInfo",
    },
}
# The application commands take their own verb as the first argument.
VERB_STAYS = {"application", "app", "applicationattempt", "container"}

# Each server looks for a folder of its pages on the class path, and the published jars have none of HDFS's.
WEB_PAGES = ("hdfs", "datanode", "secondary", "cluster", "node", "jobhistory")


class HadoopError(Exception):
    """The cluster cannot do what it was asked for; the message says why."""


class Installation:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.jars = home / "share/hadoop/common/lib"
        self.streaming_jar = home / f"share/hadoop/tools/lib/hadoop-streaming-{VERSION}.jar"
        self.configuration = home / "etc/hadoop"
        self.agent = home / "share/hadoop/agent/loopback.jar"
        self.web_pages = home / "share/hadoop/pages"
        self.downloaded = home / "pom.xml"  # what the jars are those of

    def class_path(self, configuration: Path) -> str:
        # Configuration last: no jar holds a file of its names, and Java shares classes between processes only when
        # the class path begins with jars alone.
        return f"{self.jars}/*:{configuration}:{self.web_pages}"

    @property
    def loopback_only(self) -> tuple[str, str]:
        """The options of a Java process that is to listen on 127.0.0.1 alone."""
        return (AGENT_EXPORT, f"-javaagent:{self.agent}")

    @property
    def has_jars(self) -> bool:
        """Whether the jars are there, and are those that pom.xml names now."""
        return self.downloaded.exists() and self.downloaded.read_bytes() == POM.read_bytes()

    def install(self) -> None:
        """Makes the installation whole; what is there already is kept."""
        java_home()
        if not self.has_jars:
            self._download()
        self._compile(AGENT, self.agent, f"Premain-Class: {AGENT.stem}\nCan-Retransform-Classes: true\n")
        self._compile(LOCAL_FS, self.jars / "quick-local-fs.jar")
        for name in WEB_PAGES:
            (self.web_pages / "webapps" / name).mkdir(parents=True, exist_ok=True)
        (self.home / "bin").mkdir(exist_ok=True)
        for command, verbs in COMMANDS.items():
            write_if_changed(self.home / "bin" / command, self._script(command, verbs), mode=0o755)

    def _download(self) -> None:
        maven = shutil.which("mvn")
        if maven is None:
            raise HadoopError("Maven is missing, it fetches the jars; on Debian: apt-get install maven")
        self.home.parent.mkdir(parents=True, exist_ok=True)
        # What ends half-way leaves a folder of another name, never half a Hadoop.
        with tempfile.TemporaryDirectory(prefix="download-", dir=self.home.parent) as folder:
            draft = Installation(Path(folder) / "home")
            command = [maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"]
            command += ["-DincludeScope=runtime", f"-DoutputDirectory={draft.jars}"]
            try:
                done = subprocess.run(
                    command, capture_output=True, text=True, timeout=DOWNLOAD_SECONDS, check=False, cwd=folder
                )
            except subprocess.TimeoutExpired as error:
                raise HadoopError(f"Maven has not fetched the jars in {DOWNLOAD_SECONDS} s") from error
            if done.returncode != 0:
                raise HadoopError(f"Maven could not fetch the jars:\n{last_lines(done.stdout + done.stderr)}")
            draft.streaming_jar.parent.mkdir(parents=True)
            (draft.jars / draft.streaming_jar.name).rename(draft.streaming_jar)
            shutil.copyfile(POM, draft.downloaded)
            if self.home.exists():
                shutil.rmtree(self.home)
            draft.home.rename(self.home)

    def _compile(self, source: Path, jar: Path, manifest: str = "") -> None:
        if jar.exists() and jar.stat().st_mtime >= source.stat().st_mtime:
            return
        compiler = java_home() / "bin/javac"
        if not compiler.exists():
            raise HadoopError(f"{compiler} is missing, a Java without its compiler; on Debian: apt-get install {JDK}")
        jar.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="compiled-", dir=self.home) as folder:
            command = [str(compiler), AGENT_EXPORT, "-cp", f"{self.jars}/*", "-d", folder, str(source)]
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode != 0:
                raise HadoopError(f"{source.name} could not be compiled; is this Java 17?\n{last_lines(done.stderr)}")
            draft = Path(folder) / jar.name
            with zipfile.ZipFile(draft, "w") as archive:
                archive.writestr("META-INF/MANIFEST.MF", f"{manifest}\n")
                for compiled in sorted(Path(folder).glob("*.class")):
                    archive.write(compiled, compiled.name)
            draft.replace(jar)

    def _script(self, command: str, verbs: dict[str, str]) -> str:
        cases = "".join(
            f"    {verb}) class={name}{'' if verb in VERB_STAYS else '; shift'} ;;\n" for verb, name in verbs.items()
        )
        return f"""#!/bin/sh
# Written by {__name__}: the verbs of Hadoop's own `{command}` that jobs and people need.
HADOOP_HOME=${{HADOOP_HOME:-{self.home}}}
HADOOP_CONF_DIR=${{HADOOP_CONF_DIR:-$HADOOP_HOME/etc/hadoop}}
JAVA_HOME=${{JAVA_HOME:-{java_home()}}}
export HADOOP_HOME HADOOP_CONF_DIR JAVA_HOME
class_path="{self.jars}/*:$HADOOP_CONF_DIR${{HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}}"
case "$1" in
{cases}    classpath) echo "$class_path"; exit 0 ;;
    *) echo "usage: {command} {"|".join(verbs)}|classpath …" >&2; exit 2 ;;
esac
exec "$JAVA_HOME/bin/java" {" ".join((*JAVA_17, *QUICK_START))} \\
    -Xmx512m $HADOOP_OPTS $HADOOP_CLIENT_OPTS -cp "$class_path" "$class" "$@"
"""


def java_home() -> Path:
    """JAVA_HOME, or the home of the `java` on the PATH."""
    named = os.environ.get("JAVA_HOME")
    if named:
        if not os.access(Path(named) / "bin/java", os.X_OK):
            raise HadoopError(f"JAVA_HOME is {named}, and there is no bin/java in it")
        return Path(named)
    found = shutil.which("java")
    if found is None:
        raise HadoopError(f"Java is missing; on Debian: apt-get install {JDK}")
    return Path(found).resolve().parent.parent


def write_if_changed(path: Path, text: str, mode: int = 0o644) -> None:
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def last_lines(text: str, count: int = 25) -> str:
    return "\n".join(text.strip().splitlines()[-count:])
