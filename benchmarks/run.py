"""Runs every benchmark, one after the other: ``make bench``. What each asks stands at its top."""

from benchmarks import memory, throughput

if __name__ == "__main__":
    throughput.main()
    memory.main()
