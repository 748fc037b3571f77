"""How old the process is when the window has been painted, and whether torch is loaded by then.

Run with `python -m tests.benchmarks.startup`.
"""

import os
import re
import signal
import statistics
import subprocess
import sys

TIMES = 5


def measure() -> tuple[float, bool]:
    """Start the program, read when it first painted, and end it."""
    environment = {**os.environ, "METAVIZ_TIMING": "1"}
    environment.setdefault("QT_QPA_PLATFORM", "offscreen")
    command = [sys.executable, "-m", "metaviz"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr or ():
            found = re.search(r"first paint: ([\d.]+) s, torch loaded: (\w+)", line)
            if found:
                process.send_signal(signal.SIGTERM)
                process.communicate()
                return float(found[1]), found[2] == "True"
    raise RuntimeError("The window was never painted.")


def main() -> None:
    """Print the figures."""
    results = [measure() for _ in range(TIMES)]
    seconds = sorted(seconds for seconds, _ in results)
    print(f"first paint after {statistics.median(seconds):.2f} s (median of {TIMES}, {seconds})")
    print(f"torch loaded by then: {any(loaded for _, loaded in results)}")


if __name__ == "__main__":
    main()
