"""python -m tests.engines.hadoop up|down|status"""

import sys

from tests.engines.hadoop.cluster import HadoopCluster
from tests.engines.hadoop.installation import HadoopError


def main(arguments: list[str]) -> int:
    cluster = HadoopCluster()
    try:
        match arguments:
            case ["up"]:
                started = cluster.up()
                print(f"Started: {', '.join(started)}." if started else "The cluster is running already.")
                print(f"export HADOOP_HOME={cluster.installation.home}")
            case ["down"]:
                stopped = cluster.down()
                print(f"Stopped: {', '.join(stopped)}." if stopped else "The cluster is not running.")
            case ["status"]:
                lines = cluster.status()
                print("\n".join(str(line) for line in lines))
                return 0 if all(line.alive for line in lines) else 1
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except HadoopError as error:
        print(f"Hadoop: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
