"""Runs every benchmark that needs no cluster, one after the other: ``make bench``. What each asks stands at its top."""

from benchmarks import formats, memory, throughput

if __name__ == "__main__":
    throughput.main()
    memory.main()
    formats.main()
