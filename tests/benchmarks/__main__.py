"""All measurements, one after another, or those that are named: `python -m tests.benchmarks`."""

import argparse
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
    "endurance",
    "compare",
    "geometries",
    "metric_episodes",
    "pictures",
    "images",
    "policies",
    "playground",
)


def main() -> None:
    """Run the benchmarks; they print their own tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(MODULES))
    names = parser.parse_args().names
    for name in names:
        if name not in MODULES:
            parser.error(f"{name!r} is not a benchmark; choose from {', '.join(MODULES)}.")
    for name in names or MODULES:
        sys.stdout.write(f"\n== {name} ==\n")
        sys.stdout.flush()
        sys.argv = [name]
        runpy.run_module(f"tests.benchmarks.{name}", run_name="__main__")


if __name__ == "__main__":
    main()
