"""How old the process is when the window has been painted, and whether torch is loaded by then.

The first start is not counted: it writes the bytecode that a user has.
Run with `python -m tests.benchmarks.startup`.
"""

import re
import signal
import statistics
import subprocess
import sys

from tests.benchmarks.as_installed import environment

TIMES = 5


def measure() -> tuple[float, bool]:
    """Start the program, read when it first painted, and end it."""
    command = [sys.executable, "-m", "metaviz"]
    with (
        environment(METAVIZ_TIMING="1") as given,
        subprocess.Popen(command, env=given, stderr=subprocess.PIPE, text=True) as process,
    ):
        for line in process.stderr or ():
            found = re.search(r"first paint: ([\d.]+) s, torch loaded: (\w+)", line)
            if found:
                process.send_signal(signal.SIGTERM)
                process.communicate()
                return float(found[1]), found[2] == "True"
    raise RuntimeError("The window was never painted.")


def main() -> None:
    """Print the figures."""
    results = [measure() for _ in range(1 + TIMES)][1:]
    seconds = sorted(seconds for seconds, _ in results)
    print(f"first paint after {statistics.median(seconds):.2f} s (median of {TIMES}, {seconds})")
    print(f"torch loaded by then: {any(loaded for _, loaded in results)}")


if __name__ == "__main__":
    main()
