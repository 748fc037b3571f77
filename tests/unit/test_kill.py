"""kill -9 at random moments: folders stay readable, no stored row is lost, resuming is exact."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metaviz.config.run_config import read_comparison
from metaviz.runs.storage.store import list_runs, open_run
from metaviz.training.engine import planned_runs
from tests.unit.stored import assert_same, resume, train

KILLS = int(os.environ.get("METAVIZ_KILLS", "6"))
STEPS = 120
COMPARE = [
    *("compare", "--algorithms", "metasgd", "--steps", str(STEPS), "--device", "cpu"),
    *("--set", "eval_tasks=4", "--set", "eval_steps=2", "--set", "inner_steps=2"),
    *("--set", "meta_batch=2", "--set", "eval_every=7", "--set", "sinusoid.hidden=4"),
]
# Imports once, before torch has computed anything, and runs every command in a fork of itself.
NURSERY = """
import os, signal, sys
import metaviz.cli.main, metaviz.cli.training
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        sys.argv = ["metaviz", *line.rstrip("\\n").split("\\t")]
        sys.stdout = sys.stderr = open(os.devnull, "w")
        metaviz.cli.main.main()
    print(child, flush=True)
"""


class Nursery:
    """Starts commands that can be killed."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert self._answer() == "ready"

    def start(self, *arguments: str | Path) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write("\t".join(map(str, arguments)) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with subprocess.Popen(
        [sys.executable, "-c", NURSERY],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield Nursery(process)
        finally:
            process.kill()


def kill_within(child: int, root: Path, seconds: float) -> int:
    """Kill a command so long after its run trains; return how many rows were stored before."""
    until = time.monotonic() + 60
    while time.monotonic() < until and not any(
        open_run(folder).state == "running" for folder in list_runs(root)
    ):
        time.sleep(0.002)
    time.sleep(seconds)
    stored = len(open_run(list_runs(root)[0]))
    os.kill(child, signal.SIGKILL)
    while time.monotonic() < until and open_run(list_runs(root)[0]).state == "running":
        time.sleep(0.002)
    return stored


@pytest.mark.slow
def test_killed_comparisons_lose_no_stored_row_and_resume_to_the_same_bits(
    nursery: Nursery, tmp_path: Path
) -> None:
    chance = random.Random(11)
    first, second = tmp_path / "0", tmp_path / "whole"
    whole, folder, place = None, None, 0
    for _ in range(KILLS):
        out = tmp_path / str(place)
        command = (*COMPARE, "--out", out) if folder is None else ("resume", folder)
        child = nursery.start(*command)
        # Late enough that some kills come after the first evaluation, early enough for all moments.
        stored = kill_within(child, out / "runs", chance.random() ** 2 * 0.8)
        (folder,) = list_runs(out / "runs")
        record = open_run(folder)
        assert record.state in {"interrupted", "done"}
        assert len(record) >= stored
        assert record.column("step").tolist() == list(range(1, len(record) + 1))
        if whole is None:
            (config,) = planned_runs(read_comparison(first / "comparison.toml"))
            whole = train(config, second)
        if record.state == "done":
            assert_same(folder, whole)
            folder, place = None, place + 1
    if folder is not None and whole is not None:
        assert_same(resume(folder), whole)
        assert not list(folder.glob("*.tmp-*"))
