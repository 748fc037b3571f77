"""A contestant in a process of its own, where nothing that others change in theirs reaches it.

`python -m tests.benchmarks.apart WORKLOAD METHOD SHARDS THREADS` times a method, or the
library `higher`: each line that it reads is answered by the seconds of a step, or by a sentence.
"""

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Self

import torch

from metaviz.benchmarking.laps import Contestant
from tests.benchmarks.workloads import PEER, WORKLOADS, Workload


@dataclass
class Apart:
    """Is timed like a Contestant; the process lives as long as its context."""

    workload: Workload
    method: str
    shards: int = 1
    threads: int = 1
    seconds: list[float] = field(default_factory=list)
    failure: str = ""

    def __enter__(self) -> Self:
        sizes = (str(self.shards), str(self.threads))
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.benchmarks.apart"),
                *(self.workload.name, self.method, *sizes),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.kill()
        self._process.communicate()

    def warm_up(self) -> None:
        """Wait for a step that loads what later ones find loaded."""
        self._ask()

    def lap(self) -> None:
        """Time some steps in a row."""
        if (seconds := self._ask()) is not None:
            self.seconds.append(seconds)

    def _ask(self) -> float | None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        if self.failure:
            return None
        process.stdin.write("\n")
        process.stdin.flush()
        answer = process.stdout.readline().strip()
        try:
            return float(answer)
        except ValueError:
            self.failure = answer or f"{self.method} ended."
            return None


def main() -> None:
    """Answer until there are no more questions."""
    name, method, shards, threads = sys.argv[1:]
    torch.set_num_threads(1)
    workload = WORKLOADS[name]
    step = workload.peer() if method == PEER else workload.run(method, int(shards))
    contestant = Contestant(step, int(threads), workload.lap_seconds)
    for asked, _ in enumerate(sys.stdin):
        if asked:
            contestant.lap()
        else:
            contestant.warm_up()
        seconds = contestant.seconds[-1] if contestant.seconds else 0.0
        print(contestant.failure or seconds, flush=True)


if __name__ == "__main__":
    main()
