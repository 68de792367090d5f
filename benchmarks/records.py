"""Iris records in the number that is wanted: ``python -m benchmarks.records NUMBER [SHARE_THAT_FAILS] > FILE``."""

import random
import sys

RECORD = '{{"sepal_length": {:.1f}, "sepal_width": {:.1f}, "petal_length": {:.1f}, "petal_width": {}}}\n'


def main(number: int, failing: float) -> None:
    """Writes the same records each time; a failing one has text where a number belongs."""
    choose = random.Random(7)  # noqa: S311  # measurements are repeated, not secret
    for _ in range(number):
        sizes = [choose.uniform(low, high) for low, high in ((4.3, 7.9), (2.0, 4.4), (1.0, 6.9))]
        width = '"asd"' if choose.random() < failing else f"{choose.uniform(0.1, 2.5):.1f}"
        sys.stdout.write(RECORD.format(*sizes, width))


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.0)
