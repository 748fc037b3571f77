"""All measurements, one after another: `python -m tests.benchmarks`."""

import runpy
import sys

MODULES = (
    "against_higher",
    "growth",
    "hot_spots",
    "startup",
    "first_point",
    "window_lateness",
    "replot",
    "many_runs",
    "compare",
    "geometries",
    "portraits",
    "images",
)


def main() -> None:
    """Run every benchmark; they print their own tables."""
    for name in MODULES:
        sys.stdout.write(f"\n== {name} ==\n")
        sys.stdout.flush()
        sys.argv = [name]
        runpy.run_module(f"tests.benchmarks.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
